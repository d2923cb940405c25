/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The relay: what comes from one side goes to the other, exactly, and no faster than it is taken.
 *
 * Thread: owner worker. Hot. Layer: proxy.
 */

#include "proxy/session.h"

/* Both flows run: from the connect on in mode tcp, from the response's
 * head on in mode http. The session is relaying. */
void relay_start(struct session *s);

/* Arms a receive from `from` if there is room for its bytes, else a poll for errors. */
void relay_read(struct session *s, enum side from);

/* Queues bytes that came from `from`, as far as the flow's kind lets them pass. Owns `b`. */
void relay_take(struct session *s, enum side from, struct buf *b);

/* What a negative errno of the socket on `side` says of the peer there. */
enum sess_end relay_find_reason(const struct session *s, enum side side, int error);

/* Passes ends on and sees whether all is done. */
void relay_check(struct session *s);

/* (Re)starts the time-out that fits: idle, body or half_closed. */
void relay_watch_time(struct session *s);

void relay_on_recv(struct session *s, enum side from, const struct completion *c);
void relay_on_send(struct session *s, enum dir d, const struct completion *c);
void relay_on_error_poll(struct session *s, enum side side, const struct completion *c);
void relay_on_timeout(struct session *s);

/* Something waits to be sent, in the queue or in a pipe: sends it. */
void relay_go_on(struct session *s, enum dir d);

/* The destination of a flow takes bytes again (flow_wait_room()). */
void relay_on_room(struct session *s, enum dir d, const struct completion *c);

/* The source of a flow that is spliced can be read; its destination can be written. */
void relay_on_splice_in(struct session *s, enum dir d, const struct completion *c);
void relay_on_splice_out(struct session *s, enum dir d, const struct completion *c);
