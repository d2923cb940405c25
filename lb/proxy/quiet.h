/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Quiet: for how long no byte has moved, as time-outs and leaving clients are judged by it.
 *
 * Thread: owner worker. Layer: proxy.
 */

#include "conf/conf.h"
#include "proxy/session.h"

/*
 * quiet_judge() - see whether no byte has moved for `limit_ms`, or start the timer for the rest
 *
 * Returns true when the time-out is over.
 *
 * None that lb received or sent since *since_ms (active_ms, say), and none that a peer's kernel on
 * one of `sides` (1u << side) has acknowledged since this was last asked: *since_ms is moved on to
 * when one did, as what lb has sent may drain for much longer than a time-out lasts. While bytes
 * wait for a peer's window to open, `shut_out_ms` is the limit (docs/decisions, 0015). Where it is
 * not over, the timer is started for the rest. When a time-out is due this costs a system call for
 * each side.
 */
bool quiet_judge(struct session *s, unsigned sides, uint64_t *since_ms, uint32_t limit_ms,
		 uint32_t shut_out_ms);
#define BOTH_SIDES (1u << CLIENT | 1u << BACKEND)

/* How long a peer that is shut out may take no byte, where others may for `limit_ms`. */
static inline uint32_t quiet_shut_out_ms(uint32_t limit_ms)
{
	return limit_ms < CONF_OFF / 2 ? 2 * limit_ms : limit_ms;
}

/* What `side` has acknowledged so far does not count for the next quiet_judge(). */
void quiet_note_taken(struct session *s, enum side side);

/*
 * quiet_client_fin() - the client of a plain request has sent its FIN behind it
 *
 * Whether it has left, or only half-closed, nothing tells but what becomes of bytes sent to it. So
 * it has left once no byte has moved for LEFT_MS (docs/decisions, 0021): quiet_patience_ms() is the
 * time-out then, where `limit_ms` would be, and quiet_may_have_left() says that it is.
 */
void quiet_client_fin(struct session *s);
bool quiet_may_have_left(const struct session *s);
uint32_t quiet_patience_ms(const struct session *s, uint32_t limit_ms);
