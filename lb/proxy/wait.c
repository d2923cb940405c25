/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue is one list for each worker, worker->waiting, in the order of arrival; a request's pool
 * decides which others are before it. Each request passes through the queue, and leaves it in the
 * same step where a backend has a free slot.
 *
 * worker->wait_timer is the only thing that wakes the queue (dispatch_on_wait_timer()). It fires at
 * once when a slot was given back on this worker. Slots that come free on other workers, or because
 * a limit or a backend's state has changed, are found by looking every WAIT_LOOK_MS.
 *
 * Thread: owner worker.
 */
#include "proxy/wait.h"

#include "balance/pool.h"
#include "proxy/exchange.h"
#include "proxy/session.h"
#include "proxy/worker.h"

/* So many wait on a worker at most, then the next ones are refused at once. A guess. */
#define MAX_WAITING 1024

/* How many wait for a pool of this slot, or for one that shares the counter with it. */
static uint32_t *count_of(const struct exchange *x)
{
	const struct session *s = x->session;

	return &s->worker->n_waiting_by[s->pool->slot % WAIT_SLOTS];
}

void wait_join(struct exchange *x)
{
	struct worker *w = x->session->worker;

	LB_ASSERT(!list_is_linked(&x->link));
	w->n_waiting++;
	++*count_of(x);
	list_add_tail(&w->waiting, &x->link);
}

void wait_leave(struct exchange *x)
{
	struct worker *w = x->session->worker;

	LB_ASSERT(list_is_linked(&x->link) && w->n_waiting > 0 && *count_of(x) > 0);
	list_del(&x->link);
	w->n_waiting--;
	--*count_of(x);
}

bool wait_is_first(const struct exchange *x)
{
	const struct session *s = x->session;

	LB_ASSERT(list_is_linked(&x->link) && *count_of(x) > 0);
	if (*count_of(x) == 1)
		return true;
	list_for_each(it, &s->worker->waiting)
	{
		const struct exchange *other = list_entry(it, struct exchange, link);
		if (other->session->pool == s->pool)
			return other == x;
	}
	LB_ASSERT(false);
	return false;
}

bool wait_is_overfull(const struct worker *w)
{
	return w->n_waiting > MAX_WAITING;
}

void wait_look(struct worker *w)
{
	if (!timer_is_running(&w->wait_timer))
		loop_timer_start(w->loop, &w->wait_timer, WAIT_LOOK_MS);
}

void wait_slot_is_free(struct worker *w)
{
	if (w->n_waiting > 0)
		loop_timer_start(w->loop, &w->wait_timer, 0);
}
