/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Buffers that a loop lends: counted, of two sizes, from chunks that are given back after a peak.
 *
 * A receive lends a filled buffer; its handler owns that reference and passes it on (a queue of
 * chunks, net/queue.h) or puts it at once. A struct buf is also the first chunk onto itself: `off`
 * and `len` say which of its bytes somebody still wants.
 *
 * The pool has a ceiling. From there on buf_is_tight() tells whoever already holds buffers to stop
 * reading, and bulk to do without large ones (of which there are never more than twice the
 * ceiling). The others are always to be had: those who do not read, and those who do not finish
 * their heads, must not starve a connection that holds nothing. They are bounded by the number of
 * sessions.
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
	uint32_t off, len; /* the bytes that count: data[off] to data[off + len - 1] */
	uint32_t cap;
	uint16_t refs;
	uint8_t size_class; /* enum buf_class */
	/* private to buf.c */
	bool is_warm; /* it has pages */
	struct buf_chunk *chunk;
};

struct buf_pool;

/* `soft_bytes`: the ceiling of what is lent at a time. NULL when memory is short. */
struct buf_pool *buf_pool_new(size_t soft_bytes);

/* Asserts that nothing is lent. NULL is fine. Returns NULL. */
struct buf_pool *buf_pool_free(struct buf_pool *p);

/*
 * buf_reserve() - see to it that the next `n` gets of this class succeed, up to its ceiling
 *
 * May map memory: called by the loop between turns, never on the path of a byte. Returns 0, -ENOMEM
 * or -ENOBUFS (the ceiling).
 */
int buf_reserve(struct buf_pool *p, enum buf_class size_class, uint32_t n);

/*
 * buf_settle() - end a period: what neither it nor the one before needed is given back
 *
 * For a busy loop, between turns. A part at a time: false says that there is more, call again soon.
 */
bool buf_settle(struct buf_pool *p);

/* Whether free buffers hold memory that buf_trim() would give back. */
bool buf_has_spare(const struct buf_pool *p);

/* Gives some of it back: for a loop that is idle, between turns. */
void buf_trim(struct buf_pool *p);

/*
 * Gives the pages of a lent buffer back, whose bytes nobody wants; whoever writes to it gets new
 * ones.
 */
void buf_cool(struct buf *b);

/* An empty buffer with one reference, or NULL when none is reserved. Hot. */
struct buf *buf_get(struct buf_pool *p, enum buf_class size_class);

/* One more reference. */
static inline struct buf *buf_ref(struct buf *b)
{
	LB_DASSERT(b->refs > 0);
	b->refs++;
	return b;
}

/* Drops a reference; the last one gives the buffer back. Hot. */
void buf_put(struct buf_pool *p, struct buf *b);

/* Whether a get of this class would succeed now. */
bool buf_is_available(const struct buf_pool *p, enum buf_class size_class);

/* Whether more than the ceiling is lent, or few are free and there is no memory for more. */
bool buf_is_tight(const struct buf_pool *p);

/* Bytes of buffers taken by get and not yet put. */
size_t buf_bytes_used(const struct buf_pool *p);

/* Bytes of memory held, free buffers included. */
size_t buf_bytes_held(const struct buf_pool *p);

/* Lets the n-th get from now on fail, once (1 is the next one); 0 is never. For tests. */
void buf_fail_after(struct buf_pool *p, uint32_t n);

/* Whether the kernel is taken to have no more memory. For tests. */
void buf_fail_maps(struct buf_pool *p, bool is_failing);
