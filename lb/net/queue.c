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
	/* A buffer with other owners may not be written to: they may read what lies behind. */
	if (q->tail != NULL && q->tail->refs == 1 &&
	    (b->len <= COPY_MAX || (q->n_bufs >= MANY_BUFS && b->cap == BUF_SMALL_BYTES)))
		fill_tail(q, b);
	if (b->len == 0) {
		buf_put(pool, b);
		return;
	}

	push_front(q, b);
	q->tail = b;
}

void queue_push_front(struct queue *q, struct buf *b)
{
	LB_ASSERT(b->len > 0);
	push_front(q, b);
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
}

void queue_clear(struct queue *q, struct buf_pool *pool)
{
	queue_consume(q, pool, q->bytes);
	LB_ASSERT(q->tail == NULL && q->n_bufs == 0);
}
