/* SPDX-License-Identifier: Apache-2.0 */
/*
 * least_connections: the backend that would have the fewest connections for its weight with this
 * one.
 *
 * Exact for picks that do not overlap in time; the place is reserved at once, so that overlapping
 * ones see each other's. Ties go round: the scan begins at a random place.
 */
#include "balance/policy.h"

/* Whether `a` would be less loaded than `b`: (active + 1) / weight, without dividing. */
static bool is_less(uint32_t a_active, uint32_t a_weight, uint32_t b_active, uint32_t b_weight)
{
	return (uint64_t)(a_active + 1) * b_weight < (uint64_t)(b_active + 1) * a_weight;
}

static const struct members_entry *scan(const struct members *m, const struct pick *k)
{
	const struct members_entry *best = NULL;
	uint32_t best_active = 0;
	size_t start = (size_t)(k->random % m->n);

	for (size_t i = 0; i < m->n; i++) {
		size_t at = start + i < m->n ? start + i : start + i - m->n;
		const struct members_entry *e = &m->entry[at];

		if (!policy_is_candidate(e, k) || policy_is_full(e->backend))
			continue;
		uint32_t active = backend_active(e->backend);
		if (best == NULL || is_less(active, e->weight, best_active, best->weight)) {
			best = e;
			best_active = active;
		}
	}
	return best;
}

const struct members_entry *policy_least(const struct members *m, struct pick *k)
{
	/* Somebody else may take the last place between the scan and the reservation. */
	for (size_t tries = 0; tries <= m->n; tries++) {
		const struct members_entry *e = scan(m, k);
		if (e == NULL || backend_reserve(e->backend))
			return e;
	}
	return NULL;
}
