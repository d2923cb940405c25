/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The way to a backend: PICK and CONNECT, until response.c goes on.
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

/* In PICK and CONNECT. */
void upstream_on_timeout(struct session *s);
