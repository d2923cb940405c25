/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "admin/format.h"
#include "daemon/running_lb.h"

static struct addr addr_of(const char *text)
{
	struct addr a;

	ck_assert_int_eq(addr_parse(slice_of(text), &a), 0);
	return a;
}

/* An answer of a real snapshot, with names that look like keys. */
static struct running_lb read_status(const char *http)
{
	static struct status_listener listeners[] = {
		{ .name = "l\",\"bind\":\"9.9.9.9:9", .bind = "127.0.0.1:8080" },
		{ .name = "m", .bind = "[::1]:8443" },
		{ .name = "\"admin_http\":\"9.9.9.9:9\"", .bind = "0.0.0.0:7000" },
	};
	struct status st = {
		.version = "1",
		.engine = "epoll",
		.tables = "own",
		.pid = 4711,
		.connections = { .forecast_by = "" },
		.http = http,
		.n_listeners = ARRAY_SIZE(listeners),
		.listeners = listeners,
	};
	struct running_lb r = RUNNING_LB_INIT;
	struct json j = JSON_INIT;

	format_status_json(&st, &j);
	ck_assert(json_is_ok(&j));
	ck_assert_int_eq(running_lb_read(text_slice(&j.out), &r), 0);
	json_deinit(&j);
	return r;
}

static const struct {
	const char *addr;
	bool has;           /* one of its listeners is just there */
	const char *in_way; /* NULL: it may be bound */
} rows[] = {
	{ "127.0.0.1:8080", true, "127.0.0.1:8080" },
	{ "0.0.0.0:8080", false, "127.0.0.1:8080" },
	{ "127.0.0.2:8080", false, NULL },
	{ "[::]:8080", false, NULL },
	{ "[::1]:8443", true, "[::1]:8443" },
	{ "[::]:8443", false, "[::1]:8443" },
	{ "1.2.3.4:7000", false, "0.0.0.0:7000" },
	{ "127.0.0.1:9901", false, "127.0.0.1:9901" },
	{ "9.9.9.9:9", false, NULL },
};

START_TEST(its_addresses_are_known)
{
	struct running_lb r = read_status("127.0.0.1:9901");
	struct addr a = addr_of(rows[_i].addr);
	char text[ADDR_TEXT_MAX];

	ck_assert_int_eq(r.pid, 4711);
	ck_assert_uint_eq(r.n, 3);
	ck_assert_msg(running_lb_has(&r, &a) == rows[_i].has, "%s", rows[_i].addr);
	const struct addr *in_way = running_lb_in_way(&r, &a);
	ck_assert_msg((in_way != NULL) == (rows[_i].in_way != NULL), "%s", rows[_i].addr);
	if (in_way != NULL)
		ck_assert_str_eq(addr_format(in_way, text), rows[_i].in_way);
	running_lb_deinit(&r);
}
END_TEST

START_TEST(it_may_have_no_http)
{
	struct running_lb r = read_status(NULL);
	struct addr a = addr_of("127.0.0.1:9901");

	ck_assert(!r.has_http);
	ck_assert_ptr_null(running_lb_in_way(&r, &a));
	running_lb_deinit(&r);
}
END_TEST

static const char *const others[] = {
	"",
	"hello\n",
	"error: unknown command\n\n",
	"{\"version\":\"1\"}",
	"{\"version\":\"1\",\"pid\":0}",
	"{\"version\":\"1\",\"pid\":x}",
	"{\"pid\":1,\"version\":\"1\"}",
};

START_TEST(others_are_no_lb)
{
	struct running_lb r = RUNNING_LB_INIT;

	ck_assert_msg(running_lb_read(slice_of(others[_i]), &r) == -EPROTO, "%s", others[_i]);
	ck_assert_int_eq(r.pid, 0);
	ck_assert_ptr_null(r.listeners);
}
END_TEST

START_TEST(nobody_is_asked_in_vain)
{
	struct running_lb r = RUNNING_LB_INIT;
	char longest[200];

	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	ck_assert_int_eq(running_lb_ask(longest, &r), -ENAMETOOLONG);
	ck_assert_int_eq(running_lb_ask("/nonexistent/s", &r), -ENOENT);
	ck_assert_int_eq(r.pid, 0);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, its_addresses_are_known, 0, ARRAY_SIZE(rows));
	tcase_add_test(t, it_may_have_no_http);
	tcase_add_loop_test(t, others_are_no_lb, 0, ARRAY_SIZE(others));
	tcase_add_test(t, nobody_is_asked_in_vain);
}

int main(void)
{
	return run_suite("daemon/running_lb", add_tests);
}
