/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The relay: what comes from one side goes to the other, exactly, and no faster than it is taken.
 *
 * Thread: owner worker. Hot. Layer: proxy.
 */

#include "proxy/session.h"

/* Starts both flows, in mode tcp after the connect, in mode http after the response's head. The
 * session is relaying. */
void relay_start(struct session *s);

/* Arms a receive from `from` if there is room for its bytes, else a poll for errors. */
void relay_read(struct session *s, enum side from);

/* Queues bytes that came from `from`, as far as the flow's kind lets them pass. Owns `b`. */
void relay_take(struct session *s, enum side from, struct buf *b);

/* The end reason that follows from `error`, 0 or a negative errno of the socket on `side`. May ask
 * the kernel whether the peer's host still answers. */
enum sess_end relay_find_reason(const struct session *s, enum side side, int error);

/* Passes on the ends of flows that are over, and begins to close a session that is. */
void relay_check(struct session *s);

/* Starts the time-out anew: timeouts.body, idle or half_closed, by the session's state. */
void relay_watch_time(struct session *s);

void relay_on_recv(struct session *s, enum side from, const struct completion *c);
void relay_on_send(struct session *s, enum dir d, const struct completion *c);
void relay_on_error_poll(struct session *s, enum side side, const struct completion *c);
void relay_on_timeout(struct session *s);

/* Sends what is in the queue or in the pipe of a flow. */
void relay_go_on(struct session *s, enum dir d);

/* The destination of a flow takes bytes again (flow_wait_room()). */
void relay_on_room(struct session *s, enum dir d, const struct completion *c);

/* The source of a flow that is spliced can be read; its destination can be written. */
void relay_on_splice_in(struct session *s, enum dir d, const struct completion *c);
void relay_on_splice_out(struct session *s, enum dir d, const struct completion *c);
