/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The head of a request, in mode http: it is read, judged and routed.
 *
 * Thread: owner worker. Layer: proxy.
 */

#include "proxy/session.h"

/* Moves the session to IDLE, and waits for a request's head, for timeouts.handshake at most. */
void request_start(struct session *s);

/* Handles bytes of the client's in IDLE, and in BUSY while the exchange is in HEAD. */
void request_on_recv(struct session *s, const struct completion *c);
void request_on_timeout(struct session *s);
