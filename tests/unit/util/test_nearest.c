/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>

#include "../suite.h"
#include "util/assert.h"
#include "util/nearest.h"

static const char *const words[] = { "timeouts", "bind", "pool", "pools", "least_connections" };

static const struct {
	const char *name, *to, *want;
} rows[] = {
	{ "two letters are missing", "timout", ", did you mean \"timeouts\"?" },
	{ "a swap in four letters", "bnid", ", did you mean \"bind\"?" },
	{ "one letter less", "bin", ", did you mean \"bind\"?" },
	{ "the first of two", "pooll", ", did you mean \"pool\"?" },
	{ "nothing near", "color", "" },
	{ "empty", "", "" },
	{ "a long one", "leastconnection", ", did you mean \"least_connections\"?" },
};

START_TEST(hint)
{
	char out[NEAREST_TEXT_MAX];
	struct nearest n;

	nearest_init(&n, slice_of(rows[_i].to));
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		nearest_try(&n, slice_of(words[i]));
	ck_assert_msg(strcmp(nearest_hint(&n, out), rows[_i].want) == 0, "%s: %s", rows[_i].name,
		      out);
}
END_TEST

START_TEST(no_words)
{
	char out[NEAREST_TEXT_MAX];
	struct nearest n;

	nearest_init(&n, SLICE("x"));
	ck_assert_uint_eq(nearest_word(&n).n, 0);
	ck_assert_str_eq(nearest_hint(&n, out), "");
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, hint, 0, ARRAY_SIZE(rows));
	tcase_add_test(t, no_words);
}

int main(void)
{
	return run_suite("util/nearest", add_tests);
}
