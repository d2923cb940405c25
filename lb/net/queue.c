/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue of chunks: bytes that wait to be sent.
 *
 * Terms. A chunk is a counted buffer whose bytes off to off + len - 1 are still to be sent (struct
 * buf). The head is the chunk that is sent first, the tail the one that was pushed last. The chunks
 * are a ring: the tail's `next` is the head, so the queue needs one pointer, to the tail.
 *
 *   tail --> [ last chunk ] --next--> [ first chunk ] --next--> ... --next--> [ last chunk ]
 *
 * queue_push() takes a buffer with received bytes. When the bytes are few, or the queue holds many
 * buffers, fill_tail() copies as many of the bytes as fit behind the bytes of the tail, so that
 * pieces of any size need a bounded number of buffers. When bytes are left, their buffer becomes
 * the tail. A send gets the first chunks from queue_iov(). When the send has completed,
 * queue_consume() drops the bytes that the kernel has taken, and puts each buffer whose last byte
 * was sent.
 *
 * A send that is in flight names bytes that are in the queue. No function moves or overwrites these
 * bytes: fill_tail() writes behind the last byte, and only into a buffer that has no other
 * reference. queue_push_front() is only called while no send is in flight.
 *
 * `bytes` and `n_bufs` are the sums over the chunks; assert_sane() says what holds between calls.
 *
 * Thread: the loop's. Hot: no allocation, no lock.
 */
#include "net/queue.h"

#include <string.h>

/*
 * A piece of more than COPY_MAX bytes keeps its own buffer, because copying it would cost more than
 * the buffer, unless the queue holds many buffers. When the queue holds MANY_BUFS buffers, a piece
 * in a small buffer is copied behind the tail, as far as it fits there. When the queue holds
 * QUEUE_MAX_LOOSE buffers, every piece is copied so. Guesses, never tuned.
 */
#define COPY_MAX 1024u
#define MANY_BUFS 8u

/* Asserts that an empty queue has no bytes, and that each chunk of any other queue has at least one
 * byte. */
static void assert_sane(const struct queue *q)
{
	LB_ASSERT((q->tail == NULL) == (q->bytes == 0));
	LB_ASSERT((q->tail == NULL) == (q->n_bufs == 0) && q->n_bufs <= q->bytes);
}

/* Moves bytes from the front of `b` behind the bytes of the tail, as many as fit there. */
static void fill_tail(struct queue *q, struct buf *b)
{
	struct buf *t = q->tail;
	uint32_t end = t->off + t->len;
	uint32_t n = t->cap - end < b->len ? t->cap - end : b->len;

	LB_ASSERT(t != b && end <= t->cap);
	memcpy(t->data + end, b->data + b->off, n);
	t->len += n;
	q->bytes += n;
	b->off += n;
	b->len -= n;
}

/* Puts `b` between the tail and the head. */
static void push_front(struct queue *q, struct buf *b)
{
	if (q->tail == NULL) {
		q->tail = b;
		b->next = b;
	} else {
		b->next = q->tail->next;
		q->tail->next = b;
	}
	q->bytes += b->len;
	q->n_bufs++;
}

void queue_push(struct queue *q, struct buf_pool *pool, struct buf *b)
{
	uint32_t most = b->cap == BUF_SMALL_BYTES ? MANY_BUFS : QUEUE_MAX_LOOSE;

	buf_assert_sane(b);
	LB_ASSERT(b->len <= UINT32_MAX - q->bytes);
	/* A buffer with other references is not changed: their holders may use its end. */
	if (q->tail != NULL && q->tail->refs == 1 && (b->len <= COPY_MAX || q->n_bufs >= most))
		fill_tail(q, b);
	if (b->len == 0) {
		buf_put(pool, b);
		return;
	}

	push_front(q, b);
	q->tail = b;
	assert_sane(q);
}

void queue_push_front(struct queue *q, struct buf *b)
{
	buf_assert_sane(b);
	LB_ASSERT(b->len > 0 && b->len <= UINT32_MAX - q->bytes);
	push_front(q, b);
	assert_sane(q);
}

int queue_iov(const struct queue *q, struct iovec iov[LOOP_IOV_MAX])
{
	int n = 0;

	for (const struct buf *b = queue_head(q); b != NULL && n < LOOP_IOV_MAX;
	     b = queue_next(q, b))
		iov[n++] = (struct iovec){ .iov_base = b->data + b->off, .iov_len = b->len };
	return n;
}

struct buf *queue_pop(struct queue *q)
{
	struct buf *b = queue_head(q);

	if (b == NULL)
		return NULL;
	LB_ASSERT(q->n_bufs > 0 && b->len > 0 && b->len <= q->bytes);
	if (b == q->tail)
		q->tail = NULL;
	else
		q->tail->next = b->next;
	q->bytes -= b->len;
	q->n_bufs--;
	return b;
}

void queue_consume(struct queue *q, struct buf_pool *pool, uint32_t n)
{
	LB_ASSERT(n <= q->bytes);
	while (n > 0) {
		struct buf *b = queue_head(q);
		LB_ASSERT(b != NULL);
		uint32_t part = n < b->len ? n : b->len;

		n -= part;
		if (part == b->len) {
			buf_put(pool, queue_pop(q));
			continue;
		}
		b->off += part;
		b->len -= part;
		q->bytes -= part;
	}
	assert_sane(q);
}

void queue_clear(struct queue *q, struct buf_pool *pool)
{
	queue_consume(q, pool, q->bytes);
	LB_ASSERT(q->tail == NULL);
}
