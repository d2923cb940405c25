/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Slab: objects of one size, taken and given back without malloc, named by a 48-bit handle.
 *
 * A handle is the object's index (32 bits) and a generation (16 bits). Each put raises the
 * generation of that index, so a handle that outlives its object (in a completion, in a command) is
 * stale, and slab_find() returns NULL for it. Memory comes in chunks. slab_reserve() adds chunks
 * outside of the hot path; slab_settle() and slab_trim() give empty chunks back. slab_get() takes
 * the lowest free index, so that after a peak the chunks of high indexes become empty. In sanitizer
 * builds slab_malloc.c replaces slab.c: every object is allocated by itself, so that
 * AddressSanitizer sees each use after put.
 *
 * Thread: the owner's; one thread at a time. Layer: util.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/assert.h"

struct slab;

/* An index and a generation; 0 is no object. */
typedef uint64_t slab_handle;
#define SLAB_HANDLE_BITS 48

/*
 * slab_new() - make an empty slab of objects of `size` bytes, at most `max` of them
 *
 * `name` is borrowed; messages of failed assertions name the slab by it. Returns NULL when memory
 * is short.
 */
struct slab *slab_new(const char *name, size_t size, uint32_t max);

/* Frees the slab, and asserts that every object was put back. NULL is fine. Returns NULL. */
struct slab *slab_free(struct slab *s);

/*
 * slab_reserve() - map memory so that the next `n` gets succeed
 *
 * May call malloc. Returns 0, -ENOMEM, or -ENOSPC when `max` allows fewer; then as many as possible
 * are reserved.
 */
int slab_reserve(struct slab *s, uint32_t n);

/* A zeroed object, or NULL when no mapped object is free. Hot: does not call malloc (slab_malloc.c
 * does). */
void *slab_get(struct slab *s);

/* Gives `obj` back; every handle of it is stale from now on. Its memory stays with the slab until
 * slab_settle() or slab_trim() finds the chunk empty. */
void slab_put(struct slab *s, void *obj);

/*
 * slab_settle() - end a period, and give back the chunks that were empty all through it
 *
 * To be called about once a second. One call gives back a bounded number of chunks, and returns
 * false when there are more to give back.
 */
bool slab_settle(struct slab *s);

/* Gives back a bounded number of empty chunks. For an idle thread. */
void slab_trim(struct slab *s);

/* Whether slab_trim() would give a chunk back. slab_trim() keeps what slab_reserve() has
 * promised. */
bool slab_has_spare(const struct slab *s);

slab_handle slab_handle_of(const struct slab *s, const void *obj);

/* The object that `h` names, or NULL when that object was put back. */
void *slab_find(const struct slab *s, slab_handle h);

uint32_t slab_n_used(const struct slab *s);

/* The bytes of memory that the slab holds, for figures. */
size_t slab_bytes(const struct slab *s);

/*
 * slab_next() - walk the used objects
 *
 * Returns the first used object whose index is at least *cursor, and sets *cursor to the index
 * behind it; NULL when there is none. Objects may be got and put between calls. An object that is
 * used during the whole walk is returned once.
 */
void *slab_next(const struct slab *s, uint32_t *cursor);

/* Lets the n-th slab_get() from now on fail, and no other (1 is the next one); 0 lets none fail.
 * For tests. */
void slab_fail_after(struct slab *s, uint32_t n);
