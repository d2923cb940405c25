/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dispatch: the ceiling of a session's code. A completion, a timer or the end of a turn comes in
 * here and goes to the step of the session's state, and while the session is BUSY of its request's:
 *
 *   IDLE, BUSY in HEAD       request.c    the request's head is read and routed
 *   BUSY in WAIT to CONNECT  pick.c       a backend is chosen and connected to (connect.c)
 *   BUSY in SEND, AWAIT      response.c   the request goes out, the head of the response comes
 *   BUSY in BODY, TUNNEL     relay.c      bytes pass both ways
 *   CLOSING                  closing.c    the last bytes are delivered
 *
 * A step is a function of one of these files. It may change the states, start operations and end
 * the session, but it never calls anything in here: the state that it leaves is looked at when it
 * has returned (after_step()). So a session is never freed under a function that works on it.
 *
 * A session's life is the other half of this file. dispatch_new() makes a session of an accepted
 * descriptor. A session that ends goes to DEAD and has all its operations cancelled
 * (session_close_now()). When the last completion has come, session_reap() puts it on worker->dead,
 * and at the end of the turn dispatch_free() writes its line of the access log, closes its
 * descriptors and gives everything back.
 *
 * "Dirty" is a session with bytes that were queued in this turn: they are sent together at the
 * turn's end, by dispatch_flush(). A request in WAIT waits for a slot at a backend (wait.h);
 * dispatch_on_wait_timer() lets each of them try again.
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
#include "proxy/closing.h"
#include "proxy/connect.h"
#include "proxy/exchange.h"
#include "proxy/listener.h"
#include "proxy/names.h"
#include "proxy/pick.h"
#include "proxy/quiet.h"
#include "proxy/relay.h"
#include "proxy/request.h"
#include "proxy/response.h"
#include "proxy/splice.h"
#include "proxy/wait.h"
#include "proxy/worker.h"
#include "util/slab.h"

/* So many pools that are full are remembered in one pass; with more, some are asked again. */
#define MAX_FULL 16

/* After a step: frees what a session that is DEAD or CLOSING does not need any more. */
static void after_step(struct session *s)
{
	if (s->state == SESS_DEAD)
		session_reap(s);
	else if (s->state == SESS_CLOSING && conn_is_open(s->conn[BACKEND]) &&
		 s->conn[BACKEND]->in_flight == 0 && !closing_needs_backend(s))
		session_close_backend(s);
}

/* ---- timers ---------------------------------------------------------------------------------- */

/* The time-out of a session that is BUSY. */
static void on_request_timeout(struct session *s)
{
	switch ((enum exchange_state)s->x->state) {
	case EXCHANGE_HEAD: request_on_timeout(s); break;
	case EXCHANGE_WAIT: pick_on_timeout(s); break;
	case EXCHANGE_CONNECT: connect_on_timeout(s); break;
	case EXCHANGE_SEND:
	case EXCHANGE_AWAIT: response_on_timeout(s); break;
	case EXCHANGE_BODY: relay_on_timeout(s); break;
	case EXCHANGE_PICK: /* is left in the step that enters it */
	case EXCHANGE_DONE:
	case EXCHANGE_N_STATES: LB_ASSERT(false);
	}
}

static void on_timeout(struct timer *t, void *arg)
{
	struct session *s = container_of(t, struct session, timer);

	(void)arg;
	switch ((enum sess_state)s->state) {
	case SESS_IDLE: request_on_timeout(s); break;
	case SESS_BUSY: on_request_timeout(s); break;
	case SESS_TUNNEL: relay_on_timeout(s); break;
	case SESS_CLOSING: closing_on_timeout(s); break;
	case SESS_PREAMBLE:
	case SESS_DEAD:
	case SESS_N_STATES: LB_ASSERT(false);
	}
	after_step(s);
}

/* Lets a request that waits for a slot try again. Returns false where it goes on waiting. */
static bool try_again(struct session *s)
{
	if (!pick_try_again(s))
		return false;
	after_step(s);
	return true;
}

/* Lets all requests in WAIT try again in their order. When one finds its pool full, the later ones
 * of the same pool do not try. */
static void try_all_again(struct worker *w)
{
	const struct pool *full[MAX_FULL];
	size_t n_full = 0;

	list_for_each(it, &w->waiting)
	{
		struct session *s = list_entry(it, struct exchange, link)->session;
		size_t i = 0;
		while (i < n_full && full[i] != s->pool)
			i++;
		if (i < n_full || try_again(s))
			continue;
		/* A request that has tried backends before passes over them, and the next request
		 * need not. */
		if (s->x->n_tries == 0 && n_full < MAX_FULL)
			full[n_full++] = s->pool;
	}
}

void dispatch_on_wait_timer(struct timer *t, void *arg)
{
	struct worker *w = arg;

	worker_assert_owner(w);
	LB_ASSERT(t == &w->wait_timer);
	try_all_again(w);
	if (w->n_waiting > 0)
		wait_look(w);
}

/* ---- the end of a turn ----------------------------------------------------------------------- */

void dispatch_flush(struct session *s)
{
	s->is_dirty = false;
	for (enum dir d = TO_BACKEND; d <= TO_CLIENT; d++) {
		struct flow *f = session_flow(s, d);
		if (!f->is_dirty)
			continue;
		f->is_dirty = false;
		if (session_is_relaying(s) || session_awaits_response(s) ||
		    s->state == SESS_CLOSING)
			relay_go_on(s, d);
	}
	relay_check(s);
	after_step(s);
}

/* ---- the end of a session -------------------------------------------------------------------- */

/* The code of the Close frame that came first, from either side. */
static uint16_t close_code(const struct session *s)
{
	const struct flow *to_backend = session_flow(s, TO_BACKEND);
	const struct flow *to_client = session_flow(s, TO_CLIENT);

	if (to_backend->kind != FLOW_WS)
		return 0;
	bool was_clients = ws_track_was_first(&to_backend->ws);
	return ws_track_close_code(was_clients ? &to_backend->ws : &to_client->ws);
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
		.bytes_in = session_flow(s, TO_BACKEND)->n_sent,
		.bytes_out = session_flow(s, TO_CLIENT)->n_sent,
		.duration_ns = now_ns - s->start_ns,
		.handshake_ms = s->handshake_ms,
		.end = s->end,
		.ws_close = close_code(s),
		.error = s->x != NULL ? s->x->error : NULL,
	};

	w->access(w->access_arg, &r);
}

/* Counts the end for the worker, and for the session's pool where one was known. */
static void count_end(struct session *s)
{
	_Static_assert((int)SESS_N_ENDS <= POOL_MAX_ENDS, "a pool has a counter for each reason");
	struct worker_stats *stats = s->worker->stats;

	counter_add(&stats->ends[s->end], 1);
	if (s->pool != NULL)
		pool_count_end(s->pool, s->end);
	else
		counter_add(&stats->ends_before_pool[s->end], 1);
}

void dispatch_free(struct session *s)
{
	struct worker *w = s->worker;

	worker_assert_owner(w);
	LB_ASSERT(s->state == SESS_DEAD && !session_is_in_flight(s) && s->end != SESS_END_NONE);
	list_del(&s->link);
	if (w->access != NULL)
		report(s);

	session_close_backend(s);
	session_close(s, CLIENT);
	for (enum dir d = TO_BACKEND; d <= TO_CLIENT; d++) {
		queue_clear(&session_flow(s, d)->queue, w->loop->bufs);
		splice_drop(s, d);
	}
	for (enum side side = CLIENT; side < N_SIDES; side++)
		s->conn[side] = conn_free(&w->conns, s->conn[side]);
	if (s->x != NULL)
		worker_return_exchange(w, s->x);
	count_end(s);
	backend_unref(s->backend);
	pool_unref(s->pool);
	names_unref(s->route);

	counter_sub(&w->stats->active, 1);
	listen_socket_session_ended(s->from);
	slab_put(w->sessions, s);
	w->n_sessions--;
	capacity_release(w);
}

/* ---- birth ----------------------------------------------------------------------------------- */

/* A session and its two ends, zeroed but for their links; NULL when memory is short. */
static struct session *get_with_ends(struct worker *w)
{
	if (slab_reserve(w->sessions, 1) < 0 || slab_reserve(w->conns.slab, N_SIDES) < 0)
		return NULL;
	struct session *s = slab_get(w->sessions);
	if (s == NULL)
		return NULL;
	s->conn[CLIENT] = conn_new(&w->conns, s, CLIENT);
	s->conn[BACKEND] = conn_new(&w->conns, s, BACKEND);
	if (s->conn[CLIENT] != NULL && s->conn[BACKEND] != NULL)
		return s;
	conn_free(&w->conns, s->conn[CLIENT]);
	conn_free(&w->conns, s->conn[BACKEND]);
	slab_put(w->sessions, s);
	return NULL;
}

struct session *dispatch_new(struct worker *w, struct listen_socket *from, int fd)
{
	struct sockaddr_storage sa;

	worker_assert_owner(w);
	struct exchange *x = worker_lend_exchange(w);
	struct session *s = x != NULL ? get_with_ends(w) : NULL;

	if (s == NULL) { /* out of memory */
		if (x != NULL)
			worker_return_exchange(w, x);
		loop_close(w->loop, fd);
		w->is_short = true; /* capacity_reserve() finds out when there is some again */
		return NULL;
	}

	s->worker = w;
	s->from = from;
	conn_open(s->conn[CLIENT], fd);
	s->x = x;
	x->session = s;
	list_init(&x->link);
	s->id = worker_next_id(w);
	s->start_ns = loop_now_ns(w->loop);
	s->active_ms = loop_now_ms(w->loop);
	s->is_http = from->pl->conf->mode == CONF_MODE_HTTP;
	bool is_there = loop_peername(w->loop, fd, &sa) == 0;
	s->client = (struct addr){
		.family = AF_INET
	}; /* 0.0.0.0: the kernel does not know it any more */
	if (is_there)
		addr_from_sockaddr((struct sockaddr *)&sa, &s->client);
	list_init(&s->link);
	timer_init(&s->timer, on_timeout);
	session_flow(s, TO_BACKEND)->kind = FLOW_HOLD;
	x->snapshot = snapshot_ref(from->snapshot);
	x->pl = from->pl;

	w->n_sessions++;
	counter_add(&w->stats->accepted, 1);
	counter_add(&w->stats->active, 1);
	counter_add(&w->stats->handshaking, 1);
	if (!is_there) /* the client has reset the connection already */
		session_close_now(s, SESS_END_CLIENT_RESET);
	else if (s->is_http)
		request_start(s);
	else
		pick_start_tcp(s);
	after_step(s);
	return s;
}

/* ---- completions ----------------------------------------------------------------------------- */

/* A receive's completion in BUSY. Before SEND there is none on the backend's end. */
static void on_request_recv(struct session *s, enum side side, const struct completion *c)
{
	switch ((enum exchange_state)s->x->state) {
	case EXCHANGE_HEAD: request_on_recv(s, c); return;
	case EXCHANGE_WAIT:
	case EXCHANGE_CONNECT: response_on_client_recv(s, c); return;
	case EXCHANGE_SEND:
	case EXCHANGE_AWAIT:
		if (side == CLIENT)
			response_on_client_recv(s, c);
		else
			response_on_recv(s, c);
		return;
	case EXCHANGE_BODY: relay_on_recv(s, side, c); return;
	case EXCHANGE_PICK:
	case EXCHANGE_DONE:
	case EXCHANGE_N_STATES: LB_ASSERT(false);
	}
}

/* A receive's completion on either side, in any state. */
static void on_recv(struct session *s, enum side side, const struct completion *c)
{
	switch ((enum sess_state)s->state) {
	case SESS_IDLE: request_on_recv(s, c); return;
	case SESS_BUSY: on_request_recv(s, side, c); return;
	case SESS_TUNNEL: relay_on_recv(s, side, c); return;
	case SESS_CLOSING: closing_on_recv(s, side, c); return;
	case SESS_DEAD:
		if (c->buf != NULL)
			buf_put(s->worker->loop->bufs, c->buf);
		return;
	case SESS_PREAMBLE:
	case SESS_N_STATES: LB_ASSERT(false);
	}
}

static void on_send(struct session *s, enum dir d, const struct completion *c)
{
	if (s->state == SESS_CLOSING) {
		closing_on_send(s, d, c);
		return;
	}
	relay_on_send(s, d, c);
	if (session_awaits_response(s) && d == TO_BACKEND)
		response_on_sent(s);
}

static void on_error_poll(struct session *s, enum side side, const struct completion *c)
{
	if (session_is_over(s) || c->res == -ECANCELED)
		return;
	bool is_error = c->res < 0 || c->res & (POLLERR | POLLHUP);

	if (s->state == SESS_TUNNEL)
		relay_on_error_poll(s, side, c);
	else if (side == CLIENT && is_error)
		session_close_now(s, SESS_END_CLIENT_RESET);
	else if (side == CLIENT) /* its FIN */
		quiet_client_fin(s);
	else if (!is_error && s->conn[side]->rx == RX_OPEN)
		conn_set_rx(s->conn[side], RX_ENDING);
	/* A backend's error is found by the receive that is armed on its end. */
}

void dispatch_on_completion(void *arg, const struct completion *c)
{
	struct worker *w = arg;
	const struct conn *end = conn_find(&w->conns, c);
	struct session *s = end->owner;
	enum side side = (enum side)end->role;

	LB_ASSERT(s->worker == w && s->conn[side] == end);
	switch ((enum conn_op)tag_kind(c->tag)) {
	case CONN_RECV: on_recv(s, side, c); break;
	case CONN_SEND: on_send(s, dir_to(side), c); break;
	case CONN_ERR: on_error_poll(s, side, c); break;
	case CONN_READABLE: relay_on_splice_in(s, dir_from(side), c); break;
	case CONN_WRITABLE: relay_on_splice_out(s, dir_to(side), c); break;
	case CONN_ROOM: relay_on_room(s, dir_to(side), c); break;
	case CONN_CONNECT: pick_on_connect(s, c); break;
	case CONN_N_OPS: LB_ASSERT(false);
	}
	after_step(s);
}
