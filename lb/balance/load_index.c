/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load index: for the policy least_connections it finds the least loaded of many members
 * without looking at all of them.
 *
 *     entries:      | 0 ... 31   | 32 ... 63  | 64 ... 95  | ...     up to BLOCK entries each
 *     load[]:       | least load | least load | least load | ...     NO_SLOT: no entry has a free
 * slot turn[]:       | least turn | least turn | least turn | ...     of the entries with that load
 *
 * Terms. The load of an idle entry is 0; that of any other entry is (connections + 1) / weight, as
 * a fraction of 24 bits: what the load would be with one more connection. A turn orders the entries
 * that have equal loads: the entry with the least turn is picked (backend_turn(); policy_least.c
 * says how turns are given). A block is BLOCK entries that are neighbours. Its words are its least
 * load and its least turn, in load[] and turn[]. To refresh a block is to look at its entries and
 * to store its two words (refresh()).
 *
 * A pick, load_index_pick(), goes through the blocks, best words first (look_first(), look_next()),
 * and looks at the entries of each (load_index_scan()):
 *
 *   - The best entry is as good as the word promised: its slot is reserved, and the pick is over.
 *   - The best entry is worse, because other workers were faster, or it is down, or was tried: the
 *     block is refreshed, and the pick remembers the best entry of all these blocks.
 *   - No word promises anything better than the remembered entry: that entry is picked.
 *
 * The search ends after MAX_LOOKS blocks, with the remembered entry, or with nothing. picked() then
 * gives the entry its next turn, and refreshes its block and IN_TURN other blocks.
 *
 * All accesses to the words are relaxed, because each word stands for itself and publishes no other
 * memory. When two workers refresh a block at once, the older words may stay; they are put right
 * when the turn of the block comes. A word is stored only when it changes, so that workers share
 * its cache line while little happens.
 *
 * Thread: any; main for load_index_build(). Hot, but for build and free.
 */
#include "balance/load_index.h"

#include <errno.h>
#include <stdlib.h>

#include "balance/member.h"
#include "util/hash.h"

#define BLOCK 32 /* measured with 10,000 entries: 16 is no faster, 64 takes twice the time */

/*
 * Blocks that each pick refreshes, in turn. Tried with 10,000 backends of 100 connections each,
 * where connections end as often as new ones come: with one block per pick, some backends have
 * three too few now and then; with two, hardly ever.
 */
#define IN_TURN 2

/* Blocks that a pick looks at before it takes the best entry so far. A guess: two are rare. */
#define MAX_LOOKS 8

/*
 * The fraction of a load has 24 bits. Different loads stay different, since weights are at most
 * POOL_WEIGHT_MAX: they differ by 1/256^2 at least, and the rounding is below 2^-24. Equal loads
 * stay equal.
 */
#define LOAD_SHIFT 24
#define NO_SLOT UINT64_MAX

/* Units of virtual time per pick, so that the rounding of a turn is small. */
#define TURN_UNITS 256u

struct load_index {
	uint32_t n_blocks;
	_Atomic uint64_t *turn; /* borrows from `load`, behind the loads */
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

/* The first entry of a block; m->n for block n_blocks. The blocks' sizes differ by one at most. */
static size_t start_of(const struct members *m, uint32_t block)
{
	LB_ASSERT(block <= m->load_index->n_blocks);
	return (size_t)((uint64_t)m->n * block / m->load_index->n_blocks);
}

/* ---- looking at entries ---------------------------------------------------------------------- */

/* True once in `n` calls, on average: by a linear congruential generator, whose high bits are good.
 */
static bool is_one_in(uint32_t n, uint64_t *random)
{
	*random = *random * 6364136223846793005u + 1442695040888963407u;
	return ((*random >> 32) * n) >> 32 == 0;
}

/*
 * What a load is computed from: the connections with one more, or 0 for an idle backend. Idle
 * backends have equal loads, whatever their weights.
 */
static uint64_t next_of(const struct backend *b)
{
	uint32_t active = backend_active(b);

	return (uint64_t)active + (active > 0); /* without a branch */
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
	uint64_t best_next = 0; /* next_of() */
	uint64_t best_turn = 0;
	uint32_t n_ties = 0; /* entries with the best load and turn */

	LB_ASSERT(from <= to && to <= m->n);
	for (size_t i = from; i < to; i++) {
		const struct members_entry *e = &m->entry[i];

		if (!member_is_candidate(e, k) || member_is_full(e->backend))
			continue;
		/* next / weight, compared without dividing */
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

/* Stores the words of a block. What the current pick has tried does not count. */
static void refresh(const struct members *m, uint32_t block)
{
	uint64_t best_next = 0, best_turn = 0;
	uint32_t best_weight = 0; /* 0: no entry has a free slot */
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

/* A block to look at, and what its words promised. */
struct look {
	uint64_t load; /* NO_SLOT: there is no such block */
	uint64_t turn;
	uint32_t block;
};

/*
 * The block with the best words. Of several blocks where an entry of that load was never picked,
 * each is as likely as any other.
 */
static struct look look_first(const struct load_index *l, const struct pick *k)
{
	struct look best = { .load = NO_SLOT };
	uint64_t random = hash_mix(k->random, 1); /* another one than load_index_scan() uses */
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

/* Whether block `a` is looked at before block `b`. They are different blocks. */
static bool is_before(const struct look *a, const struct look *b)
{
	if (a->load != b->load)
		return a->load < b->load;
	return a->turn != b->turn ? a->turn < b->turn : a->block < b->block;
}

/* The best block after `last`. While no word changes, no block comes twice. */
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
 * Gives `e`, which is being picked, its next turn: as many units of virtual time after this one as
 * there are picks, on average, between two turns of `e` when all members have the same load.
 */
static void take_turn(const struct members *m, const struct members_entry *e)
{
	/*
	 * Relaxed, and no atomic addition: when two workers pick at once, the virtual time of one
	 * may get lost. Then two backends can have equal turns, which costs nothing but order.
	 */
	uint64_t now = atomic_load_explicit(&m->pool->virtual_time, memory_order_relaxed);
	uint64_t turn = backend_turn(e->backend);
	uint64_t start = turn > now ? turn : now;

	LB_ASSERT(e->weight > 0 && e->weight <= m->total_weight);
	backend_set_turn(e->backend, start + m->total_weight * TURN_UNITS / e->weight);
	atomic_store_explicit(&m->pool->virtual_time, start + 1, memory_order_relaxed);
}

/* A slot at `e`, an entry of `block`, was reserved. Returns `e`. */
static const struct members_entry *picked(const struct members *m, uint32_t block,
					  const struct members_entry *e)
{
	/* Relaxed, because all that matters is that no two picks get one number. */
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
	struct load_index_found kept = { .load = UINT64_MAX }; /* the remembered entry */
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
	/* The block of entry i: the inverse of start_of(). */
	uint64_t i = (uint64_t)(e - m->entry);
	uint64_t block = ((i + 1) * m->load_index->n_blocks - 1) / m->n;

	LB_ASSERT(block < m->load_index->n_blocks);
	(void)picked(m, (uint32_t)block, e);
}
