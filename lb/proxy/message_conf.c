/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A new configuration on the worker. The functions of ADOPT, ABORT and MEMBERS do all their work
 * and reply before they return. An APPLY takes several turns, so that a configuration with very
 * many listeners, or a worker with very many sessions, does not keep other sessions waiting:
 *
 *   step       what is done                                           when it is over
 *   swap       the worker gets the new snapshot and members           at once
 *   sockets    listening sockets follow the new snapshot, or close    64 sockets per turn
 *   timers     open sessions start their timers again                 at the end of a walk
 *   closing    the worker waits until given-up addresses are free     see removal_of()
 *   reply
 *
 * "timers" is left out when no time-out has changed. One timer, message_apply.timer, starts the
 * steps "sockets" and "closing"; its function says which step it is. The walk is run by the
 * timer of all walks (walk.c) and starts "closing" when it is done.
 *
 * Sockets: main has written the index of each listener in the new snapshot, or LISTENER_REMOVED,
 * into the listener before it posted the APPLY. A socket is "behind" when it is PARKED, or OPEN
 * under another snapshot than the worker's. Each turn looks for sockets that are behind, so that a
 * STOP or QUIT between two turns, which closes sockets, needs no care here.
 *
 * Closing: the address of a removed listener must be free when the reply comes, because the next
 * configuration may bind it again. The socket is LEAVING for a while, then CLOSING until its accept
 * has ended; the loop closes its descriptor one turn later. When lb is so full that the connections
 * in the queue of a CLOSING socket cannot be accepted, the APPLY replies all the same, because the
 * socket may have to wait for hours.
 *
 * Old objects go back in the reply: the snapshot and the array of members that were replaced.
 *
 * A worker has one APPLY at a time (worker->applying), because main sends the next one when all
 * workers have replied. When the worker ends first, message_apply_end() replies.
 *
 * Thread: owner worker, but for the functions that make messages.
 */
#include "proxy/message_conf.h"

#include <errno.h>
#include <stdlib.h>

#include "balance/pool.h"
#include "proxy/accept.h"
#include "proxy/listener.h"
#include "proxy/relay.h"
#include "proxy/session.h"
#include "proxy/snapshot.h"
#include "proxy/worker.h"

/* An APPLY opens, closes or moves to another snapshot at most this many listening sockets per turn.
 */
#define SOCKET_SLICE 64

/* How often, in ms, an APPLY looks whether removed listening sockets are still LEAVING. */
#define LEAVING_LOOK_MS 1

/* ---- ADOPT ----------------------------------------------------------------------------------- */

/* Receives the listening sockets, which main has put into the worker's socket pair before it posted
 * the message. When the descriptor table is full or memory is short, goes on with the next socket,
 * so that no socket is left in the socket pair. Returns 0 or a negative errno. */
static int adopt_sockets(struct worker *w, const struct message_adopt *m)
{
	int result = 0;

	for (size_t i = 0; i < m->n_listeners; i++) {
		uint64_t number;
		int fd = loop_take_fd(w->loop, w->channel, &number);

		if (fd == -EMFILE) { /* the table is full, so the kernel has dropped the socket */
			result = fd;
			continue;
		}
		if (fd < 0)
			return fd;
		if (number != m->listeners[i]->number) {
			loop_close(w->loop, fd);
			return -EPROTO;
		}
		if (listen_socket_new(w, m->listeners[i], fd) == NULL)
			result = -ENOMEM;
	}
	return result;
}

static void run_adopt(struct mail *mail, void *worker)
{
	struct worker *w = worker;
	struct message_adopt *m = container_of(mail, struct message_adopt, base.mail);

	worker_assert_owner(w);
	m->base.result = adopt_sockets(w, m);
	message_reply(w, &m->base);
}

static void deinit_adopt(struct message *base)
{
	struct message_adopt *m = container_of(base, struct message_adopt, base);

	LB_ASSERT(m->n_listeners <= m->cap);
	for (size_t i = 0; i < m->n_listeners; i++)
		listener_unref(m->listeners[i]);
}

struct message_adopt *message_adopt_new(uint32_t worker, size_t cap)
{
	struct message *base =
		message_new(sizeof(struct message_adopt) + cap * sizeof(struct listener *), worker,
			    run_adopt, deinit_adopt);

	if (base == NULL)
		return NULL;
	struct message_adopt *m = container_of(base, struct message_adopt, base);
	m->cap = cap;
	return m;
}

void message_adopt_add(struct message_adopt *m, struct listener *l)
{
	LB_ASSERT(m->n_listeners < m->cap);
	m->listeners[m->n_listeners++] = listener_ref(l);
}

/* ---- ABORT ----------------------------------------------------------------------------------- */

static void run_abort(struct mail *mail, void *worker)
{
	struct worker *w = worker;

	worker_assert_owner(w);
	list_for_each(it, &w->listen)
	{
		struct listen_socket *ls = list_entry(it, struct listen_socket, link);
		if (ls->state == LISTEN_PARKED)
			listen_socket_close(ls);
	}
	message_reply(w, container_of(mail, struct message, mail));
}

struct message *message_abort_new(uint32_t worker)
{
	return message_new(sizeof(struct message), worker, run_abort, NULL);
}

/* ---- MEMBERS --------------------------------------------------------------------------------- */

static void run_members(struct mail *mail, void *worker)
{
	struct worker *w = worker;
	struct message_members *m = container_of(mail, struct message_members, base.mail);
	uint32_t slot = m->members->pool->slot;

	worker_assert_owner(w);
	/* The pool was in the newest APPLY, so its slot has members. */
	LB_ASSERT(slot < w->n_members && w->members[slot]->pool == m->members->pool);
	struct members *old = w->members[slot];

	w->members[slot] = m->members;
	m->members = old;
	message_reply(w, &m->base);
}

static void deinit_members(struct message *base)
{
	members_unref(container_of(base, struct message_members, base)->members);
}

struct message_members *message_members_new(uint32_t worker, struct members *members)
{
	struct message *base =
		message_new(sizeof(struct message_members), worker, run_members, deinit_members);

	if (base == NULL)
		return NULL;
	struct message_members *m = container_of(base, struct message_members, base);
	m->members = members_ref(members);
	return m;
}

/* ---- APPLY: the swap ------------------------------------------------------------------------- */

static void swap_members(struct worker *w, struct message_apply *m)
{
	struct members **old = w->members;
	uint32_t n_old = w->n_members;

	w->members = m->slots;
	w->n_members = m->n_slots;
	m->slots = old;
	m->n_slots = n_old;
}

static void swap_snapshot(struct worker *w, struct message_apply *m)
{
	struct snapshot *old = w->snapshot;

	w->snapshot = m->snapshot;
	m->snapshot = old;
}

/* ---- APPLY: listening sockets ---------------------------------------------------------------- */

/* Lets one listening socket follow the newest snapshot, or closes the socket when its listener was
 * removed. May free `ls`. */
static void apply_socket(struct worker *w, struct listen_socket *ls)
{
	uint32_t i = ls->listener->snapshot_index;

	LB_ASSERT(i == LISTENER_REMOVED || i < w->snapshot->n_listeners);
	if (i == LISTENER_REMOVED)
		listen_socket_close(ls);
	else
		listen_socket_open(ls, w->snapshot, &w->snapshot->listeners[i]);
}

/* Whether the socket does not follow the newest snapshot yet. */
static bool is_behind(const struct worker *w, const struct listen_socket *ls)
{
	if (ls->state == LISTEN_OPEN)
		return ls->snapshot != w->snapshot ||
		       ls->listener->snapshot_index == LISTENER_REMOVED;
	return ls->state == LISTEN_PARKED;
}

/*
 * Lets up to SOCKET_SLICE sockets that are behind follow the newest snapshot; the others keep the
 * snapshot that they have. A socket that a STOP has closed meanwhile is not behind. Returns whether
 * no socket is behind any more.
 */
static bool apply_sockets(struct worker *w)
{
	int n = 0;

	list_for_each(it, &w->listen)
	{
		struct listen_socket *ls = list_entry(it, struct listen_socket, link);
		if (!is_behind(w, ls))
			continue;
		if (n++ == SOCKET_SLICE)
			return false;
		apply_socket(w, ls);
	}
	accept_resume(w);
	return true;
}

/* ---- APPLY: the end -------------------------------------------------------------------------- */

/* The state of the listening sockets whose addresses the new configuration has given up. */
enum removal {
	REMOVAL_LEAVING, /* at least one socket is LEAVING, and still accepts */
	/* None is LEAVING; at least one waits for its accept's last completion, which comes within
	 * a turn. */
	REMOVAL_CLOSING,
	/* All are closed, or wait in a full lb for slots for the connections in the kernel's queue.
	 */
	REMOVAL_DONE,
};

static enum removal removal_of(const struct worker *w)
{
	enum removal all = REMOVAL_DONE;

	list_for_each(it, &w->listen)
	{
		const struct listen_socket *ls = list_entry(it, struct listen_socket, link);
		if (ls->state == LISTEN_LEAVING)
			return REMOVAL_LEAVING;
		if (ls->state == LISTEN_CLOSING && ls->is_armed)
			all = REMOVAL_CLOSING;
	}
	return all;
}

static void reply_apply(struct worker *w)
{
	struct message_apply *m = take_ptr(w->applying);

	LB_ASSERT(m != NULL && !walk_is_under_way(&m->walk));
	loop_timer_stop(w->loop, &m->timer);
	message_reply(w, &m->base);
}

void message_apply_end(struct worker *w)
{
	LB_ASSERT(w->n_sessions == 0 && list_is_empty(&w->listen));
	if (w->applying != NULL)
		reply_apply(w);
}

/* Replies to an APPLY one turn after all removed sockets were closed, because the loop closes a
 * descriptor only when the next turn begins to wait. */
static void on_closing_timer(struct timer *t, void *arg)
{
	struct worker *w = arg;
	struct message_apply *m = w->applying;
	enum removal r = removal_of(w);

	LB_ASSERT(m != NULL && t == &m->timer);
	if (m->is_closed) {
		reply_apply(w);
		return;
	}
	m->is_closed = r == REMOVAL_DONE;
	loop_timer_start(w->loop, &m->timer, r == REMOVAL_LEAVING ? LEAVING_LOOK_MS : 0);
}

static void begin_closing(struct worker *w)
{
	struct message_apply *m = w->applying;

	LB_ASSERT(m != NULL && !m->is_closed && !timer_is_running(&m->timer));
	m->timer.fn = on_closing_timer;
	loop_timer_start(w->loop, &m->timer, 0);
}

/* ---- APPLY: the steps ------------------------------------------------------------------------ */

/* Starts the session's timer again, because the time-outs of its pool may have changed. */
static void visit_for_timers(struct walk *k, struct session *s)
{
	(void)k;
	if (session_is_relaying(s))
		relay_watch_time(s);
}

static void on_timers_done(struct walk *k, struct worker *w)
{
	LB_ASSERT(w->applying != NULL && k == &w->applying->walk);
	begin_closing(w);
}

static const struct walk_ops timer_ops = {
	.visit = visit_for_timers,
	.done = on_timers_done,
};

static void on_socket_timer(struct timer *t, void *arg)
{
	struct worker *w = arg;
	struct message_apply *m = w->applying;

	LB_ASSERT(m != NULL && t == &m->timer);
	if (!apply_sockets(w))
		loop_timer_start(w->loop, &m->timer, 0);
	else if (m->has_new_timeouts)
		walk_begin(w, &m->walk, &timer_ops, 0, WALK_PAUSE_MS);
	else
		begin_closing(w);
}

static void run_apply(struct mail *mail, void *worker)
{
	struct worker *w = worker;
	struct message_apply *m = container_of(mail, struct message_apply, base.mail);

	worker_assert_owner(w);
	LB_ASSERT(!w->is_stopping && w->applying == NULL);
	swap_members(w, m);
	swap_snapshot(w, m);
	w->applying = m;
	timer_init(&m->timer, on_socket_timer);
	on_socket_timer(&m->timer, w);
}

static void deinit_apply(struct message *base)
{
	struct message_apply *m = container_of(base, struct message_apply, base);

	LB_ASSERT(!walk_is_under_way(&m->walk) && !timer_is_running(&m->timer));
	for (uint32_t i = 0; m->slots != NULL && i < m->n_slots; i++)
		members_unref(m->slots[i]);
	free(m->slots);
	snapshot_unref(m->snapshot);
}

struct message_apply *message_apply_new(uint32_t worker, struct snapshot *snapshot,
					uint32_t n_slots)
{
	struct message *base =
		message_new(sizeof(struct message_apply), worker, run_apply, deinit_apply);

	if (base == NULL)
		return NULL;
	struct message_apply *m = container_of(base, struct message_apply, base);
	m->snapshot = snapshot_ref(snapshot);
	list_init(&m->walk.link);
	m->n_slots = n_slots;
	m->slots = calloc((size_t)n_slots + 1, sizeof(struct members *));
	if (m->slots == NULL) {
		message_free(base);
		return NULL;
	}
	return m;
}

void message_apply_set(struct message_apply *m, struct members *members)
{
	uint32_t slot = members->pool->slot;

	LB_ASSERT(slot < m->n_slots && m->slots[slot] == NULL);
	m->slots[slot] = members_ref(members);
}
