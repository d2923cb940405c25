/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdint.h>
#include <string.h>

#include "../suite.h"
#include "util/assert.h"
#include "util/text.h"

START_TEST(additions_follow_each_other)
{
	_cleanup_(text_deinit) struct text t = TEXT_INIT;

	ck_assert_uint_eq(text_slice(&t).n, 0);
	text_add(&t, SLICE("ab"));
	text_addf(&t, "%d-%s", 7, "x");
	text_pad(&t, '.', 3);
	text_pad(&t, '.', 0);
	text_add(&t, (struct slice){ 0 });
	ck_assert_str_eq(t.p, "ab7-x...");
	ck_assert_uint_eq(t.n, 8);
	ck_assert(!t.failed);
}
END_TEST

START_TEST(grows_at_any_length)
{
	_cleanup_(text_deinit) struct text t = TEXT_INIT;

	for (size_t i = 0; i < 3000; i++) {
		text_addf(&t, "%c", (int)('a' + i % 26));
		ck_assert_uint_eq(t.n, i + 1);
		ck_assert_uint_gt(t.cap, t.n);
		ck_assert_uint_eq(strlen(t.p), t.n);
	}
	for (size_t i = 0; i < 3000; i++)
		ck_assert_int_eq(t.p[i], (int)('a' + i % 26));
}
END_TEST

START_TEST(nul_is_a_byte)
{
	_cleanup_(text_deinit) struct text t = TEXT_INIT;

	text_add(&t, SLICE("a\0b"));
	ck_assert_uint_eq(t.n, 3);
	ck_assert_mem_eq(t.p, "a\0b", 4);
}
END_TEST

/* When an allocation fails, the text remembers that, and its bytes stay. */
START_TEST(failure_is_kept)
{
	_cleanup_(text_deinit) struct text t = TEXT_INIT;

	text_add(&t, SLICE("whole"));
	text_pad(&t, ' ', SIZE_MAX / 2);
	ck_assert(t.failed);
	text_add(&t, SLICE("more"));
	ck_assert_str_eq(t.p, "whole");
	text_clear(&t);
	ck_assert(!t.failed);
	text_add(&t, SLICE("more"));
	ck_assert_str_eq(t.p, "more");
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, additions_follow_each_other);
	tcase_add_test(t, grows_at_any_length);
	tcase_add_test(t, nul_is_a_byte);
	tcase_add_test(t, failure_is_kept);
}

int main(void)
{
	return run_suite("util/text", add_tests);
}
