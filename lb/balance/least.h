/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The index of loads: the least loaded of many members, without looking at all of them.
 *
 * The members are cut into blocks. For each block two words, shared by all workers, say how low its
 * least load is, and which is the oldest last pick of the entries that have it. A pick compares the
 * words, looks at the entries of the best block, and writes down what it found; and it looks at two
 * more blocks, in turn, so that whatever else happens (ends, checks, commands) is in the words
 * after least_delay() picks, n / 64. A word may be wrong for so long; what is picked is judged by
 * the backend itself.
 *
 * Thread: any, without locks. Layer: balance. Hot, but for least_build() and least_free().
 */

#include <stddef.h>
#include <stdint.h>

struct least;
struct members;
struct members_entry;
struct pick;

/* With fewer members it is as cheap to look at all, and exact. */
#define LEAST_MIN_MEMBERS 257

/* Who of some members would be least loaded with one more connection. */
struct least_found {
	const struct members_entry *entry; /* NULL: none can be picked */
	uint64_t load;                     /* 2^24 * connections / weight, with this one */
};

/* Makes the index of m's entries; 0, or -ENOMEM. Thread: main. */
int least_build(struct members *m);
/* NULL is fine. Returns NULL. */
struct least *least_free(struct least *l);

/* How many picks it takes at most until the index has noticed what happened besides them. */
uint32_t least_delay(const struct least *l);

/*
 * least_of() - look at the entries from `from` on, up to `to`
 *
 * Exact. Of several that are least, the one that was picked longest ago; of those that were never
 * picked, each is as likely as any other.
 */
struct least_found least_of(const struct members *m, size_t from, size_t to, const struct pick *k);

/*
 * least_pick() - reserve a place by the index
 *
 * NULL does not say that there is none: the index may be behind. Then all have to be looked at.
 */
const struct members_entry *least_pick(const struct members *m, const struct pick *k);

/*
 * least_note() - an entry was picked without the index, and its place is reserved
 *
 * The entry gets the pool's next ticket, and the index, where there is one, takes note of its load.
 */
void least_note(const struct members *m, const struct members_entry *e);
