/* SPDX-License-Identifier: Apache-2.0 */
#include "net/queue.h"

#include <string.h>

/*
 * A piece of at least this many bytes keeps its own buffer unless the queue holds many: copying it
 * would cost more than the buffer. A guess, never tuned.
 */
#define COPY_MAX 1024u
#define MANY_BUFS 8u

/* Moves the front of `b` behind the tail, as much as fits there. */
static void fill_tail(struct queue *q, struct buf *b)
{
	struct buf *t = q->tail;
	uint32_t end = t->off + t->len;
	uint32_t n = t->cap - end < b->len ? t->cap - end : b->len;

	memcpy(t->data + end, b->data + b->off, n);
	t->len += n;
	q->bytes += n;
	b->off += n;
	b->len -= n;
}

void queue_push(struct queue *q, struct buf_pool *pool, struct buf *b)
{
	/* A buffer with other owners may not be written to: they may read what lies behind. */
	if (q->tail != NULL && q->tail->refs == 1 &&
	    (b->len <= COPY_MAX || (q->n_bufs >= MANY_BUFS && b->cap == BUF_SMALL_BYTES)))
		fill_tail(q, b);
	if (b->len == 0) {
		buf_put(pool, b);
		return;
	}

	b->next = NULL;
	if (q->tail == NULL)
		q->head = b;
	else
		q->tail->next = b;
	q->tail = b;
	q->bytes += b->len;
	q->n_bufs++;
}

void queue_push_front(struct queue *q, struct buf *b)
{
	LB_ASSERT(b->len > 0);
	b->next = q->head;
	q->head = b;
	if (q->tail == NULL)
		q->tail = b;
	q->bytes += b->len;
	q->n_bufs++;
}

int queue_iov(const struct queue *q, struct iovec iov[LOOP_IOV_MAX])
{
	int n = 0;

	for (const struct buf *b = q->head; b != NULL && n < LOOP_IOV_MAX; b = b->next)
		iov[n++] = (struct iovec){ .iov_base = b->data + b->off, .iov_len = b->len };
	return n;
}

void queue_consume(struct queue *q, struct buf_pool *pool, uint32_t n)
{
	LB_ASSERT(n <= q->bytes);
	q->bytes -= n;
	while (n > 0) {
		struct buf *b = q->head;
		LB_ASSERT(b != NULL);
		uint32_t part = n < b->len ? n : b->len;

		b->off += part;
		b->len -= part;
		n -= part;
		if (b->len > 0)
			break;
		q->head = b->next;
		if (q->head == NULL)
			q->tail = NULL;
		q->n_bufs--;
		buf_put(pool, b);
	}
}

void queue_clear(struct queue *q, struct buf_pool *pool)
{
	queue_consume(q, pool, q->bytes);
	LB_ASSERT(q->head == NULL && q->n_bufs == 0);
}
