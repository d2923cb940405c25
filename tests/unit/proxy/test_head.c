/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <string.h>

#include "../suite.h"
#include "proxy/head.h"

static struct buf_pool *pool;

static void setup(void)
{
	pool = buf_pool_new(1u << 20);
}

static void teardown(void)
{
	ck_assert_uint_eq(buf_bytes_used(pool), 0);
	buf_pool_free(pool);
}

static struct buf *filled(uint8_t with, uint32_t n)
{
	struct buf *b = head_new(pool, n);

	ck_assert_ptr_nonnull(b);
	memset(b->data, with, n);
	b->len = n;
	return b;
}

/* Pieces that do not fit a small buffer move to one for heads, whole and in order. */
START_TEST(gathers_beyond_a_small_buffer)
{
	struct buf *head = NULL;

	for (uint8_t i = 0; i < 5; i++)
		ck_assert_int_eq(head_add(&head, pool, filled(i, 3000)), 0);
	ck_assert_uint_eq(head->len, 15000);
	ck_assert_uint_eq(head->cap, BUF_HEAD_BYTES);
	for (uint32_t i = 0; i < 15000; i++)
		if (head->data[i] != i / 3000)
			ck_abort_msg("byte %u is %u", i, head->data[i]);
	buf_put(pool, head);
}
END_TEST

START_TEST(the_first_buffer_is_kept)
{
	struct buf *head = NULL, *first = filled(1, 10);

	ck_assert_int_eq(head_add(&head, pool, first), 0);
	ck_assert_ptr_eq(head, first);
	ck_assert_int_eq(head_add(&head, pool, filled(2, 10)), 0);
	ck_assert_ptr_eq(head, first);
	ck_assert_uint_eq(head->len, 20);
	buf_put(pool, head);
}
END_TEST

START_TEST(rest_is_cut_off)
{
	struct buf *head = filled(7, 100), *rest = NULL;

	head->data[60] = 8;
	ck_assert_int_eq(head_cut_rest(head, pool, 60, &rest), 0);
	ck_assert_uint_eq(head->len, 60);
	ck_assert_uint_eq(rest->len, 40);
	ck_assert_uint_eq(rest->data[0], 8);
	buf_put(pool, rest);
	ck_assert_int_eq(head_cut_rest(head, pool, 60, &rest), 0);
	ck_assert_ptr_null(rest);
	buf_put(pool, head);
}
END_TEST

/* Without memory a head stays as it was, and the piece is not leaked. */
START_TEST(no_memory_is_told)
{
	struct buf *head = filled(1, 4000), *piece = filled(2, 3000);

	buf_fail_after(pool, 1);
	ck_assert_int_lt(head_add(&head, pool, piece), 0);
	ck_assert_uint_eq(head->len, 4000);
	buf_put(pool, head);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, gathers_beyond_a_small_buffer);
	tcase_add_test(t, the_first_buffer_is_kept);
	tcase_add_test(t, rest_is_cut_off);
	tcase_add_test(t, no_memory_is_told);
}

int main(void)
{
	return run_suite("proxy/head", add_tests);
}
