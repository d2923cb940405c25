/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PROXY headers: the verdict does not depend on how the bytes come, nor on what follows the header;
 * a second reader, which splits a line by sscanf() and a block by its length, finds the same; and
 * what was read is written and read again. The input is what a proxy sends.
 */
#include "fuzz.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "proto/proxy_header.h"

static enum proxy_verdict parse(struct proxy_header *h, const uint8_t *p, size_t n)
{
	uint8_t *copy = fuzz_copy(p, n);
	enum proxy_verdict v = proxy_header_parse(h, copy, n);

	free(copy);
	return v;
}

static bool is_same(const struct proxy_header *a, const struct proxy_header *b)
{
	return a->why == b->why && a->size == b->size && a->version == b->version &&
	       a->is_local == b->is_local && a->has_crc32c == b->has_crc32c &&
	       addr_eq(&a->src, &b->src) && addr_eq(&a->dst, &b->dst);
}

static void check_pieces(const uint8_t *p, size_t n, enum proxy_verdict want,
			 const struct proxy_header *whole)
{
	struct fuzz_chance chance = fuzz_chance_of(p, n);
	enum proxy_verdict v = PROXY_MORE;
	struct proxy_header h;

	proxy_header_init(&h, PROXY_TAKES_ANY);
	for (size_t at = 0; at < n && v == PROXY_MORE;) {
		at += fuzz_piece(&chance, n - at);
		v = parse(&h, p, at);
	}
	LB_ASSERT(v == want && is_same(&h, whole));
}

/* ---- the second reader ----------------------------------------------------------------------- */

static bool is_end(const struct addr *a, int family, const void *bytes, unsigned port)
{
	const void *own = family == AF_INET ? (const void *)a->v4 : (const void *)a->v6;

	return a->family == family && a->port == port &&
	       memcmp(own, bytes, family == AF_INET ? 4 : 16) == 0;
}

/* An end of the header's family, or the IPv4 address that is mapped in it. */
static bool is_end_of(const struct addr *a, bool is_v4, const uint8_t *bytes, unsigned port)
{
	if (!is_v4 && a->family == AF_INET)
		return is_end(a, AF_INET, bytes + 12, port) && bytes[10] == 0xff;
	return is_end(a, is_v4 ? AF_INET : AF_INET6, bytes, port);
}

/* A line that names ends: its words, written again with single spaces, are the line. */
static void check_line(const struct proxy_header *h, const uint8_t *p)
{
	char line[PROXY_V1_MAX + 1], again[PROXY_V1_MAX + 64], a[64], b[64];
	uint8_t src[16], dst[16];
	unsigned family, sport, dport;

	LB_ASSERT(h->size <= PROXY_V1_MAX && memcmp(p + h->size - 2, "\r\n", 2) == 0);
	LB_ASSERT(memchr(p, '\r', h->size - 2u) == NULL && memchr(p, '\n', h->size - 1u) == NULL);
	if (h->src.family == 0) {
		LB_ASSERT(memcmp(p, "PROXY UNKNOWN", 13) == 0 && (p[13] == ' ' || p[13] == '\r'));
		return;
	}
	memcpy(line, p, h->size);
	line[h->size] = '\0';
	LB_ASSERT(sscanf(line, "PROXY TCP%u %63s %63s %u %u", &family, a, b, &sport, &dport) == 5);
	(void)snprintf(again, sizeof(again), "PROXY TCP%u %s %s %u %u\r\n", family, a, b, sport,
		       dport);
	LB_ASSERT(strcmp(line, again) == 0);
	LB_ASSERT(family == 4 || family == 6);
	LB_ASSERT(inet_pton(family == 4 ? AF_INET : AF_INET6, a, src) == 1);
	LB_ASSERT(inet_pton(family == 4 ? AF_INET : AF_INET6, b, dst) == 1);
	LB_ASSERT(is_end_of(&h->src, family == 4, src, sport));
	LB_ASSERT(is_end_of(&h->dst, family == 4, dst, dport));
}

/* TLVs as offsets: they fill the rest of the header, and the iterator gives the same. */
static void check_tlvs(const struct proxy_header *h, const uint8_t *p, size_t at)
{
	struct proxy_tlvs it = proxy_header_tlvs(h, p);
	struct proxy_tlv tlv;
	struct proxy_ssl ssl;
	size_t n_sums = 0;

	while (at < h->size) {
		LB_ASSERT(proxy_tlv_next(&it, &tlv));
		LB_ASSERT(tlv.type == p[at]);
		LB_ASSERT(tlv.value.n == ((size_t)p[at + 1] << 8 | p[at + 2]));
		LB_ASSERT((const uint8_t *)tlv.value.p == p + at + 3);
		LB_ASSERT(tlv.type != PROXY_TYPE_SSL || proxy_ssl_read(tlv.value, &ssl));
		n_sums += tlv.type == PROXY_TYPE_CRC32C;
		at += 3 + tlv.value.n;
	}
	LB_ASSERT(at == h->size && !proxy_tlv_next(&it, &tlv));
	LB_ASSERT(n_sums == (h->has_crc32c ? 1 : 0));
}

static void check_block(const struct proxy_header *h, const uint8_t *p)
{
	static const size_t bytes[] = { 0, 12, 36, 216 };
	unsigned family = p[13] >> 4, transport = p[13] & 0xf;
	const uint8_t *ends = p + 16;
	bool is_v4 = family == 1;
	size_t n = is_v4 ? 4 : 16;

	LB_ASSERT(h->size == 16 + ((unsigned)p[14] << 8 | p[15]) && h->size <= PROXY_HEADER_MAX);
	LB_ASSERT(p[12] >> 4 == 2 && h->is_local == ((p[12] & 0xf) == 0));
	if (h->is_local || family == 0 || transport == 0) {
		LB_ASSERT(h->src.family == 0 && !h->has_crc32c);
		check_tlvs(h, p, h->size);
		return;
	}
	LB_ASSERT(family <= 3 && transport <= 2);
	check_tlvs(h, p, 16 + bytes[family]);
	LB_ASSERT((h->src.family != 0) == (transport == 1 && family != 3));
	if (h->src.family == 0)
		return;
	LB_ASSERT(is_end_of(&h->src, is_v4, ends, (unsigned)ends[2 * n] << 8 | ends[2 * n + 1]));
	LB_ASSERT(is_end_of(&h->dst, is_v4, ends + n,
			    (unsigned)ends[2 * n + 2] << 8 | ends[2 * n + 3]));
}

/* ---- writing --------------------------------------------------------------------------------- */

static struct slice find(const struct proxy_header *h, const uint8_t *p, uint8_t type)
{
	struct slice value = { 0 };

	(void)proxy_header_find(h, p, type, &value);
	return value.n <= PROXY_TEXT_MAX ? value : (struct slice){ 0 };
}

static void check_again(const struct proxy_header *h, const uint8_t *out, size_t n)
{
	struct proxy_header again;

	proxy_header_init(&again, PROXY_TAKES_ANY);
	LB_ASSERT(parse(&again, out, n) == PROXY_OK && again.size == n);
	LB_ASSERT(addr_eq(&again.src, &h->src) && addr_eq(&again.dst, &h->dst));
}

static void check_ssl(const struct proxy_header *h, const uint8_t *out, size_t n,
		      const struct proxy_ssl *want)
{
	struct proxy_header again;
	struct proxy_ssl ssl;
	struct slice value;

	proxy_header_init(&again, PROXY_TAKES_ANY);
	LB_ASSERT(proxy_header_parse(&again, out, n) == PROXY_OK);
	if (h->src.family == 0)
		return; /* LOCAL */
	LB_ASSERT(proxy_header_find(&again, out, PROXY_TYPE_SSL, &value));
	LB_ASSERT(proxy_ssl_read(value, &ssl));
	LB_ASSERT(ssl.client == want->client && ssl.verify == want->verify);
	LB_ASSERT(want->cn.n > PROXY_TEXT_MAX ? ssl.cn.n == 0 : slice_eq(ssl.cn, want->cn));
	LB_ASSERT(want->cipher.n > PROXY_TEXT_MAX || slice_eq(ssl.cipher, want->cipher));
}

static void check_writing(const struct proxy_header *h, const uint8_t *p)
{
	uint8_t out[PROXY_V2_WRITE_MAX];
	struct proxy_ssl ssl = { 0 };
	struct slice value;
	struct proxy_info info = { .src = h->src, .dst = h->dst, .has_crc32c = h->size % 2 != 0 };

	check_again(h, out, proxy_v1_write(&h->src, &h->dst, out));
	info.alpn = find(h, p, PROXY_TYPE_ALPN);
	info.authority = find(h, p, PROXY_TYPE_AUTHORITY);
	info.unique_id = find(h, p, PROXY_TYPE_UNIQUE_ID);
	if (proxy_header_find(h, p, PROXY_TYPE_SSL, &value) && proxy_ssl_read(value, &ssl))
		info.ssl = &ssl;
	size_t n = proxy_v2_write(&info, out);
	check_again(h, out, n);
	if (info.ssl != NULL)
		check_ssl(h, out, n, info.ssl);
}

/* ---- the target ------------------------------------------------------------------------------ */

static void check_ok(const struct proxy_header *h, const uint8_t *p, size_t n)
{
	struct proxy_header other;

	LB_ASSERT(h->why == NULL && h->size <= n && h->src.family == h->dst.family);
	proxy_header_init(&other, PROXY_TAKES_ANY);
	LB_ASSERT(parse(&other, p, h->size - 1u) == PROXY_MORE);
	LB_ASSERT(parse(&other, p, h->size) == PROXY_OK && is_same(&other, h));
	proxy_header_init(&other, h->version == 1 ? PROXY_TAKES_V2 : PROXY_TAKES_V1);
	LB_ASSERT(parse(&other, p, n) == PROXY_BAD);

	if (h->version == 1)
		check_line(h, p);
	else
		check_block(h, p);
	check_writing(h, p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy_header h;

	proxy_header_init(&h, PROXY_TAKES_ANY);
	enum proxy_verdict v = parse(&h, data, size);
	check_pieces(data, size, v, &h);
	switch (v) {
	case PROXY_OK: check_ok(&h, data, size); break;
	case PROXY_BAD:
	case PROXY_TOO_LARGE: LB_ASSERT(h.why != NULL); break;
	case PROXY_MORE: LB_ASSERT(h.why == NULL && size < PROXY_HEADER_MAX); break;
	}
	return 0;
}
