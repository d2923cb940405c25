/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Weighted rendezvous hashing (docs/hash.md has the definition and test vectors).
 *
 * A key and a backend together have a pair hash. The pair hashes and the weights give each key its
 * own order of the backends; the order depends on the key, the names and the weights only. When a
 * backend is removed, only the keys move whose first backend it was. The share of the keys that a
 * backend is the first of is its weight's share. All arithmetic is in integers, so that every
 * machine finds the same order.
 *
 * A walk goes down the order of one key. The start of a walk computes the pair hash of every
 * backend, 32 bits each, eight at a time where the CPU can; each further step, those of one run.
 *
 * Thread: any, but rendezvous_new() and rendezvous_free(): main. Layer: balance. Hot, but for those
 * two.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rendezvous;
struct members_entry;

/* Runs of pair hashes; one call scans one run. */
#define RENDEZVOUS_MAX_RUNS 512

#define RENDEZVOUS_END SIZE_MAX

enum rendezvous_scan { RENDEZVOUS_SCAN_BEST, RENDEZVOUS_SCAN_PLAIN };

/*
 * The order of the entries for any key. Borrows nothing. RENDEZVOUS_SCAN_PLAIN is for tests: it
 * scans as on a CPU without AVX2. NULL when memory is short.
 */
struct rendezvous *rendezvous_new(const struct members_entry *entry, size_t n,
				  enum rendezvous_scan scan);
/* NULL is fine. Returns NULL. */
struct rendezvous *rendezvous_free(struct rendezvous *h);

/* A walk, on the caller's stack: 6 KiB, of which a walk touches 12 bytes per run. */
struct rendezvous_walk {
	/* private to rendezvous.c */
	const struct rendezvous *rendezvous;
	uint32_t k1, k2;
	uint32_t run, slot; /* of the entry returned last; run is UINT32_MAX before */
	uint32_t
		least[RENDEZVOUS_MAX_RUNS]; /* for each run, the least pair hash not returned yet */
	uint64_t score[RENDEZVOUS_MAX_RUNS]; /* the score of that; UINT64_MAX: none is left */
};

/* Starts a walk before the first entry in the order of `key`. */
void rendezvous_start(const struct rendezvous *h, uint64_t key, struct rendezvous_walk *w);

/* The index of the next entry, or RENDEZVOUS_END. Entries of weight 0 are in no order. */
size_t rendezvous_next(struct rendezvous_walk *w);

/*
 * rendezvous_first_of() - the first entry in the order of `key` that `is_met` accepts
 *
 * Looks at every entry once: cheaper than a long walk. Returns the index, or RENDEZVOUS_END.
 */
size_t rendezvous_first_of(const struct rendezvous *h, uint64_t key,
			   bool (*is_met)(size_t index, void *arg), void *arg);
