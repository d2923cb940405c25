/* SPDX-License-Identifier: Apache-2.0 */
/*
 * random: the less loaded of two backends that are drawn at random, each by its weight. Nearly as
 * even as least_connections, without looking at all backends ("the power of two choices").
 *
 * policy_random() draws two different entries (draw()), compares their loads (less_loaded()), and
 * reserves a slot at the better one. A draw is a number below the sum of all weights; by_weight(),
 * a binary search in the cumulated weights, finds the entry that the number belongs to. A draw
 * misses when the entry is no candidate or is full. After MAX_DRAWS misses, or when the chosen
 * backend fills up before the reservation, policy_least() looks at all entries.
 *
 * Relies on members.cumulated, which members_new() makes. Thread: any. Hot.
 */
#include "balance/member.h"
#include "balance/policy.h"
#include "util/hash.h"

/*
 * After so many misses policy_least() looks at all entries, because few of them can have a free
 * slot then. A guess.
 */
#define MAX_DRAWS 64

/* The first entry whose cumulated weight exceeds `r`, 0 <= r < total_weight. */
static size_t by_weight(const struct members *m, uint64_t r)
{
	size_t low = 0, high = m->n - 1;

	LB_ASSERT(m->n > 0 && r < m->total_weight);
	LB_DASSERT(m->cumulated[m->n - 1] == m->total_weight);
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (r < m->cumulated[middle])
			high = middle;
		else
			low = middle + 1;
	}
	LB_ASSERT(m->entry[low].weight > 0);
	return low;
}

/*
 * Draws an entry that has a free slot and is not `not_this`. Returns NULL after MAX_DRAWS misses.
 */
static const struct members_entry *draw(const struct members *m, struct pick *k,
					const struct members_entry *not_this)
{
	for (int i = 0; i < MAX_DRAWS; i++) {
		k->random = hash_mix(k->random, (uint64_t)i + 1);
		const struct members_entry *e =
			&m->entry[by_weight(m, k->random % m->total_weight)];

		if (e != not_this && member_is_candidate(e, k) && !member_is_full(e->backend))
			return e;
	}
	return NULL;
}

static const struct members_entry *less_loaded(const struct members_entry *a,
					       const struct members_entry *b)
{
	LB_ASSERT(a != b);
	uint64_t load_a = (uint64_t)backend_active(a->backend) * b->weight;
	uint64_t load_b = (uint64_t)backend_active(b->backend) * a->weight;

	return load_b < load_a ? b : a;
}

const struct members_entry *policy_random(const struct members *m, struct pick *k)
{
	const struct members_entry *a = m->total_weight > 0 ? draw(m, k, NULL) : NULL;

	if (a != NULL) {
		const struct members_entry *b = m->n > 1 ? draw(m, k, a) : NULL;
		const struct members_entry *e = b != NULL ? less_loaded(a, b) : a;
		if (backend_reserve(e->backend))
			return e;
	}
	/*
	 * draw() has missed too often, or another worker has just taken the last slot of the chosen
	 * entry.
	 */
	return policy_least(m, k);
}
