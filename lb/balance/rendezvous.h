/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Hashes: weighted rendezvous hashing (docs/hash.md has the definition and vectors).
 *
 * Each backend draws a hash for each key; the hashes and the weights give the key its order of the
 * backends, a pure function of the key, the names and the weights. Removing a backend moves just
 * the keys it had, and its share is its weight's. All in integers, so that every machine agrees.
 *
 * A walk goes down a key's order: its start costs a look at every hash, 32 bits each, some at a
 * time where the CPU can; each further step a look at few.
 *
 * Thread: any, but rendezvous_new() and rendezvous_free(): main. Layer: balance. Hot, but for those
 * two.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rendezvous;
struct members_entry;

/* The runs of hashes that are scanned as one. */
#define RENDEZVOUS_MAX_RUNS 512

#define RENDEZVOUS_END SIZE_MAX

enum rendezvous_scan { RENDEZVOUS_SCAN_BEST, RENDEZVOUS_SCAN_PLAIN };

/* Borrows nothing. RENDEZVOUS_SCAN_PLAIN: as on a CPU without AVX2. NULL when memory is short. */
struct rendezvous *rendezvous_new(const struct members_entry *entry, size_t n,
				  enum rendezvous_scan scan);
/* NULL is fine. Returns NULL. */
struct rendezvous *rendezvous_free(struct rendezvous *l);

/* On the caller's stack: 6 KiB, of which few are touched. */
struct rendezvous_walk {
	/* private to rendezvous.c */
	const struct rendezvous *rendezvous;
	uint32_t k1, k2;
	uint32_t run, slot;                  /* of the last one */
	uint32_t least[RENDEZVOUS_MAX_RUNS]; /* the least hash of each run that was not had yet */
	uint64_t score[RENDEZVOUS_MAX_RUNS]; /* what it stands for; UINT64_MAX: none is left */
};

/* Puts `w` in front of the first in the order of `key`. */
void rendezvous_start(const struct rendezvous *l, uint64_t key, struct rendezvous_walk *w);

/* The index of the next entry, or RENDEZVOUS_END. Those of weight 0 are in no order. */
size_t rendezvous_next(struct rendezvous_walk *w);

/*
 * rendezvous_first_of() - the first in the order of `key` that `is_met`
 *
 * Looks at every entry once, for when a walk would be long. Returns its index, or RENDEZVOUS_END.
 */
size_t rendezvous_first_of(const struct rendezvous *l, uint64_t key,
			   bool (*is_met)(size_t index, void *arg), void *arg);
