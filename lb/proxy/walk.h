/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Walks: a walk visits every session of a worker, a slice per turn, so that a worker with a million
 * sessions keeps serving meanwhile.
 *
 * Each walk has a cursor, a slice and a pause of its own, so that any number of walks run at a time
 * and none waits for another one. What all walks of a worker do in one turn is bounded: the walks
 * that are due share WALK_TURN visits evenly, and a walk whose pause is not over takes no part of
 * them.
 *
 *     turn        1    2    3    4    5    6
 *     walk A      512  256  256  256  512  -      alone, then beside B
 *     walk B           256  256  256  -           found its end in turn 4
 *
 * Thread: owner worker. Layer: proxy.
 */

#include <stdint.h>

#include "util/list.h"

struct session;
struct timer;
struct walk;
struct worker;

/* What worker->walk_turn is: visits per turn, of all walks of a worker together. Some tens of
 * microseconds. */
#define WALK_TURN 512

/* The usual pause: with more workers than CPUs, other workers have their turns in it. */
#define WALK_PAUSE_MS 1

/* What a walk does. The functions may begin walks; they must not end another one. */
struct walk_ops {
	/* Called once for each session that lives from the walk's begin to its end, and perhaps for
	 * one that is born meanwhile; never for one in SESS_DEAD. It may end the session. */
	void (*visit)(struct walk *k, struct session *s);
	/* Called once, when the walk has ended: it may free what the walk is embedded in. */
	void (*done)(struct walk *k, struct worker *w);
};

/* Embed in what the walk is for. thread: owner worker */
struct walk {
	const struct walk_ops *ops; /* borrows */
	uint32_t slice;    /* visits per turn at most; 0: as many as a turn has; may be changed */
	uint32_t pause_ms; /* from one slice to the next one; may be changed */

	/* private to walk.c */
	struct list link; /* worker->walks; where it stands is its turn among the due ones */
	uint64_t due_ms;  /* when its next slice may run */
	uint32_t cursor;  /* of slab_next() */
};

/*
 * walk_begin() - let a walk visit all sessions of `w`
 *
 * The first slice runs in the worker's next turn. The caller owns `k`, which must stay where it is
 * until `done` is called. `slice` 0 is as much as a turn has.
 */
void walk_begin(struct worker *w, struct walk *k, const struct walk_ops *ops, uint32_t slice,
		uint32_t pause_ms);

/* Ends all walks of a worker that has no session left to visit: `done` of each is called. */
void walk_end_all(struct worker *w);

/* Of worker->walk_timer: the slices of one turn. `arg` is the worker. */
void walk_on_timer(struct timer *t, void *arg);
