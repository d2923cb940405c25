/* SPDX-License-Identifier: Apache-2.0 */
/*
 * least_connections: the backend that, with the new connection, has the fewest connections for its
 * weight: the least (connections + 1) / weight. An idle backend comes before every backend that is
 * not idle.
 *
 * Up to 256 members every pick looks at all of them, and is exact unless picks overlap in time.
 * With more members the pick asks an index (balance/load_index.h), which may miss what has changed
 * during the last n/64 picks for n members. The pick itself reserves the slot, so that picks that
 * overlap see each other's slots.
 *
 * When several backends have the least load, they take turns, each as often as its weight says.
 * This matters most when the traffic is so low that each request finds several backends idle. If
 * (connections + 1) / weight decided among idle backends, the heaviest would get all requests. In
 * turns, a backend of weight 2 gets two requests of three, and one of weight 1 gets the third.
 *
 * The turns are start-time fair queueing. The pool has a virtual time, and each backend has the
 * virtual time of its next turn; the earliest turn is taken. A pick computes these times, in which
 * 1 is the time of one pick:
 *
 *     start                      = the later one of the backend's turn and the pool's time
 *     the backend's next turn    = start + sum of all weights / the backend's weight
 *     the pool's time            = start + 1/256
 *
 * So the turns of a heavy backend follow each other more closely than those of a light one. Among
 * backends of equal weights, the backend that was picked longest ago comes first. A backend that
 * was busy or down for long gets one turn at once, and not all turns that it has missed.
 *
 * A backend that was never picked has turn 0 and comes first. Several such backends come in random
 * order. If they came in the order of the file, all processes that start with the same file would
 * begin at the same backend.
 *
 * docs/decisions/0022 has the reasons for the turns.
 *
 * Other policies use policy_least() when their own choice has found no free slot.
 *
 * policy_least() asks load_index_pick() when the members have an index. When they have none, or
 * load_index_pick() has found nothing, policy_least() looks at all entries (load_index_scan()),
 * reserves a slot, and gives the entry its next turn (load_index_note()).
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
	/*
	 * When another worker takes the last slot between the look and the reservation, the look is
	 * repeated.
	 */
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
