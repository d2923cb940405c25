/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sending half of a hand-off (handoff.h has the drawing). The receiving half is
 * accept_handed_off() in accept.c.
 *
 * A full worker calls handoff_send() for one connection that waits in the kernel's queue of one of
 * its listening sockets. Each of these steps may fail:
 *
 *   1. The listener must be OPEN on all workers. A reload opens and closes it on one worker after
 *      the other, and a worker that has no socket on it could not serve the connection.
 *   2. reserve_anywhere() reserves a slot in the capacity of the worker with most free slots. From
 *      here on that worker cannot end before the slot is given back.
 *   3. begin_handoff() counts the connection in proxy.n_handoffs. It fails at HANDOFFS_UNDER_WAY,
 *      so that the buffer of the hand-off socket never overflows.
 *   4. accept_for() accepts, and send_to() passes the descriptor and closes this worker's copy.
 *
 * When step 3 or 4 fails, the slot of step 2 and the count of step 3 are given back.
 *
 * Three numbers count connections that are on their way. The sender raises them (+), and the
 * receiver lowers them (-):
 *
 *   capacity.n_used       + sender (reserved)   - receiver, when the session has ended
 *   proxy.n_handoffs      + sender              - receiver (handoff_end())
 *   capacity.n_pending    + sender (sent)       - receiver, all at once (accept_handed_off())
 *
 * Each worker has one mail, capacity.wakeup. A sender posts it when it raises n_pending from 0. The
 * mail stays in the mailbox until the receiver sets n_pending to 0, so it is never posted while it
 * is in the mailbox. Descriptors in the hand-off socket belong to no particular worker: a receiver
 * takes as many as n_pending said, and the number that comes with each descriptor names the
 * listener.
 *
 * Thread: handoff_send() the full worker, handoff_end() any worker.
 */
#include "proxy/handoff.h"

#include <errno.h>

#include "ev/loop.h"
#include "proxy/capacity.h"
#include "proxy/listener.h"
#include "proxy/worker.h"

/* Returns the capacity of the worker with most free slots; NULL: no worker has a free slot. */
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

/* Reserves a slot of the worker with most free slots, and returns that worker's capacity; NULL: no
 * worker has a free slot. When other workers take that worker's last slots first, tries the worker
 * that then has most free slots. */
static struct capacity *reserve_anywhere(struct proxy *p)
{
	for (uint32_t i = 0; i < p->n_workers; i++) {
		struct capacity *c = most_free(p);
		if (c == NULL || slot_reserve(p, c))
			return c;
	}
	return NULL;
}

/* Puts the socket `fd` into the hand-off socket, and closes `fd`. Then posts the wake-up of `to`,
 * unless it is posted already. Returns 0 or a negative errno. */
static int send_to(struct worker *w, struct capacity *to, int fd, uint64_t number)
{
	LB_ASSERT(to != w->capacity);
	int r = loop_pass_fd(w->loop, w->proxy->handoff_fd[0], fd, number);

	loop_close(w->loop, fd);
	if (r < 0)
		return r;
	/* Release: a worker that reads this count finds the connection's socket in its hand-off
	 * socket. Acquire: each worker has one wake-up. When the count was 0, the worker has taken
	 * the wake-up out of its mailbox, so that it may be posted again. */
	if (atomic_fetch_add_explicit(&to->n_pending, 1, memory_order_acq_rel) == 0)
		mailbox_post(to->mail, &to->wakeup);
	return 0;
}

/* Counts one more socket on its way. Returns false when HANDOFFS_UNDER_WAY sockets are on their way
 * already. */
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

/* Accepts a connection and sends it to the worker of `to`, where a slot is reserved for it. Returns
 * 0, an errno of accept, or -ENOBUFS when the connection could not be sent and was closed. */
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
	LB_ASSERT(ls->state == LISTEN_OPEN && ls->worker->n_handed_off <= HANDOFFS_PER_TURN);
	/* A reload opens and closes the listener on one worker after the other, so some workers may
	 * have no socket on it. */
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
