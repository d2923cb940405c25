/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <pthread.h>
#include <signal.h>

#include "../suite.h"
#include "util/ref.h"

START_TEST(the_last_one_is_told)
{
	struct ref r;

	ref_init(&r);
	ck_assert(ref_is_only(&r));
	ref_get(&r);
	ck_assert(!ref_is_only(&r));
	ck_assert_uint_eq(ref_count(&r), 2);
	ck_assert(!ref_put(&r));
	ck_assert(ref_is_only(&r));
	ck_assert(ref_put(&r));
}
END_TEST

START_TEST(one_put_too_many_aborts)
{
	struct ref r;

	ref_init(&r);
	ck_assert(ref_put(&r));
	(void)ref_put(&r);
}
END_TEST

START_TEST(a_get_behind_the_last_put_aborts)
{
	struct ref r;

	ref_init(&r);
	ck_assert(ref_put(&r));
	ref_get(&r);
}
END_TEST

#define N_THREADS 4
#define N_ROUNDS 20000

/* An object whose holders write to it without any other lock. */
static struct {
	struct ref refs;
	uint32_t written[N_THREADS];
} object;

static void *hold(void *arg)
{
	uint32_t *mine = arg;

	for (int i = 0; i < N_ROUNDS; i++) {
		ref_get(&object.refs);
		(*mine)++;
		ck_assert(!ref_put(&object.refs)); /* this thread's first reference is left */
	}
	if (!ref_put(&object.refs))
		return NULL;
	for (int i = 0; i < N_THREADS; i++)
		ck_assert_uint_eq(object.written[i], N_ROUNDS);
	return &object;
}

/*
 * Exactly one holder is the last, and it sees what all others have written (checked by
 * ThreadSanitizer).
 */
START_TEST(one_of_many_threads_is_the_last)
{
	pthread_t threads[N_THREADS];
	int n_last = 0;

	ref_init(&object.refs);
	for (int i = 0; i < N_THREADS; i++) {
		ref_get(&object.refs);
		ck_assert_int_eq(pthread_create(&threads[i], NULL, hold, &object.written[i]), 0);
	}
	n_last += ref_put(&object.refs);
	for (int i = 0; i < N_THREADS; i++) {
		void *last;
		ck_assert_int_eq(pthread_join(threads[i], &last), 0);
		n_last += last != NULL;
	}
	ck_assert_int_eq(n_last, 1);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, the_last_one_is_told);
	tcase_add_test_raise_signal(t, one_put_too_many_aborts, SIGABRT);
	tcase_add_test_raise_signal(t, a_get_behind_the_last_put_aborts, SIGABRT);
	tcase_add_test(t, one_of_many_threads_is_the_last);
}

int main(void)
{
	return run_suite("util/ref", add_tests);
}
