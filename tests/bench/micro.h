/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Timing for the microbenchmarks. Each prints lines of a name, a tab, and the ns of one operation:
 * the median over the batches, which stop after a while. `--quick` has few of them.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MICRO_BATCHES 201
#define MICRO_BATCHES_LEAST 5
#define MICRO_NS (1000ull * 1000 * 1000)

static inline uint64_t micro_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline int micro_compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* `batch` does `n` operations. */
static inline void micro_run(const char *name, void (*batch)(void *arg, unsigned n), void *arg,
			     unsigned n, int argc, char **argv)
{
	static double ns[MICRO_BATCHES];
	int is_quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
	uint64_t end = is_quick ? 0 : micro_now_ns() + MICRO_NS;
	unsigned n_batches = 0;

	batch(arg, n); /* warms the caches */
	while (n_batches < MICRO_BATCHES_LEAST ||
	       (n_batches < MICRO_BATCHES && micro_now_ns() < end)) {
		uint64_t start = micro_now_ns();

		batch(arg, n);
		ns[n_batches++] = (double)(micro_now_ns() - start) / n;
	}
	qsort(ns, n_batches, sizeof(ns[0]), micro_compare);
	printf("%s\t%.1f\n", name, ns[n_batches / 2]);
}

/* splitmix64 */
static inline uint64_t micro_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* A check that stays on: a benchmark of something that fails measures nothing. */
#define MICRO_CHECK(x) \
	do { \
		if (!(x)) { \
			(void)fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #x); \
			exit(1); \
		} \
	} while (0)
