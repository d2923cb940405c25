/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders on the worker's side. All but APPLY, CONNS and QUIT are done within one turn. A CONNS, and
 * an APPLY that changes time-outs, walk the sessions (proxy/walk.h); the walks run beside each
 * other.
 *
 * Thread: order_new() and order_free() on main, the rest on the worker.
 */
#include "proxy/order.h"

#include <errno.h>
#include <stdlib.h>

#include "balance/pool.h"
#include "proxy/listener.h"
#include "proxy/plan.h"
#include "proxy/relay.h"
#include "proxy/session.h"
#include "proxy/worker.h"
#include "util/slab.h"

/* Listening sockets that are opened, moved to another plan or closed per turn. */
#define SOCKET_SLICE 64

/* How often an APPLY looks whether removed listening sockets still accept. */
#define LEAVING_LOOK_MS 1

struct order *order_new(enum order_kind kind, uint32_t worker)
{
	struct order *o = calloc(1, sizeof(*o));

	if (o != NULL) {
		o->mail.run = order_run;
		o->kind = kind;
		o->worker = worker;
	}
	return o;
}

struct order *order_free(struct order *o)
{
	if (o == NULL)
		return NULL;
	for (size_t i = 0; i < o->n_listeners; i++)
		listener_unref(o->listeners[i]);
	for (size_t i = 0; i < o->n_members; i++)
		members_unref(o->members[i]);
	for (uint32_t i = 0; o->slots != NULL && i < o->n_slots; i++)
		members_unref(o->slots[i]);
	conn_list_deinit(&o->conns);
	plan_unref(o->plan);
	free(o->listeners);
	free(o->members);
	free(o->slots);
	free(o);
	return NULL;
}

int order_make_slots(struct order *o)
{
	for (size_t i = 0; i < o->n_members; i++)
		if (o->n_slots <= o->members[i]->pool->slot)
			o->n_slots = o->members[i]->pool->slot + 1;
	o->slots = calloc(o->n_slots + 1, sizeof(struct members *));
	if (o->slots == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < o->n_members; i++)
		o->slots[o->members[i]->pool->slot] = members_ref(o->members[i]);
	return 0;
}

static void run_done(struct mail *m, void *main_arg)
{
	struct order *o = (struct order *)m;

	o->done(o, main_arg);
}

void order_answer(struct worker *w, struct order *o)
{
	o->mail.run = run_done;
	mailbox_post(w->main, &o->mail);
}

/* ---- sockets --------------------------------------------------------------------------------- */

/* The sockets were put into the channel before the order was posted. */
static int take_sockets(struct worker *w, const struct order *o)
{
	int result = 0;

	for (size_t i = 0; i < o->n_listeners; i++) {
		uint64_t number;
		int fd = loop_take_fd(w->loop, w->channel, &number);

		if (fd == -EMFILE) { /* the kernel dropped it: the table is full */
			result = fd;
			continue;
		}
		if (fd < 0)
			return fd;
		if (number != o->listeners[i]->number) {
			loop_close(w->loop, fd);
			return -EPROTO;
		}
		if (listen_socket_new(w, o->listeners[i], fd) == NULL)
			result = -ENOMEM;
	}
	return result;
}

static void drop_parked(struct worker *w)
{
	list_for_each(it, &w->listen)
	{
		struct listen_socket *ls = list_entry(it, struct listen_socket, link);
		if (ls->state == LISTEN_PARKED)
			listen_socket_close(ls);
	}
}

/* ---- a new configuration --------------------------------------------------------------------- */

/* The order takes back what it brings the replacement of: main frees that. */
static void swap_members(struct worker *w, struct order *o)
{
	struct members **old = w->members;
	uint32_t n_old = w->n_members;

	w->members = o->slots;
	w->n_members = o->n_slots;
	o->slots = old;
	o->n_slots = n_old;
}

static void replace_members(struct worker *w, struct order *o)
{
	struct members *m = o->members[0];
	uint32_t slot = m->pool->slot;

	/* Main has named the pool in an APPLY before, and in none since that left it out. */
	LB_ASSERT(slot < w->n_members && w->members[slot]->pool == m->pool);
	o->members[0] = w->members[slot];
	w->members[slot] = m;
}

static void swap_plan(struct worker *w, struct order *o)
{
	struct plan *old = w->plan;

	w->plan = o->plan;
	o->plan = old;
}

/* Makes one listening socket follow the newest plan. */
static void apply_socket(struct worker *w, struct listen_socket *ls)
{
	uint32_t i = ls->listener->plan_index;

	if (i == LISTENER_REMOVED)
		listen_socket_close(ls);
	else
		listen_socket_open(ls, w->plan, &w->plan->listeners[i]);
}

static bool is_behind(const struct worker *w, const struct listen_socket *ls)
{
	if (ls->state == LISTEN_OPEN)
		return ls->plan != w->plan || ls->listener->plan_index == LISTENER_REMOVED;
	return ls->state == LISTEN_PARKED;
}

/*
 * Makes the next sockets follow the newest plan, as many as one turn has time for. The others go on
 * under the plan that they have. What a stop has closed meanwhile is left alone. Returns whether
 * that was the last of them.
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
	worker_resume(w);
	return true;
}

/* How the listening sockets stand whose addresses the new configuration gave up. */
enum removal {
	REMOVAL_LEAVING, /* one still accepts connections whose handshake had begun */
	REMOVAL_CLOSING, /* one waits for its accept's last completion, which is a turn away */
	REMOVAL_DONE,    /* all are closed, or wait for a place in a full lb */
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

static void end_apply(struct worker *w)
{
	struct order *o = take_ptr(w->applying);

	LB_ASSERT(!list_is_linked(&o->walk.link));
	loop_timer_stop(w->loop, &o->timer);
	order_answer(w, o);
}

void order_end_apply(struct worker *w)
{
	LB_ASSERT(list_is_empty(&w->listen));
	if (w->applying != NULL)
		end_apply(w);
}

/*
 * The last step of an APPLY, which has ended when the addresses that the new configuration gave up
 * are free for the next one. A descriptor is gone a turn after it was closed.
 */
static void await_removal(struct timer *t, void *arg)
{
	struct worker *w = arg;
	struct order *o = w->applying;
	enum removal r = removal_of(w);

	(void)t;
	if (o->is_closed) {
		end_apply(w);
		return;
	}
	o->is_closed = r == REMOVAL_DONE;
	loop_timer_start(w->loop, &o->timer, r == REMOVAL_LEAVING ? LEAVING_LOOK_MS : 0);
}

static void begin_removal(struct worker *w)
{
	struct order *o = w->applying;

	o->timer.fn = await_removal;
	loop_timer_start(w->loop, &o->timer, 0);
}

/* The time-outs of the session's pool may have changed. */
static void visit_for_timeouts(struct walk *k, struct session *s)
{
	(void)k;
	if (s->state == SESS_RELAY)
		relay_watch_time(s);
}

static void on_timeouts_done(struct walk *k, struct worker *w)
{
	(void)k;
	begin_removal(w);
}

static const struct walk_ops timeouts_ops = {
	.visit = visit_for_timeouts,
	.done = on_timeouts_done,
};

/* The first step of an APPLY, a slice per turn; then, if need be, the walk, then the last step. */
static void apply_slice(struct timer *t, void *arg)
{
	struct worker *w = arg;
	struct order *o = w->applying;

	(void)t;
	if (!apply_sockets(w))
		loop_timer_start(w->loop, &o->timer, 0);
	else if (o->has_new_timeouts)
		walk_begin(w, &o->walk, &timeouts_ops, 0, WALK_PAUSE_MS);
	else
		begin_removal(w);
}

/* Main has seen to it that nothing in here can be refused. */
static void apply(struct worker *w, struct order *o)
{
	LB_ASSERT(!w->is_stopping && w->applying == NULL);
	swap_members(w, o);
	swap_plan(w, o);
	w->applying = o;
	timer_init(&o->timer, apply_slice);
	list_init(&o->walk.link);
	apply_slice(&o->timer, w);
}

/* ---- lists of connections -------------------------------------------------------------------- */

static void visit_for_list(struct walk *k, struct session *s)
{
	struct order *o = container_of(k, struct order, walk);

	if (conn_list_add(&o->conns, s, loop_now_ns(s->worker->loop)) < 0)
		o->result = -ENOMEM;
}

static void on_list_done(struct walk *k, struct worker *w)
{
	order_answer(w, container_of(k, struct order, walk));
}

static const struct walk_ops list_ops = {
	.visit = visit_for_list,
	.done = on_list_done,
};

/* ---- the end --------------------------------------------------------------------------------- */

static void stop_accepting(struct worker *w)
{
	w->is_stopping = true;
	list_for_each(it, &w->listen)
		listen_socket_close(list_entry(it, struct listen_socket, link));
}

static void quit(struct worker *w, struct order *o)
{
	uint32_t cursor = 0;
	struct session *s;

	w->quit = o; /* answered at the end of a turn, when all are buried */
	stop_accepting(w);
	while ((s = slab_next(w->sessions, &cursor)) != NULL)
		session_kill(s, SESS_END_STOP);
}

void order_run(struct mail *m, void *arg)
{
	struct worker *w = arg;
	struct order *o = (struct order *)m;

	switch (o->kind) {
	case ORDER_TAKE: o->result = take_sockets(w, o); break;
	case ORDER_DROP: drop_parked(w); break;
	case ORDER_APPLY: apply(w, o); return;
	case ORDER_MEMBERS: replace_members(w, o); break;
	case ORDER_CONNS: walk_begin(w, &o->walk, &list_ops, 0, WALK_PAUSE_MS); return;
	case ORDER_STOP: stop_accepting(w); break;
	case ORDER_QUIT: quit(w, o); return;
	}
	order_answer(w, o);
}
