/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "proxy/names.h"

START_TEST(a_name_is_kept_once)
{
	struct names *n = names_new();
	char text[] = "chat";
	const char *kept = names_intern(n, text);

	ck_assert_str_eq(kept, "chat");
	ck_assert_ptr_ne(kept, text);
	text[0] = 'X'; /* the caller's is the caller's */
	ck_assert_str_eq(kept, "chat");
	ck_assert_ptr_eq(names_intern(n, "chat"), kept);
	ck_assert_ptr_ne(names_intern(n, text), kept);
	ck_assert_ptr_null(names_free(n));
}
END_TEST

static const char *const distinct[] = { "", "a", "A", "a ", "aa", "b", "\xc3\xa4" };

START_TEST(names_differ_in_every_byte)
{
	const int n_names = sizeof(distinct) / sizeof(distinct[0]);
	struct names *n = names_new();

	for (int i = 0; i < n_names; i++)
		for (int j = 0; j < n_names; j++)
			ck_assert_msg((names_intern(n, distinct[i]) ==
				       names_intern(n, distinct[j])) == (i == j),
				      "\"%s\" and \"%s\"", distinct[i], distinct[j]);
	names_free(n);
}
END_TEST

/* A pointer that a worker reads stays good, however many come after it. */
START_TEST(names_stay_where_they_are)
{
	enum { N = 2000 };
	struct names *n = names_new();
	const char *kept[N];
	char text[32];

	for (int i = 0; i < N; i++) {
		(void)snprintf(text, sizeof(text), "route-%d", i);
		kept[i] = names_intern(n, text);
	}
	for (int i = 0; i < N; i++) {
		(void)snprintf(text, sizeof(text), "route-%d", i);
		if (strcmp(kept[i], text) != 0 || names_intern(n, text) != kept[i])
			ck_abort_msg("%s has moved", text);
	}
	names_free(n);
}
END_TEST

START_TEST(freeing_nothing_is_fine)
{
	ck_assert_ptr_null(names_free(NULL));
	ck_assert_ptr_null(names_free(names_new()));
}
END_TEST

/* A name goes when nobody counts it any more and main says that nobody reads it. */
START_TEST(names_that_nobody_counts_are_swept)
{
	enum { N = 300 };
	struct names *n = names_new();
	const char *kept[N];
	char text[32];

	for (int i = 0; i < N; i++) {
		(void)snprintf(text, sizeof(text), "route-%d", i);
		kept[i] = names_intern(n, text);
		ck_assert_ptr_eq(names_ref(kept[i]), kept[i]);
		names_unref(kept[i]);
	}
	ck_assert_uint_eq(names_count(n), N);
	names_sweep(n);
	ck_assert_uint_eq(names_count(n), N);
	for (int i = 0; i < N; i += 3)
		names_unref(kept[i]);
	ck_assert_str_eq(kept[0], "route-0"); /* until the sweep */
	ck_assert_ptr_eq(names_intern(n, "route-3"), kept[3]);
	names_sweep(n);
	ck_assert_uint_eq(names_count(n), N - N / 3 + 1);
	for (int i = 1; i < N; i++) {
		(void)snprintf(text, sizeof(text), "route-%d", i);
		if (i % 3 != 0 || i == 3)
			ck_assert_ptr_eq(names_intern(n, text), kept[i]);
	}
	ck_assert_str_eq(names_intern(n, "route-0"), "route-0");
	ck_assert_uint_eq(names_count(n), N - N / 3 + 2);
	ck_assert_ptr_null(names_ref(NULL));
	names_unref(NULL);
	names_free(n);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, a_name_is_kept_once);
	tcase_add_test(t, names_differ_in_every_byte);
	tcase_add_test(t, names_stay_where_they_are);
	tcase_add_test(t, names_that_nobody_counts_are_swept);
	tcase_add_test(t, freeing_nothing_is_fine);
}

int main(void)
{
	return run_suite("proxy/names", add_tests);
}
