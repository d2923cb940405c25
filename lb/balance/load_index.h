/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The load index: finds the least loaded of many members without looking at all of them.
 *
 * The members are cut into blocks. Each block has two words, which all workers share: the least
 * load of the block's entries, and the least turn of the entries that have this load. A pick
 * compares the words of all blocks, looks at the entries of the block with the least words, and
 * stores the block's new words. The pick does the same for two more blocks, and the next pick for
 * the two after these. A load may also change without a pick, by the end of a connection, a check
 * or a command. Such a change is in the words after at most load_index_delay() picks, which are
 * n/64 picks for n members. A word may be wrong for that long, but a pick looks at the backend
 * itself before it takes an entry.
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

/* With fewer members there is no index, because a look at all members is as cheap, and exact. */
#define LOAD_INDEX_MIN_MEMBERS 257

/*
 * What load_index_scan() finds: the entry that would have the least load with one more connection.
 */
struct load_index_found {
	const struct members_entry *entry; /* NULL: none of the entries has a free slot */
	/* 2^24 * (connections + 1) / weight; 0 when idle; UINT64_MAX when entry is NULL */
	uint64_t load;
};

/* Makes m->load_index. Returns 0 or -ENOMEM. Thread: main. */
int load_index_build(struct members *m);
/* Frees the index. `l` may be NULL. Returns NULL. */
struct load_index *load_index_free(struct load_index *l);

/*
 * When a load changes without a pick, the words contain the change after at most this number of
 * picks.
 */
uint32_t load_index_delay(const struct load_index *l);

/*
 * load_index_scan() - find the least loaded of the entries `from` to `to` - 1
 *
 * The result is exact, and `m` needs no index. Of several entries with the least load, the one with
 * the least turn is found. Of several entries with equal loads and equal turns, as before their
 * first picks, each is as likely as any other.
 */
struct load_index_found load_index_scan(const struct members *m, size_t from, size_t to,
					const struct pick *k);

/*
 * load_index_pick() - reserve a slot at the entry that the index finds
 *
 * Returns NULL when it has found no entry. Some entry may have a free slot all the same, because
 * the words may be out of date. So the caller then has to look at all entries.
 */
const struct members_entry *load_index_pick(const struct members *m, const struct pick *k);

/*
 * load_index_note() - note that a slot at `e` was reserved, not by load_index_pick()
 *
 * Gives `e` its next turn. When `m` has an index, also refreshes the block of `e`.
 */
void load_index_note(const struct members *m, const struct members_entry *e);
