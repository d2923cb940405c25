/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>

#include "../suite.h"
#include "health/schedule.h"

START_TEST(first_checks_are_spread)
{
	uint64_t last = 0;

	ck_assert_uint_eq(schedule_first_delay_ms(0, 10, 2000), 0);
	for (size_t i = 1; i < 10; i++) {
		uint64_t d = schedule_first_delay_ms(i, 10, 2000);
		ck_assert_uint_gt(d, last);
		ck_assert_uint_lt(d, 2000);
		last = d;
	}
	/* Within a short interval; and at most one a millisecond where there are many. */
	ck_assert_uint_lt(schedule_first_delay_ms(9, 10, 100), 100);
	ck_assert_uint_eq(schedule_first_delay_ms(4999, 5000, 60000), 4999);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, first_checks_are_spread);
}

int main(void)
{
	return run_suite("health/schedule", add_tests);
}
