/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sending half of a hand-off (handoff.h has the drawing). The receiving half is
 * accept_handed_off() in accept.c.
 *
 * A full worker calls handoff_send() for one connection that waits in the kernel's queue of one of
 * its listening sockets. The steps, each of which may say no:
 *
 *   1. The listener must be OPEN on all workers. A reload opens and closes it on one worker after
 *      the other, and a worker that has no socket on it could not serve the connection.
 *   2. reserve_anywhere() reserves a slot in the capacity of the worker with most free slots. From
 *      here on that worker cannot end before the slot is given back.
 *   3. begin_handoff() counts one more socket in the hand-off socket, so that the socket's buffer
 *      never overflows.
 *   4. accept_for() accepts, and send_to() passes the descriptor and closes this worker's copy.
 *
 * When step 3 or 4 fails, what the steps before have counted is given back.
 *
 * Three numbers are kept while a connection is on its way, each by the worker that changes it:
 *
 *   capacity.n_used       + sender (reserved)   - receiver, when the session has ended
 *   proxy.n_handoffs      + sender              - receiver (handoff_end())
 *   capacity.n_pending    + sender (sent)       - receiver, all at once (accept_handed_off())
 *
 * capacity.wakeup is one mail for each worker. It is posted when n_pending leaves 0 and is in the
 * mailbox until the receiver sets n_pending to 0, so that it is never posted twice at a time.
 * Descriptors in the hand-off socket belong to no particular worker: a receiver takes as many as
 * were announced to it, and the number that comes with each names the listener.
 *
 * Thread: handoff_send() the full worker, handoff_end() any worker.
 */
#include "proxy/handoff.h"

#include <errno.h>

#include "ev/loop.h"
#include "proxy/capacity.h"
#include "proxy/listener.h"
#include "proxy/worker.h"

/* The capacity of the worker with most free slots; NULL: no worker has a free slot. */
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

/* Reserves a slot of the worker with most free slots; NULL: no worker has one. When another worker
 * reserves that slot first, the next one is looked for. */
static struct capacity *reserve_anywhere(struct proxy *p)
{
	for (uint32_t i = 0; i < p->n_workers; i++) {
		struct capacity *c = most_free(p);
		if (c == NULL || slot_reserve(p, c))
			return c;
	}
	return NULL;
}

/* Passes the socket and closes `fd`; then wakes the other worker, unless its wake-up is posted
 * already. Returns 0 or a negative errno. */
static int send_to(struct worker *w, struct capacity *to, int fd, uint64_t number)
{
	LB_ASSERT(to != w->capacity);
	int r = loop_pass_fd(w->loop, w->proxy->handoff_fd[0], fd, number);

	loop_close(w->loop, fd);
	if (r < 0)
		return r;
	/* Release: a worker that reads this count finds the socket in the hand-off socket. Acquire:
	 * when the count was 0, the wake-up is in no mailbox and may be posted. */
	if (atomic_fetch_add_explicit(&to->n_pending, 1, memory_order_acq_rel) == 0)
		mailbox_post(to->mail, &to->wakeup);
	return 0;
}

/* Counts one more socket on its way. False: HANDOFFS_UNDER_WAY are on their way already. */
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

/* Accepts a connection, for which a slot is reserved in `to`, and sends it. Returns 0, an errno of
 * accept, or -ENOBUFS. */
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
