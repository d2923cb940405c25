/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Policies. Each value of the key `balance:` has a file, policy_*.c, and a row in a table of
 * pool.c. A policy goes through the candidates in its own order and reserves a slot at the first
 * one that has a free slot.
 *
 * Layer: balance. Thread: any, where not said otherwise. Hot.
 */

#include "balance/pool.h"

/*
 * Chooses an entry among the candidates (member_is_candidate()), reserves a slot at its backend,
 * and returns the entry; or NULL when no candidate has a free slot.
 */
typedef const struct members_entry *(*policy_fn)(const struct members *m, struct pick *k);

const struct members_entry *policy_least(const struct members *m, struct pick *k);
const struct members_entry *policy_rr(const struct members *m, struct pick *k);
const struct members_entry *policy_random(const struct members *m, struct pick *k);
const struct members_entry *policy_hash(const struct members *m, struct pick *k);
const struct members_entry *policy_first(const struct members *m, struct pick *k);

/* Makes the cycle of round_robin in `m`. Returns 0 or -ENOMEM. Thread: main. */
int policy_rr_build(struct members *m);
