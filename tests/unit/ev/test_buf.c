/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "../suite.h"
#include "ev/buf.h"

static const uint32_t bytes_of[BUF_N_CLASSES] = {
	[BUF_SMALL] = BUF_SMALL_BYTES,
	[BUF_HEAD] = BUF_HEAD_BYTES,
	[BUF_LARGE] = BUF_LARGE_BYTES,
};

START_TEST(nothing_without_a_reserve)
{
	struct buf_pool *p = buf_pool_new(1 << 20);

	ck_assert(!buf_is_available(p, _i));
	ck_assert_ptr_null(buf_get(p, _i));
	ck_assert_uint_eq(buf_bytes_held(p), 0);
	ck_assert_ptr_null(buf_pool_free(p));
}
END_TEST

START_TEST(buffers_are_apart_and_whole)
{
	enum { N = 20 };
	struct buf_pool *p = buf_pool_new(4 << 20);
	struct buf *b[N];

	ck_assert_int_eq(buf_reserve(p, _i, N), 0);
	for (unsigned i = 0; i < N; i++) {
		b[i] = buf_get(p, _i);
		ck_assert_ptr_nonnull(b[i]);
		ck_assert_uint_eq(b[i]->cap, bytes_of[_i]);
		ck_assert_uint_eq(b[i]->size_class, (unsigned)_i);
		ck_assert(b[i]->off == 0 && b[i]->len == 0 && b[i]->next == NULL);
		memset(b[i]->data, (int)i, b[i]->cap);
		ck_assert_uint_eq(buf_bytes_used(p), (i + 1) * bytes_of[_i]);
	}
	for (unsigned i = 0; i < N; i++) {
		ck_assert_uint_eq(b[i]->data[0], i);
		ck_assert_uint_eq(b[i]->data[bytes_of[_i] - 1], i);
		buf_put(p, b[i]);
	}
	ck_assert_uint_eq(buf_bytes_used(p), 0);
	buf_pool_free(p);
}
END_TEST

START_TEST(last_reference_gives_it_back)
{
	struct buf_pool *p = buf_pool_new(1 << 20);

	ck_assert_int_eq(buf_reserve(p, BUF_SMALL, 1), 0);
	struct buf *b = buf_get(p, BUF_SMALL);
	ck_assert_ptr_eq(buf_ref(b), b);
	buf_put(p, b);
	ck_assert_uint_eq(buf_bytes_used(p), BUF_SMALL_BYTES);
	buf_put(p, b);
	ck_assert_uint_eq(buf_bytes_used(p), 0);
	buf_pool_free(p);
}
END_TEST

/* What was put last is in the cache: it is the next one got, and empty again. */
START_TEST(hot_ones_are_used_again)
{
	struct buf_pool *p = buf_pool_new(1 << 20);

	ck_assert_int_eq(buf_reserve(p, BUF_SMALL, 100), 0);
	struct buf *a = buf_get(p, BUF_SMALL);
	struct buf *b = buf_get(p, BUF_SMALL);
	a->off = 3;
	a->len = 4;
	buf_put(p, b);
	buf_put(p, a);
	struct buf *c = buf_get(p, BUF_SMALL);
	ck_assert_ptr_eq(c, a);
	ck_assert(c->off == 0 && c->len == 0);
	buf_put(p, c);
	buf_pool_free(p);
}
END_TEST

/* clang-format off */
static const struct {
	const char *name;
	size_t soft_bytes;
	enum buf_class size_class;
	uint32_t n_soft; /* how many may be lent without being tight */
	uint32_t n_most; /* how many there are; small ones never run out */
} ceilings[] = {
	{ "one small buffer",        4096,      BUF_SMALL, 1,  UINT32_MAX },
	{ "less than a small one",   1000,      BUF_SMALL, 0,  UINT32_MAX },
	{ "two and a half",          10240,     BUF_SMALL, 2,  UINT32_MAX },
	{ "more than a chunk",       100 * 4096, BUF_SMALL, 100, UINT32_MAX },
	{ "small pool, large class", BUF_LARGE_BYTES / 2, BUF_LARGE, 0, 1 },
	{ "large",                   5 * BUF_LARGE_BYTES, BUF_LARGE, 5, 10 },
};
/* clang-format on */

START_TEST(ceilings_are_kept)
{
	struct buf_pool *p = buf_pool_new(ceilings[_i].soft_bytes);
	enum buf_class size_class = ceilings[_i].size_class;
	uint32_t n_most = ceilings[_i].n_most, n = n_most < 200 ? n_most : 200;
	struct buf *b[200];

	ck_assert_int_eq(buf_reserve(p, size_class, n), 0);
	for (uint32_t i = 0; i < n; i++) {
		ck_assert_msg(buf_is_available(p, size_class), "%s", ceilings[_i].name);
		b[i] = buf_get(p, size_class);
		ck_assert_ptr_nonnull(b[i]);
		ck_assert_int_eq(buf_is_tight(p), i + 1 > ceilings[_i].n_soft);
	}
	ck_assert_int_eq(buf_reserve(p, size_class, 1), n < n_most ? 0 : -ENOBUFS);
	ck_assert_msg(buf_is_available(p, size_class) == (n < n_most), "%s", ceilings[_i].name);
	if (n == n_most)
		ck_assert_ptr_null(buf_get(p, size_class));
	while (n > 0) {
		buf_put(p, b[--n]);
		ck_assert(buf_is_available(p, size_class));
	}
	buf_pool_free(p);
}
END_TEST

static void reserve_turn(struct buf_pool *p)
{
	ck_assert_int_eq(buf_reserve(p, BUF_SMALL, 64), 0);
}

/* Periods pass, each with many turns. */
static void periods(struct buf_pool *p, int n)
{
	for (int i = 0; i < n; i++) {
		for (int turn = 0; turn < 100; turn++)
			reserve_turn(p);
		while (!buf_settle(p))
			reserve_turn(p);
	}
}

START_TEST(memory_comes_back_after_a_peak)
{
	enum { N = 1000 };
	struct buf_pool *p = buf_pool_new(16 << 20);
	struct buf *b[N];

	reserve_turn(p);
	size_t before = buf_bytes_held(p);
	ck_assert_int_eq(buf_reserve(p, BUF_SMALL, N), 0);
	for (int i = 0; i < N; i++)
		b[i] = buf_get(p, BUF_SMALL);
	size_t peak = buf_bytes_held(p);
	ck_assert_uint_ge(peak, N * (size_t)BUF_SMALL_BYTES);

	/* Every second one: no chunk is empty, nothing may go. */
	for (int i = 0; i < N; i += 2)
		buf_put(p, b[i]);
	periods(p, 3);
	ck_assert_uint_eq(buf_bytes_held(p), peak);
	for (int i = 1; i < N; i += 2) {
		b[i]->data[BUF_SMALL_BYTES - 1] = 1;
		buf_put(p, b[i]);
	}
	/* This period has needed half of it; later the last period did; then no period. */
	for (int i = 0; i < 2; i++) {
		periods(p, 1);
		ck_assert_uint_ge(buf_bytes_held(p), N / 2 * (size_t)BUF_SMALL_BYTES);
	}
	periods(p, 1);
	/* One chunk is for the reserve, and beside it there is at most one spare chunk. */
	ck_assert_uint_le(buf_bytes_held(p), 2 * before);
	buf_pool_free(p);
}
END_TEST

/* A loop that is idle gives back all but a spare, without turns that would have to go by. */
START_TEST(an_idle_loop_gives_memory_back)
{
	enum { N = 5000 };
	struct buf_pool *p = buf_pool_new(1 << 20);
	static struct buf *b[N];
	int n = 0;

	ck_assert(!buf_has_spare(p));
	ck_assert_int_eq(buf_reserve(p, BUF_SMALL, N), 0);
	for (int i = 0; i < N; i++)
		b[i] = buf_get(p, BUF_SMALL);
	size_t peak = buf_bytes_held(p);
	buf_trim(p);
	ck_assert_uint_eq(buf_bytes_held(p), peak); /* all of it is lent */
	for (int i = 1; i < N; i++)
		buf_put(p, b[i]);
	ck_assert(buf_has_spare(p));
	for (; buf_has_spare(p); n++)
		buf_trim(p);
	ck_assert_int_gt(n, 1); /* some at a time */
	ck_assert_uint_le(buf_bytes_held(p), 2 * 64 * BUF_SMALL_BYTES);
	ck_assert_int_eq(buf_reserve(p, BUF_SMALL, 64), 0);
	ck_assert(!buf_has_spare(p)); /* what the next turn reserves is no reason to begin again */
	buf_put(p, b[0]);
	buf_pool_free(p);
}
END_TEST

/* How many pages of `n` bytes are in memory. */
static size_t n_resident(void *p, size_t n)
{
	unsigned char is_there[64];
	size_t pages = n / 4096, sum = 0;

	ck_assert_uint_le(pages, sizeof(is_there));
	ck_assert_int_eq(mincore(p, n, is_there), 0);
	for (size_t i = 0; i < pages; i++)
		sum += is_there[i] & 1;
	return sum;
}

/*
 * The spare chunk keeps its addresses and not its pages; a lent buffer that was cooled has no
 * pages, either.
 */
START_TEST(what_is_spare_has_no_pages)
{
	struct buf_pool *p = buf_pool_new(1 << 20);

	ck_assert_int_eq(buf_reserve(p, BUF_LARGE, 2), 0);
	struct buf *a = buf_get(p, BUF_LARGE), *b = buf_get(p, BUF_LARGE);
	uint8_t *at = a->data;
	memset(a->data, 1, a->cap);
	memset(b->data, 2, b->cap);
	ck_assert_uint_eq(n_resident(b->data, b->cap), b->cap / 4096);
	buf_cool(b);
	ck_assert_uint_eq(n_resident(b->data, b->cap), 0);
	b->data[0] = 3; /* it may still be written to */
	buf_trim(p);
	ck_assert_int_eq(a->data[0], 1);
	buf_put(p, a);
	buf_put(p, b);
	ck_assert(buf_has_spare(p));
	buf_trim(p);
	ck_assert(!buf_has_spare(p));
	ck_assert_uint_eq(n_resident(at, BUF_LARGE_BYTES), 0);
	ck_assert_ptr_nonnull(a = buf_get(p, BUF_LARGE));
	a->data[0] = 4;
	buf_put(p, a);
	ck_assert(buf_has_spare(p));
	buf_pool_free(p);
}
END_TEST

/* A buffer that stays lent after a peak keeps its chunk, but not the pages of those beside it. */
START_TEST(one_that_stays_keeps_no_others)
{
	struct buf_pool *p = buf_pool_new(16 << 20);
	struct buf *b[3];

	ck_assert_int_eq(buf_reserve(p, _i, 3), 0);
	for (int i = 0; i < 3; i++) {
		b[i] = buf_get(p, _i);
		memset(b[i]->data, i + 1, b[i]->cap);
	}
	size_t held = buf_bytes_held(p), n = (bytes_of[_i] + 4095) & ~4095u;
	buf_put(p, b[0]);
	buf_put(p, b[2]);
	ck_assert(buf_has_spare(p));
	buf_trim(p);
	ck_assert(!buf_has_spare(p));
	ck_assert_uint_eq(buf_bytes_held(p), held);
	ck_assert_uint_eq(n_resident(b[0]->data, n), 0);
	ck_assert_uint_eq(n_resident(b[1]->data, n), n / 4096);
	ck_assert_uint_eq(n_resident(b[2]->data, n), 0);
	ck_assert(b[1]->data[0] == 2 && b[1]->data[b[1]->cap - 1] == 2);

	b[0] = buf_get(p, _i); /* warm again, as soon as it is used */
	buf_put(p, b[0]);
	ck_assert(buf_has_spare(p));
	buf_put(p, b[1]);
	buf_pool_free(p);
}
END_TEST

/* A load that swings from turn to turn makes no system call. */
START_TEST(swings_keep_their_memory)
{
	enum { N = 300 };
	struct buf_pool *p = buf_pool_new(16 << 20);
	struct buf *b[N];
	size_t held = 0;

	for (int turn = 0; turn < 50; turn++) {
		reserve_turn(p);
		ck_assert_int_eq(buf_reserve(p, BUF_SMALL, turn % 2 == 0 ? N : 1), 0);
		if (turn == 1)
			held = buf_bytes_held(p);
		if (turn > 1)
			ck_assert_uint_eq(buf_bytes_held(p), held);
		for (int i = 0; i < N && turn % 2 == 0; i++)
			b[i] = buf_get(p, BUF_SMALL);
		for (int i = 0; i < N && turn % 2 == 0; i++)
			buf_put(p, b[i]);
	}
	buf_pool_free(p);
}
END_TEST

START_TEST(nth_get_fails_on_demand)
{
	struct buf_pool *p = buf_pool_new(1 << 20);
	struct buf *b[4];

	ck_assert_int_eq(buf_reserve(p, BUF_SMALL, 4), 0);
	buf_fail_after(p, 3);
	for (int i = 0; i < 4; i++) {
		b[i] = buf_get(p, BUF_SMALL);
		ck_assert_int_eq(b[i] == NULL, i == 2);
	}
	for (int i = 0; i < 4; i++)
		if (b[i] != NULL)
			buf_put(p, b[i]);
	buf_pool_free(p);
}
END_TEST

START_TEST(null_may_be_freed)
{
	ck_assert_ptr_null(buf_pool_free(NULL));
}
END_TEST

START_TEST(a_cursor_behind_the_end_aborts)
{
	struct buf_pool *p = buf_pool_new(1 << 20);

	ck_assert_int_eq(buf_reserve(p, BUF_SMALL, 1), 0);
	struct buf *b = buf_get(p, BUF_SMALL);
	b->off = 1;
	b->len = b->cap;
	buf_put(p, b);
}
END_TEST

START_TEST(one_put_too_many_aborts)
{
	struct buf_pool *p = buf_pool_new(1 << 20);

	ck_assert_int_eq(buf_reserve(p, BUF_SMALL, 1), 0);
	struct buf *b = buf_get(p, BUF_SMALL);
	buf_put(p, b);
	buf_put(p, b);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, nothing_without_a_reserve, 0, BUF_N_CLASSES);
	tcase_add_loop_test(t, buffers_are_apart_and_whole, 0, BUF_N_CLASSES);
	tcase_add_test(t, last_reference_gives_it_back);
	tcase_add_test(t, hot_ones_are_used_again);
	tcase_add_loop_test(t, ceilings_are_kept, 0, ARRAY_SIZE(ceilings));
	tcase_add_test(t, memory_comes_back_after_a_peak);
	tcase_add_test(t, swings_keep_their_memory);
	tcase_add_test(t, an_idle_loop_gives_memory_back);
	tcase_add_test(t, what_is_spare_has_no_pages);
	tcase_add_loop_test(t, one_that_stays_keeps_no_others, 0, BUF_N_CLASSES);
	tcase_add_test(t, nth_get_fails_on_demand);
	tcase_add_test(t, null_may_be_freed);
	tcase_add_test_raise_signal(t, a_cursor_behind_the_end_aborts, SIGABRT);
	tcase_add_test_raise_signal(t, one_put_too_many_aborts, SIGABRT);
}

int main(void)
{
	return run_suite("ev/buf", add_tests);
}
