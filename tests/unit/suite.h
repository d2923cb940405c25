/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What every unit test shares: the main() of a test program, and the number of open descriptors.
 *
 *	static void add_tests(TCase *t)
 *	{
 *		tcase_add_test(t, a_thing_is_made);
 *	}
 *
 *	int main(void)
 *	{
 *		return run_suite("folder/file", add_tests);
 *	}
 */

#include <check.h>
#include <dirent.h>

/* Seconds a test may take. add_tests() sets another limit by tcase_set_timeout(). */
#define TEST_SECONDS 20

/* Runs the tests that `add_tests` adds, each in a process of its own; the exit status of main(). */
static inline int run_suite(const char *name, void (*add_tests)(TCase *t))
{
	Suite *s = suite_create(name);
	TCase *t = tcase_create(name);

	tcase_set_timeout(t, TEST_SECONDS);
	add_tests(t);
	suite_add_tcase(s, t);

	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int n_failed = srunner_ntests_failed(r);
	srunner_free(r);
	return n_failed > 0;
}

/* Entries of this process's descriptor table; the one that counts them and two dots included. */
static inline int n_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d) != NULL)
		n++;
	(void)closedir(d);
	return n;
}
