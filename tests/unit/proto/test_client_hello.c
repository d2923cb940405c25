/* SPDX-License-Identifier: Apache-2.0 */
#include "../suite.h"
#include "proto/client_hello.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define S(literal) (literal), sizeof(literal) - 1

#define RECORD_MAX 16384u
#define ALPN_MAX 4200 /* what a test offers at most, with its NUL */

/* Descriptions of alerts (RFC 8446, 6). */
enum {
	UNEXPECTED_MESSAGE = 10,
	RECORD_OVERFLOW = 22,
	ILLEGAL_PARAMETER = 47,
	DECODE_ERROR = 50,
	PROTOCOL_VERSION = 70,
	UNRECOGNIZED_NAME = 112,
};

/* ---- making hellos --------------------------------------------------------------------------- */

struct bytes {
	size_t n;
	uint8_t p[160 << 10];
};

static void add(struct bytes *b, const void *p, size_t n)
{
	ck_assert_uint_le(b->n + n, sizeof(b->p));
	if (n != 0)
		memcpy(b->p + b->n, p, n);
	b->n += n;
}

static void add_number(struct bytes *b, size_t v, unsigned n_bytes)
{
	while (n_bytes-- > 0)
		add(b, &(uint8_t){ (uint8_t)(v >> 8 * n_bytes) }, 1);
}

static void add_vector(struct bytes *b, const void *p, size_t n, unsigned n_len)
{
	add_number(b, n, n_len);
	add(b, p, n);
}

/* The handshake message with this body. */
static void add_message(struct bytes *b, const void *body, size_t n)
{
	add_number(b, 1, 1);
	add_vector(b, body, n, 3);
}

/* Puts bytes into records with at most `max` bytes of content. */
static void add_records(struct bytes *b, const uint8_t *p, size_t n, size_t max)
{
	for (size_t at = 0; at < n; at += max) {
		add(b, S("\x16\x03\x01"));
		add_vector(b, p + at, n - at < max ? n - at : max, 2);
	}
}

/* What every body below begins with: 41 bytes, up to where extensions may begin. */
#define RANDOM "0123456789abcdef0123456789abcdef"
#define BODY \
	"\x03\x03" RANDOM "\x00" \
	"\x00\x02\x13\x01" \
	"\x01\x00"

/* A hello with these extensions in records of at most `max` bytes. */
static const struct bytes *hello_with(const void *extensions, size_t n, size_t max)
{
	static struct bytes body, message, hello;

	body.n = message.n = hello.n = 0;
	add(&body, S(BODY));
	add_vector(&body, extensions, n, 2);
	add_message(&message, body.p, body.n);
	add_records(&hello, message.p, message.n, max);
	return &hello;
}

static const struct bytes *server_name_of(const void *name, size_t n)
{
	static struct bytes ext;

	ext.n = 0;
	add_number(&ext, 0, 2);
	add_number(&ext, n + 5, 2);
	add_number(&ext, n + 3, 2);
	add_number(&ext, 0, 1);
	add_vector(&ext, name, n, 2);
	return &ext;
}

/* ---- reading them ---------------------------------------------------------------------------- */

/* All that is known of a hello, as values. */
struct seen {
	enum client_hello_verdict verdict;
	const char *why;
	uint8_t alert;
	size_t size;
	uint16_t legacy, max;
	bool tls13, ech, address;
	char host[CLIENT_HELLO_TEXT_MAX + 1];
	char alpn[ALPN_MAX];
};

/* The bytes are at an address of their own, where they end, so that sanitizers see a read behind
 * them. */
static uint8_t *copy_of(const uint8_t *p, size_t n)
{
	uint8_t *copy = malloc(n + (n == 0));

	ck_assert_ptr_nonnull(copy);
	if (n != 0)
		memcpy(copy, p, n);
	return copy;
}

static enum client_hello_verdict parse(struct client_hello *h, const uint8_t *p, size_t n)
{
	uint8_t *copy = copy_of(p, n);
	enum client_hello_verdict v = client_hello_parse(h, copy, n);

	free(copy);
	return v;
}

static void see_texts(const struct client_hello *h, const uint8_t *p, struct seen *ret)
{
	char scratch[CLIENT_HELLO_TEXT_MAX];
	struct client_hello_alpn it = client_hello_alpn(h);
	struct slice host = client_hello_host(h, p, scratch), protocol;
	size_t n = 0;

	memcpy(ret->host, host.n == 0 ? "" : host.p, host.n);
	while (client_hello_alpn_next(&it, p, scratch, &protocol)) {
		ck_assert_uint_lt(n + 1 + protocol.n, sizeof(ret->alpn));
		if (n != 0)
			ret->alpn[n++] = ' ';
		memcpy(ret->alpn + n, protocol.p, protocol.n);
		n += protocol.n;
	}
	ck_assert(client_hello_has_alpn(h) == (n != 0));
}

static struct seen see(const struct client_hello *h, enum client_hello_verdict v, const uint8_t *p)
{
	static const struct seen none;
	struct seen s = none;

	s.verdict = v;
	s.why = h->why;
	s.alert = h->alert;
	if (v != CLIENT_HELLO_OK)
		return s;
	s.size = h->size;
	s.legacy = h->legacy_version;
	s.max = h->max_version;
	s.tls13 = h->offers_tls13;
	s.ech = h->has_ech;
	s.address = h->has_address_name;
	see_texts(h, p, &s);
	return s;
}

static struct seen see_whole(const uint8_t *p, size_t n)
{
	struct client_hello h;

	client_hello_init(&h);
	enum client_hello_verdict v = parse(&h, p, n);
	return see(&h, v, p);
}

static void assert_same(const char *name, const struct seen *a, const struct seen *b)
{
	ck_assert_msg(a->verdict == b->verdict, "%s: %d, %d", name, a->verdict, b->verdict);
	ck_assert_msg(a->why == b->why, "%s: %s, %s", name, a->why, b->why);
	ck_assert_msg(a->alert == b->alert && a->size == b->size && a->legacy == b->legacy &&
			      a->max == b->max && a->tls13 == b->tls13 && a->ech == b->ech &&
			      a->address == b->address,
		      "%s", name);
	ck_assert_msg(strcmp(a->host, b->host) == 0, "%s: %s", name, a->host);
	ck_assert_msg(strcmp(a->alpn, b->alpn) == 0, "%s: %s", name, a->alpn);
}

/* Byte by byte: the same comes out as from the whole, and MORE until then. */
static void assert_bytes_give(const char *name, const uint8_t *p, size_t n, const struct seen *want)
{
	struct client_hello h;
	enum client_hello_verdict v = CLIENT_HELLO_MORE;
	size_t at = 0;

	client_hello_init(&h);
	while (at < n && v == CLIENT_HELLO_MORE)
		v = client_hello_parse(&h, p, ++at);
	struct seen got = see(&h, v, p);
	assert_same(name, &got, want);
	if (v == CLIENT_HELLO_OK)
		ck_assert_uint_eq(at, h.size);
	for (; at < n; at++) /* it is final */
		ck_assert_int_eq(client_hello_parse(&h, p, at), v);
}

/* In two pieces, wherever it is cut. */
static void assert_halves_give(const char *name, const uint8_t *p, size_t n,
			       const struct seen *want)
{
	for (size_t cut = 0; cut <= n; cut++) {
		struct client_hello h;

		client_hello_init(&h);
		(void)parse(&h, p, cut);
		enum client_hello_verdict v = parse(&h, p, n);
		ck_assert_msg(v == want->verdict && h.why == want->why, "%s, cut at %zu", name,
			      cut);
		struct seen got = see(&h, v, p);
		assert_same(name, &got, want);
	}
}

static void assert_pieces_give(const char *name, const uint8_t *p, size_t n,
			       const struct seen *want)
{
	assert_bytes_give(name, p, n, want);
	assert_halves_give(name, p, n, want);
}

/* ---- hellos of real clients ------------------------------------------------------------------ */

static const struct {
	const char *name, *host, *alpn;
	uint16_t max;
	bool has_ech;
	const char *hex;
} clients[] = {
#include "hellos.inc"
};

static uint8_t digit(char c)
{
	return (uint8_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static const struct bytes *client_hello_of(int i)
{
	static struct bytes b;
	const char *hex = clients[i].hex;

	b.n = 0;
	for (; *hex != '\0'; hex += 2)
		add(&b, &(uint8_t){ (uint8_t)(digit(hex[0]) << 4 | digit(hex[1])) }, 1);
	return &b;
}

START_TEST(clients_are_read)
{
	const struct bytes *b = client_hello_of(_i);
	struct seen s = see_whole(b->p, b->n);
	bool is_address = strstr(clients[_i].name, "an address as a name") != NULL;

	ck_assert_msg(s.verdict == CLIENT_HELLO_OK, "%s: %s", clients[_i].name, s.why);
	ck_assert_uint_eq(s.size, b->n);
	ck_assert_str_eq(s.host, clients[_i].host);
	ck_assert_str_eq(s.alpn, clients[_i].alpn);
	ck_assert_msg(s.max == clients[_i].max, "%s: %04x", clients[_i].name, s.max);
	ck_assert(s.tls13 == (clients[_i].max == 0x0304));
	ck_assert_uint_eq(s.legacy, clients[_i].max < 0x0303 ? clients[_i].max : 0x0303);
	ck_assert(s.ech == clients[_i].has_ech);
	ck_assert(s.address == is_address);
}
END_TEST

START_TEST(clients_may_come_in_pieces)
{
	const struct bytes *b = client_hello_of(_i);
	struct seen s = see_whole(b->p, b->n);

	assert_pieces_give(clients[_i].name, b->p, b->n, &s);
}
END_TEST

/* Every prefix, read at once. */
START_TEST(a_part_of_a_client_is_more)
{
	const struct bytes *b = client_hello_of(_i);

	for (size_t n = 0; n < b->n; n++) {
		struct client_hello h;

		client_hello_init(&h);
		ck_assert_msg(parse(&h, b->p, n) == CLIENT_HELLO_MORE, "%s: %zu", clients[_i].name,
			      n);
		ck_assert_ptr_null(h.why);
	}
}
END_TEST

/* What follows is not looked at, whatever it is. */
START_TEST(what_is_behind_a_client_is_left)
{
	static const struct {
		const char *p;
		size_t n;
	} rest[] = { { S("\x16\x03\x03\x00\x00") },
		     { S("\x14\x03\x03\x00\x01\x01") },
		     { S("\x15\x03\x03\x00\x02\x02\x28") },
		     { S("GET / HTTP/1.1\r\n\r\n") },
		     { S("\x00") } };
	static struct bytes b;
	struct seen want = see_whole(client_hello_of(_i)->p, client_hello_of(_i)->n);

	for (size_t i = 0; i < ARRAY_SIZE(rest); i++) {
		b = *client_hello_of(_i);
		add(&b, rest[i].p, rest[i].n);
		struct seen got = see_whole(b.p, b.n);
		assert_same(clients[_i].name, &got, &want);
	}
}
END_TEST

/* The content of all records, one behind the other. */
static const struct bytes *message_of(const struct bytes *records)
{
	static struct bytes message;

	message.n = 0;
	for (size_t at = 0; at < records->n;) {
		size_t n = (size_t)records->p[at + 3] << 8 | records->p[at + 4];
		add(&message, records->p + at + 5, n);
		at += 5 + n;
	}
	return &message;
}

/* In records of any size the same is found. */
START_TEST(clients_may_come_in_records)
{
	static struct bytes b;
	const struct bytes *hello = client_hello_of(_i);
	const struct bytes *message = message_of(hello);
	struct seen want = see_whole(hello->p, hello->n);

	for (size_t max = 1; max < 300; max += max < 70 ? 1 : 37) {
		b.n = 0;
		add_records(&b, message->p, message->n, max);
		if (b.n > CLIENT_HELLO_MAX)
			continue;
		struct seen got = see_whole(b.p, b.n);
		ck_assert_uint_eq(got.size, b.n);
		struct seen other = want;
		other.size = b.n;
		assert_same(clients[_i].name, &got, &other);
		assert_bytes_give(clients[_i].name, b.p, b.n, &got);
	}
}
END_TEST

/* With any byte changed, of the largest hellos every fifth, pieces and the whole get the same
 * verdict. */
START_TEST(a_changed_byte_is_judged_the_same_in_pieces)
{
	static struct bytes b;
	static const uint8_t changes[] = { 0x01, 0x80, 0xff };

	b = *client_hello_of(_i);
	for (size_t at = 0; at < b.n; at += 1 + b.n / 1000) {
		uint8_t c = b.p[at];

		for (size_t k = 0; k < ARRAY_SIZE(changes); k++) {
			b.p[at] = c ^ changes[k];
			struct seen want = see_whole(b.p, b.n);
			assert_bytes_give(clients[_i].name, b.p, b.n, &want);
		}
		b.p[at] = c;
	}
}
END_TEST

/* ---- framing --------------------------------------------------------------------------------- */

/* The message header and the body of the shortest hello: 45 bytes. */
#define MESSAGE "\x01\x00\x00\x29" BODY

/* The bytes are all that is needed for the verdict: with one less it is MORE. */
static const struct {
	const char *name, *text;
	size_t n;
	enum client_hello_verdict want;
	uint8_t alert;
	const char *why;
} frames[] = {
	{ "the shortest hello", S("\x16\x03\x01\x00\x2d" MESSAGE), CLIENT_HELLO_OK, 0, NULL },
	{ "a record of version 3.0", S("\x16\x03\x00\x00\x2d" MESSAGE), CLIENT_HELLO_OK, 0, NULL },
	{ "a record of version 3.3", S("\x16\x03\x03\x00\x2d" MESSAGE), CLIENT_HELLO_OK, 0, NULL },
	{ "a record of version 3.255", S("\x16\x03\xff\x00\x2d" MESSAGE), CLIENT_HELLO_OK, 0,
	  NULL },
	{ "versions of records differ",
	  S("\x16\x03\x01\x00\x04\x01\x00\x00\x29"
	    "\x16\x03\x03\x00\x29" BODY),
	  CLIENT_HELLO_OK, 0, NULL },
	{ "HTTP", S("G"), CLIENT_HELLO_NOT_TLS, UNEXPECTED_MESSAGE, "no TLS" },
	{ "HTTP/2", S("P"), CLIENT_HELLO_NOT_TLS, UNEXPECTED_MESSAGE, "no TLS" },
	{ "a PROXY header of version 2", S("\r"), CLIENT_HELLO_NOT_TLS, UNEXPECTED_MESSAGE,
	  "no TLS" },
	{ "SSL 2.0", S("\x80"), CLIENT_HELLO_NOT_TLS, UNEXPECTED_MESSAGE, "no TLS" },
	{ "NUL", S("\x00"), CLIENT_HELLO_NOT_TLS, UNEXPECTED_MESSAGE, "no TLS" },
	{ "an alert first", S("\x15"), CLIENT_HELLO_NOT_TLS, UNEXPECTED_MESSAGE, "no TLS" },
	{ "a change of cipher spec first", S("\x14"), CLIENT_HELLO_NOT_TLS, UNEXPECTED_MESSAGE,
	  "no TLS" },
	{ "application data first", S("\x17"), CLIENT_HELLO_NOT_TLS, UNEXPECTED_MESSAGE, "no TLS" },
	{ "a record of version 2", S("\x16\x02"), CLIENT_HELLO_NOT_TLS, PROTOCOL_VERSION,
	  "no TLS" },
	{ "DTLS", S("\x16\xfe"), CLIENT_HELLO_NOT_TLS, PROTOCOL_VERSION, "no TLS" },
	{ "an empty record", S("\x16\x03\x01\x00\x00"), CLIENT_HELLO_BAD, UNEXPECTED_MESSAGE,
	  "an empty record" },
	{ "the longest record", S("\x16\x03\x01\x40\x00\x02"), CLIENT_HELLO_BAD, UNEXPECTED_MESSAGE,
	  "a handshake message that is no hello" },
	{ "a record of 16 KiB and 1", S("\x16\x03\x01\x40\x01"), CLIENT_HELLO_BAD, RECORD_OVERFLOW,
	  "a record of more than 16 KiB" },
	{ "a HelloRequest", S("\x16\x03\x01\x00\x04\x00"), CLIENT_HELLO_BAD, UNEXPECTED_MESSAGE,
	  "a handshake message that is no hello" },
	{ "a ServerHello", S("\x16\x03\x01\x00\x04\x02"), CLIENT_HELLO_BAD, UNEXPECTED_MESSAGE,
	  "a handshake message that is no hello" },
	{ "a message of 16 KiB",
	  S("\x16\x03\x01\x00\x04\x01\x00\x3f\xfc"
	    "\x16\x03\x01\x00\x01\x03"
	    "\x17"),
	  CLIENT_HELLO_BAD, UNEXPECTED_MESSAGE, "a record of another type" },
	{ "a message of 16 KiB and 1", S("\x16\x03\x01\x00\x04\x01\x00\x3f\xfd"),
	  CLIENT_HELLO_TOO_LARGE, ILLEGAL_PARAMETER, "a hello of more than 16 KiB" },
	{ "a message of 16 MiB", S("\x16\x03\x01\x40\x00\x01\xff\xff\xff"), CLIENT_HELLO_TOO_LARGE,
	  ILLEGAL_PARAMETER, "a hello of more than 16 KiB" },
	{ "an alert within",
	  S("\x16\x03\x01\x00\x05\x01\x00\x00\x29\x03"
	    "\x15"),
	  CLIENT_HELLO_BAD, UNEXPECTED_MESSAGE, "a record of another type" },
	{ "a change of cipher spec within the header",
	  S("\x16\x03\x01\x00\x01\x01"
	    "\x14"),
	  CLIENT_HELLO_BAD, UNEXPECTED_MESSAGE, "a record of another type" },
	{ "application data within",
	  S("\x16\x03\x01\x00\x05\x01\x00\x00\x29\x03"
	    "\x17"),
	  CLIENT_HELLO_BAD, UNEXPECTED_MESSAGE, "a record of another type" },
	{ "an empty record within",
	  S("\x16\x03\x01\x00\x05\x01\x00\x00\x29\x03"
	    "\x16\x03\x01\x00\x00"),
	  CLIENT_HELLO_BAD, UNEXPECTED_MESSAGE, "an empty record" },
	{ "another version within",
	  S("\x16\x03\x01\x00\x05\x01\x00\x00\x29\x03"
	    "\x16\x02"),
	  CLIENT_HELLO_BAD, PROTOCOL_VERSION, "a record of another version" },
	{ "a long record within",
	  S("\x16\x03\x01\x00\x05\x01\x00\x00\x29\x03"
	    "\x16\x03\x01\xff\xff"),
	  CLIENT_HELLO_BAD, RECORD_OVERFLOW, "a record of more than 16 KiB" },
	{ "bytes behind it in its record", S("\x16\x03\x01\x00\x2e\x01\x00\x00\x29"),
	  CLIENT_HELLO_BAD, UNEXPECTED_MESSAGE, "bytes behind the hello in its record" },
	{ "bytes behind it in a later record",
	  S("\x16\x03\x01\x00\x04\x01\x00\x00\x29"
	    "\x16\x03\x01\x00\x2a"),
	  CLIENT_HELLO_BAD, UNEXPECTED_MESSAGE, "bytes behind the hello in its record" },
	{ "two hellos in a record", S("\x16\x03\x01\x00\x5a\x01\x00\x00\x29"), CLIENT_HELLO_BAD,
	  UNEXPECTED_MESSAGE, "bytes behind the hello in its record" },
	{ "a message without a body", S("\x16\x03\x01\x00\x04\x01\x00\x00\x00"), CLIENT_HELLO_BAD,
	  DECODE_ERROR, "the hello ends early" },
};

START_TEST(framing_is_judged_right)
{
	const uint8_t *p = (const uint8_t *)frames[_i].text;
	size_t n = frames[_i].n;
	struct seen s = see_whole(p, n);

	ck_assert_msg(s.verdict == frames[_i].want, "%s: %d", frames[_i].name, s.verdict);
	ck_assert_pstr_eq(s.why, frames[_i].why);
	ck_assert_msg(s.alert == frames[_i].alert, "%s: %u", frames[_i].name, s.alert);
	assert_pieces_give(frames[_i].name, p, n, &s);
	struct seen less = see_whole(p, n - 1);
	ck_assert_msg(less.verdict == CLIENT_HELLO_MORE, "%s: decided earlier", frames[_i].name);
}
END_TEST

/* ---- bodies ---------------------------------------------------------------------------------- */

#define ID_32 RANDOM

static const struct {
	const char *name, *body;
	size_t n;
	enum client_hello_verdict want;
	const char *why;
} bodies[] = {
	{ "without extensions", S(BODY), CLIENT_HELLO_OK, NULL },
	{ "with no extension in the list", S(BODY "\x00\x00"), CLIENT_HELLO_OK, NULL },
	{ "a session id of 32 bytes",
	  S("\x03\x03" RANDOM "\x20" ID_32 "\x00\x02\x13\x01"
	    "\x01\x00"),
	  CLIENT_HELLO_OK, NULL },
	{ "a session id of 33 bytes",
	  S("\x03\x03" RANDOM "\x21" ID_32 "x"
	    "\x00\x02\x13\x01"
	    "\x01\x00"),
	  CLIENT_HELLO_BAD, "a session id of more than 32 bytes" },
	{ "cut in the version", S("\x03"), CLIENT_HELLO_BAD, "the hello ends early" },
	{ "cut in the random",
	  S("\x03\x03"
	    "0123"),
	  CLIENT_HELLO_BAD, "the hello ends early" },
	{ "cut before the session id", S("\x03\x03" RANDOM), CLIENT_HELLO_BAD,
	  "the hello ends early" },
	{ "a session id longer than the hello",
	  S("\x03\x03" RANDOM "\x20"
	    "0123"),
	  CLIENT_HELLO_BAD, "the hello ends early" },
	{ "cut in the length of the suites",
	  S("\x03\x03" RANDOM "\x00"
	    "\x00"),
	  CLIENT_HELLO_BAD, "the hello ends early" },
	{ "suites longer than the hello",
	  S("\x03\x03" RANDOM "\x00"
	    "\x00\x04\x13\x01"),
	  CLIENT_HELLO_BAD, "the hello ends early" },
	{ "no suites",
	  S("\x03\x03" RANDOM "\x00"
	    "\x00\x00"
	    "\x01\x00"),
	  CLIENT_HELLO_BAD, "a malformed list of cipher suites" },
	{ "half a suite",
	  S("\x03\x03" RANDOM "\x00"
	    "\x00\x03\x13\x01\x13"
	    "\x01\x00"),
	  CLIENT_HELLO_BAD, "a malformed list of cipher suites" },
	{ "cut before the compression methods",
	  S("\x03\x03" RANDOM "\x00"
	    "\x00\x02\x13\x01"),
	  CLIENT_HELLO_BAD, "the hello ends early" },
	{ "no compression method",
	  S("\x03\x03" RANDOM "\x00"
	    "\x00\x02\x13\x01"
	    "\x00"),
	  CLIENT_HELLO_BAD, "no compression method" },
	{ "compression methods longer than the hello",
	  S("\x03\x03" RANDOM "\x00"
	    "\x00\x02\x13\x01"
	    "\x02\x00"),
	  CLIENT_HELLO_BAD, "the hello ends early" },
	{ "half a length of the extensions", S(BODY "\x00"), CLIENT_HELLO_BAD,
	  "the extensions end beyond the hello" },
	{ "extensions longer than the hello", S(BODY "\x00\x05\x00\x17\x00\x00"), CLIENT_HELLO_BAD,
	  "the extensions end beyond the hello" },
	{ "extensions shorter than the hello",
	  S(BODY "\x00\x04\x00\x17\x00\x00"
		 "x"),
	  CLIENT_HELLO_BAD, "bytes behind the extensions" },
	{ "bytes behind no extensions",
	  S(BODY "\x00\x00"
		 "x"),
	  CLIENT_HELLO_BAD, "bytes behind the extensions" },
	{ "half a type of an extension", S(BODY "\x00\x01\x00"), CLIENT_HELLO_BAD,
	  "an extension ends beyond the hello" },
	{ "an extension without a length", S(BODY "\x00\x02\x00\x17"), CLIENT_HELLO_BAD,
	  "an extension ends beyond the hello" },
	{ "an extension longer than the list",
	  S(BODY "\x00\x05\x00\x17\x00\x02"
		 "x"),
	  CLIENT_HELLO_BAD, "an extension ends beyond the hello" },
	{ "an extension longer than a list that is not the last",
	  S(BODY "\x00\x04\x00\x17\x00\x01"
		 "x"),
	  CLIENT_HELLO_BAD, "bytes behind the extensions" },
};

/* In one record, and in records of each small size. */
START_TEST(body_is_judged_right)
{
	static const size_t sizes[] = { RECORD_MAX, 1, 2, 3, 4, 5, 7, 16, 41 };
	static struct bytes message, hello;

	message.n = 0;
	add_message(&message, bodies[_i].body, bodies[_i].n);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		hello.n = 0;
		add_records(&hello, message.p, message.n, sizes[i]);
		struct seen s = see_whole(hello.p, hello.n);
		ck_assert_msg(s.verdict == bodies[_i].want, "%s: %d", bodies[_i].name, s.verdict);
		ck_assert_pstr_eq(s.why, bodies[_i].why);
		ck_assert_uint_eq(s.alert, s.verdict == CLIENT_HELLO_BAD ? DECODE_ERROR : 0);
		assert_pieces_give(bodies[_i].name, hello.p, hello.n, &s);
	}
}
END_TEST

/* ---- extensions ------------------------------------------------------------------------------ */

#define SNI "\x00\x00"
#define ALPN "\x00\x10"
#define VERSIONS "\x00\x2b"
#define ECH "\xfe\x0d"
#define NAME_LENGTHS "lengths in server_name do not agree"
#define ALPN_LENGTHS "lengths in ALPN do not agree"
#define VERSION_LENGTHS "lengths in supported_versions do not agree"

static const struct {
	const char *name, *extensions;
	size_t n;
	uint8_t alert; /* 0: the verdict is OK */
	const char *why, *host, *alpn;
	uint16_t max;
	bool tls13, ech;
} extensions[] = {
	{ "unknown ones",
	  S("\xff\x01\x00\x01\x00"
	    "\x0a\x0a\x00\x00"
	    "\x4a\x4a\x00\x01\x00"),
	  0, NULL, "", "", 0x0303, false, false },
	{ "an unknown one twice",
	  S("\x0a\x0a\x00\x00"
	    "\x00\x17\x00\x00"
	    "\x0a\x0a\x00\x00"),
	  ILLEGAL_PARAMETER, "an extension comes twice", "", "", 0, false, false },
	{ "types that differ in one byte",
	  S("\x0a\x0a\x00\x00"
	    "\x0b\x0a\x00\x00"
	    "\x0a\x0b\x00\x00"),
	  0, NULL, "", "", 0x0303, false, false },
	{ "a name",
	  S(SNI "\x00\x06\x00\x04\x00\x00\x01"
		"a"),
	  0, NULL, "a", "", 0x0303, false, false },
	{ "the same name twice",
	  S(SNI "\x00\x06\x00\x04\x00\x00\x01"
		"a" SNI "\x00\x06\x00\x04\x00\x00\x01"
		"a"),
	  ILLEGAL_PARAMETER, "an extension comes twice", "", "", 0, false, false },
	{ "an empty server_name, as a server sends it", S(SNI "\x00\x00"), DECODE_ERROR,
	  NAME_LENGTHS, "", "", 0, false, false },
	{ "no name in the list", S(SNI "\x00\x02\x00\x00"), DECODE_ERROR, NAME_LENGTHS, "", "", 0,
	  false, false },
	{ "an empty name", S(SNI "\x00\x05\x00\x03\x00\x00\x00"), DECODE_ERROR,
	  "an empty name in server_name", "", "", 0, false, false },
	{ "a name longer than its list",
	  S(SNI "\x00\x06\x00\x04\x00\x00\x02"
		"a"),
	  DECODE_ERROR, NAME_LENGTHS, "", "", 0, false, false },
	{ "a list longer than server_name",
	  S(SNI "\x00\x06\x00\x05\x00\x00\x01"
		"a"),
	  DECODE_ERROR, NAME_LENGTHS, "", "", 0, false, false },
	{ "a list shorter than server_name",
	  S(SNI "\x00\x07\x00\x04\x00\x00\x01"
		"ab"),
	  DECODE_ERROR, NAME_LENGTHS, "", "", 0, false, false },
	{ "a name shorter than its list",
	  S(SNI "\x00\x07\x00\x05\x00\x00\x01"
		"ab"),
	  DECODE_ERROR, "more than one name in server_name", "", "", 0, false, false },
	{ "two names",
	  S(SNI "\x00\x0a\x00\x08\x00\x00\x01"
		"a"
		"\x00\x00\x01"
		"b"),
	  DECODE_ERROR, "more than one name in server_name", "", "", 0, false, false },
	{ "a name of another type",
	  S(SNI "\x00\x06\x00\x04\x01\x00\x01"
		"a"),
	  DECODE_ERROR, "a name in server_name that is no host name", "", "", 0, false, false },
	{ "a name and one of another type",
	  S(SNI "\x00\x0a\x00\x08\x00\x00\x01"
		"a"
		"\x01\x00\x01"
		"b"),
	  DECODE_ERROR, "more than one name in server_name", "", "", 0, false, false },
	{ "a protocol",
	  S(ALPN "\x00\x07\x00\x05\x04"
		 "mqtt"),
	  0, NULL, "", "mqtt", 0x0303, false, false },
	{ "two protocols",
	  S(ALPN "\x00\x0c\x00\x0a\x02"
		 "h2"
		 "\x06"
		 "spdy/1"),
	  0, NULL, "", "h2 spdy/1", 0x0303, false, false },
	{ "ALPN twice",
	  S(ALPN "\x00\x05\x00\x03\x02"
		 "h2" ALPN "\x00\x05\x00\x03\x02"
		 "h2"),
	  ILLEGAL_PARAMETER, "an extension comes twice", "", "", 0, false, false },
	{ "an empty ALPN", S(ALPN "\x00\x00"), DECODE_ERROR, ALPN_LENGTHS, "", "", 0, false,
	  false },
	{ "no protocol", S(ALPN "\x00\x02\x00\x00"), DECODE_ERROR, "no protocol in ALPN", "", "", 0,
	  false, false },
	{ "an empty protocol", S(ALPN "\x00\x03\x00\x01\x00"), DECODE_ERROR,
	  "an empty protocol in ALPN", "", "", 0, false, false },
	{ "an empty protocol behind another",
	  S(ALPN "\x00\x06\x00\x04\x02"
		 "h2"
		 "\x00"),
	  DECODE_ERROR, "an empty protocol in ALPN", "", "", 0, false, false },
	{ "a protocol longer than its list",
	  S(ALPN "\x00\x05\x00\x03\x03"
		 "h2"),
	  DECODE_ERROR, ALPN_LENGTHS, "", "", 0, false, false },
	{ "a list longer than ALPN",
	  S(ALPN "\x00\x05\x00\x04\x02"
		 "h2"),
	  DECODE_ERROR, ALPN_LENGTHS, "", "", 0, false, false },
	{ "a list shorter than ALPN",
	  S(ALPN "\x00\x06\x00\x03\x02"
		 "h2"
		 "x"),
	  DECODE_ERROR, ALPN_LENGTHS, "", "", 0, false, false },
	{ "half a length of ALPN", S(ALPN "\x00\x01\x00"), DECODE_ERROR, ALPN_LENGTHS, "", "", 0,
	  false, false },
	{ "TLS 1.3", S(VERSIONS "\x00\x03\x02\x03\x04"), 0, NULL, "", "", 0x0304, true, false },
	{ "TLS 1.3 to 1.0, any order", S(VERSIONS "\x00\x09\x08\x03\x01\x03\x04\x03\x03\x03\x02"),
	  0, NULL, "", "", 0x0304, true, false },
	{ "TLS 1.2 only", S(VERSIONS "\x00\x03\x02\x03\x03"), 0, NULL, "", "", 0x0303, false,
	  false },
	{ "TLS 1.1 only: less than the legacy version", S(VERSIONS "\x00\x03\x02\x03\x02"), 0, NULL,
	  "", "", 0x0302, false, false },
	{ "a later version without 1.3", S(VERSIONS "\x00\x03\x02\x03\x05"), 0, NULL, "", "",
	  0x0305, false, false },
	{ "GREASE and a draft beside 1.2", S(VERSIONS "\x00\x07\x06\x7a\x7a\x7f\x1c\x03\x03"), 0,
	  NULL, "", "", 0x0303, false, false },
	{ "no version of TLS", S(VERSIONS "\x00\x03\x02\x7a\x7a"), 0, NULL, "", "", 0, false,
	  false },
	{ "no version", S(VERSIONS "\x00\x01\x00"), DECODE_ERROR, VERSION_LENGTHS, "", "", 0, false,
	  false },
	{ "half a version", S(VERSIONS "\x00\x04\x03\x03\x04\x03"), DECODE_ERROR, VERSION_LENGTHS,
	  "", "", 0, false, false },
	{ "empty supported_versions", S(VERSIONS "\x00\x00"), DECODE_ERROR, VERSION_LENGTHS, "", "",
	  0, false, false },
	{ "versions longer than the extension", S(VERSIONS "\x00\x03\x04\x03\x04"), DECODE_ERROR,
	  VERSION_LENGTHS, "", "", 0, false, false },
	{ "versions shorter than the extension", S(VERSIONS "\x00\x05\x02\x03\x04\x03\x03"),
	  DECODE_ERROR, VERSION_LENGTHS, "", "", 0, false, false },
	{ "an encrypted hello with an outer name",
	  S(ECH "\x00\x01\x00" SNI "\x00\x06\x00\x04\x00\x00\x01"
		"a"),
	  0, NULL, "a", "", 0x0303, false, true },
	{ "all of them",
	  S(VERSIONS "\x00\x03\x02\x03\x04" ALPN "\x00\x05\x00\x03\x02"
		     "h2" ECH "\x00\x00" SNI "\x00\x06\x00\x04\x00\x00\x01"
		     "a"),
	  0, NULL, "a", "h2", 0x0304, true, true },
};

START_TEST(extensions_are_judged_right)
{
	static const size_t sizes[] = { RECORD_MAX, 1, 2, 3, 4, 5, 6, 7, 9, 50 };
	const char *name = extensions[_i].name;
	bool is_ok = extensions[_i].alert == 0;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		const struct bytes *hello =
			hello_with(extensions[_i].extensions, extensions[_i].n, sizes[i]);
		struct seen s = see_whole(hello->p, hello->n);

		ck_assert_msg((s.verdict == CLIENT_HELLO_OK) == is_ok, "%s: %s", name, s.why);
		ck_assert_int_eq(s.verdict, is_ok ? CLIENT_HELLO_OK : CLIENT_HELLO_BAD);
		ck_assert_pstr_eq(s.why, extensions[_i].why);
		ck_assert_msg(s.alert == extensions[_i].alert, "%s: %u", name, s.alert);
		ck_assert_str_eq(s.host, extensions[_i].host);
		ck_assert_str_eq(s.alpn, extensions[_i].alpn);
		ck_assert_msg(s.max == extensions[_i].max, "%s: %04x", name, s.max);
		ck_assert(s.tls13 == extensions[_i].tls13 && s.ech == extensions[_i].ech);
		assert_pieces_give(name, hello->p, hello->n, &s);
	}
}
END_TEST

/* ---- names ----------------------------------------------------------------------------------- */

#define L9 "123456789"
#define L63 L9 L9 L9 L9 L9 L9 L9
#define L253 L63 "." L63 "." L63 "." L9 L9 L9 L9 L9 L9 "1234567"
#define OCTET "an octet in server_name that no host name has"

/* NULL for `why`: the name is the host, or with is_address there is no host. */
static const struct {
	const char *name, *host;
	size_t n;
	const char *why;
	bool is_address;
} names[] = {
	{ "a label", S("localhost"), NULL, false },
	{ "a letter", S("a"), NULL, false },
	{ "labels", S("a.b.example"), NULL, false },
	{ "any case", S("ChaT.Example.COM"), NULL, false },
	{ "an A-label", S("xn--bcher-kva.example"), NULL, false },
	{ "digits", S("1.example"), NULL, false },
	{ "digits only, but no address", S("1.2.3"), NULL, false },
	{ "underscores", S("_ws._tcp.a_b.example"), NULL, false },
	{ "hyphens anywhere", S("a--b.-c.d-.example"), NULL, false },
	{ "a label of 63", S(L63 ".example"), NULL, false },
	{ "a label of 64", S(L63 "x.example"), "a label of more than 63 bytes in server_name",
	  false },
	{ "a last label of 64", S("a." L63 "x"), "a label of more than 63 bytes in server_name",
	  false },
	{ "253 bytes", S(L253), NULL, false },
	{ "254 bytes", S(L253 "x"), "a name of more than 253 bytes", false },
	{ "300 bytes", S(L253 L63), "a name of more than 253 bytes", false },
	{ "a trailing dot", S("example.com."), "a trailing dot in server_name", false },
	{ "a dot", S("."), "a trailing dot in server_name", false },
	{ "a leading dot", S(".example"), "an empty label in server_name", false },
	{ "two dots", S("a..example"), "an empty label in server_name", false },
	{ "NUL", S("a\0.example"), "NUL in server_name", false },
	{ "NUL at the end", S("example\0"), "NUL in server_name", false },
	{ "NUL alone", S("\0"), "NUL in server_name", false },
	{ "a space", S("a b"), OCTET, false },
	{ "a line's end", S("a\r\nb"), OCTET, false },
	{ "a slash", S("a/b"), OCTET, false },
	{ "an asterisk", S("*.example"), OCTET, false },
	{ "a port", S("example:443"), OCTET, false },
	{ "UTF-8",
	  S("b\xc3\xbc"
	    "cher.example"),
	  OCTET, false },
	{ "a percent", S("a%2eb"), OCTET, false },
	{ "an at sign", S("a@b"), OCTET, false },
	{ "IPv4", S("192.0.2.1"), NULL, true },
	{ "IPv4 and NUL", S("192.0.2.1\0"), "NUL in server_name", false },
	{ "not quite IPv4", S("192.0.2.256"), NULL, false },
	{ "IPv6", S("2001:db8::1"), NULL, true },
	{ "IPv6, all zeros", S("::"), NULL, true },
	{ "IPv6 in brackets", S("[2001:db8::1]"), OCTET, false },
	{ "IPv6 with a zone", S("fe80::1%eth0"), OCTET, false },
};

START_TEST(name_is_judged_right)
{
	const char *name = names[_i].name;
	const struct bytes *ext = server_name_of(names[_i].host, names[_i].n);

	for (size_t max = 1; max < RECORD_MAX; max *= 3) {
		const struct bytes *hello = hello_with(ext->p, ext->n, max);
		struct seen s = see_whole(hello->p, hello->n);
		bool is_host = names[_i].why == NULL && !names[_i].is_address;

		ck_assert_pstr_eq(s.why, names[_i].why);
		ck_assert_int_eq(s.verdict,
				 names[_i].why == NULL ? CLIENT_HELLO_OK : CLIENT_HELLO_BAD);
		ck_assert_msg(s.alert == (names[_i].why == NULL ? 0 : UNRECOGNIZED_NAME), "%s",
			      name);
		ck_assert_str_eq(s.host, is_host ? names[_i].host : "");
		ck_assert_msg(s.address == names[_i].is_address, "%s", name);
		assert_bytes_give(name, hello->p, hello->n, &s);
	}
}
END_TEST

/* All octets but those of a host name are refused. */
START_TEST(every_octet_of_a_name)
{
	for (int c = 0; c < 256; c++) {
		const uint8_t name[] = { 'a', (uint8_t)c, 'b' };
		const struct bytes *ext = server_name_of(name, sizeof(name));
		const struct bytes *hello = hello_with(ext->p, ext->n, RECORD_MAX);
		bool is_ok = c != 0 && strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
					      "0123456789-_.",
					      c) != NULL;

		ck_assert_msg((see_whole(hello->p, hello->n).verdict == CLIENT_HELLO_OK) == is_ok,
			      "0x%02x", (unsigned)c);
	}
}
END_TEST

/* ---- slices ---------------------------------------------------------------------------------- */

/* A text in one record is not copied; one that lies across a record's end is. */
START_TEST(text_borrows_where_it_can)
{
	const struct bytes *ext = server_name_of(S("chat.example"));

	for (size_t max = 1; max < 120; max++) {
		char scratch[CLIENT_HELLO_TEXT_MAX];
		const struct bytes *hello = hello_with(ext->p, ext->n, max);
		struct client_hello h;

		client_hello_init(&h);
		ck_assert_int_eq(client_hello_parse(&h, hello->p, hello->n), CLIENT_HELLO_OK);
		struct slice host = client_hello_host(&h, hello->p, scratch);
		ck_assert(slice_eq(host, SLICE("chat.example")));

		const uint8_t *found = memmem(hello->p, hello->n, "chat.example", 12);
		ck_assert_ptr_eq(host.p, found != NULL ? (const char *)found : scratch);
	}
}
END_TEST

START_TEST(protocols_are_compared_whole)
{
	const struct bytes *hello = hello_with(S(ALPN "\x00\x0a\x00\x08\x02"
						      "h2"
						      "\x04"
						      "mqtt"),
					       3);
	struct client_hello h;

	client_hello_init(&h);
	ck_assert_int_eq(client_hello_parse(&h, hello->p, hello->n), CLIENT_HELLO_OK);
	ck_assert(client_hello_offers(&h, hello->p, SLICE("h2")));
	ck_assert(client_hello_offers(&h, hello->p, SLICE("mqtt")));
	ck_assert(!client_hello_offers(&h, hello->p, SLICE("h")));
	ck_assert(!client_hello_offers(&h, hello->p, SLICE("h2c")));
	ck_assert(!client_hello_offers(&h, hello->p, SLICE("MQTT")));
	ck_assert(!client_hello_offers(&h, hello->p, SLICE("")));
}
END_TEST

/* ---- sizes ----------------------------------------------------------------------------------- */

/* A hello whose message has `n` bytes, with an extension of zeros that fills it. */
static const struct bytes *hello_of_size(size_t n, size_t max)
{
	static struct bytes ext;
	static const uint8_t zeros[CLIENT_HELLO_MESSAGE_MAX + 1];
	size_t n_zeros = n - 4 - (sizeof(BODY) - 1) - 2 - 4;

	ext.n = 0;
	add_number(&ext, 21, 2); /* padding (RFC 7685) */
	add_vector(&ext, zeros, n_zeros, 2);
	return hello_with(ext.p, ext.n, max);
}

START_TEST(the_largest_hello)
{
	const struct bytes *hello = hello_of_size(CLIENT_HELLO_MESSAGE_MAX, RECORD_MAX);
	struct seen s = see_whole(hello->p, hello->n);

	ck_assert_int_eq(s.verdict, CLIENT_HELLO_OK);
	ck_assert_uint_eq(s.size, CLIENT_HELLO_MESSAGE_MAX + 5);
	assert_bytes_give("the largest", hello->p, hello->n, &s);

	hello = hello_of_size(CLIENT_HELLO_MESSAGE_MAX + 1, RECORD_MAX);
	ck_assert_int_eq(see_whole(hello->p, hello->n).verdict, CLIENT_HELLO_TOO_LARGE);
	/* The verdict needs nothing behind the message's header. */
	ck_assert_int_eq(see_whole(hello->p, 9).verdict, CLIENT_HELLO_TOO_LARGE);
}
END_TEST

/* 205 records with 80 bytes each but the last: CLIENT_HELLO_MAX bytes, and one more. */
START_TEST(the_most_bytes_of_records)
{
	const struct bytes *hello = hello_of_size(CLIENT_HELLO_MESSAGE_MAX - 1, 80);

	ck_assert_uint_eq(hello->n, CLIENT_HELLO_MAX);
	struct seen s = see_whole(hello->p, hello->n);
	ck_assert_int_eq(s.verdict, CLIENT_HELLO_OK);
	assert_bytes_give("the most bytes", hello->p, hello->n, &s);

	hello = hello_of_size(CLIENT_HELLO_MESSAGE_MAX, 80);
	ck_assert_uint_eq(hello->n, CLIENT_HELLO_MAX + 1);
	s = see_whole(hello->p, hello->n);
	ck_assert_int_eq(s.verdict, CLIENT_HELLO_TOO_LARGE);
	ck_assert_str_eq(s.why, "records of more than 17 KiB before the end of the hello");
	assert_bytes_give("a byte more", hello->p, hello->n, &s);
}
END_TEST

/* As many records of one byte as are allowed, and one more. */
START_TEST(records_of_a_byte)
{
	const size_t n_message = CLIENT_HELLO_MAX / 6;
	const struct bytes *hello = hello_of_size(n_message, 1);
	struct seen s = see_whole(hello->p, hello->n);

	ck_assert_int_eq(s.verdict, CLIENT_HELLO_OK);
	assert_bytes_give("records of a byte", hello->p, hello->n, &s);
	hello = hello_of_size(n_message + 1, 1);
	ck_assert_int_eq(see_whole(hello->p, hello->n).verdict, CLIENT_HELLO_TOO_LARGE);
}
END_TEST

/* As many extensions as fit; the last one comes twice. */
START_TEST(four_thousand_extensions)
{
	static struct bytes ext;
	const size_t n = (CLIENT_HELLO_MESSAGE_MAX - 4 - (sizeof(BODY) - 1) - 2) / 4;

	ext.n = 0;
	for (size_t type = 100; type < 100 + n - 1; type++)
		add_number(&ext, type << 16, 4);
	add_number(&ext, 99 << 16, 4);
	const struct bytes *hello = hello_with(ext.p, ext.n, RECORD_MAX);
	ck_assert_int_eq(see_whole(hello->p, hello->n).verdict, CLIENT_HELLO_OK);

	ext.n -= 4;
	add_number(&ext, 100 << 16, 4);
	hello = hello_with(ext.p, ext.n, RECORD_MAX);
	ck_assert_str_eq(see_whole(hello->p, hello->n).why, "an extension comes twice");
}
END_TEST

/* 8446, 6: a fatal alert, in plain text. */
START_TEST(the_alert_is_a_record)
{
	static const uint8_t want[] = { 0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x70 };
	uint8_t out[CLIENT_HELLO_ALERT_BYTES];

	ck_assert_uint_eq(client_hello_refuse(UNRECOGNIZED_NAME, out), sizeof(want));
	ck_assert_mem_eq(out, want, sizeof(want));
}
END_TEST

#define N(rows) ((int)ARRAY_SIZE(rows))

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, clients_are_read, 0, N(clients));
	tcase_add_loop_test(t, clients_may_come_in_pieces, 0, N(clients));
	tcase_add_loop_test(t, a_part_of_a_client_is_more, 0, N(clients));
	tcase_add_loop_test(t, what_is_behind_a_client_is_left, 0, N(clients));
	tcase_add_loop_test(t, clients_may_come_in_records, 0, N(clients));
	tcase_add_loop_test(t, a_changed_byte_is_judged_the_same_in_pieces, 0, N(clients));
	tcase_add_loop_test(t, framing_is_judged_right, 0, N(frames));
	tcase_add_loop_test(t, body_is_judged_right, 0, N(bodies));
	tcase_add_loop_test(t, extensions_are_judged_right, 0, N(extensions));
	tcase_add_loop_test(t, name_is_judged_right, 0, N(names));
	tcase_add_test(t, every_octet_of_a_name);
	tcase_add_test(t, text_borrows_where_it_can);
	tcase_add_test(t, protocols_are_compared_whole);
	tcase_add_test(t, the_largest_hello);
	tcase_add_test(t, the_most_bytes_of_records);
	tcase_add_test(t, records_of_a_byte);
	tcase_add_test(t, four_thousand_extensions);
	tcase_add_test(t, the_alert_is_a_record);
}

int main(void)
{
	return run_suite("proto/client_hello", add_tests);
}
