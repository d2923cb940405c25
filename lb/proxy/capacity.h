/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Capacity: reserving and giving back a worker's places for connections.
 *
 * Thread: the worker, but for room_reserve() and room_release(). Layer: proxy.
 */

#include <stdbool.h>

#include "util/assert.h"

struct proxy;
struct room;
struct worker;

/*
 * capacity_reserve() - a place for one more connection
 *
 * Within the worker's own descriptors and the limit over all workers; given back by
 * capacity_release(). False when there is none.
 */
bool capacity_reserve(struct worker *w) LB_MUST_CHECK;
void capacity_release(struct worker *w);

/* The same in the room of any worker, which must not have ended. Thread: any. */
bool room_reserve(struct proxy *p, struct room *r) LB_MUST_CHECK;
void room_release(struct proxy *p, struct room *r);

/*
 * capacity_count_listening() - a listening socket was opened (`diff` 1) or closed (-1)
 *
 * Its descriptor is not a session's: the places of the worker become fewer or more. Sessions that
 * have theirs keep it.
 */
void capacity_count_listening(struct worker *w, int diff);

/* Whether so many places are free that accepts need not be counted one by one. */
bool capacity_is_roomy(const struct worker *w);
