/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "../suite.h"
#include "util/assert.h"
#include "util/err.h"

static const struct {
	const char *name;
	struct mark at;
	const char *want;
} places[] = {
	{ "line and column", { "lb.yaml", 3, 12 }, "lb.yaml:3:12: bad 7" },
	{ "a whole line", { "lb.yaml", 3, 0 }, "lb.yaml:3: bad 7" },
	{ "a whole file", { "lb.yaml", 0, 0 }, "lb.yaml: bad 7" },
	{ "no place", { NULL, 0, 0 }, "bad 7" },
};

START_TEST(place_is_written)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	char scratch[64];

	ck_assert_int_eq(err_at(&e, places[_i].at, "bad %d", 7), -EINVAL);
	ck_assert_uint_eq(err_n_lines(&e), 1);
	ck_assert_msg(strcmp(err_line(&e, 0, scratch, sizeof(scratch)), places[_i].want) == 0,
		      "%s: %s", places[_i].name, e.item[0].text);
}
END_TEST

START_TEST(errno_is_passed_on)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;

	ck_assert_int_eq(err_add(&e, -EADDRINUSE, "bind %s", "x"), -EADDRINUSE);
	ck_assert_str_eq(e.item[0].text, "bind x");
}
END_TEST

START_TEST(long_text_is_cut)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	char path[2 * ERR_TEXT_MAX];

	memset(path, 'p', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	(void)err_at(&e, (struct mark){ path, 1, 1 }, "bad");
	(void)err_add(&e, -EIO, "%s", path);
	ck_assert_uint_eq(strlen(e.item[0].text), ERR_TEXT_MAX - 1);
	ck_assert_uint_eq(strlen(e.item[1].text), ERR_TEXT_MAX - 1);
}
END_TEST

START_TEST(too_many_are_counted)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	char scratch[64];

	for (int i = 0; i < ERR_KEPT_MAX + 3; i++)
		ck_assert_int_eq(err_add(&e, -EIO, "no %d", i), -EIO);
	ck_assert_uint_eq(e.n, ERR_KEPT_MAX + 3);
	ck_assert_uint_eq(err_n_lines(&e), ERR_KEPT_MAX + 1);
	ck_assert_str_eq(err_line(&e, ERR_KEPT_MAX - 1, scratch, sizeof(scratch)), "no 199");
	ck_assert_str_eq(err_line(&e, ERR_KEPT_MAX, scratch, sizeof(scratch)), "and 3 more");
}
END_TEST

/* A warning is a line of its own, does not count as an error, and has the length of its place. */
START_TEST(warnings_are_counted_apart)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	char scratch[64];

	err_warn_at(&e, (struct mark){ "f", 2, 1 }, "odd %d", 7);
	(void)err_at(&e, (struct mark){ "f", 1, 1 }, "bad");
	ck_assert_uint_eq(e.n, 1);
	ck_assert_uint_eq(e.n_warnings, 1);
	err_sort(&e);
	ck_assert(!e.item[0].is_warning);
	ck_assert(e.item[1].is_warning);
	ck_assert_str_eq(err_line(&e, 1, scratch, sizeof(scratch)), "f:2:1: odd 7");
	ck_assert_str_eq(e.item[1].text + e.item[1].place_len, "odd 7");
	for (int i = 0; i < ERR_KEPT_MAX; i++)
		err_warn_at(&e, (struct mark){ "f", 3, 1 }, "odd");
	ck_assert_uint_eq(err_n_lines(&e), ERR_KEPT_MAX + 1);
	ck_assert_str_eq(err_line(&e, ERR_KEPT_MAX, scratch, sizeof(scratch)), "and 2 more");
}
END_TEST

START_TEST(sorted_by_place)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;

	(void)err_at(&e, (struct mark){ "f", 9, 1 }, "d");
	(void)err_at(&e, (struct mark){ "f", 2, 7 }, "c");
	(void)err_at(&e, (struct mark){ "f", 2, 3 }, "b");
	(void)err_add(&e, -EIO, "a");
	err_sort(&e);
	ck_assert_str_eq(e.item[0].text, "a");
	ck_assert_str_eq(e.item[1].text, "f:2:3: b");
	ck_assert_str_eq(e.item[2].text, "f:2:7: c");
	ck_assert_str_eq(e.item[3].text, "f:9:1: d");
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, place_is_written, 0, ARRAY_SIZE(places));
	tcase_add_test(t, errno_is_passed_on);
	tcase_add_test(t, long_text_is_cut);
	tcase_add_test(t, too_many_are_counted);
	tcase_add_test(t, warnings_are_counted_apart);
	tcase_add_test(t, sorted_by_place);
}

int main(void)
{
	return run_suite("util/err", add_tests);
}
