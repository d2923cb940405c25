/* SPDX-License-Identifier: Apache-2.0 */
#include "../suite.h"
#include "proto/upgrade.h"

#include <check.h>
#include <string.h>

/* RFC 6455, 1.3. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

#define GET "GET / HTTP/1.1\r\nHost: h\r\n"
#define ASKS "Connection: Upgrade\r\nUpgrade: websocket\r\n"
#define WITH_KEY "Sec-WebSocket-Key: " KEY "\r\n"
#define V13 "Sec-WebSocket-Version: 13\r\n"
#define SWITCH "HTTP/1.1 101 Switching Protocols\r\n"
#define END "\r\n"

static const struct {
	const char *name, *text;
	enum upgrade_kind kind;
	uint16_t status;
} requests[] = {
	{ "plain", GET END, UPGRADE_NONE, 0 },
	{ "websocket", GET ASKS WITH_KEY V13 END, UPGRADE_WEBSOCKET, 0 },
	{ "any case, in lists",
	  GET "CONNECTION: keep-alive, uPGRADE\r\nupgrade: WebSocket\r\n" WITH_KEY V13 END,
	  UPGRADE_WEBSOCKET, 0 },
	{ "Connection in two lines",
	  GET "Connection: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n" WITH_KEY V13 END,
	  UPGRADE_WEBSOCKET, 0 },
	{ "websocket beside others",
	  GET
	  "Connection: Upgrade\r\nUpgrade: h2c, other\r\nUpgrade: websocket\r\n" WITH_KEY V13 END,
	  UPGRADE_WEBSOCKET, 0 },
	{ "length 0 is no body", GET ASKS WITH_KEY V13 "Content-Length: 0\r\n" END,
	  UPGRADE_WEBSOCKET, 0 },
	{ "not named by Connection", GET "Upgrade: websocket\r\n" WITH_KEY V13 END, UPGRADE_NONE,
	  0 },
	{ "Connection names another",
	  GET "Connection: upgrades\r\nUpgrade: websocket\r\n" WITH_KEY V13 END, UPGRADE_NONE, 0 },
	{ "Connection alone", GET "Connection: Upgrade\r\n" END, UPGRADE_NONE, 0 },
	{ "empty Upgrade", GET "Connection: Upgrade\r\nUpgrade: ,\r\n" END, UPGRADE_NONE, 0 },
	{ "HTTP/1.0", "GET / HTTP/1.0\r\n" ASKS WITH_KEY V13 END, UPGRADE_NONE, 0 },
	{ "not GET", "POST / HTTP/1.1\r\nHost: h\r\n" ASKS WITH_KEY V13 END, UPGRADE_BAD, 400 },
	{ "HEAD", "HEAD / HTTP/1.1\r\nHost: h\r\n" ASKS WITH_KEY V13 END, UPGRADE_BAD, 400 },
	{ "body", GET ASKS WITH_KEY V13 "Content-Length: 1\r\n" END, UPGRADE_BAD, 400 },
	{ "chunked body", GET ASKS WITH_KEY V13 "Transfer-Encoding: chunked\r\n" END, UPGRADE_BAD,
	  400 },
	{ "no version", GET ASKS WITH_KEY END, UPGRADE_BAD, 426 },
	{ "version 8", GET ASKS WITH_KEY "Sec-WebSocket-Version: 8\r\n" END, UPGRADE_BAD, 426 },
	{ "a list of versions", GET ASKS WITH_KEY "Sec-WebSocket-Version: 13, 8\r\n" END,
	  UPGRADE_BAD, 426 },
	{ "version twice", GET ASKS WITH_KEY V13 V13 END, UPGRADE_BAD, 426 },
	{ "no key", GET ASKS V13 END, UPGRADE_BAD, 400 },
	{ "two keys", GET ASKS WITH_KEY WITH_KEY V13 END, UPGRADE_BAD, 400 },
	{ "empty key", GET ASKS "Sec-WebSocket-Key:\r\n" V13 END, UPGRADE_BAD, 400 },
	{ "key of 15 bytes", GET ASKS "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA\r\n" V13 END,
	  UPGRADE_BAD, 400 },
	{ "key of 17 bytes", GET ASKS "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA=\r\n" V13 END,
	  UPGRADE_BAD, 400 },
	{ "key of 18 bytes", GET ASKS "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAAA\r\n" V13 END,
	  UPGRADE_BAD, 400 },
	{ "key is no base64", GET ASKS "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAA-==\r\n" V13 END,
	  UPGRADE_BAD, 400 },
	{ "key with a pad inside",
	  GET ASKS "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAA===\r\n" V13 END, UPGRADE_BAD, 400 },
	{ "another token", GET "Connection: Upgrade\r\nUpgrade: foo/1\r\n" END, UPGRADE_OTHER, 0 },
	{ "another token, not GET",
	  "OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0\r\n" END,
	  UPGRADE_OTHER, 0 },
	{ "another token with a body",
	  GET "Connection: Upgrade\r\nUpgrade: foo\r\nContent-Length: 3\r\n" END, UPGRADE_OTHER,
	  0 },
	{ "another token with chunks",
	  GET "Connection: Upgrade\r\nUpgrade: foo\r\nTransfer-Encoding: chunked\r\n" END,
	  UPGRADE_OTHER, 0 },
	{ "h2c with a body", GET "Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n" END,
	  UPGRADE_NONE, 0 },
	{ "h2c", GET "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n" END, UPGRADE_NONE,
	  0 },
	{ "HTTP/2.0", GET "Connection: Upgrade\r\nUpgrade: http/2.0, H2C\r\n" END, UPGRADE_NONE,
	  0 },
	{ "h2c with more behind it", GET "Connection: Upgrade\r\nUpgrade: h2c;q=1\r\n" END,
	  UPGRADE_NONE, 0 },
	{ "h2c in quotes", GET "Connection: Upgrade\r\nUpgrade: \"h2c\", (h2c)\r\n" END,
	  UPGRADE_NONE, 0 },
	{ "two words", GET "Connection: Upgrade\r\nUpgrade: foo bar\r\n" END, UPGRADE_NONE, 0 },
	{ "two slashes", GET "Connection: Upgrade\r\nUpgrade: foo/1/2\r\n" END, UPGRADE_NONE, 0 },
	{ "no version behind the slash", GET "Connection: Upgrade\r\nUpgrade: foo/\r\n" END,
	  UPGRADE_NONE, 0 },
	{ "h2c and another", GET "Connection: Upgrade\r\nUpgrade: h2c, foo\r\n" END, UPGRADE_OTHER,
	  0 },
};

/* What is asked for where that is another protocol. */
#define ASKED GET "Connection: upgrade\r\nUpgrade: foo, Bar/1, h2c\r\nUpgrade: tcp\r\n" END

static const struct {
	const char *name, *text;
	enum upgrade_kind asked;
	bool is_right;
} responses[] = {
	{ "right", SWITCH ASKS ACCEPT END, UPGRADE_WEBSOCKET, true },
	{ "any case", SWITCH "connection: x, UPGRADE\r\nUPGRADE: WebSocket\r\n" ACCEPT END,
	  UPGRADE_WEBSOCKET, true },
	{ "unasked", SWITCH ASKS ACCEPT END, UPGRADE_NONE, false },
	{ "asked wrongly", SWITCH ASKS ACCEPT END, UPGRADE_BAD, false },
	{ "no Accept", SWITCH ASKS END, UPGRADE_WEBSOCKET, false },
	{ "two Accepts", SWITCH ASKS ACCEPT ACCEPT END, UPGRADE_WEBSOCKET, false },
	{ "another Accept",
	  SWITCH ASKS "Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n" END,
	  UPGRADE_WEBSOCKET, false },
	{ "Accept in another case",
	  SWITCH ASKS "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" END,
	  UPGRADE_WEBSOCKET, false },
	{ "no Upgrade", SWITCH "Connection: Upgrade\r\n" ACCEPT END, UPGRADE_WEBSOCKET, false },
	{ "another Upgrade", SWITCH "Connection: Upgrade\r\nUpgrade: foo\r\n" ACCEPT END,
	  UPGRADE_WEBSOCKET, false },
	{ "no Connection", SWITCH "Upgrade: websocket\r\n" ACCEPT END, UPGRADE_WEBSOCKET, false },
	{ "Connection without upgrade",
	  SWITCH "Connection: close\r\nUpgrade: websocket\r\n" ACCEPT END, UPGRADE_WEBSOCKET,
	  false },
	{ "HTTP/1.0", "HTTP/1.0 101 x\r\n" ASKS ACCEPT END, UPGRADE_WEBSOCKET, false },
	{ "other", SWITCH "Connection: upgrade\r\nUpgrade: foo\r\n" END, UPGRADE_OTHER, true },
	{ "other in another case", SWITCH "Connection: upgrade\r\nUpgrade: FOO\r\n" END,
	  UPGRADE_OTHER, true },
	{ "other with its version", SWITCH "Connection: upgrade\r\nUpgrade: bar/1\r\n" END,
	  UPGRADE_OTHER, true },
	{ "other in a second line", SWITCH "Connection: upgrade\r\nUpgrade: tcp\r\n" END,
	  UPGRADE_OTHER, true },
	{ "two that were asked for", SWITCH "Connection: upgrade\r\nUpgrade: tcp, foo\r\n" END,
	  UPGRADE_OTHER, true },
	{ "one that was not", SWITCH "Connection: upgrade\r\nUpgrade: baz\r\n" END, UPGRADE_OTHER,
	  false },
	{ "one that was not beside one that was",
	  SWITCH "Connection: upgrade\r\nUpgrade: foo, baz\r\n" END, UPGRADE_OTHER, false },
	{ "without the version", SWITCH "Connection: upgrade\r\nUpgrade: bar\r\n" END,
	  UPGRADE_OTHER, false },
	{ "another version", SWITCH "Connection: upgrade\r\nUpgrade: bar/2\r\n" END, UPGRADE_OTHER,
	  false },
	{ "websocket for another", SWITCH ASKS END, UPGRADE_OTHER, false },
	{ "websocket for another, with an Accept", SWITCH ASKS ACCEPT END, UPGRADE_OTHER, false },
	{ "websocket and another",
	  SWITCH "Connection: upgrade\r\nUpgrade: websocket, foo\r\n" ACCEPT END, UPGRADE_WEBSOCKET,
	  false },
	{ "other without Upgrade", SWITCH "Connection: upgrade\r\n" END, UPGRADE_OTHER, false },
	{ "other with an empty Upgrade", SWITCH "Connection: upgrade\r\nUpgrade:\r\n" END,
	  UPGRADE_OTHER, false },
	{ "other without Connection", SWITCH "Upgrade: foo\r\n" END, UPGRADE_OTHER, false },
	{ "another and HTTP/2", SWITCH "Connection: upgrade\r\nUpgrade: foo, h2c\r\n" END,
	  UPGRADE_OTHER, false },
	{ "no token", SWITCH "Connection: upgrade\r\nUpgrade: foo bar\r\n" END, UPGRADE_OTHER,
	  false },
	{ "with a length", SWITCH ASKS ACCEPT "Content-Length: 5\r\n" END, UPGRADE_WEBSOCKET,
	  true },
	{ "with a length of none", SWITCH ASKS ACCEPT "Content-Length: 0\r\n" END,
	  UPGRADE_WEBSOCKET, true },
	{ "with chunks", SWITCH ASKS ACCEPT "Transfer-Encoding: chunked\r\n" END, UPGRADE_WEBSOCKET,
	  true },
	{ "with both", SWITCH ASKS ACCEPT "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n" END,
	  UPGRADE_WEBSOCKET, true },
	{ "other with a length",
	  SWITCH "Connection: upgrade\r\nUpgrade: foo\r\n"
		 "Content-Length: 0\r\n" END,
	  UPGRADE_OTHER, true },
	{ "chunks do not stand for an Accept", SWITCH ASKS "Transfer-Encoding: chunked\r\n" END,
	  UPGRADE_WEBSOCKET, false },
	{ "HTTP/2 for another", SWITCH "Connection: upgrade\r\nUpgrade: h2c\r\n" END, UPGRADE_OTHER,
	  false },
};

START_TEST(request_is_judged_right)
{
	const uint8_t *buf = (const uint8_t *)requests[_i].text;
	struct http1_head h;
	struct upgrade u;

	http1_init_request(&h);
	ck_assert_int_eq(http1_parse(&h, buf, strlen(requests[_i].text)), HTTP1_OK);
	upgrade_judge(&u, &h, buf);
	ck_assert_msg(u.kind == requests[_i].kind, "%s: %d", requests[_i].name, u.kind);
	ck_assert_msg(u.status == requests[_i].status, "%s: %d", requests[_i].name, u.status);
	ck_assert_msg((u.why != NULL) == (u.kind == UPGRADE_BAD), "%s", requests[_i].name);
	ck_assert_str_eq(u.key, u.kind == UPGRADE_WEBSOCKET ? KEY : "");
}
END_TEST

START_TEST(response_is_judged_right)
{
	const uint8_t *buf = (const uint8_t *)responses[_i].text;
	struct upgrade u = { .kind = responses[_i].asked, .key = KEY };
	const uint8_t *asked = (const uint8_t *)ASKED;
	struct http1_head h, req;

	http1_init_request(&req);
	ck_assert_int_eq(http1_parse(&req, asked, strlen(ASKED)), HTTP1_OK);
	http1_init_response(&h);
	ck_assert_int_eq(http1_parse(&h, buf, strlen(responses[_i].text)), HTTP1_OK);
	const char *why = u.kind == UPGRADE_WEBSOCKET ? upgrade_judge_101(&u, &h, buf, NULL, NULL)
						      : upgrade_judge_101(&u, &h, buf, &req, asked);
	ck_assert_msg((why == NULL) == responses[_i].is_right, "%s: %s", responses[_i].name,
		      why != NULL ? why : "taken");
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, request_is_judged_right, 0, sizeof(requests) / sizeof(requests[0]));
	tcase_add_loop_test(t, response_is_judged_right, 0,
			    sizeof(responses) / sizeof(responses[0]));
}

int main(void)
{
	return run_suite("proto/upgrade", add_tests);
}
