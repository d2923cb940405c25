/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits for a place is woken by this worker's own ends at once. Places that come free on other
 * workers, or because a limit or a backend's state has changed, are looked for now and then.
 *
 * Thread: owner worker.
 */
#include "proxy/wait.h"

#include "balance/pool.h"
#include "proxy/session.h"
#include "proxy/worker.h"

/* At most so many wait on a worker, then the next are refused at once. A guess. */
#define MAX_WAITING 1024

/* How many wait for a pool of this slot, or for one that shares the counter with it. */
static uint32_t *count_of(const struct session *s)
{
	return &s->worker->n_picking_by[s->pool->slot % WAIT_SLOTS];
}

bool wait_join(struct session *s)
{
	struct worker *w = s->worker;

	LB_ASSERT(s->state == SESS_PICK && !list_is_linked(&s->link));
	if (w->n_picking >= MAX_WAITING)
		return false;
	w->n_picking++;
	++*count_of(s);
	list_add_tail(&w->picking, &s->link);
	if (!timer_is_running(&w->pick_timer))
		loop_timer_start(w->loop, &w->pick_timer, WAIT_LOOK_MS);
	return true;
}

void wait_leave(struct session *s)
{
	if (!list_is_linked(&s->link))
		return;
	LB_ASSERT(s->worker->n_picking > 0 && *count_of(s) > 0);
	list_del(&s->link);
	s->worker->n_picking--;
	--*count_of(s);
}

bool wait_is_behind(const struct session *s)
{
	if (*count_of(s) == 0)
		return false;
	list_for_each(it, &s->worker->picking) if (list_entry(it, struct session, link)->pool ==
						   s->pool) return true;
	return false;
}

void wait_place_is_free(struct worker *w)
{
	if (w->n_picking > 0)
		loop_timer_start(w->loop, &w->pick_timer, 0);
}
