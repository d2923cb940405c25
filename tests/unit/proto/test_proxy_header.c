/* SPDX-License-Identifier: Apache-2.0 */
#include "../suite.h"
#include "proto/proxy_header.h"
#include "util/crc32c.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define S(literal) (literal), sizeof(literal) - 1
#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

/* ---- reading --------------------------------------------------------------------------------- */

/* All that is known of a header, as values. */
struct seen {
	enum proxy_verdict verdict;
	const char *why;
	size_t size;
	unsigned version;
	bool is_local, has_crc32c;
	char src[ADDR_TEXT_MAX], dst[ADDR_TEXT_MAX];
	char types[256]; /* of the TLVs, in hexadecimal */
	char id[PROXY_UNIQUE_ID_MAX + 1], authority[300], alpn[300], cn[300];
};

static void copy_text(char *to, size_t size, struct slice s)
{
	ck_assert_uint_lt(s.n, size);
	memcpy(to, s.n == 0 ? "" : s.p, s.n);
}

static void see_tlvs(const struct proxy_header *h, const uint8_t *p, struct seen *ret)
{
	struct proxy_tlvs it = proxy_header_tlvs(h, p);
	struct proxy_tlv tlv;
	struct proxy_ssl ssl;
	struct slice value;
	size_t n = 0;

	while (proxy_tlv_next(&it, &tlv))
		if (n + 4 < sizeof(ret->types))
			n += (size_t)snprintf(ret->types + n, sizeof(ret->types) - n, "%02x ",
					      tlv.type);
	if (proxy_header_find(h, p, PROXY_TYPE_UNIQUE_ID, &value))
		copy_text(ret->id, sizeof(ret->id), value);
	if (proxy_header_find(h, p, PROXY_TYPE_AUTHORITY, &value))
		copy_text(ret->authority, sizeof(ret->authority), value);
	if (proxy_header_find(h, p, PROXY_TYPE_ALPN, &value))
		copy_text(ret->alpn, sizeof(ret->alpn), value);
	if (proxy_header_find(h, p, PROXY_TYPE_SSL, &value)) {
		ck_assert(proxy_ssl_read(value, &ssl));
		copy_text(ret->cn, sizeof(ret->cn), ssl.cn);
	}
}

static struct seen see(const struct proxy_header *h, enum proxy_verdict v, const uint8_t *p)
{
	static const struct seen none;
	struct seen s = none;

	s.verdict = v;
	s.why = h->why;
	if (v != PROXY_OK)
		return s;
	s.size = h->size;
	s.version = h->version;
	s.is_local = h->is_local;
	s.has_crc32c = h->has_crc32c;
	ck_assert_uint_eq(h->src.family, h->dst.family);
	if (h->src.family != 0) {
		(void)addr_format(&h->src, s.src);
		(void)addr_format(&h->dst, s.dst);
	}
	see_tlvs(h, p, &s);
	return s;
}

/* The bytes are at an address of their own, where they end, so that sanitizers see a read behind
 * them. */
static enum proxy_verdict parse(struct proxy_header *h, const uint8_t *p, size_t n)
{
	uint8_t *copy = malloc(n + (n == 0));

	ck_assert_ptr_nonnull(copy);
	if (n != 0)
		memcpy(copy, p, n);
	enum proxy_verdict v = proxy_header_parse(h, copy, n);
	free(copy);
	return v;
}

static struct seen see_as(unsigned takes, const void *p, size_t n)
{
	struct proxy_header h;

	proxy_header_init(&h, takes);
	enum proxy_verdict v = parse(&h, p, n);
	return see(&h, v, p);
}

static struct seen see_whole(const void *p, size_t n)
{
	return see_as(PROXY_TAKES_ANY, p, n);
}

static void assert_same(const char *name, const struct seen *a, const struct seen *b)
{
	ck_assert_msg(a->verdict == b->verdict, "%s: %d, %d", name, a->verdict, b->verdict);
	ck_assert_msg(a->why == b->why, "%s: %s, %s", name, a->why, b->why);
	ck_assert_msg(a->size == b->size && a->version == b->version &&
			      a->is_local == b->is_local && a->has_crc32c == b->has_crc32c,
		      "%s", name);
	ck_assert_str_eq(a->src, b->src);
	ck_assert_str_eq(a->dst, b->dst);
	ck_assert_str_eq(a->types, b->types);
	ck_assert_str_eq(a->id, b->id);
	ck_assert_str_eq(a->authority, b->authority);
	ck_assert_str_eq(a->alpn, b->alpn);
	ck_assert_str_eq(a->cn, b->cn);
}

/* Byte by byte, and in two pieces wherever it is cut: the same comes out as from the whole. */
static void assert_pieces_give(const char *name, const void *text, size_t n,
			       const struct seen *want)
{
	const uint8_t *p = text;
	struct proxy_header h;
	enum proxy_verdict v = PROXY_MORE;
	size_t at = 0;

	proxy_header_init(&h, PROXY_TAKES_ANY);
	while (at < n && v == PROXY_MORE)
		v = parse(&h, p, ++at);
	struct seen got = see(&h, v, p);
	assert_same(name, &got, want);
	if (v == PROXY_OK)
		ck_assert_uint_eq(at, h.size); /* no sooner, no later */
	for (; at < n; at++)
		ck_assert_int_eq(proxy_header_parse(&h, p, at), v); /* it is final */

	for (size_t cut = 0; cut <= n; cut++) {
		proxy_header_init(&h, PROXY_TAKES_ANY);
		(void)parse(&h, p, cut);
		v = parse(&h, p, n);
		got = see(&h, v, p);
		assert_same(name, &got, want);
	}
}

/* ---- headers of HAProxy ---------------------------------------------------------------------- */

static const struct {
	const char *name, *src, *dst, *id, *authority, *cn;
	bool is_local, has_crc32c;
	const char *hex;
} haproxy[] = {
#include "proxy_headers.inc"
};

static uint8_t digit(char c)
{
	return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static size_t bytes_of(const char *hex, uint8_t *out)
{
	size_t n = 0;

	for (; *hex != '\0'; hex += 2)
		out[n++] = (uint8_t)(digit(hex[0]) << 4 | digit(hex[1]));
	return n;
}

START_TEST(haproxy_is_read)
{
	uint8_t p[1024];
	size_t n = bytes_of(haproxy[_i].hex, p);
	struct seen s = see_whole(p, n);

	ck_assert_msg(s.verdict == PROXY_OK, "%s: %s", haproxy[_i].name, s.why);
	ck_assert_uint_eq(s.size, n);
	ck_assert_str_eq(s.src, haproxy[_i].src);
	ck_assert_str_eq(s.dst, haproxy[_i].dst);
	ck_assert_str_eq(s.id, haproxy[_i].id);
	ck_assert_str_eq(s.authority, haproxy[_i].authority);
	ck_assert_str_eq(s.cn, haproxy[_i].cn);
	ck_assert(s.is_local == haproxy[_i].is_local);
	ck_assert(s.has_crc32c == haproxy[_i].has_crc32c);
	assert_pieces_give(haproxy[_i].name, p, n, &s);
	for (size_t i = 0; i < n; i++) {
		struct seen part = see_whole(p, i);
		ck_assert_int_eq(part.verdict, PROXY_MORE);
		ck_assert_ptr_null(part.why);
	}
}
END_TEST

/* Any bit that changes breaks the sum, or the header. */
START_TEST(a_changed_bit_breaks_the_sum)
{
	uint8_t p[1024];
	size_t n = bytes_of(haproxy[_i].hex, p);

	if (!haproxy[_i].has_crc32c)
		return;
	for (size_t bit = 0; bit < 8 * n; bit++) {
		uint8_t mask = (uint8_t)(1u << bit % 8);
		/* LOCAL, and what is unspecified, have no sum. */
		bool may_skip = bit / 8 == 12 || bit / 8 == 13;
		bool may_hide_sum = bit / 8 >= 28 && bit / 8 < 31; /* its own type and length */

		p[bit / 8] ^= mask;
		enum proxy_verdict v = see_whole(p, n).verdict;
		ck_assert_msg(v != PROXY_OK || may_skip || may_hide_sum, "%s: bit %zu",
			      haproxy[_i].name, bit);
		p[bit / 8] ^= mask;
	}
}
END_TEST

/* ---- version 1 ------------------------------------------------------------------------------- */

#define FULL_6 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

static const struct {
	const char *name, *text;
	size_t n;
	const char *src, *dst; /* empty: the header names none */
} lines[] = {
	{ "TCP4", S("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"), "192.0.2.1:56324",
	  "198.51.100.2:443" },
	{ "TCP4, all zeros", S("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"), "0.0.0.0:0", "0.0.0.0:0" },
	{ "TCP4, the longest", S("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
	  "255.255.255.255:65535", "255.255.255.255:65535" },
	{ "TCP6", S("PROXY TCP6 2001:db8::1 2001:DB8::2 1 65535\r\n"), "[2001:db8::1]:1",
	  "[2001:db8::2]:65535" },
	{ "TCP6, the longest", S("PROXY TCP6 " FULL_6 " " FULL_6 " 65535 65535\r\n"),
	  "[" FULL_6 "]:65535", "[" FULL_6 "]:65535" },
	{ "TCP6, unspecified", S("PROXY TCP6 :: ::1 1 2\r\n"), "[::]:1", "[::1]:2" },
	{ "TCP6, both IPv4-mapped", S("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c633:6402 1 2\r\n"),
	  "192.0.2.1:1", "198.51.100.2:2" },
	{ "TCP6, one IPv4-mapped", S("PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2\r\n"),
	  "[::ffff:192.0.2.1]:1", "[2001:db8::2]:2" },
	{ "UNKNOWN", S("PROXY UNKNOWN\r\n"), "", "" },
	{ "UNKNOWN and a space", S("PROXY UNKNOWN \r\n"), "", "" },
	{ "UNKNOWN, the longest", S("PROXY UNKNOWN " FULL_6 " " FULL_6 " 65535 65535\r\n"), "",
	  "" },
	{ "UNKNOWN and anything", S("PROXY UNKNOWN \0 \t\xff  x\r\n"), "", "" },
	{ "UNKNOWN and TCP4", S("PROXY UNKNOWN TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), "", "" },
};

/* What follows is left, also when it looks like more of a header. */
static const struct {
	const char *p;
	size_t n;
} rests[] = { { S("") },
	      { S("\r\n") },
	      { S("G") },
	      { S("GET / HTTP/1.1\r\n\r\n") },
	      { S("PROXY TCP4 1.1.1.1 2.2.2.2 3 4\r\n") },
	      { S(SIGNATURE) },
	      { S("\0\0\0\0") } };

START_TEST(line_is_read)
{
	for (size_t i = 0; i < ARRAY_SIZE(rests); i++) {
		char p[256];
		size_t n = lines[_i].n;

		memcpy(p, lines[_i].text, n);
		memcpy(p + n, rests[i].p, rests[i].n);
		struct seen s = see_whole(p, n + rests[i].n);
		ck_assert_msg(s.verdict == PROXY_OK, "%s: %s", lines[_i].name, s.why);
		ck_assert_uint_eq(s.size, n);
		ck_assert_uint_eq(s.version, 1);
		ck_assert(!s.is_local && !s.has_crc32c);
		ck_assert_str_eq(s.src, lines[_i].src);
		ck_assert_str_eq(s.dst, lines[_i].dst);
		ck_assert_str_eq(s.types, "");
		assert_pieces_give(lines[_i].name, p, n + rests[i].n, &s);
	}
}
END_TEST

#define FEW "a PROXY line of too few words"
#define FAMILY "a PROXY line without a known family"
#define SRC "a PROXY line with a malformed source address"
#define DST "a PROXY line with a malformed destination address"
#define SPORT "a PROXY line with a malformed source port"
#define DPORT "a PROXY line with a malformed destination port"
#define NONE "no PROXY header"
#define CR "bare CR in a PROXY line"
#define LF "bare LF in a PROXY line"

/* The last byte decides: with one less it is MORE. */
static const struct {
	const char *name, *text;
	size_t n;
	const char *why;
} bad_lines[] = {
	{ "HTTP", S("G"), NONE },
	{ "an empty line", S("\n"), NONE },
	{ "NUL", S("\0"), NONE },
	{ "a ClientHello", S("\x16"), NONE },
	{ "a space first", S(" "), NONE },
	{ "lower case", S("p"), NONE },
	{ "POST", S("PO"), NONE },
	{ "PROXIES", S("PROXI"), NONE },
	{ "HTTP/2", S("PRI"), NONE },
	{ "a tab for a space", S("PROXY\t"), NONE },
	{ "nothing behind PROXY", S("PROXY\r"), NONE },
	{ "no family", S("PROXY \r\n"), FAMILY },
	{ "a family only", S("PROXY TCP4\r\n"), FAMILY },
	{ "a space before the family", S("PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n"), FAMILY },
	{ "family TCP", S("PROXY TCP 192.0.2.1 192.0.2.2 1 2\r\n"), FAMILY },
	{ "family TCP5", S("PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n"), FAMILY },
	{ "family UDP4", S("PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n"), FAMILY },
	{ "family in lower case", S("PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n"), FAMILY },
	{ "UNKNOWN in lower case", S("PROXY unknown\r\n"), FAMILY },
	{ "UNKNOWN and more letters", S("PROXY UNKNOWNS\r\n"), FAMILY },
	{ "UNKNOWN and a tab", S("PROXY UNKNOWN\t1\r\n"), FAMILY },
	{ "no addresses", S("PROXY TCP4 \r\n"), FEW },
	{ "one address", S("PROXY TCP4 192.0.2.1\r\n"), FEW },
	{ "no ports", S("PROXY TCP4 192.0.2.1 192.0.2.2\r\n"), FEW },
	{ "one port", S("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n"), FEW },
	{ "one port and a space", S("PROXY TCP4 192.0.2.1 192.0.2.2 1 \r\n"), DPORT },
	{ "a space at the end", S("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n"), DPORT },
	{ "a word more", S("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n"), DPORT },
	{ "two spaces before the source", S("PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n"), SRC },
	{ "two spaces before the destination", S("PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n"), DST },
	{ "two spaces before the source port", S("PROXY TCP4 192.0.2.1 192.0.2.2  1 2\r\n"),
	  SPORT },
	{ "two spaces before the destination port", S("PROXY TCP4 192.0.2.1 192.0.2.2 1  2\r\n"),
	  DPORT },
	{ "a tab between", S("PROXY TCP4 192.0.2.1\t192.0.2.2 1 2\r\n"), FEW },
	{ "IPv6 in TCP4", S("PROXY TCP4 ::1 192.0.2.2 1 2\r\n"), SRC },
	{ "IPv4 in TCP6", S("PROXY TCP6 192.0.2.1 ::1 1 2\r\n"), SRC },
	{ "mixed families", S("PROXY TCP6 ::1 192.0.2.2 1 2\r\n"), DST },
	{ "a leading zero in an address", S("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n"), SRC },
	{ "an octal address", S("PROXY TCP4 192.0.2.1 0300.0.2.2 1 2\r\n"), DST },
	{ "256 in an address", S("PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n"), SRC },
	{ "three parts", S("PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n"), SRC },
	{ "five parts", S("PROXY TCP4 192.0.2.1.1 192.0.2.2 1 2\r\n"), SRC },
	{ "an integer for an address", S("PROXY TCP4 3221225985 192.0.2.2 1 2\r\n"), SRC },
	{ "an address with a port", S("PROXY TCP4 192.0.2.1:80 192.0.2.2 1 2\r\n"), SRC },
	{ "a host name", S("PROXY TCP4 localhost 192.0.2.2 1 2\r\n"), SRC },
	{ "NUL behind an address", S("PROXY TCP4 192.0.2.1\0 192.0.2.2 1 2\r\n"), SRC },
	{ "IPv6 in brackets", S("PROXY TCP6 [::1] ::1 1 2\r\n"), SRC },
	{ "IPv6 with a zone", S("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n"), SRC },
	{ "IPv6 with five digits", S("PROXY TCP6 12345::1 ::1 1 2\r\n"), SRC },
	{ "IPv6 with two double colons", S("PROXY TCP6 1::2::3 ::1 1 2\r\n"), SRC },
	{ "IPv6 with seven groups", S("PROXY TCP6 1:2:3:4:5:6:7 ::1 1 2\r\n"), SRC },
	{ "IPv6 with nine groups", S("PROXY TCP6 ::1 1:2:3:4:5:6:7:8:9 1 2\r\n"), DST },
	{ "a leading zero in a port", S("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n"), SPORT },
	{ "port 00", S("PROXY TCP4 192.0.2.1 192.0.2.2 1 00\r\n"), DPORT },
	{ "port 65536", S("PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n"), SPORT },
	{ "a port of six digits", S("PROXY TCP4 192.0.2.1 192.0.2.2 1 100000\r\n"), DPORT },
	{ "a port with a sign", S("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n"), SPORT },
	{ "a negative port", S("PROXY TCP4 192.0.2.1 192.0.2.2 1 -2\r\n"), DPORT },
	{ "a hexadecimal port", S("PROXY TCP4 192.0.2.1 192.0.2.2 0x1 2\r\n"), SPORT },
	{ "letters for a port", S("PROXY TCP4 192.0.2.1 192.0.2.2 1 http\r\n"), DPORT },
	{ "LF for CRLF", S("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n"), LF },
	{ "CR for CRLF", S("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rG"), CR },
	{ "two CR", S("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r"), CR },
	{ "LF within UNKNOWN", S("PROXY UNKNOWN a\n"), LF },
	{ "CR within UNKNOWN", S("PROXY UNKNOWN a\rb"), CR },
};

START_TEST(bad_line_is_refused)
{
	struct seen s = see_whole(bad_lines[_i].text, bad_lines[_i].n);

	ck_assert_msg(s.verdict == PROXY_BAD, "%s: %d", bad_lines[_i].name, s.verdict);
	ck_assert_str_eq(s.why, bad_lines[_i].why);
	assert_pieces_give(bad_lines[_i].name, bad_lines[_i].text, bad_lines[_i].n, &s);
	struct seen less = see_whole(bad_lines[_i].text, bad_lines[_i].n - 1);
	ck_assert_msg(less.verdict == PROXY_MORE, "%s: decided earlier", bad_lines[_i].name);
}
END_TEST

/* 107 bytes with the CRLF, and no more (PP, 2.1). */
START_TEST(a_line_has_107_bytes_at_most)
{
	char p[200];

	memset(p, 'x', sizeof(p));
	memcpy(p, "PROXY UNKNOWN ", 14);
	memcpy(p + PROXY_V1_MAX - 2, "\r\n", 2);
	struct seen s = see_whole(p, sizeof(p));
	ck_assert_int_eq(s.verdict, PROXY_OK);
	ck_assert_uint_eq(s.size, PROXY_V1_MAX);
	assert_pieces_give("107 bytes", p, sizeof(p), &s);

	memcpy(p + PROXY_V1_MAX - 2, "x\r\n", 3);
	s = see_whole(p, sizeof(p));
	ck_assert_int_eq(s.verdict, PROXY_TOO_LARGE);
	ck_assert_str_eq(s.why, "a PROXY line of more than 107 bytes");
	assert_pieces_give("108 bytes", p, sizeof(p), &s);
	ck_assert_int_eq(see_whole(p, PROXY_V1_MAX - 2).verdict, PROXY_MORE);
	ck_assert_int_eq(see_whole(p, PROXY_V1_MAX - 1).verdict, PROXY_TOO_LARGE);
}
END_TEST

/* ---- version 2 ------------------------------------------------------------------------------- */

#define ENDS_4 \
	"\xc0\x00\x02\x01" \
	"\xc6\x33\x64\x02" \
	"\xdc\x04" \
	"\x01\xbb"
#define IP6_A "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
#define IP6_B "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02"
#define MAPPED_A "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01"
#define MAPPED_B "\0\0\0\0\0\0\0\0\0\0\xff\xff\xc6\x33\x64\x02"
#define PORTS \
	"\x00\x01" \
	"\xff\xff"
#define ZEROS_27 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define UNIX_ENDS ZEROS_27 ZEROS_27 ZEROS_27 ZEROS_27 ZEROS_27 ZEROS_27 ZEROS_27 ZEROS_27
#define ID_TLV \
	"\x05\x00\x02" \
	"id"

/* `version` is version and command, then family; the length is added. */
struct block {
	const char *name;
	char fixed[3];
	const char *text;
	size_t n;
};

static size_t build(const struct block *b, uint8_t *out)
{
	memcpy(out, SIGNATURE, 12);
	memcpy(out + 12, b->fixed, 2);
	out[14] = (uint8_t)(b->n >> 8);
	out[15] = (uint8_t)b->n;
	memcpy(out + 16, b->text, b->n);
	return 16 + b->n;
}

static const struct {
	struct block block;
	const char *src, *dst, *types;
	bool is_local;
} blocks[] = {
	{ { "TCP over IPv4", "\x21\x11", S(ENDS_4) },
	  "192.0.2.1:56324",
	  "198.51.100.2:443",
	  "",
	  false },
	{ { "TCP over IPv4 with a TLV", "\x21\x11", S(ENDS_4 ID_TLV) },
	  "192.0.2.1:56324",
	  "198.51.100.2:443",
	  "05 ",
	  false },
	{ { "TCP over IPv6", "\x21\x21", S(IP6_A IP6_B PORTS) },
	  "[2001:db8::1]:1",
	  "[2001:db8::2]:65535",
	  "",
	  false },
	{ { "TCP over IPv6 with TLVs", "\x21\x21",
	    S(IP6_A IP6_B PORTS "\xe0\x00\x00" ID_TLV "\x04\x00\x01x") },
	  "[2001:db8::1]:1",
	  "[2001:db8::2]:65535",
	  "e0 05 04 ",
	  false },
	{ { "both IPv4-mapped", "\x21\x21", S(MAPPED_A MAPPED_B PORTS) },
	  "192.0.2.1:1",
	  "198.51.100.2:65535",
	  "",
	  false },
	{ { "one IPv4-mapped", "\x21\x21", S(IP6_A MAPPED_B PORTS) },
	  "[2001:db8::1]:1",
	  "[::ffff:198.51.100.2]:65535",
	  "",
	  false },
	{ { "UDP over IPv4", "\x21\x12", S(ENDS_4 ID_TLV) }, "", "", "05 ", false },
	{ { "UDP over IPv6", "\x21\x22", S(IP6_A IP6_B PORTS ID_TLV) }, "", "", "05 ", false },
	{ { "a unix stream", "\x21\x31", S(UNIX_ENDS) }, "", "", "", false },
	{ { "a unix stream with a TLV", "\x21\x31", S(UNIX_ENDS ID_TLV) }, "", "", "05 ", false },
	{ { "a unix datagram", "\x21\x32", S(UNIX_ENDS ID_TLV) }, "", "", "05 ", false },
	{ { "unspecified", "\x21\x00", S("") }, "", "", "", false },
	{ { "unspecified with a TLV", "\x21\x00", S(ID_TLV) }, "", "", "", false },
	{ { "unspecified with addresses", "\x21\x00", S(ENDS_4) }, "", "", "", false },
	{ { "unspecified with addresses and a TLV", "\x21\x00", S(ENDS_4 ID_TLV) },
	  "",
	  "",
	  "",
	  false },
	{ { "IPv4, transport unspecified", "\x21\x10", S(ENDS_4) }, "", "", "", false },
	{ { "IPv6, transport unspecified, nothing", "\x21\x20", S("") }, "", "", "", false },
	{ { "unix, transport unspecified", "\x21\x30", S(UNIX_ENDS) }, "", "", "", false },
	{ { "a stream of no family", "\x21\x01", S(ENDS_4) }, "", "", "", false },
	{ { "a datagram of no family", "\x21\x02", S("") }, "", "", "", false },
	{ { "LOCAL", "\x20\x00", S("") }, "", "", "", true },
	{ { "LOCAL with addresses", "\x20\x11", S(ENDS_4) }, "", "", "", true },
	{ { "LOCAL with addresses that are cut", "\x20\x21", S(ENDS_4) }, "", "", "", true },
	{ { "LOCAL of an unassigned family", "\x20\xff", S("x") }, "", "", "", true },
	{ { "LOCAL with addresses and TLVs of 200 bytes", "\x20\x11",
	    S(ENDS_4 "\x04\x00\xc8" ZEROS_27) },
	  "",
	  "",
	  "",
	  true },
	{ { "LOCAL with a wrong sum", "\x20\x11",
	    S(ENDS_4 "\x03\x00\x04"
		     "abcd") },
	  "",
	  "",
	  "",
	  true },
	{ { "an SSL TLV without texts", "\x21\x11", S(ENDS_4 "\x20\x00\x05\x01\x00\x00\x00\x01") },
	  "192.0.2.1:56324",
	  "198.51.100.2:443",
	  "20 ",
	  false },
	{ { "an empty unique id", "\x21\x11", S(ENDS_4 "\x05\x00\x00") },
	  "192.0.2.1:56324",
	  "198.51.100.2:443",
	  "05 ",
	  false },
};

START_TEST(block_is_read)
{
	for (size_t i = 0; i < ARRAY_SIZE(rests); i++) {
		uint8_t p[512];
		const char *name = blocks[_i].block.name;
		size_t n = build(&blocks[_i].block, p);

		memcpy(p + n, rests[i].p, rests[i].n);
		struct seen s = see_whole(p, n + rests[i].n);
		ck_assert_msg(s.verdict == PROXY_OK, "%s: %s", name, s.why);
		ck_assert_uint_eq(s.size, n);
		ck_assert_uint_eq(s.version, 2);
		ck_assert_msg(s.is_local == blocks[_i].is_local, "%s", name);
		ck_assert_str_eq(s.src, blocks[_i].src);
		ck_assert_str_eq(s.dst, blocks[_i].dst);
		ck_assert_msg(strcmp(s.types, blocks[_i].types) == 0, "%s: %s", name, s.types);
		assert_pieces_give(name, p, n + rests[i].n, &s);
	}
}
END_TEST

#define ID_43 "0123456789012345678901234567890123456789012"
#define ID_129 ID_43 ID_43 ID_43
#define CUT "a PROXY header whose addresses are cut"
#define BEYOND "a TLV that ends beyond its PROXY header"
#define SSL_BAD "a malformed TLV of type SSL in a PROXY header"
#define SUM_BYTES "a checksum in a PROXY header that has not four bytes"

static const struct {
	struct block block;
	const char *why;
	size_t at; /* the byte that decides; 0: the last one */
} bad_blocks[] = {
	{ { "version 1", "\x11\x11", S(ENDS_4) }, "a PROXY header of an unknown version", 13 },
	{ { "version 3", "\x31\x11", S(ENDS_4) }, "a PROXY header of an unknown version", 13 },
	{ { "version 0", "\x01\x11", S(ENDS_4) }, "a PROXY header of an unknown version", 13 },
	{ { "command 2", "\x22\x11", S(ENDS_4) }, "a PROXY header with an unknown command", 13 },
	{ { "command 15", "\x2f\x11", S(ENDS_4) }, "a PROXY header with an unknown command", 13 },
	{ { "family 4", "\x21\x41", S(ENDS_4) }, "a PROXY header with an unknown family", 14 },
	{ { "family 15", "\x21\xf1", S(ENDS_4) }, "a PROXY header with an unknown family", 14 },
	{ { "transport 3", "\x21\x13", S(ENDS_4) }, "a PROXY header with an unknown family", 14 },
	{ { "transport 15", "\x21\x1f", S(ENDS_4) }, "a PROXY header with an unknown family", 14 },
	{ { "IPv4 without addresses", "\x21\x11", S("") }, CUT, 16 },
	{ { "IPv4, a byte less", "\x21\x11",
	    S("\xc0\x00\x02\x01"
	      "\xc6\x33\x64\x02"
	      "\xdc\x04"
	      "\x01") },
	  CUT,
	  16 },
	{ { "IPv6 with addresses of IPv4", "\x21\x21", S(ENDS_4) }, CUT, 16 },
	{ { "UDP over IPv4 without addresses", "\x21\x12", S("") }, CUT, 16 },
	{ { "unix with one address", "\x21\x31", S(ZEROS_27 ZEROS_27 ZEROS_27 ZEROS_27) },
	  CUT,
	  16 },
	{ { "a TLV of one byte", "\x21\x11", S(ENDS_4 "\x05") }, BEYOND, 0 },
	{ { "a TLV of two bytes", "\x21\x11", S(ENDS_4 "\x05\x00") }, BEYOND, 0 },
	{ { "a TLV without its value", "\x21\x11", S(ENDS_4 "\x05\x00\x01") }, BEYOND, 0 },
	{ { "a TLV that is cut", "\x21\x11",
	    S(ENDS_4 "\x05\x00\x03"
		     "id") },
	  BEYOND,
	  0 },
	{ { "a TLV of 65,535 bytes", "\x21\x11",
	    S(ENDS_4 "\x04\xff\xff"
		     "id") },
	  BEYOND,
	  0 },
	{ { "a byte behind a TLV", "\x21\x11", S(ENDS_4 ID_TLV "x") }, BEYOND, 0 },
	{ { "a unique id of 129 bytes", "\x21\x11", S(ENDS_4 "\x05\x00\x81" ID_129) },
	  "a unique id of more than 128 bytes in a PROXY header",
	  0 },
	{ { "a sum of three bytes", "\x21\x11",
	    S(ENDS_4 "\x03\x00\x03"
		     "abc") },
	  SUM_BYTES,
	  0 },
	{ { "a sum of five bytes", "\x21\x11",
	    S(ENDS_4 "\x03\x00\x05"
		     "abcde") },
	  SUM_BYTES,
	  0 },
	{ { "an empty sum", "\x21\x11", S(ENDS_4 "\x03\x00\x00") }, SUM_BYTES, 0 },
	{ { "a sum of zeros", "\x21\x11", S(ENDS_4 "\x03\x00\x04\x00\x00\x00\x00") },
	  "a PROXY header whose checksum is wrong",
	  0 },
	{ { "an SSL TLV of four bytes", "\x21\x11", S(ENDS_4 "\x20\x00\x04\x01\x00\x00\x00") },
	  SSL_BAD,
	  0 },
	{ { "an empty SSL TLV", "\x21\x11", S(ENDS_4 "\x20\x00\x00") }, SSL_BAD, 0 },
	{ { "a text beyond its SSL TLV", "\x21\x11",
	    S(ENDS_4 "\x20\x00\x0a\x01\x00\x00\x00\x01\x21\x00\x03"
		     "TL" ID_TLV) },
	  SSL_BAD,
	  0 },
	{ { "a byte behind the texts of SSL", "\x21\x11",
	    S(ENDS_4 "\x20\x00\x09\x01\x00\x00\x00\x01\x21\x00\x00"
		     "x") },
	  SSL_BAD,
	  0 },
};

START_TEST(bad_block_is_refused)
{
	uint8_t p[512];
	const char *name = bad_blocks[_i].block.name;
	size_t n = build(&bad_blocks[_i].block, p);
	size_t at = bad_blocks[_i].at == 0 ? n : bad_blocks[_i].at;
	struct seen s = see_whole(p, n);

	ck_assert_msg(s.verdict == PROXY_BAD, "%s: %d", name, s.verdict);
	ck_assert_str_eq(s.why, bad_blocks[_i].why);
	assert_pieces_give(name, p, n, &s);
	ck_assert_msg(see_whole(p, at).verdict == PROXY_BAD, "%s: decided later", name);
	ck_assert_msg(see_whole(p, at - 1).verdict == PROXY_MORE, "%s: decided earlier", name);
}
END_TEST

/* Each byte of the signature is compared as it comes. */
START_TEST(the_signature_is_compared_as_it_comes)
{
	for (size_t i = 0; i < 12; i++) {
		uint8_t p[12];

		memcpy(p, SIGNATURE, sizeof(p));
		p[i] ^= 0x80;
		struct seen s = see_whole(p, i + 1);
		ck_assert_int_eq(s.verdict, PROXY_BAD);
		ck_assert_str_eq(s.why, NONE);
		ck_assert_int_eq(see_whole(p, i).verdict, PROXY_MORE);
	}
}
END_TEST

/* The first sum is right, and covers the second one. */
START_TEST(two_sums_are_refused)
{
	const struct block b = { "two sums", "\x21\x11",
				 S(ENDS_4 "\x03\x00\x04\0\0\0\0"
					  "\x03\x00\x04\0\0\0\0") };
	uint8_t p[64];
	size_t n = build(&b, p);
	uint32_t sum = crc32c_add(0, p, n);

	for (size_t i = 0; i < 4; i++)
		p[n - 11 + i] = (uint8_t)(sum >> (24 - 8 * i));
	struct seen s = see_whole(p, n);
	ck_assert_str_eq(s.why, "two checksums in a PROXY header");
	assert_pieces_give("two sums", p, n, &s);
}
END_TEST

START_TEST(a_block_has_16_kib_at_most)
{
	static uint8_t p[PROXY_HEADER_MAX + 1];
	size_t n_value = PROXY_HEADER_MAX - 16 - 12 - 3;
	struct block b = { "16 KiB", "\x21\x11", S(ENDS_4 "\x04") };
	(void)build(&b, p);
	p[14] = (PROXY_HEADER_MAX - 16) >> 8;
	p[15] = (PROXY_HEADER_MAX - 16) & 0xff;
	p[29] = (uint8_t)(n_value >> 8);
	p[30] = (uint8_t)n_value;

	struct seen s = see_whole(p, sizeof(p));
	ck_assert_int_eq(s.verdict, PROXY_OK);
	ck_assert_uint_eq(s.size, PROXY_HEADER_MAX);
	ck_assert_str_eq(s.types, "04 ");
	ck_assert_int_eq(see_whole(p, PROXY_HEADER_MAX - 1).verdict, PROXY_MORE);

	p[15]++;
	s = see_whole(p, 16);
	ck_assert_int_eq(s.verdict, PROXY_TOO_LARGE);
	ck_assert_str_eq(s.why, "a PROXY header of more than 16 KiB");
	assert_pieces_give("16 KiB and 1", p, 40, &s);
	p[12] = 0x20; /* LOCAL, too */
	ck_assert_int_eq(see_whole(p, 16).verdict, PROXY_TOO_LARGE);
}
END_TEST

START_TEST(only_a_wanted_version_is_taken)
{
	const char *v1 = "PROXY UNKNOWN\r\n";
	const char *why = "a PROXY header of a version that is not accepted";

	ck_assert_int_eq(see_as(PROXY_TAKES_V1, v1, strlen(v1)).verdict, PROXY_OK);
	ck_assert_str_eq(see_as(PROXY_TAKES_V2, v1, 1).why, why);
	ck_assert_int_eq(see_as(PROXY_TAKES_V2, S(SIGNATURE "\x20\0\0\0")).verdict, PROXY_OK);
	ck_assert_str_eq(see_as(PROXY_TAKES_V1, S("\r")).why, why);
	ck_assert_str_eq(see_as(PROXY_TAKES_V1, S("G")).why, NONE);
}
END_TEST

/* A header that Amazon's load balancers document: a sum, a type of their own, padding. */
START_TEST(a_header_of_amazon)
{
	static const char p[] =
		SIGNATURE "\x21\x11\x00\x54\xac\x1f\x07\x71\xac\x1f\x0a\x1f\xc8\xf2\x00\x50"
			  "\x03\x00\x04\xe8\xd6\x89\x2d\xea\x00\x17\x01vpce-08d2bf15fac5001c9"
			  "\x04\x00\x24" ZEROS_27 "\0\0\0\0\0\0\0\0\0";
	struct seen s = see_whole(S(p));

	ck_assert_int_eq(s.verdict, PROXY_OK);
	ck_assert(s.has_crc32c);
	ck_assert_str_eq(s.src, "172.31.7.113:51442");
	ck_assert_str_eq(s.dst, "172.31.10.31:80");
	ck_assert_str_eq(s.types, "03 ea 04 ");
}
END_TEST

/* ---- the value of SSL ------------------------------------------------------------------------ */

START_TEST(ssl_is_read)
{
	struct proxy_ssl ssl;
	const struct slice value = SLICE("\x07\x00\x00\x01\x02"
					 "\x21\x00\x07TLSv1.3"
					 "\x99\x00\x01?"
					 "\x22\x00\x01"
					 "c"
					 "\x23\x00\x02"
					 "ci"
					 "\x24\x00\x00"
					 "\x25\x00\x07RSA2048");

	ck_assert(proxy_ssl_read(value, &ssl));
	ck_assert_uint_eq(ssl.client,
			  PROXY_CLIENT_SSL | PROXY_CLIENT_CERT_CONN | PROXY_CLIENT_CERT_SESS);
	ck_assert_uint_eq(ssl.verify, 0x102);
	ck_assert(slice_eq(ssl.version, SLICE("TLSv1.3")) && slice_eq(ssl.cn, SLICE("c")));
	ck_assert(slice_eq(ssl.cipher, SLICE("ci")) && slice_eq(ssl.sig_alg, SLICE("")));
	ck_assert(slice_eq(ssl.key_alg, SLICE("RSA2048")));

	struct proxy_ssl kept = ssl; /* untouched on failure */
	ck_assert(!proxy_ssl_read(SLICE("\x07\x00\x00\x00"), &ssl));
	ck_assert(!proxy_ssl_read(SLICE("\x01\x00\x00\x00\x00\x21"), &ssl));
	ck_assert(ssl.client == kept.client && slice_eq(ssl.cn, kept.cn));
}
END_TEST

/* ---- writing --------------------------------------------------------------------------------- */

static struct addr addr_of(const char *text)
{
	struct addr a = { 0 };

	if (text[0] != '\0')
		ck_assert_int_eq(addr_parse(slice_of(text), &a), 0);
	return a;
}

static const struct {
	const char *src, *dst, *line;
} written[] = {
	{ "192.0.2.1:56324", "198.51.100.2:443",
	  "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n" },
	{ "255.255.255.255:65535", "255.255.255.255:65535",
	  "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n" },
	{ "0.0.0.0:0", "127.0.0.1:10", "PROXY TCP4 0.0.0.0 127.0.0.1 0 10\r\n" },
	{ "[2001:db8::1]:1", "[::]:0", "PROXY TCP6 2001:db8::1 :: 1 0\r\n" },
	{ "[" FULL_6 "]:65535", "[" FULL_6 "]:65535",
	  "PROXY TCP6 " FULL_6 " " FULL_6 " 65535 65535\r\n" },
	{ "", "", "PROXY UNKNOWN\r\n" },
};

START_TEST(line_is_written)
{
	uint8_t out[PROXY_V1_MAX];
	struct addr src = addr_of(written[_i].src), dst = addr_of(written[_i].dst);
	size_t n = proxy_v1_write(&src, &dst, out);

	ck_assert_uint_eq(n, strlen(written[_i].line));
	ck_assert_mem_eq(out, written[_i].line, n);
	struct seen s = see_whole(out, n);
	ck_assert_str_eq(s.src, written[_i].src);
	ck_assert_str_eq(s.dst, written[_i].dst);
}
END_TEST

/* With each set of TLVs: what was written is read. */
START_TEST(block_is_written)
{
	for (unsigned set = 0; set < 32; set++) {
		const struct proxy_ssl ssl = { .client = PROXY_CLIENT_SSL,
					       .verify = 1,
					       .version = SLICE("TLSv1.2"),
					       .cn = SLICE("device 17"),
					       .cipher = SLICE("ECDHE-RSA-AES128-GCM-SHA256") };
		struct proxy_info info = { .src = addr_of(written[_i].src),
					   .dst = addr_of(written[_i].dst),
					   .has_crc32c = (set & 16) != 0 };
		uint8_t out[PROXY_V2_WRITE_MAX];

		if ((set & 1) != 0)
			info.alpn = SLICE("http/1.1");
		if ((set & 2) != 0)
			info.authority = SLICE("chat.example.com");
		if ((set & 4) != 0)
			info.unique_id = SLICE("0123456789");
		if ((set & 8) != 0)
			info.ssl = &ssl;
		size_t n = proxy_v2_write(&info, out);
		struct seen s = see_whole(out, n);
		bool is_local = info.src.family == 0;

		ck_assert_int_eq(s.verdict, PROXY_OK);
		ck_assert_uint_eq(s.size, n);
		ck_assert(s.is_local == is_local);
		ck_assert_str_eq(s.src, written[_i].src);
		ck_assert_str_eq(s.dst, written[_i].dst);
		if (is_local)
			continue;
		ck_assert(s.has_crc32c == info.has_crc32c);
		ck_assert_str_eq(s.alpn, (set & 1) != 0 ? "http/1.1" : "");
		ck_assert_str_eq(s.authority, (set & 2) != 0 ? "chat.example.com" : "");
		ck_assert_str_eq(s.id, (set & 4) != 0 ? "0123456789" : "");
		ck_assert_str_eq(s.cn, (set & 8) != 0 ? "device 17" : "");
		assert_pieces_give("a written block", out, n, &s);
	}
}
END_TEST

/* The bytes, as HAProxy writes the same. */
START_TEST(the_bytes_of_a_block)
{
	static const char want[] = SIGNATURE "\x21\x11\x00\x30" ENDS_4 "\x01\x00\x02h2"
					     "\x02\x00\x01"
					     "a"
					     "\x05\x00\x02id"
					     "\x20\x00\x13\x01\x00\x00\x00\x01"
					     "\x21\x00\x07TLSv1.3"
					     "\x22\x00\x01"
					     "c";
	const struct proxy_ssl ssl = { .client = PROXY_CLIENT_SSL,
				       .verify = 1,
				       .version = SLICE("TLSv1.3"),
				       .cn = SLICE("c") };
	struct proxy_info info = { .src = addr_of("192.0.2.1:56324"),
				   .dst = addr_of("198.51.100.2:443"),
				   .alpn = SLICE("h2"),
				   .authority = SLICE("a"),
				   .unique_id = SLICE("id"),
				   .ssl = &ssl };
	uint8_t out[PROXY_V2_WRITE_MAX];

	ck_assert_uint_eq(proxy_v2_write(&info, out), sizeof(want) - 1);
	ck_assert_mem_eq(out, want, sizeof(want) - 1);
}
END_TEST

START_TEST(a_check_is_local)
{
	uint8_t out[PROXY_V2_LOCAL_BYTES];

	ck_assert_uint_eq(proxy_v2_write_local(out), PROXY_V2_LOCAL_BYTES);
	ck_assert_mem_eq(out, SIGNATURE "\x20\x00\x00\x00", sizeof(out));
	ck_assert(see_whole(out, sizeof(out)).is_local);
}
END_TEST

/* The largest header fits; of a text that is longer nothing is written. */
START_TEST(the_largest_block)
{
	static char text[PROXY_TEXT_MAX + 1];
	struct slice most = { .p = text, .n = PROXY_TEXT_MAX };
	struct proxy_ssl ssl = {
		.version = most, .cn = most, .cipher = most, .sig_alg = most, .key_alg = most
	};
	struct proxy_info info = { .src = addr_of("[::1]:1"),
				   .dst = addr_of("[::2]:2"),
				   .alpn = most,
				   .authority = most,
				   .unique_id = { .p = text, .n = PROXY_UNIQUE_ID_MAX },
				   .ssl = &ssl,
				   .has_crc32c = true };
	uint8_t out[PROXY_V2_WRITE_MAX];

	memset(text, 'x', sizeof(text));
	size_t n = proxy_v2_write(&info, out);
	ck_assert_uint_eq(n, PROXY_V2_WRITE_MAX);
	struct seen s = see_whole(out, n);
	ck_assert_int_eq(s.verdict, PROXY_OK);
	ck_assert_uint_eq(strlen(s.cn), PROXY_TEXT_MAX);

	ssl.cn.n++;
	ck_assert_uint_eq(proxy_v2_write(&info, out), n - 3 - PROXY_TEXT_MAX);
	ck_assert_str_eq(see_whole(out, n - 3 - PROXY_TEXT_MAX).cn, "");
}
END_TEST

#define N(rows) ((int)ARRAY_SIZE(rows))

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, haproxy_is_read, 0, N(haproxy));
	tcase_add_loop_test(t, a_changed_bit_breaks_the_sum, 0, N(haproxy));
	tcase_add_loop_test(t, line_is_read, 0, N(lines));
	tcase_add_loop_test(t, bad_line_is_refused, 0, N(bad_lines));
	tcase_add_test(t, a_line_has_107_bytes_at_most);
	tcase_add_loop_test(t, block_is_read, 0, N(blocks));
	tcase_add_loop_test(t, bad_block_is_refused, 0, N(bad_blocks));
	tcase_add_test(t, the_signature_is_compared_as_it_comes);
	tcase_add_test(t, two_sums_are_refused);
	tcase_add_test(t, a_block_has_16_kib_at_most);
	tcase_add_test(t, only_a_wanted_version_is_taken);
	tcase_add_test(t, a_header_of_amazon);
	tcase_add_test(t, ssl_is_read);
	tcase_add_loop_test(t, line_is_written, 0, N(written));
	tcase_add_loop_test(t, block_is_written, 0, N(written));
	tcase_add_test(t, the_bytes_of_a_block);
	tcase_add_test(t, a_check_is_local);
	tcase_add_test(t, the_largest_block);
}

int main(void)
{
	return run_suite("proto/proxy_header", add_tests);
}
