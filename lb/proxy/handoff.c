/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sending half of a hand-off (handoff.h has the drawing). The receiving half is
 * accept_handed_off() in accept.c.
 *
 * Thread: handoff_send() on the full worker, handoff_end() on both.
 */
#include "proxy/handoff.h"

#include <errno.h>

#include "ev/loop.h"
#include "proxy/capacity.h"
#include "proxy/listener.h"
#include "proxy/worker.h"

/* The capacity of the worker with most free slots; NULL: none has one. */
static struct capacity *most_free(const struct proxy *p)
{
	struct capacity *found = NULL;
	uint64_t most = 0;

	for (uint32_t i = 0; i < p->n_workers; i++) {
		struct capacity *c = &p->capacity[i];
		uint64_t n_used = atomic_load_explicit(&c->n_used, memory_order_relaxed);
		uint64_t max = atomic_load_explicit(&c->n_slots, memory_order_relaxed);
		if (n_used < max && max - n_used > most) {
			most = max - n_used;
			found = c;
		}
	}
	return found;
}

/* Reserves a slot of the worker with most free slots; NULL: there is none. When another worker
 * reserves the last slot first, the next worker is looked for. */
static struct capacity *reserve_anywhere(struct proxy *p)
{
	for (uint32_t i = 0; i < p->n_workers; i++) {
		struct capacity *c = most_free(p);
		if (c == NULL || slot_reserve(p, c))
			return c;
	}
	return NULL;
}

/* Sends the socket; then wakes the other worker, unless its wake-up is posted already. */
static int send_to(struct worker *w, struct capacity *to, int fd, uint64_t number)
{
	int r = loop_pass_fd(w->loop, w->proxy->handoff_fd[0], fd, number);

	loop_close(w->loop, fd);
	if (r < 0)
		return r;
	/* Release: a worker that counts this socket finds it in the hand-off socket. Acquire: the
	 * wake-up is not posted, so that this worker may post it. */
	if (atomic_fetch_add_explicit(&to->n_pending, 1, memory_order_acq_rel) == 0)
		mailbox_post(to->mail, &to->wakeup);
	return 0;
}

/* Counts one socket more under way. False: as many are as may be at a time. */
static bool begin_handoff(struct proxy *p)
{
	if (atomic_fetch_add_explicit(&p->n_handoffs, 1, memory_order_relaxed) < HANDOFFS_UNDER_WAY)
		return true;
	atomic_fetch_sub_explicit(&p->n_handoffs, 1, memory_order_relaxed);
	return false;
}

void handoff_end(struct proxy *p)
{
	uint32_t n = atomic_fetch_sub_explicit(&p->n_handoffs, 1, memory_order_relaxed);

	LB_ASSERT(n > 0);
}

/* Accepts and sends a connection for which a slot is reserved. */
static int accept_for(struct capacity *to, struct listen_socket *ls)
{
	struct worker *w = ls->worker;
	int fd = loop_accept_now(w->loop, ls->fd);

	if (fd < 0)
		return fd;
	w->n_handed_off++;
	if (send_to(w, to, fd, ls->listener->number) == 0) {
		counter_add(&w->stats->handed_off, 1);
		return 0;
	}
	counter_add(&w->stats->handoff_lost, 1);
	return -ENOBUFS;
}

int handoff_send(struct listen_socket *ls)
{
	struct proxy *p = ls->worker->proxy;
	const struct listener *l = ls->listener;

	worker_assert_owner(ls->worker);
	/* A reload opens and closes the listener on one worker after the other. */
	if (atomic_load_explicit(&l->n_open, memory_order_relaxed) < l->n_workers)
		return -EUSERS;
	if (ls->worker->n_handed_off == HANDOFFS_PER_TURN)
		return -EAGAIN;
	struct capacity *to = reserve_anywhere(p);
	if (to == NULL)
		return -EUSERS;
	if (!begin_handoff(p)) {
		slot_release(p, to);
		return -EBUSY;
	}
	int r = accept_for(to, ls);
	if (r < 0) {
		handoff_end(p);
		slot_release(p, to);
	}
	return r;
}
