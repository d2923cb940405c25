/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hash: weighted rendezvous hashing (docs/hash.md has the definition and vectors).
 *
 * Each backend draws a lot for each key, u = hash(key, name) in (0, 1); the key takes the backends
 * in the order of -log2(u) / weight, least first. That order depends on names and weights only;
 * removing a backend moves just the keys it had, and its share is its weight's exactly. All in
 * integers, so that every machine agrees.
 *
 * A pick looks at each backend once. With load_factor it first sums their loads, and whoever has
 * reached its bound is passed over.
 */
#include <stdlib.h>
#include <string.h>

#include "balance/policy.h"
#include "util/hash.h"

#define SEED_NAME 1u /* part of docs/hash.md */
#define TABLE_BITS 10u
#define TABLE_SIZE (1u << TABLE_BITS)
#define FRACTION_BITS 32u

struct hash_order {
	bool is_weighted;                 /* with equal weights the lots alone decide */
	uint64_t *name_hash;              /* owns: per entry */
	uint32_t log2_of[TABLE_SIZE + 1]; /* log2(1 + i / TABLE_SIZE), 32 bits behind the point */
};

/* log2 of x in [1, 2), given with 62 bits behind the point: a bit per squaring, exact in integers.
 */
static uint32_t log2_bits(uint64_t x)
{
	uint32_t result = 0;

	for (unsigned i = 0; i < FRACTION_BITS; i++) {
		x = (uint64_t)((unsigned __int128)x * x >> 62);
		result <<= 1;
		if (x >> 63) {
			result |= 1;
			x >>= 1;
		}
	}
	return result;
}

struct hash_order *policy_hash_build(const struct members *m)
{
	struct hash_order *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->name_hash = calloc(m->n + 1, sizeof(*h->name_hash));
	if (h->name_hash == NULL)
		return policy_hash_free(h);
	for (size_t i = 0; i < m->n; i++) {
		const char *name = m->entry[i].backend->name;
		h->name_hash[i] = hash_bytes(name, strlen(name), SEED_NAME);
		h->is_weighted = h->is_weighted || m->entry[i].weight != m->entry[0].weight;
	}
	for (uint32_t i = 0; i < TABLE_SIZE; i++)
		h->log2_of[i] = log2_bits(((uint64_t)1 << 62) + ((uint64_t)i << (62 - TABLE_BITS)));
	h->log2_of[TABLE_SIZE] = UINT32_MAX;
	return h;
}

struct hash_order *policy_hash_free(struct hash_order *h)
{
	if (h != NULL)
		free(h->name_hash);
	free(h);
	return NULL;
}

/* -log2(lot / 2^64) with 32 bits behind the point: falls as the lot rises, 1 at least. */
static uint64_t cost_of_lot(const struct hash_order *h, uint64_t lot)
{
	lot |= 1; /* never 0 */
	unsigned zeros = (unsigned)__builtin_clzll(lot);
	uint64_t mantissa = lot << zeros << 1; /* behind the leading one */
	uint32_t i = (uint32_t)(mantissa >> (64 - TABLE_BITS));
	uint64_t rest = mantissa << TABLE_BITS >> 32;
	uint64_t low = h->log2_of[i], high = h->log2_of[i + 1];
	uint64_t fraction = low + ((high - low) * rest >> 32);

	return ((uint64_t)(zeros + 1) << FRACTION_BITS) - fraction;
}

/* Sums of what can be picked from, for the bound. */
struct load {
	uint64_t active, weight;
};

static bool has_room(const struct members_entry *e, const struct pick *k)
{
	return policy_is_candidate(e, k) && !policy_is_full(e->backend);
}

/*
 * Without the full ones: they take nothing, so all others would sooner or later be above a mean
 * that counts them, and refuse what they have room for.
 */
static struct load load_of(const struct members *m, const struct pick *k)
{
	struct load l = { 0 };

	for (size_t i = 0; i < m->n; i++) {
		if (!has_room(&m->entry[i], k))
			continue;
		l.active += backend_active(m->entry[i].backend);
		l.weight += m->entry[i].weight;
	}
	return l;
}

/* load_factor times the mean for its weight, the new one counted, rounded up. l->weight > 0. */
static uint32_t bound_of(const struct members *m, const struct members_entry *e,
			 const struct load *l)
{
	uint64_t bound = ((l->active + 1) * m->load_percent * e->weight + 100 * l->weight - 1) /
			 (100 * l->weight);

	return bound < UINT32_MAX ? (uint32_t)bound : UINT32_MAX;
}

/* Where an entry stands in a key's order. */
struct rank {
	const struct members_entry *entry;
	uint64_t lot, cost, name_hash;
};

static struct rank rank_of(const struct members *m, size_t i, uint64_t key)
{
	const struct hash_order *h = m->hash;
	uint64_t lot = hash_mix(key, h->name_hash[i]);

	return (struct rank){
		.entry = &m->entry[i],
		.lot = lot,
		.cost = h->is_weighted ? cost_of_lot(h, lot) : 0,
		.name_hash = h->name_hash[i],
	};
}

static bool is_before(const struct rank *a, const struct rank *b)
{
	/* cost / weight, without dividing */
	unsigned __int128 a_cost = (unsigned __int128)a->cost * b->entry->weight;
	unsigned __int128 b_cost = (unsigned __int128)b->cost * a->entry->weight;

	if (a_cost != b_cost)
		return a_cost < b_cost;
	/* equal: the lots, and last the names' hashes, decide alike everywhere */
	return a->lot != b->lot ? a->lot > b->lot : a->name_hash > b->name_hash;
}

/* The first in the key's order that has room; with `l`, that is below its bound too. */
static const struct members_entry *scan(const struct members *m, const struct pick *k,
					const struct load *l)
{
	struct rank best = { .entry = NULL };

	for (size_t i = 0; i < m->n; i++) {
		const struct members_entry *e = &m->entry[i];
		if (!has_room(e, k) ||
		    (l != NULL && backend_active(e->backend) >= bound_of(m, e, l)))
			continue;

		struct rank r = rank_of(m, i, k->key);
		if (best.entry == NULL || is_before(&r, &best))
			best = r;
	}
	return best.entry;
}

/* Somebody else may take the last place between a scan and the reservation, so both repeat. */

static const struct members_entry *take_bounded(const struct members *m, const struct pick *k)
{
	for (size_t tries = 0; tries <= m->n; tries++) {
		struct load l = load_of(m, k);
		const struct members_entry *e = l.weight > 0 ? scan(m, k, &l) : NULL;
		if (e == NULL || backend_reserve_within(e->backend, bound_of(m, e, &l)))
			return e;
	}
	return NULL;
}

static const struct members_entry *take(const struct members *m, const struct pick *k)
{
	for (size_t tries = 0; tries <= m->n; tries++) {
		const struct members_entry *e = scan(m, k, NULL);
		if (e == NULL || backend_reserve(e->backend))
			return e;
	}
	return NULL;
}

const struct members_entry *policy_hash(const struct members *m, struct pick *k)
{
	const struct members_entry *e = m->load_percent != 0 ? take_bounded(m, k) : NULL;

	/*
	 * Somebody is always below the bound, but loads move while they are summed: when a pick
	 * comes away with nothing, a connection is worth more than the bound.
	 */
	return e != NULL ? e : take(m, k);
}
