/* SPDX-License-Identifier: Apache-2.0 */
/*
 * least_connections: the backend that would have the fewest connections for its weight with this
 * one.
 *
 * Exact for picks that do not overlap in time; the place is reserved at once, so that overlapping
 * ones see each other's. Of several that are least, each is as likely as any other: were the
 * first from some place on taken, the neighbour of one that is down would get its share too.
 */
#include "balance/policy.h"

/* True once in `n` calls; a step of a linear congruential generator, whose high bits are good. */
static bool is_one_in(uint32_t n, uint64_t *random)
{
	*random = *random * 6364136223846793005u + 1442695040888963407u;
	return ((*random >> 32) * n) >> 32 == 0;
}

static const struct members_entry *scan(const struct members *m, const struct pick *k)
{
	const struct members_entry *best = NULL;
	uint64_t random = k->random;
	uint64_t best_next = 0; /* connections, with this one */
	uint32_t n_ties = 0;

	for (size_t i = 0; i < m->n; i++) {
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
