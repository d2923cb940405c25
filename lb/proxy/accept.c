/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accepting: a worker's listening sockets (struct listen_socket), from the moment at which main has
 * passed one to the worker until it is closed.
 *
 *   PARKED -----> OPEN -----> LEAVING -----> CLOSING -----> CLOSED
 *      |                                        ^
 *      +----------------------------------------+   a reload is given up
 *
 * A PARKED socket is bound, and accepts nothing. An OPEN socket accepts. A reload or a stop makes a
 * socket LEAVING: the kernel drops new connection attempts (sock_drop_new()), and for
 * proxy->leaving_ms the worker still accepts connections whose handshake with the kernel had begun.
 * A CLOSING socket waits for the last completion of its accept; then the worker accepts the
 * connections in the kernel's queue and closes the descriptor. A CLOSED socket is only a record,
 * which is freed when its last session ends (listener.c).
 *
 * A socket is "armed" while an accept, or a poll for connections, is in flight on it. Which of the
 * two it is depends on the worker's free slots (capacity.c):
 *
 *   many free    one multishot accept; a slot is reserved when a connection comes. So many slots
 *                are free that all connections of a turn find one.
 *   few free     a poll; when it tells of connections, take_one() reserves a slot first and accepts
 *                then, so that no connection is accepted without a slot.
 *   none free    the connection is handed off to a worker that has a free slot (handoff.c), whose
 *                accept_handed_off() receives it. Where no worker has one, this worker is "paused":
 *                its sockets rest unarmed until worker->retry fires. The end of a session starts
 *                that timer at once (capacity_release()).
 *
 * accept_pause() is also called when the kernel has no descriptor or no memory for an accept.
 *
 * When the worker quits (QUIT has come), no connection becomes a session any more: sockets close at
 * once, and a connection that was being accepted, or handed off, is closed.
 *
 * Thread: owner worker.
 */
#include "proxy/accept.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "net/sock.h"
#include "proxy/capacity.h"
#include "proxy/dispatch.h"
#include "proxy/handoff.h"
#include "proxy/listener.h"
#include "proxy/snapshot.h"
#include "proxy/worker.h"
#include "util/slab.h"

/* When a worker accepts connections one by one, it accepts at most this many per turn, so that
 * existing sessions get CPU time. */
#define TURN_ACCEPTS 64

/* The keepalive times that accepted connections get are changed at most this often (spread()). */
#define SPREAD_MS 100

/*
 * A paused worker tries again this often. When one of its own sessions ends, it tries at once; but
 * it does not learn of the end of another worker's session, or of a descriptor that the kernel has
 * again.
 */
#define PAUSE_MS 50
#define PAUSE_LOG_MS 60000 /* a paused worker logs that it is paused at most this often */

static void on_left(struct timer *t, void *arg);

static op_tag tag_of(const struct listen_socket *ls)
{
	return tag_make(CLASS_LISTEN, 0, slab_handle_of(ls->worker->sockets, ls));
}

struct listen_socket *listen_socket_new(struct worker *w, struct listener *l, int fd)
{
	struct listen_socket *ls = NULL;

	worker_assert_owner(w);
	LB_ASSERT(fd >= 0);
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
	capacity_count_listening(w, 1);
	return ls;
}

/* ---- pauses ---------------------------------------------------------------------------------- */

void accept_pause(struct worker *w, const char *why)
{
	uint64_t now_ms = loop_now_ms(w->loop);

	if (!w->is_paused)
		counter_add(&w->stats->pauses, 1);
	w->is_paused = true;
	loop_timer_start(w->loop, &w->retry, PAUSE_MS);
	if (w->pause_logged_ms != 0 && now_ms - w->pause_logged_ms < PAUSE_LOG_MS)
		return;
	w->pause_logged_ms = now_ms;
	log_warn(&w->log,
		 "not accepting, connections wait in the kernel reason=\"%s\" worker=%u active=%u",
		 w->is_short ? "out of memory" : why, w->id, w->n_sessions);
}

void accept_pause_briefly(struct worker *w)
{
	w->is_paused = true;
	loop_timer_start(w->loop, &w->retry, ACCEPT_MOMENT_MS);
}

void accept_resume(struct worker *w)
{
	worker_assert_owner(w);
	w->is_paused = false;
	list_for_each(it, &w->listen) listen_socket_arm(list_entry(it, struct listen_socket, link));
}

void accept_on_retry(struct timer *t, void *arg)
{
	(void)t;
	accept_resume(arg);
}

/* ---- taking connections in ------------------------------------------------------------------- */

/* Changes the keepalive times that the next accepted connections get, so that not all connections
 * send their probes at the same time. */
static void spread(struct listen_socket *ls)
{
	uint64_t now_ms = loop_now_ms(ls->worker->loop);

	if (ls->state != LISTEN_OPEN || now_ms - ls->spread_ms < SPREAD_MS)
		return;
	ls->spread_ms = now_ms;
	sock_spread_keepalive(ls->worker->loop, ls->fd);
}

/* The slot that is reserved for the connection becomes the session's. When no session can be made,
 * the slot is given back. */
void listen_socket_take_in(struct listen_socket *ls, int fd)
{
	struct worker *w = ls->worker;

	LB_ASSERT(!worker_is_quitting(w) && ls->snapshot != NULL);
	spread(ls);
	if (ls->state != LISTEN_OPEN)
		sock_serve_old(w->loop, fd);
	/* The session is counted before dispatch_new() makes it, because the session may end in
	 * there. */
	ls->n_sessions++;
	counter_add(&listen_socket_tally(ls)->accepted, 1);
	counter_add(&listen_socket_tally(ls)->active, 1);
	if (dispatch_new(w, ls, fd) != NULL)
		return;
	ls->n_sessions--;
	counter_add(&listen_socket_tally(ls)->rejected, 1);
	counter_sub(&listen_socket_tally(ls)->active, 1);
	capacity_release(w);
}

/*
 * Accepts one connection from the kernel's queue. When this worker has no free slot and its memory
 * is not short, the connection is accepted for another worker (handoff_send()). A socket that is
 * not OPEN accepts for this worker only. Returns 0, -EUSERS when no slot is free, or another errno
 * of an accept or of handoff_send().
 */
static int take_one(struct listen_socket *ls)
{
	struct worker *w = ls->worker;

	LB_ASSERT(ls->fd >= 0 && !ls->is_armed);
	if (!capacity_reserve(w))
		return ls->state == LISTEN_OPEN && !w->is_short ? handoff_send(ls) : -EUSERS;
	int fd = loop_accept_now(w->loop, ls->fd);
	if (fd < 0) {
		capacity_release(w);
		return fd;
	}
	listen_socket_take_in(ls, fd);
	return 0;
}

/* ---- closing --------------------------------------------------------------------------------- */

static void close_now(struct listen_socket *ls)
{
	LB_ASSERT(ls->state == LISTEN_CLOSING && !ls->is_armed);
	loop_close(ls->worker->loop, ls->fd);
	capacity_count_listening(ls->worker, -1);
	ls->fd = -1;
	ls->pl = NULL;
	ls->snapshot = snapshot_unref(ls->snapshot);
	ls->state = LISTEN_CLOSED;
	listen_socket_free_if_unused(ls);
}

/*
 * Accepts the connections in the kernel's queue, then closes the socket. No accept and no poll may
 * be in flight on the socket. When no slot is free, the socket stays open, and the rest of the
 * queue waits until a session ends. When the worker quits, or the socket was PARKED and has no
 * snapshot, nothing is accepted. May free `ls`.
 */
static void close_when_empty(struct listen_socket *ls)
{
	struct worker *w = ls->worker;
	int r = 0;

	LB_ASSERT(ls->state == LISTEN_CLOSING && !ls->is_armed);
	while (ls->snapshot != NULL && !worker_is_quitting(w) && r == 0)
		r = take_one(ls);
	if (r == -EUSERS)
		accept_pause(w, "connection limit");
	else
		close_now(ls);
}

/* ---- accepting ------------------------------------------------------------------------------- */

void listen_socket_arm(struct listen_socket *ls)
{
	struct worker *w = ls->worker;

	if (ls->state == LISTEN_CLOSING && !ls->is_armed) {
		close_when_empty(ls); /* may free `ls` */
		return;
	}
	if ((ls->state != LISTEN_OPEN && ls->state != LISTEN_LEAVING) || ls->is_armed)
		return;
	ls->is_armed = true;
	ls->is_cancelled = false;
	ls->is_polling = !capacity_is_roomy(w);
	if (ls->is_polling)
		loop_poll(w->loop, ls->fd, POLLIN, tag_of(ls));
	else
		loop_accept(w->loop, ls->fd, ACCEPT_MANY, tag_of(ls));
}

void listen_socket_open(struct listen_socket *ls, struct snapshot *snapshot,
			const struct snapshot_listener *pl)
{
	worker_assert_owner(ls->worker);
	LB_ASSERT(ls->state == LISTEN_PARKED || ls->state == LISTEN_OPEN);
	struct snapshot *old = ls->snapshot;
	ls->snapshot = snapshot_ref(snapshot);
	snapshot_unref(old);
	ls->pl = pl;
	if (ls->state == LISTEN_PARKED)
		atomic_fetch_add_explicit(&ls->listener->n_open, 1, memory_order_relaxed);
	ls->state = LISTEN_OPEN;
	listen_socket_arm(ls);
}

/* Stops accepting. When an accept or a poll is in flight, cancels it; its last completion then
 * closes the socket. Otherwise closes the socket at once. May free `ls`. */
static void leave(struct listen_socket *ls)
{
	LB_ASSERT(ls->state == LISTEN_PARKED || ls->state == LISTEN_LEAVING);
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

	worker_assert_owner(w);
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

/* Whether `error` says that an accept failed because the kernel has no descriptor or memory, not
 * because of a peer. */
static bool is_exhausted(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM;
}

/* Handles a poll that has found connections in the kernel's queue: accepts connections while slots
 * are free. */
static void on_readable(struct listen_socket *ls)
{
	struct worker *w = ls->worker;
	int r = 0;

	for (int i = 0; i < TURN_ACCEPTS && r == 0; i++)
		r = take_one(ls);
	if (r == -EUSERS)
		accept_pause(w, "connection limit");
	else if (r == -EBUSY)
		accept_pause_briefly(w);
	else if (is_exhausted(r))
		accept_pause(w, strerror(-r));
	else
		listen_socket_arm(ls);
}

/*
 * Handles a connection from a multishot accept, which is armed only while slots are free for all
 * connections that it can bring. When the worker quits, the connection is closed, because the walk
 * that ends all sessions might miss its session.
 */
static void on_accepted(struct listen_socket *ls, int fd)
{
	struct worker *w = ls->worker;

	if (!worker_is_quitting(w) && capacity_reserve(w)) {
		listen_socket_take_in(ls, fd);
		return;
	}
	counter_add(&listen_socket_tally(ls)->accepted, 1);
	counter_add(&listen_socket_tally(ls)->rejected, 1);
	loop_close(w->loop, fd);
}

void listen_socket_on_completion(void *arg, const struct completion *c)
{
	struct worker *w = arg;
	struct listen_socket *ls = slab_find(w->sockets, tag_handle(c->tag));

	worker_assert_owner(w);
	LB_ASSERT(ls != NULL && ls->is_armed && ls->worker == w);
	if (!c->more)
		ls->is_armed = false;
	if (c->res >= 0 && !ls->is_polling)
		on_accepted(ls, c->res);
	if (c->more) {
		if (!capacity_is_roomy(w) && !ls->is_cancelled) {
			ls->is_cancelled = true;
			loop_cancel(w->loop, ls->fd, tag_of(ls));
		}
		return;
	}
	if (ls->state == LISTEN_CLOSING)
		close_when_empty(ls);
	else if (is_exhausted(c->res))
		accept_pause(w, strerror(-c->res));
	else if (ls->is_polling && c->res > 0)
		on_readable(ls);
	else
		listen_socket_arm(ls);
}

/* ---- connections that a full worker has handed off ------------------------------------------- */

/* Returns the worker's own socket on the listener with this number. NULL when the worker has none,
 * or has one without a snapshot, by which no request can be routed. */
static struct listen_socket *find(const struct worker *w, uint64_t number)
{
	list_for_each(it, &w->listen)
	{
		struct listen_socket *ls = list_entry(it, struct listen_socket, link);
		if (ls->listener->number == number && ls->snapshot != NULL)
			return ls;
	}
	return NULL;
}

/* Receives one socket from the hand-off socket. The sender has reserved a slot for it at this
 * worker. */
static void receive_one(struct worker *w)
{
	uint64_t number;
	int fd = loop_take_fd(w->loop, w->proxy->handoff_fd[1], &number);
	struct listen_socket *ls = NULL;

	handoff_end(w->proxy);
	if (fd >= 0 && !worker_is_quitting(w))
		ls = find(w, number);
	if (ls != NULL) {
		listen_socket_take_in(ls, fd);
		return;
	}
	if (fd >= 0)
		loop_close(w->loop, fd);
	counter_add(&w->stats->handoff_lost, 1);
	capacity_release(w);
}

void accept_handed_off(struct mail *m, void *arg)
{
	struct worker *w = arg;
	struct capacity *c = container_of(m, struct capacity, wakeup);
	/* Acquire: `n` sockets are in the hand-off socket. Release: from here on another worker may
	 * post the wake-up again. */
	uint32_t n = atomic_exchange_explicit(&c->n_pending, 0, memory_order_acq_rel);

	worker_assert_owner(w);
	LB_ASSERT(c == w->capacity && n > 0);
	while (n-- > 0)
		receive_one(w);
}
