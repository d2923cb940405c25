/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Quiet: for how long no byte has moved. Time-outs are judged by it, and clients that may have
 * left.
 *
 * Thread: owner worker. Layer: proxy.
 */

#include "conf/conf.h"
#include "proxy/session.h"

/*
 * quiet_judge() - see whether no byte has moved for `limit_ms`, or start the timer for the rest
 *
 * *since_ms is when lb last received or sent a byte (active_ms, for example). When a peer on one of
 * `sides` (1u << side) has acknowledged bytes since then, *since_ms is moved on to that moment.
 * While bytes wait because a peer's receive window is closed, the limit is `shut_out_ms`
 * (docs/decisions, 0015). Returns true when the limit is reached; else the session's timer is
 * started for the rest. When a time-out is due, this costs a system call for each side.
 */
bool quiet_judge(struct session *s, unsigned sides, uint64_t *since_ms, uint32_t limit_ms,
		 uint32_t shut_out_ms);
#define BOTH_SIDES (1u << CLIENT | 1u << BACKEND)

/* The limit for a peer whose receive window is closed, where that of other peers is `limit_ms`. */
static inline uint32_t quiet_shut_out_ms(uint32_t limit_ms)
{
	return limit_ms < CONF_OFF / 2 ? 2 * limit_ms : limit_ms;
}

/* Notes what `side` has acknowledged so far, so that the next quiet_judge() does not count it. */
void quiet_note_taken(struct session *s, enum side side);

/*
 * quiet_client_fin() - the client of a plain request has sent its FIN behind it
 *
 * The client may have left, or may have half-closed its connection and wait for the response. Only
 * the fate of bytes that are sent to it would tell which. So it is taken to have left when no byte
 * has moved for LEFT_MS (docs/decisions, 0021). quiet_may_have_left() says whether the client has
 * sent such a FIN; then quiet_patience_ms() is LEFT_MS, and else `limit_ms`.
 */
void quiet_client_fin(struct session *s);
bool quiet_may_have_left(const struct session *s);
uint32_t quiet_patience_ms(const struct session *s, uint32_t limit_ms);
