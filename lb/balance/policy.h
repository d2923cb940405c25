/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Policies: one file and one row each. A policy proposes candidates in its order; pool_pick() takes
 * the first that can be reserved. Layer: balance. Hot.
 */

#include "balance/pool.h"

/*
 * Chooses and reserves an entry; returns it, or NULL when there is none. Candidates are those that
 * member_is_candidate() lets through.
 */
typedef const struct members_entry *(*policy_fn)(const struct members *m, struct pick *k);

const struct members_entry *policy_least(const struct members *m, struct pick *k);
const struct members_entry *policy_rr(const struct members *m, struct pick *k);
const struct members_entry *policy_random(const struct members *m, struct pick *k);
const struct members_entry *policy_hash(const struct members *m, struct pick *k);
const struct members_entry *policy_first(const struct members *m, struct pick *k);

/* round_robin's cycle; 0, or -ENOMEM. Thread: main. */
int policy_rr_build(struct members *m);
