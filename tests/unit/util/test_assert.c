/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>

#include "../suite.h"
#include "util/assert.h"

START_TEST(true_does_nothing)
{
	int n = 0;

	LB_ASSERT(++n == 1);
	ck_assert_int_eq(n, 1); /* evaluated once */
}
END_TEST

START_TEST(false_aborts)
{
	volatile int one = 1;

	LB_ASSERT(one == 2);
}
END_TEST

START_TEST(take_ptr_leaves_null)
{
	int x = 7;
	int *p = &x;
	int *q = take_ptr(p);

	ck_assert_ptr_eq(q, &x);
	ck_assert_ptr_null(p);
}
END_TEST

START_TEST(container_is_found)
{
	struct pair {
		uint8_t a;
		uint64_t b;
	} pair;

	ck_assert_ptr_eq(container_of(&pair.a, struct pair, a), &pair);
	ck_assert_ptr_eq(container_of(&pair.b, struct pair, b), &pair);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, true_does_nothing);
	tcase_add_test_raise_signal(t, false_aborts, SIGABRT);
	tcase_add_test(t, take_ptr_leaves_null);
	tcase_add_test(t, container_is_found);
}

int main(void)
{
	return run_suite("util/assert", add_tests);
}
