/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The state CLOSING: the last bytes are delivered before the connection is closed. That is lb's own
 * answer, a response that is complete, or what came before a reset. The lingering close lets a
 * client read an answer, where a close at once would be a reset that destroys it (RFC 9112, 9.6).
 *
 * Thread: owner worker. Layer: proxy.
 */

#include "proxy/session.h"

/* Sends `b`, lb's own answer, as the last bytes to the client, and lingers behind it. Owns `b`. */
void closing_send(struct session *s, enum sess_end end, struct buf *b);

/* All was sent to the client, and its end passed on: reads and drops until the client closes, too.
 */
void closing_linger(struct session *s);

/* Resets both ends once all that was sent to `side` has been acknowledged. */
void closing_reset(struct session *s, enum side side);

/* Whether the backend's descriptor is still wanted in CLOSING. */
bool closing_needs_backend(const struct session *s);

void closing_on_recv(struct session *s, enum side side, const struct completion *c);
void closing_on_send(struct session *s, enum dir d, const struct completion *c);
void closing_on_timeout(struct session *s);
