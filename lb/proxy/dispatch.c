/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dispatch: the ceiling of a session's code. A completion, a timer or the end of a turn comes in
 * here and goes to the step of the session's state:
 *
 *   HELLO                    request.c    the request's head is read and routed
 *   PICK, CONNECT, UPGRADE   upstream.c   a backend is chosen, connected to and asked
 *   RELAY                    relay.c      bytes pass both ways
 *   DRAIN                    reply.c      the last bytes are delivered
 *
 * A step is a function of one of these files. It may change the state, start operations and end the
 * session, but it never calls anything in here: the state that it leaves is looked at when it has
 * returned (settle()). So a session is never freed under a function that works on it.
 *
 * A session's life is the other half of this file. dispatch_new() makes a session of an accepted
 * descriptor. A session that ends goes to DEAD and has all its operations cancelled
 * (session_kill(), in session.c). When the last completion has come, settle() puts it on
 * worker->dead, and at the end of the turn dispatch_free() writes its line of the access log,
 * closes its descriptors and gives everything back.
 *
 * "Dirty" is a session with bytes that were queued in this turn: they are sent together at the
 * turn's end, by dispatch_flush(). "Picking" is a session in PICK that waits for a place at a
 * backend (wait.h); dispatch_on_pick_timer() lets each of them try again.
 *
 * Thread: owner worker. Hot: no allocation, no lock.
 */
#include "proxy/dispatch.h"

#include <errno.h>
#include <poll.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "net/sock.h"
#include "proxy/capacity.h"
#include "proxy/exchange.h"
#include "proxy/listener.h"
#include "proxy/names.h"
#include "proxy/quiet.h"
#include "proxy/relay.h"
#include "proxy/reply.h"
#include "proxy/request.h"
#include "proxy/splice.h"
#include "proxy/upstream.h"
#include "proxy/wait.h"
#include "proxy/worker.h"
#include "util/slab.h"

/* Pools of which one walk remembers that they are full; with more, some are asked again. */
#define MAX_FULL 16

/* After a completion: the dead go to the worker's list, a backend that nobody needs is closed. */
static void settle(struct session *s)
{
	if (s->state == SESS_DEAD) {
		if (s->in_flight == 0 && !list_is_linked(&s->link))
			list_add_tail(&s->worker->dead, &s->link);
	} else if (s->state == SESS_DRAIN && s->fd[BACKEND] >= 0 &&
		   !session_is_side_in_flight(s, BACKEND) && !reply_needs_backend(s)) {
		session_close_backend(s);
	}
}

/* ---- timers ---------------------------------------------------------------------------------- */

static void on_timeout(struct timer *t, void *arg)
{
	struct session *s = container_of(t, struct session, timer);

	(void)arg;
	switch ((enum sess_state)s->state) {
	case SESS_HELLO: request_on_timeout(s); break;
	case SESS_PICK:
	case SESS_CONNECT:
	case SESS_UPGRADE: upstream_on_timeout(s); break;
	case SESS_RELAY: relay_on_timeout(s); break;
	case SESS_DRAIN: reply_on_timeout(s); break;
	case SESS_DEAD:
	case SESS_N_STATES: LB_ASSERT(false);
	}
	settle(s);
}

/* Lets a session that waits in PICK try again. False: it waits on. */
static bool try_again(struct session *s)
{
	if (!upstream_try_again(s))
		return false;
	settle(s);
	return true;
}

/* Each tries again in its order, but behind one that found its pool full none of that pool. */
static void walk(struct worker *w)
{
	const struct pool *full[MAX_FULL];
	size_t n_full = 0;
	struct list *next;

	for (struct list *it = w->picking.next; it != &w->picking; it = next) {
		struct session *s = list_entry(it, struct session, link);
		size_t i = 0;
		next = it->next;
		while (i < n_full && full[i] != s->pool)
			i++;
		if (i < n_full || try_again(s))
			continue;
		/* Who has failed elsewhere may not go where the next one may. */
		if (s->x->n_tries == 0 && n_full < MAX_FULL)
			full[n_full++] = s->pool;
	}
}

void dispatch_on_pick_timer(struct timer *t, void *arg)
{
	struct worker *w = arg;

	walk(w);
	if (w->n_picking > 0 && !timer_is_running(t))
		loop_timer_start(w->loop, t, WAIT_LOOK_MS);
}

/* ---- the end of a turn ----------------------------------------------------------------------- */

void dispatch_flush(struct session *s)
{
	s->is_dirty = false;
	for (enum side from = CLIENT; from < N_SIDES; from++) {
		if (!s->flow[from].is_dirty)
			continue;
		s->flow[from].is_dirty = false;
		if (s->state < SESS_UPGRADE || s->state == SESS_DEAD)
			continue;
		relay_go_on(s, from);
	}
	relay_check(s);
	settle(s);
}

/* ---- the end of a session -------------------------------------------------------------------- */

/* The code of the Close frame that came first, from whichever side. */
static uint16_t close_code(const struct session *s)
{
	if (s->flow[CLIENT].kind != FLOW_WS)
		return 0;
	enum side side = ws_track_was_first(&s->flow[CLIENT].ws) ? CLIENT : BACKEND;
	return ws_track_close_code(&s->flow[side].ws);
}

static void report(const struct session *s)
{
	struct worker *w = s->worker;
	uint64_t now_ns = loop_now_ns(w->loop);
	struct access_record r = {
		.wall_ns = loop_wall_ns(w->loop),
		.id = s->id,
		.client = s->client,
		.listener = atomic_load_explicit(&s->from->listener->name, memory_order_acquire),
		.route = s->route,
		.pool = s->pool != NULL ? pool_name(s->pool) : NULL,
		.backend = s->backend != NULL ? s->backend->name : NULL,
		.status = s->status,
		.bytes_in = s->flow[CLIENT].n_sent,
		.bytes_out = s->flow[BACKEND].n_sent,
		.duration_ns = now_ns - s->start_ns,
		.handshake_ms = s->handshake_ms,
		.end = s->end,
		.ws_close = close_code(s),
		.error = s->x != NULL ? s->x->error : NULL,
	};

	w->access(w->access_arg, &r);
}

void dispatch_free(struct session *s)
{
	struct worker *w = s->worker;

	LB_ASSERT(s->state == SESS_DEAD && s->in_flight == 0 && s->end != SESS_END_NONE);
	list_del(&s->link);
	if (w->access != NULL)
		report(s);

	session_close_backend(s);
	if (s->must_reset || s->is_cut & 1u << CLIENT)
		sock_reset_on_close(w->loop, s->fd[CLIENT]);
	loop_close(w->loop, s->fd[CLIENT]);
	for (enum side from = CLIENT; from < N_SIDES; from++) {
		queue_clear(&s->flow[from].queue, w->loop->bufs);
		splice_drop(s, from);
	}
	if (s->x != NULL)
		worker_return_exchange(w, s->x);
	backend_unref(s->backend);
	pool_unref(s->pool);
	names_unref(s->route);

	counter_add(&w->stats->ends[s->end], 1);
	counter_sub(&w->stats->active, 1);
	listen_socket_session_ended(s->from);
	slab_put(w->sessions, s);
	w->n_sessions--;
	capacity_release(w);
}

/* ---- birth ----------------------------------------------------------------------------------- */

struct session *dispatch_new(struct worker *w, struct listen_socket *from, int fd)
{
	struct sockaddr_storage sa;
	struct session *s = NULL;
	struct exchange *x = worker_lend_exchange(w);

	if (x != NULL && slab_reserve(w->sessions, 1) == 0)
		s = slab_get(w->sessions);
	if (s == NULL) { /* out of memory */
		if (x != NULL)
			worker_return_exchange(w, x);
		loop_close(w->loop, fd);
		w->is_short = true; /* capacity_reserve() looks when there is some again */
		return NULL;
	}

	s->worker = w;
	s->from = from;
	s->fd[CLIENT] = fd;
	s->fd[BACKEND] = -1;
	s->x = x;
	s->state = SESS_HELLO;
	s->id = worker_next_id(w);
	s->start_ns = loop_now_ns(w->loop);
	s->active_ms = loop_now_ms(w->loop);
	s->is_http = from->pl->conf->mode == CONF_MODE_HTTP;
	bool is_there = loop_peername(w->loop, fd, &sa) == 0;
	s->client = (struct addr){ .family = AF_INET }; /* 0.0.0.0: not known any more */
	if (is_there)
		addr_from_sockaddr((struct sockaddr *)&sa, &s->client);
	list_init(&s->link);
	timer_init(&s->timer, on_timeout);
	s->flow[CLIENT].kind = FLOW_HOLD;
	x->plan = plan_ref(from->plan);
	x->pl = from->pl;

	w->n_sessions++;
	counter_add(&w->stats->accepted, 1);
	counter_add(&w->stats->active, 1);
	counter_add(&w->stats->handshaking, 1);
	if (!is_there) /* reset before it was looked at */
		session_kill(s, SESS_END_CLIENT_RESET);
	else if (s->is_http)
		request_start(s);
	else
		upstream_start_tcp(s);
	settle(s);
	return s;
}

/* ---- completions ----------------------------------------------------------------------------- */

/* A receive's completion on either side, in any state. */
static void on_recv(struct session *s, enum side side, const struct completion *c)
{
	switch ((enum sess_state)s->state) {
	case SESS_HELLO: request_on_recv(s, c); return;
	case SESS_PICK:
	case SESS_CONNECT: upstream_on_client_recv(s, c); return;
	case SESS_UPGRADE:
		if (side == CLIENT)
			upstream_on_client_recv(s, c);
		else
			upstream_on_recv(s, c);
		return;
	case SESS_RELAY: relay_on_recv(s, side, c); return;
	case SESS_DRAIN: reply_on_recv(s, side, c); return;
	case SESS_DEAD:
		if (c->buf != NULL)
			buf_put(s->worker->loop->bufs, c->buf);
		return;
	case SESS_N_STATES: LB_ASSERT(false);
	}
}

static void on_send(struct session *s, enum side from, const struct completion *c)
{
	if (s->state == SESS_DRAIN) {
		reply_on_send(s, from, c);
		return;
	}
	relay_on_send(s, from, c);
	if (s->state == SESS_UPGRADE && from == CLIENT)
		upstream_on_sent(s);
}

static void on_error_poll(struct session *s, enum side side, const struct completion *c)
{
	if (s->state == SESS_DEAD || s->state == SESS_DRAIN || c->res == -ECANCELED)
		return;
	if (s->state == SESS_RELAY && s->is_tunnel)
		relay_on_error_poll(s, side, c);
	else if (c->res < 0 || c->res & (POLLERR | POLLHUP))
		upstream_on_error_poll(s, side);
	else if (side == CLIENT) /* its FIN */
		quiet_client_fin(s);
	else
		s->flow[side].is_sick = true;
}

void dispatch_on_completion(void *arg, const struct completion *c)
{
	struct worker *w = arg;
	struct session *s = slab_find(w->sessions, tag_handle(c->tag));
	enum sess_op op = tag_kind(c->tag);

	/* A session is freed only when all its last completions were seen. */
	LB_ASSERT(s != NULL && session_is_in_flight(s, op));
	if (!c->more)
		s->in_flight &= (uint16_t) ~(1u << op);

	switch (op) {
	case OP_RECV_CLIENT: on_recv(s, CLIENT, c); break;
	case OP_RECV_BACKEND: on_recv(s, BACKEND, c); break;
	case OP_SEND_BACKEND: on_send(s, CLIENT, c); break;
	case OP_SEND_CLIENT: on_send(s, BACKEND, c); break;
	case OP_ERR_CLIENT: on_error_poll(s, CLIENT, c); break;
	case OP_ERR_BACKEND: on_error_poll(s, BACKEND, c); break;
	case OP_FILL_CLIENT: relay_on_splice_in(s, CLIENT, c); break;
	case OP_FILL_BACKEND: relay_on_splice_in(s, BACKEND, c); break;
	case OP_SPILL_BACKEND: relay_on_splice_out(s, CLIENT, c); break;
	case OP_SPILL_CLIENT: relay_on_splice_out(s, BACKEND, c); break;
	case OP_ROOM_BACKEND: relay_on_room(s, CLIENT, c); break;
	case OP_ROOM_CLIENT: relay_on_room(s, BACKEND, c); break;
	case OP_CONNECT: upstream_on_connect(s, c); break;
	case SESS_N_OPS: LB_ASSERT(false);
	}
	settle(s);
}
