/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <string.h>

#include "../suite.h"
#include "health/verdict.h"

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
	struct verdict v;

	verdict_init(&v, runs[_i].rise, runs[_i].fall);
	ck_assert(!v.is_known);
	for (size_t i = 0; runs[_i].results[i] != '\0'; i++) {
		bool is_new = verdict_add(&v, runs[_i].results[i] == '+');
		char got = v.is_up ? (is_new ? 'U' : 'u') : (is_new ? 'D' : 'd');
		ck_assert_msg(got == runs[_i].verdicts[i], "%s, result %zu: %c", runs[_i].name, i,
			      got);
	}
}
END_TEST

START_TEST(new_thresholds_keep_the_verdict)
{
	struct verdict v;

	verdict_init(&v, 2, 3);
	ck_assert(verdict_add(&v, true));
	verdict_configure(&v, 2, 1);
	ck_assert(v.is_known && v.is_up);
	ck_assert(verdict_add(&v, false));
	ck_assert(!v.is_up);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, verdicts_follow_rise_and_fall, 0, sizeof(runs) / sizeof(runs[0]));
	tcase_add_test(t, new_thresholds_keep_the_verdict);
}

int main(void)
{
	return run_suite("health/verdict", add_tests);
}
