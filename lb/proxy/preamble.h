/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * PREAMBLE: what comes before a connection's first request, or before its tunnel. That is the
 * PROXY header, from peers that are to send one, and then the handshake of TLS, on listeners that
 * have it.
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

/* Expects a PROXY header from a connection that was just accepted. The time-out is that of the
 * request's head, which counts from the accept. */
void preamble_start_proxy(struct session *s);

/*
 * preamble_read_proxy() - handle a receive while the session awaits its PROXY header
 *
 * Returns true when the header is whole and s->client is the address that it names. Then what comes
 * next may begin, and *ret is what came behind the header, or NULL; the reference is the caller's.
 * Returns false when more is awaited, or when the session has ended; *ret is left alone.
 */
bool preamble_read_proxy(struct session *s, const struct completion *c,
			 struct buf **ret) LB_MUST_CHECK;

/*
 * preamble_start_tls() - expect a ClientHello from a connection that was just accepted
 *
 * Its PROXY header, if there is one, was read before. The time-out is that of the request's head,
 * which counts from the accept. `ctx` is borrowed.
 */
void preamble_start_tls(struct session *s, struct tls_ctx *ctx);

/* Handles a receive of the handshake of TLS. */
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
