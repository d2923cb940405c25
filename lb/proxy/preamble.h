/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * PREAMBLE: what comes before a connection's first request, or before its tunnel. That is the
 * handshake of TLS, on listeners that have it.
 *
 * A step of a handshake costs up to a millisecond of CPU time, so a storm of them would hold up all
 * connections of a worker. So sessions whose handshake can go on wait in worker->shaking, and each
 * turn takes a few steps (dispatch_on_shake_timer()).
 *
 * Thread: owner worker. Layer: proxy.
 */

#include "proxy/session.h"
#include "util/assert.h"

struct tls_ctx;

/*
 * preamble_start() - expect a ClientHello from a connection that was just accepted
 *
 * The time-out is that of the request's head, which counts from the accept. `ctx` is borrowed.
 */
void preamble_start(struct session *s, struct tls_ctx *ctx);

void preamble_on_recv(struct session *s, const struct completion *c);
void preamble_on_send(struct session *s, const struct completion *c);
void preamble_on_timeout(struct session *s);

/*
 * preamble_admit() - let hellos that wait begin their handshakes
 *
 * As far as `tls.max_handshakes` allows. Past it, the handshake that has waited longest for its
 * client is ended to make room, if it has waited for over a second. Returns in how many
 * milliseconds the first hello that still waits can make room so, or UINT32_MAX: none waits.
 */
uint32_t preamble_admit(struct worker *w);

/* Takes the next step of a session's handshake. Returns true when the handshake is over, and the
 * session's first request, or its tunnel, may begin. */
bool preamble_step(struct session *s) LB_MUST_CHECK;
