/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The load index: finds the least loaded of many members without looking at all of them.
 *
 * The members are cut into blocks. For each block two words, which all workers share, say how low
 * the least load of its entries is, and which is the least turn of the entries that have it.
 * A pick compares the words of all blocks, looks at the entries of the best block, and stores what
 * it has found there. The pick also refreshes two more blocks, in turn. So everything that changes
 * a load without a pick (ends, checks, commands) is in the words after load_index_delay() picks,
 * n/64. A word may be wrong for that long, but every entry is judged by its backend before it is
 * picked.
 *
 * Thread: any, without locks. Layer: balance. Hot, but for load_index_build() and
 * load_index_free().
 */

#include <stddef.h>
#include <stdint.h>

struct load_index;
struct members;
struct members_entry;
struct pick;

/* With fewer members a look at all of them is as cheap, and exact. */
#define LOAD_INDEX_MIN_MEMBERS 257

/* The entry, among some, that would have the least load with one more connection. */
struct load_index_found {
	const struct members_entry *entry; /* NULL: none has a free slot */
	uint64_t load; /* 2^24 * (connections + 1) / weight; 0: idle; UINT64_MAX: NULL */
};

/* Makes the index of the entries of `m`; 0, or -ENOMEM. Thread: main. */
int load_index_build(struct members *m);
/* NULL is fine. Returns NULL. */
struct load_index *load_index_free(struct load_index *l);

/* After how many picks, at most, a change that was no pick is in the words. */
uint32_t load_index_delay(const struct load_index *l);

/*
 * load_index_scan() - look at the entries from `from` on, those before `to`
 *
 * Exact, and needs no index. Of several entries with the least load, the one with the least
 * turn is found; of those with equal turns, as before their first picks, each is as likely as any
 * other.
 */
struct load_index_found load_index_scan(const struct members *m, size_t from, size_t to,
					const struct pick *k);

/*
 * load_index_pick() - reserve a slot at the entry that the index finds
 *
 * NULL does not say that no entry has a free slot, because the index may be behind. Then the caller
 * has to look at all entries.
 */
const struct members_entry *load_index_pick(const struct members *m, const struct pick *k);

/*
 * load_index_note() - tell the index that a slot at `e` was reserved without it
 *
 * Gives the entry its next turn, and refreshes its block where `m` has an index.
 */
void load_index_note(const struct members *m, const struct members_entry *e);
