/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <string.h>

#include "../suite.h"
#include "net/queue.h"

static struct buf_pool *pool;

static void setup(void)
{
	pool = buf_pool_new(1u << 20);
	ck_assert_ptr_nonnull(pool);
	ck_assert_int_eq(buf_reserve(pool, BUF_SMALL, 64), 0);
	ck_assert_int_eq(buf_reserve(pool, BUF_LARGE, 1), 0);
}

static void teardown(void)
{
	ck_assert_uint_eq(buf_bytes_used(pool), 0);
	buf_pool_free(pool);
}

/* A buffer with the next `n` bytes of an endless known stream. */
static struct buf *piece(uint32_t *at, uint32_t n)
{
	struct buf *b = buf_get(pool, n <= BUF_SMALL_BYTES ? BUF_SMALL : BUF_LARGE);

	ck_assert_ptr_nonnull(b);
	for (uint32_t i = 0; i < n; i++)
		b->data[i] = (uint8_t)((*at + i) * 31 >> 3);
	b->len = n;
	*at += n;
	return b;
}

/* Takes `n` bytes off the front, through the iovec a send would get; they must be the stream's. */
static void take(struct queue *q, uint32_t *at, uint32_t n)
{
	struct iovec iov[LOOP_IOV_MAX];
	int n_iov = queue_iov(q, iov);
	uint32_t left = n;

	for (int i = 0; i < n_iov && left > 0; i++) {
		const uint8_t *p = iov[i].iov_base;
		uint32_t part = iov[i].iov_len < left ? (uint32_t)iov[i].iov_len : left;
		for (uint32_t k = 0; k < part; k++)
			if (p[k] != (uint8_t)((*at + k) * 31 >> 3))
				ck_abort_msg("byte %u is wrong", *at + k);
		*at += part;
		left -= part;
	}
	ck_assert_uint_eq(left, 0);
	queue_consume(q, pool, n);
}

static const struct {
	const char *name;
	uint32_t push[8]; /* sizes, up to a 0 */
	uint32_t n_bufs;  /* held then */
} pushes[] = {
	{ "one", { 100 }, 1 },
	{ "small ones share a buffer", { 1, 2, 3, 100, 1000 }, 1 },
	{ "a small one is cut where the buffer ends", { 4000, 200 }, 2 },
	{ "large pieces keep their own", { 4096, 4096, 2000 }, 3 },
	{ "a small one behind a full one", { 4096, 10 }, 2 },
	{ "a large buffer takes small ones, too", { 60000, 500, 500 }, 1 },
};

START_TEST(bytes_come_out_as_they_went_in)
{
	for (uint32_t step = 1; step < 5000; step = step * 3 + 1) {
		struct queue q = { 0 };
		uint32_t in = 0, out = 0;

		for (int i = 0; i < 8 && pushes[_i].push[i] != 0; i++)
			queue_push(&q, pool, piece(&in, pushes[_i].push[i]));
		ck_assert_uint_eq(q.bytes, in);
		ck_assert_msg(q.n_bufs == pushes[_i].n_bufs, "%s: %u buffers", pushes[_i].name,
			      q.n_bufs);
		while (q.bytes > 0)
			take(&q, &out, q.bytes < step ? q.bytes : step);
		ck_assert_uint_eq(out, in);
		ck_assert(queue_is_empty(&q));
		ck_assert_uint_eq(q.n_bufs, 0);
	}
}
END_TEST

/* Many small pieces behind a send in flight are held in few buffers (design: 16). */
START_TEST(many_small_pieces_need_few_buffers)
{
	struct queue q = { 0 };
	uint32_t in = 0, out = 0;

	while (q.bytes + 64 <= 65536)
		queue_push(&q, pool, piece(&in, 64));
	ck_assert_uint_le(q.n_bufs, 17);
	take(&q, &out, q.bytes);
}
END_TEST

static const struct {
	const char *name;
	enum buf_class size_class;
	uint32_t piece; /* bytes that come at a time */
	uint32_t limit; /* as many as the queue may hold */
	uint32_t most;  /* buffers */
} floods[] = {
	/* buffers that are not full, and those that are */
	{ "pieces just not copied, in small buffers", BUF_SMALL, 1025, 65536, 16 + 16 },
	{ "pieces just not copied, in large buffers", BUF_LARGE, 1025, 512 << 10, 16 + 4 },
	{ "small buffers' worth, in large buffers", BUF_LARGE, 4096, 512 << 10, 16 + 4 },
	{ "halves of large buffers", BUF_LARGE, 65536, 512 << 10, 8 },
	{ "more than halves of large buffers", BUF_LARGE, 66000, 2 << 20, 16 + 16 },
};

/* Whoever chooses the sizes of the pieces that wait does not choose how much memory they take. */
START_TEST(waiting_pieces_take_a_bounded_number_of_buffers)
{
	struct queue q = { 0 };
	uint32_t in = 0, out = 0, n_loose = 0;

	pool = buf_pool_free(pool);
	pool = buf_pool_new(32u << 20);
	ck_assert_int_eq(buf_reserve(pool, floods[_i].size_class, 33), 0);
	while (q.bytes + floods[_i].piece <= floods[_i].limit) {
		struct buf *b = buf_get(pool, floods[_i].size_class);
		ck_assert_ptr_nonnull(b);
		for (; b->len < floods[_i].piece; b->len++, in++)
			b->data[b->len] = (uint8_t)(in * 31 >> 3);
		queue_push(&q, pool, b);
	}
	for (const struct buf *b = queue_head(&q); b != NULL; b = queue_next(&q, b))
		n_loose += b->off + b->len < b->cap;
	ck_assert_msg(n_loose <= QUEUE_MAX_LOOSE && q.n_bufs <= floods[_i].most,
		      "%s: %u buffers, %u of them not full", floods[_i].name, q.n_bufs, n_loose);
	while (q.bytes > 0)
		take(&q, &out, q.bytes < 5000 ? q.bytes : 5000);
	ck_assert_uint_eq(out, in);
}
END_TEST

/* The bytes that a send in flight names stay where they are, unchanged, while more is pushed. */
START_TEST(a_send_in_flight_is_not_moved)
{
	struct queue q = { 0 };
	uint32_t in = 0, out = 0;
	struct iovec before[LOOP_IOV_MAX];
	uint8_t copy[100];

	queue_push(&q, pool, piece(&in, 100));
	ck_assert_int_eq(queue_iov(&q, before), 1);
	memcpy(copy, before[0].iov_base, 100);
	for (int i = 0; i < 100; i++)
		queue_push(&q, pool, piece(&in, 64));
	ck_assert_mem_eq(before[0].iov_base, copy, 100);
	take(&q, &out, 100);
	take(&q, &out, q.bytes);
}
END_TEST

/* A buffer with another reference is not written to. */
START_TEST(shared_buffers_are_left_alone)
{
	struct queue q = { 0 };
	uint32_t in = 0, out = 0;
	struct buf *shared = piece(&in, 100);

	shared->data[100] = 0x5a;
	queue_push(&q, pool, buf_ref(shared));
	queue_push(&q, pool, piece(&in, 10));
	ck_assert_uint_eq(shared->data[100], 0x5a);
	ck_assert_uint_eq(shared->len, 100);
	ck_assert_uint_eq(q.n_bufs, 2);
	buf_put(pool, shared);
	take(&q, &out, 110);
}
END_TEST

START_TEST(front_comes_first)
{
	struct queue q = { 0 };
	uint32_t in = 0, out = 0;
	struct buf *head = piece(&in, 50);

	queue_push(&q, pool, piece(&in, 2000));
	queue_push_front(&q, head);
	ck_assert_uint_eq(q.bytes, 2050);
	take(&q, &out, 2050);
	head = piece(&in, 5);
	queue_push_front(&q, head);
	queue_push(&q, pool, piece(&in, 5));
	queue_clear(&q, pool);
	ck_assert(queue_is_empty(&q));
}
END_TEST

/* One chunk after the other, to the last, and then again. */
START_TEST(chunks_are_popped_in_their_order)
{
	static const uint32_t sizes[] = { 2000, 3000, 1500 };
	struct queue q = { 0 };
	uint32_t in = 0, out = 0;

	ck_assert_ptr_null(queue_pop(&q));
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
			queue_push(&q, pool, piece(&in, sizes[i]));
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			struct buf *b = queue_pop(&q);
			ck_assert_uint_eq(b->len, sizes[i]);
			ck_assert_uint_eq(b->data[0], (uint8_t)(out * 31 >> 3));
			out += b->len;
			ck_assert_uint_eq(q.n_bufs, ARRAY_SIZE(sizes) - 1 - i);
			buf_put(pool, b);
		}
		ck_assert(queue_is_empty(&q) && q.bytes == 0 && queue_head(&q) == NULL);
	}
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, bytes_come_out_as_they_went_in, 0,
			    sizeof(pushes) / sizeof(pushes[0]));
	tcase_add_test(t, many_small_pieces_need_few_buffers);
	tcase_add_loop_test(t, waiting_pieces_take_a_bounded_number_of_buffers, 0,
			    sizeof(floods) / sizeof(floods[0]));
	tcase_add_test(t, a_send_in_flight_is_not_moved);
	tcase_add_test(t, shared_buffers_are_left_alone);
	tcase_add_test(t, front_comes_first);
	tcase_add_test(t, chunks_are_popped_in_their_order);
}

int main(void)
{
	return run_suite("net/queue", add_tests);
}
