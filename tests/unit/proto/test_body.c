/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/body.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define S(literal) (literal), sizeof(literal) - 1

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

/* Whole bodies; three bytes that belong to none are put behind each. */
static const struct {
	const char *name, *text;
	size_t n;
} good[] = {
	{ "empty", S("0\r\n\r\n") },
	{ "one chunk", S("5\r\nhello\r\n0\r\n\r\n") },
	{ "two chunks", S("1\r\nx\r\n00a\r\n0123456789\r\n000\r\n\r\n") },
	{ "payload that looks like framing", S("9\r\n\r\n0\r\n\r\n\0\n\r\n0\r\n\r\n") },
	{ "hexadecimal in any case",
	  S("aB\r\n" /* 171 */
	    "0123456789012345678901234567890123456789012345678901234567890"
	    "0123456789012345678901234567890123456789012345678901234567890"
	    "0123456789012345678901234567890123456789012345678"
	    "\r\n0\r\n\r\n") },
	{ "16 digits", S("0000000000000001\r\nx\r\n0\r\n\r\n") },
	{ "extension", S("1;a=b;c=\"d;\xe9\"\r\nx\r\n0;last\r\n\r\n") },
	{ "white space before an extension", S("1 \t;a\r\nx\r\n0\r\n\r\n") },
	{ "trailers", S("0\r\nX: y\r\nZ:\r\n\r\n") },
};

/* Every row ends with the byte that decides. */
static const struct {
	const char *name, *text;
	size_t n;
} bad[] = {
	{ "no size", S("\r") },
	{ "no digit", S("g") },
	{ "sign", S("+") },
	{ "space before the size", S(" ") },
	{ "0x", S("0x") },
	{ "extension without a size", S(";") },
	{ "bare LF behind the size", S("5\n") },
	{ "bare CR behind the size", S("5\rh") },
	{ "space behind the size", S("5 \r") },
	{ "digits behind a space", S("5 5") },
	{ "size over 63 bits", S("8000000000000000") },
	{ "17 digits", S("00000000000000001") },
	{ "bare LF in an extension", S("1;a\n") },
	{ "bare CR in an extension", S("1;a\rb") },
	{ "NUL in an extension", S("1;\0") },
	{ "payload longer than its size", S("1\r\nxy") },
	{ "bare LF behind the payload", S("1\r\nx\n") },
	{ "bare CR behind the payload", S("1\r\nx\r0") },
	{ "bare LF at the end", S("0\r\n\n") },
	{ "bare CR at the end", S("0\r\n\r0") },
	{ "trailer without a name", S("0\r\n:") },
	{ "space before the colon", S("0\r\nX ") },
	{ "folded trailer", S("0\r\nX: y\r\n ") },
	{ "trailer without a colon", S("0\r\nX\r") },
	{ "bare LF in a trailer", S("0\r\nX: y\n") },
	{ "bare CR in a trailer", S("0\r\nX: y\rZ") },
	{ "NUL in a trailer", S("0\r\nX: \0") },
};

static struct body chunked(void)
{
	struct http1_head h;
	struct body b;

	http1_init_request(&h);
	h.is_chunked = true;
	body_init_request(&b, &h);
	return b;
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
	struct body b = chunked();
	uint8_t buf[512];
	size_t n = good[_i].n, used = SIZE_MAX;

	memcpy(buf, good[_i].text, n);
	memcpy(buf + n, "0\r\n", 3);
	ck_assert_msg(body_feed(&b, buf, n + 3, &used) == BODY_DONE, "%s", good[_i].name);
	ck_assert_msg(used == n, "%s: %zu", good[_i].name, used);
	ck_assert(body_is_done(&b));
	ck_assert_int_eq(body_feed(&b, buf + n, 3, &used), BODY_DONE);
	ck_assert_uint_eq(used, 0);
}
END_TEST

START_TEST(chunks_may_come_in_pieces)
{
	struct body b = chunked();
	const uint8_t *p = (const uint8_t *)good[_i].text;
	size_t used;

	for (size_t i = 0; i + 1 < good[_i].n; i++) {
		ck_assert_msg(body_feed(&b, p + i, 1, &used) == BODY_MORE, "%s: %zu", good[_i].name,
			      i);
		ck_assert_uint_eq(used, 1);
	}
	ck_assert_int_eq(body_feed(&b, p, 0, &used), BODY_MORE);
	ck_assert_msg(body_feed(&b, p + good[_i].n - 1, 1, &used) == BODY_DONE, "%s",
		      good[_i].name);
	ck_assert_uint_eq(used, 1);
}
END_TEST

START_TEST(bad_chunks_are_refused)
{
	struct body whole = chunked(), pieces = chunked();
	const uint8_t *p = (const uint8_t *)bad[_i].text;
	size_t n = bad[_i].n, used;

	ck_assert_msg(body_feed(&whole, p, n, &used) == BODY_BAD, "%s", bad[_i].name);
	ck_assert_msg(used == n - 1, "%s: %zu", bad[_i].name, used);
	ck_assert_int_eq(body_feed(&whole, p, n, &used), BODY_BAD); /* stays */
	ck_assert_uint_eq(used, 0);

	for (size_t i = 0; i + 1 < n; i++)
		ck_assert_msg(body_feed(&pieces, p + i, 1, &used) == BODY_MORE, "%s", bad[_i].name);
	ck_assert_msg(body_feed(&pieces, p + n - 1, 1, &used) == BODY_BAD, "%s", bad[_i].name);
}
END_TEST

/* Feeds one byte `n` times. */
static enum body_verdict feed_times(struct body *b, const char *byte, size_t n)
{
	enum body_verdict v = BODY_MORE;
	size_t used;

	for (size_t i = 0; i < n; i++)
		v = body_feed(b, (const uint8_t *)byte, 1, &used);
	return v;
}

static void feed_text(struct body *b, const char *text)
{
	size_t used;

	ck_assert_int_eq(body_feed(b, (const uint8_t *)text, strlen(text), &used), BODY_MORE);
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
	const uint8_t payload[1000] = { 0 };
	size_t used;

	feed_text(&b, "7fffffffffffffff\r\n");
	ck_assert_uint_eq(b.left, INT64_MAX);
	ck_assert_int_eq(body_feed(&b, payload, sizeof(payload), &used), BODY_MORE);
	ck_assert_uint_eq(used, sizeof(payload));
	ck_assert_uint_eq(b.left, INT64_MAX - sizeof(payload));
}
END_TEST

START_TEST(length_is_counted_down)
{
	struct http1_head h;
	struct body b;
	size_t used;

	http1_init_request(&h);
	h.content_length = 5;
	body_init_request(&b, &h);
	ck_assert_int_eq(body_feed(&b, (const uint8_t *)"abc", 3, &used), BODY_MORE);
	ck_assert_uint_eq(used, 3);
	ck_assert_int_eq(body_feed(&b, (const uint8_t *)"defg", 4, &used), BODY_DONE);
	ck_assert_uint_eq(used, 2);
	ck_assert_int_eq(body_feed(&b, (const uint8_t *)"fg", 2, &used), BODY_DONE);
	ck_assert_uint_eq(used, 0);
}
END_TEST

START_TEST(end_of_connection_ends_the_rest)
{
	struct http1_head h;
	struct body b;
	size_t used;

	http1_init_response(&h);
	h.status = 200;
	body_init_response(&b, &h, HTTP1_GET);
	ck_assert_int_eq(body_feed(&b, (const uint8_t *)"abc", 3, &used), BODY_MORE);
	ck_assert_uint_eq(used, 3);
	ck_assert(!body_is_done(&b));
}
END_TEST

#define N(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

int main(void)
{
	Suite *s = suite_create("proto/body");
	TCase *t = tcase_create("framing");

	tcase_add_loop_test(t, head_decides_the_framing, 0, N(heads));
	tcase_add_loop_test(t, two_framings_are_for_bodiless_responses, 0, N(framings));
	tcase_add_loop_test(t, chunks_end_where_they_should, 0, N(good));
	tcase_add_loop_test(t, chunks_may_come_in_pieces, 0, N(good));
	tcase_add_loop_test(t, bad_chunks_are_refused, 0, N(bad));
	tcase_add_test(t, extensions_have_a_maximum);
	tcase_add_test(t, trailers_have_a_maximum);
	tcase_add_test(t, largest_chunk_is_counted_down);
	tcase_add_test(t, length_is_counted_down);
	tcase_add_test(t, end_of_connection_ends_the_rest);
	suite_add_tcase(s, t);

	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
