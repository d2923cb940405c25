/* SPDX-License-Identifier: Apache-2.0 */
/*
 * least_connections: the backend that would have the fewest connections for its weight with this
 * one.
 *
 * Exact for picks that do not overlap in time, up to 256 members; with more, by an index that is at
 * most some hundred picks behind (balance/least.h). The place is reserved at once, so that
 * overlapping ones see each other's. Of several that are least, each is as likely as any other:
 * were the first from some place on taken, the neighbour of one that is down would get its share
 * too.
 */
#include "balance/least.h"
#include "balance/policy.h"

const struct members_entry *policy_least(const struct members *m, struct pick *k)
{
	const struct members_entry *e = m->least != NULL ? least_pick(m, k) : NULL;

	if (e != NULL)
		return e;
	/* Somebody else may take the last place between the look and the reservation. */
	for (size_t tries = 0; tries <= m->n; tries++) {
		e = least_of(m, 0, m->n, k).entry;
		if (e == NULL)
			return NULL;
		if (backend_reserve(e->backend)) {
			if (m->least != NULL)
				least_note(m, e);
			return e;
		}
	}
	return NULL;
}
