/* SPDX-License-Identifier: Apache-2.0 */
/*
 * least_connections: the backend that would have the fewest connections for its weight with this
 * one.
 *
 * Exact for picks that do not overlap in time, up to 256 members; with more, by an index that is at
 * most some hundred picks behind (balance/load_index.h). The place is reserved at once, so that
 * overlapping ones see each other's.
 *
 * Of several backends that are least, the one that was picked longest ago is taken, so that
 * requests that come one after another go to idle backends in turn. Each pick takes a ticket of the
 * pool, which all workers share, and the ticket stays with the backend. Backends that were never
 * picked come first, in an order by lot: were that the order of the file, all balancers that start
 * with one file would begin at the same backend.
 */
#include "balance/backend.h"
#include "balance/load_index.h"
#include "balance/policy.h"

const struct members_entry *policy_least(const struct members *m, struct pick *k)
{
	const struct members_entry *e = m->load_index != NULL ? load_index_pick(m, k) : NULL;

	if (e != NULL)
		return e;
	/* Somebody else may take the last place between the look and the reservation. */
	for (size_t tries = 0; tries <= m->n; tries++) {
		e = load_index_scan(m, 0, m->n, k).entry;
		if (e == NULL)
			return NULL;
		if (backend_reserve(e->backend)) {
			load_index_note(m, e);
			return e;
		}
	}
	return NULL;
}
