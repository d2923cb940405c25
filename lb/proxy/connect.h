/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * CONNECT: a new connection to the backend that was picked.
 *
 * Thread: owner worker. Layer: proxy.
 */

#include <stdbool.h>

#include "proxy/session.h"
#include "util/assert.h"

/*
 * connect_start() - open the backend's conn and start to connect it
 *
 * The session is in CONNECT, and holds a slot at its backend. Returns 0: the completion goes to
 * pick_on_connect(), or the pool's timeouts.connect to connect_on_timeout(). Or a negative errno:
 * nothing is in flight.
 */
int connect_start(struct session *s) LB_MUST_CHECK;

/*
 * connect_from_next_source() - try a connect that failed with `error` from another local address
 *
 * Where no port was left at one of the pool's source addresses, another one may have some. Returns
 * 0 when such a connect is in flight, else the errno of the last one.
 */
int connect_from_next_source(struct session *s, int error) LB_MUST_CHECK;

/* Whether no local port was left for the connection. */
bool connect_lacks_port(int error);

/* Whether lb, or the machine that lb runs on, has run out of descriptors or memory. */
bool connect_lacks_resources(int error);

/* Cancels the connect, whose last completion then says whether it came too late all the same. */
void connect_on_timeout(struct session *s);
