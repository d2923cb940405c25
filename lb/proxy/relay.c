/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The relay's rules, in the order of the design:
 *
 * - A flow holds at most its limit of bytes (64 KiB; 512 KiB where it proves bulk) and 16 buffers,
 *   then its source is not read; a receive is armed with the room that is left.
 * - One send is in flight per flow; what gathers behind it, or within a turn, goes out together.
 * - A FIN is passed on once what came before it is out; a reset once that was acknowledged.
 * - A failed send ends only that flow: the other is read to its end, for the peer's last words.
 * - A side that is not read is polled for errors, so that its reset is noticed.
 *
 * Thread: owner worker. Hot: no allocation, no lock.
 */
#include "proxy/relay.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "net/sock.h"
#include "proxy/exchange.h"
#include "proxy/reply.h"
#include "proxy/splice.h"
#include "proxy/tunnel.h"
#include "proxy/worker.h"

#define MAX_BUFS 16             /* design, section 4, rule 2 */
#define BULK_BYTES (512u << 10) /* measured: 256 KiB cost a fifth more (docs/decisions, 0010) */
/* Longer than most backends take to begin a response, short for one that works for nobody. A guess.
 */
#define LEFT_MS 500
#define BULK_FULL_BUFS 8 /* full buffers in a row that prove bulk; a guess, never tuned */

static enum sess_op op_recv(enum side from)
{
	return OP_RECV_CLIENT + from;
}

static enum sess_op op_send(enum side from)
{
	return OP_SEND_BACKEND + from;
}

/* ---- reasons --------------------------------------------------------------------------------- */

enum sess_end relay_error_reason(const struct session *s, enum side side, int error)
{
	bool is_client = side == CLIENT;

	if (error == -ETIMEDOUT) {
		uint32_t user_ms = pool_user_ms(s->pool);
		if (user_ms != CONF_OFF && sock_is_alive(s->worker->loop, s->fd[side], user_ms))
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
	return s->flow[CLIENT].is_eof || s->flow[BACKEND].is_eof || s->flow[CLIENT].is_dead ||
	       s->flow[BACKEND].is_dead;
}

bool relay_may_have_left(const struct session *s)
{
	const struct flow *f = &s->flow[CLIENT];

	return s->is_http && !s->is_tunnel && f->is_eof && f->is_sick && !s->flow[BACKEND].is_eof;
}

uint32_t relay_patience_ms(const struct session *s, uint32_t limit_ms)
{
	return limit_ms > LEFT_MS && relay_may_have_left(s) ? LEFT_MS : limit_ms;
}

void relay_client_fin(struct session *s)
{
	s->flow[CLIENT].is_sick = true;
	/* Perhaps it has been quiet for long. */
	if ((s->state == SESS_UPGRADE || s->state == SESS_RELAY) && relay_may_have_left(s))
		session_timeout(s, 0);
}

static uint32_t quiet_limit_ms(const struct session *s)
{
	if (!s->is_tunnel)
		return s->x->conf->body_ms;
	return is_half_closed(s) ? pool_half_closed_ms(s->pool) : pool_idle_ms(s->pool);
}

void relay_watch_time(struct session *s)
{
	session_timeout(s, relay_patience_ms(s, quiet_limit_ms(s)));
}

/* What the peers on `sides` have taken, all in all: the more bytes, the less quiet. */
static struct sock_taken taken_by(struct session *s, unsigned sides)
{
	struct sock_taken all = { .quiet_ms = UINT64_MAX };

	for (enum side side = CLIENT; side < N_SIDES; side++) {
		struct sock_taken one;
		if (!(sides & 1u << side) || s->fd[side] < 0 ||
		    !sock_taken(s->worker->loop, s->fd[side], &one))
			continue;
		all.bytes += one.bytes;
		all.is_shut_out |= one.is_shut_out;
		if (one.quiet_ms < all.quiet_ms)
			all.quiet_ms = one.quiet_ms;
	}
	return all;
}

void relay_note_taken(struct session *s, enum side side)
{
	s->taken = taken_by(s, 1u << side).bytes;
}

bool relay_is_quiet(struct session *s, unsigned sides, uint64_t *since_ms, uint32_t limit_ms,
		    uint32_t shut_out_ms)
{
	uint64_t quiet_ms = loop_now_ms(s->worker->loop) - *since_ms;

	if (quiet_ms >= limit_ms) {
		struct sock_taken t = taken_by(s, sides);
		if (t.bytes != s->taken && t.quiet_ms < quiet_ms) {
			*since_ms += quiet_ms - t.quiet_ms;
			quiet_ms = t.quiet_ms;
		}
		s->taken = t.bytes;
		if (t.is_shut_out && quiet_ms >= limit_ms)
			limit_ms = shut_out_ms;
		if (quiet_ms >= limit_ms)
			return true;
	}
	session_timeout(s, limit_ms - quiet_ms);
	return false;
}

void relay_on_timeout(struct session *s)
{
	uint32_t limit_ms = quiet_limit_ms(s);

	if (!relay_is_quiet(s, BOTH_SIDES, &s->active_ms, relay_patience_ms(s, limit_ms),
			    relay_shut_out_ms(limit_ms)))
		return;
	if (relay_may_have_left(s))
		session_kill(s, SESS_END_CLIENT_CLOSED);
	else
		session_kill(s, s->is_tunnel && is_half_closed(s) ? SESS_END_HALF_CLOSED
								  : SESS_END_IDLE);
}

/* ---- reading --------------------------------------------------------------------------------- */

static uint32_t flow_limit(const struct session *s, const struct flow *f)
{
	/* The pool is not known while a request head is read: its default then. */
	uint32_t limit = s->pool != NULL ? pool_buffer_bytes(s->pool) : 64u << 10;

	return f->is_bulk && limit < BULK_BYTES ? BULK_BYTES : limit;
}

/*
 * How many bytes may be received now. While much is queued there is none: arming for every few
 * bytes that a slow reader takes would cost more than it gives.
 */
static uint32_t flow_room(const struct session *s, const struct flow *f)
{
	uint32_t limit = flow_limit(s, f);
	const struct queue *q = f->kind == FLOW_HOLD ? &s->x->held : &f->queue;
	uint32_t held = q->bytes + f->n_in_pipe;
	bool is_tight = buf_is_tight(s->worker->loop->bufs);

	if (held == 0)
		return is_tight ? BUF_SMALL_BYTES : limit;
	if (q->n_bufs >= MAX_BUFS || is_tight || held > limit / 2)
		return 0;
	return limit - held;
}

/* A plain request that is over leaves its flow at an end, and its client there. */
static bool has_ended(const struct flow *f)
{
	return f->is_eof && !f->keeps_open;
}

/* Nothing is received from `side` for now: its reset must be noticed all the same. */
void relay_watch_errors(struct session *s, enum side side)
{
	enum sess_op op = OP_ERR_CLIENT + side;

	const struct flow *f = &s->flow[side];

	if (has_ended(f) || f->is_sick || session_is_in_flight(s, op))
		return;
	/* The FIN of a tunnel's side is found by reading, that of a plain request's client is not.
	 */
	uint32_t events = side == CLIENT && s->is_http && !s->is_tunnel ? POLLRDHUP : 0;
	loop_poll(s->worker->loop, s->fd[side], events, session_start_op(s, op));
}

void relay_read(struct session *s, enum side from)
{
	struct flow *f = &s->flow[from];

	if (s->fd[from] < 0 || session_is_in_flight(s, op_recv(from)))
		return;
	if (f->is_eof) {
		relay_watch_errors(s, from);
		return;
	}
	if (f->pipe != NULL || splice_wants(s, from))
		splice_run(s, from);
	else
		relay_read_buffered(s, from);
}

void relay_read_buffered(struct session *s, enum side from)
{
	struct flow *f = &s->flow[from];

	LB_ASSERT(!session_is_in_flight(s, op_recv(from)));
	uint32_t room = f->is_dead ? 0 : flow_room(s, f);
	if (room == 0) {
		relay_watch_errors(s, from);
		return;
	}
	/* Behind a payload in a pipe a header is expected, and then another: no more is copied. */
	if (f->is_piped && room > BUF_SMALL_BYTES)
		room = BUF_SMALL_BYTES;
	bool is_large = f->is_bulk && room > BUF_SMALL_BYTES;
	loop_recv(s->worker->loop, s->fd[from], room, is_large ? BUF_LARGE : BUF_SMALL,
		  session_start_op(s, op_recv(from)));
}

/* Full buffers in a row make a flow bulk; as many small pieces in a row make it quiet again. */
static void judge_bulk(struct flow *f, const struct buf *b)
{
	bool is_full = b->len == b->cap;
	bool is_small = b->len < BUF_SMALL_BYTES;

	if (f->is_bulk ? !is_small : !is_full) {
		f->n_full = 0;
		return;
	}
	if (++f->n_full == BULK_FULL_BUFS) {
		f->is_bulk = !f->is_bulk;
		f->n_full = 0;
	}
}

/* A body is malformed: that is answered, unless an answer is on its way already and can only be
 * cut. */
static void refuse_body(struct session *s, enum side from)
{
	struct flow *response = &s->flow[BACKEND];

	if (from == CLIENT && s->state != SESS_RELAY) {
		reply_error(s, SESS_END_BAD_REQUEST, "malformed chunked body");
		return;
	}
	if (from == CLIENT) {
		session_kill(s, SESS_END_BAD_REQUEST);
		return;
	}
	backend_count_failure(s->backend, s->worker->id);
	if (response->n_sent == 0 && !session_is_in_flight(s, op_send(BACKEND))) {
		queue_clear(&response->queue, s->worker->loop->bufs);
		reply_error(s, SESS_END_BAD_RESPONSE, "malformed chunked body from the backend");
		return;
	}
	/* What came before is delivered, then the client is reset (finish()). */
	session_blame(s, SESS_END_BAD_RESPONSE);
	response->is_reset = true;
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
			session_kill(s, SESS_END_NO_BACKEND); /* which cuts it short: a reset */
			return b;
		}
		queue_push(&s->flow[from].queue, pool, b);
		b = more;
	}
	memcpy(b->data + b->off + b->len, owed, n);
	b->len += n;
	return b;
}

/* Behind the body of a request that asks for an upgrade the tunnel begins: it waits for the 101. */
static void hold_rest(struct session *s, const uint8_t *p, size_t n, enum buf_class size_class)
{
	struct buf_pool *pool = s->worker->loop->bufs;

	s->flow[CLIENT].kind = FLOW_HOLD;
	if (n == 0)
		return;
	(void)buf_reserve(pool, size_class, 1);
	struct buf *rest = buf_get(pool, size_class); /* as large as the one that it was in */
	if (rest == NULL) {
		reply_out_of_memory(s);
		return;
	}
	memcpy(rest->data, p, n);
	rest->len = (uint32_t)n;
	queue_push(&s->x->held, pool, rest);
}

/* Lets the bytes of a message's body pass, and nothing behind it. */
static struct buf *take_body(struct session *s, enum side from, struct buf *b)
{
	struct flow *f = &s->flow[from];
	uint8_t *p = b->data + b->off;
	size_t n = b->len;
	struct body_fed fed;
	enum body_verdict v = body_feed(&s->x->body[from], p, n, &fed);

	b->len = (uint32_t)fed.kept;
	if (v == BODY_MORE)
		return b;
	if (v == BODY_DONE && from == CLIENT && s->x->upgrade.kind != UPGRADE_NONE) {
		hold_rest(s, p + fed.used, n - fed.used, b->size_class);
		return add_owed(s, from, b);
	}

	f->is_eof = true;
	session_cancel_op(s, op_recv(from));
	if (v == BODY_BAD)
		refuse_body(s, from);
	else
		b = add_owed(s, from, b);
	if (v != BODY_BAD && from == CLIENT && f->is_sick)
		relay_client_fin(s);
	return b;
}

void relay_take(struct session *s, enum side from, struct buf *b)
{
	struct flow *f = &s->flow[from];
	struct buf_pool *pool = s->worker->loop->bufs;
	enum flow_kind kind = f->kind; /* a body's last bytes are still the body's */

	if (f->is_dead || f->is_eof) {
		buf_put(pool, b);
		return;
	}
	if (kind == FLOW_WS)
		tunnel_track(s, from, b->data + b->off, b->len);
	else if (kind == FLOW_BODY)
		b = take_body(s, from, b);

	if (b->len == 0 || s->state == SESS_DEAD || s->state == SESS_DRAIN) {
		buf_put(pool, b);
		if (s->state == SESS_RELAY)
			session_mark_dirty(s, from); /* for relay_check(): the body may be over */
		return;
	}
	if (kind == FLOW_HOLD) {
		queue_push(&s->x->held, pool, b);
		return;
	}
	queue_push(&f->queue, pool, b);
	session_mark_dirty(s, from);
}

void relay_on_recv(struct session *s, enum side from, const struct completion *c)
{
	if (c->res > 0) {
		s->active_ms = loop_now_ms(s->worker->loop);
		s->flow[from].is_piped = false;
		judge_bulk(&s->flow[from], c->buf);
		relay_take(s, from, c->buf);
	} else if (c->res != -ECANCELED && c->res != -ENOBUFS) {
		relay_source_ended(s, from, c->res);
		return;
	}
	/* It was armed when there was room for more, or before a payload that is worth a pipe. */
	if (c->more && (buf_is_tight(s->worker->loop->bufs) || splice_wants(s, from)))
		session_cancel_op(s, op_recv(from));
	if (c->more || s->state == SESS_DEAD)
		return;
	relay_read(s, from);
}

/* Nothing more can be sent to `side`: what waits for it is dropped, its source is no longer read.
 */
static void stop_sending_to(struct session *s, enum side side)
{
	enum side from = side_other(side);
	struct flow *f = &s->flow[from];

	if (f->is_dead)
		return;
	f->is_dead = true;
	/* While a send is in flight the kernel has its buffers: relay_on_send() clears then. */
	if (!session_is_in_flight(s, op_send(from)))
		queue_clear(&f->queue, s->worker->loop->bufs);
	splice_drop(s, from);
	session_cancel_op(s, op_recv(from));
	if (s->state != SESS_RELAY)
		return;
	if (!session_is_in_flight(s, op_recv(from)))
		relay_watch_errors(s, from);
	relay_watch_time(s); /* half closed from here on */
}

void relay_on_error_poll(struct session *s, enum side side, const struct completion *c)
{
	struct flow *f = &s->flow[side];

	if (c->res == -ECANCELED || f->is_eof || session_is_in_flight(s, op_recv(side)))
		return;
	/*
	 * Its end, or its error, waits in the kernel behind our back-pressure: what came before is
	 * read when there is room, and then the rest is found. Until then no poll would tell
	 * anything new.
	 */
	f->is_sick = true;
	enum side from = side_other(side);
	bool is_gone =
		c->res < 0 || c->res & POLLERR ||
		(c->res & POLLHUP && !s->flow[from].is_shut); /* else: both ways have ended */
	if (is_gone)
		stop_sending_to(s, side);
	relay_read(s, side);
	relay_check(s);
}

/* ---- ends ------------------------------------------------------------------------------------ */

/* Whether the client gets the response's body without the framing that tells where it ends. */
static bool is_unframed(const struct session *s, enum side from)
{
	return s->flow[from].kind == FLOW_BODY && from == BACKEND &&
	       body_is_unframed(&s->x->body[BACKEND]);
}

void relay_source_ended(struct session *s, enum side from, int error)
{
	struct flow *f = &s->flow[from];

	bool is_clients_fin = from == CLIENT && !s->is_tunnel && error == 0;
	if (is_clients_fin)
		f->is_sick = true;
	if (f->is_eof) {
		if (is_clients_fin)
			relay_client_fin(s);
		return;
	}
	f->is_eof = true;
	f->is_reset = is_unframed(s, from); /* cut short, it would look whole behind a FIN */
	s->active_ms = loop_now_ms(s->worker->loop);
	if (error < 0 || f->is_broken) {
		f->is_reset = true;
		session_blame(s, relay_error_reason(s, from, error));
		stop_sending_to(s, from);
	} else if (!(f->kind == FLOW_BODY && from == BACKEND &&
		     body_is_until_close(&s->x->body[BACKEND]))) {
		session_blame(s, from == CLIENT ? SESS_END_CLIENT_CLOSED : SESS_END_BACKEND_CLOSED);
	}
	if (s->state != SESS_RELAY)
		return;
	relay_check(s);
	if (s->state == SESS_RELAY)
		relay_watch_time(s);
}

/* Both flows are over. How the sides are closed depends on how they ended. */
static void finish(struct session *s)
{
	bool client_was_reset = s->flow[CLIENT].is_reset;
	bool backend_was_reset = s->flow[BACKEND].is_reset;

	if (client_was_reset || backend_was_reset)
		reply_reset(s, client_was_reset ? BACKEND : CLIENT);
	else if (s->is_tunnel && !s->flow[BACKEND].is_eof)
		reply_reset(s, BACKEND); /* nobody is there for what it sends: as without lb */
	else if (!s->flow[CLIENT].is_eof || s->flow[CLIENT].keeps_open)
		reply_linger(s); /* unread bytes would turn our close into a reset */
	else
		session_kill(s, SESS_END_BACKEND_CLOSED);
}

/* Whether all that came from `from` is out; passes its end on when it has one. */
static bool flow_is_over(struct session *s, enum side from)
{
	struct flow *f = &s->flow[from];

	if (f->is_dead || f->is_shut)
		return true;
	if (!f->is_eof || !queue_is_empty(&f->queue) || f->n_in_pipe > 0 ||
	    session_is_in_flight(s, op_send(from)))
		return false;
	/* Where the other direction has ended so, both sides are closed now: no less a FIN. */
	const struct flow *back = &s->flow[side_other(from)];
	bool is_last = back->is_shut && !back->is_reset && !back->keeps_open;
	if (!f->is_reset && !f->keeps_open && !is_last)
		(void)loop_shutdown(s->worker->loop, s->fd[side_other(from)], SHUT_WR);
	f->is_shut = true;
	return true;
}

void relay_check(struct session *s)
{
	if (s->state != SESS_RELAY)
		return;

	bool is_request_over = flow_is_over(s, CLIENT);
	bool is_response_over = flow_is_over(s, BACKEND);
	/* A plain exchange ends with its response, whatever of the request was read. */
	if (!s->is_tunnel && s->flow[BACKEND].is_shut)
		session_blame(s, SESS_END_COMPLETED);
	if (is_response_over && (is_request_over || !s->is_tunnel))
		finish(s);
}

/* ---- sending --------------------------------------------------------------------------------- */

/* Whether `side` has said its last. (A plain request that is over is no FIN.) */
static bool has_fin(const struct session *s, enum side side)
{
	const struct flow *f = &s->flow[side];

	return has_ended(f) || f->is_sick;
}

void relay_send(struct session *s, enum side from)
{
	struct flow *f = &s->flow[from];
	struct iovec iov[LOOP_IOV_MAX];

	if (queue_is_empty(&f->queue) || f->is_dead || session_is_in_flight(s, op_send(from)) ||
	    session_is_in_flight(s, OP_ROOM_BACKEND + from))
		return;
	/*
	 * There is room, mostly; waiting for it costs io_uring a poll, so only who was refused
	 * waits. After the destination's FIN it cannot wait (relay_wait_room()).
	 */
	f->must_wait &= !has_fin(s, side_other(from));
	int n = queue_iov(&f->queue, iov);
	loop_send(s->worker->loop, s->fd[side_other(from)], iov, n,
		  f->must_wait ? SEND_WAIT : SEND_TRY, session_start_op(s, op_send(from)));
}

void relay_send_refused(struct session *s, enum side from)
{
	struct flow *f = &s->flow[from];

	if (s->state == SESS_DEAD)
		return;
	if (f->must_wait || has_fin(s, side_other(from))) {
		relay_wait_room(s, from);
		return;
	}
	f->must_wait = true;
	relay_send(s, from);
}

void relay_wait_room(struct session *s, enum side from)
{
	enum sess_op op = OP_ROOM_BACKEND + from;

	/* A poll for the same room is in flight where bytes were spliced before. */
	if (!session_is_in_flight(s, op) && !session_is_in_flight(s, OP_SPILL_BACKEND + from))
		loop_poll_room(s->worker->loop, s->fd[side_other(from)], session_start_op(s, op));
}

void relay_on_room(struct session *s, enum side from, const struct completion *c)
{
	if (s->state == SESS_DEAD || c->res == -ECANCELED)
		return;
	if (c->res < 0) /* no memory to wait with */
		session_kill(s, relay_error_reason(s, side_other(from), c->res));
	else
		session_mark_dirty(s, from);
}

void relay_count_sent(struct session *s, enum side from, uint32_t n)
{
	s->flow[from].n_sent += n;
	s->flow[from].must_wait = false;
	s->active_ms = loop_now_ms(s->worker->loop);
	if (s->backend != NULL)
		backend_count_bytes(s->backend, s->worker->id, from == CLIENT ? n : 0,
				    from == CLIENT ? 0 : n);
}

void relay_sending_failed(struct session *s, enum side from, int error)
{
	enum side to = side_other(from);

	/* A backend may answer a plain request and close without reading its body to the end. */
	bool may_be_answered = !s->is_tunnel && to == BACKEND && error != -ETIMEDOUT;

	/*
	 * The kernel tells an error once. A broken pipe says that it was told before: then a
	 * tunnel's receive has it, and the reason. After any other, reading on will end as if there
	 * had been a FIN.
	 */
	bool is_told_elsewhere = error == -EPIPE && s->is_tunnel && !s->flow[to].is_eof;
	if (!may_be_answered && !is_told_elsewhere)
		session_blame(s, relay_error_reason(s, to, error));
	s->flow[to].is_broken = error != -EPIPE;
	stop_sending_to(s, to);
	relay_check(s);
}

void relay_on_send(struct session *s, enum side from, const struct completion *c)
{
	struct flow *f = &s->flow[from];
	struct buf_pool *pool = s->worker->loop->bufs;

	if (c->res > 0) {
		relay_count_sent(s, from, (uint32_t)c->res);
		queue_consume(&f->queue, pool, (uint32_t)c->res);
	} else if (c->res == -EAGAIN && !f->is_dead) {
		relay_send_refused(s, from);
		return;
	} else if (c->res != -ECANCELED) {
		relay_sending_failed(s, from, c->res);
	}
	if (f->is_dead)
		queue_clear(&f->queue, pool);
	if (s->state == SESS_DEAD)
		return;

	relay_send(s, from);
	/* A body goes on while its response is awaited. */
	bool may_read = s->state == SESS_RELAY || (s->state == SESS_UPGRADE && from == CLIENT);
	if (may_read && !session_is_in_flight(s, op_recv(from)))
		relay_read(s, from);
	if (queue_is_empty(&f->queue))
		relay_check(s);
}

/* ---- begin ----------------------------------------------------------------------------------- */

void relay_start(struct session *s)
{
	LB_ASSERT(s->state == SESS_RELAY);
	s->active_ms = loop_now_ms(s->worker->loop);
	for (enum side from = CLIENT; from < N_SIDES; from++) {
		relay_send(s, from);
		relay_read(s, from);
	}
	relay_watch_time(s);
	relay_check(s);
}
