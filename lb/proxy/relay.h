/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The relay: the bytes that come from one side go to the other side, in their order, and are read
 * no faster than the other side takes them.
 *
 * Thread: owner worker. Hot. Layer: proxy.
 */

#include "proxy/session.h"

/* Starts both flows: in mode tcp after the connect, in mode http after the response's head. The
 * session must be relaying (session_is_relaying()). */
void relay_start(struct session *s);

/* Reads on from `from`: arms a receive or a splice when the flow has room, else a poll for errors.
 */
void relay_read(struct session *s, enum side from);

/* Queues the bytes in `b`, which came from `from`. The flow's kind decides which of them pass. Owns
 * `b`. */
void relay_take(struct session *s, enum side from, struct buf *b);

/* Returns the end reason that follows from `error`, which is 0 or a negative errno of the socket on
 * `side`. May ask the kernel whether the peer's host still answers. */
enum sess_end relay_find_reason(const struct session *s, enum side side, int error);

/* Passes on the end of each flow that is over, and begins to close the session when its relay is
 * over. */
void relay_check(struct session *s);

/* Starts the session's timer anew: with timeouts.body, idle or half_closed, depending on the
 * session's state. */
void relay_watch_time(struct session *s);

void relay_on_recv(struct session *s, enum side from, const struct completion *c);
void relay_on_send(struct session *s, enum dir d, const struct completion *c);
void relay_on_error_poll(struct session *s, enum side side, const struct completion *c);
void relay_on_timeout(struct session *s);

/* Sends what is in the flow's queue or pipe. */
void relay_go_on(struct session *s, enum dir d);

/* Handles the completion of flow_wait_room(): the flow's destination takes bytes again. */
void relay_on_room(struct session *s, enum dir d, const struct completion *c);

/* relay_on_splice_in(): the source of a spliced flow can be read. relay_on_splice_out(): the
 * destination can be written. */
void relay_on_splice_in(struct session *s, enum dir d, const struct completion *c);
void relay_on_splice_out(struct session *s, enum dir d, const struct completion *c);
