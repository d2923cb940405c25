/* SPDX-License-Identifier: Apache-2.0 */
#include "../suite.h"
#include "proto/http1.h"

#include <check.h>

static const char text[] = "GET /p?a=1&ab=2&c&=x&d=&a=3&e=%31=? HTTP/1.1\r\n"
			   "Host: h\r\n"
			   "X-One: first\r\n"
			   "Cookie: sid=s1; other=o\r\n"
			   "x-one: second\r\n"
			   "Connection: keep-alive, , Upgrade ,\tx\r\n"
			   "Cookie:  quoted=\"q\" ;late=l;sid=s2;bare;empty=;two=a=b\r\n"
			   "Connection: close\r\n"
			   "\r\n";
static const uint8_t *const buf = (const uint8_t *)text;
static struct http1_head head;

static void setup(void)
{
	http1_init_request(&head);
	ck_assert_int_eq(http1_parse(&head, buf, sizeof(text) - 1), HTTP1_OK);
}

static const struct {
	const char *name, *value; /* NULL: there is none */
} params[] = {
	{ "a", "1" },       { "ab", "2" }, { "c", "" },  { "d", "" },
	{ "e", "%31=?" },   { "b", NULL }, { "A", NULL }, { "a=1", NULL },
}, cookies[] = {
	{ "sid", "s1" },    { "other", "o" }, { "quoted", "\"q\"" }, { "late", "l" },
	{ "empty", "" },    { "two", "a=b" }, { "bare", NULL },      { "SID", NULL },
	{ "si", NULL },
};

static void assert_found(const char *name, bool is_found, struct slice got, const char *want)
{
	ck_assert_msg(is_found == (want != NULL), "%s", name);
	if (is_found)
		ck_assert_msg(slice_eq(got, slice_of(want)), "%s: " SLICE_FMT, name,
			      SLICE_ARG(got));
}

START_TEST(parameter_is_found)
{
	struct slice got = { 0 };
	bool is_found = http1_query(&head, buf, slice_of(params[_i].name), &got);

	assert_found(params[_i].name, is_found, got, params[_i].value);
}
END_TEST

START_TEST(cookie_is_found)
{
	struct slice got = { 0 };
	bool is_found = http1_cookie(&head, buf, slice_of(cookies[_i].name), &got);

	assert_found(cookies[_i].name, is_found, got, cookies[_i].value);
}
END_TEST

START_TEST(every_line_of_a_field_is_found)
{
	size_t iter = 0;
	struct slice value;

	ck_assert(http1_field(&head, buf, SLICE("X-ONE"), &iter, &value));
	ck_assert(slice_eq(value, SLICE("first")));
	ck_assert(http1_field(&head, buf, SLICE("X-ONE"), &iter, &value));
	ck_assert(slice_eq(value, SLICE("second")));
	ck_assert(!http1_field(&head, buf, SLICE("X-ONE"), &iter, &value));

	iter = 0;
	ck_assert(!http1_field(&head, buf, SLICE("X-On"), &iter, &value));
}
END_TEST

START_TEST(known_field_is_found)
{
	size_t iter = 0;
	struct slice value;

	ck_assert(http1_known_field(&head, buf, HTTP1_FIELD_HOST, &iter, &value));
	ck_assert(slice_eq(value, SLICE("h")));
	ck_assert(!http1_known_field(&head, buf, HTTP1_FIELD_HOST, &iter, &value));
}
END_TEST

START_TEST(list_is_walked)
{
	struct slice list = SLICE(" , a ,\t,b c,,d,"), element;

	ck_assert(http1_next_token(&list, &element) && slice_eq(element, SLICE("a")));
	ck_assert(http1_next_token(&list, &element) && slice_eq(element, SLICE("b c")));
	ck_assert(http1_next_token(&list, &element) && slice_eq(element, SLICE("d")));
	ck_assert(!http1_next_token(&list, &element));
	ck_assert(slice_eq(element, SLICE("d")));
}
END_TEST

START_TEST(token_is_found_in_any_line)
{
	ck_assert(http1_has_token(&head, buf, HTTP1_FIELD_CONNECTION, SLICE("upgrade")));
	ck_assert(http1_has_token(&head, buf, HTTP1_FIELD_CONNECTION, SLICE("X")));
	ck_assert(http1_has_token(&head, buf, HTTP1_FIELD_CONNECTION, SLICE("close")));
	ck_assert(!http1_has_token(&head, buf, HTTP1_FIELD_CONNECTION, SLICE("keep")));
	ck_assert(!http1_has_token(&head, buf, HTTP1_FIELD_UPGRADE, SLICE("x")));
}
END_TEST

START_TEST(underscores_are_found_and_dropped)
{
	static const char request[] =
		"GET / HTTP/1.1\r\nX_A: 1\r\nHost: h\r\n_: 2\r\nB: x_y\r\nx_a: 3\r\n\r\n";
	const uint8_t *p = (const uint8_t *)request;
	struct http1_head h;
	struct slice value;
	size_t iter = 0;

	http1_init_request(&h);
	ck_assert_int_eq(http1_parse(&h, p, sizeof(request) - 1), HTTP1_OK);
	ck_assert(http1_has_underscore(&h, p));
	http1_drop_underscores(&h, p);
	ck_assert(!http1_has_underscore(&h, p));
	ck_assert_uint_eq(h.n_fields, 2);
	ck_assert(!http1_field(&h, p, SLICE("x_a"), &iter, &value));
	iter = 0;
	ck_assert(http1_field(&h, p, SLICE("b"), &iter, &value));
	ck_assert(slice_eq(value, SLICE("x_y")));
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_checked_fixture(t, setup, NULL);
	tcase_add_test(t, underscores_are_found_and_dropped);
	tcase_add_loop_test(t, parameter_is_found, 0, sizeof(params) / sizeof(params[0]));
	tcase_add_loop_test(t, cookie_is_found, 0, sizeof(cookies) / sizeof(cookies[0]));
	tcase_add_test(t, every_line_of_a_field_is_found);
	tcase_add_test(t, known_field_is_found);
	tcase_add_test(t, list_is_walked);
	tcase_add_test(t, token_is_found_in_any_line);
}

int main(void)
{
	return run_suite("proto/http1_lookup", add_tests);
}
