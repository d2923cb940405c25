/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flow: one direction of a session, from its source to its destination.
 *
 *   source --receive--> queue (or exchange.held) --send--> destination
 *
 * The flow TO_BACKEND is stored in the client's conn; its receive is on the client's conn, its send
 * on the backend's. A function of this file works on one flow and starts at most one operation.
 * When a flow ends or fails, relay.c decides what that means for the session's other flow.
 *
 * The limit is the number of bytes that a flow may hold: the pool's buffer size, or 512 KiB for a
 * flow in bulk; net/queue.h bounds the number of buffers that are not full. The room is what is
 * left of the limit: a receive takes no more bytes than that (flow_receive()). While the flow holds
 * more than half of the limit, or 16 buffers, no receive is armed, and the source is polled for
 * errors (flow_watch_errors()). A worker is "tight" when the number of its lent buffers has reached
 * its ceiling: then a flow receives only while it holds nothing, and at most one small buffer.
 *
 * A flow is in bulk after eight full buffers in a row, and leaves bulk after eight pieces in a row
 * that are smaller than a small buffer.
 *
 * At most one send per flow is in flight (flow_send()). A socket mostly has room in its send
 * buffer, so a send is first tried without waiting. When the kernel refuses it
 * (flow_send_refused()), the next send waits for room. When the destination has sent its FIN, no
 * send can wait any more, and a poll for room is started instead (flow_wait_room()).
 *
 * Thread: owner worker. Hot: no allocation, no lock.
 */
#include "proxy/flow.h"

#include <poll.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "proxy/exchange.h"
#include "proxy/worker.h"

/* A flow that holds this many buffers does not receive. */
#define MAX_BUFS 16

/* The limit of a flow in bulk. Measured: 256 KiB cost a fifth more CPU (docs/decisions, 0010). */
#define BULK_BYTES (512u << 10)

/* This many full buffers in a row begin bulk. A guess, never tuned. */
#define BULK_FULL_BUFS 8

bool flow_ends_in_reset(const struct session *s, enum dir d)
{
	return s->conn[dir_source(d)]->rx == RX_RESET ||
	       (d == TO_CLIENT && s->x != NULL && s->x->is_cut_off);
}

/* ---- reading --------------------------------------------------------------------------------- */

static uint32_t flow_limit(const struct session *s, const struct flow *f)
{
	/* Until a request is routed, its pool is not known; 64 KiB is the default of relay.buffer.
	 */
	uint32_t limit = s->pool != NULL ? pool_buffer_bytes(s->pool) : 64u << 10;

	return f->is_bulk && limit < BULK_BYTES ? BULK_BYTES : limit;
}

/*
 * Returns how many bytes may be received now. While more than half of the limit is queued, returns
 * 0, because a receive for every few bytes that a slow reader takes would cost more CPU than fewer,
 * larger receives.
 */
static uint32_t flow_room(const struct session *s, const struct flow *f)
{
	uint32_t limit = flow_limit(s, f);
	const struct queue *q = f->kind == FLOW_HOLD ? &s->x->held : &f->queue;
	uint32_t held = q->bytes + flow_bytes_in_pipe(f);
	bool is_tight = buf_is_tight(s->worker->loop->bufs);

	LB_ASSERT(limit > 0);
	if (held == 0)
		return is_tight ? BUF_SMALL_BYTES : limit;
	if (q->n_bufs >= MAX_BUFS || is_tight || held > limit / 2)
		return 0;
	return limit - held;
}

void flow_watch_errors(struct session *s, enum side side)
{
	struct conn *c = s->conn[side];

	/* When a backend's response is over, an error of the backend changes nothing, so no poll is
	 * needed. */
	if (c->rx != RX_OPEN || conn_is_in_flight(c, CONN_ERR) ||
	    (side == BACKEND && c->in.kind == FLOW_DONE))
		return;
	/* In a tunnel a receive finds the client's FIN. After a plain request the client is not
	 * read, so the poll has to report the FIN, too. */
	uint32_t events = side == CLIENT && s->is_http && s->state != SESS_TUNNEL ? POLLRDHUP : 0;
	LB_ASSERT(s->state != SESS_DEAD);
	conn_poll(&s->worker->conns, c, CONN_ERR, events);
}

void flow_receive(struct session *s, enum dir d)
{
	struct flow *f = session_flow(s, d);

	LB_ASSERT(s->state != SESS_DEAD && !flow_is_receiving(s, d));
	uint32_t room = flow_is_stopped(s, d) ? 0 : flow_room(s, f);
	if (room == 0) {
		flow_watch_errors(s, dir_source(d));
		return;
	}
	/* After a payload that went through a pipe comes the header of a frame, and then perhaps
	 * another payload for the pipe. The receive is small, so that little of that payload is
	 * copied. */
	if (f->is_piped && room > BUF_SMALL_BYTES)
		room = BUF_SMALL_BYTES;
	bool is_large = f->is_bulk && room > BUF_SMALL_BYTES;
	conn_recv(&s->worker->conns, s->conn[dir_source(d)], room,
		  is_large ? BUF_LARGE : BUF_SMALL);
}

void flow_judge_bulk(struct flow *f, const struct buf *b)
{
	bool is_full = b->len == b->cap;
	bool is_small = b->len < BUF_SMALL_BYTES;

	LB_ASSERT(f->n_full < BULK_FULL_BUFS && b->len <= b->cap);
	if (f->is_bulk ? !is_small : !is_full) {
		f->n_full = 0;
		return;
	}
	if (++f->n_full == BULK_FULL_BUFS) {
		f->is_bulk = !f->is_bulk;
		f->n_full = 0;
	}
}

/* ---- sending --------------------------------------------------------------------------------- */

/*
 * Makes records of what is queued, where none are on their way. Returns false where the session has
 * ended over it.
 */
static bool seal(struct session *s, enum dir d, struct tls *t)
{
	struct tls_ends *es = s->worker->tls;
	struct flow *f = session_flow(s, d);
	uint32_t before = f->queue.bytes;
	enum tls_verdict v = TLS_MORE;

	if (!queue_is_empty(&t->sealed) || t->sent_close || !tls_is_started(t))
		return true;
	if (!queue_is_empty(&f->queue) || tls_wants_seal(t))
		v = tls_reserve(es) == 0 ? tls_seal(es, t, &f->queue) : TLS_NO_BUFS;
	if (f->queue.bytes < before)
		flow_count_sent(s, d, before - f->queue.bytes);
	if (v != TLS_FAILED && v != TLS_NO_BUFS)
		return true;
	session_close_now(s, v == TLS_NO_BUFS ? SESS_END_NO_BACKEND : SESS_END_TLS_FAILED);
	return false;
}

void flow_send(struct session *s, enum dir d)
{
	struct flow *f = session_flow(s, d);
	struct conn *to = s->conn[dir_destination(d)];
	struct tls *t = conn_tls(to);
	struct queue *q = t != NULL ? &t->sealed : &f->queue;
	struct iovec iov[LOOP_IOV_MAX];

	LB_ASSERT(s->state != SESS_DEAD);
	if (to->tx == TX_CLOSED || conn_is_in_flight(to, CONN_SEND) ||
	    conn_is_in_flight(to, CONN_ROOM))
		return;
	if ((t != NULL && !seal(s, d, t)) || queue_is_empty(q))
		return;
	/*
	 * When a send may wait for room, io_uring starts a poll for it. So only a flow whose last
	 * send was refused waits. After the destination's FIN a send cannot wait
	 * (flow_wait_room()).
	 */
	f->must_wait &= to->rx == RX_OPEN;
	int n = queue_iov(q, iov);
	conn_send(&s->worker->conns, to, iov, n, f->must_wait ? SEND_WAIT : SEND_TRY);
}

void flow_send_refused(struct session *s, enum dir d)
{
	struct flow *f = session_flow(s, d);

	if (s->state == SESS_DEAD)
		return;
	if (f->must_wait || s->conn[dir_destination(d)]->rx != RX_OPEN) {
		flow_wait_room(s, d);
		return;
	}
	f->must_wait = true;
	flow_send(s, d);
}

void flow_wait_room(struct session *s, enum dir d)
{
	struct conn *to = s->conn[dir_destination(d)];

	LB_ASSERT(s->state != SESS_DEAD);
	/* When bytes were spliced before, a poll for room may be in flight already. */
	if (!conn_is_in_flight(to, CONN_ROOM) && !conn_is_in_flight(to, CONN_WRITABLE))
		conn_poll_room(&s->worker->conns, to);
}

void flow_sent(struct session *s, enum dir d, uint32_t n)
{
	struct flow *f = session_flow(s, d);
	struct tls *t = conn_tls(s->conn[dir_destination(d)]);
	struct queue *q = t != NULL ? &t->sealed : &f->queue;

	LB_ASSERT(n <= q->bytes);
	if (t == NULL) {
		flow_count_sent(s, d, n);
	} else { /* the bytes in the records were counted by seal() */
		f->must_wait = false;
		s->active_ms = loop_now_ms(s->worker->loop);
	}
	queue_consume(q, s->worker->loop->bufs, n);
}

bool flow_end(struct session *s, enum dir d)
{
	struct conn *to = s->conn[dir_destination(d)];
	struct tls *t = conn_tls(to);

	LB_ASSERT(to->tx == TX_OPEN && !flow_has_bytes(s, d));
	if (t == NULL || t->sent_close || !tls_is_started(t))
		return true;
	if (tls_reserve(s->worker->tls) < 0 || tls_close(s->worker->tls, t) != TLS_MORE)
		return true; /* without memory: the FIN alone */
	flow_send(s, d);
	return queue_is_empty(&t->sealed);
}

void flow_count_sent(struct session *s, enum dir d, uint32_t n)
{
	struct flow *f = session_flow(s, d);

	f->n_sent += n;
	f->must_wait = false;
	s->active_ms = loop_now_ms(s->worker->loop);
	if (s->backend != NULL)
		backend_count_bytes(s->backend, s->worker->id, d == TO_BACKEND ? n : 0,
				    d == TO_BACKEND ? 0 : n);
}
