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
 * The slot counts towards the worker's own limit and the limit of all workers together;
 * capacity_release() gives it back. Returns false when no slot is free, or memory is short.
 */
bool capacity_reserve(struct worker *w) LB_MUST_CHECK;
void capacity_release(struct worker *w);

/* Reserves a slot in the capacity `c` of any worker; a full worker does this for another worker.
 * Returns false when no slot is free, or the worker of `c` has ended (CAPACITY_CLOSED). Thread:
 * any. */
bool slot_reserve(struct proxy *p, struct capacity *c) LB_MUST_CHECK;
void slot_release(struct proxy *p, struct capacity *c);

/*
 * capacity_count_listening() - count a listening socket that was opened (`diff` 1) or closed (-1)
 *
 * A listening socket takes a descriptor from the sessions, so that the worker has fewer slots.
 * Existing sessions keep their slots.
 */
void capacity_count_listening(struct worker *w, int diff);

/* Whether so many slots are free that each connection of a multishot accept finds one, even those
 * that come before the accept is cancelled. */
bool capacity_is_roomy(const struct worker *w);
