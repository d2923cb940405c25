/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What follows a connect: the request goes out, the response's head comes back, and the relay
 * begins. In mode tcp the tunnel begins at once.
 *
 * Thread: owner worker. Layer: proxy.
 */

#include "proxy/session.h"

/* The connect has succeeded, in CONNECT: SEND begins, or in mode tcp the tunnel. */
void response_start(struct session *s);

/* The client's bytes before the relay begins: early bytes of a tunnel, or a request's body. */
void response_on_client_recv(struct session *s, const struct completion *c);

/* The backend's response head. */
void response_on_recv(struct session *s, const struct completion *c);

/* Bytes of the request were sent. When they were the last ones, AWAIT begins. */
void response_on_sent(struct session *s);

/* In SEND and AWAIT. */
void response_on_timeout(struct session *s);
