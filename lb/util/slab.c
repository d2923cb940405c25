/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slabs: objects of one size, found by handles that go stale.
 *
 * Terms. A chunk is mapped memory for some objects. A place is the slab's record of a chunk; when
 * the chunk's memory is given back, the place stays, and may get a new chunk. An object is used
 * from slab_get() to slab_put(), and free otherwise. Each object of a place has a generation, a
 * number that every put raises. A promised get is one that slab_reserve() has prepared and that has
 * not come yet.
 *
 * A chunk is aligned to its own size, so the address of an object with its low bits cleared is the
 * address of its chunk, whose head names the slab and the number of the place:
 *
 *	| head, 64 bytes | object 0 | object 1 | ... |      CHUNK_BYTES, or more for large objects
 *
 *	index = number of the place << shift | number in the chunk
 *	handle = generation << 32 | index
 *
 * Generations and free bits are in the place and not in the chunk, for two reasons. A handle of an
 * object that was put must stay stale when the chunk's memory is given back. And slab_find() of a
 * stale handle must not touch memory of the chunk.
 *
 * Free objects are found with trees of bits: one tree in each place, whose bits are free objects,
 * and one tree in the slab, whose bits are places with a chunk and a free object. In a tree, a bit
 * of a level says that a word of the level below is not 0. tree_first() finds the lowest number
 * with one count of trailing zeros per level. So slab_get() takes the lowest free index, in
 * constant time.
 *
 * slab_reserve() adds chunks (chunk_add()), to the lowest places without one. slab_settle() and
 * slab_trim() give the highest empty chunks back (drop_empty()), but keep enough for the promised
 * gets.
 *
 * Memory is mapped and not allocated with malloc, because a mapping that is given back returns to
 * the kernel at once, untouched pages cost nothing, and an aligned allocation of 64 KiB costs
 * malloc twice as much. LeakSanitizer does not look into mappings, so sanitizer builds use
 * slab_malloc.c.
 *
 * Thread: the owner's. Hot.
 */
#include "util/slab.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* A guess: 16 pages. A peak needs few chunks, and an empty chunk that is kept wastes little. */
#define CHUNK_BYTES 65536u
#define CHUNK_OBJECTS_MIN 8u
#define CHUNK_OBJECTS_MAX 4096u /* as many bits as a tree of two levels has */
#define OBJECT_ALIGN 16u
#define PART 16u /* most chunks given back in one call: each takes the kernel some 10 us */

#define TREE_LEVELS 5u /* 64^5 is more than the number of places, which has 27 bits at most */

/* A set of numbers. Bit i of level 0 is set when i is in the set. Bit w of a higher level is set
 * when word w of the level below is not 0. */
struct tree {
	uint64_t *level[TREE_LEVELS]; /* pointers into one allocation, which level[0] owns */
	unsigned n_levels;
};

/* Stands at the start of a chunk. Takes 64 bytes, so that objects whose size is a multiple of 64
 * begin at a cache line. */
struct chunk {
	LB_CACHE_ALIGNED const struct slab *slab;
	uint32_t number;
};

struct place {
	struct chunk *chunk; /* owns; NULL: the place has no chunk now */
	uint16_t *gen;       /* owns; no generation is 0; NULL: never had a chunk */
	struct tree is_free; /* owns; in use when `gen` is not NULL */
	uint32_t n_used;
};

struct slab {
	const char *name;
	size_t size;        /* of an object, rounded up to OBJECT_ALIGN */
	size_t object_size; /* as given to slab_new(); slab_get() clears as many bytes */
	size_t chunk_bytes; /* a power of two */
	uint32_t max;
	uint32_t per_chunk, shift;
	uint32_t n_places;    /* elements of `place` */
	uint32_t n_seen;      /* places that ever had a chunk */
	uint32_t n_chunks;    /* places that have a chunk now */
	uint32_t n_empty;     /* places with a chunk and no used object */
	uint32_t least_empty; /* the least value of n_empty in this period (slab_settle()) */
	uint32_t n_used;      /* used objects */
	uint32_t n_promised;  /* gets that slab_reserve() has promised and that have not come yet */
	uint32_t fail_after;  /* gets until the one that fails; 0: none fails */
	struct tree has_free; /* places with a chunk and a free object */
	struct place *place;  /* owns */
};

/* ---- trees ---- */

static size_t tree_words(size_t n_bits)
{
	size_t words = 0;

	do {
		n_bits = (n_bits + 63) / 64;
		words += n_bits;
	} while (n_bits > 1);
	return words;
}

static int tree_init(struct tree *t, size_t n_bits)
{
	uint64_t *word = calloc(tree_words(n_bits), sizeof(*word));
	if (word == NULL)
		return -ENOMEM;

	*t = (struct tree){ 0 };
	do {
		LB_ASSERT(t->n_levels < TREE_LEVELS);
		n_bits = (n_bits + 63) / 64;
		t->level[t->n_levels++] = word;
		word += n_bits;
	} while (n_bits > 1);
	return 0;
}

static void tree_deinit(struct tree *t)
{
	free(t->level[0]);
	*t = (struct tree){ 0 };
}

static bool tree_has(const struct tree *t, size_t i)
{
	return (t->level[0][i / 64] >> (i % 64)) & 1;
}

static void tree_set(struct tree *t, size_t i)
{
	for (unsigned l = 0; l < t->n_levels; l++, i /= 64) {
		uint64_t *w = &t->level[l][i / 64], before = *w;
		*w |= UINT64_C(1) << (i % 64);
		if (before != 0)
			return;
	}
}

static void tree_clear(struct tree *t, size_t i)
{
	for (unsigned l = 0; l < t->n_levels; l++, i /= 64) {
		uint64_t *w = &t->level[l][i / 64];
		*w &= ~(UINT64_C(1) << (i % 64));
		if (*w != 0)
			return;
	}
}

static bool tree_is_empty(const struct tree *t)
{
	return t->level[t->n_levels - 1][0] == 0;
}

/* The lowest number in a tree that is not empty. */
static size_t tree_first(const struct tree *t)
{
	size_t i = 0;

	for (unsigned l = t->n_levels; l-- > 0;)
		i = i * 64 + (size_t)__builtin_ctzll(t->level[l][i]);
	return i;
}

/* ---- chunks ---- */

static uint32_t n_capacity(const struct slab *s)
{
	uint64_t n = (uint64_t)s->n_chunks * s->per_chunk;

	return n < s->max ? (uint32_t)n : s->max;
}

/* Maps `bytes` (a power of two, at least a page) at an address that is a multiple of `bytes`. */
static void *map_aligned(size_t bytes)
{
	const int prot = PROT_READ | PROT_WRITE, flags = MAP_PRIVATE | MAP_ANONYMOUS;

	/* First without padding: the kernel mostly maps next to the last mapping, and that address
	 * is aligned already. */
	char *p = mmap(NULL, bytes, prot, flags, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	if (((uintptr_t)p & (bytes - 1)) == 0)
		return p;
	(void)munmap(p, bytes);

	p = mmap(NULL, 2 * bytes, prot, flags, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	size_t before = -(uintptr_t)p & (bytes - 1);
	if (before != 0)
		(void)munmap(p, before);
	(void)munmap(p + before + bytes, bytes - before);
	return p + before;
}

/* Allocates what a place needs before its first chunk. Only slab_free() frees it. */
static int place_init(const struct slab *s, struct place *pl)
{
	if (pl->gen != NULL)
		return 0;
	if (tree_init(&pl->is_free, s->per_chunk) < 0)
		return -ENOMEM;
	pl->gen = calloc(s->per_chunk, sizeof(*pl->gen));
	if (pl->gen == NULL) {
		tree_deinit(&pl->is_free);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < s->per_chunk; i++) {
		pl->gen[i] = 1;
		tree_set(&pl->is_free, i);
	}
	return 0;
}

/* Maps a chunk for the lowest place that has none. */
static int chunk_add(struct slab *s)
{
	uint32_t number = s->n_chunks == s->n_seen ? s->n_seen : 0;

	while (number < s->n_seen && s->place[number].chunk != NULL)
		number++;
	LB_ASSERT(number < s->n_places);

	struct place *pl = &s->place[number];
	if (place_init(s, pl) < 0)
		return -ENOMEM;
	pl->chunk = map_aligned(s->chunk_bytes);
	if (pl->chunk == NULL)
		return -ENOMEM;
	*pl->chunk = (struct chunk){ .slab = s, .number = number };

	LB_ASSERT(pl->n_used == 0 && number <= s->n_seen);
	tree_set(&s->has_free, number);
	s->n_chunks++;
	s->n_empty++;
	if (number == s->n_seen)
		s->n_seen++;
	return 0;
}

static void chunk_drop(struct slab *s, struct place *pl, uint32_t number)
{
	LB_ASSERT(pl->n_used == 0 && s->n_chunks > 0 && s->n_empty > 0);
	(void)munmap(pl->chunk, s->chunk_bytes);
	pl->chunk = NULL;
	tree_clear(&s->has_free, number);
	s->n_chunks--;
	s->n_empty--;
}

/* Whether an empty chunk may be given back: the other chunks hold all used objects and the promised
 * gets. */
static bool is_chunk_surplus(const struct slab *s)
{
	uint64_t left = (uint64_t)(s->n_chunks - 1) * s->per_chunk;

	return left >= (uint64_t)s->n_used + s->n_promised;
}

static char *object_at(const struct slab *s, const struct place *pl, size_t i)
{
	return (char *)pl->chunk + sizeof(struct chunk) + i * s->size;
}

/* The index of `obj`, which must be a used object of `s`. */
static uint32_t index_of(const struct slab *s, const void *obj)
{
	uintptr_t at = (uintptr_t)obj & (s->chunk_bytes - 1);
	const struct chunk *c = (const void *)((const char *)obj - at);

	LB_ASSERT(c->slab == s && at >= sizeof(*c) && c->number < s->n_seen);
	size_t off = (size_t)at - sizeof(*c), i = off / s->size;
	LB_ASSERT(off % s->size == 0 && i < s->per_chunk);
	LB_ASSERT(!tree_has(&s->place[c->number].is_free, i));
	return c->number << s->shift | (uint32_t)i;
}

/* ---- the interface ---- */

/* Chooses the size of a chunk and the number of its objects. */
static void slab_lay_out(struct slab *s)
{
	const size_t head = sizeof(struct chunk);

	s->chunk_bytes = CHUNK_BYTES;
	while ((s->chunk_bytes - head) / s->size < CHUNK_OBJECTS_MIN)
		s->chunk_bytes *= 2;

	size_t n = (s->chunk_bytes - head) / s->size;
	s->per_chunk = n < CHUNK_OBJECTS_MAX ? (uint32_t)n : CHUNK_OBJECTS_MAX;
	while ((UINT32_C(1) << s->shift) < s->per_chunk)
		s->shift++;

	uint64_t places = ((uint64_t)s->max + s->per_chunk - 1) / s->per_chunk;
	LB_ASSERT(places << s->shift <= UINT32_MAX);
	s->n_places = (uint32_t)places;
}

struct slab *slab_new(const char *name, size_t size, uint32_t max)
{
	LB_ASSERT(size > 0 && size <= UINT32_MAX && max > 0);

	struct slab *s = calloc(1, sizeof(*s));
	if (s == NULL)
		return NULL;
	s->name = name;
	s->max = max;
	s->object_size = size;
	s->size = (size + OBJECT_ALIGN - 1) & ~(size_t)(OBJECT_ALIGN - 1);
	slab_lay_out(s);

	s->place = calloc(s->n_places, sizeof(*s->place));
	if (s->place == NULL || tree_init(&s->has_free, s->n_places) < 0)
		return slab_free(s);
	return s;
}

/* Reports a leak with the name of the slab, and never returns. */
static LB_COLD LB_NORETURN void objects_left(const struct slab *s)
{
	char text[96];

	(void)snprintf(text, sizeof(text), "slab %s: %u objects left", s->name, s->n_used);
	assert_failed(text, __FILE__, __LINE__, __func__);
}

struct slab *slab_free(struct slab *s)
{
	if (s == NULL)
		return NULL;
	if (s->n_used != 0)
		objects_left(s);

	LB_ASSERT(s->n_seen == 0 || s->place != NULL);
	for (uint32_t i = 0; i < s->n_seen; i++) {
		struct place *pl = &s->place[i];
		if (pl->chunk != NULL)
			chunk_drop(s, pl, i);
	}
	LB_ASSERT(s->n_chunks == 0 && s->n_empty == 0);
	/* The loop goes beyond n_seen, because place_init() may have succeeded for a place whose
	 * chunk could not be mapped. */
	for (uint32_t i = 0; s->place != NULL && i < s->n_places && s->place[i].gen != NULL; i++) {
		tree_deinit(&s->place[i].is_free);
		free(s->place[i].gen);
	}
	tree_deinit(&s->has_free);
	free(s->place);
	free(s);
	return NULL;
}

int slab_reserve(struct slab *s, uint32_t n)
{
	uint32_t left = s->max - s->n_used;
	uint32_t want = n < left ? n : left;

	LB_ASSERT(s->n_used <= n_capacity(s) && s->n_empty <= s->n_chunks);
	while (n_capacity(s) - s->n_used < want) {
		int r = chunk_add(s);
		if (r < 0)
			return r;
	}
	if (s->n_promised < want)
		s->n_promised = want;
	return want < n ? -ENOSPC : 0;
}

void *slab_get(struct slab *s)
{
	if (s->fail_after != 0 && --s->fail_after == 0)
		return NULL;
	if (s->n_used == s->max || tree_is_empty(&s->has_free))
		return NULL;

	size_t number = tree_first(&s->has_free);
	struct place *pl = &s->place[number];
	LB_ASSERT(number < s->n_seen && pl->chunk != NULL && pl->n_used < s->per_chunk);
	LB_ASSERT(pl->n_used > 0 || s->n_empty > 0);
	size_t i = tree_first(&pl->is_free);

	LB_ASSERT(i < s->per_chunk);
	tree_clear(&pl->is_free, i);
	if (pl->n_used++ == 0 && --s->n_empty < s->least_empty)
		s->least_empty = s->n_empty;
	if (pl->n_used == s->per_chunk)
		tree_clear(&s->has_free, number);
	s->n_used++;
	if (s->n_promised > 0)
		s->n_promised--;
	return memset(object_at(s, pl, i), 0, s->object_size);
}

void slab_put(struct slab *s, void *obj)
{
	uint32_t index = index_of(s, obj);
	uint32_t number = index >> s->shift, i = index & ((UINT32_C(1) << s->shift) - 1);
	struct place *pl = &s->place[number];

	LB_ASSERT(s->n_used > 0 && pl->n_used > 0);
	if (++pl->gen[i] == 0)
		pl->gen[i] = 1;
	tree_set(&pl->is_free, i);
	if (pl->n_used-- == s->per_chunk)
		tree_set(&s->has_free, number);
	s->n_used--;
	s->n_empty += pl->n_used == 0;
	LB_ASSERT(s->n_empty <= s->n_chunks);
}

/* Gives back up to `most` empty chunks, the highest first. Returns the number given back. */
static uint32_t drop_empty(struct slab *s, uint32_t most)
{
	uint32_t n = 0;

	for (uint32_t i = s->n_seen; i-- > 0 && n < most && slab_has_spare(s);) {
		if (s->place[i].chunk == NULL || s->place[i].n_used > 0)
			continue;
		chunk_drop(s, &s->place[i], i);
		n++;
	}
	return n;
}

bool slab_settle(struct slab *s)
{
	uint32_t n = drop_empty(s, s->least_empty < PART ? s->least_empty : PART);

	LB_ASSERT(n <= s->least_empty);
	s->least_empty -= n;
	if (n == PART && s->least_empty > 0)
		return false;
	s->least_empty = s->n_empty;
	return true;
}

void slab_trim(struct slab *s)
{
	(void)drop_empty(s, PART);
	if (s->least_empty > s->n_empty)
		s->least_empty = s->n_empty;
}

bool slab_has_spare(const struct slab *s)
{
	return s->n_empty > 0 && is_chunk_surplus(s);
}

slab_handle slab_handle_of(const struct slab *s, const void *obj)
{
	uint32_t index = index_of(s, obj);
	const struct place *pl = &s->place[index >> s->shift];

	return (slab_handle)pl->gen[index & ((UINT32_C(1) << s->shift) - 1)] << 32 | index;
}

void *slab_find(const struct slab *s, slab_handle h)
{
	uint32_t index = (uint32_t)h, number = index >> s->shift;
	uint32_t i = index & ((UINT32_C(1) << s->shift) - 1);

	if (number >= s->n_seen || i >= s->per_chunk)
		return NULL;
	const struct place *pl = &s->place[number];
	if (pl->chunk == NULL || tree_has(&pl->is_free, i) || pl->gen[i] != h >> 32)
		return NULL;
	return object_at(s, pl, i);
}

uint32_t slab_n_used(const struct slab *s)
{
	return s->n_used;
}

size_t slab_bytes(const struct slab *s)
{
	size_t per_place =
		tree_words(s->per_chunk) * sizeof(uint64_t) + s->per_chunk * sizeof(uint16_t);

	return sizeof(*s) + s->n_places * sizeof(*s->place) +
	       tree_words(s->n_places) * sizeof(uint64_t) + s->n_seen * per_place +
	       s->n_chunks * s->chunk_bytes;
}

void *slab_next(const struct slab *s, uint32_t *cursor)
{
	uint32_t number = *cursor >> s->shift, i = *cursor & ((UINT32_C(1) << s->shift) - 1);

	for (; number < s->n_seen; number++, i = 0) {
		const struct place *pl = &s->place[number];
		if (pl->n_used == 0)
			continue;
		for (; i < s->per_chunk; i++) {
			if (tree_has(&pl->is_free, i))
				continue;
			*cursor = (number << s->shift | i) + 1;
			return object_at(s, pl, i);
		}
	}
	*cursor = number << s->shift;
	return NULL;
}

void slab_fail_after(struct slab *s, uint32_t n)
{
	s->fail_after = n;
}
