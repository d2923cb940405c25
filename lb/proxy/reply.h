/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Last words: lb's own answers, resets that wait until what came before them is delivered, and the
 * lingering close that lets a client see an answer instead of a reset (RFC 9112, 9.6).
 *
 * All of it is the state DRAIN. Thread: owner worker. Layer: proxy.
 */

#include "proxy/session.h"

/*
 * reply_error() - answer a client that still waits for a response, then close
 *
 * The status is that of the reason (proxy/end.h); `why` is the line of text in the body, NULL for
 * the reason's own. In mode tcp the connection is reset instead.
 */
void reply_error(struct session *s, enum sess_end end, const char *why);

/* There is no memory for its handshake: 503, and the worker takes in nobody until there is some. */
void reply_out_of_memory(struct session *s);

/* The same with a status and extra header lines (each with its CRLF, or ""). */
void reply_status(struct session *s, enum sess_end end, int status, const char *why,
		  const char *extra);

/* Resets both sides once all that was sent to `side` has been acknowledged. */
void reply_reset(struct session *s, enum side side);

/* All was sent to the client and its end passed on: reads and drops until it closes too. */
void reply_linger(struct session *s);

/* Whether the backend's descriptor is still wanted while draining. */
bool reply_needs_backend(const struct session *s);

void reply_on_recv(struct session *s, enum side side, const struct completion *c);
void reply_on_send(struct session *s, enum dir d, const struct completion *c);
void reply_on_timeout(struct session *s);
