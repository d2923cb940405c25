/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The mean load of many members, for bounded loads, without looking at all of them.
 *
 * The connections and weights of those that have room are summed by blocks; the blocks' sums and
 * the totals are shared by all workers. A pick adds itself and sums one block anew, in turn, so
 * that whatever else happens is counted after mean_delay() picks.
 *
 * Thread: any, without locks. Layer: balance. Hot, but for mean_build() and mean_free().
 */

#include <stdint.h>

struct mean;
struct members;
struct members_entry;

/* With fewer members all are summed for every pick. */
#define MEAN_MIN_MEMBERS 257

/* Sums of those that can be picked and are not full. */
struct mean_sums {
	uint64_t active, weight;
};

/* Makes m's sums; 0, or -ENOMEM. Thread: main. */
int mean_build(struct members *m);
/* NULL is fine. Returns NULL. */
struct mean *mean_free(struct mean *s);

/* How many picks it takes at most until what happens besides them is counted. */
uint32_t mean_delay(const struct mean *s);

struct mean_sums mean_sums(const struct mean *s);

/* Counts a place reserved at `e`. */
void mean_note(const struct members *m, const struct members_entry *e);
