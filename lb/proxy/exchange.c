/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of a request.
 *
 * The files of the steps move an exchange from state to state: request.c reads the head (HEAD),
 * pick.c chooses a backend (WAIT, PICK), connect.c connects to the backend (CONNECT), response.c
 * sends the request and reads the head of the response (SEND, AWAIT), relay.c passes the response's
 * body (BODY). When the state changes, exchange_set_state() also updates the gauge of sessions in a
 * handshake, the queue of requests that wait for a slot, and the session's timer.
 *
 * A request ends with an outcome (outcome.h). The step that ends the request notes the outcome by
 * exchange_set_outcome(). When the connection ends before the request, exchange_end() derives the
 * outcome from the connection's end reason.
 *
 * Thread: owner worker. Hot: no allocation, no lock.
 */
#include "proxy/exchange.h"

#include "proxy/session.h"
#include "proxy/wait.h"
#include "proxy/worker.h"

#define TO(name) (1u << EXCHANGE_##name)
#define X(name, word, next) [EXCHANGE_##name] = (next),
static const uint32_t next_states[EXCHANGE_N_STATES] = { EXCHANGE_STATES(X) };
#undef X
#undef TO

#define X(name, word, next) [EXCHANGE_##name] = (word),
static const char *const state_words[EXCHANGE_N_STATES] = { EXCHANGE_STATES(X) };
#undef X

const char *exchange_state_word(const struct exchange *x)
{
	LB_ASSERT(x->state < EXCHANGE_N_STATES);
	return state_words[x->state];
}

/* Whether an exchange in the state `st` is in worker->waiting. */
static bool is_waiting(enum exchange_state st)
{
	return st == EXCHANGE_WAIT || st == EXCHANGE_PICK;
}

/* Whether the client of an exchange in the state `st` still waits for its tunnel, or for a response
 * to begin. */
static bool is_handshaking(enum exchange_state st)
{
	return st < EXCHANGE_BODY;
}

void exchange_set_state(struct exchange *x, enum exchange_state to)
{
	struct session *s = x->session;
	enum exchange_state from = x->state;

	LB_ASSERT(s->x == x && next_states[from] & 1u << to);
	LB_ASSERT(to != EXCHANGE_DONE || x->outcome != OUTCOME_NONE);
	x->state = (uint8_t)to;
	if (is_handshaking(from) && !is_handshaking(to))
		counter_sub(&s->worker->stats->handshaking, 1);
	if (is_waiting(from) && is_waiting(to))
		return;
	if (is_waiting(from))
		wait_leave(x);
	if (is_waiting(to))
		wait_join(x);
	loop_timer_stop(s->worker->loop, &s->timer);
}

void exchange_set_outcome(struct exchange *x, enum outcome o)
{
	LB_ASSERT(o != OUTCOME_NONE && o < N_OUTCOMES);
	if (x->outcome == OUTCOME_NONE)
		x->outcome = (uint8_t)o;
}

void exchange_end(struct exchange *x)
{
	if (x->state == EXCHANGE_DONE)
		return;
	struct session *s = x->session;

	exchange_set_outcome(x, outcome_of_end(s->end));
	exchange_set_state(x, EXCHANGE_DONE);
	/* A session that never was BUSY has had no byte of a request, so no request is counted. */
	if (s->state == SESS_BUSY)
		counter_add(&s->worker->stats->requests[x->outcome], 1);
}
