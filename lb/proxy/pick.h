/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The way to a backend: WAIT, PICK and CONNECT, until response.c goes on.
 *
 * Thread: owner worker. Layer: proxy.
 */

#include "proxy/session.h"

/* Begins a session of mode tcp, where no head is read. */
void pick_start_tcp(struct session *s);

/* The route is known (s->x->conf, s->pool), so WAIT begins: picks, connects, and tries again as
 * often as the pool allows. */
void pick_start(struct session *s);

/* A request that waits for a slot picks again. Returns false where it goes on waiting. */
bool pick_try_again(struct session *s);

void pick_on_connect(struct session *s, const struct completion *c);

/* A request in WAIT has waited long enough. */
void pick_on_timeout(struct session *s);
