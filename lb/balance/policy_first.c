/* SPDX-License-Identifier: Apache-2.0 */
/*
 * first: the first backend, in the order of the file, that is a candidate and has a free slot. So
 * each backend is filled up to its max_connections before the next one gets a connection.
 *
 * policy_first() goes through the entries from the front and reserves a slot at each candidate
 * (member_is_candidate()) until a reservation succeeds. Only the reservation tells whether there
 * was a free slot, because another worker may take a backend's last slot at the same moment.
 *
 * Thread: any. Hot.
 */
#include "balance/member.h"
#include "balance/policy.h"

const struct members_entry *policy_first(const struct members *m, struct pick *k)
{
	for (size_t i = 0; i < m->n; i++)
		if (member_is_candidate(&m->entry[i], k) && backend_reserve(m->entry[i].backend))
			return &m->entry[i];
	return NULL;
}
