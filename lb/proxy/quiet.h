/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Quiet: for how long no byte has moved. This decides whether a time-out is reached, and whether a
 * client has left.
 *
 * Thread: owner worker. Layer: proxy.
 */

#include "conf/conf.h"
#include "proxy/session.h"

/*
 * quiet_judge() - see whether no byte has moved for `limit_ms`, or start the timer for the rest
 *
 * *since_ms is when lb last received or sent a byte, by the loop's clock (active_ms, for example).
 * When a peer on one of `sides` (1u << side) has acknowledged bytes since then, *since_ms is set to
 * the time of the last acknowledgement. While bytes wait because a peer's receive window is closed,
 * the limit is `shut_out_ms` (docs/decisions, 0015). Returns true when the limit is reached, and
 * otherwise starts the session's timer for the rest. Makes a system call for each side, but only
 * when `limit_ms` have passed since *since_ms.
 */
bool quiet_judge(struct session *s, unsigned sides, uint64_t *since_ms, uint32_t limit_ms,
		 uint32_t shut_out_ms);
#define BOTH_SIDES (1u << CLIENT | 1u << BACKEND)

/* The limit for a peer whose receive window is closed, in ms: twice the limit that other peers
 * have. */
static inline uint32_t quiet_shut_out_ms(uint32_t limit_ms)
{
	return limit_ms < CONF_OFF / 2 ? 2 * limit_ms : limit_ms;
}

/* Notes how many bytes `side` has acknowledged, so that the next quiet_judge() counts only later
 * acknowledgements. */
void quiet_note_taken(struct session *s, enum side side);

/*
 * quiet_client_fin() - handle a FIN that the client has sent after a plain request
 *
 * The client may have left, or may have half-closed its connection and wait for the response. lb
 * could learn which only by sending bytes to the client. So lb takes the client to have left when
 * no byte has moved for LEFT_MS (docs/decisions, 0021). quiet_may_have_left() says whether the
 * client has sent such a FIN. quiet_patience_ms() returns the time-out to use: LEFT_MS after such a
 * FIN if that is less than `limit_ms`, and otherwise `limit_ms`.
 */
void quiet_client_fin(struct session *s);
bool quiet_may_have_left(const struct session *s);
uint32_t quiet_patience_ms(const struct session *s, uint32_t limit_ms);
