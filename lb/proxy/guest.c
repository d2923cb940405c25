/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A full worker passes a connection on. The other worker takes it in by accept_guests() (accept.c).
 *
 * Thread: guest_pass() on the full worker, guest_passed() on both.
 */
#include "proxy/guest.h"

#include <errno.h>

#include "ev/loop.h"
#include "proxy/capacity.h"
#include "proxy/listener.h"
#include "proxy/worker.h"

static struct room *emptiest(const struct proxy *p)
{
	struct room *found = NULL;
	uint64_t most = 0;

	for (uint32_t i = 0; i < p->n_workers; i++) {
		struct room *r = &p->rooms[i];
		uint64_t taken = atomic_load_explicit(&r->taken, memory_order_relaxed);
		uint64_t max = atomic_load_explicit(&r->max, memory_order_relaxed);
		if (taken < max && max - taken > most) {
			most = max - taken;
			found = r;
		}
	}
	return found;
}

/* A place in the emptiest room; NULL: there is none. Whoever takes the last one of a room first
 * makes this look again. */
static struct room *reserve_anywhere(struct proxy *p)
{
	for (uint32_t i = 0; i < p->n_workers; i++) {
		struct room *r = emptiest(p);
		if (r == NULL || room_reserve(p, r))
			return r;
	}
	return NULL;
}

/* Into the passage; then the other worker is told, unless it is being told already. */
static int send_off(struct worker *w, struct room *to, int fd, uint64_t number)
{
	int r = loop_pass_fd(w->loop, w->proxy->passage[0], fd, number);

	loop_close(w->loop, fd);
	if (r < 0)
		return r;
	/* Release: who counts this guest finds it in the passage. Acquire: the letter is ours. */
	if (atomic_fetch_add_explicit(&to->n_guests, 1, memory_order_acq_rel) == 0)
		mailbox_post(to->mail, &to->knock);
	return 0;
}

/* One of those who may be on their way at a time. */
static bool begin_passing(struct proxy *p)
{
	if (atomic_fetch_add_explicit(&p->n_passing, 1, memory_order_relaxed) < GUESTS_ON_THE_WAY)
		return true;
	atomic_fetch_sub_explicit(&p->n_passing, 1, memory_order_relaxed);
	return false;
}

void guest_passed(struct proxy *p)
{
	atomic_fetch_sub_explicit(&p->n_passing, 1, memory_order_relaxed);
}

/* With a place reserved and a way that is free. */
static int accept_for(struct room *to, struct listen_socket *ls)
{
	struct worker *w = ls->worker;
	int fd = loop_accept_now(w->loop, ls->fd);

	if (fd < 0)
		return fd;
	w->n_passed++;
	if (send_off(w, to, fd, ls->listener->number) == 0) {
		counter_add(&w->stats->passed, 1);
		return 0;
	}
	counter_add(&w->stats->strays, 1);
	return -ENOBUFS;
}

int guest_pass(struct listen_socket *ls)
{
	struct proxy *p = ls->worker->proxy;
	const struct listener *l = ls->listener;

	/* A reload opens it on one worker after the other, and closes it so. */
	if (atomic_load_explicit(&l->n_open, memory_order_relaxed) < l->n_workers)
		return -EUSERS;
	if (ls->worker->n_passed == GUESTS_PER_TURN)
		return -EAGAIN;
	struct room *to = reserve_anywhere(p);
	if (to == NULL)
		return -EUSERS;
	if (!begin_passing(p)) {
		room_release(p, to);
		return -EBUSY;
	}
	int r = accept_for(to, ls);
	if (r < 0) {
		guest_passed(p);
		room_release(p, to);
	}
	return r;
}
