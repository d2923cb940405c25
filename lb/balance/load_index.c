/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load index: for the policy least_connections it finds the least loaded of many members
 * without looking at all of them.
 *
 *     entries:      | 0 ... 31   | 32 ... 63  | 64 ... 95  | ...     up to BLOCK entries each
 *     load[]:       | least load | least load | least load | ...
 *     turn[]:       | least turn | least turn | least turn | ...     of the entries with that load
 *
 * A load of NO_SLOT says that no entry of the block has a free slot.
 *
 * Terms. An entry is a member in the array of members. The load of an idle entry is 0. The load of
 * any other entry is (connections + 1) / weight, which is the load that the entry would have with
 * one more connection; a load has 24 bits behind the binary point. A turn orders the entries that
 * have equal loads: the entry with the least turn is picked (backend_turn(); policy_least.c says
 * how turns are given). A block is at most BLOCK entries that are neighbours. A block has two
 * words: the least load of its entries, in load[], and the least turn of the entries with that
 * load, in turn[]. To refresh a block is to look at its entries and to store its two words
 * (refresh()).
 *
 * A pick, load_index_pick(), goes through the blocks, the block with the least words first
 * (look_first(), look_next()). In each block it looks at the entries (load_index_scan()):
 *
 *   - When the load of the best entry is not above load[] of the block, the pick reserves a slot
 *     at the entry, and ends.
 *   - When the load is above load[] (which is out of date, or is the load of an entry that the pick
 *     has tried before), the pick refreshes the block, and remembers the entry if its load is the
 *     least so far. When another worker has taken the slot first, the block is refreshed, too.
 *   - When load[] of no block is below the load of the remembered entry, that entry is picked.
 *
 * After MAX_LOOKS blocks the pick takes the remembered entry. When there is none, the pick finds
 * nothing. When an entry was picked, picked() gives the entry its next turn, and refreshes its
 * block and IN_TURN other blocks.
 *
 * All accesses to the words are relaxed, because the words publish no other memory. When two
 * workers refresh a block at once, the older words may be the ones that stay, until the block is
 * refreshed again. A word is stored only when it changes, so that the caches of all CPUs keep its
 * cache line while loads change little.
 *
 * Thread: any; main for load_index_build(). Hot, but for build and free.
 */
#include "balance/load_index.h"

#include <errno.h>
#include <stdlib.h>

#include "balance/member.h"
#include "util/hash.h"

/*
 * The entries in a block. Measured with 10,000 entries: blocks of 16 are no faster, and blocks of
 * 64 take twice the time.
 */
#define BLOCK 32

/*
 * How many blocks each pick refreshes; the picks take the blocks in turn. Tried with 10,000
 * backends of 100 connections each, where connections end as often as new ones come: with one block
 * per pick, now and then some backends have three connections fewer than the others; with two
 * blocks per pick, that hardly ever happens.
 */
#define IN_TURN 2

/*
 * How many blocks a pick looks at before it takes the best entry so far. A guess; a pick rarely
 * looks at two.
 */
#define MAX_LOOKS 8

/*
 * How many bits of a load are behind the binary point. 24 bits keep different loads different:
 * weights are at most POOL_WEIGHT_MAX, 256, so different loads differ by at least 1/256^2, and
 * rounding changes a load by less than 2^-24. Equal loads are rounded to equal numbers.
 */
#define LOAD_SHIFT 24
#define NO_SLOT UINT64_MAX

/* Units of virtual time per pick. There are many, because a turn is rounded to a whole unit. */
#define TURN_UNITS 256u

struct load_index {
	uint32_t n_blocks;
	_Atomic uint64_t *turn; /* borrows: the turns are in `load`, behind the loads */
	LB_CACHE_ALIGNED _Atomic uint64_t load[];
};

static uint64_t load_at(const struct load_index *l, uint32_t block)
{
	return atomic_load_explicit(&l->load[block], memory_order_relaxed);
}

static uint64_t turn_at(const struct load_index *l, uint32_t block)
{
	return atomic_load_explicit(&l->turn[block], memory_order_relaxed);
}

static void store(_Atomic uint64_t *word, uint64_t v)
{
	if (atomic_load_explicit(word, memory_order_relaxed) != v)
		atomic_store_explicit(word, v, memory_order_relaxed);
}

/*
 * The index of the first entry of a block; m->n for block n_blocks, which is behind the last block.
 * The sizes of two blocks differ by at most one entry.
 */
static size_t start_of(const struct members *m, uint32_t block)
{
	LB_ASSERT(block <= m->load_index->n_blocks);
	return (size_t)((uint64_t)m->n * block / m->load_index->n_blocks);
}

/* ---- looking at entries ---------------------------------------------------------------------- */

/*
 * True once in `n` calls, on average. *random is the state of a linear congruential generator; its
 * high bits are used, because its low bits are hardly random.
 */
static bool is_one_in(uint32_t n, uint64_t *random)
{
	*random = *random * 6364136223846793005u + 1442695040888963407u;
	return ((*random >> 32) * n) >> 32 == 0;
}

/*
 * The load of `b` before the division by its weight: its connections and one more, or 0 when it is
 * idle. So idle backends have equal loads, whatever their weights.
 */
static uint64_t next_of(const struct backend *b)
{
	uint32_t active = backend_active(b);

	return (uint64_t)active + (active > 0); /* computed without a branch */
}

static uint64_t load_of(uint64_t next, uint32_t weight)
{
	LB_ASSERT(weight > 0 && weight <= POOL_WEIGHT_MAX);
	return (next << LOAD_SHIFT) / weight;
}

struct load_index_found load_index_scan(const struct members *m, size_t from, size_t to,
					const struct pick *k)
{
	const struct members_entry *best = NULL;
	uint64_t random = k->random;
	uint64_t best_next = 0; /* next_of() of `best` */
	uint64_t best_turn = 0;
	uint32_t n_ties = 0; /* how many entries have the load and the turn of `best` */

	LB_ASSERT(from <= to && to <= m->n);
	for (size_t i = from; i < to; i++) {
		const struct members_entry *e = &m->entry[i];

		if (!member_is_candidate(e, k) || member_is_full(e->backend))
			continue;
		/*
		 * Compares next / weight of `e` and of `best`, without dividing: each `next` is
		 * multiplied by the other entry's weight.
		 */
		uint64_t next = next_of(e->backend);
		uint64_t load = best != NULL ? next * best->weight : 0;
		uint64_t best_load = best_next * e->weight;
		if (best != NULL && load > best_load)
			continue;
		uint64_t turn = backend_turn(e->backend);
		if (best == NULL || load < best_load || turn < best_turn)
			n_ties = 1;
		else if (turn > best_turn || !is_one_in(++n_ties, &random))
			continue;
		best = e;
		best_next = next;
		best_turn = turn;
	}
	return (struct load_index_found){
		.entry = best,
		.load = best != NULL ? load_of(best_next, best->weight) : UINT64_MAX,
	};
}

/*
 * Computes and stores the words of a block. The words are for all picks, so they include entries
 * that the current pick has tried already.
 */
static void refresh(const struct members *m, uint32_t block)
{
	uint64_t best_next = 0, best_turn = 0;
	uint32_t best_weight = 0; /* 0: no entry with a free slot found yet */
	size_t end = start_of(m, block + 1);

	for (size_t i = start_of(m, block); i < end; i++) {
		const struct members_entry *e = &m->entry[i];

		if (!member_has_free_slot(e))
			continue;
		uint64_t next = next_of(e->backend);
		uint64_t load = next * best_weight, best_load = best_next * e->weight;
		if (best_weight != 0 && load > best_load)
			continue;
		uint64_t turn = backend_turn(e->backend);
		if (best_weight == 0 || load < best_load || turn < best_turn)
			best_turn = turn;
		best_next = next;
		best_weight = e->weight;
	}
	store(&m->load_index->load[block],
	      best_weight != 0 ? load_of(best_next, best_weight) : NO_SLOT);
	store(&m->load_index->turn[block], best_turn);
}

/* ---- the index ------------------------------------------------------------------------------- */

int load_index_build(struct members *m)
{
	LB_ASSERT(m->n > 0 && m->load_index == NULL);
	uint32_t n_blocks = (uint32_t)((m->n + BLOCK - 1) / BLOCK);
	size_t size = sizeof(struct load_index) + 2 * n_blocks * sizeof(_Atomic uint64_t);
	size_t align = _Alignof(struct load_index);
	struct load_index *l = aligned_alloc(align, (size + align - 1) / align * align);

	if (l == NULL)
		return -ENOMEM;
	m->load_index = l;
	l->n_blocks = n_blocks;
	l->turn = l->load + n_blocks;
	LB_ASSERT(start_of(m, 0) == 0 && start_of(m, n_blocks) == m->n);
	for (uint32_t b = 0; b < n_blocks; b++) {
		atomic_init(&l->load[b], NO_SLOT);
		atomic_init(&l->turn[b], 0);
		refresh(m, b);
	}
	return 0;
}

struct load_index *load_index_free(struct load_index *l)
{
	free(l);
	return NULL;
}

uint32_t load_index_delay(const struct load_index *l)
{
	return (l->n_blocks + IN_TURN - 1) / IN_TURN;
}

/* ---- the pick -------------------------------------------------------------------------------- */

/* A block to look at, and what its words were when it was chosen. */
struct look {
	uint64_t load; /* NO_SLOT: there is no block to look at */
	uint64_t turn;
	uint32_t block;
};

/*
 * The block with the least load, and of several such blocks the one with the least turn. When
 * several blocks are equal in both, as when entries in them were never picked, each is as likely as
 * any other.
 */
static struct look look_first(const struct load_index *l, const struct pick *k)
{
	struct look best = { .load = NO_SLOT };
	/* not the random number that load_index_scan() uses */
	uint64_t random = hash_mix(k->random, 1);
	uint32_t n_ties = 0;

	for (uint32_t b = 0; b < l->n_blocks; b++) {
		uint64_t load = load_at(l, b);

		if (load == NO_SLOT || load > best.load)
			continue;
		uint64_t turn = turn_at(l, b);
		if (load < best.load || turn < best.turn)
			n_ties = 1;
		else if (turn > best.turn || !is_one_in(++n_ties, &random))
			continue;
		best = (struct look){ .load = load, .turn = turn, .block = b };
	}
	return best;
}

/* Whether block `a` is looked at before block `b`, which is a different block. */
static bool is_before(const struct look *a, const struct look *b)
{
	if (a->load != b->load)
		return a->load < b->load;
	return a->turn != b->turn ? a->turn < b->turn : a->block < b->block;
}

/*
 * The block to look at after `last`, in the order of is_before(). While no word changes, no block
 * is returned twice.
 */
static struct look look_next(const struct load_index *l, const struct look *last)
{
	struct look best = { .load = NO_SLOT };

	for (uint32_t b = 0; b < l->n_blocks; b++) {
		struct look at = { .load = load_at(l, b), .block = b };

		if (at.load < last->load || at.load > best.load || at.load == NO_SLOT)
			continue;
		at.turn = turn_at(l, b);
		if (is_before(last, &at) && (best.load == NO_SLOT || is_before(&at, &best)))
			best = at;
	}
	LB_DASSERT(best.load == NO_SLOT || is_before(last, &best));
	return best;
}

/*
 * Gives `e`, which is being picked, its next turn. Among members of equal loads, `e` is to be
 * picked once in total_weight / weight picks. So its next turn is that many picks after the start
 * of this one, in units of virtual time.
 */
static void take_turn(const struct members *m, const struct members_entry *e)
{
	/*
	 * The accesses are relaxed, and there is no atomic addition. So when two workers pick at
	 * once, the virtual time that one of them stores may get lost. Then two backends can have
	 * equal turns, and chance decides which of them is picked first.
	 */
	uint64_t now = atomic_load_explicit(&m->pool->virtual_time, memory_order_relaxed);
	uint64_t turn = backend_turn(e->backend);
	uint64_t start = turn > now ? turn : now;

	LB_ASSERT(e->weight > 0 && e->weight <= m->total_weight);
	backend_set_turn(e->backend, start + m->total_weight * TURN_UNITS / e->weight);
	atomic_store_explicit(&m->pool->virtual_time, start + 1, memory_order_relaxed);
}

/*
 * Gives `e`, an entry of `block`, its next turn, and refreshes its block and IN_TURN other blocks.
 * To be called when a slot at `e` was reserved. Returns `e`.
 */
static const struct members_entry *picked(const struct members *m, uint32_t block,
					  const struct members_entry *e)
{
	/* Relaxed, because all that matters is that no two picks get the same number. */
	uint64_t ticket = atomic_fetch_add_explicit(&m->pool->ticket, 1, memory_order_relaxed);

	LB_ASSERT(block < m->load_index->n_blocks);
	LB_DASSERT(e >= m->entry + start_of(m, block) && e < m->entry + start_of(m, block + 1));
	take_turn(m, e);
	refresh(m, block);
	for (uint32_t i = 0; i < IN_TURN; i++)
		refresh(m, (uint32_t)((ticket * IN_TURN + i) % m->load_index->n_blocks));
	return e;
}

const struct members_entry *load_index_pick(const struct members *m, const struct pick *k)
{
	LB_ASSERT(m->load_index != NULL);
	struct look look = look_first(m->load_index, k);
	/* the best entry of the blocks refreshed */
	struct load_index_found kept = { .load = UINT64_MAX };
	uint32_t kept_block = 0;

	for (int i = 0; i < MAX_LOOKS && look.load != NO_SLOT; i++) {
		uint64_t promised = look.load;

		if (kept.load <= promised)
			break;

		struct load_index_found found =
			load_index_scan(m, start_of(m, look.block), start_of(m, look.block + 1), k);
		if (found.entry != NULL && found.load <= promised &&
		    backend_reserve(found.entry->backend))
			return picked(m, look.block, found.entry);
		refresh(m, look.block);
		if (found.load > promised && found.load < kept.load) {
			kept = found;
			kept_block = look.block;
		}
		look = look_next(m->load_index, &look);
	}
	LB_ASSERT((kept.entry == NULL) == (kept.load == UINT64_MAX));
	if (kept.entry != NULL && backend_reserve(kept.entry->backend))
		return picked(m, kept_block, kept.entry);
	return NULL;
}

void load_index_note(const struct members *m, const struct members_entry *e)
{
	if (m->load_index == NULL) {
		take_turn(m, e);
		return;
	}
	LB_ASSERT(e >= m->entry && e < m->entry + m->n);
	/* `block` is the block of entry i, computed by the inverse of start_of(). */
	uint64_t i = (uint64_t)(e - m->entry);
	uint64_t block = ((i + 1) * m->load_index->n_blocks - 1) / m->n;

	LB_ASSERT(block < m->load_index->n_blocks);
	(void)picked(m, (uint32_t)block, e);
}
