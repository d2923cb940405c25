/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state CLOSING: what is done for a session whose relay is over, or never began.
 *
 *   closing_send()    send lb's answer --> FIN --> read and drop --> close
 *   closing_linger()        (the response is out) FIN --> read and drop --> close
 *   closing_reset()   wait until the peer's kernel has acknowledged all --> RST to both ends
 *
 * lb stops reading and dropping when the client closes, when more than 64 KiB were dropped, or 2 s
 * after the FIN, with two exceptions. While the rest of a request's body is still coming, lb reads
 * on for up to 30 s, because many clients look for an answer only after they have sent their body.
 * And while the client's kernel has not acknowledged all that was sent, lb waits until nothing more
 * was acknowledged for 30 s: a close with unread bytes is a reset, which destroys bytes that are
 * still on their way.
 *
 * Before a reset lb waits for the acknowledgement, too, because a reset overtakes the bytes that
 * were sent before it. closing_on_timeout() asks the kernel, at first after 5 ms, then in growing
 * intervals.
 *
 * begin() ends the relay or the handshake: it cancels the backend's operations and drops the bytes
 * for the backend. dispatch.c closes the backend's end as soon as no operation is in flight on it,
 * unless both ends are to be reset (closing_needs_backend()).
 *
 * Thread: owner worker.
 */
#include "proxy/closing.h"

#include <errno.h>

#include "net/tcp_state.h"
#include "proxy/exchange.h"
#include "proxy/flow.h"
#include "proxy/quiet.h"
#include "proxy/splice.h"
#include "proxy/worker.h"

/* RFC 9112, 9.6 asks a server to read on for a while after its FIN, and gives no numbers. lb reads
 * on for so long, or until it has dropped so many bytes. */
#define LINGER_MS 2000
#define LINGER_BYTES (64u << 10)

/*
 * A client that sends a large body may look for an answer only after the whole body, or only when a
 * send fails. So lb reads the rest of a body for at most this long, while bytes of the body come at
 * least every LINGER_MS. nginx does the same.
 */
#define UPLOAD_MS 30000

/* lb asks the kernel whether all bytes are acknowledged: for the first time after DELIVERY_LOOK_MS,
 * and for the last time when nothing was acknowledged for DELIVERY_WAIT_MS. */
#define DELIVERY_LOOK_MS 5
#define DELIVERY_WAIT_MS 30000

static uint64_t waited_ms(const struct session *s)
{
	return loop_now_ms(s->worker->loop) - s->active_ms;
}

/* Starts the timer for the next question whether all bytes are acknowledged: DELIVERY_LOOK_MS from
 * now in the first 100 ms of the wait, then a tenth of the time that lb has waited. */
static void look_again(struct session *s)
{
	uint64_t waited = waited_ms(s);
	uint64_t in_ms = waited < 100 ? DELIVERY_LOOK_MS : waited / 10;
	uint64_t left_ms = DELIVERY_WAIT_MS > waited ? DELIVERY_WAIT_MS - waited : waited / 10;

	session_timeout(s, in_ms < left_ms ? in_ms : left_ms);
}

/*
 * Arms a receive on `side`, whose bytes are dropped. A peer that is blocked in a write would never
 * read the last bytes that lb has sent to it, and a close with unread bytes would be a reset.
 */
static void drop_more(struct session *s, enum side side)
{
	struct conn *c = s->conn[side];

	if (c->rx < RX_EOF && !conn_is_in_flight(c, CONN_RECV))
		conn_recv(&s->worker->conns, c, LINGER_BYTES, BUF_SMALL);
}

/* Whether the rest of a request's body is still to come. False when the request is malformed or its
 * head came too late, because lb then cannot tell where the body ends. */
static bool is_uploading(const struct session *s)
{
	const struct exchange *x = s->x;

	if (x == NULL || s->end == SESS_END_BAD_REQUEST || s->end == SESS_END_HANDSHAKE_TIMEOUT)
		return false;
	if (session_flow(s, TO_BACKEND)->kind == FLOW_BODY)
		return true;
	if (session_flow(s, TO_BACKEND)->kind == FLOW_DONE)
		return false;
	return x->upgrade.kind == UPGRADE_NONE && (x->req.is_chunked || x->req.content_length > 0);
}

/* Returns for how many ms lb still waits for the rest of a request's body; 0: lb does not wait for
 * it. */
static uint64_t upload_left_ms(const struct session *s)
{
	uint64_t now_ms = loop_now_ms(s->worker->loop);

	if (!is_uploading(s))
		return 0;
	uint64_t in_all_ms = s->x->closing_ms + UPLOAD_MS, silent_ms = s->x->dropped_ms + LINGER_MS;
	uint64_t end_ms = in_all_ms < silent_ms ? in_all_ms : silent_ms;
	return end_ms > now_ms ? end_ms - now_ms : 0;
}

/* All bytes for the client and lb's FIN are sent: waits for the client's own close. */
static void linger(struct session *s)
{
	LB_ASSERT(s->state == SESS_CLOSING && !s->must_reset);
	if (s->conn[CLIENT]->rx >= RX_EOF) {
		session_close_now(s, SESS_END_CLIENT_CLOSED);
		return;
	}
	s->active_ms = loop_now_ms(s->worker->loop);
	session_timeout(s, LINGER_MS);
	drop_more(s, CLIENT);
}

/* Moves the session to CLOSING and ends the relay or the handshake: lb wants nothing more from the
 * backend. */
static void begin(struct session *s, enum sess_end end)
{
	LB_ASSERT(!session_is_over(s));
	session_set_end_reason(s, end);
	session_set_state(s, SESS_CLOSING);
	if (s->x != NULL)
		s->x->closing_ms = s->x->dropped_ms = loop_now_ms(s->worker->loop);
	struct conns *conns = &s->worker->conns;
	conn_cancel_all(conns, s->conn[BACKEND]);
	conn_cancel(conns, s->conn[CLIENT], CONN_ERR);
	conn_cancel(conns, s->conn[CLIENT], CONN_READABLE);
	/* Bytes for the backend, such as a body that came with its head, are dropped. */
	if (!flow_is_stopped(s, TO_BACKEND))
		conn_set_tx(s->conn[BACKEND], TX_CLOSED);
	splice_drop(s, TO_BACKEND);
	if (!flow_is_sending(s, TO_BACKEND))
		queue_clear(&session_flow(s, TO_BACKEND)->queue, s->worker->loop->bufs);
}

void closing_linger(struct session *s)
{
	begin(s, SESS_END_BACKEND_CLOSED);
	linger(s);
}

void closing_flush(struct session *s, enum sess_end end)
{
	begin(s, end);
	s->active_ms = loop_now_ms(s->worker->loop);
	session_flow(s, TO_CLIENT)->kind = FLOW_DONE;
	session_timeout(s, LINGER_MS);
	if (flow_has_bytes(s, TO_CLIENT)) {
		flow_send(s, TO_CLIENT);
	} else {
		conn_shutdown(&s->worker->conns, s->conn[CLIENT]);
		linger(s);
	}
}

void closing_send(struct session *s, enum sess_end end, struct buf *b)
{
	struct worker *w = s->worker;

	LB_ASSERT(!session_is_over(s) && b->len > 0);
	s->active_ms = loop_now_ms(w->loop);
	quiet_note_taken(s, CLIENT);
	begin(s, end);
	queue_push(&session_flow(s, TO_CLIENT)->queue, w->loop->bufs, b);
	session_flow(s, TO_CLIENT)->kind = FLOW_DONE;
	session_timeout(s, LINGER_MS);
	flow_send(s, TO_CLIENT);
}

void closing_reset(struct session *s, enum side side)
{
	s->must_reset = true;
	const struct conn *c = s->conn[side];
	if (!conn_is_open(c) || c->rx == RX_RESET ||
	    tcp_state_is_delivered(s->worker->loop, c->fd)) {
		session_close_now(s, SESS_END_BACKEND_RESET);
		return;
	}
	session_set_end_reason(s, SESS_END_BACKEND_RESET);
	session_set_state(s, SESS_CLOSING);
	s->active_ms = loop_now_ms(s->worker->loop);
	session_timeout(s, DELIVERY_LOOK_MS);
	drop_more(s, side);
}

bool closing_needs_backend(const struct session *s)
{
	return s->must_reset; /* both ends are reset, so both must still be open */
}

/*
 * Whether the peers' kernels have acknowledged all bytes that lb has sent. From then on a reset
 * destroys none of these bytes: neither lb's own reset, nor the reset that a close with unread
 * bytes causes.
 */
static bool are_last_bytes_out(const struct session *s)
{
	struct loop *l = s->worker->loop;

	if (!s->must_reset)
		return !flow_has_bytes(s, TO_CLIENT) &&
		       tcp_state_is_delivered(l, s->conn[CLIENT]->fd);
	for (enum side side = CLIENT; side < N_SIDES; side++)
		if (!flow_ends_in_reset(s, dir_from(side)) &&
		    !tcp_state_is_delivered(l, s->conn[side]->fd))
			return false;
	return true;
}

void closing_on_timeout(struct session *s)
{
	unsigned sides = s->must_reset ? BOTH_SIDES : 1u << CLIENT;
	uint64_t upload_ms = s->must_reset ? 0 : upload_left_ms(s);

	LB_ASSERT(s->state == SESS_CLOSING);
	if (upload_ms > 0)
		session_timeout(s, upload_ms);
	else if (are_last_bytes_out(s) ||
		 quiet_judge(s, sides, &s->active_ms, DELIVERY_WAIT_MS, DELIVERY_WAIT_MS))
		/* session_close_now() keeps the end reason that was noted before. */
		session_close_now(s, SESS_END_CLIENT_CLOSED);
	else
		look_again(s);
}

/* Handles the completion of a receive while lb waits to send a reset. The bytes are dropped;
 * closing_on_timeout() ends the wait when all bytes are acknowledged. */
static void drop_before_reset(struct session *s, enum side side, const struct completion *c)
{
	if (c->res <= 0 && c->res != -ECANCELED && c->res != -ENOBUFS)
		conn_ended(s->conn[side], c->res);
	if (!c->more)
		drop_more(s, side);
}

static void count_dropped(struct session *s, uint32_t n)
{
	uint32_t sum = s->dropped + n;

	_Static_assert(LINGER_BYTES + 1 <= 0x1ffff, "dropped has 17 bits");
	LB_ASSERT(n > 0);
	s->dropped = (sum <= LINGER_BYTES ? sum : LINGER_BYTES + 1) & 0x1ffff;
	if (s->x != NULL)
		s->x->dropped_ms = loop_now_ms(s->worker->loop);
}

void closing_on_recv(struct session *s, enum side side, const struct completion *c)
{
	struct conn *from = s->conn[side];

	LB_ASSERT(s->state == SESS_CLOSING);
	if (c->buf != NULL)
		buf_put(s->worker->loop->bufs, c->buf);
	if (s->must_reset) {
		drop_before_reset(s, side, c);
		return;
	}
	if (side == BACKEND)
		return;
	if (c->res == -ECANCELED ||
	    c->res == -ENOBUFS) { /* the relay's receive was cancelled, or no buffer was free */
		drop_more(s, side);
		return;
	}
	if (c->res > 0)
		count_dropped(s, (uint32_t)c->res);
	else if (c->res == 0)
		conn_ended(from, 0);

	bool is_answered = from->tx != TX_OPEN;
	bool is_enough =
		s->dropped > LINGER_BYTES && upload_left_ms(s) == 0 && are_last_bytes_out(s);
	if (is_enough || c->res < 0 || (from->rx >= RX_EOF && is_answered))
		session_close_now(s, SESS_END_CLIENT_CLOSED);
	else if (!c->more)
		drop_more(s, side);
}

void closing_on_send(struct session *s, enum dir d, const struct completion *c)
{
	struct flow *f = session_flow(s, d);

	/* Neither the backend nor a client that is to be reset gets more bytes. */
	if (d == TO_BACKEND || s->must_reset) {
		queue_clear(&f->queue, s->worker->loop->bufs);
		return;
	}
	if (c->res == -EAGAIN) {
		flow_send_refused(s, TO_CLIENT);
		return;
	}
	if (c->res < 0) {
		session_close_now(s, SESS_END_CLIENT_RESET);
		return;
	}
	flow_sent(s, TO_CLIENT, (uint32_t)c->res);
	if (flow_has_bytes(s, TO_CLIENT)) {
		flow_send(s, TO_CLIENT);
		return;
	}
	if (!flow_end(s, TO_CLIENT))
		return;
	conn_shutdown(&s->worker->conns, s->conn[CLIENT]);
	linger(s);
}
