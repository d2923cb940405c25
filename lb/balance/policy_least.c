/* SPDX-License-Identifier: Apache-2.0 */
/*
 * least_connections: the backend that, with the new connection, has the fewest connections for its
 * weight.
 *
 * Up to 256 members every pick looks at all of them, and is exact unless picks overlap in time.
 * With more members an index (balance/load_index.h) is asked, which may be n/64 picks behind. The
 * slot is reserved within the pick, so that picks that overlap see each other's slots.
 *
 * When several backends have the least load, the one that was picked longest ago is taken, so that
 * requests that come one after another go to idle backends in turn. Each pick takes a ticket of the
 * pool, which all workers share, and the ticket stays with the backend. Backends that were never
 * picked come first, in random order: in the order of the file, all lbs that start with the same
 * file would begin at the same backend.
 *
 * Other policies use policy_least() when their own choice has found no room.
 */
#include "balance/backend.h"
#include "balance/load_index.h"
#include "balance/policy.h"

const struct members_entry *policy_least(const struct members *m, struct pick *k)
{
	const struct members_entry *e = m->load_index != NULL ? load_index_pick(m, k) : NULL;

	if (e != NULL)
		return e;
	/* Another worker may take the last slot in between: the look is repeated then. */
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
