/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A TLS end of lb's against one of OpenSSL's, in memory.
 *
 *	begin_tls(&(struct setup){ .suite = &suites[i], .layer = COMPACT, .is_client = false });
 *	shake();
 *	...
 *	end_tls();
 *
 * The peer is an SSL object with memory BIOs. Ciphertext goes to lb's end in pieces of `lb.piece`
 * bytes.
 */

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "../suite.h"
#include "net/tls.h"
#include "net/tls_ctx.h"
#include "net/tls_lib.h"
#include "net/tls_priv.h"
#include "net/tls_ticket.h"
#include "tls_certs.h"
#include "util/slab.h"

enum layer { OPENSSL, COMPACT, N_LAYERS };

struct suite {
	const char *name;
	int version;
	const char *openssl; /* the peer's only suite */
};

static const struct suite suites[] = {
	{ "1.3 AES-128", TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256" },
	{ "1.3 AES-256", TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384" },
	{ "1.3 ChaCha20", TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256" },
	{ "1.2 AES-128", TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256" },
	{ "1.2 AES-256", TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384" },
	{ "1.2 ChaCha20", TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305" },
};
#define N_SUITES ((int)ARRAY_SIZE(suites))
/* The first of each version. */
#define SUITE_1_3 0
#define SUITE_1_2 3
/* Of a loop test over suites, layers and roles. */
#define N_ALL (N_SUITES * N_LAYERS * 2)

struct setup {
	const struct suite *suite; /* NULL: any */
	enum layer layer;
	bool is_client; /* lb's end is */
	struct tls_tickets *tickets;
	const struct tls_session *session;
	SSL_SESSION *peer_session; /* what the peer's client resumes */
	const char *name;          /* the server name; NULL: a.test */
	bool no_name;
	/* Instead of the contexts made below. */
	struct tls_ctx *ctx;
	void (*on_peer)(SSL_CTX *peer);
};

static struct {
	struct tls_lib *lib;
	struct buf_pool *pool;
	struct tls_ends es;
	struct tls_ctx *ctx;
	struct tls *t;
	uint32_t piece;
	struct queue plain; /* what tls_open() gave */
	enum tls_verdict v; /* the newest one */
	enum layer layer;
	const struct made *ca, *cert; /* of the server, whichever it is */
	struct tls_session *session;  /* the newest that was taken */
} lb;

static struct {
	SSL_CTX *ctx;
	SSL *ssl;
	BIO *in, *out;
	SSL_SESSION *session; /* the newest that lb's server gave */
	int error;            /* of SSL_do_handshake() */
} peer;

static inline struct setup setup_of(int i)
{
	return (struct setup){ .suite = &suites[i % N_SUITES],
			       .layer = i / N_SUITES % N_LAYERS,
			       .is_client = i / N_SUITES / N_LAYERS };
}

static inline const char *name_of(int i)
{
	static char text[64];
	struct setup s = setup_of(i);

	(void)snprintf(text, sizeof(text), "%s, %s, lb is the %s", s.suite->name,
		       s.layer == COMPACT ? "compact" : "openssl",
		       s.is_client ? "client" : "server");
	return text;
}

static inline const char *errors_of(const struct err *e)
{
	static char text[8192];
	char scratch[64];

	text[0] = '\0';
	for (size_t i = 0; i < err_n_lines(e); i++) {
		strncat(text, err_line(e, i, scratch, sizeof(scratch)),
			sizeof(text) - strlen(text) - 2);
		strcat(text, "\n");
	}
	return text;
}

static inline int on_peer_session(SSL *ssl, SSL_SESSION *s)
{
	(void)ssl;
	SSL_SESSION_free(peer.session);
	peer.session = s;
	return 1;
}

static inline struct tls_settings settings_of(const struct setup *s)
{
	return (struct tls_settings){ .is_compact = s->layer == COMPACT, .now_s = time(NULL) };
}

static inline struct tls_ctx *server_ctx(const struct setup *s)
{
	struct tls_cert_files files = { .cert = lb.cert->cert_pem, .key = lb.cert->key_pem };
	struct tls_server_settings settings = {
		.common = settings_of(s), .certs = &files, .n_certs = 1, .tickets = s->tickets
	};
	struct tls_ctx *c = NULL;
	struct err e = ERR_INIT;

	ck_assert_msg(tls_ctx_new_server(lb.lib, &settings, &e, &c) == 0, "%s", errors_of(&e));
	ck_assert_msg(err_n_lines(&e) == 0, "%s", errors_of(&e));
	return c;
}

static inline struct tls_ctx *client_ctx(const struct setup *s)
{
	struct tls_client_settings settings = { .common = settings_of(s), .ca = lb.ca->cert_pem };
	struct tls_ctx *c = NULL;
	struct err e = ERR_INIT;

	ck_assert_msg(tls_ctx_new_client(lb.lib, &settings, &e, &c) == 0, "%s", errors_of(&e));
	return c;
}

static inline void peer_begin(const struct setup *s)
{
	peer.ctx = SSL_CTX_new(s->is_client ? TLS_server_method() : TLS_client_method());
	if (s->suite != NULL) {
		SSL_CTX_set_min_proto_version(peer.ctx, s->suite->version);
		SSL_CTX_set_max_proto_version(peer.ctx, s->suite->version);
		ck_assert_int_eq(s->suite->version == TLS1_3_VERSION
					 ? SSL_CTX_set_ciphersuites(peer.ctx, s->suite->openssl)
					 : SSL_CTX_set_cipher_list(peer.ctx, s->suite->openssl),
				 1);
	}
	SSL_CTX_set_session_cache_mode(peer.ctx, SSL_SESS_CACHE_BOTH | SSL_SESS_CACHE_NO_INTERNAL);
	if (s->is_client) {
		ck_assert_int_eq(SSL_CTX_use_certificate(peer.ctx, lb.cert->x), 1);
		ck_assert_int_eq(SSL_CTX_use_PrivateKey(peer.ctx, lb.cert->key), 1);
	} else {
		SSL_CTX_sess_set_new_cb(peer.ctx, on_peer_session);
		X509_STORE_add_cert(SSL_CTX_get_cert_store(peer.ctx), lb.ca->x);
		SSL_CTX_set_verify(peer.ctx, SSL_VERIFY_PEER, NULL);
	}
	if (s->on_peer != NULL)
		s->on_peer(peer.ctx);
}

/* A new SSL object of the peer's. */
static inline void peer_open(const struct setup *s)
{
	peer.ssl = SSL_new(peer.ctx);
	peer.in = BIO_new(BIO_s_mem());
	peer.out = BIO_new(BIO_s_mem());
	SSL_set_bio(peer.ssl, peer.in, peer.out);
	peer.error = SSL_ERROR_NONE;
	if (s->is_client) {
		SSL_set_accept_state(peer.ssl);
		return;
	}
	SSL_set_connect_state(peer.ssl);
	if (!s->no_name)
		SSL_set_tlsext_host_name(peer.ssl,
					 tls_unconst(s->name != NULL ? s->name : "a.test"));
	if (s->peer_session != NULL)
		ck_assert_int_eq(SSL_set_session(peer.ssl, s->peer_session), 1);
}

/* The certificates, the library and the pool: once per test. */
static inline void lb_begin(void)
{
	lb.ca = make_cert((struct wish){ .cn = "test CA", .is_ca = true });
	lb.cert = make_cert((struct wish){ .cn = "a.test", .san = "DNS:a.test", .by = lb.ca });
	lb.lib = tls_lib_new();
	ck_assert_ptr_nonnull(lb.lib);
	lb.pool = buf_pool_new(16u << 20);
	ck_assert_int_eq(tls_ends_init(&lb.es, lb.lib, lb.pool, 1000), 0);
	ck_assert_int_eq(slab_reserve(lb.es.slab, 16), 0);
	ck_assert_int_eq(buf_reserve(lb.pool, BUF_SMALL, 512), 0);
	ck_assert_int_eq(buf_reserve(lb.pool, BUF_HEAD, 32), 0);
	ck_assert_int_eq(buf_reserve(lb.pool, BUF_LARGE, 32), 0);
	lb.piece = BUF_SMALL_BYTES;
}

/* A connection, before its handshake. */
static inline void conn_begin(const struct setup *s)
{
	lb.layer = s->layer;
	lb.v = TLS_MORE;
	if (s->ctx != NULL)
		lb.ctx = tls_ctx_ref(s->ctx);
	else
		lb.ctx = s->is_client ? client_ctx(s) : server_ctx(s);
	peer_begin(s);
	peer_open(s);
	lb.t = s->is_client ? tls_new_client(&lb.es, lb.ctx, s->name != NULL ? s->name : "a.test",
					     s->session)
			    : tls_new_server(&lb.es, lb.ctx);
	ck_assert_ptr_nonnull(lb.t);
}

static inline void begin_tls(const struct setup *s)
{
	lb_begin();
	conn_begin(s);
}

static inline void conn_end(void)
{
	if (peer.ctx == NULL)
		return;
	lb.t = tls_free(&lb.es, lb.t);
	queue_clear(&lb.plain, lb.pool);
	lb.ctx = tls_ctx_unref(lb.ctx);
	ck_assert_uint_eq(slab_n_used(lb.es.slab), 0);
	ck_assert_uint_eq(buf_bytes_used(lb.pool), 0);
	/* Else its session may not be resumed. */
	if (peer.ssl != NULL)
		SSL_set_shutdown(peer.ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(peer.ssl);
	SSL_CTX_free(peer.ctx);
	peer.ssl = NULL;
	peer.ctx = NULL;
}

/* The connection, if there is one, and all else. */
static inline void end_tls(void)
{
	conn_end();
	lb.session = tls_session_free(lb.session);
	SSL_SESSION_free(peer.session);
	peer.session = NULL;
	tls_ends_deinit(&lb.es);
	lb.pool = buf_pool_free(lb.pool);
	lb.lib = tls_lib_free(lb.lib);
	certs_end();
	ck_assert_uint_eq(ERR_peek_error(), 0);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static inline void feed(const uint8_t *p, size_t n)
{
	while (n > 0) {
		struct buf *b =
			buf_get(lb.pool, lb.piece > BUF_SMALL_BYTES ? BUF_LARGE : BUF_SMALL);
		ck_assert_ptr_nonnull(b);
		uint32_t part = n < lb.piece ? (uint32_t)n : lb.piece;
		part = part < b->cap ? part : b->cap;
		memcpy(b->data, p, part);
		b->len = part;
		p += part;
		n -= part;
		tls_feed(&lb.es, lb.t, b);
	}
}

static inline void take_session(void)
{
	struct tls_session *s = tls_take_session(lb.t);

	if (s == NULL)
		return;
	tls_session_free(lb.session);
	lb.session = s;
}

/* Lets lb's end do what it can with what it has. */
static inline void lb_turn(void)
{
	if (lb.t->state == TLS_IS_HELLO || lb.t->state == TLS_IS_SHAKE) {
		if (tls_wants_step(lb.t))
			lb.v = tls_step(&lb.es, lb.t);
		if (lb.v != TLS_DONE)
			return;
		take_session();
		tls_start(&lb.es, lb.t);
	}
	if (lb.t->state == TLS_IS_OPENSSL || lb.t->state == TLS_IS_COMPACT) {
		lb.v = tls_open(&lb.es, lb.t, &lb.plain);
		take_session();
	}
}

/* Gives lb's end the bytes, and a turn for each piece. */
static inline void lb_hear(const uint8_t *p, size_t n)
{
	while (n > 0) {
		size_t part = n < lb.piece ? n : lb.piece;
		feed(p, part);
		lb_turn();
		p += part;
		n -= part;
	}
}

/* What the peer has written goes to lb's end. Returns how many bytes. */
static inline size_t peer_to_lb(void)
{
	char *p;
	long n = BIO_get_mem_data(peer.out, &p);
	uint8_t *copy = malloc((size_t)n + 1);

	if (n > 0)
		memcpy(copy, p, (size_t)n);
	(void)BIO_reset(peer.out);
	lb_hear(copy, (size_t)n);
	free(copy);
	return (size_t)n;
}

static inline size_t lb_to_peer(void)
{
	size_t n = lb.t->sealed.bytes;

	for (const struct buf *b = queue_head(&lb.t->sealed); b != NULL;
	     b = queue_next(&lb.t->sealed, b))
		ck_assert_int_eq(BIO_write(peer.in, b->data + b->off, (int)b->len), (int)b->len);
	queue_consume(&lb.t->sealed, lb.pool, (uint32_t)n);
	return n;
}

static inline void peer_turn(void)
{
	ERR_clear_error();
	int r = SSL_do_handshake(peer.ssl);

	peer.error = SSL_get_error(peer.ssl, r);
}

/* Both ends take turns until neither has anything to say. */
static inline void shake(void)
{
	size_t n;

	do {
		if (!SSL_is_init_finished(peer.ssl) && peer.error != SSL_ERROR_SSL)
			peer_turn();
		if (lb.t->is_client)
			lb_turn();
		n = peer_to_lb();
		n += lb_to_peer();
	} while (n > 0);
}

static inline void assert_shaken(const char *name)
{
	ck_assert_msg(lb.t->state == TLS_IS_OPENSSL || lb.t->state == TLS_IS_COMPACT, "%s: %s",
		      name, lb.t->state == TLS_IS_BROKEN ? tls_error(lb.t) : "not over");
	ck_assert_msg(SSL_is_init_finished(peer.ssl), "%s", name);
}

static inline uint8_t byte_at(size_t i)
{
	return (uint8_t)(i * 31 >> 3 ^ i);
}

/* Appends `n` bytes of a known stream, which begin at `at`, to `q`, in chunks of at most `chunk`.
 */
static inline void push_plain(struct queue *q, size_t at, size_t n, uint32_t chunk)
{
	while (n > 0) {
		struct buf *b = buf_get(lb.pool, chunk > BUF_SMALL_BYTES ? BUF_LARGE : BUF_SMALL);
		ck_assert_ptr_nonnull(b);
		uint32_t part = n < chunk ? (uint32_t)n : chunk;
		part = part < b->cap ? part : b->cap;
		for (uint32_t i = 0; i < part; i++)
			b->data[i] = byte_at(at + i);
		b->len = part;
		at += part;
		n -= part;
		queue_push(q, lb.pool, b);
	}
}

/* What tls_open() gave is the next `n` bytes of the stream from `at`, and nothing else. */
static inline void expect_plain(size_t at, size_t n, const char *name)
{
	ck_assert_msg(lb.plain.bytes == n, "%s: %u bytes, not %zu (%s)", name, lb.plain.bytes, n,
		      lb.t->state == TLS_IS_BROKEN ? tls_error(lb.t) : "no error");
	for (const struct buf *b = queue_head(&lb.plain); b != NULL; b = queue_next(&lb.plain, b))
		for (uint32_t i = 0; i < b->len; i++)
			if (b->data[b->off + i] != byte_at(at++))
				ck_abort_msg("%s: byte %zu is wrong", name, at - 1);
	queue_clear(&lb.plain, lb.pool);
}

/* The peer writes `n` bytes of the stream from `at`. */
static inline void peer_write(size_t at, size_t n)
{
	uint8_t *p = malloc(n + 1);

	for (size_t i = 0; i < n; i++)
		p[i] = byte_at(at + i);
	for (size_t done = 0, part; done < n; done += part)
		ck_assert_int_eq(SSL_write_ex(peer.ssl, p + done, n - done, &part), 1);
	free(p);
}

/* The peer reads what has come: `n` bytes of the stream from `at`. Returns SSL_get_error() of the
 * read that gives no more. */
static inline int peer_read(size_t at, size_t n, const char *name)
{
	uint8_t p[16384];
	size_t got, done = 0;
	int r;

	ERR_clear_error();
	while ((r = SSL_read_ex(peer.ssl, p, sizeof(p), &got)) == 1)
		for (size_t i = 0; i < got; i++)
			if (p[i] != byte_at(at + done++))
				ck_abort_msg("%s: byte %zu is wrong at the peer", name, done - 1);
	ck_assert_msg(done == n, "%s: the peer has %zu bytes, not %zu", name, done, n);
	return SSL_get_error(peer.ssl, r);
}

/* lb's end seals all of `q`, and the peer gets it. */
static inline void lb_write(struct queue *q)
{
	do {
		lb.v = tls_seal(&lb.es, lb.t, q);
		ck_assert_int_eq(lb.v, TLS_MORE);
		ck_assert_uint_gt(lb_to_peer(), 0);
	} while (q->bytes > 0);
}

/* What the peer gets when it has sent something that is wrong. */
static inline void expect_alert(const char *alert, const char *name)
{
	uint8_t byte;
	size_t n;

	ck_assert_int_eq(lb.t->state, TLS_IS_BROKEN);
	ck_assert(queue_is_empty(&lb.t->raw));
	lb_to_peer();
	ERR_clear_error();
	ck_assert_int_eq(SSL_get_error(peer.ssl, SSL_read_ex(peer.ssl, &byte, 1, &n)),
			 SSL_ERROR_SSL);
	ck_assert_msg(ERR_GET_REASON(ERR_peek_error()) >= SSL_AD_REASON_OFFSET, "%s", name);
	ck_assert_str_eq(
		tls_alert_name((uint8_t)(ERR_GET_REASON(ERR_peek_error()) - SSL_AD_REASON_OFFSET)),
		alert);
	ERR_clear_error();
}
