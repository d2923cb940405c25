/* SPDX-License-Identifier: Apache-2.0 */
/*
 * least_connections: the backend that, with the new connection, has the fewest connections for its
 * weight: the least (connections + 1) / weight. An idle backend comes before all that are not idle.
 *
 * Up to 256 members every pick looks at all of them, and is exact unless picks overlap in time.
 * With more members an index (balance/load_index.h) is asked, which may be n/64 picks behind. The
 * slot is reserved within the pick, so that picks that overlap see each other's slots.
 *
 * When several backends have the least load, they take turns, each as often as its weight says.
 * This matters most when the traffic is so low that each request finds several backends idle. By
 * weights alone the heaviest backend would then get all requests; in turns, weights 2 and 1 get two
 * and one of three.
 *
 * The turns are start-time fair queueing. The pool has a virtual time, and each backend has the
 * virtual time of its next turn; the earliest turn is taken. A pick sets
 *
 *     start       = the later one of the backend's turn and the pool's time
 *     its turn    = start + sum of all weights / its weight
 *     the time    = start and a bit
 *
 * So the turns of a backend are as far apart as its weight says, and of equal weights the backend
 * that was picked longest ago is first. A backend that was busy or down for long gets one turn at
 * once, not all that it has missed.
 *
 * A backend that was never picked has turn 0 and comes first. Several of these are taken in random
 * order: in the order of the file, all lbs that start with the same file would begin at the same
 * backend.
 *
 * docs/decisions/0022 says why.
 *
 * Other policies use policy_least() when their own choice has found no free slot.
 *
 * policy_least() asks load_index_pick() where the members have an index, and otherwise looks at all
 * entries (load_index_scan()), reserves a slot, and gives the entry its next turn
 * (load_index_note()).
 *
 * Thread: any. Hot.
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
