/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The way to a backend: PICK, CONNECT, and in mode http UPGRADE (the head is sent, the response's
 * head awaited), until the relay can begin.
 *
 * Thread: owner worker. Layer: proxy.
 */

#include "proxy/session.h"

/* A tcp session's beginning: no head is read. */
void upstream_start_tcp(struct session *s);

/* The route is known (s->x->conf, s->pool): picks, connects, and tries again as often as allowed.
 */
void upstream_run(struct session *s);

/* One that waits for a place (proxy/wait.h) picks again. False: it waits on. */
bool upstream_try_again(struct session *s);

void upstream_on_connect(struct session *s, const struct completion *c);

/* The client's bytes while no relay runs: kept, or a body on its way. */
void upstream_on_client_recv(struct session *s, const struct completion *c);

/* The backend's response head. */
void upstream_on_recv(struct session *s, const struct completion *c);

/* One side that is not being read was reset. */
void upstream_on_error_poll(struct session *s, enum side side);

void upstream_on_timeout(struct session *s);

/* Some of the request was sent: when it is the last of it, the wait for the response begins. */
void upstream_on_sent(struct session *s);
