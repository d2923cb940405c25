/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dispatch: the ceiling of a session's code. A completion, a timer or the end of a turn comes in
 * here. It is passed to the step that belongs to the session's state, or, while the session is
 * BUSY, to the request's state:
 *
 *   PREAMBLE                 preamble.c   a PROXY header is read, a handshake of TLS is done
 *   IDLE, BUSY in HEAD       request.c    the request's head is read and routed
 *   BUSY in WAIT to CONNECT  pick.c       a backend is chosen and connected to (connect.c)
 *   BUSY in SEND, AWAIT      response.c   the request goes out, the head of the response comes
 *   BUSY in BODY, TUNNEL     relay.c      bytes pass both ways
 *   CLOSING                  closing.c    the last bytes are delivered
 *
 * A step is a function of one of these files. A step may change the states, start operations and
 * end the session, but it calls no function of this file. When the step has returned, after_step()
 * looks at the session's state. So no session is freed while a function works on it.
 *
 * This file also makes and frees sessions. dispatch_new() makes a session of an accepted
 * descriptor. When a session ends, session_close_now() moves it to DEAD and cancels its operations.
 * When the last completion has come, session_reap() puts the session on worker->dead. At the end of
 * the turn dispatch_free() writes the session's line of the access log, closes its descriptors and
 * gives everything back.
 *
 * A session is "dirty" when bytes were queued for one of its ends in this turn; dispatch_flush()
 * sends these bytes together at the turn's end. A request in WAIT waits for a slot at a backend
 * (wait.h); dispatch_on_wait_timer() lets each of these requests try again.
 *
 * Thread: owner worker. Hot: no allocation, no lock.
 */
#include "proxy/dispatch.h"

#include <errno.h>
#include <poll.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "net/sock.h"
#include "net/tls.h"
#include "proxy/capacity.h"
#include "proxy/closing.h"
#include "proxy/connect.h"
#include "proxy/exchange.h"
#include "proxy/flow.h"
#include "proxy/listener.h"
#include "proxy/names.h"
#include "proxy/origin.h"
#include "proxy/pick.h"
#include "proxy/preamble.h"
#include "proxy/quiet.h"
#include "proxy/records.h"
#include "proxy/relay.h"
#include "proxy/request.h"
#include "proxy/response.h"
#include "proxy/splice.h"
#include "proxy/tls_note.h"
#include "proxy/wait.h"
#include "proxy/worker.h"
#include "util/slab.h"

/* One pass over the waiting requests remembers this many full pools. When more pools are full, a
 * pool that is not remembered is asked again for each of its requests. */
#define MAX_FULL 16

/* Called after each step. Puts a DEAD session on worker->dead, and closes the backend's end of a
 * CLOSING session, as soon as no operation is in flight there. */
static void after_step(struct session *s)
{
	if (s->state == SESS_DEAD)
		session_reap(s);
	else if (s->state == SESS_CLOSING && conn_is_open(s->conn[BACKEND]) &&
		 s->conn[BACKEND]->in_flight == 0 && !closing_needs_backend(s))
		session_close_backend(s);
}

/* ---- timers ---------------------------------------------------------------------------------- */

/* Passes the time-out of a BUSY session to the step of its request's state. */
static void on_request_timeout(struct session *s)
{
	switch ((enum exchange_state)s->x->state) {
	case EXCHANGE_HEAD: request_on_timeout(s); break;
	case EXCHANGE_WAIT: pick_on_timeout(s); break;
	case EXCHANGE_CONNECT: connect_on_timeout(s); break;
	case EXCHANGE_SEND:
	case EXCHANGE_AWAIT: response_on_timeout(s); break;
	case EXCHANGE_BODY: relay_on_timeout(s); break;
	case EXCHANGE_PICK: /* the step that enters PICK also leaves it */
	case EXCHANGE_DONE:
	case EXCHANGE_N_STATES: LB_ASSERT(false);
	}
}

static void on_timeout(struct timer *t, void *arg)
{
	struct session *s = container_of(t, struct session, timer);

	(void)arg;
	switch ((enum sess_state)s->state) {
	case SESS_PREAMBLE: preamble_on_timeout(s); break;
	case SESS_IDLE: request_on_timeout(s); break;
	case SESS_BUSY: on_request_timeout(s); break;
	case SESS_TUNNEL: relay_on_timeout(s); break;
	case SESS_CLOSING: closing_on_timeout(s); break;
	case SESS_DEAD:
	case SESS_N_STATES: LB_ASSERT(false);
	}
	after_step(s);
}

/* Lets a request that waits for a slot try again. Returns false when the request goes on waiting.
 */
static bool try_again(struct session *s)
{
	if (!pick_try_again(s))
		return false;
	after_step(s);
	return true;
}

/* Lets all requests in WAIT try again, in the order of the queue. When a request finds its pool
 * full, the later requests for the same pool do not try. */
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
		/* A request passes over the backends that it has tried before. So such a request
		 * may find no slot while the next one for the pool finds a slot: the pool does not
		 * count as full. */
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

/* Returns the code of the first Close frame in either direction; 0: there was none. */
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

	if (s->tls != NULL) {
		r.tls_version = s->tls->version;
		r.cipher = s->tls->cipher;
		r.sni = s->tls->sni;
		r.client_cert = s->tls->subject;
	}

	w->access(w->access_arg, &r);
}

/* Counts the session's end for the worker, and for the session's pool if the pool was known. */
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

static void drop_tls(struct worker *w, struct conn *c)
{
	struct tls *t = conn_tls(c);

	if (t == NULL)
		return;
	c->in.tls = tls_free(w->tls, t);
	c->in.is_tls = false;
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
	for (enum side side = CLIENT; side < N_SIDES; side++) {
		drop_tls(w, s->conn[side]);
		s->conn[side] = conn_free(&w->conns, s->conn[side]);
	}
	if (s->x != NULL)
		worker_return_exchange(w, s->x);
	count_end(s);
	backend_unref(s->backend);
	pool_unref(s->pool);
	names_unref(s->route);
	s->tls = tls_note_free(s->tls);

	counter_sub(&w->stats->active, 1);
	listen_socket_session_ended(s->from);
	slab_put(w->sessions, s);
	w->n_sessions--;
	capacity_release(w);
}

/* ---- birth ----------------------------------------------------------------------------------- */

/* Returns a session with its two ends, all zeroed except for the pointers between them. NULL when
 * memory is short. */
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

/* The preamble is over, or there is none: the first request is awaited, or the tunnel begins. */
static void begin(struct session *s)
{
	if (s->is_http)
		request_start(s);
	else
		pick_start_tcp(s);
}

/* The PROXY header is read, or none is awaited: a handshake of TLS comes next, or the beginning. */
static void begin_tls(struct session *s)
{
	if (s->x->pl->tls != NULL)
		preamble_start_tls(s, s->x->pl->tls[s->worker->id]);
	else
		begin(s);
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
		w->is_short = true; /* capacity_reserve() looks whether there is memory again */
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
	}; /* 0.0.0.0 stands for the unknown address of a client that has reset */
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
	else if (origin_is_announced(from->pl->conf, &s->client))
		preamble_start_proxy(s);
	else
		begin_tls(s);
	after_step(s);
	return s;
}

/* ---- completions ----------------------------------------------------------------------------- */

/* Handles the completion of a receive of a session in BUSY. Until its exchange is in SEND, no
 * receive is armed on the backend's end, so `side` is the client's. */
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

static void on_recv(struct session *s, enum side side, const struct completion *c);

/*
 * Handles the completion of a receive in PREAMBLE. What came behind a PROXY header is given to the
 * step that comes next, in a completion of its own, as if it had just been received.
 */
static void on_preamble_recv(struct session *s, const struct completion *c)
{
	struct buf *rest = NULL;

	if (!s->x->awaits_proxy) {
		preamble_on_recv(s, c);
		return;
	}
	if (!preamble_read_proxy(s, c, &rest))
		return;
	begin_tls(s);
	if (rest != NULL)
		on_recv(s, CLIENT,
			&(struct completion){ .tag = c->tag,
					      .res = (int)rest->len,
					      .buf = rest,
					      .more = flow_is_receiving(s, TO_BACKEND) });
}

/* Handles the completion of a receive on either side, in any state. */
static void on_recv(struct session *s, enum side side, const struct completion *c)
{
	switch ((enum sess_state)s->state) {
	case SESS_PREAMBLE: on_preamble_recv(s, c); return;
	case SESS_IDLE: request_on_recv(s, c); return;
	case SESS_BUSY: on_request_recv(s, side, c); return;
	case SESS_TUNNEL: relay_on_recv(s, side, c); return;
	case SESS_CLOSING: closing_on_recv(s, side, c); return;
	case SESS_DEAD:
		if (c->buf != NULL)
			buf_put(s->worker->loop->bufs, c->buf);
		return;
	case SESS_N_STATES: LB_ASSERT(false);
	}
}

/*
 * Gives what the records have brought to the step, in one completion for each buffer. The last one
 * says how the receive itself stands: that the stream has ended, or, as when no buffer was there,
 * that no receive is armed any more.
 */
static void on_records(struct session *s, enum side side, const struct completion *c)
{
	const struct tls *t = conn_tls(s->conn[side]);
	struct queue plain = { 0 };
	uint64_t tag = c != NULL ? c->tag : 0;

	if (c != NULL && !tls_is_started(t)) {
		/* The handshake has failed, or a record was broken: CLOSING and DEAD drop bytes. */
		LB_ASSERT(session_is_over(s) || s->conn[side]->rx == RX_RESET);
		on_recv(s, side, c);
		return;
	}
	int end = records_open(s, side, c, &plain);
	bool is_armed = c == NULL || c->more;

	for (struct buf *b; (b = queue_pop(&plain)) != NULL;)
		on_recv(s, side,
			&(struct completion){
				.tag = tag, .res = (int)b->len, .buf = b, .more = true });
	if (end != RECORDS_GO_ON)
		on_recv(s, side, &(struct completion){ .tag = tag, .res = end, .more = is_armed });
	else if (!is_armed)
		on_recv(s, side, &(struct completion){ .tag = tag, .res = -ENOBUFS });
}

/* Steps of handshakes in one turn, then other sessions have theirs. A step takes up to a
 * millisecond. A guess. */
#define SHAKE_STEPS 2

void dispatch_on_shake_timer(struct timer *t, void *arg)
{
	struct worker *w = arg;

	worker_assert_owner(w);
	LB_ASSERT(t == &w->shake_timer);
	for (int i = 0; i < SHAKE_STEPS && !list_is_empty(&w->shaking); i++) {
		struct session *s = list_entry(w->shaking.next, struct session, link);
		list_del(&s->link);
		if (preamble_step(s)) {
			begin(s);
			on_records(s, CLIENT, NULL); /* what came behind the handshake */
		}
		after_step(s);
	}
	uint32_t in_ms = preamble_admit(w);
	if (!list_is_empty(&w->shaking))
		loop_timer_start(w->loop, t, 0);
	else if (in_ms != UINT32_MAX)
		loop_timer_start(w->loop, t, in_ms);
}

static void on_send(struct session *s, enum dir d, const struct completion *c)
{
	if (s->state == SESS_CLOSING) {
		closing_on_send(s, d, c);
		return;
	}
	if (s->state == SESS_PREAMBLE) {
		preamble_on_send(s, c);
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
	else if (side == CLIENT) /* the client has sent its FIN */
		quiet_client_fin(s);
	else if (!is_error && s->conn[side]->rx == RX_OPEN)
		conn_set_rx(s->conn[side], RX_ENDING);
	/* An error of the backend is left to the receive that is armed on its end. */
}

void dispatch_on_completion(void *arg, const struct completion *c)
{
	struct worker *w = arg;
	const struct conn *end = conn_find(&w->conns, c);
	struct session *s = end->owner;
	enum side side = (enum side)end->role;

	LB_ASSERT(s->worker == w && s->conn[side] == end);
	switch ((enum conn_op)tag_kind(c->tag)) {
	case CONN_RECV:
		if (end->in.is_tls && s->state != SESS_PREAMBLE)
			on_records(s, side, c);
		else
			on_recv(s, side, c);
		break;
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
