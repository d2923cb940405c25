/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A queue of chunks: bytes that wait to be sent, in the buffers they came in.
 *
 *   head                                   tail
 *   [....#########]-->[#############]-->[######......]
 *        off  len          (buf)              ^ small pieces are copied in here
 *
 * A chunk is a counted buffer with an offset and a length (struct buf). queue_push() copies small
 * pieces behind the bytes of the tail, so that small pieces do not hold a buffer each. Bytes that a
 * send in flight names are never moved or overwritten.
 *
 * Thread: the loop's. Layer: net.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "ev/loop.h"

/* At most so many buffers of a queue have free space behind their bytes. So the memory of a queue
 * is bounded by its bytes and so many buffers, whatever the sizes of the pieces. Buffers that
 * queue_push_front() puts in, and buffers with several references, are not counted. */
#define QUEUE_MAX_LOOSE 16u

/* The chunks are a ring, so that a queue needs only one pointer: an idle session has two queues. */
struct queue {
	struct buf *tail; /* the last chunk; owns a reference of each chunk; NULL: empty */
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

/* Takes the first chunk out of the queue, with the queue's reference. NULL when the queue is
 * empty. */
struct buf *queue_pop(struct queue *q);

/* Appends the bytes of `b`, and takes over the caller's reference. Hot. */
void queue_push(struct queue *q, struct buf_pool *pool, struct buf *b);

/* Puts `b` before all other chunks, and takes over the caller's reference. No send of the queue may
 * be in flight. */
void queue_push_front(struct queue *q, struct buf *b);

/* Writes the first chunks as an iovec. Returns the number of its elements, at most LOOP_IOV_MAX.
 * Hot. */
int queue_iov(const struct queue *q, struct iovec iov[LOOP_IOV_MAX]);

/* Drops the first `n` bytes; n is at most q->bytes. Hot. */
void queue_consume(struct queue *q, struct buf_pool *pool, uint32_t n);

/* Drops all bytes, and the references of all chunks. */
void queue_clear(struct queue *q, struct buf_pool *pool);
