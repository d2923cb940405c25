/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Request heads: lb reads them in one way however they come, and what it writes for a backend means
 * what the client has sent. The input is the bytes of a connection.
 */
#include "head.h"

#include <errno.h>
#include <netinet/in.h>

#include "proto/authority.h"
#include "proto/forward.h"
#include "proto/upgrade.h"

#define OWN_FIELDS_MAX 6u /* Host, X-Forwarded-For, -Proto and -Host, Connection, Upgrade */

static const struct addr client = { .family = AF_INET, .port = 1, .v4 = { 192, 0, 2, 1 } };
static const struct addr backend = { .family = AF_INET, .port = 2, .v4 = { 192, 0, 2, 2 } };
#define BACKEND_HOST "192.0.2.2:2"

/* What is true of a request that was found right. */
static void check_request(const struct http1_head *h, const uint8_t *p)
{
	struct slice host;
	unsigned mask = h->takes & HTTP1_TAKES_UTF8 ? OCTET_TARGET | OCTET_HIGH : OCTET_TARGET;

	LB_ASSERT(h->method_text.len > 0 && head_all(p, h->method_text, OCTET_TOKEN));
	LB_ASSERT(h->target.len > 0 && head_all(p, h->target, mask));
	LB_ASSERT(!h->has_dots || h->takes & HTTP1_TAKES_DOTS);
	LB_ASSERT(h->form != HTTP1_FORM_NONE && !h->is_response);
	LB_ASSERT(!slice_eq(http1_slice(p, h->method_text), SLICE("CONNECT")));
	LB_ASSERT(http1_path(h, p).n > 0);
	if (h->minor == 1)
		LB_ASSERT(h->authority.len > 0);
	if (h->authority.len > 0) {
		LB_ASSERT(authority_parse(http1_slice(p, h->authority), &host));
		LB_ASSERT(slice_eq(host, http1_slice(p, h->host)));
	}
}

/* Whether a field of the client reaches the backend (written apart from proto/forward.c). */
static bool is_passed(const struct http1_head *h, const uint8_t *p, size_t i)
{
	static const char *const claims[] = { "forwarded", "x-forwarded-for", "x-forwarded-proto",
					      "x-forwarded-host" };
	struct slice name = http1_slice(p, h->fields[i].name);

	if (h->minor == 0 && slice_eq_nocase(name, SLICE("expect")))
		return false;
	if (head_is_hop_by_hop(name) || head_is_named(h, p, name))
		return false;
	for (size_t k = 0; k < ARRAY_SIZE(claims); k++)
		if (slice_eq_nocase(name, slice_of(claims[k])))
			return false;
	if (slice_eq_nocase(name, SLICE("host")))
		return h->form != HTTP1_FORM_ABSOLUTE;
	for (size_t k = 0; slice_eq_nocase(name, SLICE("content-length")) && k < i; k++)
		if (slice_eq_nocase(http1_slice(p, h->fields[k].name), name))
			return false; /* the same again */
	return true;
}

/* The client's fields are there, in order, and nothing stands between them. */
static void check_fields(const struct http1_head *in, const uint8_t *p,
			 const struct http1_head *out, const uint8_t *q)
{
	size_t k = in->form == HTTP1_FORM_ABSOLUTE || in->authority.len == 0; /* behind lb's Host */

	for (size_t i = 0; i < in->n_fields; i++) {
		if (!is_passed(in, p, i))
			continue;
		LB_ASSERT(k < out->n_fields);
		LB_ASSERT(slice_eq(http1_slice(p, in->fields[i].name),
				   http1_slice(q, out->fields[k].name)));
		head_same_value(in, p, i, out, q, k);
		k++;
	}
	LB_ASSERT(out->n_fields - k <= OWN_FIELDS_MAX);
	for (; k < out->n_fields; k++)
		LB_ASSERT(out->fields[k].id == HTTP1_FIELD_X_FORWARDED_FOR ||
			  out->fields[k].id == HTTP1_FIELD_X_FORWARDED_PROTO ||
			  out->fields[k].id == HTTP1_FIELD_X_FORWARDED_HOST ||
			  out->fields[k].id == HTTP1_FIELD_CONNECTION ||
			  out->fields[k].id == HTTP1_FIELD_UPGRADE);
}

/* The same request: who reads `q` does what who reads `p` would. */
static void check_meaning(const struct http1_head *in, const uint8_t *p,
			  const struct http1_head *out, const uint8_t *q)
{
	LB_ASSERT(slice_eq(http1_slice(p, in->method_text), http1_slice(q, out->method_text)));
	LB_ASSERT(out->form != HTTP1_FORM_ABSOLUTE);
	LB_ASSERT(slice_eq(http1_path(in, p), http1_path(out, q)));
	LB_ASSERT((in->query.off != 0) == (out->query.off != 0));
	LB_ASSERT(slice_eq(http1_slice(p, in->query), http1_slice(q, out->query)));
	LB_ASSERT(out->minor == 1);
	if (in->authority.len == 0) {
		LB_ASSERT(in->minor == 0);
		LB_ASSERT(slice_eq(http1_slice(q, out->authority), SLICE(BACKEND_HOST)));
	} else {
		LB_ASSERT(slice_eq(http1_slice(p, in->authority), http1_slice(q, out->authority)));
		LB_ASSERT(slice_eq(http1_slice(p, in->host), http1_slice(q, out->host)));
	}
	LB_ASSERT(in->content_length == out->content_length && in->is_chunked == out->is_chunked);
}

static bool is_http2(struct slice token)
{
	return slice_eq_nocase(token, SLICE("h2c")) || slice_eq_nocase(token, SLICE("h2")) ||
	       slice_eq_nocase(token, SLICE("HTTP/2.0")) || slice_eq_nocase(token, SLICE("HTTP/2"));
}

/* The same is asked for; never HTTP/2, which lb would relay unseen. */
static void check_upgrade(const struct upgrade *in, const struct http1_head *out, const uint8_t *q)
{
	struct slice list, token;
	struct upgrade u;

	for (size_t i = 0; http1_known_field(out, q, HTTP1_FIELD_UPGRADE, &i, &list);)
		while (http1_next_token(&list, &token))
			LB_ASSERT(!is_http2(token));
	upgrade_judge(&u, out, q);
	LB_ASSERT(u.kind == in->kind);
	if (u.kind == UPGRADE_WEBSOCKET)
		LB_ASSERT(memcmp(u.key, in->key, sizeof(u.key)) == 0);
}

/* Writes the backend's head; returns its length. `cap` is just what the header promises. */
static size_t forward(const struct http1_head *h, const uint8_t *p, const struct upgrade *u,
		      uint8_t **ret)
{
	struct forward f = { .client = &client, .backend = &backend, .upgrade = u };
	size_t cap = h->head_len + FORWARD_GROWTH + 2u * h->authority.len;
	uint8_t *out = malloc(cap);

	LB_ASSERT(out != NULL);
	int n = forward_request(h, p, &f, out, cap);
	LB_ASSERT(n > 0 && (size_t)n <= cap);

	uint8_t *tight = malloc((size_t)n);
	LB_ASSERT(tight != NULL);
	LB_ASSERT(forward_request(h, p, &f, tight, (size_t)n - 1) == -ENOSPC);
	LB_ASSERT(forward_request(h, p, &f, tight, (size_t)n) == n);
	LB_ASSERT(memcmp(tight, out, (size_t)n) == 0);
	free(tight);
	*ret = out;
	return (size_t)n;
}

/*
 * lb in front of lb: the second has nothing to change. But for a field Close, whose name RFC 9110,
 * 7.6.1 reserves: to the next hop it is a field that `Connection: close` names.
 */
static void check_again(const struct http1_head *out, const uint8_t *q, size_t n)
{
	struct slice value;
	struct upgrade u;
	uint8_t *again;
	size_t iter = 0;

	LB_ASSERT(forward_check(out, q) == NULL);
	if (http1_field(out, q, SLICE("close"), &iter, &value))
		return;
	upgrade_judge(&u, out, q);
	LB_ASSERT(forward(out, q, &u, &again) == n && memcmp(again, q, n) == 0);
	free(again);
}

static void check_forwarded(const struct http1_head *h, const uint8_t *p, const struct upgrade *u)
{
	struct http1_head out;
	uint8_t *q;
	size_t n = forward(h, p, u, &q);

	http1_init_request(&out);
	out.takes = h->takes;
	enum http1_verdict v = http1_parse(&out, q, n);
	if (v == HTTP1_TOO_LARGE) {
		LB_ASSERT(n > HTTP1_HEAD_MAX || h->n_fields + OWN_FIELDS_MAX > HTTP1_FIELDS_MAX);
	} else {
		LB_ASSERT(v == HTTP1_OK && out.head_len == n);
		head_is_clean(&out, q);
		check_request(&out, q);
		check_meaning(h, p, &out, q);
		check_fields(h, p, &out, q);
		check_upgrade(u, &out, q);
		if (h->authority.len > 0) /* else the second has a host to tell of */
			check_again(&out, q, n);
	}
	free(q);
}

static void init_relaxed(struct http1_head *h)
{
	http1_init_request(h);
	h->takes = HTTP1_TAKES_DOTS | HTTP1_TAKES_UTF8;
}

/* What is sent on has no dot segment any more, and is otherwise the same. */
static void check_dots(struct http1_head h, const uint8_t *data, const struct upgrade *u)
{
	struct http1_head out;
	uint8_t *p = fuzz_copy(data, h.head_len), *q;
	uint16_t before = h.path.len;

	http1_remove_dots(&h, p);
	LB_ASSERT(h.path.len <= before && !h.has_dots);
	size_t n = forward(&h, p, u, &q);
	http1_init_request(&out);
	out.takes = HTTP1_TAKES_UTF8;
	enum http1_verdict v = http1_parse(&out, q, n);
	LB_ASSERT(v == HTTP1_OK || v == HTTP1_TOO_LARGE);
	if (v == HTTP1_OK)
		check_meaning(&h, p, &out, q);
	free(q);
	free(p);
}

static void check(head_init_fn init, const uint8_t *data, size_t size)
{
	struct http1_head h;
	struct upgrade u;

	if (head_judge(init, data, size, &h) != HTTP1_OK)
		return;
	check_request(&h, data);
	upgrade_judge(&u, &h, data);
	LB_ASSERT((u.kind == UPGRADE_BAD) == (u.why != NULL));
	LB_ASSERT(u.kind != UPGRADE_BAD || u.status == 400 || u.status == 426);
	LB_ASSERT(u.kind == UPGRADE_NONE || h.minor == 1);
	LB_ASSERT(u.kind != UPGRADE_WEBSOCKET || (!h.is_chunked && h.content_length <= 0));
	if (u.kind == UPGRADE_BAD || forward_check(&h, data) != NULL)
		return;
	check_forwarded(&h, data, &u);
	if (h.has_dots)
		check_dots(h, data, &u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check(http1_init_request, data, size);
	check(init_relaxed, data, size);
	return 0;
}
