/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunk framing, a state for every place in it:
 *
 *   SIZE_FIRST -> SIZE -> [EXTENSION] -> SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE_FIRST
 *                                           |  (size 0)
 *                                           v
 *                      END_LF <--------- TRAILER -> NAME -> VALUE -> VALUE_LF -> TRAILER
 *
 * Thread: the owner's. Hot.
 */
#include "proto/body.h"

#include "proto/octet.h"

/* Enough for 2^63 - 1; more digits could only be leading zeros. */
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

/* What both kinds of heads say in the same way; false where they say nothing. */
static bool init_framed(struct body *b, const struct http1_head *h)
{
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

/* RFC 9112, 6.3, first rule: whatever its fields say. */
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
}

/* ---- chunks ---------------------------------------------------------------------------------- */

static enum state take_digit(struct body *b, uint8_t c)
{
	uint64_t digit = octet_is(c, OCTET_DIGIT) ? c - 0x30u : (c | 0x20u) - 'a' + 10;

	if (b->left > (uint64_t)INT64_MAX >> 4 || ++b->n_text > SIZE_DIGITS_MAX)
		return CHUNK_BROKEN;
	b->left = b->left << 4 | digit;
	return CHUNK_SIZE;
}

/* Behind the size: RFC 9112, 7.1.1 lets white space stand before an extension, not before CR. */
static enum state step_size(struct body *b, uint8_t c)
{
	if (octet_is(c, OCTET_HEX) && b->state != CHUNK_SPACE)
		return take_digit(b, c);
	if (b->state == CHUNK_SIZE_FIRST)
		return CHUNK_BROKEN;
	if (c == '\r' && b->state == CHUNK_SIZE)
		return CHUNK_SIZE_LF;
	if (b->state == CHUNK_SIZE)
		b->n_text = 0;
	if (++b->n_text > BODY_EXTENSION_MAX)
		return CHUNK_BROKEN;
	if (octet_is(c, OCTET_OWS))
		return CHUNK_SPACE;
	return c == ';' ? CHUNK_EXTENSION : CHUNK_BROKEN;
}

static enum state step_extension(struct body *b, uint8_t c)
{
	if (c == '\r')
		return CHUNK_SIZE_LF;
	if (!octet_is(c, OCTET_TEXT) || ++b->n_text > BODY_EXTENSION_MAX)
		return CHUNK_BROKEN;
	return CHUNK_EXTENSION;
}

/* Trailers are fields (RFC 9112, 7.1.2): a name without white space, a colon, a value. */
static enum state step_trailer(struct body *b, uint8_t c)
{
	if (++b->n_text > BODY_TRAILERS_MAX)
		return CHUNK_BROKEN;
	if (b->state == CHUNK_TRAILER) {
		if (c == '\r')
			return CHUNK_END_LF;
		return octet_is(c, OCTET_TOKEN) ? CHUNK_NAME : CHUNK_BROKEN;
	}
	if (b->state == CHUNK_NAME) {
		if (c == ':')
			return CHUNK_VALUE;
		return octet_is(c, OCTET_TOKEN) ? CHUNK_NAME : CHUNK_BROKEN;
	}
	if (c == '\r')
		return CHUNK_VALUE_LF;
	return octet_is(c, OCTET_TEXT) ? CHUNK_VALUE : CHUNK_BROKEN;
}

/* Where the byte `c`, which is no payload, leads. */
static enum state step(struct body *b, uint8_t c)
{
	switch ((enum state)b->state) {
	case CHUNK_SIZE_FIRST:
	case CHUNK_SIZE:
	case CHUNK_SPACE: return step_size(b, c);
	case CHUNK_EXTENSION: return step_extension(b, c);
	case CHUNK_SIZE_LF:
		b->n_text = 0;
		if (c != '\n')
			return CHUNK_BROKEN;
		return b->left == 0 ? CHUNK_TRAILER : CHUNK_DATA;
	case CHUNK_DATA_CR: return c == '\r' ? CHUNK_DATA_LF : CHUNK_BROKEN;
	case CHUNK_DATA_LF: return c == '\n' ? CHUNK_SIZE_FIRST : CHUNK_BROKEN;
	case CHUNK_TRAILER:
	case CHUNK_NAME:
	case CHUNK_VALUE: return step_trailer(b, c);
	case CHUNK_VALUE_LF: return c == '\n' ? CHUNK_TRAILER : CHUNK_BROKEN;
	case CHUNK_END_LF: return c == '\n' ? CHUNK_OVER : CHUNK_BROKEN;
	case CHUNK_DATA:
	case CHUNK_OVER:
	case CHUNK_BROKEN: break;
	}
	return CHUNK_BROKEN;
}

/* Takes payload as far as it goes; returns how much. */
static size_t skip(struct body *b, size_t n)
{
	size_t taken = n < b->left ? n : (size_t)b->left;

	b->left -= taken;
	return taken;
}

static enum body_verdict feed_chunked(struct body *b, const uint8_t *p, size_t n, size_t *ret_used)
{
	size_t i = 0;

	while (i < n && b->state != CHUNK_OVER && b->state != CHUNK_BROKEN) {
		if (b->state == CHUNK_DATA) {
			i += skip(b, n - i);
			if (b->left == 0)
				b->state = CHUNK_DATA_CR;
			continue;
		}
		b->state = (uint8_t)step(b, p[i]);
		if (b->state != CHUNK_BROKEN)
			i++;
	}
	*ret_used = i;
	if (b->state == CHUNK_OVER)
		b->mode = BODY_MODE_NONE;
	if (b->state == CHUNK_BROKEN)
		return BODY_BAD;
	return b->state == CHUNK_OVER ? BODY_DONE : BODY_MORE;
}

enum body_verdict body_feed(struct body *b, const uint8_t *p, size_t n, size_t *ret_used)
{
	switch ((enum body_mode)b->mode) {
	case BODY_MODE_CHUNKED: return feed_chunked(b, p, n, ret_used);
	case BODY_MODE_UNTIL_CLOSE: *ret_used = n; return BODY_MORE;
	case BODY_MODE_LENGTH:
		*ret_used = skip(b, n);
		if (b->left != 0)
			return BODY_MORE;
		b->mode = BODY_MODE_NONE;
		return BODY_DONE;
	case BODY_MODE_NONE: break;
	}
	*ret_used = 0;
	return BODY_DONE;
}
