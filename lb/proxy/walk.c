/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks over a worker's sessions.
 *
 *   walk_begin() --> worker->walks --> walk_on_timer() --> run_slice() --> visit, visit ...
 *                         ^                                   |   |
 *                         +----- not yet at the end ----------+   +--> at the end: done
 *
 * worker->walks is the list of the walks that are under way. A walk is "due" when its pause is over
 * (walk->due_ms). worker->walk_timer fires when the first walk is due; it is one timer for all
 * walks, so that the function that it calls knows how many walks share the turn.
 *
 * A "slice" is what one walk does in one turn: as many visits as its share of worker->walk_turn and
 * its own walk->slice allow. When a walk gets its slice it moves to the end of the list. So when
 * more walks are due than a turn has visits, the walks that were left out are the first ones of the
 * next turn. A walk that is begun during the slices of a turn stands behind the walks that were
 * counted for it, and usually has its first slice in the next turn.
 *
 * A walk's position among the sessions is walk->cursor, an index of the slab of sessions, and not a
 * pointer to a session: between two slices any session may end, and another one may be born with
 * the same index. A session that is born at an index from the cursor on is visited, too; a session
 * that is born at a lower index is not.
 *
 * A visit may cancel the walk that makes the visit, and the walk's owner may free it then.
 * run_slice() learns that from worker->walk_visiting, the walk whose slice runs: walk_cancel() sets
 * it to NULL, and run_slice() returns without a look at the walk. When a visit or a `done` cancels
 * another walk, that walk is only taken out of the list.
 *
 * Thread: owner worker.
 */
#include "proxy/walk.h"

#include "ev/loop.h"
#include "proxy/session.h"
#include "proxy/worker.h"
#include "util/assert.h"
#include "util/slab.h"

/* Starts worker->walk_timer, to fire when the first walk is due. Stops it when no walk is under
 * way. */
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

/* Takes a walk that is under way out of the worker's list. */
static void unlink_walk(struct worker *w, struct walk *k)
{
	LB_ASSERT(walk_is_under_way(k) && !list_is_empty(&w->walks));
	list_del(&k->link);
	if (w->walk_visiting == k)
		w->walk_visiting = NULL;
}

static void end(struct worker *w, struct walk *k)
{
	unlink_walk(w, k);
	k->ops->done(k, w);
}

void walk_cancel(struct worker *w, struct walk *k)
{
	worker_assert_owner(w);
	unlink_walk(w, k);
	arm(w);
}

void walk_end_all(struct worker *w)
{
	worker_assert_owner(w);
	LB_ASSERT(w->n_sessions == 0 && w->walk_visiting == NULL);
	while (!list_is_empty(&w->walks))
		end(w, list_entry(w->walks.next, struct walk, link));
	arm(w);
}

/* Runs one slice of the walk, of at most `n` visits. Returns at once when a visit has cancelled the
 * walk. */
static void run_slice(struct worker *w, struct walk *k, uint32_t n)
{
	LB_ASSERT(n > 0 && w->walk_visiting == NULL);
	if (k->slice != 0 && n > k->slice)
		n = k->slice;
	w->walk_visiting = k;
	for (uint32_t i = 0; i < n; i++) {
		struct session *s = slab_next(w->sessions, &k->cursor);
		if (s == NULL) {
			end(w, k);
			return;
		}
		LB_ASSERT(s->worker == w);
		if (s->state != SESS_DEAD)
			k->ops->visit(k, s);
		if (w->walk_visiting == NULL) /* the visit has cancelled the walk */
			return;
	}
	w->walk_visiting = NULL;
	k->due_ms = loop_now_ms(w->loop) + k->pause_ms;
}

static uint32_t count_due(const struct worker *w, uint64_t now_ms)
{
	uint32_t n = 0;

	list_for_each(it, &w->walks) n += list_entry(it, struct walk, link)->due_ms <= now_ms;
	return n;
}

/* Returns the first walk of the list that is due, and moves it to the list's end. NULL: no walk is
 * due. */
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

	worker_assert_owner(w);
	LB_ASSERT(t == &w->walk_timer && w->walk_turn > 0);
	/* When more walks are due than a turn has visits, the first walks of the list make one
	 * visit each, and the others make none in this turn. */
	uint32_t n_run = n_due < w->walk_turn ? n_due : w->walk_turn;
	for (uint32_t i = 0; i < n_run; i++) {
		struct walk *k = next_due(w, now_ms);
		if (k == NULL) /* an earlier slice of this turn has cancelled a walk that was due */
			break;
		run_slice(w, k, w->walk_turn / n_run);
	}
	arm(w);
}
