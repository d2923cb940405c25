/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session's states, its timer, and how it ends. The files of the steps call functions of this
 * file; this file calls no step (dispatch.c does).
 *
 * session_set_state() is the only writer of the state; a table says which state may follow which.
 * The session's request has states of its own (exchange.c); when the session leaves BUSY, its
 * request ends. session_phase_word() joins both states in one word, which `conns` shows as `state`.
 *
 * A session ends in one of two ways. closing.c moves it to CLOSING when the last bytes are still to
 * be delivered. session_close_now() moves it to DEAD: the reason is noted and all operations are
 * cancelled. When the last one of them has completed, session_reap() puts the session on
 * worker->dead, and dispatch.c frees it at the end of the turn.
 *
 * The first end reason is kept (session_set_end_reason()), with one exception: when a tunnel is
 * half-closed and a cause cuts its other direction short, that cause replaces the reason of the
 * half-close. session_close_now() decides whether an end is closed by a FIN or by a reset, because
 * a stream that stops in the middle must not look whole to its receiver.
 *
 * A session holds a slot at its backend from the pick until session_close_backend(), which lets the
 * requests that wait for a slot try again (wait.h).
 *
 * Thread: owner worker. Hot: no allocation, no lock.
 */
#include "proxy/session.h"

#include "balance/backend.h"
#include "balance/pool.h"
#include "net/sock.h"
#include "proxy/exchange.h"
#include "proxy/flow.h"
#include "proxy/wait.h"
#include "proxy/worker.h"
#include "util/slab.h"

/* ---- states ---------------------------------------------------------------------------------- */

#define TO(name) (1u << SESS_##name)
#define X(name, word, next) [SESS_##name] = (next),
static const uint32_t sess_next[SESS_N_STATES] = { SESS_STATES(X) };
#undef X
#undef TO

#define X(name, word, next) [SESS_##name] = (word),
static const char *const sess_word[SESS_N_STATES] = { SESS_STATES(X) };
#undef X

const char *session_state_word(const struct session *s)
{
	LB_ASSERT(s->state < SESS_N_STATES);
	return sess_word[s->state];
}

const char *session_phase_word(const struct session *s)
{
	static const char *const of_request[EXCHANGE_N_STATES] = {
		[EXCHANGE_HEAD] = "hello",   [EXCHANGE_WAIT] = "pick",
		[EXCHANGE_PICK] = "pick",    [EXCHANGE_CONNECT] = "connect",
		[EXCHANGE_SEND] = "upgrade", [EXCHANGE_AWAIT] = "upgrade",
		[EXCHANGE_BODY] = "relay",   [EXCHANGE_DONE] = "relay",
	};

	switch ((enum sess_state)s->state) {
	case SESS_PREAMBLE:
	case SESS_IDLE: return "hello";
	case SESS_BUSY: return of_request[s->x->state];
	case SESS_TUNNEL: return "relay";
	case SESS_CLOSING: return "drain";
	case SESS_DEAD: return "dead";
	case SESS_N_STATES: break;
	}
	LB_ASSERT(false);
	return "";
}

bool session_is_relaying(const struct session *s)
{
	return s->state == SESS_TUNNEL || (s->state == SESS_BUSY && s->x->state == EXCHANGE_BODY);
}

bool session_awaits_response(const struct session *s)
{
	return s->state == SESS_BUSY &&
	       (s->x->state == EXCHANGE_SEND || s->x->state == EXCHANGE_AWAIT);
}

void session_reap(struct session *s)
{
	LB_ASSERT(s->state == SESS_DEAD);
	if (!session_is_in_flight(s) && !list_is_linked(&s->link))
		list_add_tail(&s->worker->dead, &s->link);
}

/* Takes it out of the handshakes of TLS, so that a hello that waits may begin its own. */
static void leave_preamble(struct session *s)
{
	struct worker *w = s->worker;

	if (list_is_linked(&s->link))
		list_del(&s->link);
	if (!s->is_shaking)
		return;
	LB_ASSERT(w->n_shaking > 0);
	s->is_shaking = false;
	w->n_shaking--;
	if (!list_is_empty(&w->hellos))
		loop_timer_start(w->loop, &w->shake_timer, 0);
}

void session_set_state(struct session *s, enum sess_state to)
{
	enum sess_state from = s->state;

	LB_ASSERT(sess_next[from] & 1u << to);
	if (from <= SESS_BUSY && to > SESS_BUSY)
		exchange_end(s->x);
	s->state = (uint8_t)to;
	if (from == SESS_PREAMBLE)
		leave_preamble(s);
	if (to == SESS_BUSY && from == SESS_IDLE)
		return;
	loop_timer_stop(s->worker->loop, &s->timer);
	if (to == SESS_DEAD)
		session_reap(s);
}

void session_timeout(struct session *s, uint64_t in_ms)
{
	if (in_ms == CONF_OFF)
		loop_timer_stop(s->worker->loop, &s->timer);
	else
		loop_timer_start(s->worker->loop, &s->timer, in_ms);
}

void session_mark_dirty(struct session *s, enum dir d)
{
	session_flow(s, d)->is_dirty = true;
	if (s->is_dirty)
		return;
	s->is_dirty = true;
	s->next_dirty = s->worker->dirty;
	s->worker->dirty = s;
}

/* ---- the end --------------------------------------------------------------------------------- */

/* Whether `why` is a cause that cuts a tunnel short, perhaps after one of its directions has ended
 * by a FIN. */
static bool is_cutting(enum sess_end why)
{
	return why == SESS_END_STOP || why == SESS_END_ADMIN || why == SESS_END_HALF_CLOSED ||
	       why == SESS_END_CLIENT_VANISHED || why == SESS_END_BACKEND_VANISHED ||
	       why == SESS_END_CLIENT_STALLED || why == SESS_END_BACKEND_STALLED;
}

void session_set_end_reason(struct session *s, enum sess_end why)
{
	/* After one FIN the other direction may go on, and may be cut short later. */
	bool is_fin_only = session_is_relaying(s) &&
			   (s->end == SESS_END_CLIENT_CLOSED || s->end == SESS_END_BACKEND_CLOSED);

	if (s->end == SESS_END_NONE || (is_fin_only && is_cutting(why)))
		s->end = (uint8_t)why;
}

/*
 * Whether the stream to `side` ends in the middle, so that `side` is to be reset. After a FIN the
 * stream would look whole: only a reset tells the receiver of a stream of mode tcp, or of a body
 * that ends with the connection, that bytes are missing.
 */
static bool is_cut_short(const struct session *s, enum side side)
{
	if (!session_is_relaying(s) || s->conn[side]->tx != TX_OPEN)
		return false;
	return s->conn[side_other(side)]->rx == RX_RESET || flow_has_bytes(s, dir_to(side)) ||
	       (s->state != SESS_TUNNEL && side == CLIENT);
}

void session_close_now(struct session *s, enum sess_end why)
{
	struct conns *conns = &s->worker->conns;

	if (s->state == SESS_DEAD)
		return;
	session_set_end_reason(s, why);
	for (enum side side = CLIENT; side < N_SIDES; side++)
		if (is_cut_short(s, side))
			s->is_cut |= (uint8_t)(1u << side);
	for (enum side side = CLIENT; side < N_SIDES; side++)
		conn_cancel_all(conns, s->conn[side]);
	session_set_state(s, SESS_DEAD);
}

void session_close(struct session *s, enum side side)
{
	if (s->must_reset || s->is_cut & 1u << side)
		conn_reset(&s->worker->conns, s->conn[side]);
	else
		conn_close(&s->worker->conns, s->conn[side]);
}

void session_close_backend(struct session *s)
{
	session_close(s, BACKEND);
	LB_ASSERT(!s->has_slot || s->backend != NULL);
	if (s->has_slot) {
		s->has_slot = false;
		backend_release(s->backend);
		wait_slot_is_free(s->worker);
	}
}

void session_set_status(struct session *s, unsigned status)
{
	s->status = (uint16_t)status;
	if (s->pool != NULL)
		pool_count_response(s->pool, status);
	else
		counter_add(&s->worker->stats->responses[pool_class_of(status)], 1);
}
