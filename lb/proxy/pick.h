/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * How a request gets a backend: the states WAIT, PICK and CONNECT, until response.c goes on.
 *
 * Thread: owner worker. Layer: proxy.
 */

#include "proxy/session.h"

/* Starts to pick for a session of mode tcp. No head is read, because the listener names the pool.
 */
void pick_start_tcp(struct session *s);

/* Starts to pick for a request whose route is known (s->x->conf and s->pool are set). The request
 * enters WAIT, picks a backend and connects, and tries again as often as the pool allows. */
void pick_start(struct session *s);

/* Lets a request that waits for a slot pick again. Returns false when the request goes on waiting.
 */
bool pick_try_again(struct session *s);

void pick_on_connect(struct session *s, const struct completion *c);

/* Handles the time-out of a request in WAIT. */
void pick_on_timeout(struct session *s);
