/* SPDX-License-Identifier: Apache-2.0 */
#include "../suite.h"
#include "proto/forward.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WS "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
#define XF "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\n"
#define XF_H XF "X-Forwarded-Host: h\r\n"
#define CLOSE "Connection: close\r\n\r\n"

static const struct {
	const char *name, *in, *out;
} requests[] = {
	{ "plain", "GET /a?b HTTP/1.1\r\nHost: h\r\nX-A:  v \r\n\r\n",
	  "GET /a?b HTTP/1.1\r\nHost: h\r\nX-A: v\r\n" XF_H CLOSE },
	{ "order and case stay", "GET / HTTP/1.1\r\nb:1\r\nhOST: h\r\nA: 2\r\nb: 3\r\n\r\n",
	  "GET / HTTP/1.1\r\nb: 1\r\nhOST: h\r\nA: 2\r\nb: 3\r\n" XF_H CLOSE },
	{ "white space around values has one spelling",
	  "GET / HTTP/1.1\r\nHost:\th\t \r\nA:\r\nB: \t\r\nC:\td\te  f \r\n\r\n",
	  "GET / HTTP/1.1\r\nHost: h\r\nA:\r\nB:\r\nC: d\te  f\r\n" XF_H CLOSE },
	{ "a length has one spelling",
	  "PUT / HTTP/1.1\r\nHost: h\r\nContent-length:\t0000000000000000000000000000010\r\n\r\n",
	  "PUT / HTTP/1.1\r\nHost: h\r\nContent-length: 10\r\n" XF_H CLOSE },
	{ "a length of none, too", "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 000\r\n\r\n",
	  "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n" XF_H CLOSE },
	{ "a coding, too", "PUT / HTTP/1.1\r\nHost: h\r\ntransfer-Encoding: CHunked\r\n\r\n",
	  "PUT / HTTP/1.1\r\nHost: h\r\ntransfer-Encoding: chunked\r\n" XF_H CLOSE },
	{ "an empty query stays", "GET /? HTTP/1.1\r\nHost: h\r\n\r\n",
	  "GET /? HTTP/1.1\r\nHost: h\r\n" XF_H CLOSE },
	{ "hop-by-hop fields go",
	  "GET / HTTP/1.1\r\nHost: h\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: trailers\r\n"
	  "Upgrade: foo\r\nTrailer: X\r\n\r\n",
	  "GET / HTTP/1.1\r\nHost: h\r\nTrailer: X\r\n" XF_H CLOSE },
	{ "what Connection names goes",
	  "GET / HTTP/1.1\r\nX-B: 1\r\nHost: h\r\nConnection: x-a, x-b\r\nX-A: 2\r\nX-C: 3\r\n"
	  "X-a: 4\r\n\r\n",
	  "GET / HTTP/1.1\r\nHost: h\r\nX-C: 3\r\n" XF_H CLOSE },
	{ "the client's claims go",
	  "GET / HTTP/1.1\r\nForwarded: for=1\r\nx-forwarded-for: 1\r\nX-Forwarded-Proto: https\r\n"
	  "Host: h\r\nX-Forwarded-Host: evil\r\nX-Forwarded-For: 2\r\n\r\n",
	  "GET / HTTP/1.1\r\nHost: h\r\n" XF_H CLOSE },
	{ "lb's own cannot be named away",
	  "GET / HTTP/1.1\r\nHost: h\r\nConnection: X-Forwarded-For, X-Forwarded-Proto\r\n\r\n",
	  "GET / HTTP/1.1\r\nHost: h\r\n" XF_H CLOSE },
	{ "Host with a port stays", "GET / HTTP/1.1\r\nHost: h:8080\r\n\r\n",
	  "GET / HTTP/1.1\r\nHost: h:8080\r\n" XF "X-Forwarded-Host: h:8080\r\n" CLOSE },
	{ "absolute target", "GET http://a:1/x?y HTTP/1.1\r\nA: b\r\nHost: h\r\n\r\n",
	  "GET /x?y HTTP/1.1\r\nHost: a:1\r\nA: b\r\n" XF "X-Forwarded-Host: a:1\r\n" CLOSE },
	{ "absolute target without a path", "GET http://h HTTP/1.1\r\nHost: x\r\n\r\n",
	  "GET / HTTP/1.1\r\nHost: h\r\n" XF_H CLOSE },
	{ "absolute target with a query alone", "GET http://h?q HTTP/1.1\r\nHost: x\r\n\r\n",
	  "GET /?q HTTP/1.1\r\nHost: h\r\n" XF_H CLOSE },
	{ "absolute OPTIONS", "OPTIONS http://h HTTP/1.1\r\nHost: x\r\n\r\n",
	  "OPTIONS * HTTP/1.1\r\nHost: h\r\n" XF_H CLOSE },
	{ "absolute OPTIONS with a query", "OPTIONS http://h? HTTP/1.1\r\nHost: x\r\n\r\n",
	  "OPTIONS /? HTTP/1.1\r\nHost: h\r\n" XF_H CLOSE },
	{ "asterisk", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
	  "OPTIONS * HTTP/1.1\r\nHost: h\r\n" XF_H CLOSE },
	{ "1.0 becomes 1.1, with a Host", "GET / HTTP/1.0\r\nA: b\r\n\r\n",
	  "GET / HTTP/1.1\r\nHost: 192.0.2.9:80\r\nA: b\r\n" XF CLOSE },
	{ "1.0 with a Host", "GET / HTTP/1.0\r\nA: b\r\nHost: h\r\n\r\n",
	  "GET / HTTP/1.1\r\nA: b\r\nHost: h\r\n" XF_H CLOSE },
	{ "1.0, absolute", "GET http://h/ HTTP/1.0\r\n\r\n",
	  "GET / HTTP/1.1\r\nHost: h\r\n" XF_H CLOSE },
	{ "1.0 expects nothing",
	  "PUT / HTTP/1.0\r\nHost: h\r\nEXPECT: 100-continue\r\nContent-Length: 3\r\n\r\n",
	  "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n" XF_H CLOSE },
	{ "1.1 does",
	  "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
	  "PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n" XF_H CLOSE },
	{ "1.2 becomes 1.1", "GET / HTTP/1.2\r\nHost: h\r\n\r\n",
	  "GET / HTTP/1.1\r\nHost: h\r\n" XF_H CLOSE },
	{ "equal lengths become one",
	  "PUT / HTTP/1.1\r\nContent-Length: 3\r\nHost: h\r\nContent-Length: 3\r\n\r\n",
	  "PUT / HTTP/1.1\r\nContent-Length: 3\r\nHost: h\r\n" XF_H CLOSE },
	{ "chunks stay", "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
	  "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n" XF_H CLOSE },
	{ "websocket",
	  "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: h2c, WebSocket, foo\r\n"
	  "Connection: keep-alive, Upgrade\r\n" WS
	  "Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
	  "GET /ws HTTP/1.1\r\nHost: h\r\n" WS
	  "Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: permessage-deflate\r\n" XF_H
	  "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" },
	{ "other tokens",
	  "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: a/1, h2c\r\nUpgrade: "
	  "b\r\n\r\n",
	  "GET / HTTP/1.1\r\nHost: h\r\n" XF_H "Connection: Upgrade\r\nUpgrade: a/1,b\r\n\r\n" },
	{ "other tokens, and a body",
	  "POST / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: "
	  "3\r\n\r\n",
	  "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n" XF_H
	  "Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n" },
	{ "h2c becomes plain",
	  "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
	  "HTTP2-Settings: AAMA\r\n\r\n",
	  "GET / HTTP/1.1\r\nHost: h\r\n" XF_H CLOSE },
};

static const struct {
	const char *name, *in, *out;
} responses[] = {
	{ "plain", "HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 2\r\n\r\n",
	  "HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 2\r\n" CLOSE },
	{ "1.0 without a reason", "HTTP/1.0 302\r\nLocation: /\r\n\r\n",
	  "HTTP/1.1 302 \r\nLocation: /\r\n" CLOSE },
	{ "hop-by-hop fields go",
	  "HTTP/1.1 200 OK\r\nConnection: keep-alive, x-a\r\nX-A: 1\r\nKeep-Alive: 5\r\n"
	  "Proxy-Connection: x\r\nUpgrade: h2\r\nX-B: 2\r\n\r\n",
	  "HTTP/1.1 200 OK\r\nX-B: 2\r\n" CLOSE },
	{ "white space before a colon goes",
	  "HTTP/1.1 200 OK\r\nA : b\r\nContent-Length\t : 002\r\nKeep-Alive : x\r\nC \t:\r\n\r\n",
	  "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\nC:\r\n" CLOSE },
	{ "X-Forwarded-* are nothing special", "HTTP/1.1 200 OK\r\nX-Forwarded-For: 1\r\n\r\n",
	  "HTTP/1.1 200 OK\r\nX-Forwarded-For: 1\r\n" CLOSE },
	{ "chunks stay", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
	  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" CLOSE },
	{ "equal lengths become one",
	  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\ncontent-length: 2\r\n\r\n",
	  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" CLOSE },
	{ "101",
	  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	  "Sec-WebSocket-Accept: x\r\nContent-Length: 5\r\n\r\n",
	  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n"
	  "Connection: Upgrade\r\n\r\n" },
	{ "100", "HTTP/1.1 100 Continue\r\nConnection: close\r\nA: b\r\n\r\n",
	  "HTTP/1.1 100 Continue\r\nA: b\r\n\r\n" },
	{ "204 has no framing", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
	  "HTTP/1.1 204 No Content\r\n" CLOSE },
	{ "101 loses chunks",
	  "HTTP/1.1 101 x\r\nTransfer-Encoding: chunked\r\nUpgrade: a\r\nConnection: "
	  "Upgrade\r\n\r\n",
	  "HTTP/1.1 101 x\r\nUpgrade: a\r\nConnection: Upgrade\r\n\r\n" },
	{ "of two framings one is left",
	  "HTTP/1.1 304 x\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n",
	  "HTTP/1.1 304 x\r\nTransfer-Encoding: chunked\r\nA: b\r\n" CLOSE },
	{ "304 keeps its length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
	  "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n" CLOSE },
	{ "426",
	  "HTTP/1.1 426 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	  "Sec-WebSocket-Version: 13\r\n\r\n",
	  "HTTP/1.1 426 x\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
	  "Connection: Upgrade\r\n" CLOSE },
	{ "426 without Upgrade", "HTTP/1.1 426 x\r\nA: b\r\n\r\n",
	  "HTTP/1.1 426 x\r\nA: b\r\n" CLOSE },
};

/* For a client of HTTP/1.0. */
static const struct {
	const char *name, *in, *out;
} responses_1_0[] = {
	{ "plain", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTrailer: a\r\n\r\n",
	  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTrailer: a\r\n" CLOSE },
	{ "chunks go",
	  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTRAILER: a\r\nA: b\r\n\r\n",
	  "HTTP/1.1 200 OK\r\nA: b\r\n" CLOSE },
	{ "two framings go",
	  "HTTP/1.1 304 x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
	  "HTTP/1.1 304 x\r\n" CLOSE },
};

static const struct {
	const char *name, *connection;
	bool is_right;
} names[] = {
	{ "usual", "keep-alive, Upgrade", true },
	{ "nothing", "", true },
	{ "a field of one's own", "X-Host, Hosts, Sec-WebSocket", true },
	{ "Host", "x, hOST", false },
	{ "Content-Length", "content-length", false },
	{ "Transfer-Encoding", "close,Transfer-Encoding", false },
	{ "the key", "Sec-WebSocket-Key", false },
	{ "the extensions", "SEC-WEBSOCKET-EXTENSIONS", false },
};

static void parse(struct http1_head *h, const char *text, bool is_response)
{
	if (is_response)
		http1_init_response(h);
	else
		http1_init_request(h);
	ck_assert_int_eq(http1_parse(h, (const uint8_t *)text, strlen(text)), HTTP1_OK);
}

static void assert_text(const char *name, const uint8_t *got, int n, const char *want)
{
	ck_assert_msg(n == (int)strlen(want) && memcmp(got, want, (size_t)n) == 0,
		      "%s:\n%.*s\ninstead of\n%s", name, n, (const char *)got, want);
}

/* Writes a row's request into `cap` bytes. */
static int request(const char *text, uint8_t *out, size_t cap)
{
	const uint8_t *buf = (const uint8_t *)text;
	struct addr client, backend;
	struct upgrade u;
	struct http1_head h;

	parse(&h, text, false);
	ck_assert_int_eq(addr_parse(SLICE("192.0.2.9:80"), &backend), 0);
	ck_assert_ptr_null(forward_check(&h, buf));
	upgrade_judge(&u, &h, buf);
	ck_assert_int_eq(addr_parse(SLICE("192.0.2.1:5000"), &client), 0);
	struct forward f = { .client = &client, .backend = &backend, .upgrade = &u };
	return forward_request(&h, buf, &f, out, cap);
}

static int response(const char *text, bool is_1_0, uint8_t *out, size_t cap)
{
	struct http1_head h;

	parse(&h, text, true);
	ck_assert_ptr_null(forward_check(&h, (const uint8_t *)text));
	return forward_response(&h, (const uint8_t *)text, is_1_0, out, cap);
}

START_TEST(request_is_rewritten)
{
	uint8_t out[1024];
	int n = request(requests[_i].in, out, sizeof(out));

	assert_text(requests[_i].name, out, n, requests[_i].out);
	ck_assert_int_le(n, (int)(strlen(requests[_i].in) + FORWARD_GROWTH));
}
END_TEST

START_TEST(response_is_rewritten)
{
	uint8_t out[1024];
	int n = response(responses[_i].in, false, out, sizeof(out));

	assert_text(responses[_i].name, out, n, responses[_i].out);
}
END_TEST

START_TEST(response_to_1_0_is_rewritten)
{
	uint8_t out[1024];
	int n = response(responses_1_0[_i].in, true, out, sizeof(out));

	assert_text(responses_1_0[_i].name, out, n, responses_1_0[_i].out);
}
END_TEST

/* Exactly enough bytes suffice, and one byte less does not; nothing is written behind the end. */
START_TEST(room_is_respected)
{
	size_t n = strlen(requests[_i].out);
	uint8_t *out = malloc(n);

	ck_assert_int_eq(request(requests[_i].in, out, n), (int)n);
	ck_assert_int_eq(request(requests[_i].in, out, n - 1), -ENOSPC);
	ck_assert_int_eq(request(requests[_i].in, out, 10), -ENOSPC);
	free(out);
}
END_TEST

START_TEST(other_clients_are_told_of)
{
	const char *text = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
	struct addr client;
	struct upgrade u = { .kind = UPGRADE_NONE };
	struct http1_head h;
	uint8_t out[512];

	parse(&h, text, false);
	ck_assert_int_eq(addr_parse(SLICE("[2001:db8::7]:1"), &client), 0);
	struct forward f = { .client = &client, .upgrade = &u, .is_tls = true };
	int n = forward_request(&h, (const uint8_t *)text, &f, out, sizeof(out));
	assert_text("IPv6, TLS", out, n,
		    "GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 2001:db8::7\r\n"
		    "X-Forwarded-Proto: https\r\nX-Forwarded-Host: h\r\n" CLOSE);
}
END_TEST

START_TEST(connection_is_checked)
{
	char text[256];
	struct http1_head h;

	(void)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: h\r\nConnection: %s\r\n\r\n",
		       names[_i].connection);
	parse(&h, text, false);
	ck_assert_msg((forward_check(&h, (const uint8_t *)text) == NULL) == names[_i].is_right,
		      "%s", names[_i].name);
}
END_TEST

START_TEST(connection_may_name_a_hundred)
{
	char text[512] = "GET / HTTP/1.1\r\nHost: h\r\nConnection: a";
	struct http1_head h;

	for (int i = 1; i < 100; i++)
		strcat(text, ",a");
	strcat(text, "\r\n\r\n");
	parse(&h, text, false);
	ck_assert_ptr_null(forward_check(&h, (const uint8_t *)text));

	strcpy(text + strlen(text) - 4, ",a\r\n\r\n");
	parse(&h, text, false);
	ck_assert_ptr_nonnull(forward_check(&h, (const uint8_t *)text));
}
END_TEST

static const struct {
	const char *name;
	int status;
	const char *why, *extra;
	enum forward_body body;
	const char *out;
} errors[] = {
	{ "400", 400, "no Host", "", FORWARD_BODY,
	  "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n" CLOSE
	  "no Host\n" },
	{ "for HEAD", 404, "no route", "", FORWARD_NO_BODY,
	  "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n" CLOSE },
	{ "503", 503, "x", "Retry-After: 2\r\n", FORWARD_BODY,
	  "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Type: text/plain\r\n"
	  "Content-Length: 2\r\n" CLOSE "x\n" },
	{ "426", 426, "v13", "", FORWARD_BODY,
	  "HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n"
	  "Content-Type: text/plain\r\nContent-Length: 4\r\nConnection: Upgrade, close\r\n\r\n"
	  "v13\n" },
	{ "one without a text of its own", 418, "x", "", FORWARD_NO_BODY,
	  "HTTP/1.1 418 Error\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n" CLOSE },
};

START_TEST(error_is_written)
{
	uint8_t out[512];
	int n = forward_error(errors[_i].status, errors[_i].why, errors[_i].extra, errors[_i].body,
			      out, sizeof(out));

	assert_text(errors[_i].name, out, n, errors[_i].out);
	ck_assert_int_eq(forward_error(errors[_i].status, errors[_i].why, errors[_i].extra,
				       errors[_i].body, out, 40),
			 -ENOSPC);
}
END_TEST

#define N(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, request_is_rewritten, 0, N(requests));
	tcase_add_loop_test(t, response_is_rewritten, 0, N(responses));
	tcase_add_loop_test(t, response_to_1_0_is_rewritten, 0, N(responses_1_0));
	tcase_add_loop_test(t, room_is_respected, 0, N(requests));
	tcase_add_test(t, other_clients_are_told_of);
	tcase_add_loop_test(t, connection_is_checked, 0, N(names));
	tcase_add_test(t, connection_may_name_a_hundred);
	tcase_add_loop_test(t, error_is_written, 0, N(errors));
}

int main(void)
{
	return run_suite("proto/forward", add_tests);
}
