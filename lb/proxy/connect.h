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
 * The session must be in CONNECT and hold a slot at its backend. Returns 0 when the connect is in
 * flight: its completion goes to pick_on_connect(), and when the pool's timeouts.connect has passed
 * before that, connect_on_timeout() is called. Returns a negative errno when no connect is in
 * flight.
 */
int connect_start(struct session *s) LB_MUST_CHECK;

/*
 * connect_from_next_source() - try a connect that failed with `error` from another local address
 *
 * When `error` says that no port was left at a source address of the pool, another source address
 * may have one. Returns 0 when a connect from another source address is in flight, else the errno
 * of the last attempt.
 */
int connect_from_next_source(struct session *s, int error) LB_MUST_CHECK;

/* Whether `error` says that no local port was left for the connection. */
bool connect_lacks_port(int error);

/* Whether `error` says that lb, or the machine that lb runs on, has run out of descriptors or
 * memory. */
bool connect_lacks_resources(int error);

/* Cancels a connect that has taken longer than timeouts.connect. The completion of the connect then
 * says whether the connect has succeeded before it was cancelled. */
void connect_on_timeout(struct session *s);
