/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Policies: one file and one row each. A policy proposes candidates in its order; pool_pick() takes
 * the first that can be reserved. Layer: balance. Hot.
 */

#include "balance/backend.h"
#include "balance/pool.h"

/*
 * Chooses and reserves an entry; returns it, or NULL when there is none. Candidates are those that
 * policy_is_candidate() lets through.
 */
typedef const struct members_entry *(*policy_fn)(const struct members *m, struct pick *k);

const struct members_entry *policy_least(const struct members *m, struct pick *k);
const struct members_entry *policy_rr(const struct members *m, struct pick *k);
const struct members_entry *policy_random(const struct members *m, struct pick *k);
const struct members_entry *policy_hash(const struct members *m, struct pick *k);
const struct members_entry *policy_first(const struct members *m, struct pick *k);

/* Usable, of a weight above 0, and not tried before. It may be full. */
bool policy_is_candidate(const struct members_entry *e, const struct pick *k);

static inline bool policy_is_full(const struct backend *b)
{
	uint32_t max = backend_max_conns(b);

	return max != 0 && backend_active(b) >= max;
}

/* Whether it can be picked by a connection that has not tried it. */
static inline bool policy_has_room(const struct members_entry *e)
{
	return e->weight != 0 && backend_is_usable(e->backend) && !policy_is_full(e->backend);
}

/* round_robin's cycle; 0, or -ENOMEM. Thread: main. */
int policy_rr_build(struct members *m);
