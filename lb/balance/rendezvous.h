/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Weighted rendezvous hashing (docs/hash.md has the definition and test vectors).
 *
 * A key and a backend together have a pair hash. The pair hashes and the weights give each key its
 * own order of the backends; the order depends on the key, the names and the weights only. When a
 * backend is removed, a key gets another first backend only if the removed backend was its first
 * one. A backend is the first one of a share of the keys, and this is the backend's share of the
 * sum of all weights. All arithmetic is in integers, so that every machine finds the same order.
 *
 * A walk goes down the order of one key. The start of a walk computes the pair hash of every
 * backend, 32 bits each, eight at a time where the CPU can. Each further step computes those of one
 * run.
 *
 * Thread: any, but rendezvous_new() and rendezvous_free(): main. Layer: balance. Hot, but for those
 * two.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rendezvous;
struct members_entry;

/* The most runs of pair hashes; each step of a walk scans one run (rendezvous.c). */
#define RENDEZVOUS_MAX_RUNS 512

#define RENDEZVOUS_END SIZE_MAX

enum rendezvous_scan { RENDEZVOUS_SCAN_BEST, RENDEZVOUS_SCAN_PLAIN };

/*
 * Makes the tables from which the order of the entries for any key is computed. They borrow
 * nothing. RENDEZVOUS_SCAN_PLAIN is for tests: it scans as on a CPU without AVX2. Returns NULL when
 * memory is short.
 */
struct rendezvous *rendezvous_new(const struct members_entry *entry, size_t n,
				  enum rendezvous_scan scan);
/* Frees `h`, which may be NULL. Returns NULL. */
struct rendezvous *rendezvous_free(struct rendezvous *h);

/* A walk, on the caller's stack: 6 KiB, of which a walk touches 12 bytes per run. */
struct rendezvous_walk {
	/* private to rendezvous.c */
	const struct rendezvous *rendezvous;
	uint32_t k1, k2;
	/* The entry that was returned last; `run` is UINT32_MAX before the first one. */
	uint32_t run, slot;
	/* For each run, the least pair hash not returned yet. */
	uint32_t least[RENDEZVOUS_MAX_RUNS];
	/* For each run, the score of least[], or UINT64_MAX when no entry is left. */
	uint64_t score[RENDEZVOUS_MAX_RUNS];
};

/* Starts a walk before the first entry in the order of `key`. */
void rendezvous_start(const struct rendezvous *h, uint64_t key, struct rendezvous_walk *w);

/*
 * The index of the next entry in the key's order, or RENDEZVOUS_END after the last one. Entries of
 * weight 0 are left out.
 */
size_t rendezvous_next(struct rendezvous_walk *w);

/*
 * rendezvous_first_of() - the first entry in the order of `key` that `is_met` accepts
 *
 * Looks at every entry once, which is cheaper than a long walk. Returns the index of the entry, or
 * RENDEZVOUS_END when no entry is accepted.
 */
size_t rendezvous_first_of(const struct rendezvous *h, uint64_t key,
			   bool (*is_met)(size_t index, void *arg), void *arg);
