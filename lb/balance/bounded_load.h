/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The mean load of many members, for bounded loads, without looking at all of them.
 *
 * The connections and weights of those that have room are summed by blocks; the blocks' sums and
 * the totals are shared by all workers. A pick adds itself and sums one block anew, in turn, so
 * that whatever else happens is counted after bounded_load_delay() picks.
 *
 * Thread: any, without locks. Layer: balance. Hot, but for bounded_load_build() and
 * bounded_load_free().
 */

#include <stdint.h>

struct bounded_load;
struct members;
struct members_entry;

/* With fewer members all are summed for every pick. */
#define BOUNDED_LOAD_MIN_MEMBERS 257

/* Sums of those that can be picked and are not full. */
struct bounded_load_sums {
	uint64_t active, weight;
};

/* Makes m's sums; 0, or -ENOMEM. Thread: main. */
int bounded_load_build(struct members *m);
/* NULL is fine. Returns NULL. */
struct bounded_load *bounded_load_free(struct bounded_load *s);

/* How many picks it takes at most until what happens besides them is counted. */
uint32_t bounded_load_delay(const struct bounded_load *s);

struct bounded_load_sums bounded_load_sums(const struct bounded_load *s);

/* Counts a place reserved at `e`. */
void bounded_load_note(const struct members *m, const struct members_entry *e);
