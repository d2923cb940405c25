/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What comes behind a connect: the request goes out, the response's head comes back, and the relay
 * begins. In mode tcp it begins at once.
 *
 * Thread: owner worker. Layer: proxy.
 */

#include "proxy/session.h"

/* The connect has succeeded, in CONNECT: SEND begins, or in mode tcp the tunnel. */
void response_start(struct session *s);

/* The client's bytes while no relay runs: kept, or a body on its way. */
void response_on_client_recv(struct session *s, const struct completion *c);

/* The backend's response head. */
void response_on_recv(struct session *s, const struct completion *c);

/* Some of the request was sent: when it is the last of it, the wait for the response begins. */
void response_on_sent(struct session *s);

/* In SEND and AWAIT. */
void response_on_timeout(struct session *s);
