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
 * nothing. The number of sessions bounds them.
 *
 * Thread: the loop's. Layer: ev.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/assert.h"

enum buf_class {
	BUF_SMALL, /* BUF_SMALL_BYTES: what a quiet connection receives into */
	BUF_HEAD,  /* BUF_HEAD_BYTES: a head that a small one cannot hold */
	BUF_LARGE, /* BUF_LARGE_BYTES: for directions that prove to be bulk */
	BUF_N_CLASSES,
};

/* Measured: 4 KiB buffers cost a 1 MB message three times the CPU of large ones (design, 3), large
 * ones of 64 KiB a tenth more than these (docs/decisions, 0010). */
#define BUF_SMALL_BYTES 4096u
#define BUF_LARGE_BYTES 131072u
/* 16 KiB of a head, a receive, and what lb adds to it (proto/forward.h). */
#define BUF_HEAD_BYTES 21504u

struct buf_chunk;

struct buf {
	struct buf *next;  /* in a queue or a free list */
	uint8_t *data;     /* `cap` bytes; owned by the chunk */
	uint32_t off, len; /* the bytes that are wanted: data[off] to data[off + len - 1] */
	uint32_t cap;
	uint16_t refs;
	uint8_t size_class; /* enum buf_class */
	/* private to buf.c */
	bool is_warm; /* it may have pages of memory */
	struct buf_chunk *chunk;
};

struct buf_pool;

/* `soft_bytes`: the ceiling of what is lent at a time. NULL when memory is short. */
struct buf_pool *buf_pool_new(size_t soft_bytes);

/* Asserts that nothing is lent. NULL is fine. Returns NULL. */
struct buf_pool *buf_pool_free(struct buf_pool *p);

/*
 * buf_reserve() - map memory so that the next `n` gets of this class succeed, up to the ceiling
 *
 * To be called between turns, not for each byte. Returns 0, -ENOMEM, or -ENOBUFS when the ceiling
 * allows fewer than `n`.
 */
int buf_reserve(struct buf_pool *p, enum buf_class size_class, uint32_t n);

/*
 * buf_settle() - end a period: give back what neither this period nor the one before needed
 *
 * For a busy loop, between turns. Does a bounded part: false says that there is more to do.
 */
bool buf_settle(struct buf_pool *p);

/* Whether free buffers hold memory that buf_trim() would give back. */
bool buf_has_spare(const struct buf_pool *p);

/* Gives a bounded part of that memory back: for a loop that is idle, between turns. */
void buf_trim(struct buf_pool *p);

/* Gives the pages of a lent buffer back; its bytes are lost. The caller has the only reference. */
void buf_cool(struct buf *b);

/* An empty buffer with one reference, or NULL when none is reserved. Hot. */
struct buf *buf_get(struct buf_pool *p, enum buf_class size_class);

/* The cursors of a lent buffer lie within it. */
static inline void buf_assert_sane(const struct buf *b)
{
	LB_ASSERT(b->refs > 0);
	LB_ASSERT(b->off <= b->cap && b->len <= b->cap - b->off);
}

/* One more reference. */
static inline struct buf *buf_ref(struct buf *b)
{
	buf_assert_sane(b);
	LB_ASSERT(b->refs < UINT16_MAX);
	b->refs++;
	return b;
}

/* Drops a reference; the last one gives the buffer back. Hot. */
void buf_put(struct buf_pool *p, struct buf *b);

/* Whether a get of this class would succeed now. */
bool buf_is_available(const struct buf_pool *p, enum buf_class size_class);

/* Whether more than the ceiling is lent, or memory is short and few small buffers are free. */
bool buf_is_tight(const struct buf_pool *p);

/* Bytes of buffers taken by get and not yet put. */
size_t buf_bytes_used(const struct buf_pool *p);

/* Bytes of memory held, free buffers included. */
size_t buf_bytes_held(const struct buf_pool *p);

/* Lets the n-th get from now on fail, once (1 is the next one); 0 is never. For tests. */
void buf_fail_after(struct buf_pool *p, uint32_t n);

/* While `is_failing`, no chunk can be mapped. For tests. */
void buf_fail_maps(struct buf_pool *p, bool is_failing);
