/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ClientHellos: the verdict does not depend on how the bytes come; a second reader, which joins the
 * records first and then follows the grammar of RFC 8446, 4.1.2 with plain offsets, finds the same;
 * and the same message in other records gives the same. The input is what a client sends.
 */
#include "fuzz.h"

#include "proto/client_hello.h"

#define RECORD_MAX (16u << 10)

/* ---- the parser ------------------------------------------------------------------------------ */

static enum client_hello_verdict parse(struct client_hello *h, const uint8_t *p, size_t n)
{
	uint8_t *copy = fuzz_copy(p, n);
	enum client_hello_verdict v = client_hello_parse(h, copy, n);

	free(copy);
	return v;
}

static bool is_same(const struct client_hello *a, const struct client_hello *b)
{
	return a->why == b->why && a->size == b->size && a->legacy_version == b->legacy_version &&
	       a->max_version == b->max_version && a->alert == b->alert &&
	       a->offers_tls13 == b->offers_tls13 && a->has_ech == b->has_ech &&
	       a->has_address_name == b->has_address_name;
}

/* In pieces; each of them is read at an address of its own. */
static void check_pieces(const uint8_t *p, size_t n, enum client_hello_verdict want,
			 const struct client_hello *whole)
{
	struct fuzz_chance chance = fuzz_chance_of(p, n);
	enum client_hello_verdict v = CLIENT_HELLO_MORE;
	struct client_hello h;

	client_hello_init(&h);
	for (size_t at = 0; at < n && v == CLIENT_HELLO_MORE;) {
		at += fuzz_piece(&chance, n - at);
		v = parse(&h, p, at);
	}
	LB_ASSERT(v == want && is_same(&h, whole));
}

/* ---- the second reader ----------------------------------------------------------------------- */

/* What it finds in a message. */
struct found {
	bool is_right;
	uint16_t max_version;
	bool offers_tls13, has_ech;
	const uint8_t *name, *alpn;
	size_t n_name, n_alpn;
};

static size_t number(const uint8_t *p, size_t n)
{
	size_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

/* Reads a length of `n_len` bytes at *at; sets *ret to the vector's first byte and moves *at behind
 * it. False: it does not end before `end`. */
static bool vector(const uint8_t *m, size_t *at, size_t end, size_t n_len, size_t *ret,
		   size_t *ret_n)
{
	if (end - *at < n_len)
		return false;
	size_t n = number(m + *at, n_len);
	if (end - *at - n_len < n)
		return false;
	*ret = *at + n_len;
	*ret_n = n;
	*at += n_len + n;
	return true;
}

static bool read_name(const uint8_t *m, size_t at, size_t n, struct found *f)
{
	size_t end = at + n, n_name;

	if (n < 6 || number(m + at, 2) != n - 2 || m[at + 2] != 0)
		return false;
	n_name = number(m + at + 3, 2);
	if (at + 5 + n_name != end)
		return false;
	f->name = m + at + 5;
	f->n_name = n_name;
	return true;
}

static bool read_alpn(const uint8_t *m, size_t at, size_t n, struct found *f)
{
	size_t end = at + n;

	if (n < 4 || number(m + at, 2) != n - 2)
		return false;
	f->alpn = m + at + 2;
	f->n_alpn = n - 2;
	for (at += 2; at < end; at += 1 + m[at])
		if (m[at] == 0 || m[at] > end - at - 1)
			return false;
	return true;
}

static bool read_versions(const uint8_t *m, size_t at, size_t n, struct found *f)
{
	if (n < 3 || m[at] != n - 1 || m[at] % 2 != 0)
		return false;
	f->max_version = 0;
	for (size_t i = 1; i < n; i += 2) {
		uint16_t version = (uint16_t)number(m + at + i, 2);

		f->offers_tls13 |= version == 0x0304;
		if (version >= 0x0300 && version <= 0x03ff && version > f->max_version)
			f->max_version = version;
	}
	return true;
}

static bool read_extensions(const uint8_t *m, size_t at, size_t end, struct found *f)
{
	static uint32_t seen[65536], turn; /* in which turn a type came last */
	bool is_right = true;

	turn++;
	while (is_right && at < end) {
		size_t type, ext, n;

		if (end - at < 2)
			return false;
		type = number(m + at, 2);
		at += 2;
		is_right = vector(m, &at, end, 2, &ext, &n) && seen[type] != turn;
		seen[type] = turn;
		if (is_right && type == 0)
			is_right = read_name(m, ext, n, f);
		else if (is_right && type == 16)
			is_right = read_alpn(m, ext, n, f);
		else if (is_right && type == 43)
			is_right = read_versions(m, ext, n, f);
		f->has_ech |= type == 0xfe0d;
	}
	return is_right;
}

/* A message of `n` bytes, its header included. */
static struct found read_message(const uint8_t *m, size_t n)
{
	struct found f = { 0 };
	size_t at = 4, session, suites, methods, extensions, len;

	if (n < 38)
		return f;
	f.max_version = (uint16_t)number(m + 4, 2);
	at += 34;
	if (!vector(m, &at, n, 1, &session, &len) || len > 32)
		return f;
	if (!vector(m, &at, n, 2, &suites, &len) || len == 0 || len % 2 != 0)
		return f;
	if (!vector(m, &at, n, 1, &methods, &len) || len == 0)
		return f;
	if (at == n) {
		f.is_right = true;
		return f;
	}
	if (!vector(m, &at, n, 2, &extensions, &len) || at != n)
		return f;
	f.is_right = read_extensions(m, extensions, n, &f);
	return f;
}

/* ---- both readers ---------------------------------------------------------------------------- */

static void check_texts(const struct client_hello *h, const uint8_t *buf, const struct found *f)
{
	char scratch[CLIENT_HELLO_TEXT_MAX];
	struct client_hello_alpn it = client_hello_alpn(h);
	struct slice host = client_hello_host(h, buf, scratch), protocol;
	size_t at = 0;

	LB_ASSERT(client_hello_has_alpn(h) == (f->n_alpn != 0));
	LB_ASSERT((host.n != 0) == (f->n_name != 0 && !h->has_address_name));
	if (host.n != 0) {
		LB_ASSERT(slice_eq(host,
				   (struct slice){ .p = (const char *)f->name, .n = f->n_name }));
		LB_ASSERT(host.n <= 253 && host.p[host.n - 1] != '.');
		LB_ASSERT(memchr(host.p, '\0', host.n) == NULL);
	}
	while (client_hello_alpn_next(&it, buf, scratch, &protocol)) {
		LB_ASSERT(protocol.n == f->alpn[at]);
		LB_ASSERT(memcmp(protocol.p, f->alpn + at + 1, protocol.n) == 0);
		LB_ASSERT(at > 256 || client_hello_offers(h, buf, protocol)); /* not quadratic */
		at += 1 + protocol.n;
	}
	LB_ASSERT(at == f->n_alpn);
}

/* The content of the first `n` bytes, which are whole records of one type. */
static size_t join(const uint8_t *p, size_t n, uint8_t *message)
{
	size_t n_message = 0;

	for (size_t at = 0; at < n;) {
		size_t len = number(p + at + 3, 2);

		LB_ASSERT(p[at] == 22 && p[at + 1] == 3 && len > 0 && len <= RECORD_MAX);
		memcpy(message + n_message, p + at + 5, len);
		n_message += len;
		at += 5 + len;
		LB_ASSERT(at <= n);
	}
	return n_message;
}

/* The same message in other records, cut by chance. */
static void check_other_records(const struct client_hello *h, const uint8_t *message, size_t n,
				const struct found *f)
{
	static uint8_t buf[CLIENT_HELLO_MAX];
	struct fuzz_chance chance = fuzz_chance_of(message, n);
	size_t max = 1 + fuzz_below(&chance, n < 300 ? n : 300), at = 0, n_buf = 0;
	struct client_hello other, want = *h;

	while (at < n) {
		size_t len = 1 + fuzz_below(&chance, n - at < max ? n - at : max);

		if (n_buf + 5 + len > sizeof(buf))
			return;
		memcpy(buf + n_buf, (uint8_t[]){ 22, 3, 3, (uint8_t)(len >> 8), (uint8_t)len }, 5);
		memcpy(buf + n_buf + 5, message + at, len);
		n_buf += 5 + len;
		at += len;
	}
	client_hello_init(&other);
	LB_ASSERT(parse(&other, buf, n_buf) == CLIENT_HELLO_OK);
	want.size = (uint16_t)n_buf;
	LB_ASSERT(is_same(&other, &want));
	check_texts(&other, buf, f);
}

static void check_ok(const struct client_hello *h, const uint8_t *p, size_t n)
{
	static uint8_t message[CLIENT_HELLO_MAX];

	LB_ASSERT(h->size <= n && h->size <= CLIENT_HELLO_MAX && h->why == NULL);
	size_t n_message = join(p, h->size, message);
	LB_ASSERT(n_message <= CLIENT_HELLO_MESSAGE_MAX);
	LB_ASSERT(message[0] == 1 && number(message + 1, 3) == n_message - 4);

	struct found f = read_message(message, n_message);
	LB_ASSERT(f.is_right);
	LB_ASSERT(f.max_version == h->max_version && f.offers_tls13 == h->offers_tls13);
	LB_ASSERT(f.has_ech == h->has_ech);
	check_texts(h, p, &f);
	check_other_records(h, message, n_message, &f);

	/* All of it is needed. */
	struct client_hello part;
	client_hello_init(&part);
	LB_ASSERT(parse(&part, p, h->size - 1u) == CLIENT_HELLO_MORE);
}

/* What is refused for a length, the second reader refuses, too. */
static void check_bad(const struct client_hello *h, const uint8_t *p)
{
	static uint8_t message[CLIENT_HELLO_MAX];

	LB_ASSERT(h->why != NULL && h->alert != 0);
	if (h->alert != 50 && h->alert != 112)
		return; /* framing, or an extension that comes twice */
	size_t n_message = join(p, h->pos, message);
	struct found f = read_message(message, n_message);
	LB_ASSERT(h->alert == 112 ? f.n_name != 0 : !f.is_right);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct client_hello h;

	client_hello_init(&h);
	enum client_hello_verdict v = parse(&h, data, size);
	check_pieces(data, size, v, &h);
	switch (v) {
	case CLIENT_HELLO_OK: check_ok(&h, data, size); break;
	case CLIENT_HELLO_BAD: check_bad(&h, data); break;
	case CLIENT_HELLO_TOO_LARGE:
	case CLIENT_HELLO_NOT_TLS: LB_ASSERT(h.why != NULL); break;
	case CLIENT_HELLO_MORE: LB_ASSERT(h.why == NULL && size < CLIENT_HELLO_MAX); break;
	}
	return 0;
}
