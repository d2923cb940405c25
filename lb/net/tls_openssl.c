/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records by the SSL object that has done the handshake.
 *
 * What OpenSSL leaves to its user is done here as the compact layer does it: too many KeyUpdates in
 * a row end the connection, so does an attempt to renegotiate, and AES keys are updated in time.
 *
 * A write that found no buffer left has sealed its record already: SSL_write() wants to be called
 * again with the same bytes. They are still at the front of the caller's queue then, because what
 * is not written is not consumed.
 *
 * Thread: the loop's. Hot.
 */
#include <string.h>

#include "net/tls_priv.h"

static struct buf *buf_for(struct tls_ends *es, uint32_t n)
{
	struct buf *b = n > BUF_SMALL_BYTES ? buf_get(es->pool, BUF_LARGE) : NULL;

	return b != NULL ? b : buf_get(es->pool, BUF_SMALL);
}

/* What SSL_read() or SSL_write() says when it has moved nothing. */
static enum tls_verdict verdict_of(struct tls *t, int r)
{
	switch (SSL_get_error(t->shake->ssl, r)) {
	case SSL_ERROR_WANT_READ: return TLS_MORE;
	case SSL_ERROR_WANT_WRITE: return TLS_NO_BUFS;
	case SSL_ERROR_ZERO_RETURN: t->got_close = true; return TLS_END;
	default: return tls_ssl_failed(t);
	}
}

/* Fills `b`; the verdict is TLS_DONE when it is full. */
static enum tls_verdict fill(struct tls *t, struct buf *b)
{
	struct tls_shake *s = t->shake;

	LB_ASSERT(b->len == 0 && b->refs == 1);
	while (b->len < b->cap) {
		size_t n = 0;
		ERR_clear_error();
		int r = SSL_read_ex(s->ssl, b->data + b->len, b->cap - b->len, &n);
		if (r != 1)
			return verdict_of(t, r);
		b->len += (uint32_t)n;
		s->has_content = true;
		s->watch.n_idle = 0;
	}
	return TLS_DONE;
}

/* Judges what the callbacks have seen while records were read. */
static enum tls_verdict judge(struct tls *t)
{
	struct tls_shake *s = t->shake;

	s->has_session = s->has_session || s->watch.session != NULL;
	if (s->watch.saw_renegotiation) {
		tls_break(t, "renegotiation");
		return TLS_FAILED;
	}
	if (s->watch.n_idle > TLS_IDLE_RECORDS_MAX) {
		tls_break(t, "too many records without content");
		return TLS_FAILED;
	}
	t->must_update = SSL_get_key_update_type(s->ssl) != SSL_KEY_UPDATE_NONE;
	return TLS_MORE;
}

enum tls_verdict tls_openssl_open(struct tls_ends *es, struct tls *t, struct queue *out)
{
	enum tls_verdict v = TLS_DONE;

	LB_ASSERT(t->state == TLS_IS_OPENSSL);
	while (v == TLS_DONE) {
		struct buf *b = buf_for(es, t->raw.bytes);
		if (b == NULL)
			return TLS_NO_BUFS;
		v = fill(t, b);
		queue_push(out, es->pool, b);
	}
	if (t->state == TLS_IS_OPENSSL && judge(t) == TLS_FAILED)
		return TLS_FAILED;
	return v;
}

/* Sends a KeyUpdate. OpenSSL answers a peer's by itself, but not before the next write. */
static enum tls_verdict update(struct tls *t)
{
	struct tls_shake *s = t->shake;

	LB_ASSERT(SSL_version(s->ssl) >= (int)TLS_VERSION_1_3);
	/* It is not finished when a KeyUpdate has found no buffer. */
	if (SSL_is_init_finished(s->ssl) &&
	    SSL_key_update(s->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1)
		return tls_ssl_failed(t);
	int r = SSL_do_handshake(s->ssl);
	if (r != 1)
		return verdict_of(t, r);
	t->must_update = false;
	return TLS_MORE;
}

/* Sends a KeyUpdate where the key has sealed enough records (RFC 8446, 5.5). */
static enum tls_verdict update_in_time(struct tls *t)
{
	struct tls_shake *s = t->shake;
	const SSL_CIPHER *cipher = SSL_get_current_cipher(s->ssl);
	struct tls_suite suite = { .aead = TLS_AES_128_GCM,
				   .is_tls_1_3 = SSL_version(s->ssl) >= (int)TLS_VERSION_1_3 };

	if (SSL_CIPHER_get_cipher_nid(cipher) == NID_chacha20_poly1305)
		suite.aead = TLS_CHACHA20_POLY1305;
	if (s->watch.n_tx < tls_suite_record_limit(suite))
		return TLS_MORE;
	if (!suite.is_tls_1_3) {
		(void)tls_openssl_close(NULL, t);
		tls_break(t, "too many records under one key");
		return TLS_FAILED;
	}
	return update(t);
}

/* The content of the next record, in one piece. */
static const uint8_t *gather(struct tls_ends *es, const struct queue *in, uint32_t *ret_n)
{
	const struct buf *b = queue_head(in);
	uint32_t n = in->bytes < TLS_CONTENT_MAX ? in->bytes : TLS_CONTENT_MAX, done = 0;

	*ret_n = n;
	LB_ASSERT(b != NULL);
	if (b->len >= n)
		return b->data + b->off;
	for (; b != NULL && done < n; b = queue_next(in, b)) {
		uint32_t part = n - done < b->len ? n - done : b->len;
		memcpy(es->scratch + done, b->data + b->off, part);
		done += part;
	}
	LB_ASSERT(done == n);
	return es->scratch;
}

enum tls_verdict tls_openssl_seal(struct tls_ends *es, struct tls *t, struct queue *in)
{
	struct tls_shake *s = t->shake;
	uint32_t left = in->bytes < TLS_SEAL_MAX ? in->bytes : TLS_SEAL_MAX;

	LB_ASSERT(t->state == TLS_IS_OPENSSL && !t->sent_close);
	if (!queue_is_empty(&t->sealed))
		return TLS_MORE;
	ERR_clear_error();
	if (t->must_update && !s->is_writing) {
		enum tls_verdict v = update(t);
		if (v != TLS_MORE)
			return v;
	}
	while (left > 0) {
		uint32_t n;
		size_t done = 0;
		const uint8_t *p = gather(es, in, &n);

		ERR_clear_error();
		enum tls_verdict v = update_in_time(t);
		if (v != TLS_MORE)
			return v;
		int r = SSL_write_ex(s->ssl, p, n, &done);
		if (r != 1) {
			s->is_writing = true;
			return verdict_of(t, r);
		}
		s->is_writing = false;
		LB_ASSERT(done <= n);
		queue_consume(in, es->pool, (uint32_t)done);
		left -= done < left ? (uint32_t)done : left;
	}
	return TLS_MORE;
}

enum tls_verdict tls_openssl_close(struct tls_ends *es, struct tls *t)
{
	(void)es;
	/* A record that waits for a buffer goes first: tls_seal() is to be repeated. */
	LB_ASSERT(t->state == TLS_IS_OPENSSL && !t->shake->is_writing);
	ERR_clear_error();
	int r = SSL_shutdown(t->shake->ssl);
	if (r < 0) {
		enum tls_verdict v = verdict_of(t, r);
		/* The peer's close_notify is read by tls_open(), not here. */
		return v == TLS_END ? TLS_MORE : v;
	}
	t->sent_close = true;
	return TLS_MORE;
}
