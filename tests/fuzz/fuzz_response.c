/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Response heads: as fuzz_request.c does it for requests. The input is the bytes of a backend.
 */
#include "head.h"

#include <errno.h>

#include "proto/body.h"
#include "proto/forward.h"
#include "proto/upgrade.h"

static bool is_bodiless(const struct http1_head *h)
{
	return h->status < 200 || h->status == 204;
}

/* Whether a field of the backend reaches the client (written apart from proto/forward.c). */
static bool is_passed(const struct http1_head *h, const uint8_t *p, size_t i)
{
	struct slice name = http1_slice(p, h->fields[i].name);
	bool is_length = slice_eq_nocase(name, SLICE("content-length"));

	if (slice_eq_nocase(name, SLICE("upgrade")) && (h->status == 101 || h->status == 426))
		return true;
	if (head_is_hop_by_hop(name) || head_is_named(h, p, name))
		return false;
	if (is_bodiless(h) && (is_length || slice_eq_nocase(name, SLICE("transfer-encoding"))))
		return false;
	if (is_length && h->is_chunked)
		return false;
	for (size_t k = 0; is_length && k < i; k++)
		if (slice_eq_nocase(http1_slice(p, h->fields[k].name), name))
			return false; /* the same again */
	return true;
}

static void check_fields(const struct http1_head *in, const uint8_t *p,
			 const struct http1_head *out, const uint8_t *q)
{
	size_t k = 0;

	for (size_t i = 0; i < in->n_fields; i++) {
		if (!is_passed(in, p, i))
			continue;
		LB_ASSERT(k < out->n_fields);
		LB_ASSERT(slice_eq(http1_slice(p, in->fields[i].name),
				   http1_slice(q, out->fields[k].name)));
		head_same_value(in, p, i, out, q, k);
		k++;
	}
	for (; k < out->n_fields; k++)
		LB_ASSERT(out->fields[k].id == HTTP1_FIELD_CONNECTION);
}

/* How a client would frame what follows, whatever it asked for. */
static void check_framing(const struct http1_head *in, const struct http1_head *out)
{
	static const enum http1_method asked[] = { HTTP1_GET, HTTP1_HEAD };

	for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
		struct body a, b;

		body_init_response(&a, in, asked[i]);
		body_init_response(&b, out, asked[i]);
		LB_ASSERT(a.mode == b.mode && a.left == b.left);
		if (is_bodiless(in) || asked[i] == HTTP1_HEAD)
			LB_ASSERT(body_is_done(&a));
	}
	if (!is_bodiless(in))
		LB_ASSERT((in->is_chunked ? -1 : in->content_length) == out->content_length &&
			  in->is_chunked == out->is_chunked);
}

static size_t forward(const struct http1_head *h, const uint8_t *p, uint8_t **ret)
{
	size_t cap = h->head_len + FORWARD_GROWTH;
	uint8_t *out = malloc(cap);

	LB_ASSERT(out != NULL);
	int n = forward_response(h, p, false, out, cap);
	LB_ASSERT(n > 0 && (size_t)n <= cap);
	*ret = out;
	return (size_t)n;
}

/* A 101 is the right answer to the same requests before and after. */
static void check_101(const struct http1_head *in, const uint8_t *p, const struct http1_head *out,
		      const uint8_t *q)
{
	/* The key of RFC 6455, 1.3. */
	const struct upgrade asked[] = {
		{ .kind = UPGRADE_NONE },
		{ .kind = UPGRADE_OTHER },
		{ .kind = UPGRADE_WEBSOCKET, .key = "dGhlIHNhbXBsZSBub25jZQ==" },
	};

	static const char text[] = "GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\n"
				   "Upgrade: irc/6.9, h2c, tcp\r\n\r\n";
	const uint8_t *r = (const uint8_t *)text;
	struct http1_head req;

	http1_init_request(&req);
	LB_ASSERT(http1_parse(&req, r, sizeof(text) - 1) == HTTP1_OK);
	LB_ASSERT(upgrade_judge_101(&asked[0], in, p, &req, r) != NULL);
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++)
		if (upgrade_judge_101(&asked[i], in, p, &req, r) == NULL)
			LB_ASSERT(upgrade_judge_101(&asked[i], out, q, &req, r) == NULL);
}

/* lb in front of lb: the second has nothing to change; but for Close, as in fuzz_request.c. */
static void check_again(const struct http1_head *out, const uint8_t *q, size_t n)
{
	struct slice value;
	uint8_t *again;
	size_t iter = 0;

	LB_ASSERT(forward_check(out, q) == NULL);
	if (http1_field(out, q, SLICE("close"), &iter, &value))
		return;
	LB_ASSERT(forward(out, q, &again) == n && memcmp(again, q, n) == 0);
	free(again);
}

static void check_forwarded(const struct http1_head *h, const uint8_t *p)
{
	struct http1_head out;
	uint8_t *q;
	size_t n = forward(h, p, &q);

	http1_init_response(&out);
	enum http1_verdict v = http1_parse(&out, q, n);
	if (v == HTTP1_TOO_LARGE) {
		LB_ASSERT(n > HTTP1_HEAD_MAX || h->n_fields + 2u > HTTP1_FIELDS_MAX);
	} else {
		LB_ASSERT(v == HTTP1_OK && out.head_len == n);
		head_is_clean(&out, q);
		LB_ASSERT(out.status == h->status && out.minor == 1);
		LB_ASSERT(slice_eq(http1_slice(p, h->reason), http1_slice(q, out.reason)));
		check_fields(h, p, &out, q);
		check_framing(h, &out);
		if (h->status == 101)
			check_101(h, p, &out, q);
		check_again(&out, q, n);
	}
	free(q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http1_head h;

	if (head_judge(http1_init_response, data, size, &h) != HTTP1_OK)
		return 0;
	LB_ASSERT(h.is_response && h.status >= 100 && h.status <= 999);
	LB_ASSERT(head_all(data, h.reason, OCTET_TEXT));
	if (forward_check(&h, data) == NULL)
		check_forwarded(&h, data);
	return 0;
}
