/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader and the writer of PROXY headers.
 *
 * Terms. PP is HAProxy's proxy-protocol.txt. A line is a header of version 1, with its CRLF. The
 * fixed part of a header of version 2 is its first 16 bytes: the signature, a byte of version and
 * command, a byte of family and transport, the length of the rest. A TLV is a type, a length of two
 * bytes, and a value; the value of the type SSL is five bytes and TLVs again. `pos` is how many
 * bytes have been judged.
 *
 * The reader. The first byte tells the version: 'P' or CR. Then each byte of the constant beginning
 * is compared as it comes, so that a connection without a header is refused at once.
 *
 *   version 1   "PROXY "    -> the search for CRLF        -> read_line(), once
 *   version 2   signature   -> the rest of the fixed part -> the whole, by its length
 *                                                         -> read_block(), once
 *
 * The search remembers where it stopped, and nothing else is looked at before the header is whole;
 * so the work is linear in the bytes.
 *
 * All lengths of TLVs are judged when the header is whole. So the functions that walk TLVs for a
 * caller stop at the end only, and cannot fail.
 *
 * The writer writes TLVs behind each other through a struct writer, which asserts that they fit:
 * PROXY_V2_WRITE_MAX is the sum of what there can be.
 *
 * Thread: the owner's.
 */
#include "proto/proxy_header.h"

#include <arpa/inet.h>
#include <string.h>

#include "util/crc32c.h"

#define V1_BEGIN "PROXY "
#define V1_BEGIN_BYTES 6u
#define FIXED_BYTES 16u
#define TLV_HEADER 3u
#define SSL_FIXED 5u /* client and verify */
#define CRC_BYTES 4u
#define UNIX_BYTES 216u /* two addresses of 108 bytes */

/* A signature, then the version. */
#define SIGNATURE_BYTES 12u
static const uint8_t signature[SIGNATURE_BYTES] = {
	0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a,
};

enum { VERSION_2 = 2 };
enum command { COMMAND_LOCAL, COMMAND_PROXY };
enum family { FAMILY_UNSPEC, FAMILY_INET, FAMILY_INET6, FAMILY_UNIX };
enum transport { TRANSPORT_UNSPEC, TRANSPORT_STREAM, TRANSPORT_DGRAM };

_Static_assert(PROXY_HEADER_MAX <= UINT16_MAX, "offsets have 16 bits");

static enum proxy_verdict bad(struct proxy_header *h, const char *why)
{
	h->why = why;
	return PROXY_BAD;
}

static unsigned read_16(const void *p)
{
	const uint8_t *b = p;

	return (unsigned)b[0] << 8 | b[1];
}

static uint32_t read_32(const void *p)
{
	const uint8_t *b = p;

	return (uint32_t)read_16(b) << 16 | read_16(b + 2);
}

/* ---- addresses ------------------------------------------------------------------------------- */

static bool is_mapped(const struct addr *a)
{
	static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };

	return a->family == AF_INET6 && memcmp(a->v6, prefix, sizeof(prefix)) == 0;
}

static struct addr unmapped(const struct addr *a)
{
	struct addr v4 = { .family = AF_INET, .port = a->port };

	memcpy(v4.v4, a->v6 + 12, sizeof(v4.v4));
	return v4;
}

static void set_addresses(struct proxy_header *h, const struct addr *src, const struct addr *dst)
{
	bool are_mapped = is_mapped(src) && is_mapped(dst);

	LB_ASSERT(src->family == dst->family);
	h->src = are_mapped ? unmapped(src) : *src;
	h->dst = are_mapped ? unmapped(dst) : *dst;
}

/* ---- version 1 ------------------------------------------------------------------------------- */

/* Takes a word and the space behind it. False: there is no space. */
static bool take_word(struct slice *line, struct slice *ret)
{
	const char *space = line->n == 0 ? NULL : memchr(line->p, ' ', line->n);

	if (space == NULL)
		return false;
	*ret = (struct slice){ .p = line->p, .n = (size_t)(space - line->p) };
	line->p = space + 1;
	line->n -= ret->n + 1;
	return true;
}

/* inet_pton(3) is strict: no leading zeros, no zone, no spaces. It wants a NUL. */
static bool read_address(struct slice s, uint8_t family, struct addr *ret)
{
	char text[INET6_ADDRSTRLEN];
	struct addr a = { .family = family };

	if (s.n == 0 || s.n >= sizeof(text) || memchr(s.p, '\0', s.n) != NULL)
		return false;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	if (inet_pton(family, text, family == AF_INET ? (void *)a.v4 : (void *)a.v6) != 1)
		return false;
	*ret = a;
	return true;
}

/* 0 to 65535 without leading zeros. */
static bool read_port(struct slice s, uint16_t *ret)
{
	unsigned v = 0;

	if (s.n == 0 || s.n > 5 || (s.n > 1 && s.p[0] == '0'))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		v = v * 10 + (unsigned)(s.p[i] - '0');
	}
	*ret = (uint16_t)v;
	return v <= UINT16_MAX;
}

/* What is behind the family: two addresses and two ports. */
static enum proxy_verdict read_ends(struct proxy_header *h, struct slice line, uint8_t family)
{
	struct slice src_text, dst_text, port_text;
	struct addr src, dst;

	if (!take_word(&line, &src_text) || !take_word(&line, &dst_text) ||
	    !take_word(&line, &port_text))
		return bad(h, "a PROXY line of too few words");
	if (!read_address(src_text, family, &src))
		return bad(h, "a PROXY line with a malformed source address");
	if (!read_address(dst_text, family, &dst))
		return bad(h, "a PROXY line with a malformed destination address");
	if (!read_port(port_text, &src.port))
		return bad(h, "a PROXY line with a malformed source port");
	if (!read_port(line, &dst.port))
		return bad(h, "a PROXY line with a malformed destination port");
	set_addresses(h, &src, &dst);
	return PROXY_OK;
}

/* A whole line, without its beginning and its CRLF. */
static enum proxy_verdict read_line(struct proxy_header *h, struct slice line)
{
	struct slice family;

	if (slice_eq(line, SLICE("UNKNOWN")))
		return PROXY_OK;
	if (!take_word(&line, &family))
		return bad(h, "a PROXY line without a known family");
	if (slice_eq(family, SLICE("TCP4")))
		return read_ends(h, line, AF_INET);
	if (slice_eq(family, SLICE("TCP6")))
		return read_ends(h, line, AF_INET6);
	if (slice_eq(family, SLICE("UNKNOWN")))
		return PROXY_OK; /* whatever follows (PP, 2.1) */
	return bad(h, "a PROXY line without a known family");
}

/* Looks for the line's end. A CR is judged once the byte behind it has come. */
static enum proxy_verdict parse_line(struct proxy_header *h, const uint8_t *buf, size_t len)
{
	LB_ASSERT(h->pos >= V1_BEGIN_BYTES && h->pos < PROXY_V1_MAX);
	while (h->pos < len && buf[h->pos] != '\r' && buf[h->pos] != '\n') {
		if (h->pos == PROXY_V1_MAX - 2) {
			h->why = "a PROXY line of more than 107 bytes";
			return PROXY_TOO_LARGE;
		}
		h->pos++;
	}
	if (h->pos < len && buf[h->pos] == '\n')
		return bad(h, "bare LF in a PROXY line");
	if (len - h->pos < 2)
		return PROXY_MORE;
	if (buf[h->pos + 1] != '\n')
		return bad(h, "bare CR in a PROXY line");

	struct slice line = { .p = (const char *)buf + V1_BEGIN_BYTES,
			      .n = h->pos - V1_BEGIN_BYTES };
	h->pos += 2;
	h->tlv_off = h->pos;
	return read_line(h, line);
}

/* ---- TLVs ------------------------------------------------------------------------------------ */

bool proxy_tlv_next(struct proxy_tlvs *it, struct proxy_tlv *ret)
{
	struct slice *rest = &it->rest;

	if (rest->n < TLV_HEADER)
		return false;
	size_t n = read_16(rest->p + 1);
	if (n > rest->n - TLV_HEADER)
		return false;
	ret->type = (uint8_t)rest->p[0];
	ret->value = (struct slice){ .p = rest->p + TLV_HEADER, .n = n };
	rest->p += TLV_HEADER + n;
	rest->n -= TLV_HEADER + n;
	return true;
}

static void take_ssl_text(struct proxy_ssl *ssl, const struct proxy_tlv *tlv)
{
	switch (tlv->type) {
	case PROXY_TYPE_SSL_VERSION: ssl->version = tlv->value; break;
	case PROXY_TYPE_SSL_CN: ssl->cn = tlv->value; break;
	case PROXY_TYPE_SSL_CIPHER: ssl->cipher = tlv->value; break;
	case PROXY_TYPE_SSL_SIG_ALG: ssl->sig_alg = tlv->value; break;
	case PROXY_TYPE_SSL_KEY_ALG: ssl->key_alg = tlv->value; break;
	default: break;
	}
}

bool proxy_ssl_read(struct slice value, struct proxy_ssl *ret)
{
	struct proxy_tlv tlv;

	if (value.n < SSL_FIXED)
		return false;
	struct proxy_ssl ssl = { .client = (uint8_t)value.p[0], .verify = read_32(value.p + 1) };
	struct proxy_tlvs it = { .rest = { .p = value.p + SSL_FIXED, .n = value.n - SSL_FIXED } };
	while (proxy_tlv_next(&it, &tlv))
		take_ssl_text(&ssl, &tlv);
	if (it.rest.n != 0)
		return false;
	*ret = ssl;
	return true;
}

/* PP, 2.2.3: the sum of the whole header, with zeros in place of the sum. */
static bool is_sum_right(const uint8_t *buf, size_t size, struct slice sum)
{
	static const uint8_t zeros[CRC_BYTES];
	size_t at = (size_t)((const uint8_t *)sum.p - buf);

	LB_ASSERT(sum.n == CRC_BYTES && at + CRC_BYTES <= size);
	uint32_t crc = crc32c_add(0, buf, at);
	crc = crc32c_add(crc, zeros, sizeof(zeros));
	crc = crc32c_add(crc, buf + at + CRC_BYTES, size - at - CRC_BYTES);
	return crc == read_32(sum.p);
}

static enum proxy_verdict judge_sum(struct proxy_header *h, const uint8_t *buf, struct slice sum)
{
	if (sum.n != CRC_BYTES)
		return bad(h, "a checksum in a PROXY header that has not four bytes");
	if (h->has_crc32c)
		return bad(h, "two checksums in a PROXY header");
	if (!is_sum_right(buf, h->size, sum))
		return bad(h, "a PROXY header whose checksum is wrong");
	h->has_crc32c = true;
	return PROXY_OK;
}

static enum proxy_verdict judge_tlv(struct proxy_header *h, const uint8_t *buf,
				    const struct proxy_tlv *tlv)
{
	struct proxy_ssl ssl;

	switch (tlv->type) {
	case PROXY_TYPE_CRC32C: return judge_sum(h, buf, tlv->value);
	case PROXY_TYPE_UNIQUE_ID:
		if (tlv->value.n > PROXY_UNIQUE_ID_MAX)
			return bad(h, "a unique id of more than 128 bytes in a PROXY header");
		return PROXY_OK;
	case PROXY_TYPE_SSL:
		if (!proxy_ssl_read(tlv->value, &ssl))
			return bad(h, "a malformed TLV of type SSL in a PROXY header");
		return PROXY_OK;
	default: return PROXY_OK;
	}
}

/* What is behind the addresses. */
static enum proxy_verdict judge_tlvs(struct proxy_header *h, const uint8_t *buf)
{
	struct proxy_tlvs it = proxy_header_tlvs(h, buf);
	enum proxy_verdict v = PROXY_OK;
	struct proxy_tlv tlv;

	while (v == PROXY_OK && proxy_tlv_next(&it, &tlv))
		v = judge_tlv(h, buf, &tlv);
	if (v == PROXY_OK && it.rest.n != 0)
		return bad(h, "a TLV that ends beyond its PROXY header");
	return v;
}

/* ---- version 2 ------------------------------------------------------------------------------- */

static enum command command_of(const uint8_t *buf)
{
	return (enum command)(buf[12] & 0xf);
}

static enum family family_of(const uint8_t *buf)
{
	return (enum family)(buf[13] >> 4);
}

static enum transport transport_of(const uint8_t *buf)
{
	return (enum transport)(buf[13] & 0xf);
}

/* Whether the header does not say what its addresses are, nor how long. */
static bool is_unspecified(const uint8_t *buf)
{
	return family_of(buf) == FAMILY_UNSPEC || transport_of(buf) == TRANSPORT_UNSPEC;
}

/* Bytes of both ends of a specified family. */
static size_t address_bytes(enum family family)
{
	switch (family) {
	case FAMILY_INET: return 2 * (4 + 2);
	case FAMILY_INET6: return 2 * (16 + 2);
	case FAMILY_UNIX: return UNIX_BYTES;
	case FAMILY_UNSPEC: break;
	}
	return 0;
}

/* Reads both ends of a connection by TCP; others name none that lb could use. */
static void read_addresses(struct proxy_header *h, const uint8_t *buf)
{
	bool is_v4 = family_of(buf) == FAMILY_INET;
	size_t n = is_v4 ? sizeof(h->src.v4) : sizeof(h->src.v6);
	const uint8_t *p = buf + FIXED_BYTES;
	struct addr src = { .family = is_v4 ? AF_INET : AF_INET6 }, dst = src;

	if (transport_of(buf) != TRANSPORT_STREAM || (!is_v4 && family_of(buf) != FAMILY_INET6))
		return;
	memcpy(src.v6, p, n); /* v4 lies at the same place */
	memcpy(dst.v6, p + n, n);
	src.port = (uint16_t)read_16(p + 2 * n);
	dst.port = (uint16_t)read_16(p + 2 * n + 2);
	set_addresses(h, &src, &dst);
}

/* A whole header with the command PROXY, of a specified family. */
static enum proxy_verdict read_block(struct proxy_header *h, const uint8_t *buf)
{
	size_t off = FIXED_BYTES + address_bytes(family_of(buf));

	LB_ASSERT(off <= h->size);
	read_addresses(h, buf);
	h->tlv_off = (uint16_t)off;
	return judge_tlvs(h, buf);
}

/* Judges a byte of the fixed part, the one at `pos`. */
static enum proxy_verdict judge_fixed(struct proxy_header *h, const uint8_t *buf)
{
	size_t at = h->pos;

	LB_ASSERT(at < FIXED_BYTES);
	if (at < SIGNATURE_BYTES && buf[at] != signature[at])
		return bad(h, "no PROXY header");
	if (at == 12 && buf[at] >> 4 != VERSION_2)
		return bad(h, "a PROXY header of an unknown version");
	if (at == 12 && command_of(buf) > COMMAND_PROXY)
		return bad(h, "a PROXY header with an unknown command");
	if (at == 13 && command_of(buf) == COMMAND_PROXY &&
	    (family_of(buf) > FAMILY_UNIX || transport_of(buf) > TRANSPORT_DGRAM))
		return bad(h, "a PROXY header with an unknown family");
	return PROXY_MORE;
}

/* The length has come. */
static enum proxy_verdict judge_length(struct proxy_header *h, const uint8_t *buf)
{
	size_t size = FIXED_BYTES + read_16(buf + 14);

	h->is_local = command_of(buf) == COMMAND_LOCAL;
	if (size > PROXY_HEADER_MAX) {
		h->why = "a PROXY header of more than 16 KiB";
		return PROXY_TOO_LARGE;
	}
	if (!h->is_local && !is_unspecified(buf) &&
	    size < FIXED_BYTES + address_bytes(family_of(buf)))
		return bad(h, "a PROXY header whose addresses are cut");
	h->tlv_off = (uint16_t)size;
	return PROXY_MORE;
}

static enum proxy_verdict parse_binary(struct proxy_header *h, const uint8_t *buf, size_t len)
{
	enum proxy_verdict v = PROXY_MORE;

	while (v == PROXY_MORE && h->pos < FIXED_BYTES && h->pos < len) {
		v = judge_fixed(h, buf);
		h->pos++;
		if (v == PROXY_MORE && h->pos == FIXED_BYTES)
			v = judge_length(h, buf);
	}
	if (v != PROXY_MORE || h->pos < FIXED_BYTES || len < h->tlv_off)
		return v;
	h->pos = h->size = h->tlv_off;
	return h->is_local || is_unspecified(buf) ? PROXY_OK : read_block(h, buf);
}

/* ---- both versions --------------------------------------------------------------------------- */

void proxy_header_init(struct proxy_header *h, unsigned takes)
{
	LB_ASSERT(takes != 0 && (takes & ~(unsigned)PROXY_TAKES_ANY) == 0);
	*h = (struct proxy_header){ .takes = (uint8_t)takes, .verdict = PROXY_MORE };
}

/* Finds the version by the first byte. */
static enum proxy_verdict begin(struct proxy_header *h, uint8_t c)
{
	h->version = c == V1_BEGIN[0] ? 1 : c == signature[0] ? 2 : 0;
	if (h->version == 0)
		return bad(h, "no PROXY header");
	if ((h->takes & (h->version == 1 ? PROXY_TAKES_V1 : PROXY_TAKES_V2)) == 0)
		return bad(h, "a PROXY header of a version that is not accepted");
	return PROXY_MORE;
}

static enum proxy_verdict parse_text(struct proxy_header *h, const uint8_t *buf, size_t len)
{
	for (; h->pos < V1_BEGIN_BYTES && h->pos < len; h->pos++)
		if (buf[h->pos] != (uint8_t)V1_BEGIN[h->pos])
			return bad(h, "no PROXY header");
	return h->pos < V1_BEGIN_BYTES ? PROXY_MORE : parse_line(h, buf, len);
}

static enum proxy_verdict parse(struct proxy_header *h, const uint8_t *buf, size_t len)
{
	if (h->version == 0) {
		enum proxy_verdict v = begin(h, buf[0]);
		if (v != PROXY_MORE)
			return v;
	}
	return h->version == 1 ? parse_text(h, buf, len) : parse_binary(h, buf, len);
}

enum proxy_verdict proxy_header_parse(struct proxy_header *h, const uint8_t *buf, size_t len)
{
	enum proxy_verdict v = (enum proxy_verdict)h->verdict;

	LB_ASSERT(h->takes != 0 && len >= h->pos);
	if (v != PROXY_MORE || len == 0)
		return v;
	v = parse(h, buf, len);
	if (v == PROXY_OK)
		h->size = h->pos;
	LB_ASSERT((v == PROXY_BAD || v == PROXY_TOO_LARGE) == (h->why != NULL));
	h->verdict = (uint8_t)v;
	return v;
}

struct proxy_tlvs proxy_header_tlvs(const struct proxy_header *h, const uint8_t *buf)
{
	LB_ASSERT(h->tlv_off <= h->size && h->size == h->pos);
	return (struct proxy_tlvs){
		.rest = { .p = (const char *)buf + h->tlv_off, .n = h->size - h->tlv_off },
	};
}

bool proxy_header_find(const struct proxy_header *h, const uint8_t *buf, uint8_t type,
		       struct slice *ret)
{
	struct proxy_tlvs it = proxy_header_tlvs(h, buf);
	struct proxy_tlv tlv;

	LB_ASSERT(h->verdict == PROXY_OK);
	while (proxy_tlv_next(&it, &tlv)) {
		if (tlv.type == type) {
			*ret = tlv.value;
			return true;
		}
	}
	return false;
}

/* ---- writing --------------------------------------------------------------------------------- */

struct writer {
	uint8_t *p;
	size_t n, max;
};

static void write_bytes(struct writer *w, const void *p, size_t n)
{
	LB_ASSERT(n <= w->max - w->n);
	if (n != 0)
		memcpy(w->p + w->n, p, n);
	w->n += n;
}

static void write_text(struct writer *w, const char *text)
{
	write_bytes(w, text, strlen(text));
}

static void write_number(struct writer *w, uint32_t v, size_t n_bytes)
{
	uint8_t bytes[4];

	LB_ASSERT(n_bytes <= sizeof(bytes));
	for (size_t i = n_bytes; i-- > 0; v >>= 8)
		bytes[i] = (uint8_t)v;
	write_bytes(w, bytes, n_bytes);
}

/* A space and the address. */
static void write_address(struct writer *w, const struct addr *a)
{
	char text[INET6_ADDRSTRLEN];
	const void *from = a->family == AF_INET ? (const void *)a->v4 : (const void *)a->v6;

	write_text(w, " ");
	const char *written = inet_ntop(a->family, from, text, sizeof(text));
	LB_ASSERT(written != NULL); /* inet_ntop(3) fails only when there is no room */
	write_text(w, written);
}

/* A space and the port in decimal digits. */
static void write_port(struct writer *w, unsigned port)
{
	char digits[7] = { 0 };
	size_t at = sizeof(digits) - 1;

	do {
		digits[--at] = (char)('0' + port % 10);
		port /= 10;
	} while (port != 0);
	write_text(w, " ");
	write_text(w, digits + at);
}

size_t proxy_v1_write(const struct addr *src, const struct addr *dst, uint8_t out[PROXY_V1_MAX])
{
	struct writer w = { .p = out, .max = PROXY_V1_MAX };

	LB_ASSERT(src->family == dst->family);
	write_text(&w, V1_BEGIN);
	if (src->family == 0) {
		write_text(&w, "UNKNOWN");
	} else {
		write_text(&w, src->family == AF_INET ? "TCP4" : "TCP6");
		write_address(&w, src);
		write_address(&w, dst);
		write_port(&w, src->port);
		write_port(&w, dst->port);
	}
	write_text(&w, "\r\n");
	return w.n;
}

static void write_tlv(struct writer *w, enum proxy_type type, struct slice value)
{
	if (value.n == 0 || value.n > PROXY_TEXT_MAX)
		return;
	write_number(w, type, 1);
	write_number(w, (uint32_t)value.n, 2);
	write_bytes(w, value.p, value.n);
}

/* Writes a length of two bytes over the one at `at`: what is behind it. */
static void set_length(struct writer *w, size_t at)
{
	struct writer length = { .p = w->p + at, .max = 2 };

	LB_ASSERT(at + 2 <= w->n && w->n - at - 2 <= UINT16_MAX);
	write_number(&length, (uint32_t)(w->n - at - 2), 2);
}

static void write_ssl(struct writer *w, const struct proxy_ssl *ssl)
{
	size_t at = w->n + 1;

	write_number(w, PROXY_TYPE_SSL, 1);
	write_number(w, 0, 2);
	write_number(w, ssl->client, 1);
	write_number(w, ssl->verify, 4);
	write_tlv(w, PROXY_TYPE_SSL_VERSION, ssl->version);
	write_tlv(w, PROXY_TYPE_SSL_CN, ssl->cn);
	write_tlv(w, PROXY_TYPE_SSL_CIPHER, ssl->cipher);
	write_tlv(w, PROXY_TYPE_SSL_SIG_ALG, ssl->sig_alg);
	write_tlv(w, PROXY_TYPE_SSL_KEY_ALG, ssl->key_alg);
	set_length(w, at);
}

/* The last TLV: the sum of all, with zeros where it will stand. */
static void write_sum(struct writer *w)
{
	write_number(w, PROXY_TYPE_CRC32C, 1);
	write_number(w, CRC_BYTES, 2);
	write_number(w, 0, CRC_BYTES);
	set_length(w, FIXED_BYTES - 2); /* it counts, too */
	struct writer sum = { .p = w->p + w->n - CRC_BYTES, .max = CRC_BYTES };
	write_number(&sum, crc32c_add(0, w->p, w->n), CRC_BYTES);
}

static void write_fixed(struct writer *w, enum command command, enum family family,
			enum transport transport)
{
	write_bytes(w, signature, sizeof(signature));
	write_number(w, VERSION_2 << 4 | command, 1);
	write_number(w, (uint32_t)family << 4 | transport, 1);
	write_number(w, 0, 2); /* the length: set_length() */
}

static void write_ends(struct writer *w, const struct addr *src, const struct addr *dst)
{
	size_t n = src->family == AF_INET ? sizeof(src->v4) : sizeof(src->v6);

	write_bytes(w, src->v6, n); /* v4 lies at the same place */
	write_bytes(w, dst->v6, n);
	write_number(w, src->port, 2);
	write_number(w, dst->port, 2);
}

size_t proxy_v2_write(const struct proxy_info *info, uint8_t out[PROXY_V2_WRITE_MAX])
{
	struct writer w = { .p = out, .max = PROXY_V2_WRITE_MAX };

	LB_ASSERT(info->src.family == info->dst.family);
	LB_ASSERT(info->unique_id.n <= PROXY_UNIQUE_ID_MAX);
	if (info->src.family == 0) {
		write_fixed(&w, COMMAND_LOCAL, FAMILY_UNSPEC, TRANSPORT_UNSPEC);
	} else {
		write_fixed(&w, COMMAND_PROXY,
			    info->src.family == AF_INET ? FAMILY_INET : FAMILY_INET6,
			    TRANSPORT_STREAM);
		write_ends(&w, &info->src, &info->dst);
	}
	write_tlv(&w, PROXY_TYPE_ALPN, info->alpn);
	write_tlv(&w, PROXY_TYPE_AUTHORITY, info->authority);
	write_tlv(&w, PROXY_TYPE_UNIQUE_ID, info->unique_id);
	if (info->ssl != NULL)
		write_ssl(&w, info->ssl);
	set_length(&w, FIXED_BYTES - 2);
	if (info->has_crc32c)
		write_sum(&w);
	return w.n;
}

size_t proxy_v2_write_local(uint8_t out[PROXY_V2_LOCAL_BYTES])
{
	struct writer w = { .p = out, .max = PROXY_V2_LOCAL_BYTES };

	write_fixed(&w, COMMAND_LOCAL, FAMILY_UNSPEC, TRANSPORT_UNSPEC);
	return w.n;
}
