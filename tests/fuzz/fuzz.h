/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the fuzz targets share: the function that each of them is, pieces of chance, and copies that
 * end where the input ends.
 *
 * A target is one fuzz_*.c with one LLVMFuzzerTestOneInput(). libFuzzer calls it under
 * scripts/fuzz; replay.c calls it for every file of a corpus, as an ordinary test. It asserts what
 * is promised with LB_ASSERT, and gives back all it took. Thread: any, one at a time.
 */

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "util/assert.h"

/* Judges one input; always returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Chance that an input decides: the same bytes are always cut in the same places. */
struct fuzz_chance {
	uint64_t state;
};

/* FNV-1a of the input. */
static inline struct fuzz_chance fuzz_chance_of(const uint8_t *data, size_t size)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < size; i++)
		h = (h ^ data[i]) * 0x100000001b3u;
	return (struct fuzz_chance){ .state = h };
}

/* From 0 to below `n`, which is not 0 (splitmix64). */
static inline size_t fuzz_below(struct fuzz_chance *c, size_t n)
{
	uint64_t z = c->state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return (size_t)((z ^ z >> 31) % n);
}

/* The length of the next piece of `left` bytes: often one, often all, never none but of none. */
static inline size_t fuzz_piece(struct fuzz_chance *c, size_t left)
{
	switch (left == 0 ? 3 : fuzz_below(c, 4)) {
	case 0: return 1;
	case 1: return 1 + fuzz_below(c, left < 16 ? left : 16);
	case 2: return 1 + fuzz_below(c, left);
	default: return left;
	}
}

/* A copy at an address of its own, with nothing behind it; the caller frees it. */
static inline uint8_t *fuzz_copy(const uint8_t *p, size_t n)
{
	uint8_t *copy = malloc(n);

	LB_ASSERT(copy != NULL || n == 0);
	if (n != 0)
		memcpy(copy, p, n);
	return copy;
}
