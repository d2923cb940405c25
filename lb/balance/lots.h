/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Lots: weighted rendezvous hashing (docs/hash.md has the definition and vectors).
 *
 * Each backend draws a lot for each key; the lots and the weights give the key its order of the
 * backends, a pure function of the key, the names and the weights. Removing a backend moves just
 * the keys it had, and its share is its weight's. All in integers, so that every machine agrees.
 *
 * A walk goes down a key's order: its start costs a look at every lot, 32 bits each, some at a time
 * where the CPU can; each further step a look at few.
 *
 * Thread: any, but lots_new() and lots_free(): main. Layer: balance. Hot, but for those two.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lots;
struct members_entry;

/* The runs of lots that are scanned as one. */
#define LOTS_MAX_RUNS 512

#define LOTS_END SIZE_MAX

enum lots_scan { LOTS_SCAN_BEST, LOTS_SCAN_PLAIN };

/* Borrows nothing. LOTS_SCAN_PLAIN: as on a CPU without AVX2. NULL when memory is short. */
struct lots *lots_new(const struct members_entry *entry, size_t n, enum lots_scan scan);
/* NULL is fine. Returns NULL. */
struct lots *lots_free(struct lots *l);

/* On the caller's stack: 6 KiB, of which few are touched. */
struct lots_walk {
	/* private to lots.c */
	const struct lots *lots;
	uint32_t k1, k2;
	uint32_t run, slot;            /* of the last one */
	uint32_t least[LOTS_MAX_RUNS]; /* the least lot of each run that was not had yet */
	uint64_t score[LOTS_MAX_RUNS]; /* what it stands for; UINT64_MAX: none is left */
};

/* Puts `w` in front of the first in the order of `key`. */
void lots_start(const struct lots *l, uint64_t key, struct lots_walk *w);

/* The index of the next entry, or LOTS_END. Those of weight 0 are in no order. */
size_t lots_next(struct lots_walk *w);

/*
 * lots_first_of() - the first in the order of `key` that `is_met`
 *
 * Looks at every entry once, for when a walk would be long. Returns its index, or LOTS_END.
 */
size_t lots_first_of(const struct lots *l, uint64_t key, bool (*is_met)(size_t index, void *arg),
		     void *arg);
