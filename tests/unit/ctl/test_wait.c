/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>

#include "../suite.h"
#include "ctl/wait.h"

static const struct {
	const char *name;
	uint64_t counts[40];
	size_t n;
	const char *want;
} lines[] = {
	{ "the first count says no rate", { 17 }, 1, "p/b: 17 connections left" },
	{ "one is no plural", { 1 }, 1, "p/b: 1 connection left" },
	{ "none", { 3, 0 }, 2, "p/b: 0 connections left" },
	{ "as fast as it went",
	  { 100, 90, 80 },
	  3,
	  "p/b: 80 connections left, 10.0 end per second, over in about 8s" },
	{ "slower than one a second",
	  { 1000, 1000, 1000, 1000, 999 },
	  5,
	  "p/b: 999 connections left, 0.2 end per second, over in about 1h6m" },
	{ "it stands still", { 5, 5, 5 }, 3, "p/b: 5 connections left, none ended in the last 2s" },
	{ "more than before", { 5, 6 }, 2, "p/b: 6 connections left, none ended in the last 1s" },
	{ "only the last 30 counts",
	  { 90000, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50,
	    50,    50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 50, 21 },
	  31,
	  "p/b: 21 connections left, 1.0 end per second, over in about 21s" },
};

START_TEST(it_says_how_it_goes)
{
	_cleanup_(text_deinit) struct text out = TEXT_INIT;
	struct wait_rate r = { 0 };

	for (size_t i = 0; i < lines[_i].n; i++)
		wait_rate_add(&r, lines[_i].counts[i]);
	wait_describe(&r, "p/b", &out);
	ck_assert_msg(strcmp(out.p, lines[_i].want) == 0, "%s: %s", lines[_i].name, out.p);
}
END_TEST

static const struct {
	const char *answer;
	int result;
	uint64_t left;
	bool is_draining;
} answers[] = {
	{ "{\"ok\":true,\"state\":\"draining\",\"active\":17}\n\n", 0, 17, true },
	{ "{\"ok\":true,\"state\":\"maint\",\"active\":0}\n\n", 0, 0, true },
	{ "{\"ok\":true,\"state\":\"up\",\"active\":17}\n\n", 0, 17, false },
	{ "error: unknown pool \"p\"\n\n", -EINVAL, 7, false },
	{ "{\"ok\":true,\"state\":\"draining\",\"active\":}\n\n", -EINVAL, 7, true },
	{ "", -EINVAL, 7, false },
};

START_TEST(answers_are_read)
{
	uint64_t left = 7;
	bool is_draining = false;

	ck_assert_int_eq(wait_parse(slice_of(answers[_i].answer), &left, &is_draining),
			 answers[_i].result);
	ck_assert_uint_eq(left, answers[_i].left);
	ck_assert_int_eq(is_draining, answers[_i].is_draining);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, it_says_how_it_goes, 0, ARRAY_SIZE(lines));
	tcase_add_loop_test(t, answers_are_read, 0, ARRAY_SIZE(answers));
}

int main(void)
{
	return run_suite("ctl/wait", add_tests);
}
