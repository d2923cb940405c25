/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the targets of request and response heads share: a head is judged whole and in pieces, and
 * two heads are compared by their meaning.
 */

#include <stdio.h>

#include "fuzz.h"
#include "proto/http1.h"
#include "proto/octet.h"

typedef void (*head_init_fn)(struct http1_head *h);

static inline bool head_is_same_span(struct http1_span a, struct http1_span b)
{
	return a.off == b.off && a.len == b.len;
}

static inline void head_same_fields(const struct http1_head *a, const struct http1_head *b)
{
	LB_ASSERT(a->n_fields == b->n_fields);
	for (size_t i = 0; i < a->n_fields; i++) {
		LB_ASSERT(a->fields[i].id == b->fields[i].id);
		LB_ASSERT(head_is_same_span(a->fields[i].name, b->fields[i].name));
		LB_ASSERT(head_is_same_span(a->fields[i].value, b->fields[i].value));
	}
}

static inline void head_same(const struct http1_head *a, const struct http1_head *b)
{
	LB_ASSERT(a->content_length == b->content_length && a->is_chunked == b->is_chunked);
	LB_ASSERT(a->head_len == b->head_len && a->why == b->why);
	LB_ASSERT(a->method == b->method && a->form == b->form && a->minor == b->minor);
	LB_ASSERT(a->status == b->status && head_is_same_span(a->reason, b->reason));
	LB_ASSERT(head_is_same_span(a->method_text, b->method_text));
	LB_ASSERT(head_is_same_span(a->target, b->target));
	LB_ASSERT(head_is_same_span(a->path, b->path));
	LB_ASSERT(head_is_same_span(a->query, b->query));
	LB_ASSERT(head_is_same_span(a->authority, b->authority));
	LB_ASSERT(head_is_same_span(a->host, b->host));
	LB_ASSERT(a->pos == b->pos && a->has_dots == b->has_dots && a->takes == b->takes);
	head_same_fields(a, b);
}

/* Parses the first `n` bytes at an address of their own: no byte behind them may be looked at. */
static inline enum http1_verdict head_parse_part(struct http1_head *h, const uint8_t *p, size_t n)
{
	uint8_t *part = fuzz_copy(p, n);
	enum http1_verdict v = http1_parse(h, part, n);

	free(part);
	return v;
}

/* In growing pieces, each at another address. A verdict is final: more bytes do not change it. */
static inline void head_in_pieces(head_init_fn init, const uint8_t *p, size_t n,
				  const struct http1_head *whole, enum http1_verdict want)
{
	struct fuzz_chance chance = fuzz_chance_of(p, n);
	struct http1_head h;
	enum http1_verdict v = HTTP1_MORE;

	init(&h);
	for (size_t len = 0; len < n;) {
		len += fuzz_piece(&chance, n - len);
		enum http1_verdict now = head_parse_part(&h, p, len);
		LB_ASSERT(v == HTTP1_MORE || now == v);
		v = now;
	}
	LB_ASSERT(v == want);
	head_same(&h, whole);
}

/* The byte that decides is the last that was judged, or the first that was not. */
static inline void head_early(head_init_fn init, const uint8_t *p, size_t n,
			      const struct http1_head *whole, enum http1_verdict want)
{
	struct http1_head h;
	size_t decides = want == HTTP1_OK || want == HTTP1_TOO_LARGE ? whole->pos : whole->pos + 1u;

	if (want == HTTP1_TOO_LARGE && whole->pos < HTTP1_HEAD_MAX)
		decides = whole->pos + 1u; /* the first byte of a field too many */
	LB_ASSERT(decides > 0 && decides <= n);
	init(&h);
	LB_ASSERT(head_parse_part(&h, p, decides - 1) == HTTP1_MORE);
	init(&h);
	LB_ASSERT(head_parse_part(&h, p, decides) == want);
}

static inline bool head_all(const uint8_t *p, struct http1_span s, unsigned mask)
{
	return octet_run(p, s.off, (size_t)s.off + s.len, mask) == (size_t)s.off + s.len;
}

/* What is true of every head that was found right, before anybody knows what it says. */
static inline void head_is_clean(const struct http1_head *h, const uint8_t *p)
{
	size_t at = 0;

	LB_ASSERT(h->head_len >= 4 && h->head_len <= HTTP1_HEAD_MAX);
	LB_ASSERT(memcmp(p + h->head_len - 4, "\r\n\r\n", 4) == 0);
	LB_ASSERT(memchr(p, '\0', h->head_len) == NULL);
	LB_ASSERT(h->why == NULL && h->minor <= 1);
	LB_ASSERT(h->content_length >= -1);
	LB_ASSERT(h->is_response || !(h->is_chunked && h->content_length >= 0));
	LB_ASSERT(!(h->is_chunked && h->minor == 0));
	LB_ASSERT(h->n_fields <= HTTP1_FIELDS_MAX);
	for (size_t i = 0; i < h->n_fields; i++) {
		const struct http1_field *f = &h->fields[i];
		bool is_lax = h->is_response && f->id == HTTP1_FIELD_OTHER;
		unsigned mask = is_lax ? OCTET_LAX : OCTET_TEXT;

		LB_ASSERT(f->name.off > at && f->name.len > 0);
		LB_ASSERT(memcmp(p + f->name.off - 2, "\r\n", 2) == 0);
		size_t colon = (size_t)f->name.off + f->name.len;
		if (h->is_response)
			colon = octet_run(p, colon, h->head_len, OCTET_OWS);
		LB_ASSERT(p[colon] == ':');
		LB_ASSERT(head_all(p, f->name, OCTET_TOKEN) && head_all(p, f->value, mask));
		LB_ASSERT(f->value.off > colon);
		at = (size_t)f->value.off + f->value.len;
		LB_ASSERT(at < h->head_len);
		if (f->value.len != 0) {
			LB_ASSERT(!octet_is(p[f->value.off], OCTET_OWS));
			LB_ASSERT(!octet_is(p[at - 1], OCTET_OWS));
		}
	}
	/* A line for each field, one before them, an empty one behind: no line hides in another. */
	size_t n_lf = 0;
	for (size_t i = 0; i < h->head_len; i++) {
		LB_ASSERT((p[i] == '\n') == (i > 0 && p[i - 1] == '\r'));
		n_lf += p[i] == '\n';
	}
	LB_ASSERT(n_lf == h->n_fields + 2u + (p[0] == '\r'));
}

/* Judges `n` bytes in every way; the verdict, with *ret as the whole gave it. */
static inline enum http1_verdict head_judge(head_init_fn init, const uint8_t *p, size_t n,
					    struct http1_head *ret)
{
	init(ret);
	enum http1_verdict v = http1_parse(ret, p, n);

	LB_ASSERT(http1_parse(ret, p, n) == v);
	LB_ASSERT((v == HTTP1_OK || v == HTTP1_MORE) == (ret->why == NULL));
	head_in_pieces(init, p, n, ret, v);
	if (v == HTTP1_OK)
		head_is_clean(ret, p);
	if (v != HTTP1_MORE)
		head_early(init, p, n, ret, v);
	return v;
}

/* Whether lb takes the field `name` out of every head, and puts in its own where it has one. */
static inline bool head_is_hop_by_hop(struct slice name)
{
	static const char *const names[] = { "connection", "keep-alive", "proxy-connection", "te",
					     "upgrade" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (slice_eq_nocase(name, slice_of(names[i])))
			return true;
	return false;
}

/* Whether Connection names it. */
static inline bool head_is_named(const struct http1_head *h, const uint8_t *p, struct slice name)
{
	return http1_has_token(h, p, HTTP1_FIELD_CONNECTION, name);
}

/* Whether what is sent on has the field's value; of what frames a message, its meaning. */
static inline void head_same_value(const struct http1_head *in, const uint8_t *p, size_t i,
				   const struct http1_head *out, const uint8_t *q, size_t k)
{
	struct slice value = http1_slice(q, out->fields[k].value);
	char length[24];

	(void)snprintf(length, sizeof(length), "%lld", (long long)in->content_length);
	if (in->fields[i].id == HTTP1_FIELD_CONTENT_LENGTH)
		LB_ASSERT(slice_eq(value, slice_of(length)));
	else if (in->fields[i].id == HTTP1_FIELD_TRANSFER_ENCODING)
		LB_ASSERT(slice_eq(value, SLICE("chunked")));
	else
		LB_ASSERT(slice_eq(value, http1_slice(p, in->fields[i].value)));
}
