/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The mean load of many members, without looking at all members. The policy hash needs it for
 * load_factor.
 *
 * The members are cut into blocks. For each block, and for all blocks together, there are two sums:
 * of the connections and of the weights of the members that have a free slot. All workers share
 * these sums. A pick adds its own connection to the sums, and computes the sums of one block anew,
 * at each pick those of the next block. A load may also change without a pick, by the end of a
 * connection, a check or a command. Such a change is in the sums after at most bounded_load_delay()
 * picks.
 *
 * Thread: any, without locks. Layer: balance. Hot, but for bounded_load_build() and
 * bounded_load_free().
 */

#include <stdint.h>

struct bounded_load;
struct members;
struct members_entry;

/* With fewer members there are no shared sums, because each pick can sum all members. */
#define BOUNDED_LOAD_MIN_MEMBERS 257

/* Sums over the members that have a free slot (member_has_free_slot()). */
struct bounded_load_sums {
	uint64_t active, weight;
};

/* Makes m->bounded_load. Returns 0 or -ENOMEM. Thread: main. */
int bounded_load_build(struct members *m);
/*
 * Frees the sums; asserts that the totals are the sums over the blocks. `s` may be NULL. Returns
 * NULL. Thread: any.
 */
struct bounded_load *bounded_load_free(struct bounded_load *s);

/*
 * When a load changes without a pick, the sums contain the change after at most this number of
 * picks.
 */
uint32_t bounded_load_delay(const struct bounded_load *s);

struct bounded_load_sums bounded_load_sums(const struct bounded_load *s);

/* Adds a slot that a pick has reserved at `e` to the sums. */
void bounded_load_note(const struct members *m, const struct members_entry *e);
