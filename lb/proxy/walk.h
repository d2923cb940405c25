/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Walks: a walk visits every session of a worker, a slice per turn, so that a worker with a million
 * sessions keeps serving meanwhile.
 *
 * Each walk has a cursor, a slice and a pause of its own, so that any number of walks run at a time
 * and none waits for another one. The number of visits of one turn is bounded: the walks that are
 * due share WALK_TURN visits evenly, and a walk whose pause is not over takes no part of them.
 *
 *     turn        1    2    3    4    5    6
 *     walk A      512  256  256  256  512  -      alone, then beside B
 *     walk B           256  256  256  -           B has found its end in turn 4
 *
 * A walk ends in one of two ways: it has visited all sessions and `done` is called, or its owner
 * cancels it and `done` is not called.
 *
 * Thread: owner worker. Layer: proxy.
 */

#include <stdbool.h>
#include <stdint.h>

#include "util/list.h"

struct session;
struct timer;
struct walk;
struct worker;

/* The initial value of worker->walk_turn: how many visits all walks of a worker together make per
 * turn. 512 visits take some tens of microseconds. */
#define WALK_TURN 512

/* The usual pause between two slices, in ms. When there are more workers than CPUs, other workers
 * run in the pause. */
#define WALK_PAUSE_MS 1

/* What a walk does. Both functions may begin walks and cancel any walk that is under way. */
struct walk_ops {
	/* Called once for each session that lives from the walk's begin to its end, and perhaps for
	 * a session that is born meanwhile; never for a session in SESS_DEAD. It may end the
	 * session. */
	void (*visit)(struct walk *k, struct session *s);
	/* Called once, when the walk has visited all sessions and is no longer under way: it may
	 * free what the walk is embedded in, or begin the walk again. */
	void (*done)(struct walk *k, struct worker *w);
};

/* A walk is a member of the object that needs it, such as a message. thread: owner worker */
struct walk {
	const struct walk_ops *ops; /* borrows */
	uint32_t slice;    /* most visits per turn; 0: as many as a turn has; may be changed */
	uint32_t pause_ms; /* pause between two slices, in ms; may be changed */

	/* private to walk.c */
	struct list link; /* in worker->walks, whose first due walk has the next slice */
	uint64_t due_ms;  /* when the walk's next slice may run, by the loop's clock */
	uint32_t cursor;  /* the walk's position among the sessions, for slab_next() */
};

/*
 * walk_begin() - let a walk visit all sessions of `w`
 *
 * The first slice runs in the worker's next turn. The caller owns `k`, which must stay where it is
 * until `done` is called. When `slice` is 0, a slice has as many visits as a turn has. `pause_ms`
 * is the pause between two slices.
 */
void walk_begin(struct worker *w, struct walk *k, const struct walk_ops *ops, uint32_t slice,
		uint32_t pause_ms);

/*
 * walk_cancel() - end a walk before it has visited all sessions
 *
 * `k` must be under way on `w`. When the function returns, the caller may free `k` or begin it
 * anew; neither `visit` nor `done` of this walk is called any more. `done` is not called, because
 * not all sessions were visited. A message whose plan (of a paced drain, say) replaces another plan
 * cancels the old plan's walk, and replies for both messages.
 *
 * May be called from everywhere on the worker's thread, also from a visit or the `done` of any
 * walk, and from a visit of this walk.
 */
void walk_cancel(struct worker *w, struct walk *k);

/* Whether a walk that was begun once has neither ended nor been cancelled. */
static inline bool walk_is_under_way(const struct walk *k)
{
	return list_is_linked(&k->link);
}

/* Ends all walks of a worker that has no session left to visit: `done` of each is called. */
void walk_end_all(struct worker *w);

/* The function of worker->walk_timer: runs the slices of one turn. `arg` is the worker. */
void walk_on_timer(struct timer *t, void *arg);
