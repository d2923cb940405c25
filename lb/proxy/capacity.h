/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Capacity: reserving and giving back a worker's slots, one for each connection.
 *
 * Thread: the worker, but for slot_reserve() and slot_release(). Layer: proxy.
 */

#include <stdbool.h>

#include "util/assert.h"

struct proxy;
struct capacity;
struct worker;

/*
 * capacity_reserve() - reserve a slot for one more connection
 *
 * Within the worker's own descriptors and the limit over all workers; given back by
 * capacity_release(). False when there is none.
 */
bool capacity_reserve(struct worker *w) LB_MUST_CHECK;
void capacity_release(struct worker *w);

/* The same by a full worker, in the capacity of another one that has not ended. Thread: any. */
bool slot_reserve(struct proxy *p, struct capacity *c) LB_MUST_CHECK;
void slot_release(struct proxy *p, struct capacity *c);

/*
 * capacity_count_listening() - a listening socket was opened (`diff` 1) or closed (-1)
 *
 * A session cannot have the socket's descriptor: the worker has fewer slots or more. Sessions keep
 * their slots.
 */
void capacity_count_listening(struct worker *w, int diff);

/* Whether so many slots are free that accepts need not be counted one by one. */
bool capacity_is_roomy(const struct worker *w);
