/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Quiet: for how long no byte has moved.
 *
 * A time-out counts from the last byte that lb received or sent. But a slow peer may still be
 * taking bytes that lb has sent before, for much longer than the time-out. So when a time-out is
 * due, quiet_judge() asks the kernel (TCP_INFO) how much the peer has acknowledged. When the peer
 * has acknowledged more than before, the time-out counts from then, and the timer is started for
 * the rest. A peer is "shut out" when bytes for it wait because its receive window is closed.
 *
 * A client that has sent its FIN after a plain request may have left, or may only have half-closed
 * its connection and wait for the response. No packet tells the two cases apart (docs/decisions,
 * 0021). The second half of this file decides by how long no byte has moved.
 *
 * Thread: owner worker.
 */
#include "proxy/quiet.h"

#include "net/tcp_state.h"
#include "proxy/flow.h"
#include "proxy/worker.h"

/* When no byte has moved for this long after a client's FIN, lb takes the client to have left. Most
 * backends begin a response sooner; the time is short because some backend may be working for a
 * client that has left. A guess. */
#define LEFT_MS 500

/*
 * Asks the kernel how many bytes the peers on `sides` have acknowledged, and notes the numbers in
 * the flows. Returns whether one of these numbers has grown. Sets ret->quiet_ms to the time since
 * the last acknowledgement from any of these peers.
 */
static bool ask(struct session *s, unsigned sides, struct tcp_taken *ret)
{
	bool is_more = false;

	LB_ASSERT(sides != 0 && (sides & ~BOTH_SIDES) == 0);
	*ret = (struct tcp_taken){ .quiet_ms = UINT64_MAX };
	for (enum side side = CLIENT; side < N_SIDES; side++) {
		struct flow *f = session_flow(s, dir_to(side));
		struct tcp_taken one;
		if (!(sides & 1u << side) || !conn_is_open(s->conn[side]) ||
		    !tcp_state_taken(s->worker->loop, s->conn[side]->fd, &one))
			continue;
		is_more |= one.bytes != f->n_acked;
		f->n_acked = one.bytes;
		ret->is_shut_out |= one.is_shut_out;
		if (one.quiet_ms < ret->quiet_ms)
			ret->quiet_ms = one.quiet_ms;
	}
	return is_more;
}

void quiet_note_taken(struct session *s, enum side side)
{
	struct tcp_taken t;

	(void)ask(s, 1u << side, &t);
}

bool quiet_judge(struct session *s, unsigned sides, uint64_t *since_ms, uint32_t limit_ms,
		 uint32_t shut_out_ms)
{
	uint64_t quiet_ms = loop_now_ms(s->worker->loop) - *since_ms;

	if (quiet_ms >= limit_ms) {
		struct tcp_taken t;
		if (ask(s, sides, &t) && t.quiet_ms < quiet_ms) {
			*since_ms += quiet_ms - t.quiet_ms;
			quiet_ms = t.quiet_ms;
		}
		if (t.is_shut_out && quiet_ms >= limit_ms)
			limit_ms = shut_out_ms;
		if (quiet_ms >= limit_ms)
			return true;
	}
	LB_ASSERT(limit_ms > quiet_ms);
	session_timeout(s, limit_ms - quiet_ms);
	return false;
}

/* ---- a client that may have left ------------------------------------------------------------- */

bool quiet_may_have_left(const struct session *s)
{
	return s->is_http && s->state != SESS_TUNNEL && flow_is_ended(s, TO_BACKEND) &&
	       s->conn[CLIENT]->rx != RX_OPEN && !flow_is_ended(s, TO_CLIENT);
}

uint32_t quiet_patience_ms(const struct session *s, uint32_t limit_ms)
{
	return limit_ms > LEFT_MS && quiet_may_have_left(s) ? LEFT_MS : limit_ms;
}

void quiet_client_fin(struct session *s)
{
	if (s->conn[CLIENT]->rx == RX_OPEN)
		conn_set_rx(s->conn[CLIENT], RX_ENDING);
	/* Perhaps no byte has moved for LEFT_MS already, so the time-out is judged at once. */
	if ((session_awaits_response(s) || session_is_relaying(s)) && quiet_may_have_left(s))
		session_timeout(s, 0);
}
