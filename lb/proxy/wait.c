/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each worker has one queue, the list worker->waiting, in the order of arrival. A request waits
 * only for the requests before it in the queue that go to the same pool. Each request enters the
 * queue; when a backend has a free slot, the request leaves the queue in the same step.
 *
 * Only worker->wait_timer lets the waiting requests try again (dispatch_on_wait_timer()). The timer
 * fires at once when this worker has given back a slot. A slot may also come free on another
 * worker, or because a limit or a backend's state has changed. lb finds such a slot because the
 * timer fires every WAIT_LOOK_MS while a request waits.
 *
 * Thread: owner worker.
 */
#include "proxy/wait.h"

#include "balance/pool.h"
#include "proxy/exchange.h"
#include "proxy/session.h"
#include "proxy/worker.h"

/* When this many requests wait on a worker, the next one is refused at once. A guess. */
#define MAX_WAITING 1024

/* Returns the counter of the requests that wait for the pool of `x`. Pools whose slots differ by a
 * multiple of WAIT_SLOTS share a counter. */
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
