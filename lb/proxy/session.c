/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session's floor: its states, its timer, its operations in flight, and how it ends. The files of
 * its steps all stand on this one, and it calls none of them (dispatch.c does).
 *
 * session_set_state() is the only writer of the state; a table says which state may follow which.
 * session_kill() is the end: the reason is noted, all operations are cancelled, and the session is
 * DEAD. It is freed when the last of them has completed and the turn is over.
 *
 * The reason that counts is the first one (session_blame()), but for causes that cut a half-closed
 * tunnel short. Whether a side is closed by a FIN or by a reset is decided when the session ends:
 * a stream that ends in the middle must not look whole.
 *
 * Thread: owner worker. Hot: no allocation, no lock.
 */
#include "proxy/session.h"

#include "balance/backend.h"
#include "balance/pool.h"
#include "net/sock.h"
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

const char *session_state_name(const struct session *s)
{
	return sess_word[s->state];
}

static bool is_handshaking(enum sess_state st)
{
	return st < SESS_RELAY;
}

void session_set_state(struct session *s, enum sess_state to)
{
	LB_ASSERT(sess_next[s->state] & 1u << to);
	if (is_handshaking(s->state) && !is_handshaking(to))
		counter_sub(&s->worker->stats->handshaking, 1);
	if (s->state == SESS_PICK)
		wait_leave(s);
	s->state = (uint8_t)to;
	loop_timer_stop(s->worker->loop, &s->timer);
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

/* Causes that cut a tunnel short, one of whose sides may have ended properly before. */
static bool is_cutting(enum sess_end why)
{
	return why == SESS_END_STOP || why == SESS_END_ADMIN || why == SESS_END_HALF_CLOSED ||
	       why == SESS_END_CLIENT_VANISHED || why == SESS_END_BACKEND_VANISHED ||
	       why == SESS_END_CLIENT_STALLED || why == SESS_END_BACKEND_STALLED;
}

void session_blame(struct session *s, enum sess_end why)
{
	/* A FIN alone is no end: the other direction may flow on for as long as it likes. */
	bool is_fin_only = s->state == SESS_RELAY &&
			   (s->end == SESS_END_CLIENT_CLOSED || s->end == SESS_END_BACKEND_CLOSED);

	if (s->end == SESS_END_NONE || (is_fin_only && is_cutting(why)))
		s->end = (uint8_t)why;
}

/*
 * Whether the stream towards `side` ends in the middle. Closed, that would look whole: a body until
 * close is told from half of one by how its connection ends, and so is any stream of mode tcp.
 */
static bool is_cut_short(const struct session *s, enum side side)
{
	const struct flow *f = session_flow(s, dir_to(side));

	if (s->state != SESS_RELAY || s->conn[side]->tx != TX_OPEN)
		return false;
	return s->conn[side_other(side)]->rx == RX_RESET || !queue_is_empty(&f->queue) ||
	       flow_bytes_in_pipe(f) > 0 || (!s->is_tunnel && side == CLIENT);
}

void session_kill(struct session *s, enum sess_end why)
{
	struct conns *conns = &s->worker->conns;

	if (s->state == SESS_DEAD)
		return;
	session_blame(s, why);
	for (enum side side = CLIENT; side < N_SIDES; side++)
		if (is_cut_short(s, side))
			s->is_cut |= (uint8_t)(1u << side);
	for (enum side side = CLIENT; side < N_SIDES; side++)
		conn_cancel_all(conns, s->conn[side]);
	session_set_state(s, SESS_DEAD);
	if (!session_is_in_flight(s))
		list_add_tail(&s->worker->dead, &s->link);
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
	LB_ASSERT(!s->has_place || s->backend != NULL);
	if (s->has_place) {
		s->has_place = false;
		backend_release(s->backend);
		wait_place_is_free(s->worker);
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
