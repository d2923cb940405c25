/* SPDX-License-Identifier: Apache-2.0 */
#include "../suite.h"
#include "proto/http1.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HOST "Host: h\r\n"
#define GET "GET / HTTP/1.1\r\n"
#define END "\r\n"

/* A string literal and its length, NULs inside included. */
#define S(literal) (literal), sizeof(literal) - 1

struct row {
	const char *name;
	const char *text;
	size_t n;
	enum http1_verdict want;
};

/* ---- heads that are right: all that was found in them ------------------------------------------
 */

static const struct {
	const char *name, *text, *path, *query, *host, *authority;
	enum http1_method method;
	enum http1_form form;
	uint8_t minor;
	uint16_t n_fields;
	int64_t length;
	bool is_chunked;
} good[] = {
	{ "shortest", GET HOST END, "/", NULL, "h", "h", HTTP1_GET, HTTP1_FORM_ORIGIN, 1, 1, -1,
	  false },
	{ "one empty line before", "\r\n" GET HOST END, "/", NULL, "h", "h", HTTP1_GET,
	  HTTP1_FORM_ORIGIN, 1, 1, -1, false },
	{ "path and query", "HEAD /a/b?c=/d?e HTTP/1.1\r\n" HOST END, "/a/b", "c=/d?e", "h", "h",
	  HTTP1_HEAD, HTTP1_FORM_ORIGIN, 1, 1, -1, false },
	{ "empty query", "GET /? HTTP/1.1\r\n" HOST END, "/", "", "h", "h", HTTP1_GET,
	  HTTP1_FORM_ORIGIN, 1, 1, -1, false },
	{ "dots that are no segments", "GET /.a/..b/.../a.?/../x HTTP/1.1\r\n" HOST END,
	  "/.a/..b/.../a.", "/../x", "h", "h", HTTP1_GET, HTTP1_FORM_ORIGIN, 1, 1, -1, false },
	{ "escapes that are no dots", "GET /%2f%2/%2e%2e%2e/%41 HTTP/1.1\r\n" HOST END,
	  "/%2f%2/%2e%2e%2e/%41", NULL, "h", "h", HTTP1_GET, HTTP1_FORM_ORIGIN, 1, 1, -1, false },
	{ "unknown method", "BREW /pot HTTP/1.1\r\n" HOST END, "/pot", NULL, "h", "h", HTTP1_OTHER,
	  HTTP1_FORM_ORIGIN, 1, 1, -1, false },
	{ "method's case counts", "get / HTTP/1.1\r\n" HOST END, "/", NULL, "h", "h", HTTP1_OTHER,
	  HTTP1_FORM_ORIGIN, 1, 1, -1, false },
	{ "asterisk", "OPTIONS * HTTP/1.1\r\n" HOST END, "*", NULL, "h", "h", HTTP1_OPTIONS,
	  HTTP1_FORM_ASTERISK, 1, 1, -1, false },
	{ "absolute", "GET http://a.b:80/x?y HTTP/1.1\r\n" HOST END, "/x", "y", "a.b", "a.b:80",
	  HTTP1_GET, HTTP1_FORM_ABSOLUTE, 1, 1, -1, false },
	{ "absolute, any case, no path", "GET HTTPS://A. HTTP/1.1\r\n" HOST END, "/", NULL, "A",
	  "A.", HTTP1_GET, HTTP1_FORM_ABSOLUTE, 1, 1, -1, false },
	{ "absolute, of a WebSocket", "GET ws://a/ws HTTP/1.1\r\n" HOST END, "/ws", NULL, "a", "a",
	  HTTP1_GET, HTTP1_FORM_ABSOLUTE, 1, 1, -1, false },
	{ "absolute, of one in TLS", "GET WsS://a:1?q HTTP/1.1\r\n" HOST END, "/", "q", "a", "a:1",
	  HTTP1_GET, HTTP1_FORM_ABSOLUTE, 1, 1, -1, false },
	{ "absolute, query only", "GET http://[::1]?q HTTP/1.1\r\n" HOST END, "/", "q", "[::1]",
	  "[::1]", HTTP1_GET, HTTP1_FORM_ABSOLUTE, 1, 1, -1, false },
	{ "absolute OPTIONS", "OPTIONS http://a HTTP/1.1\r\n" HOST END, "*", NULL, "a", "a",
	  HTTP1_OPTIONS, HTTP1_FORM_ABSOLUTE, 1, 1, -1, false },
	{ "1.0 without Host", "GET / HTTP/1.0\r\n\r\n", "/", NULL, "", "", HTTP1_GET,
	  HTTP1_FORM_ORIGIN, 0, 0, -1, false },
	{ "a later minor version", "GET / HTTP/1.9\r\n" HOST END, "/", NULL, "h", "h", HTTP1_GET,
	  HTTP1_FORM_ORIGIN, 1, 1, -1, false },
	{ "white space around a value", GET "hOsT: \t a.b:8080 \t \r\n" END, "/", NULL, "a.b",
	  "a.b:8080", HTTP1_GET, HTTP1_FORM_ORIGIN, 1, 1, -1, false },
	{ "length", GET HOST "Content-Length: 5\r\n" END "12345", "/", NULL, "h", "h", HTTP1_GET,
	  HTTP1_FORM_ORIGIN, 1, 2, 5, false },
	{ "length, twice the same", GET HOST "Content-Length: 5\r\ncontent-length:5\r\n" END, "/",
	  NULL, "h", "h", HTTP1_GET, HTTP1_FORM_ORIGIN, 1, 3, 5, false },
	{ "largest length", GET HOST "Content-Length: 9223372036854775807\r\n" END, "/", NULL, "h",
	  "h", HTTP1_GET, HTTP1_FORM_ORIGIN, 1, 2, INT64_MAX, false },
	{ "chunked", GET HOST "Transfer-Encoding: Chunked\r\n" END, "/", NULL, "h", "h", HTTP1_GET,
	  HTTP1_FORM_ORIGIN, 1, 2, -1, true },
	{ "empty value", GET "X:\r\n" HOST "Y: \r\n" END, "/", NULL, "h", "h", HTTP1_GET,
	  HTTP1_FORM_ORIGIN, 1, 3, -1, false },
	{ "obs-text and tab in a value", GET HOST "X: a\tb\xe9\x80\xff\r\n" END, "/", NULL, "h",
	  "h", HTTP1_GET, HTTP1_FORM_ORIGIN, 1, 2, -1, false },
};

/*
 * Every row ends with the byte that decides: all before it are HTTP1_MORE.
 */
static const struct row requests[] = {
	/* the request line */
	{ "two empty lines before", S("\r\n\r"), HTTP1_BAD },
	{ "bare LF before", S("\n"), HTTP1_BAD },
	{ "bare CR before", S("\rG"), HTTP1_BAD },
	{ "no method", S(" "), HTTP1_BAD },
	{ "method is no token", S("GE("), HTTP1_BAD },
	{ "TLS", S("\x16"), HTTP1_BAD },
	{ "NUL in the method", S("G\0"), HTTP1_BAD },
	{ "tab behind the method", S("GET\t"), HTTP1_BAD },
	{ "CONNECT", S("CONNECT "), HTTP1_NOT_IMPLEMENTED },
	{ "two spaces behind the method", S("GET  "), HTTP1_BAD },
	{ "HTTP/0.9", S("GET /\r"), HTTP1_BAD },
	{ "LF in the target", S("GET /\n"), HTTP1_BAD },
	{ "NUL in the target", S("GET /a\0"), HTTP1_BAD },
	{ "not ASCII in the target", S("GET /\xc3"), HTTP1_BAD },
	{ "fragment", S("GET /a#"), HTTP1_BAD },
	{ "fragment in the query", S("GET /?a#"), HTTP1_BAD },
	{ "relative target", S("GET a"), HTTP1_BAD },
	{ "authority form", S("GET ho"), HTTP1_BAD },
	{ "another scheme", S("GET f"), HTTP1_BAD },
	{ "scheme cut short", S("GET http:/a"), HTTP1_BAD },
	{ "scheme with a space", S("GET http "), HTTP1_BAD },
	{ "no authority", S("GET http:///"), HTTP1_BAD },
	{ "no authority, no path", S("GET http:// "), HTTP1_BAD },
	{ "user information", S("GET http://u@"), HTTP1_BAD },
	{ "bad port in the target", S("GET http://h:65536/"), HTTP1_BAD },
	{ "backslash in the authority", S("GET http://h\\"), HTTP1_BAD },
	{ "asterisk without OPTIONS", S("GET *"), HTTP1_BAD },
	{ "more than an asterisk", S("OPTIONS */"), HTTP1_BAD },
	{ "dot segment", S("GET /./"), HTTP1_BAD },
	{ "a scheme that begins so", S("GET wx"), HTTP1_BAD },
	{ "a scheme that goes on so", S("GET wsss"), HTTP1_BAD },
	{ "dot segment at the end", S("GET /a/. "), HTTP1_BAD },
	{ "dots before the query", S("GET /a/..?"), HTTP1_BAD },
	{ "dots in an absolute target", S("GET http://h/../"), HTTP1_BAD },
	{ "dots, encoded", S("GET /%2E%2e/"), HTTP1_BAD },
	{ "dots, half encoded", S("GET /a/.%2E "), HTTP1_BAD },
	{ "dot, encoded", S("GET /%2e/"), HTTP1_BAD },
	{ "two spaces behind the target", S("GET /  "), HTTP1_BAD },
	{ "version in small letters", S("GET / h"), HTTP1_BAD },
	{ "another protocol", S("GET / HTTQ"), HTTP1_BAD },
	{ "no major version", S("GET / HTTP/."), HTTP1_BAD },
	{ "version 2", S("GET / HTTP/2"), HTTP1_BAD_VERSION },
	{ "version 0", S("GET / HTTP/0"), HTTP1_BAD_VERSION },
	{ "HTTP/2's preface", S("PRI * HTTP/2"), HTTP1_BAD_VERSION },
	{ "the preface with another version", S("PRI * HTTP/1"), HTTP1_BAD },
	{ "two digits of major version", S("GET / HTTP/10"), HTTP1_BAD },
	{ "no minor version", S("GET / HTTP/1.\r"), HTTP1_BAD },
	{ "NUL for a minor version", S("GET / HTTP/1.\0"), HTTP1_BAD },
	{ "two digits of minor version", S("GET / HTTP/1.10"), HTTP1_BAD },
	{ "space behind the version", S("GET / HTTP/1.1 "), HTTP1_BAD },
	{ "bare LF behind the version", S("GET / HTTP/1.1\n"), HTTP1_BAD },
	{ "bare CR behind the version", S("GET / HTTP/1.1\rH"), HTTP1_BAD },
	/* fields */
	{ "space before the first field", S(GET " "), HTTP1_BAD },
	{ "folded line", S(GET HOST "X: a\r\n\t"), HTTP1_BAD },
	{ "empty name", S(GET ":"), HTTP1_BAD },
	{ "space before the colon", S(GET "Host "), HTTP1_BAD },
	{ "no colon", S(GET "Host\r"), HTTP1_BAD },
	{ "not ASCII in a name", S(GET "H\xc3"), HTTP1_BAD },
	{ "bare LF in a value", S(GET "X: a\n"), HTTP1_BAD },
	{ "bare CR in a value", S(GET "X: a\rb"), HTTP1_BAD },
	{ "two CRs", S(GET "X: a\r\r"), HTTP1_BAD },
	{ "NUL in a value", S(GET "X: a\0"), HTTP1_BAD },
	{ "control in a value", S(GET "X: a\x01"), HTTP1_BAD },
	{ "DEL in a value", S(GET "X: a\x7f"), HTTP1_BAD },
	{ "bare LF at the end", S(GET HOST "\n"), HTTP1_BAD },
	{ "bare CR at the end", S(GET HOST "\rX"), HTTP1_BAD },
	/* Host */
	{ "no Host", S(GET "\r"), HTTP1_BAD },
	{ "no Host, absolute", S("GET http://h/ HTTP/1.1\r\n\r"), HTTP1_BAD },
	{ "two Hosts", S(GET HOST "Host:"), HTTP1_BAD },
	{ "two Hosts in 1.0", S("GET / HTTP/1.0\r\n" HOST "HOST:"), HTTP1_BAD },
	{ "empty Host", S(GET "Host:\r"), HTTP1_BAD },
	{ "empty Host in 1.0", S("GET / HTTP/1.0\r\nHost: \r"), HTTP1_BAD },
	{ "Host with a space inside", S(GET "Host: a b\r"), HTTP1_BAD },
	{ "Host with a path", S(GET "Host: a/"), HTTP1_BAD },
	{ "Host with user information", S(GET "Host: a@"), HTTP1_BAD },
	{ "Host with a bad port", S(GET "Host: a:b\r"), HTTP1_BAD },
	{ "bad Host beside an absolute target", S("GET http://h/ HTTP/1.1\r\nHost: a:b\r"),
	  HTTP1_BAD },
	/* framing */
	{ "length is no number", S(GET HOST "Content-Length: x"), HTTP1_BAD },
	{ "length with a sign", S(GET HOST "Content-Length: +"), HTTP1_BAD },
	{ "negative length", S(GET HOST "Content-Length: -"), HTTP1_BAD },
	{ "length in hexadecimal", S(GET HOST "Content-Length: 0x"), HTTP1_BAD },
	{ "a list of lengths", S(GET HOST "Content-Length: 5,"), HTTP1_BAD },
	{ "empty length", S(GET HOST "Content-Length: \r"), HTTP1_BAD },
	{ "two numbers", S(GET HOST "Content-Length: 5 5\r"), HTTP1_BAD },
	{ "length over 63 bits", S(GET HOST "Content-Length: 9223372036854775808\r"), HTTP1_BAD },
	{ "length over 64 bits", S(GET HOST "Content-Length: 18446744073709551621\r"), HTTP1_BAD },
	{ "differing lengths", S(GET HOST "Content-Length: 5\r\nContent-Length: 6\r"), HTTP1_BAD },
	{ "both framings", S(GET HOST "Content-Length: 5\r\nTransfer-Encoding:"), HTTP1_BAD },
	{ "both, the other way", S(GET HOST "Transfer-Encoding: chunked\r\nContent-Length:"),
	  HTTP1_BAD },
	{ "both, length 0", S(GET HOST "Content-Length: 0\r\nTransfer-Encoding:"), HTTP1_BAD },
	{ "chunked twice", S(GET HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding:"),
	  HTTP1_BAD },
	{ "a list of codings", S(GET HOST "Transfer-Encoding: gzip,"), HTTP1_BAD },
	{ "unknown coding", S(GET HOST "Transfer-Encoding: gzip\r"), HTTP1_BAD },
	{ "identity", S(GET HOST "Transfer-Encoding: identity\r"), HTTP1_BAD },
	{ "empty coding", S(GET HOST "Transfer-Encoding:\r"), HTTP1_BAD },
	{ "coding with a parameter", S(GET HOST "Transfer-Encoding: chunked;"), HTTP1_BAD },
	{ "coding in quotes", S(GET HOST "Transfer-Encoding: \""), HTTP1_BAD },
	{ "vertical tab before a coding", S(GET HOST "Transfer-Encoding: \x0b"), HTTP1_BAD },
	{ "chunked in 1.0", S("GET / HTTP/1.0\r\nTransfer-Encoding:"), HTTP1_BAD },
};

static const struct row responses[] = {
	{ "empty line before", S("\r"), HTTP1_BAD },
	{ "version 2", S("HTTP/2"), HTTP1_BAD_VERSION },
	{ "no HTTP", S("I"), HTTP1_BAD },
	{ "two spaces", S("HTTP/1.1  "), HTTP1_BAD },
	{ "no status", S("HTTP/1.1\r"), HTTP1_BAD },
	{ "status below 100", S("HTTP/1.1 0"), HTTP1_BAD },
	{ "status above 999", S("HTTP/1.1 1000"), HTTP1_BAD },
	{ "a control in the reason", S("HTTP/1.1 200 O\x01"), HTTP1_BAD },
	{ "NUL in a value", S("HTTP/1.1 200 OK\r\nA: \0"), HTTP1_BAD },
	{ "a control in what lb reads", S("HTTP/1.1 200 OK\r\nConnection: a\x01"), HTTP1_BAD },
	{ "a control in a length", S("HTTP/1.1 200 OK\r\nContent-Length: 1\x01"), HTTP1_BAD },
	{ "two digits", S("HTTP/1.1 20 "), HTTP1_BAD },
	{ "four digits", S("HTTP/1.1 2000"), HTTP1_BAD },
	{ "tab behind the status", S("HTTP/1.1 200\t"), HTTP1_BAD },
	{ "bare LF behind the status", S("HTTP/1.1 200\n"), HTTP1_BAD },
	{ "bare LF behind the reason", S("HTTP/1.1 200 OK\n"), HTTP1_BAD },
	{ "NUL in the reason", S("HTTP/1.1 200 O\0"), HTTP1_BAD },
	{ "folded line", S("HTTP/1.1 200 OK\r\nX: a\r\n "), HTTP1_BAD },
	{ "differing lengths", S("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 4\r"),
	  HTTP1_BAD },
	{ "a length of 31 digits that is too large",
	  S("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000000000000000000005\r"), HTTP1_BAD },
	{ "text between a name and its colon", S("HTTP/1.1 200 OK\r\nA b"), HTTP1_BAD },
	{ "no colon behind a space", S("HTTP/1.1 200 OK\r\nA \r"), HTTP1_BAD },
	{ "white space for a name", S("HTTP/1.1 200 OK\r\n "), HTTP1_BAD },
	{ "two lengths, one behind a space",
	  S("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"
	    "Content-Length : 6\r"),
	  HTTP1_BAD },
	{ "unknown coding", S("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r"), HTTP1_BAD },
	{ "chunked in 1.0", S("HTTP/1.0 200 OK\r\nTransfer-Encoding:"), HTTP1_BAD },
};

static const struct {
	const char *name, *text, *reason;
	uint16_t status;
	uint8_t minor;
	int64_t length;
	bool is_chunked;
} good_responses[] = {
	{ "shortest", "HTTP/1.1 200 \r\n\r\n", "", 200, 1, -1, false },
	{ "no space before the empty reason", "HTTP/1.1 200\r\n\r\n", "", 200, 1, -1, false },
	{ "reason", "HTTP/1.0 404 Not \xe9 Found\r\n\r\n", "Not \xe9 Found", 404, 0, -1, false },
	{ "100", "HTTP/1.1 100 Continue\r\n\r\n", "Continue", 100, 1, -1, false },
	{ "599", "HTTP/1.1 599 x\r\n\r\n", "x", 599, 1, -1, false },
	{ "600", "HTTP/1.1 600 x\r\n\r\n", "x", 600, 1, -1, false },
	{ "999", "HTTP/1.1 999 x\r\n\r\n", "x", 999, 1, -1, false },
	{ "controls in a value", "HTTP/1.1 200 OK\r\nA: \x01\x1b[\x0b\x7f\r\n\r\n", "OK", 200, 1,
	  -1, false },
	{ "length", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "OK", 200, 1, 0, false },
	{ "chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "OK", 200, 1, -1,
	  true },
	{ "white space before a colon", "HTTP/1.1 200 OK\r\nA : b\r\nContent-Length \t: 5\r\n\r\n",
	  "OK", 200, 1, 5, false },
	{ "a length of 31 digits",
	  "HTTP/1.1 200 OK\r\nContent-Length: 0000000000000000000000000000005\r\n\r\n", "OK", 200,
	  1, 5, false },
	{ "both framings: body_check_response() judges them",
	  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "OK", 200,
	  1, 5, true },
	{ "both, the other way",
	  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", "OK", 200,
	  1, 0, true },
	{ "Host means nothing", "HTTP/1.1 200 OK\r\nHost: /\r\nHost: /\r\n\r\n", "OK", 200, 1, -1,
	  false },
};

static void init(struct http1_head *h, bool is_response)
{
	memset(h, 0, sizeof(*h)); /* heads are compared as bytes below */
	if (is_response)
		http1_init_response(h);
	else
		http1_init_request(h);
}

/*
 * Parses the first `n` bytes, in memory of exactly that size, so that a sanitizer sees an overrun.
 */
static enum http1_verdict parse(struct http1_head *h, const char *text, size_t n)
{
	uint8_t *buf = malloc(n == 0 ? 1 : n);

	ck_assert_ptr_nonnull(buf);
	memcpy(buf, text, n);
	enum http1_verdict v = http1_parse(h, buf, n);
	free(buf);
	return v;
}

static void assert_slice(const char *name, struct slice got, const char *want)
{
	ck_assert_msg(slice_eq(got, slice_of(want)), "%s: " SLICE_FMT " for %s", name,
		      SLICE_ARG(got), want);
}

/* The bytes of a head, with bytes of a body directly behind it. */
static size_t head_bytes(const char *text)
{
	const char *end = strstr(text + 2, "\r\n\r\n");

	ck_assert_ptr_nonnull(end);
	return (size_t)(end - text) + 4;
}

START_TEST(request_is_understood)
{
	const char *name = good[_i].name;
	const uint8_t *buf = (const uint8_t *)good[_i].text;
	struct http1_head h;

	init(&h, false);
	ck_assert_msg(parse(&h, good[_i].text, strlen(good[_i].text)) == HTTP1_OK, "%s: %s", name,
		      h.why);
	ck_assert_uint_eq(h.head_len, head_bytes(good[_i].text));
	assert_slice(name, http1_path(&h, buf), good[_i].path);
	ck_assert_msg((h.query.off != 0) == (good[_i].query != NULL), "%s", name);
	if (good[_i].query != NULL)
		assert_slice(name, http1_slice(buf, h.query), good[_i].query);
	assert_slice(name, http1_slice(buf, h.host), good[_i].host);
	assert_slice(name, http1_slice(buf, h.authority), good[_i].authority);
	ck_assert_msg(h.method == good[_i].method, "%s", name);
	ck_assert_msg(h.form == good[_i].form, "%s", name);
	ck_assert_msg(h.minor == good[_i].minor, "%s", name);
	ck_assert_msg(h.n_fields == good[_i].n_fields, "%s", name);
	ck_assert_msg(h.content_length == good[_i].length, "%s", name);
	ck_assert_msg(h.is_chunked == good[_i].is_chunked, "%s", name);
}
END_TEST

START_TEST(response_is_understood)
{
	const char *name = good_responses[_i].name;
	const char *text = good_responses[_i].text;
	struct http1_head h;

	init(&h, true);
	ck_assert_msg(parse(&h, text, strlen(text)) == HTTP1_OK, "%s: %s", name, h.why);
	ck_assert_uint_eq(h.head_len, strlen(text));
	assert_slice(name, http1_slice((const uint8_t *)text, h.reason), good_responses[_i].reason);
	ck_assert_msg(h.status == good_responses[_i].status, "%s", name);
	ck_assert_msg(h.minor == good_responses[_i].minor, "%s", name);
	ck_assert_msg(h.content_length == good_responses[_i].length, "%s", name);
	ck_assert_msg(h.is_chunked == good_responses[_i].is_chunked, "%s", name);
}
END_TEST

/*
 * When the head comes a byte at a time, the result is the same, and the verdict comes with the last
 * byte.
 */
static void assert_same_in_pieces(const char *name, const char *text, bool is_response)
{
	size_t n = strlen(text);
	struct http1_head whole, pieces;

	init(&whole, is_response);
	init(&pieces, is_response);
	ck_assert_int_eq(parse(&whole, text, n), HTTP1_OK);
	for (size_t i = 0; i < whole.head_len; i++)
		ck_assert_msg(parse(&pieces, text, i) == HTTP1_MORE, "%s: byte %zu", name, i);
	ck_assert_int_eq(parse(&pieces, text, whole.head_len), HTTP1_OK);
	ck_assert_msg(memcmp(&whole, &pieces, sizeof(whole)) == 0, "%s", name);
	ck_assert_int_eq(parse(&pieces, text, n), HTTP1_OK); /* stays */
}

/* A byte of a request line begins a head; an empty line before it does not. */
/* What a listener may take beside the strict grammar. */
static const struct {
	const char *name, *text;
	size_t n;
	uint8_t takes;
	enum http1_verdict verdict;
	const char *path; /* of a right one, without its dot segments */
} takes[] = {
	{ "dots", S("GET /a/../b/. HTTP/1.1\r\n" HOST END), HTTP1_TAKES_DOTS, HTTP1_OK, "/b/" },
	{ "dots in a query", S("GET /a/.?/../ HTTP/1.1\r\n" HOST END), HTTP1_TAKES_DOTS, HTTP1_OK,
	  "/a/" },
	{ "encoded dots", S("GET /a/%2E%2e/%2e/b HTTP/1.1\r\n" HOST END), HTTP1_TAKES_DOTS,
	  HTTP1_OK, "/b" },
	{ "half encoded", S("GET /a/.%2e HTTP/1.1\r\n" HOST END), HTTP1_TAKES_DOTS, HTTP1_OK, "/" },
	{ "above the root", S("GET /../../a HTTP/1.1\r\n" HOST END), HTTP1_TAKES_DOTS, HTTP1_OK,
	  "/a" },
	{ "nothing is left", S("GET /.. HTTP/1.1\r\n" HOST END), HTTP1_TAKES_DOTS, HTTP1_OK, "/" },
	{ "a dot alone", S("GET /. HTTP/1.1\r\n" HOST END), HTTP1_TAKES_DOTS, HTTP1_OK, "/" },
	{ "RFC 3986, 5.2.4", S("GET /a/b/c/./../../g HTTP/1.1\r\n" HOST END), HTTP1_TAKES_DOTS,
	  HTTP1_OK, "/a/g" },
	{ "empty segments are segments", S("GET //a///../b HTTP/1.1\r\n" HOST END),
	  HTTP1_TAKES_DOTS, HTTP1_OK, "//a//b" },
	{ "an encoded slash is none", S("GET /a/..%2f../b HTTP/1.1\r\n" HOST END), HTTP1_TAKES_DOTS,
	  HTTP1_OK, "/a/..%2f../b" },
	{ "three dots", S("GET /a/.../%2e%2e%2e HTTP/1.1\r\n" HOST END), HTTP1_TAKES_DOTS, HTTP1_OK,
	  "/a/.../%2e%2e%2e" },
	{ "absolute", S("GET ws://h/a/../b HTTP/1.1\r\n" HOST END), HTTP1_TAKES_DOTS, HTTP1_OK,
	  "/b" },
	{ "dots, but UTF-8 is taken", S("GET /a/../"), HTTP1_TAKES_UTF8, HTTP1_BAD, NULL },
	{ "UTF-8", S("GET /\xc3\xbc/\xe2\x82\xac/\xf0\x9f\x98\x80?\xc3\xbc HTTP/1.1\r\n" HOST END),
	  HTTP1_TAKES_UTF8, HTTP1_OK, "/\xc3\xbc/\xe2\x82\xac/\xf0\x9f\x98\x80" },
	{ "the ends of UTF-8",
	  S("GET "
	    "/\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"
	    " HTTP/1.1\r\n" HOST END),
	  HTTP1_TAKES_UTF8, HTTP1_OK,
	  "/\xc2\x80\xdf\xbf\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xf0\x90\x80\x80\xf4\x8f\xbf\xbf" },
	{ "UTF-8, but dots are taken", S("GET /\xc3"), HTTP1_TAKES_DOTS, HTTP1_BAD, NULL },
	{ "Latin-1", S("GET /\xfc "), HTTP1_TAKES_UTF8, HTTP1_BAD, NULL },
	{ "an overlong dot", S("GET /\xc0\xae "), HTTP1_TAKES_UTF8, HTTP1_BAD, NULL },
	{ "an overlong slash", S("GET /\xe0\x80\xaf "), HTTP1_TAKES_UTF8, HTTP1_BAD, NULL },
	{ "overlong in four", S("GET /\xf0\x8f\xbf\xbf "), HTTP1_TAKES_UTF8, HTTP1_BAD, NULL },
	{ "a surrogate", S("GET /\xed\xa0\x80 "), HTTP1_TAKES_UTF8, HTTP1_BAD, NULL },
	{ "above Unicode", S("GET /\xf4\x90\x80\x80 "), HTTP1_TAKES_UTF8, HTTP1_BAD, NULL },
	{ "a sequence cut by the path's end", S("GET /\xc3?\xbc "), HTTP1_TAKES_UTF8, HTTP1_BAD,
	  NULL },
	{ "a continuation alone", S("GET /a?\x80 "), HTTP1_TAKES_UTF8, HTTP1_BAD, NULL },
	{ "a sequence cut short", S("GET /\xe2\x82 "), HTTP1_TAKES_UTF8, HTTP1_BAD, NULL },
	{ "a fragment", S("GET /\xc3\xbc#"), HTTP1_TAKES_UTF8, HTTP1_BAD, NULL },
	{ "a control", S("GET /\x1f"), HTTP1_TAKES_UTF8, HTTP1_BAD, NULL },
	{ "UTF-8 in a method", S("G\xc3"), HTTP1_TAKES_UTF8, HTTP1_BAD, NULL },
	{ "UTF-8 in an authority", S("GET http://\xc3"), HTTP1_TAKES_UTF8, HTTP1_BAD, NULL },
};

START_TEST(what_is_taken_is_taken)
{
	const char *name = takes[_i].name;
	struct http1_head h;
	uint8_t buf[256];

	init(&h, false);
	h.takes = takes[_i].takes;
	for (size_t n = 0; n < takes[_i].n; n++)
		ck_assert_msg(parse(&h, takes[_i].text, n) == HTTP1_MORE, "%s: %zu", name, n);
	ck_assert_msg(parse(&h, takes[_i].text, takes[_i].n) == takes[_i].verdict, "%s", name);
	if (takes[_i].verdict != HTTP1_OK)
		return;
	memcpy(buf, takes[_i].text, takes[_i].n);
	struct http1_span query = h.query;
	http1_remove_dots(&h, buf);
	assert_slice(name, http1_path(&h, buf), takes[_i].path);
	ck_assert(h.query.off == query.off && h.query.len == query.len);
	ck_assert(!h.has_dots);
	ck_assert_mem_eq(buf + query.off, takes[_i].text + query.off, query.len);
}
END_TEST

START_TEST(begun_is_told)
{
	struct http1_head h;

	init(&h, false);
	ck_assert(!http1_is_begun(&h));
	ck_assert_int_eq(parse(&h, "\r", 1), HTTP1_MORE);
	ck_assert(!http1_is_begun(&h));
	ck_assert_int_eq(parse(&h, "\r\n", 2), HTTP1_MORE);
	ck_assert(!http1_is_begun(&h));
	ck_assert_int_eq(parse(&h, "\r\nG", 3), HTTP1_MORE);
	ck_assert(http1_is_begun(&h));
	init(&h, false);
	ck_assert_int_eq(parse(&h, "G", 1), HTTP1_MORE);
	ck_assert(http1_is_begun(&h));
}
END_TEST

START_TEST(request_may_come_in_pieces)
{
	assert_same_in_pieces(good[_i].name, good[_i].text, false);
}
END_TEST

START_TEST(response_may_come_in_pieces)
{
	assert_same_in_pieces(good_responses[_i].name, good_responses[_i].text, true);
}
END_TEST

/* The verdict falls at the last byte of the row: not earlier, and the same with more behind it. */
static void assert_refused(const struct row *row, bool is_response)
{
	struct http1_head whole, pieces;
	char more[256] = { 0 };

	init(&pieces, is_response);
	for (size_t i = 0; i < row->n; i++)
		ck_assert_msg(parse(&pieces, row->text, i) == HTTP1_MORE, "%s: byte %zu", row->name,
			      i);
	ck_assert_msg(parse(&pieces, row->text, row->n) == row->want, "%s", row->name);
	ck_assert_msg(pieces.why != NULL && pieces.why[0] != '\0', "%s", row->name);

	ck_assert_uint_lt(row->n + 4, sizeof(more));
	memcpy(more, row->text, row->n);
	memcpy(more + row->n, "\r\n\r\n", 4);
	init(&whole, is_response);
	ck_assert_msg(parse(&whole, more, row->n + 4) == row->want, "%s", row->name);
	ck_assert_str_eq(whole.why, pieces.why);
	ck_assert_msg(parse(&pieces, more, row->n + 4) == row->want, "%s: stays", row->name);
}

START_TEST(bad_request_is_refused)
{
	assert_refused(&requests[_i], false);
}
END_TEST

START_TEST(bad_response_is_refused)
{
	assert_refused(&responses[_i], true);
}
END_TEST

/* A request of exactly `n` bytes, its filling in the value of X. */
static char *request_of(size_t n)
{
	static const char front[] = GET HOST "X: ";
	char *text = malloc(n);

	ck_assert_ptr_nonnull(text);
	memset(text, 'x', n);
	memcpy(text, front, sizeof(front) - 1);
	memcpy(text + n - 4, "\r\n\r\n", 4);
	return text;
}

START_TEST(head_has_a_maximum)
{
	char *most = request_of(HTTP1_HEAD_MAX);
	char *over = request_of(HTTP1_HEAD_MAX + 1);
	struct http1_head h;

	init(&h, false);
	ck_assert_int_eq(parse(&h, most, HTTP1_HEAD_MAX - 1), HTTP1_MORE);
	ck_assert_int_eq(parse(&h, most, HTTP1_HEAD_MAX), HTTP1_OK);
	ck_assert_uint_eq(h.head_len, HTTP1_HEAD_MAX);

	init(&h, false);
	ck_assert_int_eq(parse(&h, over, HTTP1_HEAD_MAX - 1), HTTP1_MORE);
	ck_assert_int_eq(parse(&h, over, HTTP1_HEAD_MAX), HTTP1_TOO_LARGE);
	init(&h, false);
	ck_assert_int_eq(parse(&h, over, HTTP1_HEAD_MAX + 1), HTTP1_TOO_LARGE);
	free(most);
	free(over);
}
END_TEST

START_TEST(fields_have_a_maximum)
{
	char text[4096] = GET HOST;
	struct http1_head h;

	for (unsigned i = 1; i < HTTP1_FIELDS_MAX; i++)
		strcat(text, "A:b\r\n");
	size_t n = strlen(text);

	init(&h, false);
	ck_assert_int_eq(parse(&h, text, n), HTTP1_MORE);
	ck_assert_uint_eq(h.n_fields, HTTP1_FIELDS_MAX);
	strcat(text, "\r\n");
	ck_assert_int_eq(parse(&h, text, n + 2), HTTP1_OK);

	text[n] = 'A';
	init(&h, false);
	ck_assert_int_eq(parse(&h, text, n), HTTP1_MORE);
	ck_assert_int_eq(parse(&h, text, n + 1), HTTP1_TOO_LARGE);
}
END_TEST

/* ---- cost ------------------------------------------------------------------------------------
 *
 * A head that comes byte by byte is parsed where it stopped. Of what came before, a call may look
 * at the last few bytes (the fifth of "https://" tells it from "http://"), and the byte that ends a
 * word at that word: a name is looked up, a path's segment and Host are judged. So the cost of a
 * head grows with its length only. All other bytes stand where they cannot be read.
 */

#define LOOKED_BACK 8u

/* A bar marks the position behind the byte that ends a word; it is no byte of the head. */
static const char *const worded[] = {
	"\r|\n|GET |/|first-segment/|second-segment/|third?|a-query/with=all;sorts&of%20bytes |"
	"HTTP/1.1\r|\n|Host:| host.example:8080 \r|\n|Content-Length:|\t 1234567890123 \r|\n|"
	"X-Long-Name-Of-A-Field:| a value: with, all; sorts/of?bytes \r|\n|\r|\n|",
	"OPTIONS |http://|host.example:8080/|first-segment |HTTP/1.1\r|\n|"
	"Transfer-Encoding:| chunked\r|\n|Host:| other.example\r|\n|\r|\n|",
	"A-METHOD-OF-ITS-OWN |https://|host.example?|a-long-query |HTTP/1.0\r|\n|"
	"Host:|host.example\r|\n|\r|\n|",
	"HTTP/1.1 |200 |a reason of some length\r|\n|Content-Length:| 1234567890\r|\n|"
	"Set-Cookie:| a=b; a long cookie\r|\n|\r|\n|",
};

/* Two pages: what stands in the first one cannot be read. */
static uint8_t *page_behind_a_wall(void)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *p =
		mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	ck_assert_int_eq(mprotect(p, size, PROT_NONE), 0);
	return p + size;
}

/*
 * Parses `n` bytes, of which the first `n_unread` are in the page that cannot be read: reading one
 * of them is a crash.
 */
static enum http1_verdict parse_unread(struct http1_head *h, uint8_t *page, const char *text,
				       size_t n, size_t n_unread)
{
	memcpy(page, text + n_unread, n - n_unread);
	return http1_parse(h, page - n_unread, n);
}

/* Byte by byte: whole at the last one, and not before. */
static void parse_words(struct http1_head *h, const char *words, const char *text)
{
	uint8_t *page = page_behind_a_wall();
	size_t n = 0, begin = 0;

	for (const char *p = words; *p != '\0'; p++) {
		if (*p == '|') {
			begin = n;
			continue;
		}
		bool is_end = p[1] == '|';
		size_t unread = ++n > LOOKED_BACK ? n - LOOKED_BACK : 0;
		if (is_end && begin < unread)
			unread = begin;
		ck_assert_msg(parse_unread(h, page, text, n, unread) ==
				      (text[n] != '\0' ? HTTP1_MORE : HTTP1_OK),
			      "%.*s: %s", (int)n, text, h->why);
	}
}

START_TEST(a_byte_is_looked_at_a_few_times_only)
{
	struct http1_head whole, pieces;
	char text[512] = "";
	bool is_response = strncmp(worded[_i], "HTTP", 4) == 0;

	for (const char *p = worded[_i]; *p != '\0'; p++)
		if (*p != '|')
			strncat(text, p, 1);
	init(&whole, is_response);
	init(&pieces, is_response);
	ck_assert_int_eq(parse(&whole, text, strlen(text)), HTTP1_OK);
	parse_words(&pieces, worded[_i], text);
	ck_assert(memcmp(&whole, &pieces, sizeof(whole)) == 0);
}
END_TEST

START_TEST(body_is_not_looked_at)
{
	const char *text = GET HOST END "\0\r\n\nGET";
	struct http1_head h;

	init(&h, false);
	ck_assert_int_eq(parse(&h, text, strlen(GET HOST END) + 7), HTTP1_OK);
	ck_assert_uint_eq(h.head_len, strlen(GET HOST END));
}
END_TEST

#define N(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, request_is_understood, 0, N(good));
	tcase_add_test(t, begun_is_told);
	tcase_add_loop_test(t, what_is_taken_is_taken, 0, (int)(sizeof(takes) / sizeof(takes[0])));
	tcase_add_loop_test(t, request_may_come_in_pieces, 0, N(good));
	tcase_add_loop_test(t, response_is_understood, 0, N(good_responses));
	tcase_add_loop_test(t, response_may_come_in_pieces, 0, N(good_responses));
	tcase_add_loop_test(t, bad_request_is_refused, 0, N(requests));
	tcase_add_loop_test(t, bad_response_is_refused, 0, N(responses));
	tcase_add_test(t, head_has_a_maximum);
	tcase_add_test(t, fields_have_a_maximum);
	tcase_add_loop_test(t, a_byte_is_looked_at_a_few_times_only, 0, N(worded));
	tcase_add_test(t, body_is_not_looked_at);
}

int main(void)
{
	return run_suite("proto/http1", add_tests);
}
