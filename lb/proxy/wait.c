/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who waits for a place is woken by this worker's own ends at once. Places that come free on other
 * workers, or because a limit or a backend's state has changed, are looked for now and then.
 *
 * Thread: owner worker.
 */
#include "proxy/wait.h"

#include "balance/pool.h"
#include "proxy/exchange.h"
#include "proxy/session.h"
#include "proxy/upstream.h"
#include "proxy/worker.h"

/* Longer than a FIN takes there and back; short for who is refused in the end. A guess. */
#define WAIT_MS 250

/* At most so many wait on a worker, then the next are refused at once. A guess. */
#define MAX_WAITING 1024

/* How often it is looked whether another worker has given a place back; a guess. */
#define LOOK_MS 5

/* Pools of which one walk remembers that they are full; with more, some are asked again. */
#define MAX_FULL 16

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
	session_timeout(s, WAIT_MS);
	if (!timer_is_running(&w->pick_timer))
		loop_timer_start(w->loop, &w->pick_timer, LOOK_MS);
	return true;
}

void wait_leave(struct session *s)
{
	if (!list_is_linked(&s->link))
		return;
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

/* Each tries again in its order, but behind one that found its pool full none of that pool. */
static void walk(struct worker *w)
{
	const struct pool *full[MAX_FULL];
	size_t n_full = 0;
	struct list *next;

	for (struct list *it = w->picking.next; it != &w->picking; it = next) {
		struct session *s = list_entry(it, struct session, link);
		size_t i = 0;
		next = it->next;
		while (i < n_full && full[i] != s->pool)
			i++;
		if (i < n_full || upstream_try_again(s))
			continue;
		/* Who has failed elsewhere may not go where the next one may. */
		if (s->x->n_tries == 0 && n_full < MAX_FULL)
			full[n_full++] = s->pool;
	}
}

void wait_on_timer(struct timer *t, void *arg)
{
	struct worker *w = arg;

	walk(w);
	if (w->n_picking > 0 && !timer_is_running(t))
		loop_timer_start(w->loop, t, LOOK_MS);
}
