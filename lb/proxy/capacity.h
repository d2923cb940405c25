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
 * The slot is within the worker's own descriptors and the limit of all workers together;
 * capacity_release() gives it back. False when there is none, or memory is short.
 */
bool capacity_reserve(struct worker *w) LB_MUST_CHECK;
void capacity_release(struct worker *w);

/* The same in the capacity of any worker, which a full worker does for another one. False also when
 * that worker has ended (CAPACITY_CLOSED). Thread: any. */
bool slot_reserve(struct proxy *p, struct capacity *c) LB_MUST_CHECK;
void slot_release(struct proxy *p, struct capacity *c);

/*
 * capacity_count_listening() - count a listening socket that was opened (`diff` 1) or closed (-1)
 *
 * A listening socket takes a descriptor from the sessions, so that the worker has fewer slots;
 * sessions that there are keep theirs.
 */
void capacity_count_listening(struct worker *w, int diff);

/* Whether so many slots are free that a multishot accept cannot bring more connections than there
 * are slots, before it is cancelled. */
bool capacity_is_roomy(const struct worker *w);
