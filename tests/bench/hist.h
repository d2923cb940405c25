/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A histogram of times in ns, log-linear: 64 steps to each power of two, so a value read from it is
 * wrong by less than 1 %. One writer; any process that maps it may read.
 */

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define HIST_BITS 6
#define HIST_STEPS (1u << HIST_BITS)
#define HIST_N (36u * HIST_STEPS) /* up to 2^41 ns, half an hour */

struct hist {
	_Atomic uint64_t n[HIST_N];
};

static inline size_t hist_index(uint64_t ns)
{
	if (ns < HIST_STEPS)
		return ns;
	unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - HIST_BITS;
	size_t i = (size_t)(shift + 1) * HIST_STEPS + ((ns >> shift) & (HIST_STEPS - 1));
	return i < HIST_N ? i : HIST_N - 1;
}

/* The middle of what falls into step `i`. */
static inline uint64_t hist_value(size_t i)
{
	if (i < HIST_STEPS)
		return i;
	unsigned shift = (unsigned)(i / HIST_STEPS) - 1;
	return ((HIST_STEPS + (i % HIST_STEPS)) << shift) + ((1ull << shift) >> 1);
}

static inline void hist_add(struct hist *h, uint64_t ns)
{
	_Atomic uint64_t *n = &h->n[hist_index(ns)];

	atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

/* The value below which `part` (0 to 1) of the counts `n` lie; 0 where there are none. */
static inline uint64_t hist_part(const uint64_t n[HIST_N], double part)
{
	uint64_t total = 0, seen = 0;

	for (size_t i = 0; i < HIST_N; i++)
		total += n[i];
	for (size_t i = 0; i < HIST_N; i++) {
		seen += n[i];
		if (seen > 0 && (double)seen >= part * (double)total)
			return hist_value(i);
	}
	return 0;
}
