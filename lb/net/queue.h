/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A queue of chunks: bytes that wait to be sent, in the buffers they came in.
 *
 *   head                                   tail
 *   [....#########]-->[#############]-->[######......]
 *        off  len          (buf)              ^ small pieces are copied in here
 *
 * A chunk is a counted buffer with an offset and a length (struct buf). What is pushed is copied
 * behind the tail where it fits, so that many small pieces do not hold a buffer each; the range
 * that a send in flight names is never moved or overwritten.
 *
 * Thread: the loop's. Layer: net.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "ev/loop.h"

/* At most so many buffers of a queue have room behind their bytes, so that a queue's memory is that
 * of its bytes and of so many buffers, whatever the sizes of the pieces that come. Buffers that
 * queue_push_front() puts in, and those with other owners, come on top. */
#define QUEUE_MAX_LOOSE 16u

/* A ring, so that a queue, of which each idle connection has two, needs one pointer. */
struct queue {
	struct buf *tail; /* owns a reference of each; tail->next is the head; NULL: empty */
	uint32_t bytes;
	uint32_t n_bufs;
};

static inline struct buf *queue_head(const struct queue *q)
{
	return q->tail != NULL ? q->tail->next : NULL;
}

/* The chunk behind `b`, or NULL behind the last one. */
static inline struct buf *queue_next(const struct queue *q, const struct buf *b)
{
	return b != q->tail ? b->next : NULL;
}

static inline bool queue_is_empty(const struct queue *q)
{
	return q->tail == NULL;
}

/* Takes the first chunk out; its reference is the caller's. NULL: the queue is empty. */
struct buf *queue_pop(struct queue *q);

/* Appends b->data[off .. off + len); takes over the caller's reference. Hot. */
void queue_push(struct queue *q, struct buf_pool *pool, struct buf *b);

/* Puts the chunk before all others: no send of the queue may be in flight. Takes over the
 * reference. */
void queue_push_front(struct queue *q, struct buf *b);

/* The first pieces as an iovec; returns how many (at most LOOP_IOV_MAX). Hot. */
int queue_iov(const struct queue *q, struct iovec iov[LOOP_IOV_MAX]);

/* Drops the first `n` bytes, n at most q->bytes. Hot. */
void queue_consume(struct queue *q, struct buf_pool *pool, uint32_t n);

/* Drops everything. */
void queue_clear(struct queue *q, struct buf_pool *pool);
