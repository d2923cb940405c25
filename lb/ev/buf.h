/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Buffers that a loop lends: counted, of three sizes, from chunks that are given back after a peak.
 *
 * A receive lends a filled buffer; its handler owns that reference and passes it on (to a queue,
 * net/queue.h) or puts it at once. `off` and `len` of a buffer say which of its bytes are still
 * wanted.
 *
 * The pool has a ceiling. When more than the ceiling is lent, buf_is_tight() tells connections that
 * hold buffers to stop reading, and tells bulk to do without large buffers (of which there are
 * never more than twice the ceiling). Small and head buffers are not refused at the ceiling, so
 * that peers that do not read, or do not finish their heads, cannot starve a connection that holds
 * no buffer. The number of sessions bounds the number of small and head buffers that are lent.
 *
 * Thread: the loop's. Layer: ev.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/assert.h"

enum buf_class {
	BUF_SMALL, /* BUF_SMALL_BYTES: what a quiet connection receives into */
	BUF_HEAD,  /* BUF_HEAD_BYTES: for a head that a small buffer cannot hold */
	BUF_LARGE, /* BUF_LARGE_BYTES: for directions that prove to be bulk */
	BUF_N_CLASSES,
};

/* Measured: a message of 1 MB costs three times the CPU in buffers of 4 KiB that it costs in large
 * buffers. Large buffers of 64 KiB cost a tenth more than those of 128 KiB (docs/decisions,
 * 0010). */
#define BUF_SMALL_BYTES 4096u
#define BUF_LARGE_BYTES 131072u
/* 16 KiB of a head, 4 KiB of a receive, and 1 KiB for what lb adds to the head (at most
 * FORWARD_GROWTH, proto/forward.h). */
#define BUF_HEAD_BYTES 21504u

struct buf_chunk;

struct buf {
	struct buf *next;  /* the next buffer in a queue or a free list */
	uint8_t *data;     /* `cap` bytes; owned by the chunk */
	uint32_t off, len; /* the bytes that are wanted: data[off] to data[off + len - 1] */
	uint32_t cap;
	uint16_t refs;
	uint8_t size_class; /* enum buf_class */
	/* private to buf.c */
	bool is_warm; /* the buffer may have pages of memory */
	struct buf_chunk *chunk;
};

struct buf_pool;

/* Makes a pool. `soft_bytes` is the ceiling: how many bytes are meant to be lent at a time. Returns
 * NULL when memory is short. */
struct buf_pool *buf_pool_new(size_t soft_bytes);

/* Frees the pool, and asserts that no buffer is lent. NULL is fine. Returns NULL. */
struct buf_pool *buf_pool_free(struct buf_pool *p);

/*
 * buf_reserve() - map memory so that the next `n` gets of this class succeed, up to the ceiling
 *
 * To be called between turns, not for each byte. Returns 0, -ENOMEM, or -ENOBUFS when the ceiling
 * allows fewer than `n`.
 */
int buf_reserve(struct buf_pool *p, enum buf_class size_class, uint32_t n);

/*
 * buf_settle() - end a period, and unmap chunks that neither it nor the period before needed
 *
 * For a busy loop, between turns. One call unmaps a bounded number of chunks, and returns false
 * when there are more to unmap.
 */
bool buf_settle(struct buf_pool *p);

/* Whether free buffers hold memory that buf_trim() would give back. */
bool buf_has_spare(const struct buf_pool *p);

/* Gives a bounded part of the memory of free buffers back to the kernel. For an idle loop, between
 * turns. */
void buf_trim(struct buf_pool *p);

/* Gives the pages of a lent buffer back to the kernel; its bytes are lost. The caller has the only
 * reference. */
void buf_cool(struct buf *b);

/* An empty buffer with one reference. NULL when no mapped buffer is free, or the ceiling allows no
 * more. Hot. */
struct buf *buf_get(struct buf_pool *p, enum buf_class size_class);

/* Asserts that `b` is lent and that off and len are within its bytes. */
static inline void buf_assert_sane(const struct buf *b)
{
	LB_ASSERT(b->refs > 0);
	LB_ASSERT(b->off <= b->cap && b->len <= b->cap - b->off);
}

/* Makes one more reference. Returns `b`. */
static inline struct buf *buf_ref(struct buf *b)
{
	buf_assert_sane(b);
	LB_ASSERT(b->refs < UINT16_MAX);
	b->refs++;
	return b;
}

/* Drops a reference. When it was the last one, the buffer goes back to the pool. Hot. */
void buf_put(struct buf_pool *p, struct buf *b);

/* Whether a get of this class would succeed now. */
bool buf_is_available(const struct buf_pool *p, enum buf_class size_class);

/* Whether more than the ceiling is lent, or memory is short and few small buffers are free. */
bool buf_is_tight(const struct buf_pool *p);

/* The bytes of lent buffers. */
size_t buf_bytes_used(const struct buf_pool *p);

/* The bytes of memory of all chunks, with free buffers. */
size_t buf_bytes_held(const struct buf_pool *p);

/* Lets the n-th buf_get() from now on fail, and no other (1 is the next one); 0 lets none fail. For
 * tests. */
void buf_fail_after(struct buf_pool *p, uint32_t n);

/* While `is_failing`, no chunk can be mapped. For tests. */
void buf_fail_maps(struct buf_pool *p, bool is_failing);
