/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What every policy and index asks about a member before a pick chooses it.
 *
 * The answers may be a moment old, because other threads write the backend's state. Whether the
 * pick gets a slot is decided by backend_reserve() alone.
 *
 * Layer: balance. Thread: any. Hot.
 */

#include <stdbool.h>

#include "balance/backend.h"
#include "balance/pool.h"

/*
 * Whether the pick may choose `e`: its backend is usable, its weight is above 0, and the pick has
 * not tried it before. The backend may be full.
 */
bool member_is_candidate(const struct members_entry *e, const struct pick *k);

/* Whether `b` has max_connections connections. */
static inline bool member_is_full(const struct backend *b)
{
	uint32_t max = backend_max_conns(b);

	return max != 0 && backend_active(b) >= max;
}

/* Whether a pick that has tried no member yet can take a slot at `e`. */
static inline bool member_has_free_slot(const struct members_entry *e)
{
	return e->weight != 0 && backend_is_usable(e->backend) && !member_is_full(e->backend);
}
