/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay: what an event on one of the two flows means for the pair.
 *
 *   relay_on_recv()   bytes came: relay_take() queues them, relay_read() reads on
 *   dispatch_flush()  the turn is over: relay_go_on() sends what the turn has queued
 *   relay_on_send()   bytes went out: the next send, and relay_read() if there is room again
 *   relay_check()     after each of these: is a flow over, or the whole session?
 *
 * The rules:
 *
 * - When a flow holds its limit of bytes (flow.c), its source is not read. A receive takes no more
 *   bytes than the flow has room for.
 * - Bytes that come while a send is in flight, or within one turn, go out by one send.
 * - A FIN is passed on when all bytes before it are sent, a reset when all bytes before it are
 *   acknowledged.
 * - A failed send ends only its own flow. The other flow is read to its end, because the peer may
 *   have sent bytes before it failed.
 * - A side that is not read is polled for errors, so that lb notices its reset.
 *
 * A flow is over when its source has ended and all its bytes are sent, or when its destination
 * takes no more bytes. A tunnel ends when both flows are over, a plain request when its response is
 * over. finish() decides how the two ends are then closed (at once, after lingering, by a reset);
 * closing.c does it.
 *
 * The bytes of a plain request and its response go through take_body(), which lets exactly the body
 * pass. In bulk the bytes of a tunnel go through a pipe; relay_splice() drives splice.c.
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

/* When a spliced flow has moved this many bytes in one turn, it goes on in the next turn, so that
 * other sessions have their turn. */
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
	else if (flow_pipe(session_flow(s, d)) != NULL || splice_most(s, d) > 0)
		relay_splice(s, d);
	else
		flow_receive(s, d);
}

/* Handles a malformed body. When no byte of a response was sent, lb answers with an error;
 * otherwise the response is cut short. */
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
	/* The bytes before the malformed ones are delivered, then the client is reset (finish()).
	 */
	session_set_end_reason(s, SESS_END_BAD_RESPONSE);
	s->x->is_cut_off = true;
}

/*
 * Appends the bytes that the body owes at its end (body_take_owed()) to `b`, which has the last
 * bytes of the body. When `b` lacks space, `b` is queued and the owed bytes go into another buffer.
 * Returns the buffer that is to be queued next.
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
					  /* A response that is cut short here ends in a reset. */
					  SESS_END_NO_BACKEND);
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

/* Keeps `n` bytes that came after the body of a request for an upgrade. They belong to the tunnel,
 * so they wait for the 101. */
static void hold_rest(struct session *s, const uint8_t *p, size_t n, enum buf_class size_class)
{
	struct buf_pool *pool = s->worker->loop->bufs;

	session_flow(s, TO_BACKEND)->kind = FLOW_HOLD;
	if (n == 0)
		return;
	(void)buf_reserve(pool, size_class, 1);
	/* The bytes fit, because they came in a buffer of the same class. */
	struct buf *rest = buf_get(pool, size_class);
	if (rest == NULL) {
		answer_out_of_memory(s);
		return;
	}
	LB_ASSERT(n <= rest->cap);
	memcpy(rest->data, p, n);
	rest->len = (uint32_t)n;
	queue_push(&s->x->held, pool, rest);
}

/* Cuts `b` to the bytes that belong to the body that `from` sends. Returns the buffer that is to be
 * queued. */
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
	enum flow_kind kind = f->kind; /* take_body() changes f->kind at the body's last byte */

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
			/* The body may be over: dispatch_flush() calls relay_check(). */
			session_mark_dirty(s, d);
		return;
	}
	if (kind == FLOW_HOLD) {
		queue_push(&s->x->held, pool, b);
		return;
	}
	queue_push(&f->queue, pool, b);
	session_mark_dirty(s, d);
}

/* Notes that `side` takes no more bytes: drops what is queued for `side`, and stops reading the
 * flow's source. */
static void stop_sending_to(struct session *s, enum side side)
{
	enum dir d = dir_to(side);
	struct flow *f = session_flow(s, d);

	if (flow_is_stopped(s, d))
		return;
	conn_set_tx(s->conn[side], TX_CLOSED);
	/* While a send is in flight, the kernel uses the buffers, so relay_on_send() clears the
	 * queue later. */
	if (!flow_is_sending(s, d))
		queue_clear(&f->queue, s->worker->loop->bufs);
	splice_drop(s, d);
	conn_cancel(&s->worker->conns, s->conn[dir_source(d)], CONN_RECV);
	if (!session_is_relaying(s))
		return;
	if (!flow_is_receiving(s, d))
		flow_watch_errors(s, dir_source(d));
	relay_watch_time(s); /* the session is half-closed now */
}

void relay_on_error_poll(struct session *s, enum side side, const struct completion *done)
{
	struct conn *c = s->conn[side];

	LB_ASSERT(s->state == SESS_TUNNEL);
	if (done->res == -ECANCELED || c->rx >= RX_EOF || conn_is_in_flight(c, CONN_RECV))
		return;
	/*
	 * `side` is not read because its flow is full, so its end or its error waits in the kernel
	 * behind bytes that are not read yet. When the flow has room again, a receive finds these
	 * bytes and then the end. No poll is armed until then (RX_ENDING), because it would report
	 * the same end again at once.
	 */
	if (c->rx == RX_OPEN)
		conn_set_rx(c, RX_ENDING);
	bool is_gone = done->res < 0 || done->res & POLLERR ||
		       (done->res & POLLHUP &&
			c->tx == TX_OPEN); /* else both sides have sent their FINs */
	if (is_gone)
		stop_sending_to(s, side);
	relay_read(s, side);
	relay_check(s);
}

/* ---- ends ------------------------------------------------------------------------------------ */

/* Whether lb removes the framing of the response's body, so that the client cannot see where the
 * body ends. */
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

/* Handles the end of a side whose message is over already. The end of a backend then changes
 * nothing. */
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

/* Handles the end of `from`: by a FIN (`error` is 0), or by an error (a negative errno). */
static void source_ended(struct session *s, enum side from, int error)
{
	struct conn *c = s->conn[from];

	LB_ASSERT(error <= 0 && error != -EAGAIN);
	if (flow_is_ended(s, dir_from(from))) {
		idle_source_ended(s, from, error);
		return;
	}
	if (is_unframed(s, from))
		/* Before a FIN, a part of the body would look like the whole body to the client. */
		s->x->is_cut_off = true;
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

/* Whether no more bytes are to be sent in the direction `d`. */
static bool is_over(const struct session *s, enum dir d)
{
	if (s->conn[dir_destination(d)]->tx != TX_OPEN)
		return true;
	return flow_is_ended(s, d) && !flow_has_bytes(s, d) && !flow_is_sending(s, d);
}

/* Ends a session whose relay is over. How the two ends are closed depends on how the flows have
 * ended. */
static void finish(struct session *s)
{
	bool is_tunnel = s->state == SESS_TUNNEL;

	LB_ASSERT(is_over(s, TO_CLIENT) && (!is_tunnel || is_over(s, TO_BACKEND)));
	if (flow_ends_in_reset(s, TO_BACKEND))
		closing_reset(s, BACKEND);
	else if (flow_ends_in_reset(s, TO_CLIENT))
		closing_reset(s, CLIENT);
	else if (is_tunnel && !flow_is_ended(s, TO_CLIENT))
		/* The client takes no more bytes of the backend's; without lb the backend would get
		 * a reset. */
		closing_reset(s, BACKEND);
	else if (!is_tunnel || !flow_is_ended(s, TO_BACKEND))
		/* Bytes of the client's may be unread, so a close at once would be a reset. */
		closing_linger(s);
	else
		session_close_now(s, SESS_END_BACKEND_CLOSED);
	LB_ASSERT(session_is_over(s));
}

/* Passes on the end of a flow that is over, if its source has ended by a FIN. Returns false while a
 * close_notify is on its way, which goes before the FIN. */
static bool pass_end(struct session *s, enum dir d)
{
	struct conn *to = s->conn[dir_destination(d)];
	/* When a plain request is over, the backend gets no FIN, because the client's connection is
	 * still open. */
	bool is_fin = !flow_ends_in_reset(s, d) && (s->state == SESS_TUNNEL || d == TO_CLIENT);
	/* When a FIN has gone out to the source before, lb closes both ends now, and the close
	 * sends the FIN. */
	bool is_last = s->conn[dir_source(d)]->tx == TX_SHUT;

	if (to->tx != TX_OPEN || !is_fin)
		return true;
	if (!flow_end(s, d))
		return false;
	if (!is_last)
		conn_shutdown(&s->worker->conns, to);
	return true;
}

void relay_check(struct session *s)
{
	if (!session_is_relaying(s))
		return;

	bool is_tunnel = s->state == SESS_TUNNEL;
	bool is_request_over = is_over(s, TO_BACKEND) && pass_end(s, TO_BACKEND);
	bool is_response_over = is_over(s, TO_CLIENT) && pass_end(s, TO_CLIENT);
	if (session_is_over(s))
		return;
	/* A plain request is over when its response is, even if part of the request was not read.
	 */
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
	/* When buffers have become short, or a payload that is worth a pipe follows, the receive is
	 * cancelled, and relay_read() starts what fits better after its last completion. */
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
	if (c->res < 0) /* there was no memory for the poll */
		session_close_now(s, relay_find_reason(s, dir_destination(d), c->res));
	else
		session_mark_dirty(s, d);
}

/* Handles a send or a splice that failed with `error`: the destination takes no more bytes. */
static void sending_failed(struct session *s, enum dir d, int error)
{
	enum side to = dir_destination(d);
	struct conn *c = s->conn[to];

	/* A backend may answer a plain request and close before it has read the whole body, so its
	 * failure is no end reason yet. */
	bool is_tunnel = s->state == SESS_TUNNEL;
	bool may_be_answered = !is_tunnel && to == BACKEND && error != -ETIMEDOUT;

	/*
	 * The kernel reports a socket's error once. EPIPE means that it was reported before: in a
	 * tunnel the receive has got the error, and source_ended() notes the reason. After any
	 * other errno here, the receive will end with 0, as if a FIN had come, so the reason is
	 * noted now.
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
		flow_sent(s, d, (uint32_t)c->res);
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
	/* While the response is awaited, lb goes on reading the request's body. */
	bool may_read = session_is_relaying(s) || (session_awaits_response(s) && d == TO_BACKEND);
	if (may_read && !flow_is_receiving(s, d))
		relay_read(s, dir_source(d));
	if (!flow_has_bytes(s, d))
		relay_check(s);
}

/* ---- splicing -------------------------------------------------------------------------------- */

/* Splices from the source to the pipe, and handles the source's end. Returns how many bytes were
 * moved; 0 when the source has no more bytes for now, or has ended. */
static int pull(struct session *s, enum dir d, uint64_t most)
{
	struct moved m = splice_in(s, d, most);

	if (m.n == 0 && m.error != -EAGAIN)
		source_ended(s, dir_source(d), m.error);
	return m.n;
}

/* Splices from the pipe to the destination, and handles a failure. Returns true when the pipe is
 * empty. */
static bool push(struct session *s, enum dir d)
{
	struct moved m = splice_out(s, d);

	if (m.error != 0 && m.error != -EAGAIN)
		sending_failed(s, d, m.error);
	return m.error == 0;
}

/* Moves bytes into the pipe and out of it until one of the sockets would block, then polls that
 * socket. */
static void relay_splice(struct session *s, enum dir d)
{
	struct flow *f = session_flow(s, d);
	const struct conn *to = s->conn[dir_destination(d)];
	int moved = 0;

	LB_ASSERT(s->state == SESS_TUNNEL && f->kind != FLOW_HOLD);
	/* Bytes in buffers are older than those in the pipe; when they are out, relay_on_send()
	 * calls this function again. */
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
		/* A send may have waited for the end of this poll: flow_wait_room() starts no
		 * second poll. */
		session_mark_dirty(s, d);
		return;
	}
	if (s->state != SESS_TUNNEL || c->res == -ECANCELED)
		return;
	/* The poll has reported only the destination's FIN. The same poll would report the FIN
	 * again at once. */
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
		if (session_is_over(s))
			return;
		relay_read(s, dir_source(d));
	}
	relay_watch_time(s);
	relay_check(s);
}
