/* SPDX-License-Identifier: Apache-2.0 */
/* What http and websocket checks ask, and what they make of each answer, in any pieces. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../suite.h"
#include "health/question.h"

static char path[] = "/health", host[] = "x.example";

static struct check_spec spec_of(enum conf_check type)
{
	return (struct check_spec){
		.addr = { .family = AF_INET, .port = 9000, .v4 = { 10, 0, 0, 1 } },
		.conf = { .type = type, .path = path, .status_min = 200, .status_max = 299 },
	};
}

/* The nonce of RFC 6455, 1.3, whose answer is the RFC's. */
static const uint8_t nonce[QUESTION_NONCE_BYTES] = "the sample nonce";
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

static const struct {
	const char *name;
	enum conf_check type;
	bool has_host;
	const char *line, *host;
} requests[] = {
	{ "http", CONF_CHECK_HTTP, true, "\r\nConnection: close\r\n", "\r\nHost: x.example\r\n" },
	{ "http without a host", CONF_CHECK_HTTP, false, "\r\nConnection: close\r\n",
	  "\r\nHost: 10.0.0.1:9000\r\n" },
	{ "websocket", CONF_CHECK_WEBSOCKET, true,
	  "\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "\r\nHost: x.example\r\n" },
};

START_TEST(requests_are_whole)
{
	struct check_spec spec = spec_of(requests[_i].type);
	static struct question q;

	spec.conf.host = requests[_i].has_host ? host : NULL;
	ck_assert_int_eq(question_init(&q, &spec, nonce), 0);
	ck_assert_uint_eq(strlen(q.request), q.n_request);
	ck_assert_ptr_eq(strstr(q.request, "GET /health HTTP/1.1\r\n"), q.request);
	ck_assert_msg(strstr(q.request, requests[_i].line) != NULL, "%s", requests[_i].name);
	ck_assert_msg(strstr(q.request, requests[_i].host) != NULL, "%s", requests[_i].name);
	ck_assert_str_eq(q.request + q.n_request - 4, "\r\n\r\n");
}
END_TEST

START_TEST(a_request_that_is_too_long_is_refused)
{
	struct check_spec spec = spec_of(CONF_CHECK_HTTP);
	static struct question q;
	char longest[QUESTION_REQUEST_MAX + 1];

	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	spec.conf.path = longest;
	ck_assert_int_eq(question_init(&q, &spec, nonce), -EMSGSIZE);
}
END_TEST

#define SWITCH "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"

static const struct {
	const char *name;
	enum conf_check type;
	const char *bytes;
	enum answer_kind kind;
	unsigned status;
	const char *what; /* of ANSWER_WRONG */
	size_t n_behind;
} answers[] = {
	{ "200", CONF_CHECK_HTTP, "HTTP/1.1 200 OK\r\n\r\n", ANSWER_GOOD, 200, NULL, 0 },
	{ "299 and a body", CONF_CHECK_HTTP, "HTTP/1.1 299 x\r\n\r\nbody", ANSWER_GOOD, 299, NULL,
	  4 },
	{ "300", CONF_CHECK_HTTP, "HTTP/1.1 300 x\r\n\r\n", ANSWER_STATUS, 300, NULL, 0 },
	{ "101 to http", CONF_CHECK_HTTP, SWITCH "\r\n", ANSWER_STATUS, 101, NULL, 0 },
	{ "interim ones before it", CONF_CHECK_HTTP,
	  "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 204 x\r\n\r\n!",
	  ANSWER_GOOD, 204, NULL, 1 },
	{ "interim ones alone", CONF_CHECK_HTTP, "HTTP/1.1 100 Continue\r\n\r\n", ANSWER_MORE, 0,
	  NULL, 0 },
	{ "half a head", CONF_CHECK_HTTP, "HTTP/1.1 200 OK\r\nA", ANSWER_MORE, 0, NULL, 0 },
	{ "nothing", CONF_CHECK_WEBSOCKET, "", ANSWER_MORE, 0, NULL, 0 },
	{ "no HTTP", CONF_CHECK_HTTP, "SSH-2.0-x", ANSWER_WRONG, 0, "response", 0 },
	{ "HTTP/2's preface", CONF_CHECK_HTTP, "HTTP/2.0 200 OK\r\n\r\n", ANSWER_WRONG, 0,
	  "response", 0 },
	{ "a handshake", CONF_CHECK_WEBSOCKET, SWITCH ACCEPT "\r\n\x81", ANSWER_GOOD, 101, NULL,
	  1 },
	{ "a handshake without the key", CONF_CHECK_WEBSOCKET, SWITCH "\r\n", ANSWER_WRONG, 0,
	  "handshake", 0 },
	{ "a handshake with another key", CONF_CHECK_WEBSOCKET,
	  SWITCH "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n", ANSWER_WRONG, 0,
	  "handshake", 0 },
	{ "200 to websocket", CONF_CHECK_WEBSOCKET, "HTTP/1.1 200 OK\r\n\r\n", ANSWER_STATUS, 200,
	  NULL, 0 },
};

static struct answer feed(size_t row, size_t piece)
{
	struct check_spec spec = spec_of(answers[row].type);
	const char *bytes = answers[row].bytes;
	size_t n = strlen(bytes), at = 0;
	struct answer a;
	static struct question q;

	ck_assert_int_eq(question_init(&q, &spec, nonce), 0);
	do {
		size_t part = piece < n - at ? piece : n - at;
		a = question_feed(&q, (const uint8_t *)bytes + at, part);
		at += part;
	} while (a.kind == ANSWER_MORE && at < n);
	a.n_behind += n - at;
	return a;
}

/* All at once, and a byte at a time: the same answer. */
START_TEST(answers_are_judged)
{
	static const size_t pieces[] = { BUF_SMALL_BYTES, 1, 7 };

	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		struct answer a = feed((size_t)_i, pieces[i]);
		const char *name = answers[_i].name;

		ck_assert_msg(a.kind == answers[_i].kind, "%s: %d", name, (int)a.kind);
		if (a.kind == ANSWER_WRONG) {
			ck_assert_msg(strcmp(a.what, answers[_i].what) == 0, "%s", name);
			ck_assert_msg(a.why != NULL && a.why[0] != '\0', "%s", name);
			continue;
		}
		ck_assert_msg(a.status == answers[_i].status, "%s: %u", name, a.status);
		ck_assert_msg(a.n_behind == answers[_i].n_behind, "%s: %zu", name, a.n_behind);
		ck_assert_msg(a.is_tunnel == (a.status == 101 && a.kind == ANSWER_GOOD), "%s",
			      name);
	}
}
END_TEST

/* A head without an end is judged when it is too long, and never overflows the buffer. */
START_TEST(an_endless_head_is_wrong)
{
	struct check_spec spec = spec_of(CONF_CHECK_HTTP);
	static uint8_t more[BUF_SMALL_BYTES];
	static struct question q;
	struct answer a;
	size_t n = 0;

	ck_assert_int_eq(question_init(&q, &spec, nonce), 0);
	a = question_feed(&q, (const uint8_t *)"HTTP/1.1 200 OK\r\nA: ", 20);
	memset(more, 'x', sizeof(more));
	for (; a.kind == ANSWER_MORE; n += sizeof(more)) {
		ck_assert_uint_le(n, HTTP1_HEAD_MAX);
		a = question_feed(&q, more, sizeof(more));
	}
	ck_assert_int_eq(a.kind, ANSWER_WRONG);
	ck_assert_str_eq(a.what, "response");
}
END_TEST

START_TEST(a_close_frame_is_masked)
{
	static const uint8_t mask[4] = { 1, 2, 3, 4 };
	static const uint8_t want[] = { 0x88, 0x82, 1, 2, 3, 4, 0x03 ^ 1, 0xe8 ^ 2 };
	uint8_t frame[QUESTION_CLOSE_MAX];

	ck_assert_uint_eq(question_close_frame(mask, frame), sizeof(want));
	ck_assert_mem_eq(frame, want, sizeof(want));
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, requests_are_whole, 0, ARRAY_SIZE(requests));
	tcase_add_test(t, a_request_that_is_too_long_is_refused);
	tcase_add_loop_test(t, answers_are_judged, 0, ARRAY_SIZE(answers));
	tcase_add_test(t, an_endless_head_is_wrong);
	tcase_add_test(t, a_close_frame_is_masked);
}

int main(void)
{
	return run_suite("health/question", add_tests);
}
