/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies: where one ends does not depend on how its bytes come, and a second reader of chunks,
 * written from the grammar of RFC 9112, 7.1, finds the same end. The input's first three bytes say
 * how it is framed, the rest is the stream.
 */
#include "fuzz.h"

#include "proto/body.h"
#include "proto/octet.h"

struct verdict {
	enum body_verdict v;
	size_t used;
};

/* ---- the second reader ----------------------------------------------------------------------- */

/* What is left to read, and what was thought of it so far. */
struct reader {
	const uint8_t *p, *end;
	enum body_verdict v; /* BODY_DONE: nothing against it yet */
};

/* Takes octets of a class, at most `max`; returns how many. At the input's end more may come. */
static size_t take_run(struct reader *r, unsigned mask, size_t max)
{
	size_t n = 0;

	while (r->v == BODY_DONE && n <= max) {
		if (r->p == r->end) {
			r->v = BODY_MORE;
		} else if (!octet_is(*r->p, mask)) {
			break;
		} else if (n == max) {
			r->v = BODY_BAD;
		} else {
			r->p++;
			n++;
		}
	}
	return n;
}

static void take_octet(struct reader *r, uint8_t c)
{
	if (r->v != BODY_DONE)
		return;
	if (r->p == r->end)
		r->v = BODY_MORE;
	else if (*r->p != c)
		r->v = BODY_BAD;
	else
		r->p++;
}

static void take_crlf(struct reader *r)
{
	take_octet(r, '\r');
	take_octet(r, '\n');
}

static bool is_next(const struct reader *r, uint8_t c)
{
	return r->v == BODY_DONE && r->p < r->end && *r->p == c;
}

/* chunk-size: up to 16 digits that make no more than 2^63 - 1. */
static uint64_t take_size(struct reader *r)
{
	const uint8_t *first = r->p;
	unsigned __int128 size = 0;

	for (size_t n = 0; r->p < r->end && octet_is(*r->p, OCTET_HEX); n++) {
		uint8_t c = *r->p++;

		size = size * 16 + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
		if (size > INT64_MAX || n == 16) {
			r->v = BODY_BAD;
			return 0;
		}
	}
	if (r->p == r->end)
		r->v = BODY_MORE;
	else if (r->p == first)
		r->v = BODY_BAD;
	return (uint64_t)size;
}

/* chunk-ext: white space, ';' and text; 1,024 octets are allowed for all of it. */
static void take_extension(struct reader *r)
{
	size_t n = take_run(r, OCTET_OWS, BODY_EXTENSION_MAX);

	if (n == 0 && r->v == BODY_DONE && *r->p != ';')
		return;
	if (n == BODY_EXTENSION_MAX && is_next(r, ';'))
		r->v = BODY_BAD;
	take_octet(r, ';');
	(void)take_run(r, OCTET_TEXT, BODY_EXTENSION_MAX - n - 1);
}

/* trailer-section: field lines; 8,192 octets, its empty line's CR among them, without their LFs. */
static void take_trailers(struct reader *r)
{
	size_t left = BODY_TRAILERS_MAX;

	while (r->v == BODY_DONE && !is_next(r, '\r')) {
		const uint8_t *line = r->p;

		if (take_run(r, OCTET_TOKEN, left) == 0 && r->v == BODY_DONE)
			r->v = BODY_BAD;
		take_octet(r, ':');
		(void)take_run(r, OCTET_TEXT, BODY_TRAILERS_MAX);
		take_octet(r, '\r');
		size_t n = (size_t)(r->p - line);
		if (n > left)
			r->v = BODY_BAD;
		left -= n;
		take_octet(r, '\n');
		if (r->v == BODY_DONE && r->p == r->end)
			r->v = BODY_MORE;
	}
	if (r->v == BODY_DONE && left == 0)
		r->v = BODY_BAD;
	take_crlf(r);
}

static struct verdict read_chunks(const uint8_t *p, size_t n)
{
	struct reader r = { .p = p, .end = p + n, .v = BODY_DONE };

	while (r.v == BODY_DONE) {
		uint64_t size = take_size(&r);

		if (r.v == BODY_DONE)
			take_extension(&r);
		take_crlf(&r);
		if (r.v == BODY_DONE && size == 0) {
			if (r.p == r.end)
				r.v = BODY_MORE;
			take_trailers(&r);
			break;
		}
		if (r.v == BODY_DONE && size > (size_t)(r.end - r.p))
			r.v = BODY_MORE;
		if (r.v == BODY_DONE)
			r.p += size;
		take_crlf(&r);
	}
	return (struct verdict){ .v = r.v, .used = (size_t)(r.p - p) };
}

/* ---- the target ------------------------------------------------------------------------------ */

static struct verdict feed_whole(struct body b, const uint8_t *p, size_t n)
{
	struct verdict ret;

	ret.v = body_feed(&b, p, n, &ret.used);
	LB_ASSERT(ret.used <= n);
	if (ret.v == BODY_MORE)
		LB_ASSERT(ret.used == n);
	return ret;
}

/* In pieces, each with its end at the end of its memory; a verdict stays, and takes nothing more.
 */
static struct verdict feed_pieces(struct body b, const uint8_t *p, size_t n)
{
	struct fuzz_chance chance = fuzz_chance_of(p, n);
	struct verdict ret = { .v = body_is_done(&b) ? BODY_DONE : BODY_MORE };
	enum body_verdict v = BODY_MORE;

	for (size_t at = 0; at < n || v == BODY_MORE;) {
		size_t len = fuzz_piece(&chance, n - at);
		size_t used;
		uint8_t *piece = fuzz_copy(p + at, len);

		v = body_feed(&b, piece, len, &used);
		free(piece);
		LB_ASSERT(used <= len && (ret.v == BODY_MORE || (v == ret.v && used == 0)));
		ret.v = v;
		ret.used += used;
		at += len;
		LB_ASSERT((v == BODY_DONE) == body_is_done(&b));
		if (at == n)
			break;
	}
	return ret;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3)
		return 0;

	struct http1_head h;
	struct body b;
	int64_t length = data[1] << 8 | data[2];

	http1_init_response(&h);
	h.status = 200;
	switch (data[0] % 4) {
	case 0: h.is_chunked = true; break;
	case 1: h.content_length = length; break;
	case 2: h.status = 204; break;
	default: break; /* until close */
	}
	body_init_response(&b, &h, HTTP1_GET);

	const uint8_t *p = data + 3;
	size_t n = size - 3;
	struct verdict whole = feed_whole(b, p, n), pieces = feed_pieces(b, p, n);

	LB_ASSERT(whole.v == pieces.v && whole.used == pieces.used);
	LB_ASSERT(body_is_until_close(&b) == (data[0] % 4 == 3));
	if (h.is_chunked) {
		struct verdict read = read_chunks(p, n);
		LB_ASSERT(read.v == whole.v && (read.v != BODY_DONE || read.used == whole.used));
	} else if (h.content_length >= 0) {
		size_t want = n < (size_t)length ? n : (size_t)length;
		LB_ASSERT(whole.used == want);
		LB_ASSERT(whole.v == (n < (size_t)length ? BODY_MORE : BODY_DONE));
	}
	return 0;
}
