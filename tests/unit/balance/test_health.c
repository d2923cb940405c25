/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <string.h>

#include "../suite.h"
#include "balance/health.h"

static const struct {
	const char *name;
	uint32_t rise, fall;
	const char *results;  /* '+' ok, '-' failed */
	const char *verdicts; /* after each: 'u' up, 'd' down; upper case where it is new */
} runs[] = {
	{ "the first success decides", 3, 3, "+", "U" },
	{ "the first failure decides", 3, 3, "-", "D" },
	{ "fall in a row", 2, 3, "+---", "UuuD" },
	{ "a success between starts the count anew", 2, 3, "+--+--+", "Uuuuuuu" },
	{ "rise in a row", 2, 3, "-++", "DdU" },
	{ "a failure between starts the count anew", 2, 3, "-+-+-++", "DdddddU" },
	{ "1 and 1 follow at once", 1, 1, "+-+-", "UDUD" },
};

START_TEST(verdicts_follow_rise_and_fall)
{
	struct health h;

	health_init(&h, runs[_i].rise, runs[_i].fall);
	ck_assert(!h.is_known);
	for (size_t i = 0; runs[_i].results[i] != '\0'; i++) {
		bool is_new = health_result(&h, runs[_i].results[i] == '+');
		char got = h.is_up ? (is_new ? 'U' : 'u') : (is_new ? 'D' : 'd');
		ck_assert_msg(got == runs[_i].verdicts[i], "%s, result %zu: %c", runs[_i].name, i,
			      got);
	}
}
END_TEST

START_TEST(new_thresholds_keep_the_verdict)
{
	struct health h;

	health_init(&h, 2, 3);
	(void)health_result(&h, true);
	health_configure(&h, 2, 1);
	ck_assert(h.is_known && h.is_up);
	ck_assert(health_result(&h, false));
	ck_assert(!h.is_up);
}
END_TEST

START_TEST(first_checks_are_spread)
{
	uint64_t last = 0;

	ck_assert_uint_eq(health_first_delay_ms(0, 10, 2000), 0);
	for (size_t i = 1; i < 10; i++) {
		uint64_t d = health_first_delay_ms(i, 10, 2000);
		ck_assert_uint_gt(d, last);
		ck_assert_uint_lt(d, 2000);
		last = d;
	}
	ck_assert_uint_eq(health_first_delay_ms(0, 0, 2000), 0);
	/* Within a short interval; and at most one a millisecond where there are many. */
	ck_assert_uint_lt(health_first_delay_ms(9, 10, 100), 100);
	ck_assert_uint_eq(health_first_delay_ms(4999, 5000, 60000), 4999);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, verdicts_follow_rise_and_fall, 0, sizeof(runs) / sizeof(runs[0]));
	tcase_add_test(t, new_thresholds_keep_the_verdict);
	tcase_add_test(t, first_checks_are_spread);
}

int main(void)
{
	return run_suite("balance/health", add_tests);
}
