/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words are relaxed atomics: each stands for itself and publishes nothing, and one that is
 * overwritten by an older finding is put right when its block's turn comes. They are stored only
 * when they change, so that workers share their cache lines while little happens.
 *
 * A pick goes through the blocks best first. A block whose entries are worse than its word said
 * (others were faster, the best one is down, or was tried) has its best one kept in mind; the
 * search ends when no word promises better.
 */
#include "balance/least.h"

#include <errno.h>
#include <stdlib.h>

#include "balance/policy.h"

#define BLOCK 32 /* entries; measured among 10,000: 16 is no faster, 64 takes twice the time */

/*
 * Blocks that each pick refreshes in turn. Every round of n picks sees as many ends; with one block
 * a pick some backends of mean 100 are three short now and then (tried, among 10,000), with two
 * hardly ever.
 */
#define IN_TURN 2

/* Blocks that a pick looks at before it takes the best so far. A guess: two are rare. */
#define MAX_LOOKS 8

/*
 * A word: the least load in its upper 56 bits, how many have it in its lower 8. Loads of different
 * fractions differ (by 1/256^2 at least, and 2^-24 is what is lost), equal ones are equal.
 */
#define LOAD_SHIFT 24
#define TIES_BITS 8
#define NOBODY UINT64_MAX

struct least {
	uint32_t n_blocks;
	LB_CACHE_ALIGNED _Atomic uint32_t turn; /* whose block is looked at next */
	LB_CACHE_ALIGNED _Atomic uint64_t word[];
};

static uint64_t load_of_word(uint64_t word)
{
	return word >> TIES_BITS;
}

static uint64_t word_at(const struct least *l, uint32_t block)
{
	return atomic_load_explicit(&l->word[block], memory_order_relaxed);
}

/* Where a block begins; the one behind the last begins at the end. They differ by one at most. */
static size_t start_of(const struct members *m, uint32_t block)
{
	return (size_t)((uint64_t)m->n * block / m->least->n_blocks);
}

/* ---- looking at entries ---------------------------------------------------------------------- */

/* True once in `n` calls; a step of a linear congruential generator, whose high bits are good. */
static bool is_one_in(uint32_t n, uint64_t *random)
{
	*random = *random * 6364136223846793005u + 1442695040888963407u;
	return ((*random >> 32) * n) >> 32 == 0;
}

static uint64_t load_of(uint64_t next, uint32_t weight)
{
	return (next << LOAD_SHIFT) / weight;
}

struct least_found least_of(const struct members *m, size_t from, size_t to, const struct pick *k)
{
	const struct members_entry *best = NULL;
	uint64_t random = k->random;
	uint64_t best_next = 0; /* connections, with this one */
	uint32_t n_ties = 0;

	for (size_t i = from; i < to; i++) {
		const struct members_entry *e = &m->entry[i];

		if (!policy_is_candidate(e, k) || policy_is_full(e->backend))
			continue;
		/* (active + 1) / weight, without dividing. */
		uint64_t next = (uint64_t)backend_active(e->backend) + 1;
		uint64_t load = best != NULL ? next * best->weight : 0;
		uint64_t best_load = best_next * e->weight;
		if (best == NULL || load < best_load)
			n_ties = 1;
		else if (load > best_load || !is_one_in(++n_ties, &random))
			continue;
		best = e;
		best_next = next;
	}
	return (struct least_found){
		.entry = best,
		.load = best != NULL ? load_of(best_next, best->weight) : UINT64_MAX,
	};
}

/* Writes down how a block is, whoever was tried. */
static void refresh(const struct members *m, uint32_t block)
{
	uint64_t best_next = 0, n_ties = 0;
	uint32_t best_weight = 0;
	size_t end = start_of(m, block + 1);

	for (size_t i = start_of(m, block); i < end; i++) {
		const struct members_entry *e = &m->entry[i];

		if (!policy_has_room(e))
			continue;
		uint64_t next = (uint64_t)backend_active(e->backend) + 1;
		uint64_t load = next * best_weight, best_load = best_next * e->weight;
		if (n_ties == 0 || load < best_load) {
			best_next = next;
			best_weight = e->weight;
			n_ties = 1;
		} else if (load == best_load) {
			n_ties++;
		}
	}

	uint64_t word = n_ties > 0 ? load_of(best_next, best_weight) << TIES_BITS | n_ties : NOBODY;
	if (word_at(m->least, block) != word)
		atomic_store_explicit(&m->least->word[block], word, memory_order_relaxed);
}

static void refresh_in_turn(const struct members *m)
{
	struct least *l = m->least;
	/* Relaxed: only the numbers must differ. */
	uint32_t turn = atomic_fetch_add_explicit(&l->turn, IN_TURN, memory_order_relaxed);

	for (uint32_t i = 0; i < IN_TURN; i++)
		refresh(m, (turn + i) % l->n_blocks);
}

/* ---- the index ------------------------------------------------------------------------------- */

int least_build(struct members *m)
{
	uint32_t n_blocks = (uint32_t)((m->n + BLOCK - 1) / BLOCK);
	size_t size = sizeof(struct least) + n_blocks * sizeof(_Atomic uint64_t);
	size_t align = _Alignof(struct least);
	struct least *l = aligned_alloc(align, (size + align - 1) / align * align);

	if (l == NULL)
		return -ENOMEM;
	m->least = l;
	l->n_blocks = n_blocks;
	atomic_init(&l->turn, 0);
	for (uint32_t b = 0; b < n_blocks; b++) {
		atomic_init(&l->word[b], NOBODY);
		refresh(m, b);
	}
	return 0;
}

struct least *least_free(struct least *l)
{
	free(l);
	return NULL;
}

uint32_t least_delay(const struct least *l)
{
	return (l->n_blocks + IN_TURN - 1) / IN_TURN;
}

/* ---- the pick -------------------------------------------------------------------------------- */

/* A block to look at, and what its word promised. */
struct look {
	uint64_t word; /* NOBODY: there is no such block */
	uint32_t block;
};

/* One of the best words; each of the entries behind them is as likely as any other. */
static struct look look_first(const struct least *l, uint64_t random)
{
	struct look best = { .word = NOBODY };
	uint64_t n_ties = 0;

	for (uint32_t b = 0; b < l->n_blocks; b++) {
		uint64_t word = word_at(l, b);

		if (word == NOBODY || load_of_word(word) > load_of_word(best.word))
			continue;
		if (load_of_word(word) < load_of_word(best.word)) {
			best = (struct look){ .word = word, .block = b };
			n_ties = 0;
		}
		n_ties += word & ((1u << TIES_BITS) - 1);
	}
	if (best.word == NOBODY)
		return best;

	uint64_t at = (random >> 32) * n_ties >> 32;
	for (uint32_t b = best.block; b < l->n_blocks; b++) {
		uint64_t word = word_at(l, b), n = word & ((1u << TIES_BITS) - 1);

		if (load_of_word(word) != load_of_word(best.word))
			continue;
		if (at < n)
			return (struct look){ .word = word, .block = b };
		at -= n;
	}
	return best; /* the words have changed meanwhile */
}

/*
 * The best one behind `last`, where those of equal load come in a circle that begins at `first`: no
 * block comes twice for one promise.
 */
static struct look look_next(const struct least *l, const struct look *last, uint32_t first)
{
	struct look best = { .word = NOBODY };
	uint32_t last_place = (last->block + l->n_blocks - first) % l->n_blocks;

	for (uint32_t place = 0; place < l->n_blocks; place++) {
		uint32_t b = (first + place) % l->n_blocks;
		uint64_t word = word_at(l, b);
		uint64_t load = load_of_word(word), last_load = load_of_word(last->word);

		if (load > last_load || (load == last_load && place > last_place))
			if (load < load_of_word(best.word))
				best = (struct look){ .word = word, .block = b };
	}
	return best;
}

static const struct members_entry *settle(const struct members *m, uint32_t block,
					  const struct members_entry *e)
{
	refresh(m, block);
	refresh_in_turn(m);
	return e;
}

const struct members_entry *least_pick(const struct members *m, const struct pick *k)
{
	struct look look = look_first(m->least, k->random);
	struct least_found kept = { .load = UINT64_MAX };
	uint32_t first = look.block, kept_block = 0;

	for (int i = 0; i < MAX_LOOKS && look.word != NOBODY; i++) {
		uint64_t promised = load_of_word(look.word);
		if (kept.load <= promised)
			break;

		struct least_found found =
			least_of(m, start_of(m, look.block), start_of(m, look.block + 1), k);
		if (found.entry != NULL && found.load <= promised &&
		    backend_reserve(found.entry->backend))
			return settle(m, look.block, found.entry);
		refresh(m, look.block);
		if (found.load > promised && found.load < kept.load) {
			kept = found;
			kept_block = look.block;
		}
		look = look_next(m->least, &look, first);
	}
	if (kept.entry != NULL && backend_reserve(kept.entry->backend))
		return settle(m, kept_block, kept.entry);
	return NULL;
}

void least_note(const struct members *m, const struct members_entry *e)
{
	/* start_of(), turned round */
	uint64_t i = (uint64_t)(e - m->entry);

	refresh(m, (uint32_t)(((i + 1) * m->least->n_blocks - 1) / m->n));
}
