/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a body ends, and the rewriting of chunk framing.
 *
 * Terms. A body's framing is what tells where the body ends: a length, chunks, or the end of the
 * connection. The payload is the bytes of the body without the framing. A chunk is a line with a
 * size, that many bytes of payload, and CRLF. Trailers are field lines behind the last chunk. A
 * piece is the bytes of one body_feed(). A byte goes on when it is passed to the other side. A byte
 * is owed when it is to go on, but was not written into a piece yet.
 *
 * body_init_request() or body_init_response() takes the framing from the head. body_feed() takes
 * the bytes of the connection piece by piece. For chunks it calls feed_chunked(), which takes
 * framing by step(), a byte at a time, and payload by take_payload(). When the body is over,
 * body_take_owed() gives the last bytes.
 *
 * There is a state for every position in chunk framing:
 *
 *   SIZE_FIRST -> SIZE -> [SPACE] -> [EXTENSION] -> SIZE_LF
 *   SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE_FIRST
 *   SIZE_LF -> TRAILER (behind the size 0)
 *   TRAILER -> NAME -> [NAME_SPACE] -> VALUE -> VALUE_LF -> TRAILER
 *   TRAILER -> END_LF -> OVER
 *
 * step() judges one byte of framing. For each byte that goes on in its place step() calls emit(),
 * which adds it to the owed bytes. write_owed() then writes owed bytes into the piece, over bytes
 * that have been judged already. `in` counts the judged bytes of the piece, and `out` the bytes
 * that were written there to go on. Framing never becomes longer, so `out` is at most `in`, and no
 * byte is overwritten before it is judged.
 *
 * Two things are held back until a later byte decides about them: the zeros of a size (the last
 * chunk's size, or zeros in front of another digit), and the name of a trailer (dropped or not). A
 * step adds at most one byte to the bytes that are held back or owed, and write_owed() takes one
 * away when any is owed. So the owed bytes are never more than a name and its colon: BODY_OWED_MAX.
 *
 * Payload is not read. take_payload() skips it, and moves it only when framing in front of it has
 * become shorter in the same piece.
 *
 * Thread: the owner's. Hot.
 */
#include "proto/body.h"

#include <string.h>

#include "proto/octet.h"

/* 2^63 - 1 has 16 hexadecimal digits; more digits could only be leading zeros. */
#define SIZE_DIGITS_MAX 16u

enum state {
	CHUNK_SIZE_FIRST,
	CHUNK_SIZE,
	CHUNK_SPACE,
	CHUNK_EXTENSION,
	CHUNK_SIZE_LF,
	CHUNK_DATA,
	CHUNK_DATA_CR,
	CHUNK_DATA_LF,
	CHUNK_TRAILER,
	CHUNK_NAME,
	CHUNK_NAME_SPACE,
	CHUNK_VALUE,
	CHUNK_VALUE_LF,
	CHUNK_END_LF,
	CHUNK_OVER,
	CHUNK_BROKEN,
};

static void init(struct body *b, enum body_mode mode, uint64_t left)
{
	*b = (struct body){ .mode = (uint8_t)mode, .left = left, .state = CHUNK_SIZE_FIRST };
}

/*
 * Takes the framing from the head when it is chunks or a length, as requests and responses may have
 * it. Returns false when the head has neither.
 */
static bool init_framed(struct body *b, const struct http1_head *h)
{
	LB_ASSERT(h->content_length >= -1);
	if (h->is_chunked)
		init(b, BODY_MODE_CHUNKED, 0);
	else if (h->content_length > 0)
		init(b, BODY_MODE_LENGTH, (uint64_t)h->content_length);
	else if (h->content_length == 0)
		init(b, BODY_MODE_NONE, 0);
	else
		return false;
	return true;
}

void body_init_request(struct body *b, const struct http1_head *h)
{
	if (!init_framed(b, h))
		init(b, BODY_MODE_NONE, 0);
}

/* Whether no body follows a response, whatever its fields say (RFC 9112, 6.3, first rule). */
static bool is_bodiless(const struct http1_head *h, enum http1_method asked)
{
	return asked == HTTP1_HEAD || h->status < 200 || h->status == 204 || h->status == 304;
}

const char *body_check_response(const struct http1_head *h, enum http1_method asked)
{
	if (h->is_chunked && h->content_length >= 0 && !is_bodiless(h, asked))
		return "Content-Length with Transfer-Encoding";
	return NULL;
}

void body_init_response(struct body *b, const struct http1_head *h, enum http1_method asked)
{
	if (is_bodiless(h, asked))
		init(b, BODY_MODE_NONE, 0);
	else if (!init_framed(b, h))
		init(b, BODY_MODE_UNTIL_CLOSE, 0);
	b->is_response = true;
}

void body_unframe(struct body *b)
{
	LB_ASSERT(b->n_owed == 0 && b->state == CHUNK_SIZE_FIRST); /* no byte was fed yet */
	b->is_unframed = true;
}

/* ---- what goes on ---------------------------------------------------------------------------- */

/*
 * The bytes of one body_feed(): the first `in` bytes were judged, and the first `out` bytes go on.
 */
struct piece {
	uint8_t *p;
	size_t in, out;
};

static void emit(struct body *b, uint8_t c)
{
	if (b->is_unframed)
		return;
	LB_ASSERT(b->n_owed < BODY_OWED_MAX);
	b->owed[b->n_owed++] = c;
}

/*
 * Writes owed bytes into the piece, as many as fit in front of the bytes that are not judged yet.
 */
static void write_owed(struct body *b, struct piece *f)
{
	LB_ASSERT(f->out <= f->in && b->n_owed <= BODY_OWED_MAX);
	size_t n_free = f->in - f->out;
	size_t n = b->n_owed < n_free ? b->n_owed : n_free;

	if (n == 0)
		return;
	for (size_t i = 0; i < n; i++)
		f->p[f->out++] = b->owed[i];
	b->n_owed -= (uint8_t)n;
	for (size_t i = 0; i < b->n_owed; i++)
		b->owed[i] = b->owed[i + n];
}

size_t body_take_owed(struct body *b, uint8_t out[BODY_OWED_MAX])
{
	size_t n = b->n_owed;

	LB_ASSERT(n <= BODY_OWED_MAX);
	memcpy(out, b->owed, n);
	b->n_owed = 0;
	return n;
}

/* ---- chunks ---------------------------------------------------------------------------------- */

/*
 * Takes a digit of a size. Leading zeros do not go on; when all digits are zeros, step_size() emits
 * one zero at the end of the size.
 */
static enum state take_digit(struct body *b, uint8_t c)
{
	uint64_t digit = octet_is(c, OCTET_DIGIT) ? c - 0x30u : (c | 0x20u) - 'a' + 10;

	LB_DASSERT(digit < 16);

	if (b->left > (uint64_t)INT64_MAX >> 4 || ++b->n_text > SIZE_DIGITS_MAX)
		return CHUNK_BROKEN;
	b->left = b->left << 4 | digit;
	if (b->left != 0)
		emit(b, c | 0x20u);
	return CHUNK_SIZE;
}

static enum state end_size_line(struct body *b)
{
	emit(b, '\r');
	return CHUNK_SIZE_LF;
}

/*
 * Called at a byte behind the size. RFC 9112, 7.1.1 allows white space before an extension but not
 * before CR. Devices that write the size into a field of fixed width (most ESP32 devices) send
 * white space before CR all the same. It is accepted from a backend, because every parser ends the
 * size in front of the white space.
 */
static enum state step_behind_size(struct body *b, uint8_t c)
{
	if (c == '\r' && (b->state == CHUNK_SIZE || b->is_response))
		return end_size_line(b);
	if (++b->n_text > BODY_EXTENSION_MAX)
		return CHUNK_BROKEN;
	if (octet_is(c, OCTET_OWS))
		return CHUNK_SPACE;
	return c == ';' ? CHUNK_EXTENSION : CHUNK_BROKEN;
}

static enum state step_size(struct body *b, uint8_t c)
{
	if (octet_is(c, OCTET_HEX))
		return take_digit(b, c);
	if (b->state == CHUNK_SIZE_FIRST)
		return CHUNK_BROKEN;
	if (b->left == 0)
		emit(b, '0'); /* one zero stands for all zeros of the size */
	b->n_text = 0;
	return step_behind_size(b, c);
}

static enum state step_extension(struct body *b, uint8_t c)
{
	if (c == '\r')
		return end_size_line(b);
	if (!octet_is(c, OCTET_TEXT) || ++b->n_text > BODY_EXTENSION_MAX)
		return CHUNK_BROKEN;
	return CHUNK_EXTENSION;
}

/* ---- trailers -------------------------------------------------------------------------------- */

/*
 * Whether the trailer is dropped: because it frames or routes a message, is hop-by-hop, or is a
 * field that lb itself sets. A receiver that merges trailers into the fields of the head would act
 * upon such a trailer. A trailer whose name is too long to judge is dropped, too.
 */
static bool is_dropped(const struct body *b)
{
	if (b->n_name > BODY_NAME_MAX)
		return true;
	switch (http1_name_id((struct slice){ .p = b->name, .n = b->n_name })) {
	case HTTP1_FIELD_HOST:
	case HTTP1_FIELD_CONTENT_LENGTH:
	case HTTP1_FIELD_TRANSFER_ENCODING:
	case HTTP1_FIELD_CONNECTION:
	case HTTP1_FIELD_UPGRADE:
	case HTTP1_FIELD_KEEP_ALIVE:
	case HTTP1_FIELD_PROXY_CONNECTION:
	case HTTP1_FIELD_TE: return true;
	case HTTP1_FIELD_FORWARDED:
	case HTTP1_FIELD_X_FORWARDED_FOR:
	case HTTP1_FIELD_X_FORWARDED_PROTO:
	case HTTP1_FIELD_X_FORWARDED_HOST: return !b->is_response;
	case HTTP1_FIELD_OTHER:
	case HTTP1_FIELD_SEC_WEBSOCKET_KEY:
	case HTTP1_FIELD_SEC_WEBSOCKET_VERSION:
	case HTTP1_FIELD_SEC_WEBSOCKET_ACCEPT:
	case HTTP1_FIELD_COOKIE:
	case HTTP1_FIELD_N: break;
	}
	return false;
}

/* How many bytes of the trailer's name are in b->name. */
static size_t name_len(const struct body *b)
{
	return b->n_name <= BODY_NAME_MAX ? b->n_name : BODY_NAME_MAX;
}

/*
 * Holds back a byte of a trailer's name. At the colon, end_name() decides whether the name goes on.
 */
static enum state take_name(struct body *b, uint8_t c)
{
	if (b->state == CHUNK_TRAILER)
		b->n_name = 0;
	if (b->n_name < BODY_NAME_MAX)
		b->name[b->n_name++] = (char)c;
	else
		b->n_name = BODY_NAME_MAX + 1;
	return CHUNK_NAME;
}

static enum state end_name(struct body *b)
{
	bool is_underscored = b->underscores != BODY_UNDERSCORES_PASS &&
			      memchr(b->name, '_', name_len(b)) != NULL;

	LB_ASSERT(b->n_name > 0 && b->n_name <= BODY_NAME_MAX + 1);
	if (is_underscored && b->underscores == BODY_UNDERSCORES_REFUSE)
		return CHUNK_BROKEN;
	b->is_dropped = is_underscored || is_dropped(b);
	for (size_t i = 0; !b->is_dropped && i < b->n_name; i++)
		emit(b, (uint8_t)b->name[i]);
	if (!b->is_dropped)
		emit(b, ':');
	return CHUNK_VALUE;
}

/* White space before the colon is accepted from a backend only, as in a head, and is removed. */
static enum state step_name(struct body *b, uint8_t c)
{
	if (c == ':')
		return end_name(b);
	if (octet_is(c, OCTET_OWS) && b->is_response)
		return CHUNK_NAME_SPACE;
	if (octet_is(c, OCTET_TOKEN) && b->state == CHUNK_NAME)
		return take_name(b, c);
	return CHUNK_BROKEN;
}

static enum state pass(struct body *b, uint8_t c, enum state to)
{
	if (!b->is_dropped)
		emit(b, c);
	return to;
}

/* Trailers are fields (RFC 9112, 7.1.2): a name without white space, a colon, a value. */
static enum state step_trailer(struct body *b, uint8_t c)
{
	if (++b->n_text > BODY_TRAILERS_MAX)
		return CHUNK_BROKEN;
	if (b->state == CHUNK_NAME || b->state == CHUNK_NAME_SPACE)
		return step_name(b, c);
	if (b->state == CHUNK_TRAILER) {
		if (c == '\r') {
			emit(b, c);
			return CHUNK_END_LF;
		}
		return octet_is(c, OCTET_TOKEN) ? take_name(b, c) : CHUNK_BROKEN;
	}
	if (c == '\r')
		return pass(b, c, CHUNK_VALUE_LF);
	return octet_is(c, b->is_response ? OCTET_LAX : OCTET_TEXT) ? pass(b, c, CHUNK_VALUE)
								    : CHUNK_BROKEN;
}

/* ---- the driver ------------------------------------------------------------------------------ */

/* When `c` is `want`, `c` goes on, and the next state is `to`. Any other byte is malformed. */
static enum state step_only(struct body *b, uint8_t c, uint8_t want, enum state to)
{
	if (c != want)
		return CHUNK_BROKEN;
	emit(b, c);
	return to;
}

/* The state behind the byte `c` of the framing. */
static enum state step(struct body *b, uint8_t c)
{
	switch ((enum state)b->state) {
	case CHUNK_SIZE_FIRST:
	case CHUNK_SIZE: return step_size(b, c);
	case CHUNK_SPACE: return step_behind_size(b, c);
	case CHUNK_EXTENSION: return step_extension(b, c);
	case CHUNK_SIZE_LF:
		b->n_text = 0;
		return step_only(b, c, '\n', b->left == 0 ? CHUNK_TRAILER : CHUNK_DATA);
	case CHUNK_DATA_CR: return step_only(b, c, '\r', CHUNK_DATA_LF);
	case CHUNK_DATA_LF: return step_only(b, c, '\n', CHUNK_SIZE_FIRST);
	case CHUNK_TRAILER:
	case CHUNK_NAME:
	case CHUNK_NAME_SPACE:
	case CHUNK_VALUE: return step_trailer(b, c);
	case CHUNK_VALUE_LF: return c == '\n' ? pass(b, c, CHUNK_TRAILER) : CHUNK_BROKEN;
	case CHUNK_END_LF: return step_only(b, c, '\n', CHUNK_OVER);
	case CHUNK_DATA:
	case CHUNK_OVER:
	case CHUNK_BROKEN: break;
	}
	return CHUNK_BROKEN;
}

/* Takes up to `n` bytes of payload off b->left. Returns how many bytes it has taken. */
static size_t skip(struct body *b, size_t n)
{
	size_t taken = n < b->left ? n : (size_t)b->left;

	b->left -= taken;
	return taken;
}

/*
 * Passes payload on. No byte is owed here: the size in front of payload is not zero, so its digits
 * were emitted one by one, and each was written into the piece as soon as it was judged.
 */
static void take_payload(struct body *b, struct piece *f, size_t n)
{
	LB_ASSERT(f->in < n && b->left > 0);
	size_t taken = skip(b, n - f->in);

	LB_ASSERT(b->n_owed == 0 && f->out <= f->in);
	if (f->out != f->in)
		memmove(f->p + f->out, f->p + f->in, taken);
	f->in += taken;
	f->out += taken;
	if (b->left == 0)
		b->state = CHUNK_DATA_CR;
}

static enum body_verdict feed_chunked(struct body *b, uint8_t *p, size_t n, struct body_fed *ret)
{
	struct piece f = { .p = p };

	while (f.in < n && b->state != CHUNK_OVER && b->state != CHUNK_BROKEN) {
		if (b->state == CHUNK_DATA) {
			take_payload(b, &f, n);
			continue;
		}
		b->state = (uint8_t)step(b, p[f.in]);
		if (b->state != CHUNK_BROKEN) {
			f.in++;
			write_owed(b, &f);
		}
	}
	LB_ASSERT(f.out <= f.in && f.in <= n);
	LB_ASSERT(b->state != CHUNK_OVER || b->left == 0);
	*ret = (struct body_fed){ .used = f.in, .kept = f.out };
	if (b->state == CHUNK_OVER)
		b->mode = BODY_MODE_NONE;
	if (b->state == CHUNK_BROKEN)
		return BODY_BAD;
	return b->state == CHUNK_OVER ? BODY_DONE : BODY_MORE;
}

enum body_verdict body_feed(struct body *b, uint8_t *p, size_t n, struct body_fed *ret)
{
	switch ((enum body_mode)b->mode) {
	case BODY_MODE_CHUNKED: return feed_chunked(b, p, n, ret);
	case BODY_MODE_UNTIL_CLOSE:
		*ret = (struct body_fed){ .used = n, .kept = n };
		return BODY_MORE;
	case BODY_MODE_LENGTH:
		LB_ASSERT(b->left > 0);
		ret->used = ret->kept = skip(b, n);
		if (b->left != 0)
			return BODY_MORE;
		b->mode = BODY_MODE_NONE;
		return BODY_DONE;
	case BODY_MODE_NONE: break;
	}
	*ret = (struct body_fed){ 0 };
	return BODY_DONE;
}
