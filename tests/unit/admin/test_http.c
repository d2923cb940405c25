/* SPDX-License-Identifier: Apache-2.0 */
#include "../suite.h"
#include "fake.h"

#include "admin/http.h"

static struct text out;

static void setup(void)
{
	fake = (struct fake){ 0 };
}

static void teardown(void)
{
	text_deinit(&out);
}

static void ask(const char *request)
{
	struct http1_head head;
	const uint8_t *buf = (const uint8_t *)request;

	http1_init_request(&head);
	enum http1_verdict v = http1_parse(&head, buf, strlen(request));
	http_answer(&fake_ops, &fake, v, &head, buf, &out);
}

/* The answer behind its head. */
static const char *body(void)
{
	const char *end = strstr(out.p, "\r\n\r\n");

	ck_assert_ptr_nonnull(end);
	return end + 4;
}

static bool has_field(const char *field)
{
	const char *p = strstr(out.p, field);

	return p != NULL && p < body() && p[-1] == '\n' && p[strlen(field)] == '\r';
}

#define HOST " HTTP/1.1\r\nHost: x\r\n\r\n"

static const struct {
	const char *request, *status, *type, *body; /* the body's beginning */
} rows[] = {
	{ "GET /healthz" HOST, "200 OK", "text/plain; charset=utf-8", "ok\n" },
	{ "GET /healthz?x=1" HOST, "200 OK", "text/plain; charset=utf-8", "ok\n" },
	{ "GET /healthz HTTP/1.0\r\n\r\n", "200 OK", "text/plain; charset=utf-8", "ok\n" },
	{ "GET /stats" HOST, "200 OK", "application/json", "{\"version\":\"1.2.3\"," },
	{ "GET /metrics" HOST, "200 OK", "text/plain; version=0.0.4; charset=utf-8",
	  "# HELP lb_info " },
	/* Whatever name it was asked by. */
	{ "GET /stats HTTP/1.1\r\nHost: attacker.example:8080\r\n\r\n", "200 OK",
	  "application/json", "{\"version\":\"1.2.3\"," },
	{ "GET http://attacker.example/stats HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "200 OK",
	  "application/json", "{\"version\":\"1.2.3\"," },
	{ "GET /" HOST, "404 Not Found", "text/plain; charset=utf-8", "try /healthz" },
	{ "GET /healthz/" HOST, "404 Not Found", "text/plain; charset=utf-8", "try /healthz" },
	{ "GET /Stats" HOST, "404 Not Found", "text/plain; charset=utf-8", "try /healthz" },
	{ "POST /stats" HOST, "405 Method Not Allowed", "text/plain; charset=utf-8", "only GET" },
	{ "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "405 Method Not Allowed",
	  "text/plain; charset=utf-8", "only GET" },
	{ "CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n", "405 Method Not Allowed",
	  "text/plain; charset=utf-8", "only GET" },
	{ "GET /stats HTTP/1.1\r\n\r\n", "400 Bad Request", "text/plain; charset=utf-8", "not a" },
	{ "GET /stats HTTP/2.0\r\n\r\n", "505 HTTP Version Not Supported",
	  "text/plain; charset=utf-8", "HTTP/1.1 only" },
	{ "GET /stats HTTP/1.1\r\nHost: never ends", "431 Request Header Fields Too Large",
	  "text/plain; charset=utf-8", "the request's head is too large" },
};

START_TEST(requests_are_answered)
{
	char line[100];

	ask(rows[_i].request);
	snprintf(line, sizeof(line), "HTTP/1.1 %s\r\n", rows[_i].status);
	ck_assert_msg(strncmp(out.p, line, strlen(line)) == 0, "%s: %s", rows[_i].request, out.p);
	snprintf(line, sizeof(line), "Content-Type: %s", rows[_i].type);
	ck_assert_msg(has_field(line), "%s: %s", rows[_i].request, out.p);
	snprintf(line, sizeof(line), "Content-Length: %zu", strlen(body()));
	ck_assert_msg(has_field(line), "%s: %s", rows[_i].request, out.p);
	ck_assert(has_field("Connection: close"));
	ck_assert(has_field("Cache-Control: no-store"));
	ck_assert_int_eq(has_field("Allow: GET, HEAD"), strncmp(rows[_i].status, "405", 3) == 0);
	ck_assert(strncmp(body(), rows[_i].body, strlen(rows[_i].body)) == 0);
	ck_assert_int_eq(body()[strlen(body()) - 1], '\n');
}
END_TEST

START_TEST(stopping_is_503)
{
	fake.is_stopping = true;
	ask("GET /healthz" HOST);
	ck_assert(strncmp(out.p, "HTTP/1.1 503 Service Unavailable\r\n", 34) == 0);
	ck_assert_str_eq(body(), "stopping\n");
}
END_TEST

/* HEAD is the head of GET, its length too. */
START_TEST(head_has_no_body)
{
	static const char *const paths[] = { "/healthz", "/stats", "/metrics", "/none" };

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		char request[64];

		snprintf(request, sizeof(request), "GET %s" HOST, paths[i]);
		ask(request);
		char *want = strndup(out.p, (size_t)(body() - out.p));
		text_clear(&out);
		snprintf(request, sizeof(request), "HEAD %s" HOST, paths[i]);
		ask(request);
		ck_assert_str_eq(out.p, want);
		free(want);
		text_clear(&out);
	}
}
END_TEST

START_TEST(memory_may_be_short)
{
	fake.status_error = -ENOMEM;
	ask("GET /metrics" HOST);
	ck_assert(strncmp(out.p, "HTTP/1.1 503 ", 13) == 0);
	ck_assert_str_eq(body(), "out of memory\n");
}
END_TEST

START_TEST(figures_end_with_the_workers)
{
	fake.status_error = -ESHUTDOWN;
	ask("GET /metrics" HOST);
	ck_assert(strncmp(out.p, "HTTP/1.1 503 ", 13) == 0);
	ck_assert_str_eq(body(), "stopping\n");
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, requests_are_answered, 0, ARRAY_SIZE(rows));
	tcase_add_test(t, stopping_is_503);
	tcase_add_test(t, head_has_no_body);
	tcase_add_test(t, memory_may_be_short);
	tcase_add_test(t, figures_end_with_the_workers);
}

int main(void)
{
	return run_suite("admin/http", add_tests);
}
