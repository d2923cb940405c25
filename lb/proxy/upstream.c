/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PICK -> CONNECT, with retries; then response.c goes on.
 *
 * A place at the backend is reserved by the pick, before the connect (so that two workers do not
 * stampede the same one), and given back when the connect fails or the session ends. A try that
 * fails leads back to PICK as often as the pool's `retries` allows. When no backend is left to try,
 * the last failure says what the client gets.
 *
 * When every backend is full, the session waits in PICK for a moment (wait.c). When no local port
 * is left at a source address, the next source address is tried, which is no retry.
 *
 * Thread: owner worker.
 */
#include "proxy/upstream.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "net/sock.h"
#include "proxy/exchange.h"
#include "proxy/flow.h"
#include "proxy/listener.h"
#include "proxy/relay.h"
#include "proxy/reply.h"
#include "proxy/response.h"
#include "proxy/wait.h"
#include "proxy/worker.h"

/* ---- picking --------------------------------------------------------------------------------- */

/* No backend is left to try: the last try says what the client gets. */
static void give_up(struct session *s)
{
	reply_error(s, s->x->failure != SESS_END_NONE ? s->x->failure : SESS_END_NO_BACKEND, NULL);
}

/* The backend in hand has failed: back to PICK. */
static void try_another(struct session *s, enum sess_end failure)
{
	s->x->failure = failure;
	if (failure != SESS_END_NO_PORT)
		backend_count_failure(s->backend, s->worker->id);
	session_close_backend(s);
	session_set_state(s, SESS_PICK);
	upstream_run(s);
}

static bool pick(struct session *s)
{
	struct exchange *x = s->x;
	const struct members *m = worker_members(s->worker, s->pool);

	if (x->n_tries > x->conf->retries || m == NULL)
		return false;
	loop_random(s->worker->loop, &x->pick.random, sizeof(x->pick.random));
	struct backend *b = pool_pick(m, &x->pick);
	if (b == NULL)
		return false;

	backend_unref(s->backend);
	s->backend = b;
	s->has_place = true;
	x->n_tries++;
	x->n_sources_tried = 0;
	return true;
}

/* ---- connecting ------------------------------------------------------------------------------ */

/* The local address to connect from, or NULL where the pool names none of that family. */
static const struct addr *next_source(struct session *s)
{
	struct exchange *x = s->x;
	const struct conf_pool *c = x->conf;

	if (c->n_sources == 0)
		return NULL;
	if (x->n_sources_tried == 0)
		x->source = pool_next_source(s->pool);
	for (size_t i = 0; i < c->n_sources; i++) {
		const struct addr *a = &c->sources[x->source++ % c->n_sources];
		x->n_sources_tried++;
		if (a->family == s->backend->addr.family)
			return a;
	}
	return NULL;
}

/* Starts one connect. Returns 0, or a negative errno: nothing is in flight then. */
static int start_connect(struct session *s)
{
	struct loop *l = s->worker->loop;
	uint32_t user_ms = pool_user_ms(s->pool);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&s->backend->addr, &sa);
	int fd = sock_for_connect(l, &s->backend->addr, next_source(s),
				  user_ms == CONF_OFF ? 0 : user_ms);
	if (fd < 0)
		return fd;

	LB_ASSERT(s->state == SESS_CONNECT && s->has_place);
	conn_open(s->conn[BACKEND], fd);
	s->x->is_connect_late = false;
	conn_connect(&s->worker->conns, s->conn[BACKEND], (struct sockaddr *)&sa, len);
	session_timeout(s, s->x->conf->connect_ms);
	return 0;
}

static bool is_port_exhaustion(int error)
{
	return error == -EADDRNOTAVAIL;
}

/* It is lb, or its machine, that has run out. */
static bool is_own_shortage(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM;
}

/* A connect failed at once or later. Another source may have ports where this one has none. */
static void connect_failed(struct session *s, int error)
{
	struct exchange *x = s->x;

	if (is_port_exhaustion(error) && x->n_sources_tried < x->conf->n_sources) {
		conn_close(&s->worker->conns, s->conn[BACKEND]);
		int r = start_connect(s);
		if (r == 0)
			return;
		error = r;
	}
	if (is_own_shortage(error)) { /* no other backend would fare better, and none is to blame */
		session_close_backend(s);
		reply_error(s, SESS_END_NO_BACKEND, "out of descriptors or memory");
		return;
	}
	if (x->is_connect_late || error == -ETIMEDOUT)
		try_another(s, SESS_END_CONNECT_TIMEOUT);
	else
		try_another(s,
			    is_port_exhaustion(error) ? SESS_END_NO_PORT : SESS_END_CONNECT_FAILED);
}

/* A backend is picked. */
static void try_it(struct session *s)
{
	session_set_state(s, SESS_CONNECT);
	int r = start_connect(s);
	if (r < 0) {
		connect_failed(s, r);
		return;
	}
	/* The client's early bytes, and its leaving. */
	if (!flow_is_receiving(s, TO_BACKEND))
		relay_read(s, CLIENT);
}

/* Whether a backend might take it, were it not full. */
static bool may_find_a_place(const struct session *s)
{
	const struct exchange *x = s->x;
	const struct members *m = worker_members(s->worker, s->pool);

	return x->n_tries <= x->conf->retries && m != NULL && pool_has_candidate(m, &x->pick);
}

static void wait_for_a_place(struct session *s)
{
	session_timeout(s, WAIT_MOST_MS);
	if (!flow_is_receiving(s, TO_BACKEND))
		relay_read(s, CLIENT);
}

void upstream_run(struct session *s)
{
	LB_ASSERT(s->state == SESS_PICK);
	if (!wait_is_behind(s) && pick(s))
		try_it(s);
	else if (!may_find_a_place(s) || !wait_join(s))
		give_up(s);
	else
		wait_for_a_place(s);
}

bool upstream_try_again(struct session *s)
{
	LB_ASSERT(s->state == SESS_PICK);
	if (!pick(s))
		return false;
	try_it(s);
	return true;
}

void upstream_start_tcp(struct session *s)
{
	const struct snapshot_pool *pp = s->x->pl->pool;

	s->x->conf = pp->conf;
	s->pool = pool_ref(pp->pool);
	s->x->pick.key = pool_key_of_addr(&s->client);
	session_set_state(s, SESS_PICK);
	upstream_run(s);
}

static void connected(struct session *s)
{
	counter_add(&s->backend->tally[s->worker->id].total, 1);
	response_start(s);
}

void upstream_on_connect(struct session *s, const struct completion *c)
{
	if (s->state == SESS_DEAD || s->state == SESS_DRAIN)
		return;
	LB_ASSERT(s->state == SESS_CONNECT);
	if (c->res == 0)
		connected(s);
	else
		connect_failed(s, c->res);
}

void upstream_on_timeout(struct session *s)
{
	if (s->state == SESS_PICK) { /* it has waited long enough for a place */
		give_up(s);
		return;
	}
	LB_ASSERT(s->state == SESS_CONNECT);
	/* Its last completion, now or cancelled, decides (upstream_on_connect). */
	s->x->is_connect_late = true;
	conn_cancel(&s->worker->conns, s->conn[BACKEND], CONN_CONNECT);
}
