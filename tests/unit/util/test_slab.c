/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The contract of slab.h, which both variants keep: run once as it is and once with
 * -Dslab_malloc=true.
 */

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "util/assert.h"
#include "util/slab.h"

/* Sizes on both sides of what a chunk of 64 KiB can hold eight of. */
static const size_t sizes[] = { 1, 16, 40, 64, 400, 8191, 8192, 65536, 100000 };

static struct slab *slab_with(size_t size, uint32_t max, uint32_t n)
{
	struct slab *s = slab_new("test", size, max);

	ck_assert_ptr_nonnull(s);
	ck_assert_int_eq(slab_reserve(s, n), 0);
	return s;
}

START_TEST(objects_are_apart_and_zeroed)
{
	enum { N = 50 };
	static const uint8_t zeroes[100000];
	size_t size = sizes[_i];
	struct slab *s = slab_with(size, N, N);
	uint8_t *o[N];

	for (int round = 0; round < 2; round++) {
		for (unsigned i = 0; i < N; i++) {
			o[i] = slab_get(s);
			ck_assert_ptr_nonnull(o[i]);
			ck_assert_uint_eq((uintptr_t)o[i] % 16, 0);
			ck_assert_mem_eq(o[i], zeroes, size);
			memset(o[i], (int)i + 1, size);
		}
		ck_assert_uint_eq(slab_n_used(s), N);
		for (unsigned i = 0; i < N; i++) {
			ck_assert_uint_eq(o[i][0], i + 1);
			ck_assert_uint_eq(o[i][size - 1], i + 1);
			slab_put(s, o[i]);
		}
		ck_assert_uint_eq(slab_n_used(s), 0);
		ck_assert_int_eq(slab_reserve(s, N), 0);
	}
	ck_assert_ptr_null(slab_free(s));
}
END_TEST

START_TEST(nothing_without_a_reserve)
{
	struct slab *s = slab_new("test", 40, 100);

	ck_assert_ptr_null(slab_get(s));
	ck_assert_int_eq(slab_reserve(s, 1), 0);
	void *o = slab_get(s);
	ck_assert_ptr_nonnull(o);
	slab_put(s, o);
	slab_free(s);
}
END_TEST

START_TEST(max_is_kept)
{
	struct slab *s = slab_new("test", 40, 3);
	void *o[3];

	ck_assert_int_eq(slab_reserve(s, 4), -ENOSPC); /* and reserves three */
	for (int i = 0; i < 3; i++)
		ck_assert_ptr_nonnull(o[i] = slab_get(s));
	ck_assert_ptr_null(slab_get(s));
	ck_assert_int_eq(slab_reserve(s, 1), -ENOSPC);
	ck_assert_int_eq(slab_reserve(s, 0), 0);
	slab_put(s, o[1]);
	ck_assert_ptr_nonnull(o[1] = slab_get(s));
	ck_assert_ptr_null(slab_get(s));
	for (int i = 0; i < 3; i++)
		slab_put(s, o[i]);
	slab_free(s);
}
END_TEST

START_TEST(handles_go_stale)
{
	struct slab *s = slab_with(40, 10, 2);
	void *a = slab_get(s), *b = slab_get(s);
	slab_handle ha = slab_handle_of(s, a), hb = slab_handle_of(s, b);

	ck_assert_uint_ne(ha, 0);
	ck_assert_uint_ne(ha, hb);
	ck_assert_uint_eq(ha >> SLAB_HANDLE_BITS, 0);
	ck_assert_ptr_eq(slab_find(s, ha), a);
	ck_assert_ptr_eq(slab_find(s, hb), b);
	slab_put(s, a);
	ck_assert_ptr_null(slab_find(s, ha));
	ck_assert_ptr_eq(slab_find(s, hb), b);

	void *c = slab_get(s);
	slab_handle hc = slab_handle_of(s, c);
	ck_assert_uint_eq((uint32_t)hc, (uint32_t)ha); /* the same place, another generation */
	ck_assert_uint_ne(hc, ha);
	ck_assert_ptr_null(slab_find(s, ha));
	ck_assert_ptr_eq(slab_find(s, hc), c);
	slab_put(s, b);
	slab_put(s, c);
	slab_free(s);
}
END_TEST

/* Handles that a peer of the admin socket might invent. */
START_TEST(made_up_handles_find_nothing)
{
	struct slab *s = slab_with(400, 1000, 500);
	void *a = slab_get(s);
	slab_handle h = slab_handle_of(s, a);

	ck_assert_ptr_null(slab_find(s, 0));
	ck_assert_ptr_null(slab_find(s, UINT64_MAX));
	ck_assert_ptr_null(slab_find(s, UINT32_MAX));
	ck_assert_ptr_null(slab_find(s, h | UINT64_C(1) << 48));
	ck_assert_ptr_null(slab_find(s, h + 1)); /* never used */
	/* free places, places between chunks, places without a chunk */
	for (uint32_t i = 0; i < 5000; i++)
		ck_assert_ptr_eq(slab_find(s, UINT64_C(1) << 32 | i), i == (uint32_t)h ? a : NULL);
	slab_put(s, a);
	slab_free(s);
}
END_TEST

/* 65,535 generations later the oldest handle may be taken for a new one, not earlier; 0 never is.
 */
START_TEST(generations_go_round)
{
	struct slab *s = slab_with(40, 1, 1);
	slab_handle first = 0;

	for (unsigned i = 0; i <= 65535; i++) {
		void *o = slab_get(s);
		slab_handle h = slab_handle_of(s, o);
		if (i == 0)
			first = h;
		ck_assert_uint_ne(h >> 32, 0);
		ck_assert_ptr_eq(slab_find(s, first), i == 0 || i == 65535 ? o : NULL);
		slab_put(s, o);
	}
	slab_free(s);
}
END_TEST

/* All empty chunks are given back, part by part. */
static void trim_all(struct slab *s)
{
	while (slab_has_spare(s)) {
		size_t before = slab_bytes(s);
		slab_trim(s);
		ck_assert_uint_lt(slab_bytes(s), before);
	}
}

/* Generations outlive the memory of their chunk. */
START_TEST(handles_stay_stale_when_memory_was_given_back)
{
	enum { N = 2000 };
	struct slab *s = slab_with(400, N, N);
	static void *o[N];
	static slab_handle h[N];

	for (int i = 0; i < N; i++) {
		o[i] = slab_get(s);
		h[i] = slab_handle_of(s, o[i]);
	}
	size_t peak = slab_bytes(s);
	for (int i = 0; i < N; i++)
		slab_put(s, o[i]);
	trim_all(s);
	ck_assert_uint_lt(slab_bytes(s), peak / 4);
	for (int i = 0; i < N; i++)
		ck_assert_ptr_null(slab_find(s, h[i]));

	ck_assert_int_eq(slab_reserve(s, N), 0);
	for (int i = 0; i < N; i++)
		o[i] = slab_get(s);
	for (int i = 0; i < N; i++)
		ck_assert_ptr_null(slab_find(s, h[i]));
	for (int i = 0; i < N; i++)
		slab_put(s, o[i]);
	slab_free(s);
}
END_TEST

/*
 * After a peak of which every 20th object stays, new objects take the low indexes, and the high
 * chunks become empty.
 */
START_TEST(peak_leaves_empty_chunks)
{
	enum { N = 4000, STAY = 200 };
	struct slab *s = slab_with(400, N, N);
	static void *o[N];

	for (int i = 0; i < N; i++)
		o[i] = slab_get(s);
	size_t peak = slab_bytes(s);
	for (int i = 0; i < N; i++)
		if (i % 20 != 0)
			slab_put(s, o[i]);
	/* each object is replaced by a new one, as connections are in time */
	for (int i = 0; i < N; i += 20) {
		ck_assert_int_eq(slab_reserve(s, 1), 0);
		void *fresh = slab_get(s);
		slab_put(s, o[i]);
		o[i] = fresh;
	}
	ck_assert_uint_eq(slab_n_used(s), STAY);
	trim_all(s);
	ck_assert_uint_lt(slab_bytes(s), peak / 4);
	for (int i = 0; i < N; i += 20)
		slab_put(s, o[i]);
	slab_free(s);
}
END_TEST

/* A put that empties a chunk must not give away what was promised. */
START_TEST(promise_outlives_puts)
{
	enum { N = 1000 };
	struct slab *s = slab_with(400, 2 * N, N);
	static void *o[N];
	void *first = slab_get(s);

	ck_assert_int_eq(slab_reserve(s, N), 0);
	slab_put(s, first);
	for (int i = 0; i < N; i++)
		ck_assert_ptr_nonnull(o[i] = slab_get(s));
	for (int i = 0; i < N; i++)
		slab_put(s, o[i]);
	slab_free(s);
}
END_TEST

/* slab_trim() gives the spare chunks back, and none that is promised. */
START_TEST(trim_leaves_what_was_promised)
{
	enum { N = 1000, CHUNK = 65536 };
	struct slab *s = slab_new("test", 400, N);
	size_t bare = slab_bytes(s);
	static void *o[N];

	ck_assert_int_eq(slab_reserve(s, N), 0);
	ck_assert(!slab_has_spare(s));
	slab_trim(s);
	for (int i = 0; i < N; i++)
		ck_assert_ptr_nonnull(o[i] = slab_get(s));
	slab_trim(s);
	memset(o[N - 1], 1, 400); /* still there */
	for (int i = 0; i < N; i++)
		slab_put(s, o[i]);
	trim_all(s);
	ck_assert_uint_lt(slab_bytes(s), bare + CHUNK);
	ck_assert_int_eq(slab_reserve(s, 1), 0);
	ck_assert_ptr_nonnull(o[0] = slab_get(s));
	slab_put(s, o[0]);
	slab_free(s);
}
END_TEST

/* The other slab (slab_malloc.c) has no memory but that of living objects. */
static bool has_chunks(void)
{
	struct slab *s = slab_new("probe", 16, 100);
	size_t bare = slab_bytes(s);

	ck_assert_int_eq(slab_reserve(s, 1), 0);
	bool is_large = slab_bytes(s) >= bare + 65536;
	slab_free(s);
	return is_large;
}

/*
 * Chunks that a period has used stay until the settling after the next one; then they go, part by
 * part.
 */
START_TEST(settling_gives_back_what_a_period_did_not_need)
{
	enum { N = 4000 };
	struct slab *s = slab_with(400, N, N);
	static void *o[N];
	int n_calls = 1;

	while (!slab_settle(s))
		;
	for (int i = 0; i < N; i++)
		o[i] = slab_get(s);
	size_t peak = slab_bytes(s);
	for (int i = 1; i < N; i++)
		slab_put(s, o[i]);
	/* Objects that come back within the period find all chunks still there. */
	for (int i = 1; i < N; i++)
		ck_assert_ptr_nonnull(o[i] = slab_get(s));
	for (int i = 1; i < N; i++)
		slab_put(s, o[i]);
	ck_assert(slab_settle(s));
	if (has_chunks())
		ck_assert_uint_eq(slab_bytes(s), peak);
	while (!slab_settle(s))
		n_calls++;
	ck_assert(n_calls > 1 || !has_chunks());
	ck_assert_uint_lt(slab_bytes(s), peak / 4);
	slab_put(s, o[0]);
	slab_free(s);
}
END_TEST

/*
 * Objects come and go during a walk: those that stay are seen once, those that were put are not
 * seen.
 */
START_TEST(walk_survives_changes)
{
	enum { N = 1000 };
	struct slab *s = slab_with(400, 2 * N, 2 * N);
	static uint32_t *o[N];
	uint32_t cursor = 0, n_seen = 0;
	uint32_t *at;

	for (uint32_t i = 0; i < N; i++) {
		o[i] = slab_get(s);
		*o[i] = i + 1;
	}
	while ((at = slab_next(s, &cursor)) != NULL) {
		if (*at == 0)
			continue; /* came during the walk */
		uint32_t i = *at - 1;
		ck_assert_ptr_eq(o[i], at);
		ck_assert_uint_eq(i, n_seen * 2);
		n_seen++;
		slab_put(s, o[i + 1]); /* the next one: empties chunks in part */
		if (i < N / 2) {
			slab_put(s, at); /* itself too: the low chunks go */
			o[i] = NULL;
		}
		o[i + 1] = NULL;
	}
	ck_assert_uint_eq(n_seen, N / 2);
	ck_assert_ptr_null(slab_next(s, &cursor)); /* stays at the end */
	ck_assert_uint_eq(slab_n_used(s), N / 4);
	for (uint32_t i = 0; i < N; i++)
		if (o[i] != NULL)
			slab_put(s, o[i]);
	slab_free(s);
}
END_TEST

START_TEST(walk_of_nothing)
{
	struct slab *s = slab_new("test", 40, 10);
	uint32_t cursor = 0;

	ck_assert_ptr_null(slab_next(s, &cursor));
	ck_assert_int_eq(slab_reserve(s, 10), 0);
	cursor = 0;
	ck_assert_ptr_null(slab_next(s, &cursor));
	slab_free(s);
}
END_TEST

START_TEST(get_fails_when_told)
{
	struct slab *s = slab_with(40, 10, 10);
	void *o[4];

	slab_fail_after(s, 3);
	ck_assert_ptr_nonnull(o[0] = slab_get(s));
	ck_assert_ptr_nonnull(o[1] = slab_get(s));
	ck_assert_ptr_null(slab_get(s));
	ck_assert_ptr_nonnull(o[2] = slab_get(s));
	slab_fail_after(s, 1);
	slab_fail_after(s, 0);
	ck_assert_ptr_nonnull(o[3] = slab_get(s));
	for (int i = 0; i < 4; i++)
		slab_put(s, o[i]);
	slab_free(s);
}
END_TEST

/* Random gets and puts against a plain array. */
START_TEST(random_walk)
{
	enum { N = 1500 };
	struct slab *s = slab_with(100, N, 0);
	static uint32_t *o[N];
	static slab_handle h[N];
	uint32_t n = 0;

	srand(1);
	for (uint32_t step = 0; step < 60000; step++) {
		/* the tide: mostly gets, then mostly puts */
		bool is_get = rand() % 10 < ((step / 6000) % 2 ? 2 : 8);
		if (is_get && n < N) {
			ck_assert_int_eq(slab_reserve(s, 1), 0);
			ck_assert_ptr_nonnull(o[n] = slab_get(s));
			ck_assert_uint_eq(*o[n], 0);
			*o[n] = step + 1;
			h[n] = slab_handle_of(s, o[n]);
			n++;
		} else if (!is_get && n > 0) {
			uint32_t i = (uint32_t)rand() % n;
			ck_assert_ptr_eq(slab_find(s, h[i]), o[i]);
			slab_put(s, o[i]);
			ck_assert_ptr_null(slab_find(s, h[i]));
			o[i] = o[--n];
			h[i] = h[n];
		}
		ck_assert_uint_eq(slab_n_used(s), n);
	}
	uint32_t cursor = 0, n_seen = 0;
	while (slab_next(s, &cursor) != NULL)
		n_seen++;
	ck_assert_uint_eq(n_seen, n);
	while (n > 0)
		slab_put(s, o[--n]);
	slab_free(s);
}
END_TEST

START_TEST(free_takes_null)
{
	ck_assert_ptr_null(slab_free(NULL));
}
END_TEST

START_TEST(leak_aborts)
{
	struct slab *s = slab_with(40, 10, 1);

	ck_assert_ptr_nonnull(slab_get(s));
	slab_free(s);
}
END_TEST

START_TEST(object_of_another_slab_aborts)
{
	struct slab *a = slab_with(40, 10, 1), *b = slab_with(40, 10, 1);

	ck_assert_ptr_nonnull(slab_get(b));
	slab_put(b, slab_get(a));
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, objects_are_apart_and_zeroed, 0, ARRAY_SIZE(sizes));
	tcase_add_test(t, nothing_without_a_reserve);
	tcase_add_test(t, max_is_kept);
	tcase_add_test(t, handles_go_stale);
	tcase_add_test(t, made_up_handles_find_nothing);
	tcase_add_test(t, generations_go_round);
	tcase_add_test(t, handles_stay_stale_when_memory_was_given_back);
	tcase_add_test(t, peak_leaves_empty_chunks);
	tcase_add_test(t, promise_outlives_puts);
	tcase_add_test(t, trim_leaves_what_was_promised);
	tcase_add_test(t, settling_gives_back_what_a_period_did_not_need);
	tcase_add_test(t, walk_survives_changes);
	tcase_add_test(t, walk_of_nothing);
	tcase_add_test(t, get_fails_when_told);
	tcase_add_test(t, random_walk);
	tcase_add_test(t, free_takes_null);
	tcase_add_test_raise_signal(t, leak_aborts, SIGABRT);
	tcase_add_test_raise_signal(t, object_of_another_slab_aborts, SIGABRT);
}

int main(void)
{
	return run_suite("util/slab", add_tests);
}
