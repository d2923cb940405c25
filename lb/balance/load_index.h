/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The index of loads: the least loaded of many members, without looking at all of them.
 *
 * The members are cut into blocks. For each block two words, shared by all workers, say how low its
 * least load is, and which is the oldest last pick of the entries that have it. A pick compares the
 * words, looks at the entries of the best block, and writes down what it found; and it looks at two
 * more blocks, in turn, so that whatever else happens (ends, checks, commands) is in the words
 * after load_index_delay() picks, n / 64. A word may be wrong for so long; what is picked is judged
 * by the backend itself.
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

/* With fewer members it is as cheap to look at all, and exact. */
#define LOAD_INDEX_MIN_MEMBERS 257

/* Who of some members would be least loaded with one more connection. */
struct load_index_found {
	const struct members_entry *entry; /* NULL: none can be picked */
	uint64_t load;                     /* 2^24 * connections / weight, with this one */
};

/* Makes the index of m's entries; 0, or -ENOMEM. Thread: main. */
int load_index_build(struct members *m);
/* NULL is fine. Returns NULL. */
struct load_index *load_index_free(struct load_index *l);

/* How many picks it takes at most until the index has noticed what happened besides them. */
uint32_t load_index_delay(const struct load_index *l);

/*
 * load_index_scan() - look at the entries from `from` on, up to `to`
 *
 * Exact. Of several that are least, the one that was picked longest ago; of those that were never
 * picked, each is as likely as any other.
 */
struct load_index_found load_index_scan(const struct members *m, size_t from, size_t to,
					const struct pick *k);

/*
 * load_index_pick() - reserve a place by the index
 *
 * NULL does not say that there is none: the index may be behind. Then all have to be looked at.
 */
const struct members_entry *load_index_pick(const struct members *m, const struct pick *k);

/*
 * load_index_note() - an entry was picked without the index, and its place is reserved
 *
 * The entry gets the pool's next ticket, and the index, where there is one, takes note of its load.
 */
void load_index_note(const struct members *m, const struct members_entry *e);
