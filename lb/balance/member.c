/* SPDX-License-Identifier: Apache-2.0 */
/*
 * member_is_candidate(): whether a pick may choose a member.
 *
 * Every policy calls member_is_candidate() for each entry that the policy looks at. The function
 * reads the entry's weight, the states of the backend, and the backends that picks for this
 * connection have returned before: mostly there are none, and never more than PICK_MAX_TRIED.
 * Whether the backend is full is left to member_is_full(), because pool_has_candidate() has to tell
 * a pool of full backends from one without candidates.
 *
 * Relies on balance/backend.h for the states. Thread: any. Hot.
 */
#include "balance/member.h"

bool member_is_candidate(const struct members_entry *e, const struct pick *k)
{
	if (e->weight == 0 || !backend_is_usable(e->backend))
		return false;
	LB_ASSERT(k->n_tried <= PICK_MAX_TRIED);
	for (uint32_t i = 0; i < k->n_tried; i++)
		if (k->tried[i] == e->backend)
			return false;
	return true;
}
