/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the connect to the relay: the request goes out, and the response's head comes back.
 *
 * Where the pool's backends expect a PROXY header, response_start() queues it before all else.
 * In mode tcp there is no request and no response, so response_start() begins the tunnel. In mode
 * http the exchange is in SEND until the last byte of the request is sent to the backend, then in
 * AWAIT. response_start() queues the request's head before the part of its body that has come
 * already, and response_on_sent() notices that the last byte is sent. The response's head may come
 * at any time; response_on_recv() gathers it, and judge_response() decides:
 *
 *   101                    upgrade_judge_101()   the tunnel stands: DONE, and the session in TUNNEL
 *   100, 102, 103, ...     pass_interim()        passed on; the next head is awaited
 *   200 and above          accept_response()     exactly its body passes: BODY
 *
 * Meanwhile response_on_client_recv() receives the client's bytes, no more than a flow may hold.
 * The body of a plain request follows its head. Early bytes of a tunnel are kept (x->held) until
 * the 101 has come, because a backend that refuses the upgrade would read them as its next request.
 * A request is "whole" when its body has come to its end, and "sending" until a send has handed its
 * last byte to the kernel.
 *
 * When a backend closes or resets the connection, or sends bytes that are no response, the backend
 * has failed. fail() counts the failure and answers the client with 502 or 504.
 *
 * Thread: owner worker.
 */
#include "proxy/response.h"

#include <errno.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "net/sock.h"
#include "proto/forward.h"
#include "proto/http1.h"
#include "proto/upgrade.h"
#include "proxy/answer.h"
#include "proxy/exchange.h"
#include "proxy/flow.h"
#include "proxy/head.h"
#include "proxy/origin.h"
#include "proxy/quiet.h"
#include "proxy/relay.h"
#include "proxy/tls_note.h"
#include "proxy/tunnel.h"
#include "proxy/worker.h"

/* When more bytes of interim responses than this wait for the client, the next interim response is
 * an error. */
#define MAX_INTERIM_BYTES (64u << 10)

/* ---- the tunnel stands ----------------------------------------------------------------------- */

/* Moves the client's early bytes to the flow TO_BACKEND, and counts the frames of a WebSocket in
 * them. */
static void release_held(struct session *s)
{
	struct flow *f = session_flow(s, TO_BACKEND);

	LB_ASSERT(f->kind == FLOW_WS || f->kind == FLOW_RAW);
	for (struct buf *b; (b = queue_pop(&s->x->held)) != NULL;) {
		if (f->kind == FLOW_WS)
			tunnel_track(s, TO_BACKEND, b->data + b->off, b->len);
		queue_push(&f->queue, s->worker->loop->bufs, b);
	}
}

/* Notes the time from the accept until now: for a tunnel the time of its handshake, for a plain
 * request the time until its response has begun. */
static void note_handshake(struct session *s)
{
	struct worker_stats *stats = s->worker->stats;
	struct pool_tally *tally = &s->pool->tally;
	bool is_plain = s->is_http && s->x->upgrade.kind == UPGRADE_NONE;
	uint64_t ns = loop_now_ns(s->worker->loop) - s->start_ns;

	s->handshake_ms = (uint32_t)(ns / 1000000);
	metric_hist_observe_ns(is_plain ? &stats->response : &stats->handshake, ns);
	metric_hist_observe_shared_ns(is_plain ? &tally->response : &tally->handshake, ns);
}

static void begin_tunnel(struct session *s, enum flow_kind kind)
{
	uint32_t user_ms = pool_user_ms(s->pool);

	for (enum dir d = TO_BACKEND; d <= TO_CLIENT; d++) {
		session_flow(s, d)->kind = (uint8_t)kind;
		if (kind == FLOW_WS)
			ws_track_init(&session_flow(s, d)->ws, d == TO_BACKEND);
	}
	release_held(s);
	/* SOCK_USER_MS is inherited from the listening socket. */
	if (user_ms != SOCK_USER_MS)
		sock_set_user_timeout(s->worker->loop, s->conn[CLIENT]->fd,
				      user_ms == CONF_OFF ? 0 : user_ms);
	note_handshake(s);
}

/* Moves the session to TUNNEL and starts the relay. Gives the exchange back, and with it the
 * snapshot; the session keeps its backend and its pool. */
static void relay_tunnel(struct session *s)
{
	LB_ASSERT(queue_is_empty(&s->x->held) && s->has_slot);
	exchange_set_outcome(s->x, OUTCOME_TUNNEL);
	session_set_state(s, SESS_TUNNEL);
	worker_return_exchange(s->worker, s->x);
	s->x = NULL;
	relay_start(s);
}

/* ---- the request ----------------------------------------------------------------------------- */

/* Queues the PROXY header before all other bytes, where the pool's backends expect one. Returns
 * false when memory is short. */
static bool push_proxy_header(struct session *s)
{
	if (s->x->conf->proxy_protocol == CONF_PROXY_OFF)
		return true;
	struct buf *b = origin_header(s);

	if (b == NULL)
		return false;
	queue_push_front(&session_flow(s, TO_BACKEND)->queue, b);
	return true;
}

/* Builds the request's head for the backend, and queues it before the part of the body that has
 * come already. Returns false when memory is short. */
static bool push_head(struct session *s)
{
	struct exchange *x = s->x;
	struct buf_pool *pool = s->worker->loop->bufs;
	struct forward f = {
		.client = &s->client,
		.backend = &s->backend->addr,
		.upgrade = &x->upgrade,
		.is_tls = s->tls != NULL,
		.extra = s->tls != NULL ? s->tls->fields : (struct slice){ 0 },
	};
	const uint8_t *bytes = x->head[CLIENT]->data;
	uint32_t most =
		x->req.head_len + FORWARD_GROWTH + 2u * x->req.authority.len + (uint32_t)f.extra.n;
	struct buf *b = head_new(pool, most);

	if (b == NULL)
		return false;
	int n = forward_request(&x->req, bytes, &f, b->data, b->cap);
	LB_ASSERT(n > 0);
	b->len = (uint32_t)n;
	queue_push_front(&session_flow(s, TO_BACKEND)->queue, b);
	return true;
}

static void read_more(struct session *s)
{
	const struct buf *head = s->x->head[BACKEND];
	uint32_t have = head != NULL ? head->len : 0;

	LB_ASSERT(have < HEAD_RECV_BYTES);
	conn_recv(&s->worker->conns, s->conn[BACKEND], HEAD_RECV_BYTES - have, BUF_SMALL);
}

/* Whether all bytes of the request have come from the client, those of its body included. */
static bool is_request_whole(const struct session *s)
{
	return flow_is_ended(s, TO_BACKEND) || session_flow(s, TO_BACKEND)->kind == FLOW_HOLD;
}

/* Whether bytes of a request are still to come or to be sent, so that no response can be expected
 * yet. */
static bool is_sending(const struct session *s)
{
	const struct exchange *x = s->x;

	return (x->upgrade.kind == UPGRADE_NONE || x->has_body_first) &&
	       (!is_request_whole(s) || !queue_is_empty(&session_flow(s, TO_BACKEND)->queue)) &&
	       !flow_is_stopped(s, TO_BACKEND);
}

/* Returns for how many ms no byte may move: timeouts.body while the request is sent, then the limit
 * for the response. */
static uint32_t wait_limit_ms(const struct session *s)
{
	const struct conf_pool *c = s->x->conf;

	if (is_sending(s))
		return c->body_ms;
	return s->x->upgrade.kind == UPGRADE_NONE ? c->response_ms : c->upgrade_ms;
}

/* Moves a request that is sent to AWAIT, where the time-out for the response begins. */
static void await_response(struct session *s)
{
	LB_ASSERT(!is_sending(s));
	exchange_set_state(s->x, EXCHANGE_AWAIT);
	s->x->awaited_ms = loop_now_ms(s->worker->loop);
	session_timeout(s, quiet_patience_ms(s, wait_limit_ms(s)));
}

void response_start(struct session *s)
{
	LB_ASSERT(s->x->state == EXCHANGE_CONNECT && conn_is_open(s->conn[BACKEND]));
	if ((s->is_http && !push_head(s)) || !push_proxy_header(s)) {
		answer_out_of_memory(s);
		return;
	}
	if (!s->is_http) {
		begin_tunnel(s, FLOW_RAW);
		relay_tunnel(s);
		return;
	}
	exchange_set_state(s->x, EXCHANGE_SEND);
	http1_init_response(&s->x->resp);
	s->active_ms = loop_now_ms(s->worker->loop);
	if (is_sending(s))
		session_timeout(s, quiet_patience_ms(s, wait_limit_ms(s)));
	else
		await_response(s);
	flow_send(s, TO_BACKEND);
	read_more(s);
}

void response_on_sent(struct session *s)
{
	if (s->x->state == EXCHANGE_SEND && !is_sending(s))
		await_response(s);
}

/* ---- the response's head --------------------------------------------------------------------- */

static void fail(struct session *s, enum outcome o, const char *why)
{
	backend_count_failure(s->backend, s->worker->id);
	answer_error(s, o, why);
}

/*
 * Takes the whole head out of the bytes from the backend, and returns it rewritten for the client.
 * Sets *ret_rest to the bytes after the head, or to NULL. When memory is short, answers the client
 * and returns NULL.
 */
static struct buf *take_head(struct session *s, struct buf **ret_rest)
{
	struct exchange *x = s->x;
	struct buf_pool *pool = s->worker->loop->bufs;
	struct buf *head = head_new(pool, x->resp.head_len + FORWARD_GROWTH);

	LB_ASSERT(x->resp.head_len > 0 && x->resp.head_len <= x->head[BACKEND]->len);
	if (head == NULL || head_cut_rest(x->head[BACKEND], pool, x->resp.head_len, ret_rest) < 0) {
		if (head != NULL)
			buf_put(pool, head);
		answer_out_of_memory(s);
		return NULL;
	}
	int n = forward_response(&x->resp, x->head[BACKEND]->data, x->req.minor == 0, head->data,
				 head->cap);
	LB_ASSERT(n > 0);
	head->len = (uint32_t)n;
	buf_put(pool, x->head[BACKEND]);
	x->head[BACKEND] = NULL;
	return head;
}

/* Passes on an interim response other than 101 (RFC 9110, 15.2), but not to a client of HTTP/1.0.
 * Returns false when the request has failed, so that no further head is to be judged. */
static bool pass_interim(struct session *s)
{
	struct exchange *x = s->x;
	struct buf *head, *rest;
	const char *why = forward_check(&x->resp, x->head[BACKEND]->data);

	if (why == NULL && session_flow(s, TO_CLIENT)->queue.bytes > MAX_INTERIM_BYTES)
		why = "too many interim responses";
	if (why != NULL) {
		fail(s, OUTCOME_BAD_RESPONSE, why);
		return false;
	}
	head = take_head(s, &rest);
	if (head == NULL)
		return false;
	if (x->req.minor == 0) {
		buf_put(s->worker->loop->bufs, head);
	} else {
		queue_push(&session_flow(s, TO_CLIENT)->queue, s->worker->loop->bufs, head);
		flow_send(s, TO_CLIENT);
	}
	x->head[BACKEND] = rest;
	http1_init_response(&x->resp);
	return true;
}

static void accept_upgrade(struct session *s)
{
	struct buf_pool *pool = s->worker->loop->bufs;
	struct flow *f = session_flow(s, TO_CLIENT);
	bool is_ws = s->x->upgrade.kind == UPGRADE_WEBSOCKET;
	struct buf *rest, *head = take_head(s, &rest);

	LB_ASSERT(s->x->resp.status == 101 && s->x->upgrade.kind != UPGRADE_NONE);
	if (head == NULL)
		return;
	session_set_status(s, 101);
	begin_tunnel(s, is_ws ? FLOW_WS : FLOW_RAW);
	queue_push(&f->queue, pool, head);
	if (rest != NULL) { /* the first bytes of the tunnel came with the head */
		if (is_ws)
			tunnel_track(s, TO_CLIENT, rest->data, rest->len);
		queue_push(&f->queue, pool, rest);
	}
	relay_tunnel(s);
}

/*
 * Turns the request into a plain one, because the backend has refused its upgrade. The request's
 * body goes on; bytes that the client sent for the tunnel are dropped.
 */
static void make_plain(struct session *s)
{
	struct flow *f = session_flow(s, TO_BACKEND);

	queue_clear(&s->x->held, s->worker->loop->bufs);
	s->x->upgrade.kind = UPGRADE_NONE;
	if (f->kind == FLOW_HOLD) {
		f->kind = FLOW_DONE;
		conn_cancel(&s->worker->conns, s->conn[CLIENT], CONN_RECV);
	}
}

/* Passes on a final response: queues its rewritten head, then relays exactly its body. */
static void accept_response(struct session *s)
{
	struct exchange *x = s->x;
	struct worker *w = s->worker;
	struct flow *f = session_flow(s, TO_CLIENT);
	struct buf *rest, *head = take_head(s, &rest);

	if (head == NULL)
		return;
	LB_ASSERT(x->resp.status >= 200 && s->status == 0);
	session_set_status(s, x->resp.status);
	queue_push(&f->queue, w->loop->bufs, head);

	f->kind = FLOW_BODY;
	body_init_response(&x->body[BACKEND], &x->resp, x->req.method);
	if (x->req.minor == 0)
		body_unframe(&x->body[BACKEND]);
	note_handshake(s);
	if (x->upgrade.kind != UPGRADE_NONE) {
		/* When the backend refuses an upgrade by a status of 500 or above, the backend has
		 * failed, not the client. */
		if (s->status >= 500)
			backend_count_failure(s->backend, w->id);
		make_plain(s);
	}
	exchange_set_state(x, EXCHANGE_BODY);
	if (body_is_done(&x->body[BACKEND])) {
		f->kind = FLOW_DONE;
		if (rest != NULL)
			buf_put(w->loop->bufs, rest);
	} else if (rest != NULL) {
		relay_take(s, BACKEND, rest);
	}
	if (session_is_relaying(s))
		relay_start(s);
}

static void judge_101(struct session *s)
{
	struct exchange *x = s->x;
	const uint8_t *bytes = x->head[BACKEND]->data;
	const char *why =
		upgrade_judge_101(&x->upgrade, &x->resp, bytes, &x->req, x->head[CLIENT]->data);

	if (why == NULL)
		why = forward_check(&x->resp, bytes);
	if (why == NULL)
		accept_upgrade(s);
	else
		fail(s, OUTCOME_BAD_ACCEPT, why);
}

static void judge_final(struct session *s)
{
	struct exchange *x = s->x;
	const char *why = forward_check(&x->resp, x->head[BACKEND]->data);

	if (why == NULL)
		why = body_check_response(&x->resp, x->req.method);
	if (why == NULL)
		accept_response(s);
	else
		fail(s, OUTCOME_BAD_RESPONSE, why);
}

/*
 * Whether a 101 has come before the request is whole. Such a 101 is judged only when the request is
 * whole, for two reasons: a client uses the new protocol only after its request (RFC 9110, 7.8),
 * and in a tunnel lb could no longer find the end of the request's body.
 */
static bool is_101_early(const struct session *s)
{
	const struct exchange *x = s->x;

	return x->head[BACKEND] != NULL && x->resp.head_len != 0 && x->resp.status == 101 &&
	       x->has_body_first && !is_request_whole(s);
}

static void judge_response(struct session *s)
{
	struct exchange *x = s->x;

	while (x->head[BACKEND] != NULL) {
		const struct buf *head = x->head[BACKEND];
		enum http1_verdict v = http1_parse(&x->resp, head->data, head->len);

		if (v == HTTP1_MORE)
			return;
		if (v != HTTP1_OK) {
			fail(s, OUTCOME_BAD_RESPONSE, "malformed response from the backend");
			return;
		}
		if (is_101_early(s))
			return;
		if (x->resp.status == 101) {
			judge_101(s);
			return;
		}
		if (x->resp.status >= 200) {
			judge_final(s);
			return;
		}
		if (!pass_interim(s))
			return;
	}
}

void response_on_recv(struct session *s, const struct completion *c)
{
	struct exchange *x = s->x;

	LB_ASSERT(session_awaits_response(s));
	if (c->res == 0) {
		fail(s, OUTCOME_BAD_RESPONSE, "the backend closed before its response was whole");
		return;
	}
	if (c->res < 0 && c->res != -ENOBUFS) {
		fail(s, outcome_of_end(relay_find_reason(s, BACKEND, c->res)), NULL);
		return;
	}
	if (c->res > 0) {
		if (head_add(&x->head[BACKEND], s->worker->loop->bufs, c->buf) < 0) {
			answer_out_of_memory(s);
			return;
		}
		judge_response(s);
	}
	if (session_awaits_response(s) && !flow_is_receiving(s, TO_CLIENT) && !is_101_early(s))
		read_more(s);
}

/* ---- the client meanwhile -------------------------------------------------------------------- */

void response_on_client_recv(struct session *s, const struct completion *c)
{
	if (c->res > 0) {
		bool was_early = is_101_early(s);
		s->active_ms = loop_now_ms(s->worker->loop);
		relay_take(s, CLIENT, c->buf);
		if (was_early && session_awaits_response(s) && !is_101_early(s))
			judge_response(s);
	} else if (c->res == 0) {
		/* A client that waits for an upgrade does not half-close, so it has left. */
		if (s->is_http && s->x->upgrade.kind != UPGRADE_NONE) {
			session_close_now(s, SESS_END_CLIENT_CLOSED);
			return;
		}
		/* A FIN in the middle of its body says that the client has left. */
		if (session_flow(s, TO_BACKEND)->kind == FLOW_BODY) {
			session_close_now(s, SESS_END_CLIENT_CLOSED);
			return;
		}
		conn_ended(s->conn[CLIENT], 0);
		/* The FIN has come after a whole plain request. */
		if (s->is_http)
			quiet_client_fin(s);
		else
			session_set_end_reason(s, SESS_END_CLIENT_CLOSED);
	} else if (c->res != -ECANCELED && c->res != -ENOBUFS) {
		session_close_now(s, SESS_END_CLIENT_RESET);
		return;
	}
	if (!c->more && !session_is_over(s))
		relay_read(s, CLIENT);
}

/* ---- time ------------------------------------------------------------------------------------ */

void response_on_timeout(struct session *s)
{
	/*
	 * While the request is sent, each byte that moves in either direction delays the time-out.
	 * In AWAIT only bytes of the request that the backend's kernel acknowledges delay it; early
	 * bytes of the client and interim responses do not.
	 */
	bool is_asked = s->x->state == EXCHANGE_AWAIT;
	uint32_t limit_ms = wait_limit_ms(s);

	if (!quiet_judge(s, is_asked ? 1u << BACKEND : BOTH_SIDES,
			 is_asked ? &s->x->awaited_ms : &s->active_ms,
			 quiet_patience_ms(s, limit_ms), quiet_shut_out_ms(limit_ms)))
		return;
	if (quiet_may_have_left(s)) {
		session_close_now(s, SESS_END_CLIENT_CLOSED);
		return;
	}
	if (is_sending(s) && queue_is_empty(&session_flow(s, TO_BACKEND)->queue))
		/* The body is not whole, and lb has no byte of it to send, so the client has
		 * stopped sending. */
		answer_error(s, OUTCOME_BODY_TIMEOUT, NULL);
	else
		fail(s, OUTCOME_RESPONSE_TIMEOUT, NULL);
}
