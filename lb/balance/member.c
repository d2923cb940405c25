/* SPDX-License-Identifier: Apache-2.0 */
#include "balance/member.h"

bool member_is_candidate(const struct members_entry *e, const struct pick *k)
{
	if (e->weight == 0 || !backend_is_usable(e->backend))
		return false;
	for (uint32_t i = 0; i < k->n_tried; i++)
		if (k->tried[i] == e->backend)
			return false;
	return true;
}
