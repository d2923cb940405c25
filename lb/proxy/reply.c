/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DRAIN: what is done for a session whose relay is over, or was never reached.
 *
 *   answer    send lb's response --> FIN --> read and drop, at most 2 s or 64 KiB --> close
 *   linger                           (FIN passed on) read and drop ...
 *             (a body that goes on coming, for 30 s at most)
 *             (but not before the client's kernel has all that was sent, for 30 s at most)
 *   reset     wait until the peer's kernel has acknowledged all --> RST to both sides
 *
 * Thread: owner worker.
 */
#include "proxy/reply.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "net/tcp_state.h"
#include "proto/forward.h"
#include "proxy/exchange.h"
#include "proxy/flow.h"
#include "proxy/listener.h"
#include "proxy/quiet.h"
#include "proxy/splice.h"
#include "proxy/worker.h"

/* RFC 9112, 9.6 asks for a while; these are the design's numbers (section 7). */
#define LINGER_MS 2000
#define LINGER_BYTES (64u << 10)

/*
 * Who sends a large body may look for an answer only behind it, or not before a send fails: what is
 * still to come is read for so long in all, while it does come. As nginx does.
 */
#define UPLOAD_MS 30000

/* How often delivery is looked at before a close that may reset, and for how long. */
#define DELIVERY_LOOK_MS 5
#define DELIVERY_WAIT_MS 30000

static uint64_t waited_ms(const struct session *s)
{
	return loop_now_ms(s->worker->loop) - s->active_ms;
}

/* Looks again soon at first, then ever more seldom, and at the end of the wait. */
static void look_again(struct session *s)
{
	uint64_t waited = waited_ms(s);
	uint64_t in_ms = waited < 100 ? DELIVERY_LOOK_MS : waited / 10;
	uint64_t left_ms = DELIVERY_WAIT_MS > waited ? DELIVERY_WAIT_MS - waited : waited / 10;

	session_timeout(s, in_ms < left_ms ? in_ms : left_ms);
}

/*
 * Reads on, only to drop it: a peer that is stuck in writing would never read its last words, and
 * unread bytes make a close a reset.
 */
static void drop_more(struct session *s, enum side side)
{
	struct conn *c = s->conn[side];

	if (c->rx < RX_EOF && !conn_is_in_flight(c, CONN_RECV))
		conn_recv(&s->worker->conns, c, LINGER_BYTES, BUF_SMALL);
}

/* Whether the rest of a request's body is still to come, and may be told from anything else. */
static bool is_uploading(const struct session *s)
{
	const struct exchange *x = s->x;

	if (x == NULL || s->is_tunnel || s->end == SESS_END_BAD_REQUEST ||
	    s->end == SESS_END_HANDSHAKE_TIMEOUT)
		return false;
	if (session_flow(s, TO_BACKEND)->kind == FLOW_BODY)
		return true;
	if (session_flow(s, TO_BACKEND)->kind == FLOW_DONE)
		return false;
	return x->upgrade.kind == UPGRADE_NONE && (x->req.is_chunked || x->req.content_length > 0);
}

/* For how long the rest of a body is waited for; 0: it is no more. */
static uint64_t upload_left_ms(const struct session *s)
{
	uint64_t now_ms = loop_now_ms(s->worker->loop);

	if (!is_uploading(s))
		return 0;
	uint64_t in_all_ms = s->x->drain_ms + UPLOAD_MS, silent_ms = s->x->dropped_ms + LINGER_MS;
	uint64_t end_ms = in_all_ms < silent_ms ? in_all_ms : silent_ms;
	return end_ms > now_ms ? end_ms - now_ms : 0;
}

/* The answer is out and its end passed on: only the client's own close is missing. */
static void linger(struct session *s)
{
	if (s->conn[CLIENT]->rx >= RX_EOF) {
		session_kill(s, SESS_END_CLIENT_CLOSED);
		return;
	}
	s->active_ms = loop_now_ms(s->worker->loop);
	session_timeout(s, LINGER_MS);
	drop_more(s, CLIENT);
}

/* Leaves the relay or the handshake behind: of the backend nothing more is wanted. */
static void begin(struct session *s, enum sess_end end)
{
	session_blame(s, end);
	session_set_state(s, SESS_DRAIN);
	if (s->x != NULL)
		s->x->drain_ms = s->x->dropped_ms = loop_now_ms(s->worker->loop);
	struct conns *conns = &s->worker->conns;
	conn_cancel_all(conns, s->conn[BACKEND]);
	conn_cancel(conns, s->conn[CLIENT], CONN_ERR);
	conn_cancel(conns, s->conn[CLIENT], CONN_READABLE);
	/* What waits for the backend, a body that came with its head say, has nowhere to go. */
	if (!flow_is_stopped(s, TO_BACKEND))
		conn_set_tx(s->conn[BACKEND], TX_CLOSED);
	splice_drop(s, TO_BACKEND);
	if (!flow_is_sending(s, TO_BACKEND))
		queue_clear(&session_flow(s, TO_BACKEND)->queue, s->worker->loop->bufs);
}

void reply_linger(struct session *s)
{
	begin(s, SESS_END_BACKEND_CLOSED);
	linger(s);
}

void reply_status(struct session *s, enum sess_end end, int status, const char *why,
		  const char *extra)
{
	struct worker *w = s->worker;

	if (s->state == SESS_DEAD || s->state == SESS_DRAIN)
		return;
	if (!s->is_refused && s->state <= SESS_PICK) {
		s->is_refused = true;
		counter_add(&s->from->listener->tally[w->id].rejected, 1);
	}
	if (s->x != NULL)
		s->x->error = why;
	struct buf *b = NULL;
	if (s->is_http && s->x != NULL && buf_reserve(w->loop->bufs, BUF_SMALL, 1) == 0)
		b = buf_get(w->loop->bufs, BUF_SMALL);
	if (b == NULL) {
		s->must_reset = true; /* mode tcp, a tunnel, or no memory for an answer */
		session_kill(s, end);
		return;
	}

	enum forward_body body = s->x->req.method == HTTP1_HEAD ? FORWARD_NO_BODY : FORWARD_BODY;
	int n = forward_error(status, why, extra, body, b->data, b->cap);
	LB_ASSERT(n > 0);
	b->len = (uint32_t)n;
	session_set_status(s, (unsigned)status);
	s->active_ms = loop_now_ms(w->loop);
	quiet_note_taken(s, CLIENT);
	begin(s, end);
	queue_push(&session_flow(s, TO_CLIENT)->queue, w->loop->bufs, b);
	session_flow(s, TO_CLIENT)->kind = FLOW_DONE;
	session_timeout(s, LINGER_MS);
	flow_send(s, TO_CLIENT);
}

void reply_error(struct session *s, enum sess_end end, const char *why)
{
	char extra[40] = "";
	int status = sess_end_status(end);

	if (status == 503) {
		/* Spread out, so that those who were refused together do not come back together. */
		uint8_t r;
		loop_random(s->worker->loop, &r, 1);
		(void)snprintf(extra, sizeof(extra), "Retry-After: %d\r\n", 1 + r % 5);
	}
	reply_status(s, end, status, why != NULL ? why : sess_end_told(end), extra);
}

void reply_out_of_memory(struct session *s)
{
	s->worker->is_short = true;
	reply_error(s, SESS_END_NO_BACKEND, "out of memory");
}

void reply_reset(struct session *s, enum side side)
{
	s->must_reset = true;
	const struct conn *c = s->conn[side];
	if (!conn_is_open(c) || c->rx == RX_RESET ||
	    tcp_state_is_delivered(s->worker->loop, c->fd)) {
		session_kill(s, SESS_END_BACKEND_RESET);
		return;
	}
	session_blame(s, SESS_END_BACKEND_RESET);
	session_set_state(s, SESS_DRAIN);
	s->active_ms = loop_now_ms(s->worker->loop);
	session_timeout(s, DELIVERY_LOOK_MS);
	drop_more(s, side);
}

bool reply_needs_backend(const struct session *s)
{
	return s->must_reset; /* perhaps it is the backend that is to be reset */
}

/*
 * Whether the peers' kernels have all that is meant for them: from then on a reset (lb's own, or
 * that of a close with bytes unread) takes nothing away.
 */
static bool are_last_words_out(const struct session *s)
{
	struct loop *l = s->worker->loop;

	if (!s->must_reset)
		return queue_is_empty(&session_flow(s, TO_CLIENT)->queue) &&
		       tcp_state_is_delivered(l, s->conn[CLIENT]->fd);
	for (enum side side = CLIENT; side < N_SIDES; side++)
		if (!flow_ends_in_reset(s, dir_from(side)) &&
		    !tcp_state_is_delivered(l, s->conn[side]->fd))
			return false;
	return true;
}

void reply_on_timeout(struct session *s)
{
	unsigned sides = s->must_reset ? BOTH_SIDES : 1u << CLIENT;
	uint64_t upload_ms = s->must_reset ? 0 : upload_left_ms(s);

	if (upload_ms > 0)
		session_timeout(s, upload_ms);
	else if (are_last_words_out(s) ||
		 quiet_judge(s, sides, &s->active_ms, DELIVERY_WAIT_MS, DELIVERY_WAIT_MS))
		session_kill(s, SESS_END_CLIENT_CLOSED); /* has a reason already */
	else
		look_again(s);
}

/* Waiting to reset: the timer looks whether what was sent is delivered (reply_on_timeout). */
static void drop_before_reset(struct session *s, enum side side, const struct completion *c)
{
	if (c->res <= 0 && c->res != -ECANCELED && c->res != -ENOBUFS)
		conn_ended(s->conn[side], c->res);
	if (!c->more)
		drop_more(s, side);
}

static void count_dropped(struct session *s, uint32_t n)
{
	uint32_t sum = s->drained + n;

	s->drained = (sum <= LINGER_BYTES ? sum : LINGER_BYTES + 1) & 0x1ffff;
	if (s->x != NULL)
		s->x->dropped_ms = loop_now_ms(s->worker->loop);
}

void reply_on_recv(struct session *s, enum side side, const struct completion *c)
{
	struct conn *from = s->conn[side];

	if (c->buf != NULL)
		buf_put(s->worker->loop->bufs, c->buf);
	if (s->must_reset) {
		drop_before_reset(s, side, c);
		return;
	}
	if (side == BACKEND)
		return;
	if (c->res == -ECANCELED || c->res == -ENOBUFS) { /* one of the relay's, or no buffer */
		drop_more(s, side);
		return;
	}
	if (c->res > 0)
		count_dropped(s, (uint32_t)c->res);
	else if (c->res == 0)
		conn_ended(from, 0);

	bool is_answered = from->tx != TX_OPEN;
	bool is_enough =
		s->drained > LINGER_BYTES && upload_left_ms(s) == 0 && are_last_words_out(s);
	if (is_enough || c->res < 0 || (from->rx >= RX_EOF && is_answered))
		session_kill(s, SESS_END_CLIENT_CLOSED);
	else if (!c->more)
		drop_more(s, side);
}

void reply_on_send(struct session *s, enum dir d, const struct completion *c)
{
	struct flow *f = session_flow(s, d);

	if (d == TO_BACKEND || s->must_reset) { /* what was on its way to the backend */
		queue_clear(&f->queue, s->worker->loop->bufs);
		return;
	}
	if (c->res == -EAGAIN) {
		flow_send_refused(s, TO_CLIENT);
		return;
	}
	if (c->res < 0) {
		session_kill(s, SESS_END_CLIENT_RESET);
		return;
	}
	flow_count_sent(s, TO_CLIENT, (uint32_t)c->res);
	queue_consume(&f->queue, s->worker->loop->bufs, (uint32_t)c->res);
	if (!queue_is_empty(&f->queue)) {
		flow_send(s, TO_CLIENT);
		return;
	}
	conn_shutdown(&s->worker->conns, s->conn[CLIENT]);
	linger(s);
}
