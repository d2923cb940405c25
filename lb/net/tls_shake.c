/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handshake, which is OpenSSL's.
 *
 * A half-open SSL object costs 44 to 73 KB. A server's end makes it when the first record, which
 * has the ClientHello or its beginning, is whole; before that it holds the bytes that have come and
 * no more. What is not TLS at all is found by its first byte.
 */
#include <errno.h>

#include "net/tls_priv.h"

/* The first bytes of `raw`; returns how many, at most `n`. */
static uint32_t peek(const struct tls *t, uint8_t *out, uint32_t n)
{
	uint32_t done = 0;

	for (const struct buf *b = queue_head(&t->raw); b != NULL && done < n;
	     b = queue_next(&t->raw, b))
		for (uint32_t i = 0; i < b->len && done < n; i++)
			out[done++] = b->data[b->off + i];
	return done;
}

/* Whether the first record is whole, or is none that may become so. */
static bool is_hello_decided(const struct tls *t)
{
	uint8_t head[TLS_HEAD_BYTES];
	uint32_t n = peek(t, head, sizeof(head));

	if (n > 0 && head[0] != TLS_TYPE_HANDSHAKE)
		return true;
	if (n < TLS_HEAD_BYTES)
		return false;
	uint32_t len = tls_head_read(head).len;
	/* OpenSSL answers what is too long. */
	return len > TLS_CONTENT_MAX || t->raw.bytes >= TLS_HEAD_BYTES + len;
}

bool tls_wants_step(const struct tls *t)
{
	if (t->state == TLS_IS_HELLO)
		return is_hello_decided(t);
	if (t->state != TLS_IS_SHAKE)
		return false;
	/* A client begins by itself. */
	return !queue_is_empty(&t->raw) || SSL_in_before(t->shake->ssl);
}

int tls_shake_begin(struct tls_ends *es, struct tls *t)
{
	struct tls_ctx *c = t->ctx;
	struct tls_shake *s = OPENSSL_zalloc(sizeof(*s));

	LB_ASSERT(t->state == TLS_IS_HELLO && c->n_groups > 0);
	if (s == NULL)
		return -ENOMEM;
	s->bio = (struct tls_bio){ .raw = &t->raw, .sealed = &t->sealed, .pool = es->pool };
	s->ssl = SSL_new(c->group[0]);
	BIO *bio = s->ssl != NULL ? tls_bio_new(es->lib->bio, &s->bio) : NULL;
	if (bio == NULL || tls_watch_start(&s->watch, s->ssl) < 0) {
		BIO_free(bio);
		SSL_free(s->ssl);
		OPENSSL_free(s);
		ERR_clear_error();
		return -ENOMEM;
	}
	SSL_set_bio(s->ssl, bio, bio);
	LB_ASSERT(SSL_get_app_data(s->ssl) == &s->watch);
	if (t->is_client)
		SSL_set_connect_state(s->ssl);
	else
		SSL_set_accept_state(s->ssl);
	s->ctx = c;
	t->shake = s;
	tls_set_state(t, TLS_IS_SHAKE);
	return 0;
}

/* In TLS 1.2 OpenSSL does not report the ticket that replaces the one which was resumed. */
static void note_session(struct tls_shake *s)
{
	if (s->watch.session == NULL && SSL_session_reused(s->ssl) == 1 &&
	    SSL_version(s->ssl) < (int)TLS_VERSION_1_3)
		s->watch.session = SSL_get1_session(s->ssl);
	s->has_session = s->watch.session != NULL;
}

static enum tls_verdict handshake(struct tls *t)
{
	struct tls_shake *s = t->shake;

	LB_ASSERT(t->state == TLS_IS_SHAKE && !s->watch.is_established);
	ERR_clear_error();
	int r = SSL_do_handshake(s->ssl);
	if (r == 1) {
		LB_ASSERT(SSL_is_init_finished(s->ssl));
		s->watch.is_established = true;
		if (t->is_client)
			note_session(s);
		tls_set_state(t, TLS_IS_READY);
		return TLS_DONE;
	}
	switch (SSL_get_error(s->ssl, r)) {
	case SSL_ERROR_WANT_READ: return TLS_MORE;
	case SSL_ERROR_WANT_WRITE: return TLS_NO_BUFS;
	default: return tls_ssl_failed(t);
	}
}

/* Makes the SSL object for a first record that is whole, or ends what is none of TLS's. */
static bool begin_server(struct tls_ends *es, struct tls *t)
{
	uint8_t head[TLS_HEAD_BYTES];
	uint32_t n = peek(t, head, sizeof(head));

	t->is_not_tls = n == 0 || head[0] != TLS_TYPE_HANDSHAKE;
	if (t->is_not_tls)
		tls_break(t, "not TLS");
	else if (n == sizeof(head) && tls_head_read(head).len == 0)
		tls_break(t, "an empty record instead of a ClientHello");
	else if (tls_shake_begin(es, t) < 0)
		tls_break(t, "memory is short");
	return t->state == TLS_IS_SHAKE;
}

enum tls_verdict tls_shake_step(struct tls_ends *es, struct tls *t)
{
	LB_ASSERT(t->state == TLS_IS_HELLO || t->state == TLS_IS_SHAKE);
	if (t->state == TLS_IS_HELLO) {
		if (!is_hello_decided(t))
			return TLS_MORE;
		if (!begin_server(es, t))
			return TLS_FAILED;
	}
	return handshake(t);
}
