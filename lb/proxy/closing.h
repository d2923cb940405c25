/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The state CLOSING: lb delivers the last bytes before it closes the connection. These bytes are
 * lb's own answer, the end of a complete response, or what a peer sent before its reset. In a
 * lingering close lb sends its FIN and reads on for a while, so that the client can read an answer:
 * a close with unread bytes is a reset, which would destroy the answer (RFC 9112, 9.6).
 *
 * Thread: owner worker. Layer: proxy.
 */

#include "proxy/session.h"

/* Sends `b`, lb's own answer, as the last bytes to the client, then closes lingering. Owns `b`. */
void closing_send(struct session *s, enum sess_end end, struct buf *b);

/* Sends what waits for the client already, an alert of TLS, as the last bytes, then closes
 * lingering. */
void closing_flush(struct session *s, enum sess_end end);

/* Begins a lingering close of a session that has sent all bytes and a FIN to the client: reads and
 * drops until the client closes, too. */
void closing_linger(struct session *s);

/* Resets both ends as soon as the kernel of the peer on `side` has acknowledged all bytes that lb
 * has sent to it. */
void closing_reset(struct session *s, enum side side);

/* Whether the backend's end has to stay open in CLOSING, because both ends are to be reset. */
bool closing_needs_backend(const struct session *s);

void closing_on_recv(struct session *s, enum side side, const struct completion *c);
void closing_on_send(struct session *s, enum dir d, const struct completion *c);
void closing_on_timeout(struct session *s);
