/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS ends: their birth and death, and which of the two record layers a call goes to.
 *
 * Thread: the loop's. Hot.
 */
#include "net/tls.h"

#include <errno.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "net/tls_priv.h"
#include "util/slab.h"

int tls_ends_init(struct tls_ends *es, struct tls_lib *l, struct buf_pool *pool, uint32_t max)
{
	*es = (struct tls_ends){ .lib = l, .pool = pool };
	es->crypto = tls_crypto_new(l);
	es->slab = slab_new("tls", sizeof(struct tls), max);
	es->scratch = OPENSSL_malloc(TLS_RECORD_MAX);
	if (es->crypto != NULL && es->slab != NULL && es->scratch != NULL)
		return 0;
	tls_ends_deinit(es);
	return -ENOMEM;
}

void tls_ends_deinit(struct tls_ends *es)
{
	es->slab = slab_free(es->slab);
	es->crypto = tls_crypto_free(es->crypto);
	/* It has had plaintext. */
	if (es->scratch != NULL)
		OPENSSL_clear_free(es->scratch, TLS_RECORD_MAX);
	*es = (struct tls_ends){ 0 };
}

int tls_reserve(struct tls_ends *es)
{
	/* A flight of a handshake has some certificates: 16 KiB is the longest that OpenSSL's own
	 * clients take by default, and what does not fit is written by the next step. */
	int r = buf_reserve(es->pool, BUF_SMALL, 8);

	return r < 0 ? r : buf_reserve(es->pool, BUF_HEAD, 2);
}

static struct tls *new_end(struct tls_ends *es, struct tls_ctx *c, bool is_client)
{
	struct tls *t = slab_get(es->slab);

	if (t == NULL)
		return NULL;
	LB_ASSERT(c->is_server != is_client && t->state == TLS_IS_HELLO);
	t->is_client = is_client;
	t->ctx = tls_ctx_ref(c);
	return t;
}

struct tls *tls_new_server(struct tls_ends *es, struct tls_ctx *c)
{
	return new_end(es, c, false);
}

/* Tells the SSL object whom it talks to. Returns 0 or -ENOMEM. */
static int set_name(struct tls *t, const char *name)
{
	LB_ASSERT(t->is_client && t->state == TLS_IS_SHAKE);
	SSL *ssl = t->shake->ssl;
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	/* An address is never sent as SNI (RFC 6066, 3). */
	bool is_address = X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;

	ERR_clear_error();
	if (is_address)
		return 0;
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (X509_VERIFY_PARAM_set1_host(param, name, 0) != 1 ||
	    SSL_set_tlsext_host_name(ssl, tls_unconst(name)) != 1)
		return -ENOMEM;
	return 0;
}

struct tls *tls_new_client(struct tls_ends *es, struct tls_ctx *c, const char *name,
			   const struct tls_session *session)
{
	LB_ASSERT(name != NULL || c->is_unverified);
	struct tls *t = new_end(es, c, true);

	if (t == NULL)
		return NULL;
	if (tls_shake_begin(es, t) < 0 || (name != NULL && set_name(t, name) < 0))
		goto fail;
	if (session != NULL && session->ctx_id == c->id &&
	    SSL_set_session(t->shake->ssl, session->session) != 1)
		goto fail;
	return t;
fail:
	ERR_clear_error();
	return tls_free(es, t);
}

struct tls *tls_free(struct tls_ends *es, struct tls *t)
{
	if (t == NULL)
		return NULL;
	if (t->state != TLS_IS_BROKEN)
		tls_break(t, "freed");
	queue_clear(&t->raw, es->pool);
	queue_clear(&t->sealed, es->pool);
	OPENSSL_cleanse(t, sizeof(*t));
	slab_put(es->slab, t);
	return NULL;
}

void tls_feed(struct tls_ends *es, struct tls *t, struct buf *b)
{
	buf_assert_sane(b);
	LB_ASSERT(b->refs == 1);
	if (t->got_close || t->state == TLS_IS_BROKEN)
		buf_put(es->pool, b);
	else
		queue_push(&t->raw, es->pool, b);
}

enum tls_verdict tls_step(struct tls_ends *es, struct tls *t)
{
	return tls_shake_step(es, t);
}

void tls_start(struct tls_ends *es, struct tls *t)
{
	const struct tls_shake *s = t->shake;

	LB_ASSERT(t->state == TLS_IS_READY);
	bool is_wanted = s->ctx->is_compact;
	/* A client's ticket of TLS 1.3 comes behind the handshake, and OpenSSL has to read it. */
	bool has_to_wait = t->is_client && SSL_version(s->ssl) >= (int)TLS_VERSION_1_3;

	if (is_wanted && !has_to_wait && tls_extract(es, t)) {
		es->counts.n_compact++;
		return;
	}
	es->counts.n_kept += is_wanted && !has_to_wait;
	t->wants_compact = is_wanted && has_to_wait;
	if (!t->wants_compact)
		tls_watch_forget(&t->shake->watch);
	tls_set_state(t, TLS_IS_OPENSSL);
}

/* A client's end goes over to lb's records once the ticket, or content without one, has come and
 * the caller had its chance to take the session. */
static void start_late(struct tls_ends *es, struct tls *t)
{
	const struct tls_shake *s = t->shake;

	LB_ASSERT(t->is_client && t->state == TLS_IS_OPENSSL);
	if ((!s->has_session && !s->has_content) || !tls_is_between_records(t))
		return;
	if (tls_extract(es, t)) {
		es->counts.n_compact++;
		return;
	}
	t->wants_compact = false;
	tls_watch_forget(&t->shake->watch);
	es->counts.n_kept++;
}

enum tls_verdict tls_open(struct tls_ends *es, struct tls *t, struct queue *out)
{
	if (t->got_close) {
		queue_clear(&t->raw, es->pool);
		return TLS_END;
	}
	if (t->state == TLS_IS_BROKEN)
		return TLS_FAILED;
	if (t->wants_compact)
		start_late(es, t);
	enum tls_verdict v = t->state == TLS_IS_COMPACT ? tls_compact_open(es, t, out)
							: tls_openssl_open(es, t, out);
	if (v == TLS_END || v == TLS_RESET || v == TLS_FAILED)
		queue_clear(&t->raw, es->pool);
	return v;
}

enum tls_verdict tls_seal(struct tls_ends *es, struct tls *t, struct queue *in)
{
	LB_ASSERT(!t->sent_close);
	if (t->state == TLS_IS_BROKEN)
		return TLS_FAILED;
	if (t->wants_compact)
		start_late(es, t);
	return t->state == TLS_IS_COMPACT ? tls_compact_seal(es, t, in)
					  : tls_openssl_seal(es, t, in);
}

enum tls_verdict tls_close(struct tls_ends *es, struct tls *t)
{
	if (t->state == TLS_IS_BROKEN)
		return TLS_FAILED;
	if (t->sent_close)
		return TLS_MORE;
	return t->state == TLS_IS_COMPACT ? tls_compact_close(es, t) : tls_openssl_close(es, t);
}

const char *tls_error(const struct tls *t)
{
	LB_ASSERT(t->state == TLS_IS_BROKEN);
	return t->why;
}

struct tls_session *tls_take_session(struct tls *t)
{
	if (!t->is_client || (t->state != TLS_IS_READY && t->state != TLS_IS_OPENSSL) ||
	    t->shake->watch.session == NULL)
		return NULL;
	struct tls_session *s = OPENSSL_zalloc(sizeof(*s));
	if (s == NULL)
		return NULL;
	*s = (struct tls_session){ .session = t->shake->watch.session,
				   .ctx_id = t->shake->ctx->id };
	t->shake->watch.session = NULL;
	return s;
}

struct tls_session *tls_session_free(struct tls_session *s)
{
	if (s == NULL)
		return NULL;
	SSL_SESSION_free(s->session);
	OPENSSL_free(s);
	return NULL;
}
