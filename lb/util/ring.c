/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring of records from one writer thread to one reader thread, without locks.
 *
 * Terms. A record is a length (4 bytes) and that many bytes. `head` is the position behind the last
 * record that was written, `tail` the position of the first record that was not read. A position
 * only grows; its low bits are an offset in `data`. A record may wrap around the end of `data`:
 *
 *	   tail              head
 *	    v                 v
 *	....[len|bytes][len|b].......     used = head - tail, free = size - used
 *
 * ring_write() copies a record in and then stores `head`. ring_read() copies a record out and then
 * stores `tail`. Both stores are releases, and each side loads the other's position with acquire.
 * Therefore the reader sees the bytes of every record before `head`, and the writer overwrites no
 * byte before the reader's copy of it is done.
 *
 * When a record does not fit, ring_write() drops the record and counts it: the writer never waits.
 *
 * `head` and `tail` are in cache lines of their own, because different threads write them. Each
 * side keeps a copy of the other's position, seen_tail and seen_head, and loads the other's cache
 * line only when, by that copy, the ring is full (for the writer) or empty (for the reader).
 *
 * Thread: one writer, one reader; any for ring_n_dropped(). Hot.
 */
#include "util/ring.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define RING_BYTES_MIN 64u /* a guess; half as many bytes and a length must fit */

struct ring {
	/* the fields that the writer writes */
	LB_CACHE_ALIGNED _Atomic uint64_t head;
	uint64_t seen_tail;
	_Atomic uint64_t n_dropped;

	/* the fields that the reader writes */
	LB_CACHE_ALIGNED _Atomic uint64_t tail;
	uint64_t seen_head;

	/* the field that only ring_new() writes */
	LB_CACHE_ALIGNED size_t size; /* a power of two */
	uint8_t data[];
};

struct ring *ring_new(size_t bytes)
{
	size_t size = RING_BYTES_MIN;
	while (size < bytes && size <= SIZE_MAX / 4)
		size *= 2;

	/* aligned_alloc() wants a size that is a multiple of the alignment, 64. */
	size_t n = (sizeof(struct ring) + size + 63) & ~(size_t)63;
	struct ring *r = size < bytes ? NULL : aligned_alloc(_Alignof(struct ring), n);
	if (r == NULL)
		return NULL;
	memset(r, 0, sizeof(*r));
	r->size = size;
	return r;
}

struct ring *ring_free(struct ring *r)
{
	free(r);
	return NULL;
}

static void ring_copy_in(struct ring *r, uint64_t at, const void *from, size_t n)
{
	size_t off = (size_t)at & (r->size - 1);
	size_t first = n < r->size - off ? n : r->size - off;

	LB_ASSERT(n <= r->size);
	memcpy(r->data + off, from, first);
	memcpy(r->data, (const uint8_t *)from + first, n - first);
}

static void ring_copy_out(const struct ring *r, uint64_t at, void *to, size_t n)
{
	size_t off = (size_t)at & (r->size - 1);
	size_t first = n < r->size - off ? n : r->size - off;

	memcpy(to, r->data + off, first);
	memcpy((uint8_t *)to + first, r->data, n - first);
}

int ring_write(struct ring *r, const void *rec, size_t n)
{
	LB_ASSERT(n > 0 && n <= r->size / 2 && n <= UINT32_MAX);

	uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	uint32_t len = (uint32_t)n;
	size_t need = sizeof(len) + n;

	LB_ASSERT(head - r->seen_tail <= r->size);
	if (r->size - (head - r->seen_tail) < need) {
		/* acquire: the reader has finished copying the bytes that will be overwritten */
		r->seen_tail = atomic_load_explicit(&r->tail, memory_order_acquire);
		LB_ASSERT(head - r->seen_tail <= r->size);
		if (r->size - (head - r->seen_tail) < need) {
			uint64_t d = atomic_load_explicit(&r->n_dropped, memory_order_relaxed);
			atomic_store_explicit(&r->n_dropped, d + 1, memory_order_relaxed);
			return -ENOSPC;
		}
	}

	ring_copy_in(r, head, &len, sizeof(len));
	ring_copy_in(r, head + sizeof(len), rec, n);
	/* release: a reader that sees the new head sees the record */
	atomic_store_explicit(&r->head, head + need, memory_order_release);
	return 0;
}

size_t ring_read(struct ring *r, void *out, size_t max)
{
	uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

	if (tail == r->seen_head) {
		r->seen_head = atomic_load_explicit(&r->head, memory_order_acquire);
		LB_ASSERT(r->seen_head - tail <= r->size);
		if (tail == r->seen_head)
			return 0;
	}

	uint32_t len;
	ring_copy_out(r, tail, &len, sizeof(len));
	LB_ASSERT(len > 0 && len <= r->size / 2 && sizeof(len) + len <= r->seen_head - tail);

	size_t n = len < max ? len : max;
	ring_copy_out(r, tail + sizeof(len), out, n);
	/* release: a writer that sees the new tail may overwrite the record */
	atomic_store_explicit(&r->tail, tail + sizeof(len) + len, memory_order_release);
	return n;
}

uint64_t ring_n_dropped(const struct ring *r)
{
	return atomic_load_explicit(&r->n_dropped, memory_order_relaxed);
}
