/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What follows a connect: the request goes out, the response's head comes back, and the relay
 * begins. In mode tcp the tunnel begins at once.
 *
 * Thread: owner worker. Layer: proxy.
 */

#include "proxy/session.h"

/* Goes on after a connect has succeeded, in CONNECT: sends the request (SEND), or in mode tcp
 * begins the tunnel. */
void response_start(struct session *s);

/* Handles the client's bytes before the relay begins: early bytes of a tunnel, or a request's body.
 */
void response_on_client_recv(struct session *s, const struct completion *c);

/* Handles the backend's bytes before the relay begins: the response's head. */
void response_on_recv(struct session *s, const struct completion *c);

/* Called when bytes of the request were sent. When they were the last bytes of the request, AWAIT
 * begins. */
void response_on_sent(struct session *s);

/* Handles the session's time-out in SEND and AWAIT. */
void response_on_timeout(struct session *s);
