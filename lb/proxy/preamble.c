/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PROXY header of a peer that is to send one, and the handshake of TLS with a client.
 *
 *   preamble_start_proxy()  a receive is armed
 *   preamble_read_proxy()   bytes come, which are gathered in exchange.head until the header is
 * whole
 *     ... and so on ...
 *   preamble_read_proxy()   returns true: what came behind the header is the caller's
 *
 *   preamble_start_tls()    an end of TLS is made (net/tls.h), and a receive is armed
 *   preamble_on_recv()      ciphertext comes; when a record is whole, the session joins
 *                           worker->shaking
 *   preamble_step()         one step of OpenSSL's; its records are sent by flow_send()
 *     ... and so on ...
 *   preamble_step()         returns true: dispatch.c begins the first request, or the tunnel
 *
 * Which peers are to send a PROXY header is configured (origin.h). A connection of such a peer that
 * begins with anything else is closed, with the end reason bad_proxy, because its real client is
 * not known. A header is at most 16 KiB; a receive behind it brings at most RECV_BYTES more.
 *
 * Before a whole ClientHello has come, a connection costs its end of TLS and the buffers of what
 * has come, and no SSL object. Its bytes are not received while it waits for its step, so that a
 * client cannot make lb hold more than one receive brings.
 *
 * At most `tls.max_handshakes` are under way on a worker, because each costs some 60 KB. Past that,
 * whole hellos wait in worker->hellos, where they cost their bytes only, and preamble_admit() lets
 * the first one begin when a handshake has ended.
 *
 * When the handshake fails, the alert that OpenSSL has made is sent, and the connection is closed
 * (closing_flush()). The end reason is tls_failed, and the access log has OpenSSL's word for it.
 *
 * A client that speaks HTTP without TLS gets an answer in plain text that says so.
 *
 * Thread: owner worker.
 */
#include "proxy/preamble.h"

#include <errno.h>
#include <string.h>

#include "net/tls.h"
#include "net/tls_info.h"
#include "proto/proxy_header.h"
#include "proto/tls_frame.h"
#include "proxy/answer.h"
#include "proxy/closing.h"
#include "proxy/exchange.h"
#include "proxy/flow.h"
#include "proxy/head.h"
#include "proxy/listener.h"
#include "proxy/tls_note.h"
#include "proxy/worker.h"

/* What one receive brings at most: more than a usual ClientHello. */
#define RECV_BYTES 8192u

static void receive(struct session *s)
{
	if (!flow_is_receiving(s, TO_BACKEND))
		conn_recv(&s->worker->conns, s->conn[CLIENT], RECV_BYTES, BUF_SMALL);
}

/* A handshake that has waited so long for its client may be ended to make room for another one. */
#define SHED_MS 1000

/* Puts the session at the end of one of the worker's lists of handshakes. */
static void move_to(struct list *to, struct session *s)
{
	if (list_is_linked(&s->link))
		list_del(&s->link);
	list_add_tail(to, &s->link);
}

/* The handshake can go on: waits for its turn to take a step. */
static void join(struct session *s)
{
	struct worker *w = s->worker;

	move_to(&w->shaking, s);
	if (!timer_is_running(&w->shake_timer))
		loop_timer_start(w->loop, &w->shake_timer, 0);
}

/* ---- the PROXY header ------------------------------------------------------------------------ */

static unsigned what_is_taken(enum conf_proxy version)
{
	switch (version) {
	case CONF_PROXY_V1: return PROXY_TAKES_V1;
	case CONF_PROXY_V2: return PROXY_TAKES_V2;
	case CONF_PROXY_ANY: return PROXY_TAKES_ANY;
	case CONF_PROXY_OFF: break;
	}
	LB_ASSERT(false);
	return 0;
}

void preamble_start_proxy(struct session *s)
{
	const struct conf_listener *l = s->x->pl->conf;

	LB_ASSERT(s->state == SESS_PREAMBLE && s->x->head[CLIENT] == NULL);
	proxy_header_init(&s->x->proxy, what_is_taken(l->proxy.version));
	s->x->awaits_proxy = true;
	session_timeout(s, l->handshake_ms);
	receive(s);
}

/* The header is whole. Takes it off the bytes that have come; the rest goes to *ret. */
static bool accept_proxy(struct session *s, struct buf **ret)
{
	struct exchange *x = s->x;
	struct buf_pool *pool = s->worker->loop->bufs;
	struct buf *rest;

	LB_ASSERT(x->proxy.size > 0 && x->proxy.size <= x->head[CLIENT]->len);
	if (head_cut_rest(x->head[CLIENT], pool, x->proxy.size, &rest) < 0) {
		s->worker->is_short = true;
		session_close_now(s, SESS_END_NO_BACKEND);
		return false;
	}
	buf_put(pool, x->head[CLIENT]);
	x->head[CLIENT] = NULL;
	x->awaits_proxy = false;
	if (x->proxy.src.family != 0)
		s->client = x->proxy.src;
	*ret = rest;
	return true;
}

/* A receive has brought no bytes. Returns whether it is to be started again; otherwise the session
 * has ended. */
static bool is_retry(struct session *s, const struct completion *c)
{
	LB_ASSERT(c->res <= 0);
	if (c->res == -ENOBUFS || c->res == -ECANCELED)
		return true;
	conn_ended(s->conn[CLIENT], c->res);
	session_close_now(s, c->res == 0 ? SESS_END_CLIENT_CLOSED : SESS_END_CLIENT_RESET);
	return false;
}

bool preamble_read_proxy(struct session *s, const struct completion *c, struct buf **ret)
{
	struct exchange *x = s->x;

	LB_ASSERT(s->state == SESS_PREAMBLE && x->awaits_proxy);
	if (c->res <= 0) {
		if (is_retry(s, c))
			receive(s);
		return false;
	}
	if (head_add(&x->head[CLIENT], s->worker->loop->bufs, c->buf) < 0) {
		s->worker->is_short = true;
		session_close_now(s, SESS_END_NO_BACKEND);
		return false;
	}
	switch (proxy_header_parse(&x->proxy, x->head[CLIENT]->data, x->head[CLIENT]->len)) {
	case PROXY_OK: return accept_proxy(s, ret);
	case PROXY_MORE: receive(s); return false;
	case PROXY_BAD:
	case PROXY_TOO_LARGE: break;
	}
	x->error = x->proxy.why;
	session_close_now(s, SESS_END_BAD_PROXY);
	return false;
}

/* ---- the handshake of TLS -------------------------------------------------------------------- */

void preamble_start_tls(struct session *s, struct tls_ctx *ctx)
{
	struct conn *c = s->conn[CLIENT];
	struct tls_lib *lib = snapshot_tls_lib(s->x->snapshot, s->worker->id);
	struct tls *t = NULL;

	if (worker_reserve_tls(s->worker, lib) == 0)
		t = tls_new_server(s->worker->tls, ctx);
	LB_ASSERT(s->state == SESS_PREAMBLE && !c->in.is_tls && c->in.pipe == NULL);
	if (t == NULL) {
		s->worker->is_short = true;
		session_close_now(s, SESS_END_NO_BACKEND);
		return;
	}
	c->in.tls = t;
	c->in.is_tls = true;
	if (!timer_is_running(&s->timer)) /* else a PROXY header came first, within the same time */
		session_timeout(s, s->x->pl->conf->handshake_ms);
	receive(s);
}

/* The client does not speak TLS. An HTTP client is told so, in plain text. */
static void refuse_plain(struct session *s)
{
	struct conn *c = s->conn[CLIENT];

	c->in.tls = tls_free(s->worker->tls, c->in.tls);
	c->in.is_tls = false;
	if (s->is_http)
		answer_error(s, OUTCOME_BAD_REQUEST, "this port speaks HTTPS, not HTTP");
	else
		session_close_now(s, SESS_END_TLS_FAILED);
}

void preamble_on_recv(struct session *s, const struct completion *c)
{
	struct tls *t = conn_tls(s->conn[CLIENT]);

	LB_ASSERT(s->state == SESS_PREAMBLE && t != NULL);
	if (c->res <= 0) {
		if (is_retry(s, c))
			receive(s);
		return;
	}
	bool is_first = t->state == TLS_IS_HELLO && queue_is_empty(&t->raw);
	if (is_first && c->buf->data[0] != TLS_TYPE_HANDSHAKE) {
		buf_put(s->worker->loop->bufs, c->buf);
		refuse_plain(s);
		return;
	}
	tls_feed(s->worker->tls, t, c->buf);
	if (tls_wants_step(t))
		join(s);
	else if (!c->more)
		receive(s);
}

void preamble_on_send(struct session *s, const struct completion *c)
{
	LB_ASSERT(s->state == SESS_PREAMBLE);
	if (c->res == -EAGAIN) {
		flow_send_refused(s, TO_CLIENT);
	} else if (c->res < 0 && c->res != -ECANCELED) {
		session_close_now(s, SESS_END_CLIENT_RESET);
	} else {
		if (c->res > 0)
			flow_sent(s, TO_CLIENT, (uint32_t)c->res);
		flow_send(s, TO_CLIENT);
	}
}

static void fail(struct session *s)
{
	counter_add(&s->worker->stats->tls_failed, 1);
	s->x->error = tls_error(conn_tls(s->conn[CLIENT]));
	closing_flush(s, SESS_END_TLS_FAILED);
}

/* The handshake waits for its client. */
static void await(struct session *s)
{
	s->active_ms = loop_now_ms(s->worker->loop);
	move_to(&s->worker->awaiting, s);
	receive(s);
}

/* Counts the handshake, whose first step makes an SSL object. Where too many are under way, the
 * session waits in worker->hellos, and false is returned. */
static bool begin(struct session *s)
{
	struct worker *w = s->worker;

	if (w->n_shaking >= s->x->pl->conf->tls.max_handshakes) {
		move_to(&w->hellos, s);
		if (!timer_is_running(&w->shake_timer))
			loop_timer_start(w->loop, &w->shake_timer, 0);
		return false;
	}
	s->is_shaking = true;
	w->n_shaking++;
	return true;
}

/* Ends the handshake that has waited longest for its client. Returns 0, or in how many milliseconds
 * that may be done; UINT32_MAX: none waits. */
static uint32_t shed(struct worker *w)
{
	if (list_is_empty(&w->awaiting))
		return UINT32_MAX;
	struct session *s = list_entry(w->awaiting.next, struct session, link);
	uint64_t waited_ms = loop_now_ms(w->loop) - s->active_ms;

	if (waited_ms < SHED_MS)
		return (uint32_t)(SHED_MS - waited_ms);
	session_close_now(s, SESS_END_HANDSHAKE_SHED);
	return 0;
}

uint32_t preamble_admit(struct worker *w)
{
	while (!list_is_empty(&w->hellos)) {
		struct session *s = list_entry(w->hellos.next, struct session, link);
		uint32_t in_ms = 0;
		if (w->n_shaking >= s->x->pl->conf->tls.max_handshakes)
			in_ms = shed(w);
		if (in_ms > 0)
			return in_ms;
		move_to(&w->shaking, s);
		s->is_shaking = true;
		w->n_shaking++;
	}
	return UINT32_MAX;
}

/* Notes what the handshake has found out, before the SSL object may be freed. Returns false when
 * memory is short. */
static bool note_done(struct session *s, const struct tls *t)
{
	struct worker_stats *stats = s->worker->stats;
	struct tls_info info;

	tls_info_get(t, &info);
	counter_add(&stats->tls_handshakes, 1);
	if (info.is_resumed)
		counter_add(&stats->tls_resumed, 1);
	s->tls = tls_note_new(t, s->x->pl->conf->tls.client.verify != CONF_VERIFY_NONE);
	return s->tls != NULL;
}

bool preamble_step(struct session *s)
{
	struct tls_ends *es = s->worker->tls;
	struct tls *t = conn_tls(s->conn[CLIENT]);

	LB_ASSERT(s->state == SESS_PREAMBLE && t != NULL);
	if (!s->is_shaking && !begin(s))
		return false;
	enum tls_verdict v = tls_reserve(es) == 0 ? tls_step(es, t) : TLS_NO_BUFS;

	switch (v) {
	case TLS_DONE:
		if (!note_done(s, t)) {
			s->worker->is_short = true;
			session_close_now(s, SESS_END_NO_BACKEND);
			return false;
		}
		tls_start(es, t);
		flow_send(s, TO_CLIENT);
		return s->state == SESS_PREAMBLE;
	case TLS_NO_BUFS: join(s); break;
	case TLS_MORE:
		if (tls_wants_step(t))
			join(s);
		else
			await(s);
		break;
	case TLS_END:
	case TLS_RESET:
	case TLS_FAILED: fail(s); return false;
	}
	flow_send(s, TO_CLIENT);
	return false;
}

void preamble_on_timeout(struct session *s)
{
	session_close_now(s, SESS_END_HANDSHAKE_TIMEOUT);
}
