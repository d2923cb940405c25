/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buffers come in chunks of 256 KiB of mapped memory with their headers apart. Each chunk has its
 * own free list, and chunks with free buffers are in a list, the one last given to first: what is
 * hot is used again. Chunks are mapped and unmapped between turns only: buf_settle() gives back
 * those that two periods did not need, buf_trim() all that are empty when the loop has nothing to
 * do (one spare is kept per class: the address space, not the pages).
 *
 * Under AddressSanitizer free buffers are poisoned.
 *
 * Thread: the loop's.
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

static const struct {
	uint32_t bytes, n_per_chunk;
} classes[BUF_N_CLASSES] = {
	[BUF_SMALL] = { BUF_SMALL_BYTES, 64 },
	[BUF_HEAD] = { BUF_HEAD_BYTES, 12 },
	[BUF_LARGE] = { BUF_LARGE_BYTES, 4 },
};

/* Given back at a time: 8 MiB of small ones. */
#define TRIM_CHUNKS 32

struct buf_chunk {
	struct list link; /* in buf_class_pool.partial while some are free */
	uint8_t *mem;     /* mapped */
	struct buf *free;
	uint32_t n_free, n;
	bool is_cold; /* empty, and without pages: nobody has written to it */
	struct buf bufs[];
};

struct buf_class_pool {
	struct list partial;
	uint32_t n_free;  /* over all chunks */
	uint32_t n_empty; /* chunks with nothing lent */
	uint32_t n_warm;  /* of those, with pages */
	uint32_t n_lent;
	uint32_t peak, last_peak; /* of n_lent, in this period and the one before (buf_settle()) */
};

struct buf_pool {
	struct buf_class_pool class[BUF_N_CLASSES];
	size_t soft_bytes, used_bytes, held_bytes;
	uint32_t fail_after;
};

struct buf_pool *buf_pool_new(size_t soft_bytes)
{
	struct buf_pool *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->soft_bytes = soft_bytes;
	for (int i = 0; i < BUF_N_CLASSES; i++)
		list_init(&p->class[i].partial);
	return p;
}

static void chunk_unmap(struct buf_pool *p, enum buf_class class, struct buf_chunk *c)
{
	size_t bytes = (size_t)classes[class].bytes * c->n;

	list_del(&c->link);
	p->class[class].n_free -= c->n;
	p->class[class].n_empty--;
	p->class[class].n_warm -= !c->is_cold;
	p->held_bytes -= bytes;
	ASAN_UNPOISON_MEMORY_REGION(c->mem, bytes);
	(void)munmap(c->mem, bytes);
	free(c);
}

struct buf_pool *buf_pool_free(struct buf_pool *p)
{
	if (p == NULL)
		return NULL;
	LB_ASSERT(p->used_bytes == 0);
	for (int class = 0; class < BUF_N_CLASSES; class ++)
		list_for_each(it, &p->class[class].partial)
			chunk_unmap(p, class, list_entry(it, struct buf_chunk, link));
	free(p);
	return NULL;
}

static int chunk_map(struct buf_pool *p, enum buf_class class)
{
	uint32_t n = classes[class].n_per_chunk;
	size_t bytes = (size_t)classes[class].bytes * n;
	struct buf_chunk *c = calloc(1, sizeof(*c) + n * sizeof(struct buf));

	if (c == NULL)
		return -ENOMEM;
	void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED) {
		free(c);
		return -ENOMEM;
	}
	c->mem = mem;
	c->n = c->n_free = n;
	c->is_cold = true;
	for (uint32_t i = n; i-- > 0;) {
		struct buf *b = &c->bufs[i];
		b->data = c->mem + (size_t)i * classes[class].bytes;
		b->cap = classes[class].bytes;
		b->class = (uint8_t) class;
		b->chunk = c;
		b->next = c->free;
		c->free = b;
	}
	ASAN_POISON_MEMORY_REGION(mem, bytes);
	list_add_tail(&p->class[class].partial, &c->link);
	p->class[class].n_free += n;
	p->class[class].n_empty++;
	p->held_bytes += bytes;
	return 0;
}

/* Whether an empty chunk may go: neither this period nor the last needed it, and one is spare. */
static bool is_chunk_surplus(const struct buf_class_pool *cp, uint32_t n_per_chunk)
{
	uint32_t peak = cp->peak > cp->last_peak ? cp->peak : cp->last_peak;

	return cp->n_empty > 1 && cp->n_lent + cp->n_free >= peak + 2 * n_per_chunk;
}

/* Of one class; false when there is more to do. */
static bool settle(struct buf_pool *p, enum buf_class class)
{
	struct buf_class_pool *cp = &p->class[class];
	uint32_t n = 0;

	list_for_each(it, &cp->partial)
	{
		struct buf_chunk *c = list_entry(it, struct buf_chunk, link);
		if (!is_chunk_surplus(cp, c->n))
			return true;
		if (c->n_free < c->n)
			continue;
		if (n++ == TRIM_CHUNKS)
			return false;
		chunk_unmap(p, class, c);
	}
	return true;
}

bool buf_settle(struct buf_pool *p)
{
	bool is_done = true;

	for (int class = 0; class < BUF_N_CLASSES; class ++)
		is_done = settle(p, class) && is_done;
	for (int class = 0; is_done && class < BUF_N_CLASSES; class ++) {
		struct buf_class_pool *cp = &p->class[class];
		cp->last_peak = cp->peak;
		cp->peak = cp->n_lent;
	}
	return is_done;
}

bool buf_has_spare(const struct buf_pool *p)
{
	for (int class = 0; class < BUF_N_CLASSES; class ++)
		if (p->class[class].n_empty > 1 || p->class[class].n_warm > 0)
			return true;
	return false;
}

/* Gives the pages of an empty chunk back. */
static void chunk_cool(struct buf_pool *p, enum buf_class class, struct buf_chunk *c)
{
	LB_ASSERT(c->n_free == c->n && !c->is_cold);
	(void)madvise(c->mem, (size_t)classes[class].bytes * c->n, MADV_DONTNEED);
	c->is_cold = true;
	p->class[class].n_warm--;
}

void buf_trim(struct buf_pool *p)
{
	for (int class = 0; class < BUF_N_CLASSES; class ++) {
		struct buf_class_pool *cp = &p->class[class];
		int n = 0;

		cp->peak = cp->last_peak = cp->n_lent;
		list_for_each(it, &cp->partial)
		{
			struct buf_chunk *c = list_entry(it, struct buf_chunk, link);
			if (n == TRIM_CHUNKS)
				break;
			if (c->n_free < c->n)
				continue;
			if (cp->n_empty > 1) {
				chunk_unmap(p, class, c);
				n++;
			} else if (!c->is_cold) {
				chunk_cool(p, class, c);
			}
		}
	}
}

/* How many more gets of this class are allowed. */
static uint32_t room(const struct buf_pool *p, enum buf_class class)
{
	size_t most = 2 * p->soft_bytes / classes[class].bytes;
	uint32_t n_lent = p->class[class].n_lent;

	if (class != BUF_LARGE || most > UINT32_MAX)
		return UINT32_MAX;
	return most > n_lent ? (uint32_t)most - n_lent : 0;
}

int buf_reserve(struct buf_pool *p, enum buf_class class, uint32_t n)
{
	uint32_t most = room(p, class);
	uint32_t wanted = n < most ? n : most;

	while (p->class[class].n_free < wanted) {
		int r = chunk_map(p, class);
		if (r < 0)
			return r;
	}
	return n <= most ? 0 : -ENOBUFS;
}

struct buf *buf_get(struct buf_pool *p, enum buf_class class)
{
	struct buf_class_pool *cp = &p->class[class];

	if (p->fail_after > 0 && --p->fail_after == 0)
		return NULL;
	if (!buf_is_available(p, class))
		return NULL;

	struct buf_chunk *c = list_entry(cp->partial.next, struct buf_chunk, link);
	struct buf *b = c->free;
	c->free = b->next;
	if (c->n_free == c->n) {
		cp->n_empty--;
		cp->n_warm -= !c->is_cold;
		c->is_cold = false;
	}
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
	LB_ASSERT(b->refs > 0);
	if (--b->refs > 0)
		return;

	struct buf_chunk *c = b->chunk;
	struct buf_class_pool *cp = &p->class[b->class];
	ASAN_POISON_MEMORY_REGION(b->data, b->cap);
	p->used_bytes -= b->cap;
	b->next = c->free;
	c->free = b;
	cp->n_free++;
	cp->n_lent--;
	if (c->n_free++ == 0)
		list_add_head(&cp->partial, &c->link);
	if (c->n_free == c->n) {
		cp->n_empty++;
		cp->n_warm++;
	}
}

void buf_cool(struct buf *b)
{
	LB_ASSERT(b->class != BUF_HEAD); /* these share pages */
	(void)madvise(b->data, b->cap, MADV_DONTNEED);
}

bool buf_is_available(const struct buf_pool *p, enum buf_class class)
{
	return p->class[class].n_free > 0 && room(p, class) > 0;
}

bool buf_is_tight(const struct buf_pool *p)
{
	return p->used_bytes > p->soft_bytes;
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
