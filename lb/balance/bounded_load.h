/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The mean load of many members, for bounded loads, without looking at all members.
 *
 * The members are cut into blocks. For each block, and for all together, the connections and the
 * weights of the members that have a free slot are summed; all workers share these sums. A pick
 * adds its own connection to the sums, and sums one block anew, block after block. So everything
 * that changes a load without a pick (ends, checks, commands) is counted after bounded_load_delay()
 * picks.
 *
 * Thread: any, without locks. Layer: balance. Hot, but for bounded_load_build() and
 * bounded_load_free().
 */

#include <stdint.h>

struct bounded_load;
struct members;
struct members_entry;

/* With fewer members every pick sums all of them. */
#define BOUNDED_LOAD_MIN_MEMBERS 257

/* Sums over the members that have a free slot (member_has_free_slot()). */
struct bounded_load_sums {
	uint64_t active, weight;
};

/* Makes the sums of `m`; 0, or -ENOMEM. Thread: main. */
int bounded_load_build(struct members *m);
/* Asserts that the totals are the sums of the blocks. NULL is fine. Returns NULL. Thread: any. */
struct bounded_load *bounded_load_free(struct bounded_load *s);

/* After how many picks, at most, a change that was no pick is counted. */
uint32_t bounded_load_delay(const struct bounded_load *s);

struct bounded_load_sums bounded_load_sums(const struct bounded_load *s);

/* Counts a slot that a pick has reserved at `e`. */
void bounded_load_note(const struct members *m, const struct members_entry *e);
