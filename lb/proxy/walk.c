/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks over a worker's sessions.
 *
 * worker->walks holds the walks under way, and worker->walk_timer fires when the first of them is
 * due. In that turn each due walk runs one slice and moves to the end of the list, so that with
 * more due walks than visits those left out come first in the next turn.
 *
 * A walk's place among the sessions is an index of the slab, not a session: a session may end or be
 * born at any time between two slices.
 *
 * Thread: owner worker.
 */
#include "proxy/walk.h"

#include "ev/loop.h"
#include "proxy/session.h"
#include "proxy/worker.h"
#include "util/assert.h"
#include "util/slab.h"

/* Starts the timer for the walk that is due first; stops it where there is none. */
static void arm(struct worker *w)
{
	uint64_t now_ms = loop_now_ms(w->loop), due_ms = UINT64_MAX;

	list_for_each(it, &w->walks)
	{
		const struct walk *k = list_entry(it, struct walk, link);
		if (k->due_ms < due_ms)
			due_ms = k->due_ms;
	}
	if (due_ms == UINT64_MAX)
		loop_timer_stop(w->loop, &w->walk_timer);
	else
		loop_timer_start(w->loop, &w->walk_timer, due_ms > now_ms ? due_ms - now_ms : 0);
}

void walk_begin(struct worker *w, struct walk *k, const struct walk_ops *ops, uint32_t slice,
		uint32_t pause_ms)
{
	worker_assert_owner(w);
	*k = (struct walk){
		.ops = ops,
		.slice = slice,
		.pause_ms = pause_ms,
		.due_ms = loop_now_ms(w->loop),
	};
	list_add_tail(&w->walks, &k->link);
	arm(w);
}

static void end(struct worker *w, struct walk *k)
{
	list_del(&k->link);
	k->ops->done(k, w);
}

void walk_end_all(struct worker *w)
{
	worker_assert_owner(w);
	LB_ASSERT(w->n_sessions == 0);
	while (!list_is_empty(&w->walks))
		end(w, list_entry(w->walks.next, struct walk, link));
	arm(w);
}

/* Runs a slice of at most `n` visits. */
static void run_slice(struct worker *w, struct walk *k, uint32_t n)
{
	LB_ASSERT(n > 0);
	if (k->slice != 0 && n > k->slice)
		n = k->slice;
	for (uint32_t i = 0; i < n; i++) {
		struct session *s = slab_next(w->sessions, &k->cursor);
		if (s == NULL) {
			end(w, k);
			return;
		}
		if (s->state != SESS_DEAD)
			k->ops->visit(k, s);
	}
	k->due_ms = loop_now_ms(w->loop) + k->pause_ms;
}

static uint32_t count_due(const struct worker *w, uint64_t now_ms)
{
	uint32_t n = 0;

	list_for_each(it, &w->walks) n += list_entry(it, struct walk, link)->due_ms <= now_ms;
	return n;
}

/* The first due walk of the list, moved to its end. */
static struct walk *next_due(struct worker *w, uint64_t now_ms)
{
	list_for_each(it, &w->walks)
	{
		struct walk *k = list_entry(it, struct walk, link);
		if (k->due_ms > now_ms)
			continue;
		list_del(&k->link);
		list_add_tail(&w->walks, &k->link);
		return k;
	}
	return NULL;
}

void walk_on_timer(struct timer *t, void *arg)
{
	struct worker *w = arg;
	uint64_t now_ms = loop_now_ms(w->loop);
	uint32_t n_due = count_due(w, now_ms);

	(void)t;
	/* More due walks than visits: a part of the walks has one visit each in this turn. */
	uint32_t n_run = n_due < w->walk_turn ? n_due : w->walk_turn;
	for (uint32_t i = 0; i < n_run; i++) {
		struct walk *k = next_due(w, now_ms);
		LB_ASSERT(k != NULL); /* a walk that a `done` began is behind those counted above */
		run_slice(w, k, w->walk_turn / n_run);
	}
	arm(w);
}
