/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Choosing a backend, with retries. When the backend is connected, response.c goes on.
 *
 *   pick_start() --> WAIT --> PICK --> CONNECT --> pick_on_connect() --> response_start()
 *                     ^        |          |
 *                     +--------+----------+   every backend is full, or the connect has failed
 *
 * A pick reserves a slot at the backend before the connect, so that two workers cannot both take
 * the last slot. The slot is given back when the connect fails or the session ends.
 *
 * A request that finds every backend full goes back to WAIT, where it keeps its place in the queue
 * (wait.h). dispatch.c lets the request try again (pick_try_again()) when a slot may be free, and
 * ends the wait by pick_on_timeout().
 *
 * When a connect fails, the request goes back to WAIT, at the end of the queue, as often as the
 * pool's `retries` allows. The backends that were tried are passed over (x->pick). When no backend
 * is left to try, the last failure is the request's outcome, and answer.c tells the client.
 *
 * Thread: owner worker.
 */
#include "proxy/pick.h"

#include <errno.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "proxy/answer.h"
#include "proxy/connect.h"
#include "proxy/exchange.h"
#include "proxy/flow.h"
#include "proxy/listener.h"
#include "proxy/relay.h"
#include "proxy/response.h"
#include "proxy/wait.h"
#include "proxy/worker.h"

/* Answers a request that gets no backend. The outcome is that of its last try, or NO_BACKEND when
 * no backend was tried. */
static void give_up(struct session *s)
{
	answer_error(s, s->x->failure != OUTCOME_NONE ? s->x->failure : OUTCOME_NO_BACKEND, NULL);
}

/* Picks a member and reserves a slot at its backend. Returns false when no member has a free slot,
 * or no retry is left. */
static bool pick_member(struct session *s)
{
	struct exchange *x = s->x;
	const struct members *m = worker_members(s->worker, s->pool);

	LB_ASSERT(x->state == EXCHANGE_PICK && !s->has_slot);
	if (x->n_tries > x->conf->retries || m == NULL)
		return false;
	loop_random(s->worker->loop, &x->pick.random, sizeof(x->pick.random));
	struct backend *b = pool_pick(m, &x->pick);
	if (b == NULL)
		return false;

	backend_unref(s->backend);
	s->backend = b;
	s->has_slot = true;
	x->n_tries++;
	x->n_sources_tried = 0;
	return true;
}

/* Whether the request may wait for a slot: a retry is left, and some backend would take the request
 * if a slot came free. */
static bool may_find_slot(const struct session *s)
{
	const struct exchange *x = s->x;
	const struct members *m = worker_members(s->worker, s->pool);

	return x->n_tries <= x->conf->retries && m != NULL && pool_has_candidate(m, &x->pick);
}

/* Arms a receive on the client, so that lb gets its early bytes and notices its end while the
 * request waits or connects. */
static void read_client(struct session *s)
{
	if (!flow_is_receiving(s, TO_BACKEND))
		relay_read(s, CLIENT);
}

static void run(struct session *s);

/* Handles the failure of a connect to s->backend: notes `failure`, gives the slot back, and picks
 * again from WAIT. */
static void try_another(struct session *s, enum outcome failure)
{
	s->x->failure = failure;
	if (failure != OUTCOME_NO_PORT)
		backend_count_failure(s->backend, s->worker->id);
	session_close_backend(s);
	exchange_set_state(s->x, EXCHANGE_WAIT);
	run(s);
}

/* Handles a connect that failed with `error`, at once or later: another source address is tried,
 * then another backend. */
static void connect_failed(struct session *s, int error)
{
	error = connect_from_next_source(s, error);
	if (error == 0)
		return;
	if (connect_lacks_resources(error)) {
		/* A connect to another backend would fail, too, and this backend is not at fault.
		 */
		session_close_backend(s);
		answer_error(s, OUTCOME_NO_BACKEND, "out of descriptors or memory");
		return;
	}
	if (s->x->is_connect_late || error == -ETIMEDOUT)
		try_another(s, OUTCOME_CONNECT_TIMEOUT);
	else
		try_another(s,
			    connect_lacks_port(error) ? OUTCOME_NO_PORT : OUTCOME_CONNECT_FAILED);
}

/* Picks a backend and connects to it. Returns false when every backend is full: the request is in
 * WAIT then. */
static bool pick(struct session *s)
{
	exchange_set_state(s->x, EXCHANGE_PICK);
	if (!pick_member(s)) {
		exchange_set_state(s->x, EXCHANGE_WAIT);
		return false;
	}
	exchange_set_state(s->x, EXCHANGE_CONNECT);
	int r = connect_start(s);
	if (r < 0)
		connect_failed(s, r);
	else
		read_client(s);
	return true;
}

static void run(struct session *s)
{
	LB_ASSERT(s->state == SESS_BUSY && s->x->state == EXCHANGE_WAIT);
	if (wait_is_first(s->x) && pick(s))
		return;
	if (!may_find_slot(s) || wait_is_overfull(s->worker)) {
		give_up(s);
		return;
	}
	session_timeout(s, WAIT_MOST_MS);
	wait_look(s->worker);
	read_client(s);
}

void pick_start(struct session *s)
{
	LB_ASSERT(s->pool != NULL && s->x->conf != NULL);
	exchange_set_state(s->x, EXCHANGE_WAIT);
	run(s);
}

bool pick_try_again(struct session *s)
{
	LB_ASSERT(s->state == SESS_BUSY && s->x->state == EXCHANGE_WAIT);
	return pick(s);
}

void pick_start_tcp(struct session *s)
{
	const struct snapshot_pool *pp = s->x->pl->pool;

	LB_ASSERT(!s->is_http);
	s->x->conf = pp->conf;
	s->pool = pool_ref(pp->pool);
	s->x->pick.key = pool_key_of_addr(&s->client);
	session_set_state(s, SESS_BUSY);
	pick_start(s);
}

void pick_on_connect(struct session *s, const struct completion *c)
{
	if (session_is_over(s))
		return;
	LB_ASSERT(s->x->state == EXCHANGE_CONNECT);
	if (c->res != 0) {
		connect_failed(s, c->res);
		return;
	}
	counter_add(&s->backend->tally[s->worker->id].total, 1);
	response_start(s);
}

void pick_on_timeout(struct session *s)
{
	LB_ASSERT(s->x->state == EXCHANGE_WAIT);
	give_up(s);
}
