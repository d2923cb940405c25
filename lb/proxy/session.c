/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session's skeleton: birth, states, operations in flight, dispatch, death. What happens in the
 * states is in request.c (HELLO), upstream.c (PICK, CONNECT, UPGRADE), relay.c (RELAY) and reply.c
 * (DRAIN).
 *
 * Thread: owner worker.
 */
#include "proxy/session.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "net/sock.h"
#include "proxy/exchange.h"
#include "proxy/listener.h"
#include "proxy/names.h"
#include "proxy/relay.h"
#include "proxy/reply.h"
#include "proxy/request.h"
#include "proxy/splice.h"
#include "proxy/upstream.h"
#include "proxy/wait.h"
#include "proxy/worker.h"
#include "util/slab.h"

/* ---- states ---------------------------------------------------------------------------------- */

#define TO(name) (1u << SESS_##name)
#define X(name, word, next) [SESS_##name] = (next),
static const uint32_t sess_next[SESS_N_STATES] = { SESS_STATES(X) };
#undef X
#undef TO

#define X(name, word, next) [SESS_##name] = (word),
static const char *const sess_word[SESS_N_STATES] = { SESS_STATES(X) };
#undef X

const char *session_state_name(const struct session *s)
{
	return sess_word[s->state];
}

static bool is_handshaking(enum sess_state st)
{
	return st < SESS_RELAY;
}

void session_set_state(struct session *s, enum sess_state to)
{
	LB_ASSERT(sess_next[s->state] & 1u << to);
	if (is_handshaking(s->state) && !is_handshaking(to))
		counter_sub(&s->worker->stats->handshaking, 1);
	if (s->state == SESS_PICK)
		wait_leave(s);
	s->state = (uint8_t)to;
	loop_timer_stop(s->worker->loop, &s->timer);
}

void session_timeout(struct session *s, uint64_t in_ms)
{
	if (in_ms == CONF_OFF)
		loop_timer_stop(s->worker->loop, &s->timer);
	else
		loop_timer_start(s->worker->loop, &s->timer, in_ms);
}

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
	session_settle(s);
}

void session_mark_dirty(struct session *s, enum side from)
{
	s->flow[from].is_dirty = true;
	if (s->is_dirty)
		return;
	s->is_dirty = true;
	s->next_dirty = s->worker->dirty;
	s->worker->dirty = s;
}

void session_flush_turn(struct session *s)
{
	s->is_dirty = false;
	for (enum side from = CLIENT; from < N_SIDES; from++) {
		if (!s->flow[from].is_dirty)
			continue;
		s->flow[from].is_dirty = false;
		if (s->state < SESS_UPGRADE || s->state == SESS_DEAD)
			continue;
		if (s->flow[from].n_in_pipe > 0)
			splice_run(s, from);
		else
			relay_send(s, from);
	}
	relay_check(s);
	session_settle(s);
}

/* ---- operations in flight -------------------------------------------------------------------- */

op_tag session_tag(const struct session *s, enum sess_op op)
{
	return tag_make(CLASS_SESSION, op, slab_handle_of(s->worker->sessions, s));
}

op_tag session_start_op(struct session *s, enum sess_op op)
{
	LB_ASSERT(!session_is_in_flight(s, op) && s->state != SESS_DEAD);
	s->in_flight |= (uint16_t)(1u << op);
	return session_tag(s, op);
}

/* Whose descriptor an operation is on. */
static enum side op_side(enum sess_op op)
{
	switch (op) {
	case OP_RECV_CLIENT:
	case OP_SEND_CLIENT:
	case OP_ERR_CLIENT:
	case OP_FILL_CLIENT:
	case OP_SPILL_CLIENT:
	case OP_ROOM_CLIENT: return CLIENT;
	case OP_RECV_BACKEND:
	case OP_SEND_BACKEND:
	case OP_ERR_BACKEND:
	case OP_FILL_BACKEND:
	case OP_SPILL_BACKEND:
	case OP_ROOM_BACKEND:
	case OP_CONNECT: return BACKEND;
	case SESS_N_OPS: break;
	}
	LB_ASSERT(false);
	return CLIENT;
}

void session_cancel_op(struct session *s, enum sess_op op)
{
	if (!session_is_in_flight(s, op))
		return;
	if (op == OP_ROOM_BACKEND || op == OP_ROOM_CLIENT)
		loop_cancel_room(s->worker->loop, s->fd[op_side(op)], session_tag(s, op));
	else
		loop_cancel(s->worker->loop, s->fd[op_side(op)], session_tag(s, op));
}

static bool is_side_in_flight(const struct session *s, enum side side)
{
	for (enum sess_op op = 0; op < SESS_N_OPS; op++)
		if (session_is_in_flight(s, op) && op_side(op) == side)
			return true;
	return false;
}

void session_cancel_side(struct session *s, enum side side)
{
	for (enum sess_op op = 0; op < SESS_N_OPS; op++)
		if (op_side(op) == side)
			session_cancel_op(s, op);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Causes that cut a tunnel short, one of whose sides may have ended properly before. */
static bool is_cutting(enum sess_end why)
{
	return why == SESS_END_STOP || why == SESS_END_ADMIN || why == SESS_END_HALF_CLOSED ||
	       why == SESS_END_CLIENT_VANISHED || why == SESS_END_BACKEND_VANISHED ||
	       why == SESS_END_CLIENT_STALLED || why == SESS_END_BACKEND_STALLED;
}

void session_blame(struct session *s, enum sess_end why)
{
	/* A FIN alone is no end: the other direction may flow on for as long as it likes. */
	bool is_fin_only = s->state == SESS_RELAY &&
			   (s->end == SESS_END_CLIENT_CLOSED || s->end == SESS_END_BACKEND_CLOSED);

	if (s->end == SESS_END_NONE || (is_fin_only && is_cutting(why)))
		s->end = (uint8_t)why;
}

/*
 * Whether the stream towards `side` ends in the middle. Closed, that would look whole: a body until
 * close is told from half of one by how its connection ends, and so is any stream of mode tcp.
 */
static bool is_cut_short(const struct session *s, enum side side)
{
	const struct flow *f = &s->flow[side_other(side)];

	if (s->state != SESS_RELAY || f->is_shut || f->is_dead)
		return false;
	return f->is_reset || !queue_is_empty(&f->queue) || f->n_in_pipe > 0 ||
	       (!s->is_tunnel && side == CLIENT);
}

void session_kill(struct session *s, enum sess_end why)
{
	if (s->state == SESS_DEAD)
		return;
	session_blame(s, why);
	for (enum side side = CLIENT; side < N_SIDES; side++)
		if (is_cut_short(s, side))
			s->is_cut |= (uint8_t)(1u << side);
	for (enum sess_op op = 0; op < SESS_N_OPS; op++)
		session_cancel_op(s, op);
	session_set_state(s, SESS_DEAD);
	if (s->in_flight == 0)
		list_add_tail(&s->worker->dead, &s->link);
}

void session_close_backend(struct session *s)
{
	if (s->fd[BACKEND] >= 0) {
		LB_ASSERT(!is_side_in_flight(s, BACKEND));
		if (s->must_reset || s->is_cut & 1u << BACKEND)
			sock_reset_on_close(s->worker->loop, s->fd[BACKEND]);
		loop_close(s->worker->loop, s->fd[BACKEND]);
		s->fd[BACKEND] = -1;
	}
	if (s->has_place) {
		s->has_place = false;
		backend_release(s->backend);
		wait_place_is_free(s->worker);
	}
}

/* After a completion: the dead go to the worker's list, a backend that nobody needs is closed. */
void session_settle(struct session *s)
{
	if (s->state == SESS_DEAD) {
		if (s->in_flight == 0 && !list_is_linked(&s->link))
			list_add_tail(&s->worker->dead, &s->link);
	} else if (s->state == SESS_DRAIN && s->fd[BACKEND] >= 0 &&
		   !is_side_in_flight(s, BACKEND) && !reply_needs_backend(s)) {
		session_close_backend(s);
	}
}

void session_set_status(struct session *s, unsigned status)
{
	s->status = (uint16_t)status;
	if (s->pool != NULL)
		pool_count_response(s->pool, status);
	else
		counter_add(&s->worker->stats->responses[pool_class_of(status)], 1);
}

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

void session_bury(struct session *s)
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
	worker_release(w);
}

/* ---- birth ----------------------------------------------------------------------------------- */

struct session *session_new(struct worker *w, struct listen_socket *from, int fd)
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
		w->is_short = true; /* worker_reserve() looks when there is some again */
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
	session_settle(s);
	return s;
}

/* ---- dispatch -------------------------------------------------------------------------------- */

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
		relay_client_fin(s);
	else
		s->flow[side].is_sick = true;
}

void session_on_completion(void *arg, const struct completion *c)
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
	case OP_FILL_CLIENT: splice_on_fill(s, CLIENT, c); break;
	case OP_FILL_BACKEND: splice_on_fill(s, BACKEND, c); break;
	case OP_SPILL_BACKEND: splice_on_spill(s, CLIENT, c); break;
	case OP_SPILL_CLIENT: splice_on_spill(s, BACKEND, c); break;
	case OP_ROOM_BACKEND: relay_on_room(s, CLIENT, c); break;
	case OP_ROOM_CLIENT: relay_on_room(s, BACKEND, c); break;
	case OP_CONNECT: upstream_on_connect(s, c); break;
	case SESS_N_OPS: LB_ASSERT(false);
	}
	session_settle(s);
}
