/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay: what an event on one of the two flows means for the pair.
 *
 * The rules:
 *
 * - A flow holds at most its limit of bytes (flow.c), then its source is not read; a receive is
 *   armed with the room that is left.
 * - One send is in flight per flow; what gathers behind it, or within a turn, goes out together.
 * - A FIN is passed on once what came before it is out; a reset once that was acknowledged.
 * - A failed send ends only that flow: the other is read to its end, for the peer's last words.
 * - A side that is not read is polled for errors, so that its reset is noticed.
 *
 * A flow is over when its end was passed on, or when its destination takes no more. A tunnel ends
 * when both flows are over, a plain request when its response is. How the two sides are closed then
 * (at once, after lingering, by a reset) is decided by finish() and done in closing.c.
 *
 * The bytes of a plain message go through take_body(): exactly its body passes. In bulk the bytes
 * of a tunnel go through a pipe; relay_splice() drives splice.c.
 *
 * Thread: owner worker. Hot: no allocation, no lock.
 */
#include "proxy/relay.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "net/tcp_state.h"
#include "proxy/answer.h"
#include "proxy/closing.h"
#include "proxy/exchange.h"
#include "proxy/flow.h"
#include "proxy/quiet.h"
#include "proxy/splice.h"
#include "proxy/tunnel.h"
#include "proxy/worker.h"

/* Bytes a spliced flow may move in one turn, then others have theirs. */
#define TURN_BYTES (256u << 10)

/* ---- reasons --------------------------------------------------------------------------------- */

enum sess_end relay_find_reason(const struct session *s, enum side side, int error)
{
	bool is_client = side == CLIENT;

	LB_ASSERT(error <= 0 && s->pool != NULL);
	if (error == -ETIMEDOUT) {
		uint32_t user_ms = pool_user_ms(s->pool);
		if (user_ms != CONF_OFF &&
		    tcp_state_is_alive(s->worker->loop, s->conn[side]->fd, user_ms))
			return is_client ? SESS_END_CLIENT_STALLED : SESS_END_BACKEND_STALLED;
		return is_client ? SESS_END_CLIENT_VANISHED : SESS_END_BACKEND_VANISHED;
	}
	if (error == -EHOSTUNREACH || error == -ENETUNREACH || error == -EHOSTDOWN)
		return is_client ? SESS_END_CLIENT_VANISHED : SESS_END_BACKEND_VANISHED;
	return is_client ? SESS_END_CLIENT_RESET : SESS_END_BACKEND_RESET;
}

/* ---- time ------------------------------------------------------------------------------------ */

static bool is_half_closed(const struct session *s)
{
	const struct conn *c = s->conn[CLIENT], *b = s->conn[BACKEND];

	return c->rx >= RX_EOF || b->rx >= RX_EOF || c->tx == TX_CLOSED || b->tx == TX_CLOSED;
}

static uint32_t quiet_limit_ms(const struct session *s)
{
	if (s->state != SESS_TUNNEL)
		return s->x->conf->body_ms;
	return is_half_closed(s) ? pool_half_closed_ms(s->pool) : pool_idle_ms(s->pool);
}

void relay_watch_time(struct session *s)
{
	session_timeout(s, quiet_patience_ms(s, quiet_limit_ms(s)));
}

void relay_on_timeout(struct session *s)
{
	uint32_t limit_ms = quiet_limit_ms(s);

	LB_ASSERT(session_is_relaying(s));
	if (!quiet_judge(s, BOTH_SIDES, &s->active_ms, quiet_patience_ms(s, limit_ms),
			 quiet_shut_out_ms(limit_ms)))
		return;
	if (quiet_may_have_left(s))
		session_close_now(s, SESS_END_CLIENT_CLOSED);
	else
		session_close_now(s, s->state == SESS_TUNNEL && is_half_closed(s)
					     ? SESS_END_HALF_CLOSED
					     : SESS_END_IDLE);
}

static void relay_splice(struct session *s, enum dir d);

/* ---- reading --------------------------------------------------------------------------------- */

void relay_read(struct session *s, enum side from)
{
	enum dir d = dir_from(from);

	if (!conn_is_open(s->conn[from]) || flow_is_receiving(s, d))
		return;
	if (flow_is_ended(s, d))
		flow_watch_errors(s, from);
	else if (session_flow(s, d)->pipe != NULL || splice_most(s, d) > 0)
		relay_splice(s, d);
	else
		flow_receive(s, d);
}

/* A body is malformed: that is answered, unless an answer is on its way already and can only be
 * cut. */
static void refuse_body(struct session *s, enum side from)
{
	struct flow *response = session_flow(s, TO_CLIENT);

	if (from == CLIENT && !session_is_relaying(s)) {
		answer_error(s, OUTCOME_BAD_REQUEST, "malformed chunked body");
		return;
	}
	if (from == CLIENT) {
		session_close_now(s, SESS_END_BAD_REQUEST);
		return;
	}
	backend_count_failure(s->backend, s->worker->id);
	if (response->n_sent == 0 && !flow_is_sending(s, TO_CLIENT)) {
		queue_clear(&response->queue, s->worker->loop->bufs);
		answer_error(s, OUTCOME_BAD_RESPONSE, "malformed chunked body from the backend");
		return;
	}
	/* What came before is delivered, then the client is reset (finish()). */
	session_set_end_reason(s, SESS_END_BAD_RESPONSE);
	s->x->is_cut_off = true;
}

/*
 * Puts what a body that is over still owes behind its last bytes, in `b`, or in a buffer of its own
 * where `b` is full (a queue is a list of such). Returns the buffer that is to be queued last.
 */
static struct buf *add_owed(struct session *s, enum side from, struct buf *b)
{
	struct buf_pool *pool = s->worker->loop->bufs;
	uint8_t owed[BODY_OWED_MAX];
	uint32_t n = (uint32_t)body_take_owed(&s->x->body[from], owed);

	if (n > b->cap - b->off - b->len) {
		(void)buf_reserve(pool, BUF_SMALL, 1);
		struct buf *more = buf_get(pool, BUF_SMALL);
		if (more == NULL) {
			session_close_now(s,
					  SESS_END_NO_BACKEND); /* which cuts it short: a reset */
			return b;
		}
		queue_push(&s->conn[from]->in.queue, pool, b);
		b = more;
	}
	LB_ASSERT(b->off + b->len + n <= b->cap);
	memcpy(b->data + b->off + b->len, owed, n);
	b->len += n;
	return b;
}

/* Behind the body of a request that asks for an upgrade the tunnel begins: it waits for the 101. */
static void hold_rest(struct session *s, const uint8_t *p, size_t n, enum buf_class size_class)
{
	struct buf_pool *pool = s->worker->loop->bufs;

	session_flow(s, TO_BACKEND)->kind = FLOW_HOLD;
	if (n == 0)
		return;
	(void)buf_reserve(pool, size_class, 1);
	struct buf *rest = buf_get(pool, size_class); /* as large as the one that it was in */
	if (rest == NULL) {
		answer_out_of_memory(s);
		return;
	}
	LB_ASSERT(n <= rest->cap);
	memcpy(rest->data, p, n);
	rest->len = (uint32_t)n;
	queue_push(&s->x->held, pool, rest);
}

/* Lets the bytes of a message's body pass, and nothing behind it. */
static struct buf *take_body(struct session *s, enum side from, struct buf *b)
{
	struct conn *c = s->conn[from];
	uint8_t *p = b->data + b->off;
	size_t n = b->len;
	struct body_fed fed;
	enum body_verdict v = body_feed(&s->x->body[from], p, n, &fed);

	LB_ASSERT(fed.kept <= n && fed.used <= n);
	b->len = (uint32_t)fed.kept;
	if (v == BODY_MORE)
		return b;
	if (v == BODY_DONE && from == CLIENT && s->x->upgrade.kind != UPGRADE_NONE) {
		hold_rest(s, p + fed.used, n - fed.used, b->size_class);
		return add_owed(s, from, b);
	}

	c->in.kind = FLOW_DONE;
	conn_cancel(&s->worker->conns, c, CONN_RECV);
	if (v == BODY_BAD)
		refuse_body(s, from);
	else
		b = add_owed(s, from, b);
	if (v != BODY_BAD && from == CLIENT && c->rx != RX_OPEN)
		quiet_client_fin(s);
	return b;
}

void relay_take(struct session *s, enum side from, struct buf *b)
{
	enum dir d = dir_from(from);
	struct flow *f = session_flow(s, d);
	struct buf_pool *pool = s->worker->loop->bufs;
	enum flow_kind kind = f->kind; /* a body's last bytes are still the body's */

	LB_ASSERT(b->len > 0 && b->off + b->len <= b->cap);
	LB_ASSERT(s->x != NULL || (kind != FLOW_HOLD && kind != FLOW_BODY));
	if (flow_is_stopped(s, d) || flow_is_ended(s, d)) {
		buf_put(pool, b);
		return;
	}
	if (kind == FLOW_WS)
		tunnel_track(s, d, b->data + b->off, b->len);
	else if (kind == FLOW_BODY)
		b = take_body(s, from, b);

	if (b->len == 0 || session_is_over(s)) {
		buf_put(pool, b);
		if (session_is_relaying(s))
			session_mark_dirty(s, d); /* for relay_check(): the body may be over */
		return;
	}
	if (kind == FLOW_HOLD) {
		queue_push(&s->x->held, pool, b);
		return;
	}
	queue_push(&f->queue, pool, b);
	session_mark_dirty(s, d);
}

/* Nothing more can be sent to `side`: what waits for it is dropped, its source is no longer read.
 */
static void stop_sending_to(struct session *s, enum side side)
{
	enum dir d = dir_to(side);
	struct flow *f = session_flow(s, d);

	if (flow_is_stopped(s, d))
		return;
	conn_set_tx(s->conn[side], TX_CLOSED);
	/* While a send is in flight the kernel has its buffers: relay_on_send() clears then. */
	if (!flow_is_sending(s, d))
		queue_clear(&f->queue, s->worker->loop->bufs);
	splice_drop(s, d);
	conn_cancel(&s->worker->conns, s->conn[dir_source(d)], CONN_RECV);
	if (!session_is_relaying(s))
		return;
	if (!flow_is_receiving(s, d))
		flow_watch_errors(s, dir_source(d));
	relay_watch_time(s); /* half closed from here on */
}

void relay_on_error_poll(struct session *s, enum side side, const struct completion *done)
{
	struct conn *c = s->conn[side];

	LB_ASSERT(s->state == SESS_TUNNEL);
	if (done->res == -ECANCELED || c->rx >= RX_EOF || conn_is_in_flight(c, CONN_RECV))
		return;
	/*
	 * Its end, or its error, waits in the kernel behind our back-pressure: what came before is
	 * read when there is room, and then the rest is found. Until then no poll would tell
	 * anything new.
	 */
	if (c->rx == RX_OPEN)
		conn_set_rx(c, RX_ENDING);
	bool is_gone = done->res < 0 || done->res & POLLERR ||
		       (done->res & POLLHUP && c->tx == TX_OPEN); /* else: both ways have ended */
	if (is_gone)
		stop_sending_to(s, side);
	relay_read(s, side);
	relay_check(s);
}

/* ---- ends ------------------------------------------------------------------------------------ */

/* Whether the client gets the response's body without the framing that tells where it ends. */
static bool is_unframed(const struct session *s, enum side from)
{
	return from == BACKEND && s->conn[BACKEND]->in.kind == FLOW_BODY &&
	       body_is_unframed(&s->x->body[BACKEND]);
}

static bool is_until_close(const struct session *s, enum side from)
{
	return from == BACKEND && s->conn[BACKEND]->in.kind == FLOW_BODY &&
	       body_is_until_close(&s->x->body[BACKEND]);
}

/* The end of a side whose message was over before: of a backend nothing more is wanted. */
static void idle_source_ended(struct session *s, enum side from, int error)
{
	if (from == BACKEND || s->conn[from]->rx >= RX_EOF)
		return;
	conn_ended(s->conn[from], error);
	if (s->conn[from]->rx == RX_RESET)
		session_close_now(s, relay_find_reason(s, from, error));
	else
		quiet_client_fin(s);
}

/* `from` has ended: by a FIN (error 0), or by a negative errno. */
static void source_ended(struct session *s, enum side from, int error)
{
	struct conn *c = s->conn[from];

	LB_ASSERT(error <= 0 && error != -EAGAIN);
	if (flow_is_ended(s, dir_from(from))) {
		idle_source_ended(s, from, error);
		return;
	}
	if (is_unframed(s, from))
		s->x->is_cut_off = true; /* it would look whole behind a FIN */
	conn_ended(c, error);
	s->active_ms = loop_now_ms(s->worker->loop);
	if (c->rx == RX_RESET) {
		session_set_end_reason(s, relay_find_reason(s, from, error));
		stop_sending_to(s, from);
	} else if (!is_until_close(s, from)) {
		session_set_end_reason(s, from == CLIENT ? SESS_END_CLIENT_CLOSED
							 : SESS_END_BACKEND_CLOSED);
	}
	if (!session_is_relaying(s))
		return;
	relay_check(s);
	if (session_is_relaying(s))
		relay_watch_time(s);
}

/* Whether all that is to go `d` is out. */
static bool is_over(const struct session *s, enum dir d)
{
	const struct flow *f = session_flow(s, d);

	if (s->conn[dir_destination(d)]->tx != TX_OPEN)
		return true;
	return flow_is_ended(s, d) && queue_is_empty(&f->queue) && flow_bytes_in_pipe(f) == 0 &&
	       !flow_is_sending(s, d);
}

/* Both flows are over. How the sides are closed depends on how they ended. */
static void finish(struct session *s)
{
	bool is_tunnel = s->state == SESS_TUNNEL;

	LB_ASSERT(is_over(s, TO_CLIENT) && (!is_tunnel || is_over(s, TO_BACKEND)));
	if (flow_ends_in_reset(s, TO_BACKEND))
		closing_reset(s, BACKEND);
	else if (flow_ends_in_reset(s, TO_CLIENT))
		closing_reset(s, CLIENT);
	else if (is_tunnel && !flow_is_ended(s, TO_CLIENT))
		closing_reset(s, BACKEND); /* what it sends has no destination: as without lb */
	else if (!is_tunnel || !flow_is_ended(s, TO_BACKEND))
		closing_linger(s); /* unread bytes would turn our close into a reset */
	else
		session_close_now(s, SESS_END_BACKEND_CLOSED);
	LB_ASSERT(session_is_over(s));
}

/* A flow is over: its end is passed on as a FIN, if it is one. */
static void pass_end(struct session *s, enum dir d)
{
	struct conn *to = s->conn[dir_destination(d)];
	/* The end of a plain request is none of the client's side. */
	bool is_fin = !flow_ends_in_reset(s, d) && (s->state == SESS_TUNNEL || d == TO_CLIENT);
	/* Where the other direction has ended so, both sides are closed now: no less a FIN. */
	bool is_last = s->conn[dir_source(d)]->tx == TX_SHUT;

	if (to->tx == TX_OPEN && is_fin && !is_last)
		conn_shutdown(&s->worker->conns, to);
}

void relay_check(struct session *s)
{
	if (!session_is_relaying(s))
		return;

	bool is_tunnel = s->state == SESS_TUNNEL;
	bool is_request_over = is_over(s, TO_BACKEND);
	if (is_request_over)
		pass_end(s, TO_BACKEND);
	bool is_response_over = is_over(s, TO_CLIENT);
	if (is_response_over)
		pass_end(s, TO_CLIENT);
	/* A plain exchange ends with its response, whatever of the request was read. */
	if (!is_tunnel && is_response_over && !flow_is_stopped(s, TO_CLIENT))
		session_set_end_reason(s, SESS_END_COMPLETED);
	if (is_response_over && (is_request_over || !is_tunnel))
		finish(s);
}

/* ---- receiving ------------------------------------------------------------------------------- */

void relay_on_recv(struct session *s, enum side from, const struct completion *c)
{
	enum dir d = dir_from(from);
	struct flow *f = session_flow(s, d);

	if (c->res > 0) {
		s->active_ms = loop_now_ms(s->worker->loop);
		f->is_piped = false;
		flow_judge_bulk(f, c->buf);
		relay_take(s, from, c->buf);
	} else if (c->res != -ECANCELED && c->res != -ENOBUFS) {
		source_ended(s, from, c->res);
		return;
	}
	/* It was armed when there was room for more, or before a payload that is worth a pipe. */
	if (c->more && (buf_is_tight(s->worker->loop->bufs) || splice_most(s, d) > 0))
		conn_cancel(&s->worker->conns, s->conn[from], CONN_RECV);
	if (c->more || s->state == SESS_DEAD)
		return;
	relay_read(s, from);
}

/* ---- sending --------------------------------------------------------------------------------- */

void relay_on_room(struct session *s, enum dir d, const struct completion *c)
{
	if (s->state == SESS_DEAD || c->res == -ECANCELED)
		return;
	if (c->res < 0) /* no memory to wait with */
		session_close_now(s, relay_find_reason(s, dir_destination(d), c->res));
	else
		session_mark_dirty(s, d);
}

/* A send (or splice) failed: the destination takes no more. */
static void sending_failed(struct session *s, enum dir d, int error)
{
	enum side to = dir_destination(d);
	struct conn *c = s->conn[to];

	/* A backend may answer a plain request and close without reading its body to the end. */
	bool is_tunnel = s->state == SESS_TUNNEL;
	bool may_be_answered = !is_tunnel && to == BACKEND && error != -ETIMEDOUT;

	/*
	 * The kernel tells an error once. A broken pipe says that it was told before: then a
	 * tunnel's receive has it, and the reason. After any other, reading on will end as if there
	 * had been a FIN.
	 */
	bool is_told_elsewhere = error == -EPIPE && is_tunnel && c->rx < RX_EOF;
	if (!may_be_answered && !is_told_elsewhere)
		session_set_end_reason(s, relay_find_reason(s, to, error));
	if (error != -EPIPE && c->rx < RX_BROKEN)
		conn_set_rx(c, RX_BROKEN);
	stop_sending_to(s, to);
	relay_check(s);
}

void relay_on_send(struct session *s, enum dir d, const struct completion *c)
{
	struct flow *f = session_flow(s, d);
	struct buf_pool *pool = s->worker->loop->bufs;

	if (c->res > 0) {
		LB_ASSERT((uint32_t)c->res <= f->queue.bytes);
		flow_count_sent(s, d, (uint32_t)c->res);
		queue_consume(&f->queue, pool, (uint32_t)c->res);
	} else if (c->res == -EAGAIN && !flow_is_stopped(s, d)) {
		flow_send_refused(s, d);
		return;
	} else if (c->res != -ECANCELED && s->state != SESS_DEAD) {
		sending_failed(s, d, c->res);
	}
	if (flow_is_stopped(s, d))
		queue_clear(&f->queue, pool);
	if (s->state == SESS_DEAD)
		return;

	flow_send(s, d);
	/* A body goes on while its response is awaited. */
	bool may_read = session_is_relaying(s) || (session_awaits_response(s) && d == TO_BACKEND);
	if (may_read && !flow_is_receiving(s, d))
		relay_read(s, dir_source(d));
	if (queue_is_empty(&f->queue))
		relay_check(s);
}

/* ---- splicing -------------------------------------------------------------------------------- */

/* From the source to the pipe; an end is told. Returns the bytes moved, 0 when that is all for now.
 */
static int pull(struct session *s, enum dir d, uint64_t most)
{
	struct moved m = splice_in(s, d, most);

	if (m.n == 0 && m.error != -EAGAIN)
		source_ended(s, dir_source(d), m.error);
	return m.n;
}

/* From the pipe to the destination; a failure is told. False when the pipe is not empty then. */
static bool push(struct session *s, enum dir d)
{
	struct moved m = splice_out(s, d);

	if (m.error != 0 && m.error != -EAGAIN)
		sending_failed(s, d, m.error);
	return m.error == 0;
}

/* Goes on where it is: fills the pipe, empties it, or waits for what is missing. */
static void relay_splice(struct session *s, enum dir d)
{
	struct flow *f = session_flow(s, d);
	const struct conn *to = s->conn[dir_destination(d)];
	int moved = 0;

	LB_ASSERT(s->state == SESS_TUNNEL && f->kind != FLOW_HOLD);
	/* What is in buffers is older than what is in the pipe: relay_on_send() comes back here. */
	if (!queue_is_empty(&f->queue) || flow_is_sending(s, d)) {
		flow_send(s, d);
		return;
	}
	if (conn_is_in_flight(to, CONN_WRITABLE) || conn_is_in_flight(to, CONN_ROOM) ||
	    conn_is_in_flight(s->conn[dir_source(d)], CONN_READABLE))
		return;

	while (s->state == SESS_TUNNEL && push(s, d)) {
		uint64_t most = splice_most(s, d);
		if (most == 0) {
			splice_drop(s, d);
			if (flow_is_ended(s, d) || flow_is_stopped(s, d))
				relay_check(s);
			else
				relay_read(s, dir_source(d));
			return;
		}
		if (moved >= (int)TURN_BYTES || f->pipe == NULL) {
			splice_wait_in(s, d);
			return;
		}
		int n = pull(s, d, most);
		if (n == 0)
			return;
		moved += n;
	}
}

void relay_go_on(struct session *s, enum dir d)
{
	if (flow_bytes_in_pipe(session_flow(s, d)) > 0)
		relay_splice(s, d);
	else
		flow_send(s, d);
}

void relay_on_splice_in(struct session *s, enum dir d, const struct completion *c)
{
	if (s->state != SESS_TUNNEL || c->res == -ECANCELED)
		return;
	uint64_t most = splice_most(s, d);
	if (most == 0)
		relay_read(s, dir_source(d));
	else if (!splice_get_pipe(s, d))
		flow_receive(s, d);
	else if (pull(s, d, most) > 0)
		relay_splice(s, d);
}

void relay_on_splice_out(struct session *s, enum dir d, const struct completion *c)
{
	if (s->state == SESS_CLOSING) {
		session_mark_dirty(s, d); /* a send may have found the wait under way */
		return;
	}
	if (s->state != SESS_TUNNEL || c->res == -ECANCELED)
		return;
	/* The destination's FIN alone: polling again would tell just that, at once. */
	if (c->res > 0 && !(c->res & (POLLOUT | POLLERR | POLLHUP)))
		flow_wait_room(s, d);
	else
		relay_splice(s, d);
}

/* ---- begin ----------------------------------------------------------------------------------- */

void relay_start(struct session *s)
{
	LB_ASSERT(session_is_relaying(s));
	s->active_ms = loop_now_ms(s->worker->loop);
	for (enum dir d = TO_BACKEND; d <= TO_CLIENT; d++) {
		flow_send(s, d);
		relay_read(s, dir_source(d));
	}
	relay_watch_time(s);
	relay_check(s);
}
