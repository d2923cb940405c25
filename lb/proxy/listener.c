/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's listening socket moves PARKED -> OPEN -> LEAVING -> CLOSING -> CLOSED, or from PARKED
 * or LEAVING to the end at once.
 *
 * Thread: owner worker; struct listener itself is made on main.
 */
#include "proxy/listener.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/sock.h"
#include "proxy/guest.h"
#include "proxy/plan.h"
#include "proxy/session.h"
#include "proxy/worker.h"
#include "util/slab.h"

/* Connections taken in one turn while they are counted one by one; then sessions have theirs. */
#define TURN_ACCEPTS 64

/* Those that come in within this time may share their keepalive times. */
#define SPREAD_MS 100

static void on_left(struct timer *t, void *arg);

/* ---- the shared object ----------------------------------------------------------------------- */

struct listener *listener_new(uint64_t number, const struct addr *addr, const char *name,
			      uint32_t n_workers)
{
	char text[ADDR_TEXT_MAX];
	struct listener *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	ref_init(&l->refs);
	atomic_init(&l->name, name);
	l->number = number;
	l->plan_index = LISTENER_REMOVED;
	l->addr = *addr;
	l->n_workers = n_workers;
	l->text = strdup(addr_format(addr, text));
	l->tally = aligned_alloc(_Alignof(struct listener_tally), n_workers * sizeof(*l->tally));
	l->inodes = calloc(n_workers, sizeof(*l->inodes));
	if (l->text == NULL || l->tally == NULL || l->inodes == NULL)
		return listener_unref(l);
	memset(l->tally, 0, n_workers * sizeof(*l->tally));
	return l;
}

struct listener *listener_ref(struct listener *l)
{
	ref_get(&l->refs);
	return l;
}

struct listener *listener_unref(struct listener *l)
{
	if (l == NULL || !ref_put(&l->refs))
		return NULL;
	free(l->tally);
	free(l->inodes);
	free(l->text);
	free(l);
	return NULL;
}

bool listener_is_unused(const struct listener *l)
{
	return ref_is_only(&l->refs);
}

/* ---- a worker's socket ----------------------------------------------------------------------- */

static struct listener_tally *tally_of(const struct listen_socket *ls)
{
	return &ls->listener->tally[ls->worker->id];
}

static op_tag tag_of(const struct listen_socket *ls)
{
	return tag_make(CLASS_LISTEN, 0, slab_handle_of(ls->worker->sockets, ls));
}

struct listen_socket *listen_socket_new(struct worker *w, struct listener *l, int fd)
{
	struct listen_socket *ls = NULL;

	if (slab_reserve(w->sockets, 1) == 0)
		ls = slab_get(w->sockets);
	if (ls == NULL) {
		loop_close(w->loop, fd);
		return NULL;
	}
	ls->worker = w;
	ls->listener = listener_ref(l);
	ls->fd = fd;
	ls->state = LISTEN_PARKED;
	timer_init(&ls->timer, on_left);
	list_add_tail(&w->listen, &ls->link);
	worker_count_listening(w, 1);
	return ls;
}

static void free_if_unused(struct listen_socket *ls)
{
	if (ls->state != LISTEN_CLOSED || ls->n_sessions > 0)
		return;
	list_del(&ls->link);
	listener_unref(ls->listener);
	slab_put(ls->worker->sockets, ls);
}

void listen_socket_session_ended(struct listen_socket *ls)
{
	LB_ASSERT(ls->n_sessions > 0);
	ls->n_sessions--;
	counter_sub(&tally_of(ls)->active, 1);
	free_if_unused(ls);
}

/* The next ones get other keepalive times than those so far. */
static void spread(struct listen_socket *ls)
{
	uint64_t now_ms = loop_now_ms(ls->worker->loop);

	if (ls->state != LISTEN_OPEN || now_ms - ls->spread_ms < SPREAD_MS)
		return;
	ls->spread_ms = now_ms;
	sock_spread_keepalive(ls->worker->loop, ls->fd);
}

/* The place goes with the session. */
void listen_socket_take_in(struct listen_socket *ls, int fd)
{
	struct worker *w = ls->worker;

	spread(ls);
	if (ls->state != LISTEN_OPEN)
		sock_serve_old(w->loop, fd);
	/* Counted before the session runs: it may end at once. */
	ls->n_sessions++;
	counter_add(&tally_of(ls)->accepted, 1);
	counter_add(&tally_of(ls)->active, 1);
	if (session_new(w, ls, fd) != NULL)
		return;
	ls->n_sessions--;
	counter_add(&tally_of(ls)->rejected, 1);
	counter_sub(&tally_of(ls)->active, 1);
	worker_release(w);
}

/*
 * Takes one connection out of the kernel's queue, if there is a place: here, or else elsewhere
 * while the listener is open everywhere. Returns 0, or why not.
 */
static int take_one(struct listen_socket *ls)
{
	struct worker *w = ls->worker;

	if (!worker_reserve(w))
		return ls->state == LISTEN_OPEN && !w->is_short ? guest_pass(ls) : -EUSERS;
	int fd = loop_accept_now(w->loop, ls->fd);
	if (fd < 0) {
		worker_release(w);
		return fd;
	}
	listen_socket_take_in(ls, fd);
	return 0;
}

static void close_now(struct listen_socket *ls)
{
	loop_close(ls->worker->loop, ls->fd);
	worker_count_listening(ls->worker, -1);
	ls->fd = -1;
	ls->pl = NULL;
	ls->plan = plan_unref(ls->plan);
	ls->state = LISTEN_CLOSED;
	free_if_unused(ls);
}

/*
 * No accept is in flight any more: what has queued up is served, then the socket closes. At a limit
 * the rest waits until a session ends, or the worker quits.
 */
static void close_when_empty(struct listen_socket *ls)
{
	struct worker *w = ls->worker;
	int r = 0;

	while (ls->plan != NULL && !worker_is_quitting(w) && r == 0)
		r = take_one(ls);
	if (r == -EUSERS)
		worker_pause(w, "connection limit");
	else
		close_now(ls);
}

void listen_socket_arm(struct listen_socket *ls)
{
	struct worker *w = ls->worker;

	if (ls->state == LISTEN_CLOSING && !ls->is_armed) {
		close_when_empty(ls); /* and frees it, perhaps */
		return;
	}
	if ((ls->state != LISTEN_OPEN && ls->state != LISTEN_LEAVING) || ls->is_armed)
		return;
	ls->is_armed = true;
	ls->is_cancelled = false;
	ls->is_polling = !worker_is_roomy(w);
	if (ls->is_polling)
		loop_poll(w->loop, ls->fd, POLLIN, tag_of(ls));
	else
		loop_accept(w->loop, ls->fd, ACCEPT_MANY, tag_of(ls));
}

void listen_socket_open(struct listen_socket *ls, struct plan *plan, const struct plan_listener *pl)
{
	LB_ASSERT(ls->state == LISTEN_PARKED || ls->state == LISTEN_OPEN);
	struct plan *old = ls->plan;
	ls->plan = plan_ref(plan);
	plan_unref(old);
	ls->pl = pl;
	if (ls->state == LISTEN_PARKED)
		atomic_fetch_add_explicit(&ls->listener->n_open, 1, memory_order_relaxed);
	ls->state = LISTEN_OPEN;
	listen_socket_arm(ls);
}

/* Accepts no more. */
static void leave(struct listen_socket *ls)
{
	loop_timer_stop(ls->worker->loop, &ls->timer);
	ls->state = LISTEN_CLOSING;
	if (!ls->is_armed) {
		close_when_empty(ls);
		return;
	}
	ls->is_cancelled = true;
	loop_cancel(ls->worker->loop, ls->fd, tag_of(ls));
}

static void on_left(struct timer *t, void *arg)
{
	(void)arg;
	leave(container_of(t, struct listen_socket, timer));
}

void listen_socket_close(struct listen_socket *ls)
{
	struct worker *w = ls->worker;

	switch (ls->state) {
	case LISTEN_PARKED: leave(ls); break;
	case LISTEN_OPEN:
		atomic_fetch_sub_explicit(&ls->listener->n_open, 1, memory_order_relaxed);
		sock_drop_new(w->loop, ls->fd);
		ls->state = LISTEN_LEAVING;
		if (worker_is_quitting(w) || w->proxy->leaving_ms == 0)
			leave(ls);
		else
			loop_timer_start(w->loop, &ls->timer, w->proxy->leaving_ms);
		break;
	case LISTEN_LEAVING:
		if (worker_is_quitting(w))
			leave(ls);
		break;
	case LISTEN_CLOSING:
		if (!ls->is_armed)
			close_when_empty(ls);
		break;
	case LISTEN_CLOSED: break;
	}
}

/* Whether the kernel, not a peer, is the reason that an accept failed. */
static bool is_exhausted(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM;
}

/* Connections are there; each is taken when there is a place for it. */
static void on_readable(struct listen_socket *ls)
{
	struct worker *w = ls->worker;
	int r = 0;

	for (int i = 0; i < TURN_ACCEPTS && r == 0; i++)
		r = take_one(ls);
	if (r == -EUSERS)
		worker_pause(w, "connection limit");
	else if (r == -EBUSY)
		worker_pause_briefly(w);
	else if (is_exhausted(r))
		worker_pause(w, strerror(-r));
	else
		listen_socket_arm(ls);
}

/* A connection out of a multishot accept: armed only while there are places for all that can come.
 */
static void on_accepted(struct listen_socket *ls, int fd)
{
	struct worker *w = ls->worker;

	if (worker_reserve(w)) {
		listen_socket_take_in(ls, fd);
		return;
	}
	counter_add(&tally_of(ls)->accepted, 1);
	counter_add(&tally_of(ls)->rejected, 1);
	loop_close(w->loop, fd);
}

void listen_socket_on_completion(void *arg, const struct completion *c)
{
	struct worker *w = arg;
	struct listen_socket *ls = slab_find(w->sockets, tag_handle(c->tag));

	LB_ASSERT(ls != NULL && ls->is_armed);
	if (!c->more)
		ls->is_armed = false;
	if (c->res >= 0 && !ls->is_polling)
		on_accepted(ls, c->res);
	if (c->more) {
		if (!worker_is_roomy(w) && !ls->is_cancelled) {
			ls->is_cancelled = true;
			loop_cancel(w->loop, ls->fd, tag_of(ls));
		}
		return;
	}
	if (ls->state == LISTEN_CLOSING)
		close_when_empty(ls);
	else if (is_exhausted(c->res))
		worker_pause(w, strerror(-c->res));
	else if (ls->is_polling && c->res > 0)
		on_readable(ls);
	else
		listen_socket_arm(ls);
}
