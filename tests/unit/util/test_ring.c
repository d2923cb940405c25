/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>

#include "../suite.h"
#include "util/ring.h"

START_TEST(first_in_first_out)
{
	struct ring *r = ring_new(1000);
	char out[16];

	ck_assert_uint_eq(ring_read(r, out, sizeof(out)), 0);
	ck_assert_int_eq(ring_write(r, "one", 3), 0);
	ck_assert_int_eq(ring_write(r, "three", 5), 0);
	ck_assert_uint_eq(ring_read(r, out, sizeof(out)), 3);
	ck_assert_mem_eq(out, "one", 3);
	ck_assert_uint_eq(ring_read(r, out, sizeof(out)), 5);
	ck_assert_mem_eq(out, "three", 5);
	ck_assert_uint_eq(ring_read(r, out, sizeof(out)), 0);
	ck_assert_ptr_null(ring_free(r));
	ck_assert_ptr_null(ring_free(NULL));
}
END_TEST

/* Records of every length at every position: records and their lengths wrap around the end. */
START_TEST(records_wrap)
{
	struct ring *r = ring_new(64);
	uint8_t in[32], out[32];

	for (unsigned round = 0; round < 200; round++) {
		for (size_t n = 1; n <= sizeof(in); n++) {
			memset(in, (int)(round + n), n);
			memset(out, 0, sizeof(out));
			ck_assert_int_eq(ring_write(r, in, n), 0);
			ck_assert_uint_eq(ring_read(r, out, sizeof(out)), n);
			ck_assert_mem_eq(in, out, n);
		}
	}
	ck_assert_uint_eq(ring_n_dropped(r), 0);
	ring_free(r);
}
END_TEST

START_TEST(full_drops_and_counts)
{
	struct ring *r = ring_new(64);
	char out[16];

	/* 4 bytes of length and 12 of record: four fill it to the last byte */
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(ring_write(r, "abcdefghijkl", 12), 0);
	ck_assert_int_eq(ring_write(r, "x", 1), -ENOSPC);
	ck_assert_int_eq(ring_write(r, "abcdefghijkl", 12), -ENOSPC);
	ck_assert_uint_eq(ring_n_dropped(r), 2);
	ck_assert_uint_eq(ring_read(r, out, sizeof(out)), 12);
	ck_assert_int_eq(ring_write(r, "ABCDEFGHIJKL", 12), 0);
	for (int i = 0; i < 3; i++) {
		ck_assert_uint_eq(ring_read(r, out, sizeof(out)), 12);
		ck_assert_mem_eq(out, "abcdefghijkl", 12);
	}
	ck_assert_uint_eq(ring_read(r, out, sizeof(out)), 12);
	ck_assert_mem_eq(out, "ABCDEFGHIJKL", 12);
	ck_assert_uint_eq(ring_read(r, out, sizeof(out)), 0);
	ring_free(r);
}
END_TEST

START_TEST(size_is_rounded_up)
{
	struct ring *r = ring_new(65);
	char big[64] = { 0 };

	ck_assert_int_eq(ring_write(r, big, sizeof(big)), 0); /* half of 128 */
	ring_free(r);
	ck_assert_ptr_null(ring_new(SIZE_MAX));
}
END_TEST

START_TEST(long_record_is_cut)
{
	struct ring *r = ring_new(64);
	char out[4] = "....";

	ck_assert_int_eq(ring_write(r, "abcdef", 6), 0);
	ck_assert_int_eq(ring_write(r, "gh", 2), 0);
	ck_assert_uint_eq(ring_read(r, out, 3), 3);
	ck_assert_mem_eq(out, "abc.", 4);
	ck_assert_uint_eq(ring_read(r, out, sizeof(out)), 2); /* the rest is gone */
	ck_assert_mem_eq(out, "gh", 2);
	ring_free(r);
}
END_TEST

START_TEST(more_than_half_aborts)
{
	char big[33] = { 0 };

	(void)ring_write(ring_new(64), big, sizeof(big));
}
END_TEST

enum { N_RECORDS = 100000 };

/* Record i is i itself, then some bytes that follow from it. */
static size_t record(uint32_t i, uint8_t out[64])
{
	size_t n = sizeof(i) + i % 50;

	memcpy(out, &i, sizeof(i));
	memset(out + sizeof(i), (int)(i * 7), n - sizeof(i));
	return n;
}

static void *write_all(void *arg)
{
	uint8_t rec[64];

	for (uint32_t i = 0; i < N_RECORDS; i++) {
		size_t n = record(i, rec);
		while (ring_write(arg, rec, n) < 0)
			(void)sched_yield();
	}
	return NULL;
}

START_TEST(two_threads)
{
	struct ring *r = ring_new(512);
	uint8_t out[64], want[64];
	pthread_t writer;

	ck_assert_int_eq(pthread_create(&writer, NULL, write_all, r), 0);
	for (uint32_t i = 0; i < N_RECORDS;) {
		size_t n = ring_read(r, out, sizeof(out));
		if (n == 0) {
			(void)sched_yield();
			continue;
		}
		ck_assert_uint_eq(n, record(i, want));
		ck_assert_mem_eq(out, want, n);
		i++;
	}
	ck_assert_int_eq(pthread_join(writer, NULL), 0);
	ck_assert_uint_eq(ring_read(r, out, sizeof(out)), 0);
	ring_free(r);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_set_timeout(t, 30); /* two threads may share a busy core */
	tcase_add_test(t, first_in_first_out);
	tcase_add_test(t, records_wrap);
	tcase_add_test(t, full_drops_and_counts);
	tcase_add_test(t, size_is_rounded_up);
	tcase_add_test(t, long_record_is_cut);
	tcase_add_test_raise_signal(t, more_than_half_aborts, SIGABRT);
	tcase_add_test(t, two_threads);
}

int main(void)
{
	return run_suite("util/ring", add_tests);
}
