/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Slab: objects of one size, taken and given back without malloc, named by a 48-bit handle.
 *
 * A handle is the object's index (32 bits) and the generation of its place (16 bits, raised at each
 * put), so that what is left of a dead object (a completion, a command's argument) is told from the
 * living: slab_find() of a stale handle is NULL. Memory comes in chunks; slab_reserve() adds them
 * outside the hot path and a chunk that falls empty is given back, one spare kept. New objects are
 * taken from the fullest chunks' side (lowest index first is good enough), so that a peak leaves
 * empty chunks behind. With LB_SLAB_MALLOC (slab_malloc.c, for sanitizer builds) every object is
 * malloc'ed by itself, so that AddressSanitizer sees each use after put.
 *
 * LB_FAIL_ALLOC: slab_fail_after() lets the n-th get fail, in tests.
 *
 * Thread: the owner's, any one at a time. Layer: util.
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
 * `name` is borrowed and serves assertions. Returns NULL when memory is short.
 */
struct slab *slab_new(const char *name, size_t size, uint32_t max);

/* Asserts that every object was put back. NULL is fine. Returns NULL. */
struct slab *slab_free(struct slab *s);

/*
 * slab_reserve() - see to it that the next `n` gets succeed
 *
 * May call malloc. Returns 0, -ENOMEM, or -ENOSPC where that would go beyond `max`; what could be
 * reserved is.
 */
int slab_reserve(struct slab *s, uint32_t n);

/* A zeroed object, or NULL when nothing is reserved. Hot: never calls malloc (but slab_malloc.c).
 */
void *slab_get(struct slab *s);

/* Gives `obj` back; every handle of it is stale from now on. Memory stays until one of these: */
void slab_put(struct slab *s, void *obj);

/*
 * slab_settle() - give back what a period did not need; to be called once a second, say
 *
 * That is, the chunks that were empty all the time since the last call. In parts, so that nobody
 * waits long: false asks to be called again soon.
 */
bool slab_settle(struct slab *s);

/* Gives back a part of the chunks that are empty, for when nothing happens... */
void slab_trim(struct slab *s);

/* ... and whether there is more. What was reserved stays. */
bool slab_has_spare(const struct slab *s);

slab_handle slab_handle_of(const struct slab *s, const void *obj);

/* The object, or NULL if it was put since. */
void *slab_find(const struct slab *s, slab_handle h);

uint32_t slab_n_used(const struct slab *s);

/* Bytes of memory held, for the figures. */
size_t slab_bytes(const struct slab *s);

/*
 * slab_next() - walk the living objects
 *
 * Returns the first object whose index is at least *cursor and sets *cursor behind it, or NULL at
 * the end. Objects may come and go between calls: each that lives all the time is seen once.
 */
void *slab_next(const struct slab *s, uint32_t *cursor);

/* Lets the n-th get from now on fail, once (1 is the next one); 0 is never. For tests. */
void slab_fail_after(struct slab *s, uint32_t n);
