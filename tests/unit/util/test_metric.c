/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>

#include "../suite.h"
#include "util/assert.h"
#include "util/metric.h"

static const struct {
	const char *name;
	uint64_t ns;
	unsigned bucket; /* the first one that counts it */
} times[] = {
	{ "nothing", 0, 0 },
	{ "just 1 ms", 1000000, 0 },
	{ "just above 1 ms", 1000001, 1 },
	{ "2.5 ms", 2500000, 1 },
	{ "30 ms", 30000000, 5 },
	{ "1 s", 1000000000, 9 },
	{ "10 s", UINT64_C(10000000000), 12 },
	{ "just above 10 s", UINT64_C(10000000001), 13 },
	{ "for ever", UINT64_MAX, 13 },
};

START_TEST(bucket_is_right)
{
	struct metric_hist h = { 0 };
	struct metric_hist_total t = METRIC_HIST_TOTAL_INIT;

	metric_hist_observe_ns(&h, times[_i].ns);
	metric_hist_sum(&h, &t);
	for (unsigned i = 0; i < METRIC_HIST_N; i++)
		ck_assert_msg(t.le[i] == (i >= times[_i].bucket ? 1 : 0), "%s: le %s is %u",
			      times[_i].name, metric_hist_le[i], (unsigned)t.le[i]);
	ck_assert_uint_eq(t.sum_ns, times[_i].ns);
}
END_TEST

/* The printed bounds are the bounds. */
START_TEST(bound_is_as_printed)
{
	for (unsigned i = 0; i + 1 < METRIC_HIST_N; i++) {
		struct metric_hist h = { 0 };
		struct metric_hist_total t = METRIC_HIST_TOTAL_INIT;
		uint64_t ns = (uint64_t)(strtod(metric_hist_le[i], NULL) * 1e9 + 0.5);

		metric_hist_observe_ns(&h, ns);
		metric_hist_observe_ns(&h, ns + 1);
		metric_hist_sum(&h, &t);
		ck_assert_uint_eq(t.le[i], 1);
		ck_assert_uint_eq(t.le[i + 1], 2);
	}
	ck_assert_str_eq(metric_hist_le[METRIC_HIST_N - 1], "+Inf");
}
END_TEST

/* A histogram that several threads write loses no observation. */
static void *observe_many(void *arg)
{
	for (int i = 0; i < 100000; i++)
		metric_hist_observe_shared_ns(arg, 2000000);
	return NULL;
}

START_TEST(several_writers_lose_nothing)
{
	struct metric_hist h = { 0 };
	struct metric_hist_total t = METRIC_HIST_TOTAL_INIT;
	pthread_t thread[4];

	for (size_t i = 0; i < ARRAY_SIZE(thread); i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, observe_many, &h), 0);
	for (size_t i = 0; i < ARRAY_SIZE(thread); i++)
		ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
	metric_hist_sum(&h, &t);
	ck_assert_uint_eq(t.le[0], 0);
	ck_assert_uint_eq(t.le[1], 400000);
	ck_assert_uint_eq(t.le[METRIC_HIST_N - 1], 400000);
	ck_assert_uint_eq(t.sum_ns, UINT64_C(800000000000));
}
END_TEST

START_TEST(several_add_up)
{
	struct metric_hist h[2] = { 0 };
	struct metric_hist_total t = METRIC_HIST_TOTAL_INIT;

	metric_hist_observe_ns(&h[0], 2000000);
	metric_hist_observe_ns(&h[0], 200000000);
	metric_hist_observe_ns(&h[1], 2000000);
	metric_hist_sum(&h[0], &t);
	metric_hist_sum(&h[1], &t);
	ck_assert_uint_eq(t.le[0], 0);
	ck_assert_uint_eq(t.le[1], 2);
	ck_assert_uint_eq(t.le[6], 2);
	ck_assert_uint_eq(t.le[7], 3);
	ck_assert_uint_eq(t.le[METRIC_HIST_N - 1], 3);
	ck_assert_uint_eq(t.sum_ns, 204000000);
}
END_TEST

START_TEST(counter_counts)
{
	struct counter c = { 0 };

	counter_add(&c, 5);
	counter_add(&c, UINT64_C(1) << 40);
	counter_sub(&c, 3);
	ck_assert_uint_eq(counter_read(&c), (UINT64_C(1) << 40) + 2);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, bucket_is_right, 0, ARRAY_SIZE(times));
	tcase_add_test(t, bound_is_as_printed);
	tcase_add_test(t, several_writers_lose_nothing);
	tcase_add_test(t, several_add_up);
	tcase_add_test(t, counter_counts);
}

int main(void)
{
	return run_suite("util/metric", add_tests);
}
