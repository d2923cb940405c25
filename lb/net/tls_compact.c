/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records by lb itself: what comes, what goes, and the messages between.
 *
 * Opening. A record is decrypted where it lies, in the buffer that it was received into; nothing of
 * it is handed on before its tag is verified. The contents of several records in one buffer are
 * moved together, so that the buffer is one chunk of plaintext:
 *
 *   |head|AAAAAA|tag|head|BBBB|tag|head|CC      becomes      |AAAAAABBBB|  and  |head|CC
 *
 * The bytes behind the last whole record wait in `raw`, in a buffer of their own. A record that
 * lies in several buffers is copied into one (BUF_HEAD_BYTES hold the longest).
 *
 * Sealing. Content becomes ciphertext on its way to a new buffer. Once it is sealed it has a
 * sequence number, so it goes out in order or the connection dies.
 *
 * KeyUpdate. The peer's makes its next record have the next key. When it asks for one of ours, that
 * is sent at the turn's end, and only when `sealed` is empty: one for any number of requests, so
 * that a peer that does not read cannot make us hold answers.
 *
 * Thread: the loop's. Hot.
 */
#include <string.h>

#include "net/tls_priv.h"

_Static_assert(BUF_HEAD_BYTES >= TLS_RECORD_MAX, "a record fits into one buffer");

/* ---- control records ------------------------------------------------------------------------- */

/* Seals one small record behind all others. TLS_MORE, TLS_NO_BUFS (nothing was done) or TLS_FAILED.
 */
static enum tls_verdict seal_control(struct tls_ends *es, struct tls *t, uint8_t type,
				     uint8_t *content, size_t n)
{
	struct iovec iov = { .iov_base = content, .iov_len = n };
	struct buf *b = buf_get(es->pool, BUF_SMALL);

	LB_ASSERT(t->state == TLS_IS_COMPACT && n + TLS_OVERHEAD_MAX <= BUF_SMALL_BYTES);
	if (b == NULL)
		return TLS_NO_BUFS;
	b->len = (uint32_t)tls_record_seal(es->crypto, t->suite, &t->tx, type, &iov, n, b->data);
	if (b->len == 0) {
		buf_put(es->pool, b);
		tls_break(t, "libcrypto has failed");
		return TLS_FAILED;
	}
	queue_push(&t->sealed, es->pool, b);
	return TLS_MORE;
}

/* Ends the connection with an alert, if there is a buffer for it. */
static enum tls_verdict fail(struct tls_ends *es, struct tls *t, uint8_t alert, const char *why)
{
	bool is_warning = alert == TLS_ALERT_NO_RENEGOTIATION; /* always (RFC 5246, 7.2.2) */
	uint8_t content[2] = { is_warning ? TLS_ALERT_LEVEL_WARNING : TLS_ALERT_LEVEL_FATAL,
			       alert };

	LB_ASSERT(alert != TLS_ALERT_CLOSE_NOTIFY);
	if (!t->sent_close)
		(void)seal_control(es, t, TLS_TYPE_ALERT, content, sizeof(content));
	if (t->state == TLS_IS_COMPACT)
		tls_break(t, why);
	return TLS_FAILED;
}

static enum tls_verdict fail_by(struct tls_ends *es, struct tls *t, uint8_t alert)
{
	return fail(es, t, alert, tls_alert_name(alert));
}

/* Sends a KeyUpdate and goes on to our next key. */
static enum tls_verdict seal_key_update(struct tls_ends *es, struct tls *t)
{
	uint8_t content[TLS_KEY_UPDATE_BYTES];

	LB_ASSERT(t->suite.is_tls_1_3 && !t->sent_close);
	tls_key_update_write(content, t->must_request);
	enum tls_verdict v = seal_control(es, t, TLS_TYPE_HANDSHAKE, content, sizeof(content));
	if (v != TLS_MORE)
		return v;
	if (tls_half_update(es->crypto, t->suite, &t->tx) < 0) {
		tls_break(t, "memory is short");
		return TLS_FAILED;
	}
	t->has_requested = t->has_requested || t->must_request;
	t->must_update = t->must_request = false;
	return TLS_MORE;
}

/* ---- open: what a record says ---------------------------------------------------------------- */

/* One more record without content. */
static enum tls_verdict count_idle(struct tls_ends *es, struct tls *t)
{
	if (!tls_is_idle_too_long(t))
		return TLS_MORE;
	return fail(es, t, TLS_ALERT_UNEXPECTED_MESSAGE, "too many records without content");
}

static enum tls_verdict on_alert(struct tls_ends *es, struct tls *t, const struct tls_opened *o)
{
	if (o->n != 2)
		return fail_by(es, t, TLS_ALERT_DECODE_ERROR);
	uint8_t level = o->content[0], alert = o->content[1];
	if (alert == TLS_ALERT_CLOSE_NOTIFY) {
		t->got_close = true;
		return TLS_END;
	}
	/* TLS 1.3 has no levels (RFC 8446, 6). */
	if (alert == TLS_ALERT_USER_CANCELED ||
	    (!t->suite.is_tls_1_3 && level == TLS_ALERT_LEVEL_WARNING))
		return count_idle(es, t);
	tls_break(t, tls_alert_name(alert));
	return TLS_RESET;
}

static enum tls_verdict on_key_update(struct tls_ends *es, struct tls *t, bool is_request)
{
	LB_ASSERT(!tls_messages_is_within(&t->messages));
	if (tls_half_update(es->crypto, t->suite, &t->rx) < 0) {
		tls_break(t, "memory is short");
		return TLS_FAILED;
	}
	t->has_requested = false;
	t->must_update = t->must_update || is_request;
	return count_idle(es, t);
}

static enum tls_verdict on_handshake(struct tls_ends *es, struct tls *t, const struct tls_opened *o)
{
	if (!t->suite.is_tls_1_3)
		return fail(es, t, TLS_ALERT_NO_RENEGOTIATION, "renegotiation");
	switch (tls_messages_feed(&t->messages, t->is_client, o->content, o->n)) {
	case TLS_MSG_NONE: return count_idle(es, t);
	case TLS_MSG_UPDATE: return on_key_update(es, t, false);
	case TLS_MSG_UPDATE_REQUESTED: return on_key_update(es, t, true);
	case TLS_MSG_MALFORMED: return fail_by(es, t, TLS_ALERT_DECODE_ERROR);
	case TLS_MSG_ILLEGAL: return fail_by(es, t, TLS_ALERT_ILLEGAL_PARAMETER);
	case TLS_MSG_UNEXPECTED: break;
	}
	return fail_by(es, t, TLS_ALERT_UNEXPECTED_MESSAGE);
}

/* A record that is verified. Its content is to be handed on where the type is DATA. */
static enum tls_verdict on_record(struct tls_ends *es, struct tls *t, const struct tls_opened *o)
{
	if (o->type != TLS_TYPE_HANDSHAKE && tls_messages_is_within(&t->messages))
		return fail_by(es, t, TLS_ALERT_UNEXPECTED_MESSAGE);
	switch (o->type) {
	case TLS_TYPE_DATA:
		if (o->n == 0)
			return count_idle(es, t);
		t->n_idle = 0;
		return TLS_MORE;
	case TLS_TYPE_ALERT: return on_alert(es, t, o);
	case TLS_TYPE_HANDSHAKE: return on_handshake(es, t, o);
	default: return fail_by(es, t, TLS_ALERT_UNEXPECTED_MESSAGE);
	}
}

/* ---- open: records in buffers ---------------------------------------------------------------- */

/* The alert that answers a header, or -1 where it is good. */
static int judge_head(const struct tls *t, struct tls_head h)
{
	bool is_type_known = h.type == TLS_TYPE_DATA ||
			     (!t->suite.is_tls_1_3 &&
			      (h.type == TLS_TYPE_ALERT || h.type == TLS_TYPE_HANDSHAKE));

	if (!is_type_known)
		return TLS_ALERT_UNEXPECTED_MESSAGE;
	if (h.version != TLS_VERSION_1_2)
		return TLS_ALERT_PROTOCOL_VERSION;
	return h.len > TLS_CIPHERTEXT_MAX ? TLS_ALERT_RECORD_OVERFLOW : -1;
}

/* The header at the front of `raw`; false: it is not whole. */
static bool peek_head(const struct tls *t, struct tls_head *ret)
{
	uint8_t p[TLS_HEAD_BYTES];
	uint32_t n = 0;

	if (t->raw.bytes < TLS_HEAD_BYTES)
		return false;
	for (const struct buf *b = queue_head(&t->raw); b != NULL && n < TLS_HEAD_BYTES;
	     b = queue_next(&t->raw, b))
		for (uint32_t i = 0; i < b->len && n < TLS_HEAD_BYTES; i++)
			p[n++] = b->data[b->off + i];
	LB_ASSERT(n == TLS_HEAD_BYTES);
	*ret = tls_head_read(p);
	return true;
}

/* A new buffer of `n` bytes at least. It is there: has_spare() was asked. */
static struct buf *spare(struct tls_ends *es, uint32_t n)
{
	struct buf *b = buf_get(es->pool, n <= BUF_SMALL_BYTES ? BUF_SMALL : BUF_HEAD);

	LB_ASSERT(b == NULL || b->cap >= n);
	return b;
}

static bool has_spare(const struct tls_ends *es)
{
	return buf_is_available(es->pool, BUF_SMALL) && buf_is_available(es->pool, BUF_HEAD);
}

/* Takes a buffer out of `raw` whose first `n` bytes are the record at its front. NULL: no buffer
 * was left, and nothing was done. */
static struct buf *take_record(struct tls_ends *es, struct tls *t, uint32_t n)
{
	const struct buf *head = queue_head(&t->raw);

	LB_ASSERT(head != NULL && t->raw.bytes >= n);
	if (head->len >= n)
		return queue_pop(&t->raw);

	struct buf *whole = spare(es, n);
	if (whole == NULL)
		return NULL;
	while (whole->len < n) {
		const struct buf *b = queue_head(&t->raw);
		LB_ASSERT(b != NULL);
		uint32_t part = n - whole->len < b->len ? n - whole->len : b->len;
		memcpy(whole->data + whole->len, b->data + b->off, part);
		whole->len += part;
		queue_consume(&t->raw, es->pool, part);
	}
	return whole;
}

/* Cursors in a buffer that is being opened. */
struct run {
	uint32_t in, end;      /* ciphertext that is left */
	uint32_t out, out_end; /* plaintext, before it */
};

/* Opens every record that is whole in `b`. */
static enum tls_verdict open_run(struct tls_ends *es, struct tls *t, struct buf *b, struct run *c)
{
	enum tls_verdict v = TLS_MORE;

	while (v == TLS_MORE && c->end - c->in >= TLS_HEAD_BYTES) {
		struct tls_head h = tls_head_read(b->data + c->in);
		struct tls_opened o;
		int alert = judge_head(t, h);

		if (alert >= 0)
			return fail_by(es, t, (uint8_t)alert);
		if (c->end - c->in < TLS_HEAD_BYTES + h.len)
			break;
		alert = tls_record_open(es->crypto, t->suite, &t->rx, b->data + c->in, h, &o);
		if (alert != 0)
			return fail_by(es, t, (uint8_t)alert);
		c->in += TLS_HEAD_BYTES + h.len;
		v = on_record(es, t, &o);
		if (v != TLS_MORE || o.type != TLS_TYPE_DATA || o.n == 0)
			continue;
		if (c->out == c->out_end)
			c->out = c->out_end = (uint32_t)(o.content - b->data);
		else
			memmove(b->data + c->out_end, o.content, o.n);
		c->out_end += (uint32_t)o.n;
		LB_ASSERT(c->out_end <= c->in && c->in <= c->end);
	}
	return v;
}

/* Hands the plaintext of `b` on, and puts the ciphertext that is left back into `raw`: one of the
 * two is copied where there are both. Returns false when no buffer was left. */
static bool part_run(struct tls_ends *es, struct tls *t, struct buf *b, const struct run *c,
		     struct queue *out)
{
	uint32_t n_out = c->out_end - c->out, n_in = c->end - c->in;
	uint32_t n_copy = n_out < n_in ? n_out : n_in;
	struct buf *copy = NULL;

	LB_ASSERT(c->out <= c->out_end && c->out_end <= c->in && c->in <= c->end);
	LB_ASSERT(c->end <= b->cap);
	if (n_copy > 0) {
		copy = spare(es, n_copy);
		if (copy == NULL) {
			buf_put(es->pool, b);
			return false;
		}
		memcpy(copy->data, b->data + (n_out < n_in ? c->out : c->in), n_copy);
		copy->len = n_copy;
	}
	struct buf *plain = n_out < n_in ? copy : b, *rest = n_out < n_in ? b : copy;
	if (plain != NULL) {
		plain->off = plain == b ? c->out : 0;
		plain->len = n_out;
		queue_push(out, es->pool, plain);
	}
	if (rest != NULL) {
		rest->off = rest == b ? c->in : 0;
		rest->len = n_in;
		queue_push_front(&t->raw, rest);
	}
	return true;
}

enum tls_verdict tls_compact_open(struct tls_ends *es, struct tls *t, struct queue *out)
{
	enum tls_verdict v = TLS_MORE;
	struct tls_head h;

	LB_ASSERT(t->state == TLS_IS_COMPACT);
	while (v == TLS_MORE && peek_head(t, &h)) {
		int alert = judge_head(t, h);
		if (alert >= 0)
			return fail_by(es, t, (uint8_t)alert);
		if (t->raw.bytes < TLS_HEAD_BYTES + h.len)
			break;
		if (!has_spare(es))
			return TLS_NO_BUFS;
		struct buf *b = take_record(es, t, TLS_HEAD_BYTES + h.len);
		if (b == NULL)
			return TLS_NO_BUFS;
		LB_ASSERT(b->refs == 1); /* decrypted in place */
		struct run c = { .in = b->off, .end = b->off + b->len };
		v = open_run(es, t, b, &c);
		if (v != TLS_MORE)
			c.end = c.in; /* what is behind the record that decides is ignored */
		if (!part_run(es, t, b, &c, out))
			return fail(es, t, TLS_ALERT_INTERNAL_ERROR, "memory is short");
	}
	/* The peer's key is old: ours asks for its next one. */
	if (v == TLS_MORE && t->suite.is_tls_1_3 && !t->has_requested &&
	    t->rx.seq >= tls_suite_record_limit(t->suite))
		t->must_request = true;
	return v;
}

/* ---- seal ------------------------------------------------------------------------------------ */

/* A buffer for `n` bytes of ciphertext, or for a part of them. */
static struct buf *buf_for(struct tls_ends *es, uint32_t n)
{
	struct buf *b = NULL;

	if (n > BUF_HEAD_BYTES)
		b = buf_get(es->pool, BUF_LARGE);
	if (b == NULL && n > BUF_SMALL_BYTES)
		b = buf_get(es->pool, BUF_HEAD);
	return b != NULL ? b : buf_get(es->pool, BUF_SMALL);
}

/* How much content the next record in `b` has. */
static uint32_t content_of(const struct queue *in, const struct iovec *iov, int n_iov,
			   uint32_t room)
{
	uint32_t n = 0;

	for (int i = 0; i < n_iov && n < TLS_CONTENT_MAX; i++)
		n += (uint32_t)iov[i].iov_len;
	n = n < TLS_CONTENT_MAX ? n : TLS_CONTENT_MAX;
	LB_ASSERT(n <= in->bytes || n == TLS_CONTENT_MAX);
	return n < room ? n : room;
}

/* Fills `b` with records from the front of `in`; takes at most `most` bytes. Returns how many, or
 * 0 when libcrypto has failed. */
static uint32_t fill(struct tls_ends *es, struct tls *t, struct buf *b, struct queue *in,
		     uint32_t most)
{
	uint32_t overhead = (uint32_t)tls_suite_overhead(t->suite), taken = 0;
	uint64_t limit = tls_suite_record_limit(t->suite);

	while (taken < most && b->cap - b->len > overhead && t->tx.seq < limit) {
		struct iovec iov[LOOP_IOV_MAX];
		int n_iov = queue_iov(in, iov);
		uint32_t room = b->cap - b->len - overhead;
		uint32_t n = content_of(in, iov, n_iov, room < most - taken ? room : most - taken);
		size_t written = tls_record_seal(es->crypto, t->suite, &t->tx, TLS_TYPE_DATA, iov,
						 n, b->data + b->len);
		if (written == 0)
			return 0;
		b->len += (uint32_t)written;
		taken += n;
		queue_consume(in, es->pool, n);
	}
	LB_ASSERT(b->len <= b->cap && taken > 0);
	return taken;
}

/* Makes room for one more record under our key. */
static enum tls_verdict renew_key(struct tls_ends *es, struct tls *t)
{
	if (t->tx.seq < tls_suite_record_limit(t->suite))
		return TLS_MORE;
	if (t->suite.is_tls_1_3)
		return seal_key_update(es, t);
	(void)tls_compact_close(es, t);
	tls_break(t, "too many records under one key");
	return TLS_FAILED;
}

enum tls_verdict tls_compact_seal(struct tls_ends *es, struct tls *t, struct queue *in)
{
	uint32_t left = in->bytes < TLS_SEAL_MAX ? in->bytes : TLS_SEAL_MAX;
	enum tls_verdict v = TLS_MORE;

	LB_ASSERT(t->state == TLS_IS_COMPACT && !t->sent_close);
	if (!queue_is_empty(&t->sealed))
		return TLS_MORE;
	if (t->must_update || t->must_request)
		v = seal_key_update(es, t);
	while (v == TLS_MORE && left > 0) {
		v = renew_key(es, t);
		if (v != TLS_MORE)
			break;
		/* Each record of 16 KiB adds its overhead. */
		struct buf *b = buf_for(es, left + (left / TLS_CONTENT_MAX + 1) * TLS_OVERHEAD_MAX);
		if (b == NULL)
			return TLS_NO_BUFS;
		bool is_large = b->size_class == BUF_LARGE;
		uint32_t taken = fill(es, t, b, in, left);
		if (taken == 0) {
			buf_put(es->pool, b);
			tls_break(t, "libcrypto has failed");
			return TLS_FAILED;
		}
		queue_push(&t->sealed, es->pool, b);
		left -= taken;
		if (is_large)
			break; /* a full one: what is left is the next call's */
	}
	return v;
}

enum tls_verdict tls_compact_close(struct tls_ends *es, struct tls *t)
{
	uint8_t content[2] = { TLS_ALERT_LEVEL_WARNING, TLS_ALERT_CLOSE_NOTIFY };

	LB_ASSERT(t->state == TLS_IS_COMPACT && !t->sent_close);
	enum tls_verdict v = seal_control(es, t, TLS_TYPE_ALERT, content, sizeof(content));
	t->sent_close = t->sent_close || v == TLS_MORE;
	return v;
}
