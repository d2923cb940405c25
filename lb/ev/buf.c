/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool of buffers of one loop.
 *
 * Terms. A buffer is lent from buf_get() until its last reference is put. A size class is one of
 * the three sizes of buffers. A chunk is mapped memory for the buffers of one size class, some 256
 * KiB. A buffer is warm when it may have pages of memory, because something was written to it since
 * the kernel last got its pages back. The ceiling, soft_bytes, is how much the pool is meant to
 * lend.
 *
 * A chunk has its headers in a page of their own, and the data of each buffer begins at a page:
 *
 *   | struct buf_chunk, bufs[] | data of bufs[0] | data of bufs[1] | ...
 *
 * Getting and putting. Each chunk has a list of its free buffers. The chunks that have free buffers
 * are in the list buf_class_pool.partial. A put moves a chunk that was full to the head of that
 * list, and a get takes from the head: memory that was used last is used again first, while it is
 * in the cache. Neither get nor put calls the kernel.
 *
 * Memory. Chunks are mapped and unmapped between turns only. buf_reserve() maps them. buf_settle()
 * unmaps, in a busy loop, the empty chunks that this period and the one before did not need.
 * buf_trim() unmaps, in an idle loop, all empty chunks but one per class. A few buffers stay lent
 * after a peak, because an engine has laid them out for the kernel, and each may be in another
 * chunk. Therefore buf_trim() also gives the kernel the pages of free buffers in chunks that are
 * not empty.
 *
 * The ceiling. Only large buffers are refused beyond it, at twice the ceiling (n_allowed()). Small
 * and head buffers are never refused while there is memory: buf_is_tight() tells connections that
 * hold buffers to stop reading.
 *
 * Under AddressSanitizer free buffers are poisoned.
 *
 * Thread: the loop's. Hot.
 */
#include "ev/buf.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "util/list.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

#define PAGE_BYTES 4096u

static const struct {
	uint32_t bytes, stride, n_per_chunk;
} classes[BUF_N_CLASSES] = {
	[BUF_SMALL] = { BUF_SMALL_BYTES, BUF_SMALL_BYTES, 64 },
	[BUF_HEAD] = { BUF_HEAD_BYTES, 6 * PAGE_BYTES, 10 },
	[BUF_LARGE] = { BUF_LARGE_BYTES, BUF_LARGE_BYTES, 4 },
};
_Static_assert(BUF_HEAD_BYTES <= 6 * PAGE_BYTES, "a buffer shares no page with the next");

/* The most chunks of a size class that one call unmaps or cools: 8 MiB of small buffers. */
#define TRIM_CHUNKS 32

/* When memory is short and fewer than SCARCE_BUFS small buffers are free, buf_is_tight() returns
 * true, so that the rest is left to connections that hold no buffer. A guess. */
#define SCARCE_BUFS 64

struct buf_chunk {
	struct list link; /* in buf_class_pool.partial while a buffer of the chunk is free */
	struct buf *free;
	uint32_t n_free, n;
	uint32_t n_warm; /* free buffers that are warm */
	struct buf bufs[];
};
_Static_assert(sizeof(struct buf_chunk) + 64 * sizeof(struct buf) <= PAGE_BYTES, "before the data");

struct buf_class_pool {
	struct list partial;
	uint32_t n_free;  /* free buffers, over all chunks */
	uint32_t n_warm;  /* free buffers that are warm, over all chunks */
	uint32_t n_empty; /* chunks of which no buffer is lent */
	uint32_t n_lent;
	/* The highest n_lent in this period, and in the period before (buf_settle()). */
	uint32_t peak, last_peak;
};

struct buf_pool {
	struct buf_class_pool size_class[BUF_N_CLASSES];
	size_t soft_bytes, used_bytes, held_bytes;
	bool is_short; /* the last attempt to map a chunk failed */
	uint32_t fail_after;
	bool fails_maps;
};

/* Asserts the invariants of one class's counts. */
static void assert_counts(const struct buf_class_pool *cp)
{
	LB_ASSERT(cp->n_warm <= cp->n_free);
	LB_ASSERT(cp->n_lent <= cp->peak);
	LB_ASSERT(list_is_empty(&cp->partial) == (cp->n_free == 0));
}

struct buf_pool *buf_pool_new(size_t soft_bytes)
{
	struct buf_pool *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->soft_bytes = soft_bytes;
	for (int i = 0; i < BUF_N_CLASSES; i++)
		list_init(&p->size_class[i].partial);
	return p;
}

/* The size of a chunk's data, which begins a page behind the chunk's start. */
static size_t data_bytes(enum buf_class size_class)
{
	return (size_t)classes[size_class].stride * classes[size_class].n_per_chunk;
}

static void chunk_unmap(struct buf_pool *p, enum buf_class size_class, struct buf_chunk *c)
{
	size_t bytes = data_bytes(size_class);

	LB_ASSERT(c->n_free == c->n && p->held_bytes >= bytes);
	LB_ASSERT(p->size_class[size_class].n_empty > 0 && c->n_warm <= c->n_free);
	list_del(&c->link);
	p->size_class[size_class].n_free -= c->n;
	p->size_class[size_class].n_warm -= c->n_warm;
	p->size_class[size_class].n_empty--;
	p->held_bytes -= bytes;
	ASAN_UNPOISON_MEMORY_REGION(c->bufs[0].data, bytes);
	(void)munmap(c, PAGE_BYTES + bytes);
}

struct buf_pool *buf_pool_free(struct buf_pool *p)
{
	if (p == NULL)
		return NULL;
	LB_ASSERT(p->used_bytes == 0);
	for (int size_class = 0; size_class < BUF_N_CLASSES; size_class++) {
		struct buf_class_pool *cp = &p->size_class[size_class];
		LB_ASSERT(cp->n_lent == 0);
		list_for_each(it, &cp->partial)
			chunk_unmap(p, size_class, list_entry(it, struct buf_chunk, link));
		LB_ASSERT(cp->n_free == 0 && cp->n_warm == 0 && cp->n_empty == 0);
	}
	LB_ASSERT(p->held_bytes == 0);
	free(p);
	return NULL;
}

static int chunk_map(struct buf_pool *p, enum buf_class size_class)
{
	const int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;
	size_t bytes = data_bytes(size_class);
	void *mem = MAP_FAILED;

	if (!p->fails_maps)
		mem = mmap(NULL, PAGE_BYTES + bytes, prot, flags, -1, 0);
	p->is_short = mem == MAP_FAILED;
	if (p->is_short)
		return -ENOMEM;
	struct buf_chunk *c = mem;
	uint8_t *data = (uint8_t *)mem + PAGE_BYTES;
	uint32_t n = classes[size_class].n_per_chunk;
	c->n = c->n_free = n;
	for (uint32_t i = n; i-- > 0;) {
		struct buf *b = &c->bufs[i];
		b->data = data + (size_t)i * classes[size_class].stride;
		b->cap = classes[size_class].bytes;
		b->size_class = (uint8_t)size_class;
		b->chunk = c;
		b->next = c->free;
		c->free = b;
	}
	ASAN_POISON_MEMORY_REGION(data, bytes);
	list_add_tail(&p->size_class[size_class].partial, &c->link);
	p->size_class[size_class].n_free += n;
	p->size_class[size_class].n_empty++;
	p->held_bytes += bytes;
	return 0;
}

/* Whether an empty chunk may be unmapped: neither this period nor the last one needed it, and
 * another empty chunk is left. */
static bool is_chunk_surplus(const struct buf_class_pool *cp, uint32_t n_per_chunk)
{
	uint32_t peak = cp->peak > cp->last_peak ? cp->peak : cp->last_peak;

	return cp->n_empty > 1 && cp->n_lent + cp->n_free >= peak + 2 * n_per_chunk;
}

/* buf_settle() for one class. Returns false when there is more to do. */
static bool settle(struct buf_pool *p, enum buf_class size_class)
{
	struct buf_class_pool *cp = &p->size_class[size_class];
	uint32_t n = 0;

	assert_counts(cp);
	list_for_each(it, &cp->partial)
	{
		struct buf_chunk *c = list_entry(it, struct buf_chunk, link);
		if (!is_chunk_surplus(cp, c->n))
			return true;
		if (c->n_free < c->n)
			continue;
		if (n++ == TRIM_CHUNKS)
			return false;
		chunk_unmap(p, size_class, c);
	}
	return true;
}

bool buf_settle(struct buf_pool *p)
{
	bool is_done = true;

	for (int size_class = 0; size_class < BUF_N_CLASSES; size_class++)
		is_done = settle(p, size_class) && is_done;
	for (int size_class = 0; is_done && size_class < BUF_N_CLASSES; size_class++) {
		struct buf_class_pool *cp = &p->size_class[size_class];
		cp->last_peak = cp->peak;
		cp->peak = cp->n_lent;
	}
	return is_done;
}

bool buf_has_spare(const struct buf_pool *p)
{
	for (int size_class = 0; size_class < BUF_N_CLASSES; size_class++)
		if (p->size_class[size_class].n_empty > 1 || p->size_class[size_class].n_warm > 0)
			return true;
	return false;
}

static bool is_warm(const struct buf *b)
{
	return b->refs == 0 && b->is_warm;
}

/* Gives the pages of a chunk's warm free buffers back to the kernel, with one madvise(2) for each
 * run of neighbours. */
static void chunk_cool(struct buf_pool *p, enum buf_class size_class, struct buf_chunk *c)
{
	LB_ASSERT(p->size_class[size_class].n_warm >= c->n_warm);
	p->size_class[size_class].n_warm -= c->n_warm;
	c->n_warm = 0;
	for (uint32_t i = 0, end; i < c->n; i = end + 1) {
		for (end = i; end < c->n && is_warm(&c->bufs[end]); end++)
			c->bufs[end].is_warm = false;
		if (end > i)
			(void)madvise(c->bufs[i].data,
				      (size_t)(end - i) * classes[size_class].stride,
				      MADV_DONTNEED);
	}
}

void buf_trim(struct buf_pool *p)
{
	for (int size_class = 0; size_class < BUF_N_CLASSES; size_class++) {
		struct buf_class_pool *cp = &p->size_class[size_class];
		int n = 0;

		assert_counts(cp);
		cp->peak = cp->last_peak = cp->n_lent;
		list_for_each(it, &cp->partial)
		{
			struct buf_chunk *c = list_entry(it, struct buf_chunk, link);
			if (n == TRIM_CHUNKS)
				break;
			if (c->n_free == c->n && cp->n_empty > 1)
				chunk_unmap(p, size_class, c);
			else if (c->n_warm > 0)
				chunk_cool(p, size_class, c);
			else
				continue;
			n++;
		}
	}
}

/* The number of buffers of this class that may still be lent: large buffers up to twice the
 * ceiling, the others without a limit. */
static uint32_t n_allowed(const struct buf_pool *p, enum buf_class size_class)
{
	size_t most = 2 * p->soft_bytes / classes[size_class].bytes;
	uint32_t n_lent = p->size_class[size_class].n_lent;

	if (size_class != BUF_LARGE || most > UINT32_MAX)
		return UINT32_MAX;
	return most > n_lent ? (uint32_t)most - n_lent : 0;
}

int buf_reserve(struct buf_pool *p, enum buf_class size_class, uint32_t n)
{
	LB_ASSERT(size_class < BUF_N_CLASSES);
	uint32_t most = n_allowed(p, size_class);
	uint32_t wanted = n < most ? n : most;

	while (p->size_class[size_class].n_free < wanted) {
		int r = chunk_map(p, size_class);
		if (r < 0)
			return r;
	}
	return n <= most ? 0 : -ENOBUFS;
}

struct buf *buf_get(struct buf_pool *p, enum buf_class size_class)
{
	struct buf_class_pool *cp = &p->size_class[size_class];

	if (p->fail_after > 0 && --p->fail_after == 0)
		return NULL;
	if (!buf_is_available(p, size_class))
		return NULL;

	struct buf_chunk *c = list_entry(cp->partial.next, struct buf_chunk, link);
	struct buf *b = c->free;
	LB_ASSERT(b != NULL && b->refs == 0 && b->chunk == c && b->size_class == size_class);
	LB_ASSERT(c->n_free > 0 && c->n_free <= c->n && c->n_free <= cp->n_free);
	c->free = b->next;
	cp->n_empty -= c->n_free == c->n;
	cp->n_warm -= b->is_warm;
	c->n_warm -= b->is_warm;
	b->is_warm = true;
	if (--c->n_free == 0)
		list_del(&c->link);
	cp->n_free--;
	if (++cp->n_lent > cp->peak)
		cp->peak = cp->n_lent;
	p->used_bytes += b->cap;

	ASAN_UNPOISON_MEMORY_REGION(b->data, b->cap);
	b->next = NULL;
	b->off = b->len = 0;
	b->refs = 1;
	return b;
}

void buf_put(struct buf_pool *p, struct buf *b)
{
	buf_assert_sane(b);
	if (--b->refs > 0)
		return;

	struct buf_chunk *c = b->chunk;
	struct buf_class_pool *cp = &p->size_class[b->size_class];
	LB_ASSERT(c->n_free < c->n && cp->n_lent > 0 && p->used_bytes >= b->cap);
	ASAN_POISON_MEMORY_REGION(b->data, b->cap);
	p->used_bytes -= b->cap;
	b->next = c->free;
	c->free = b;
	cp->n_free++;
	cp->n_warm++;
	c->n_warm++;
	cp->n_lent--;
	if (c->n_free++ == 0)
		list_add_head(&cp->partial, &c->link);
	cp->n_empty += c->n_free == c->n;
}

void buf_cool(struct buf *b)
{
	LB_ASSERT(b->refs == 1); /* no other holder of a reference needs the bytes */
	(void)madvise(b->data, b->cap, MADV_DONTNEED);
}

bool buf_is_available(const struct buf_pool *p, enum buf_class size_class)
{
	return p->size_class[size_class].n_free > 0 && n_allowed(p, size_class) > 0;
}

bool buf_is_tight(const struct buf_pool *p)
{
	bool is_scarce = p->is_short && p->size_class[BUF_SMALL].n_free < SCARCE_BUFS;

	return is_scarce || p->used_bytes > p->soft_bytes;
}

size_t buf_bytes_used(const struct buf_pool *p)
{
	return p->used_bytes;
}

size_t buf_bytes_held(const struct buf_pool *p)
{
	return p->held_bytes;
}

void buf_fail_after(struct buf_pool *p, uint32_t n)
{
	p->fail_after = n;
}

void buf_fail_maps(struct buf_pool *p, bool is_failing)
{
	p->fails_maps = is_failing;
}
