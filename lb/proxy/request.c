/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request's head in mode http: it is read, judged and routed.
 *
 *   request_start()    IDLE: a receive is armed, the time-out of the head runs
 *   request_on_recv()  the first byte of a request: BUSY, and the exchange is in HEAD
 *     judge()            http1_parse()                     400 431 501 505, or more is read
 *     accept_head()        apply_rules()                   400, by what the listener says
 *                          upgrade_judge()                 400 426
 *                          forward_check()                 400
 *                          find_pool(): route_match()      404
 *                          take_rest()                     what came behind the head
 *   pick_start()       the exchange goes to WAIT (pick.c)
 *
 * A head is received into a buffer of its own until it is whole, because parts of it (slices of
 * struct http1_head) are used until the response has come. The bytes after the head belong to the
 * body of the request, or to the tunnel that the client expects; take_rest() cuts these bytes off
 * and gives them to the flow TO_BACKEND.
 *
 * A request is routed by the newest configuration of its listener. When that has no route for the
 * request, the configuration under which the connection was accepted is used (find_pool()).
 *
 * Thread: owner worker.
 */
#include "proxy/request.h"

#include <errno.h>

#include "balance/pool.h"
#include "balance/route.h"
#include "proto/forward.h"
#include "proto/http1.h"
#include "proto/upgrade.h"
#include "proxy/answer.h"
#include "proxy/exchange.h"
#include "proxy/head.h"
#include "proxy/listener.h"
#include "proxy/names.h"
#include "proxy/pick.h"
#include "proxy/relay.h"
#include "proxy/worker.h"

static void read_more(struct session *s)
{
	const struct buf *head = s->x->head[CLIENT];
	uint32_t have = head != NULL ? head->len : 0;

	LB_ASSERT(have < HEAD_RECV_BYTES);
	conn_recv(&s->worker->conns, s->conn[CLIENT], HEAD_RECV_BYTES - have, BUF_SMALL);
}

static uint8_t what_is_taken(const struct conf_listener *l)
{
	unsigned takes = 0;

	if (l->http.dots != CONF_DOTS_REFUSE)
		takes |= HTTP1_TAKES_DOTS;
	if (l->http.targets == CONF_TARGETS_RELAXED)
		takes |= HTTP1_TAKES_UTF8;
	return (uint8_t)takes;
}

/* The time for the head counts from the accept, a handshake of TLS included. */
static uint64_t head_time_left_ms(const struct session *s)
{
	uint64_t limit_ms = s->x->pl->conf->handshake_ms;
	uint64_t age_ms = (loop_now_ns(s->worker->loop) - s->start_ns) / 1000000;

	if (limit_ms == CONF_OFF)
		return CONF_OFF;
	return age_ms < limit_ms ? limit_ms - age_ms : 0;
}

void request_start(struct session *s)
{
	LB_ASSERT(s->is_http && s->x->state == EXCHANGE_HEAD);
	session_set_state(s, SESS_IDLE);
	http1_init_request(&s->x->req);
	s->x->req.takes = what_is_taken(s->x->pl->conf);
	session_timeout(s, head_time_left_ms(s));
	if (!conn_is_in_flight(s->conn[CLIENT], CONN_RECV))
		read_more(s);
}

/* ---- routing --------------------------------------------------------------------------------- */

struct header_query {
	const struct http1_head *head;
	const uint8_t *bytes;
};

/* Whether a field of this name in the head has exactly this value. `arg` is a struct header_query.
 */
static bool has_header(void *arg, struct slice name, struct slice value)
{
	const struct header_query *q = arg;
	struct slice found;
	size_t iter = 0;

	while (http1_field(q->head, q->bytes, name, &iter, &found))
		if (slice_eq(found, value))
			return true;
	return false;
}

/* Returns the pool to which the routes of `pl`, a listener of `snapshot`, send the request, or
 * NULL. Notes the route's name. */
static const struct snapshot_pool *match_route(struct session *s, const struct snapshot *snapshot,
					       const struct snapshot_listener *pl)
{
	struct exchange *x = s->x;
	const uint8_t *bytes = x->head[CLIENT]->data;
	struct header_query query = { .head = &x->req, .bytes = bytes };
	struct route_req req = {
		.host = http1_slice(bytes, x->req.host),
		.path = http1_path(&x->req, bytes),
		.is_websocket = x->upgrade.kind == UPGRADE_WEBSOCKET,
		.has_header = has_header,
		.arg = &query,
	};
	int i = route_match(pl->routes, &req);

	if (i < 0)
		return pl->pool;
	LB_ASSERT((size_t)i < pl->conf->n_routes && s->route == NULL);
	s->route = names_ref(pl->route_name[i]);
	return &snapshot->pools[pl->conf->routes[i].pool];
}

/*
 * Returns the pool for the request, by the newest configuration of the connection's listener. When
 * a reload has removed the listener, or every route that matches the request, uses the
 * configuration under which the connection was accepted: no reload may make lb refuse a request of
 * an open connection.
 */
static const struct snapshot_pool *find_pool(struct session *s)
{
	struct exchange *x = s->x;
	const struct listen_socket *from = s->from;

	if (from->pl != NULL && from->snapshot != x->snapshot &&
	    from->pl->conf->mode == CONF_MODE_HTTP) {
		const struct snapshot_pool *pp = match_route(s, from->snapshot, from->pl);
		if (pp != NULL) {
			snapshot_unref(x->snapshot);
			x->snapshot = snapshot_ref(from->snapshot);
			x->pl = from->pl;
			return pp;
		}
	}
	return match_route(s, x->snapshot, x->pl);
}

/* Returns the key that the pool's policy hashes: the part of the request that `hash.key` names, or
 * the client's address when the request lacks that part. */
static uint64_t hash_key(const struct session *s)
{
	const struct exchange *x = s->x;
	const struct conf_hash *h = &x->conf->hash;
	const uint8_t *bytes = x->head[CLIENT]->data;
	struct slice name = h->name != NULL ? slice_of(h->name) : (struct slice){ 0 };
	struct slice key = { 0 };
	size_t iter = 0;
	bool is_there = false;

	LB_ASSERT(x->state == EXCHANGE_HEAD);
	switch (h->key) {
	case CONF_HASH_SOURCE: break;
	case CONF_HASH_HEADER: is_there = http1_field(&x->req, bytes, name, &iter, &key); break;
	case CONF_HASH_COOKIE: is_there = http1_cookie(&x->req, bytes, name, &key); break;
	case CONF_HASH_QUERY: is_there = http1_query(&x->req, bytes, name, &key); break;
	case CONF_HASH_PATH:
		key = http1_path(&x->req, bytes);
		is_there = true;
		break;
	case CONF_HASH_HOST:
		key = http1_slice(bytes, x->req.host);
		is_there = key.n > 0;
		break;
	}
	if (is_there && h->key == CONF_HASH_HOST)
		return pool_key_of_host(key);
	return is_there ? pool_key_of_bytes(key) : pool_key_of_addr(&s->client);
}

/* ---- the head is whole ----------------------------------------------------------------------- */

static enum body_underscores trailer_underscores(enum conf_underscores u)
{
	switch (u) {
	case CONF_UNDERSCORES_DROP: return BODY_UNDERSCORES_DROP;
	case CONF_UNDERSCORES_REFUSE: return BODY_UNDERSCORES_REFUSE;
	case CONF_UNDERSCORES_PASS: break;
	}
	return BODY_UNDERSCORES_PASS;
}

/* Gives the bytes after the head to the flow TO_BACKEND: they are the beginning of a body, or early
 * bytes of a tunnel. Returns false when these bytes have ended the session. */
static bool take_rest(struct session *s)
{
	struct exchange *x = s->x;
	struct buf *rest;

	LB_ASSERT(x->req.head_len > 0 && x->req.head_len <= x->head[CLIENT]->len);
	if (head_cut_rest(x->head[CLIENT], s->worker->loop->bufs, x->req.head_len, &rest) < 0) {
		answer_out_of_memory(s);
		return false;
	}
	struct flow *f = session_flow(s, TO_BACKEND);
	body_init_request(&x->body[CLIENT], &x->req);
	x->body[CLIENT].underscores = trailer_underscores(x->pl->conf->http.underscores);
	x->has_body_first = x->upgrade.kind != UPGRADE_NONE && !body_is_done(&x->body[CLIENT]);
	if (!body_is_done(&x->body[CLIENT]))
		f->kind = FLOW_BODY;
	else if (x->upgrade.kind == UPGRADE_NONE)
		f->kind = FLOW_DONE;
	if (rest != NULL)
		relay_take(s, CLIENT, rest);
	return s->state == SESS_BUSY;
}

/* Applies the listener's `http` settings to a well-formed head. Returns what is wrong with the
 * head, or NULL. */
static const char *apply_rules(struct session *s)
{
	struct exchange *x = s->x;
	uint8_t *bytes = x->head[CLIENT]->data;

	/* Dots are removed before routes are matched, so that they match the path that is sent on.
	 */
	if (x->pl->conf->http.dots == CONF_DOTS_NORMALISE)
		http1_remove_dots(&x->req, bytes);
	switch (x->pl->conf->http.underscores) {
	case CONF_UNDERSCORES_DROP: http1_drop_underscores(&x->req, bytes); break;
	case CONF_UNDERSCORES_REFUSE:
		if (http1_has_underscore(&x->req, bytes))
			return "an underscore in the name of a field";
		break;
	case CONF_UNDERSCORES_PASS: break;
	}
	return NULL;
}

static void accept_head(struct session *s)
{
	struct exchange *x = s->x;
	const uint8_t *bytes = x->head[CLIENT]->data;
	const char *why = apply_rules(s);

	LB_ASSERT(s->state == SESS_BUSY && s->pool == NULL);
	if (why != NULL) {
		answer_error(s, OUTCOME_BAD_REQUEST, why);
		return;
	}
	upgrade_judge(&x->upgrade, &x->req, bytes);
	if (x->upgrade.kind == UPGRADE_BAD) {
		answer_status(s, OUTCOME_BAD_REQUEST, x->upgrade.status, x->upgrade.why);
		return;
	}
	why = forward_check(&x->req, bytes);
	if (why != NULL) {
		answer_error(s, OUTCOME_BAD_REQUEST, why);
		return;
	}

	const struct snapshot_pool *pp = find_pool(s);
	if (pp == NULL) {
		answer_error(s, OUTCOME_NO_ROUTE, NULL);
		return;
	}
	x->conf = pp->conf;
	s->pool = pool_ref(pp->pool);
	x->pick.key = hash_key(s);
	if (!take_rest(s))
		return;
	pick_start(s);
}

static void judge(struct session *s)
{
	struct exchange *x = s->x;
	const struct buf *head = x->head[CLIENT];
	enum http1_verdict v = http1_parse(&x->req, head->data, head->len);

	if (s->state == SESS_IDLE && (v != HTTP1_MORE || http1_is_begun(&x->req)))
		session_set_state(s, SESS_BUSY);
	switch (v) {
	case HTTP1_MORE: return;
	case HTTP1_OK: accept_head(s); return;
	case HTTP1_BAD: answer_status(s, OUTCOME_BAD_REQUEST, 400, x->req.why); return;
	case HTTP1_TOO_LARGE: answer_status(s, OUTCOME_BAD_REQUEST, 431, x->req.why); return;
	case HTTP1_NOT_IMPLEMENTED: answer_status(s, OUTCOME_BAD_REQUEST, 501, x->req.why); return;
	case HTTP1_BAD_VERSION: answer_status(s, OUTCOME_BAD_REQUEST, 505, x->req.why); return;
	}
}

void request_on_recv(struct session *s, const struct completion *c)
{
	struct exchange *x = s->x;

	LB_ASSERT(x->state == EXCHANGE_HEAD && s->conn[BACKEND]->in_flight == 0);
	if (c->res == -ENOBUFS) {
		read_more(s);
		return;
	}
	if (c->res <= 0) {
		/* The client has left before its request was whole, and waits for no answer. */
		conn_ended(s->conn[CLIENT], c->res);
		session_close_now(s, c->res == 0 ? SESS_END_CLIENT_CLOSED : SESS_END_CLIENT_RESET);
		return;
	}
	if (head_add(&x->head[CLIENT], s->worker->loop->bufs, c->buf) < 0) {
		answer_out_of_memory(s);
		return;
	}
	judge(s);
	bool is_reading =
		s->state == SESS_IDLE || (s->state == SESS_BUSY && x->state == EXCHANGE_HEAD);
	if (is_reading && !conn_is_in_flight(s->conn[CLIENT], CONN_RECV))
		read_more(s);
}

/*
 * A client that has sent no byte of a request gets no answer. Such a client may be a browser that
 * connects ahead of need; it would take the answer for the response to its next request.
 */
void request_on_timeout(struct session *s)
{
	if (s->state == SESS_BUSY)
		answer_error(s, OUTCOME_HANDSHAKE_TIMEOUT, NULL);
	else
		session_close_now(s, SESS_END_HANDSHAKE_TIMEOUT);
}
