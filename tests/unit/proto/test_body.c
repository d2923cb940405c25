/* SPDX-License-Identifier: Apache-2.0 */
#include "../suite.h"
#include "proto/body.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define S(literal) (literal), sizeof(literal) - 1
#define NAME_16 "A-name-of-16-by."
#define NAME_64 NAME_16 NAME_16 NAME_16 NAME_16

static const struct {
	const char *name, *text;
	bool is_response;
	enum http1_method asked;
	enum body_mode mode;
	uint64_t left;
} heads[] = {
	{ "request without", "PUT / HTTP/1.0\r\n\r\n", false, 0, BODY_MODE_NONE, 0 },
	{ "request with a length", "PUT / HTTP/1.0\r\nContent-Length: 7\r\n\r\n", false, 0,
	  BODY_MODE_LENGTH, 7 },
	{ "request with length 0", "PUT / HTTP/1.0\r\nContent-Length: 0\r\n\r\n", false, 0,
	  BODY_MODE_NONE, 0 },
	{ "request in chunks", "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
	  false, 0, BODY_MODE_CHUNKED, 0 },
	{ "response without", "HTTP/1.1 200 OK\r\n\r\n", true, HTTP1_GET, BODY_MODE_UNTIL_CLOSE,
	  0 },
	{ "response with a length", "HTTP/1.1 404 x\r\nContent-Length: 7\r\n\r\n", true, HTTP1_GET,
	  BODY_MODE_LENGTH, 7 },
	{ "response with length 0", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true, HTTP1_GET,
	  BODY_MODE_NONE, 0 },
	{ "response in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true,
	  HTTP1_GET, BODY_MODE_CHUNKED, 0 },
	{ "response to HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", true, HTTP1_HEAD,
	  BODY_MODE_NONE, 0 },
	{ "HEAD without a length", "HTTP/1.1 200 OK\r\n\r\n", true, HTTP1_HEAD, BODY_MODE_NONE, 0 },
	{ "100", "HTTP/1.1 100 x\r\nContent-Length: 7\r\n\r\n", true, HTTP1_GET, BODY_MODE_NONE,
	  0 },
	{ "204", "HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n", true, HTTP1_GET,
	  BODY_MODE_NONE, 0 },
	{ "304", "HTTP/1.1 304 x\r\nContent-Length: 7\r\n\r\n", true, HTTP1_GET, BODY_MODE_NONE,
	  0 },
};

#define BOTH "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n"

static const struct {
	const char *name, *text;
	enum http1_method asked;
	bool is_right;
} framings[] = {
	{ "a length", "HTTP/1.1 200 x\r\nContent-Length: 7\r\n\r\n", HTTP1_GET, true },
	{ "chunks", "HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP1_GET, true },
	{ "both", "HTTP/1.1 200 x\r\n" BOTH, HTTP1_GET, false },
	{ "both, of another method", "HTTP/1.1 404 x\r\n" BOTH, HTTP1_OTHER, false },
	{ "both, to HEAD", "HTTP/1.1 200 x\r\n" BOTH, HTTP1_HEAD, true },
	{ "both in a 304", "HTTP/1.1 304 x\r\n" BOTH, HTTP1_GET, true },
	{ "both in a 204", "HTTP/1.1 204 x\r\n" BOTH, HTTP1_GET, true },
	{ "both in a 101", "HTTP/1.1 101 x\r\n" BOTH, HTTP1_GET, true },
};

/* Whole bodies, and the bytes that go on; three bytes behind each belong to no body. */
static const struct {
	const char *name, *text;
	size_t n;
	const char *out; /* NULL: as it came */
	bool is_response;
} good[] = {
	{ "empty", S("0\r\n\r\n"), NULL, false },
	{ "one chunk", S("5\r\nhello\r\n0\r\n\r\n"), NULL, false },
	{ "two chunks", S("1\r\nx\r\na\r\n0123456789\r\n0\r\n\r\n"), NULL, false },
	{ "payload that looks like framing", S("9\r\n\r\n0\r\n\r\n;\n\r\n0\r\n\r\n"), NULL, false },
	{ "leading zeros", S("1\r\nx\r\n00a\r\n0123456789\r\n000\r\n\r\n"),
	  "1\r\nx\r\na\r\n0123456789\r\n0\r\n\r\n", false },
	{ "a zero within", S("10\r\n0123456789abcdef\r\n0\r\n\r\n"), NULL, false },
	{ "hexadecimal in any case", S("A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n"),
	  "a\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n", false },
	{ "16 digits", S("0000000000000001\r\nx\r\n0\r\n\r\n"), "1\r\nx\r\n0\r\n\r\n", false },
	{ "extension", S("1;a=b;c=\"d;\xe9\"\r\nx\r\n0;last\r\n\r\n"), "1\r\nx\r\n0\r\n\r\n",
	  false },
	{ "white space before an extension", S("1 \t;a\r\nx\r\n00 ;\r\n\r\n"),
	  "1\r\nx\r\n0\r\n\r\n", false },
	{ "ill-formed extensions", S("1;\r\nx\r\n1;a=\xff\r\ny\r\n1\t;a=b;;=\r\nz\r\n0; \r\n\r\n"),
	  "1\r\nx\r\n1\r\ny\r\n1\r\nz\r\n0\r\n\r\n", false },
	{ "spaces behind a size, of a backend", S("6     \r\nabcdef\r\n0 \t   \r\n\r\n"),
	  "6\r\nabcdef\r\n0\r\n\r\n", true },
	{ "trailers", S("0\r\nX: y\r\nZ:\r\n\r\n"), NULL, false },
	{ "trailers that mean something elsewhere",
	  S("0\r\nA: 1\r\nHost: a\r\nCONTENT-length: 3\r\ntransfer-encoding: chunked\r\nB:\r\n"
	    "Connection: a\r\nUpgrade: a\r\nKeep-Alive: a\r\nProxy-Connection: a\r\nTE: a\r\n"
	    "Forwarded: a\r\nX-Forwarded-For: a\r\nx-forwarded-proto: a\r\nX-Forwarded-Host: a\r\n"
	    "C: 2\r\n\r\n"),
	  "0\r\nA: 1\r\nB:\r\nC: 2\r\n\r\n", false },
	{ "only such trailers", S("000\r\nHost:\r\nTE:\r\n\r\n"), "0\r\n\r\n", false },
	{ "names that begin so, or end so",
	  S("0\r\nHos: a\r\nHosts: a\r\nX-Host: a\r\nT: a\r\nTEE: a\r\nX-Forwarded-Fort: "
	    "a\r\n\r\n"),
	  NULL, false },
	{ "of a backend", S("0\r\nX-Forwarded-For: a\r\nHost: b\r\n\r\n"),
	  "0\r\nX-Forwarded-For: a\r\n\r\n", true },
	{ "white space before the colon, of a backend", S("0\r\nA \t: b\r\nHost : c\r\n\r\n"),
	  "0\r\nA: b\r\n\r\n", true },
	{ "a name of 64 bytes", S("0\r\n" NAME_64 ": a\r\n\r\n"), NULL, false },
	{ "a name of 65 bytes", S("00\r\nA: b\r\n" NAME_64 "5: a\r\nC: d\r\n\r\n"),
	  "0\r\nA: b\r\nC: d\r\n\r\n", false },
	{ "zeros before a long name", S("00000\r\n" NAME_64 ": a\r\n\r\n"),
	  "0\r\n" NAME_64 ": a\r\n\r\n", false },
};

/* Every row ends with the byte that decides. */
static const struct {
	const char *name, *text;
	size_t n;
	bool is_response;
} bad[] = {
	{ "no size", S("\r"), true },
	{ "no digit", S("g"), true },
	{ "sign", S("+"), true },
	{ "space before the size", S(" "), true },
	{ "0x", S("0x"), true },
	{ "extension without a size", S(";"), true },
	{ "bare LF behind the size", S("5\n"), true },
	{ "bare CR behind the size", S("5\rh"), true },
	{ "space behind the size", S("5 \r"), false },
	{ "bare LF behind a space", S("5 \n"), true },
	{ "bare CR behind a space", S("5 \rh"), true },
	{ "digits behind a space", S("5 5"), true },
	{ "size over 63 bits", S("8000000000000000"), true },
	{ "17 digits", S("00000000000000001"), true },
	{ "bare LF in an extension", S("1;a\n"), true },
	{ "bare CR in an extension", S("1;a\rb"), true },
	{ "NUL in an extension", S("1;\0"), true },
	{ "payload longer than its size", S("1\r\nxy"), true },
	{ "bare LF behind the payload", S("1\r\nx\n"), true },
	{ "bare CR behind the payload", S("1\r\nx\r0"), true },
	{ "bare LF at the end", S("0\r\n\n"), true },
	{ "bare CR at the end", S("0\r\n\r0"), true },
	{ "trailer without a name", S("0\r\n:"), true },
	{ "space before the colon", S("0\r\nX "), false },
	{ "text behind such a space", S("0\r\nX y"), true },
	{ "folded trailer", S("0\r\nX: y\r\n "), true },
	{ "trailer without a colon", S("0\r\nX\r"), true },
	{ "bare LF in a trailer", S("0\r\nX: y\n"), true },
	{ "bare CR in a trailer", S("0\r\nX: y\rZ"), true },
	{ "bare CR in one that is dropped", S("0\r\nHost: y\rZ"), true },
	{ "NUL in a trailer", S("0\r\nX: \0"), true },
};

static struct body chunked_of(bool is_response)
{
	struct http1_head h;
	struct body b;

	http1_init_response(&h);
	h.is_chunked = true;
	h.status = 200;
	if (is_response)
		body_init_response(&b, &h, HTTP1_GET);
	else
		body_init_request(&b, &h);
	return b;
}

static struct body chunked(void)
{
	return chunked_of(false);
}

/* The bytes that were fed, and those that went on. */
struct passed {
	uint8_t bytes[2048];
	size_t n, used;
};

/* Feeds a copy, with its end at the end of its memory. */
static enum body_verdict feed(struct body *b, const void *p, size_t n, struct passed *out)
{
	struct body_fed fed = { SIZE_MAX, SIZE_MAX };
	uint8_t *copy = malloc(n == 0 ? 1 : n);

	ck_assert_ptr_nonnull(copy);
	memcpy(copy, p, n);
	enum body_verdict v = body_feed(b, copy, n, &fed);
	ck_assert(fed.kept <= fed.used && fed.used <= n);
	ck_assert_mem_eq(copy + fed.used, (const uint8_t *)p + fed.used, n - fed.used);
	ck_assert(out->n + fed.kept + BODY_OWED_MAX <= sizeof(out->bytes));
	memcpy(out->bytes + out->n, copy, fed.kept);
	out->n += fed.kept;
	out->used += fed.used;
	if (v == BODY_DONE)
		out->n += body_take_owed(b, out->bytes + out->n);
	free(copy);
	return v;
}

static void assert_passed(int row, const struct passed *out)
{
	const char *want = good[row].out != NULL ? good[row].out : good[row].text;
	size_t n = good[row].out != NULL ? strlen(want) : good[row].n;

	ck_assert_msg(out->n == n && memcmp(out->bytes, want, n) == 0, "%s: %.*s", good[row].name,
		      (int)out->n, (const char *)out->bytes);
	ck_assert_msg(out->used == good[row].n, "%s: %zu", good[row].name, out->used);
}

START_TEST(head_decides_the_framing)
{
	const uint8_t *buf = (const uint8_t *)heads[_i].text;
	struct http1_head h;
	struct body b;

	if (heads[_i].is_response)
		http1_init_response(&h);
	else
		http1_init_request(&h);
	ck_assert_int_eq(http1_parse(&h, buf, strlen(heads[_i].text)), HTTP1_OK);
	if (heads[_i].is_response)
		body_init_response(&b, &h, heads[_i].asked);
	else
		body_init_request(&b, &h);
	ck_assert_msg(b.mode == heads[_i].mode, "%s: %d", heads[_i].name, b.mode);
	ck_assert_msg(b.left == heads[_i].left, "%s", heads[_i].name);
	ck_assert(body_is_until_close(&b) == (b.mode == BODY_MODE_UNTIL_CLOSE));
}
END_TEST

START_TEST(two_framings_are_for_bodiless_responses)
{
	struct http1_head h;

	http1_init_response(&h);
	ck_assert_int_eq(
		http1_parse(&h, (const uint8_t *)framings[_i].text, strlen(framings[_i].text)),
		HTTP1_OK);
	ck_assert_msg((body_check_response(&h, framings[_i].asked) == NULL) ==
			      framings[_i].is_right,
		      "%s", framings[_i].name);
}
END_TEST

START_TEST(chunks_end_where_they_should)
{
	struct body b = chunked_of(good[_i].is_response);
	struct passed out = { 0 };
	uint8_t buf[1024];
	size_t n = good[_i].n;

	memcpy(buf, good[_i].text, n);
	memcpy(buf + n, "0\r\n", 3);
	ck_assert_msg(feed(&b, buf, n + 3, &out) == BODY_DONE, "%s", good[_i].name);
	assert_passed(_i, &out);
	ck_assert(body_is_done(&b));
	ck_assert_int_eq(feed(&b, buf + n, 3, &out), BODY_DONE);
	assert_passed(_i, &out);
}
END_TEST

/* The same bytes go on, whatever the size of the pieces. */
START_TEST(chunks_may_come_in_pieces)
{
	for (size_t size = 1; size < good[_i].n; size++) {
		struct body b = chunked_of(good[_i].is_response);
		struct passed out = { 0 };

		for (size_t at = 0; at < good[_i].n; at += size) {
			size_t left = good[_i].n - at, n = left < size ? left : size;
			enum body_verdict v = feed(&b, good[_i].text + at, n, &out);

			ck_assert_msg(v == (n == left ? BODY_DONE : BODY_MORE), "%s: %zu of %zu",
				      good[_i].name, at, size);
			if (v == BODY_MORE)
				ck_assert_int_eq(feed(&b, "", 0, &out), BODY_MORE);
		}
		assert_passed(_i, &out);
	}
}
END_TEST

START_TEST(bad_chunks_are_refused)
{
	struct body whole = chunked_of(bad[_i].is_response);
	struct body pieces = chunked_of(bad[_i].is_response);
	struct passed out = { 0 }, parts = { 0 };
	const char *p = bad[_i].text;
	size_t n = bad[_i].n;

	ck_assert_msg(feed(&whole, p, n, &out) == BODY_BAD, "%s", bad[_i].name);
	ck_assert_msg(out.used == n - 1, "%s: %zu", bad[_i].name, out.used);
	ck_assert_int_eq(feed(&whole, p, n, &out), BODY_BAD); /* stays */
	ck_assert_uint_eq(out.used, n - 1);

	for (size_t i = 0; i + 1 < n; i++)
		ck_assert_msg(feed(&pieces, p + i, 1, &parts) == BODY_MORE, "%s", bad[_i].name);
	ck_assert_msg(feed(&pieces, p + n - 1, 1, &parts) == BODY_BAD, "%s", bad[_i].name);
}
END_TEST

static const struct {
	const char *name;
	enum body_underscores rule;
	const char *out; /* NULL: refused */
} underscores[] = {
	{ "pass", BODY_UNDERSCORES_PASS, "0\r\nA: b\r\nX_Forwarded_For: c\r\nD: e\r\n\r\n" },
	{ "drop", BODY_UNDERSCORES_DROP, "0\r\nA: b\r\nD: e\r\n\r\n" },
	{ "refuse", BODY_UNDERSCORES_REFUSE, NULL },
};

START_TEST(underscores_are_ruled)
{
	static const char text[] = "0\r\nA: b\r\nX_Forwarded_For: c\r\nD: e\r\n\r\n";
	const char *want = underscores[_i].out;

	for (size_t size = 1; size < sizeof(text); size++) {
		struct body b = chunked();
		struct passed out = { 0 };
		enum body_verdict v = BODY_MORE;

		b.underscores = underscores[_i].rule;
		for (size_t at = 0; at < sizeof(text) - 1 && v == BODY_MORE; at += size) {
			size_t left = sizeof(text) - 1 - at;
			v = feed(&b, text + at, left < size ? left : size, &out);
		}
		ck_assert_msg(v == (want != NULL ? BODY_DONE : BODY_BAD), "%s",
			      underscores[_i].name);
		if (want != NULL) {
			ck_assert_uint_eq(out.n, strlen(want));
			ck_assert_mem_eq(out.bytes, want, out.n);
		}
	}
}
END_TEST

/* For a client of HTTP/1.0. */
START_TEST(payload_alone_can_go_on)
{
	static const char text[] = "3;a\r\nabc\r\n004 \r\ndefg\r\n0\r\nA: b\r\n\r\n";

	for (size_t size = 1; size < sizeof(text); size++) {
		struct body b = chunked_of(true);
		struct passed out = { 0 };
		enum body_verdict v = BODY_MORE;

		body_unframe(&b);
		for (size_t at = 0; at < sizeof(text) - 1; at += size) {
			size_t left = sizeof(text) - 1 - at;

			ck_assert(v == BODY_MORE && body_is_unframed(&b));
			v = feed(&b, text + at, left < size ? left : size, &out);
		}
		ck_assert_int_eq(v, BODY_DONE);
		ck_assert(!body_is_unframed(&b));
		ck_assert_uint_eq(out.n, 7);
		ck_assert_mem_eq(out.bytes, "abcdefg", 7);
	}
}
END_TEST

/*
 * When a body is left in the middle, all its bytes have gone on, together with those that it owes.
 */
START_TEST(what_is_owed_can_be_taken)
{
	struct body b = chunked();
	struct passed out = { 0 };

	ck_assert_int_eq(feed(&b, "0", 1, &out), BODY_MORE);
	ck_assert_uint_eq(out.n, 0);
	ck_assert_int_eq(feed(&b, "\r", 1, &out), BODY_MORE);
	ck_assert_uint_eq(out.n, 1);
	ck_assert_uint_eq(body_take_owed(&b, out.bytes + 1), 1);
	ck_assert_mem_eq(out.bytes, "0\r", 2);
	ck_assert_uint_eq(body_take_owed(&b, out.bytes), 0);
}
END_TEST

/* Feeds one byte `n` times. */
static enum body_verdict feed_times(struct body *b, const char *byte, size_t n)
{
	enum body_verdict v = BODY_MORE;
	struct body_fed fed;
	uint8_t copy;

	for (size_t i = 0; i < n; i++) {
		copy = (uint8_t)*byte;
		v = body_feed(b, &copy, 1, &fed);
	}
	return v;
}

static void feed_text(struct body *b, const char *text)
{
	struct passed out = { 0 };

	ck_assert_int_eq(feed(b, text, strlen(text), &out), BODY_MORE);
}

START_TEST(extensions_have_a_maximum)
{
	struct body b = chunked();

	feed_text(&b, "1;");
	ck_assert_int_eq(feed_times(&b, "x", BODY_EXTENSION_MAX - 1), BODY_MORE);
	ck_assert_int_eq(feed_times(&b, "x", 1), BODY_BAD);

	b = chunked();
	feed_text(&b, "1");
	ck_assert_int_eq(feed_times(&b, " ", BODY_EXTENSION_MAX), BODY_MORE);
	ck_assert_int_eq(feed_times(&b, " ", 1), BODY_BAD);

	b = chunked(); /* counted for each chunk */
	feed_text(&b, "1;");
	ck_assert_int_eq(feed_times(&b, "x", BODY_EXTENSION_MAX - 1), BODY_MORE);
	feed_text(&b, "\r\nx\r\n1;");
	ck_assert_int_eq(feed_times(&b, "x", BODY_EXTENSION_MAX - 1), BODY_MORE);
}
END_TEST

START_TEST(trailers_have_a_maximum)
{
	struct body b = chunked();

	feed_text(&b, "0\r\nX:");
	ck_assert_int_eq(feed_times(&b, "x", BODY_TRAILERS_MAX - 2), BODY_MORE);
	ck_assert_int_eq(feed_times(&b, "x", 1), BODY_BAD);
}
END_TEST

START_TEST(largest_chunk_is_counted_down)
{
	struct body b = chunked();
	uint8_t payload[1000] = { 0 };
	struct body_fed fed;

	feed_text(&b, "7fffffffffffffff\r\n");
	ck_assert_uint_eq(b.left, INT64_MAX);
	ck_assert_int_eq(body_feed(&b, payload, sizeof(payload), &fed), BODY_MORE);
	ck_assert_uint_eq(fed.used, sizeof(payload));
	ck_assert_uint_eq(fed.kept, sizeof(payload));
	ck_assert_uint_eq(b.left, INT64_MAX - sizeof(payload));
}
END_TEST

START_TEST(length_is_counted_down)
{
	struct http1_head h;
	struct body b;
	struct passed out = { 0 };

	http1_init_request(&h);
	h.content_length = 5;
	body_init_request(&b, &h);
	ck_assert_int_eq(feed(&b, "abc", 3, &out), BODY_MORE);
	ck_assert_uint_eq(out.used, 3);
	ck_assert_int_eq(feed(&b, "defg", 4, &out), BODY_DONE);
	ck_assert_uint_eq(out.used, 5);
	ck_assert_int_eq(feed(&b, "fg", 2, &out), BODY_DONE);
	ck_assert_uint_eq(out.used, 5);
	ck_assert_uint_eq(out.n, 5);
	ck_assert_mem_eq(out.bytes, "abcde", 5);
}
END_TEST

START_TEST(end_of_connection_ends_the_rest)
{
	struct http1_head h;
	struct body b;
	struct passed out = { 0 };

	http1_init_response(&h);
	h.status = 200;
	body_init_response(&b, &h, HTTP1_GET);
	ck_assert_int_eq(feed(&b, "abc", 3, &out), BODY_MORE);
	ck_assert_uint_eq(out.used, 3);
	ck_assert(!body_is_done(&b));
}
END_TEST

#define N(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, head_decides_the_framing, 0, N(heads));
	tcase_add_loop_test(t, two_framings_are_for_bodiless_responses, 0, N(framings));
	tcase_add_loop_test(t, chunks_end_where_they_should, 0, N(good));
	tcase_add_loop_test(t, chunks_may_come_in_pieces, 0, N(good));
	tcase_add_loop_test(t, bad_chunks_are_refused, 0, N(bad));
	tcase_add_loop_test(t, underscores_are_ruled, 0, N(underscores));
	tcase_add_test(t, payload_alone_can_go_on);
	tcase_add_test(t, what_is_owed_can_be_taken);
	tcase_add_test(t, extensions_have_a_maximum);
	tcase_add_test(t, trailers_have_a_maximum);
	tcase_add_test(t, largest_chunk_is_counted_down);
	tcase_add_test(t, length_is_counted_down);
	tcase_add_test(t, end_of_connection_ends_the_rest);
}

int main(void)
{
	return run_suite("proto/body", add_tests);
}
