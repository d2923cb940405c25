/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies: where one ends, and what goes on of it, does not depend on how its bytes come; a second
 * reader of chunks, written from the grammar of RFC 9112, 7.1, finds the same end and writes the
 * same; and what goes on is read back as it is. The input's first three bytes say how it is framed,
 * the rest is the stream.
 */
#include "fuzz.h"

#include <inttypes.h>
#include <stdio.h>

#include "proto/body.h"
#include "proto/octet.h"

struct verdict {
	enum body_verdict v;
	size_t used;
	uint8_t *out; /* owns: what goes on */
	size_t n_out;
};

/* ---- the second reader ----------------------------------------------------------------------- */

/* What is left to read, and what was thought of it so far. */
struct reader {
	const uint8_t *p, *end;
	enum body_verdict v; /* BODY_DONE: nothing against it yet */
	bool is_response;
	uint8_t *out; /* what should go on */
	size_t n_out;
};

static void write_out(struct reader *r, const void *p, size_t n)
{
	memcpy(r->out + r->n_out, p, n);
	r->n_out += n;
}

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

	if (r->v == BODY_DONE && *r->p != ';' && (n == 0 || (r->is_response && *r->p == '\r')))
		return;
	if (n == BODY_EXTENSION_MAX && is_next(r, ';'))
		r->v = BODY_BAD;
	take_octet(r, ';');
	(void)take_run(r, OCTET_TEXT, BODY_EXTENSION_MAX - n - 1);
}

static bool is_dropped(const struct reader *r, struct slice name)
{
	static const char *const always[] = { "host",       "content-length",  "transfer-encoding",
					      "connection", "upgrade",         "keep-alive",
					      "te",         "proxy-connection" };
	static const char *const claims[] = { "forwarded", "x-forwarded-for", "x-forwarded-host",
					      "x-forwarded-proto" };

	for (size_t i = 0; i < ARRAY_SIZE(always); i++)
		if (slice_eq_nocase(name, slice_of(always[i])))
			return true;
	for (size_t i = 0; !r->is_response && i < ARRAY_SIZE(claims); i++)
		if (slice_eq_nocase(name, slice_of(claims[i])))
			return true;
	return name.n > BODY_NAME_MAX;
}

/* A whole line, from its name; white space before its colon is left out. */
static void write_trailer(struct reader *r, struct slice name, const uint8_t *colon)
{
	if (r->v != BODY_DONE || is_dropped(r, name))
		return;
	write_out(r, name.p, name.n);
	write_out(r, colon, (size_t)(r->p - colon));
}

/* trailer-section: field lines; 8,192 octets, its empty line's CR among them, without their LFs. */
static void take_trailers(struct reader *r)
{
	size_t left = BODY_TRAILERS_MAX;

	while (r->v == BODY_DONE && !is_next(r, '\r')) {
		const uint8_t *line = r->p;

		struct slice name = { .p = (const char *)line };
		name.n = take_run(r, OCTET_TOKEN, left);
		if (name.n == 0 && r->v == BODY_DONE)
			r->v = BODY_BAD;
		if (r->is_response)
			(void)take_run(r, OCTET_OWS, left);
		const uint8_t *colon = r->p;
		take_octet(r, ':');
		(void)take_run(r, r->is_response ? OCTET_LAX : OCTET_TEXT, BODY_TRAILERS_MAX);
		take_octet(r, '\r');
		size_t n = (size_t)(r->p - line);
		if (n > left)
			r->v = BODY_BAD;
		left -= n;
		take_octet(r, '\n');
		write_trailer(r, name, colon);
		if (r->v == BODY_DONE && r->p == r->end)
			r->v = BODY_MORE;
	}
	if (r->v == BODY_DONE && left == 0)
		r->v = BODY_BAD;
	take_crlf(r);
}

static struct verdict read_chunks(const uint8_t *p, size_t n, bool is_response)
{
	struct reader r = { .p = p, .end = p + n, .v = BODY_DONE, .is_response = is_response };
	char line[24];

	r.out = malloc(n + 1);
	LB_ASSERT(r.out != NULL);

	while (r.v == BODY_DONE) {
		uint64_t size = take_size(&r);

		if (r.v == BODY_DONE)
			take_extension(&r);
		take_crlf(&r);
		if (r.v == BODY_DONE)
			write_out(&r, line,
				  (size_t)snprintf(line, sizeof(line), "%" PRIx64 "\r\n", size));
		if (r.v == BODY_DONE && size == 0) {
			if (r.p == r.end)
				r.v = BODY_MORE;
			take_trailers(&r);
			write_out(&r, "\r\n", r.v == BODY_DONE ? 2 : 0);
			break;
		}
		if (r.v == BODY_DONE && size > (size_t)(r.end - r.p))
			r.v = BODY_MORE;
		if (r.v == BODY_DONE) {
			write_out(&r, r.p, size);
			r.p += size;
		}
		take_crlf(&r);
		write_out(&r, "\r\n", r.v == BODY_DONE ? 2 : 0);
	}
	return (struct verdict){
		.v = r.v, .used = (size_t)(r.p - p), .out = r.out, .n_out = r.n_out
	};
}

/* ---- the target ------------------------------------------------------------------------------ */

/* One piece, with its end at the end of its memory; what is behind the body stays as it is. */
static enum body_verdict feed(struct body *b, const uint8_t *p, size_t n, struct verdict *ret)
{
	struct body_fed fed;
	uint8_t *piece = fuzz_copy(p, n);
	enum body_verdict v = body_feed(b, piece, n, &fed);

	LB_ASSERT(fed.kept <= fed.used && fed.used <= n);
	LB_ASSERT(memcmp(piece + fed.used, p + fed.used, n - fed.used) == 0);
	if (v == BODY_MORE)
		LB_ASSERT(fed.used == n);
	memcpy(ret->out + ret->n_out, piece, fed.kept);
	ret->n_out += fed.kept;
	ret->used += fed.used;
	free(piece);
	return v;
}

static struct verdict verdict_new(size_t n)
{
	struct verdict ret = { .v = BODY_MORE, .out = malloc(n + BODY_OWED_MAX) };

	LB_ASSERT(ret.out != NULL);
	return ret;
}

static struct verdict feed_whole(struct body b, const uint8_t *p, size_t n)
{
	struct verdict ret = verdict_new(n);

	ret.v = feed(&b, p, n, &ret);
	ret.n_out += body_take_owed(&b, ret.out + ret.n_out);
	LB_ASSERT(ret.n_out <= ret.used);
	return ret;
}

/* In pieces; a verdict stays, and takes nothing more. */
static struct verdict feed_pieces(struct body b, const uint8_t *p, size_t n)
{
	struct fuzz_chance chance = fuzz_chance_of(p, n);
	struct verdict ret = verdict_new(n);
	enum body_verdict v = BODY_MORE;

	ret.v = body_is_done(&b) ? BODY_DONE : BODY_MORE;
	for (size_t at = 0; at < n || v == BODY_MORE;) {
		size_t len = fuzz_piece(&chance, n - at);
		size_t used = ret.used;

		v = feed(&b, p + at, len, &ret);
		LB_ASSERT(ret.v == BODY_MORE || (v == ret.v && ret.used == used));
		ret.v = v;
		at += len;
		LB_ASSERT((v == BODY_DONE) == body_is_done(&b));
		if (at == n)
			break;
	}
	ret.n_out += body_take_owed(&b, ret.out + ret.n_out);
	return ret;
}

static void same_out(const struct verdict *a, const struct verdict *b)
{
	LB_ASSERT(a->n_out == b->n_out && memcmp(a->out, b->out, a->n_out) == 0);
}

static void check_chunks(const struct body *b, const struct verdict *whole, const uint8_t *p,
			 size_t n)
{
	struct verdict read = read_chunks(p, n, b->is_response);

	LB_ASSERT(read.v == whole->v);
	if (read.v == BODY_DONE) {
		LB_ASSERT(read.used == whole->used);
		same_out(&read, whole);
		struct verdict again = feed_whole(*b, whole->out, whole->n_out);
		LB_ASSERT(again.v == BODY_DONE && again.used == whole->n_out);
		same_out(&again, whole);
		free(again.out);
	}
	free(read.out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 3)
		return 0;

	struct http1_head h;
	struct body b;
	int64_t length = data[1] << 8 | data[2];
	bool is_request = data[0] / 4 % 2 == 1;

	http1_init_response(&h);
	h.status = 200;
	switch (data[0] % 4) {
	case 0: h.is_chunked = true; break;
	case 1: h.content_length = length; break;
	case 2: h.status = 204; break;
	default: break; /* until close; no body in a request */
	}
	if (is_request)
		body_init_request(&b, &h);
	else
		body_init_response(&b, &h, HTTP1_GET);

	const uint8_t *p = data + 3;
	size_t n = size - 3;
	struct verdict whole = feed_whole(b, p, n), pieces = feed_pieces(b, p, n);

	LB_ASSERT(whole.v == pieces.v && whole.used == pieces.used);
	same_out(&whole, &pieces);
	LB_ASSERT(body_is_until_close(&b) == (data[0] % 4 == 3 && !is_request));
	if (h.is_chunked) {
		check_chunks(&b, &whole, p, n);
	} else if (h.content_length >= 0) {
		size_t want = n < (size_t)length ? n : (size_t)length;
		LB_ASSERT(whole.used == want);
		LB_ASSERT(whole.v == (n < (size_t)length ? BODY_MORE : BODY_DONE));
	}
	free(whole.out);
	free(pieces.out);
	return 0;
}
