/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <string.h>

#include "../suite.h"
#include "util/log.h"

static struct {
	unsigned n;
	enum log_level level;
	char line[LOG_LINE_MAX + 1];
	size_t len;
} seen;

static void sink(void *arg, enum log_level level, const char *line, size_t n)
{
	ck_assert_ptr_eq(arg, &seen);
	ck_assert_uint_le(n, LOG_LINE_MAX);
	seen.n++;
	seen.level = level;
	memcpy(seen.line, line, n);
	seen.line[n] = '\0';
	seen.len = n;
}

START_TEST(levels_above_are_silent)
{
	struct log l = { .max = LOG_LEVEL_NOTICE, .sink = sink, .arg = &seen };

	log_info(&l, "no");
	log_debug(&l, "no");
	ck_assert_uint_eq(seen.n, 0);
	log_notice(&l, "loaded n=%d", 3);
	ck_assert_uint_eq(seen.n, 1);
	ck_assert_int_eq(seen.level, LOG_LEVEL_NOTICE);
	ck_assert_str_eq(seen.line, "loaded n=3");
	log_err(&l, "bad");
	ck_assert_uint_eq(seen.n, 2);
	ck_assert_int_eq(seen.level, LOG_LEVEL_ERR);
}
END_TEST

START_TEST(no_sink_is_off)
{
	struct log l = { .max = LOG_LEVEL_DEBUG };

	ck_assert(!log_is_on(&l, LOG_LEVEL_ERR));
	log_err(&l, "nobody reads this");
	ck_assert_uint_eq(seen.n, 0);
}
END_TEST

START_TEST(long_line_is_cut)
{
	struct log l = { .max = LOG_LEVEL_DEBUG, .sink = sink, .arg = &seen };

	log_debug(&l, "%*s", 3 * LOG_LINE_MAX, "end");
	ck_assert_uint_eq(seen.n, 1);
	ck_assert_uint_eq(seen.len, LOG_LINE_MAX - 1);
}
END_TEST

START_TEST(names)
{
	ck_assert_str_eq(log_level_name(LOG_LEVEL_ERR), "err");
	ck_assert_str_eq(log_level_name(LOG_LEVEL_WARN), "warn");
	ck_assert_str_eq(log_level_name(LOG_LEVEL_NOTICE), "notice");
	ck_assert_str_eq(log_level_name(LOG_LEVEL_INFO), "info");
	ck_assert_str_eq(log_level_name(LOG_LEVEL_DEBUG), "debug");
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, levels_above_are_silent);
	tcase_add_test(t, no_sink_is_off);
	tcase_add_test(t, long_line_is_cut);
	tcase_add_test(t, names);
}

int main(void)
{
	return run_suite("util/log", add_tests);
}
