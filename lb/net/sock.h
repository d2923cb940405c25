/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Sockets as lb wants them: listeners, and connections to backends.
 *
 * Dead peers: every TCP socket has TCP_NODELAY and TCP_USER_TIMEOUT, and, unless its address is a
 * loopback, keepalive: after 40 to 60 s idle, then every 2 or 3 s, 30 times where there is no
 * TCP_USER_TIMEOUT. Accepted sockets inherit all that from the listening one. Why these times:
 * docs/decisions/0011-keepalive.md.
 *
 * Bytes are paced where the system's congestion control says so, but not on a loopback address:
 * docs/decisions/0013-loopback-pacing.md.
 *
 * All return 0 or a descriptor, or a negative errno. Thread: the loop's. Layer: net.
 */

#include <stdbool.h>
#include <stdint.h>

#include "ev/loop.h"
#include "util/sockaddr.h"

#define SOCK_BACKLOG 4096 /* the kernel lowers it to net.core.somaxconn */

/* TCP_USER_TIMEOUT before a pool has said its own. */
#define SOCK_USER_MS 120000u

/*
 * sock_probe_free() - whether no other socket listens on `addr`
 *
 * Binds it once without SO_REUSEPORT. Sets *ret_port to the port (that the kernel chose, for 0).
 */
int sock_probe_free(struct loop *l, const struct addr *addr, uint16_t *ret_port) LB_MUST_CHECK;

/* A bound socket of a SO_REUSEPORT group, not yet listening. */
int sock_bind_shared(struct loop *l, const struct addr *addr) LB_MUST_CHECK;

/* A bound socket of its own, not yet listening. */
int sock_bind_alone(struct loop *l, const struct addr *addr) LB_MUST_CHECK;

/*
 * sock_drop_new() - let a listening TCP socket ignore new connections
 *
 * Their SYNs are dropped, while handshakes under way still complete. So the owner can empty the
 * socket's queue before it closes the socket. Otherwise a connection that comes in between the last
 * accept and the close would be reset.
 */
void sock_drop_new(struct loop *l, int fd);

/* Undoes sock_drop_new() for a connection that was accepted from such a socket and has inherited
 * it. */
void sock_serve_old(struct loop *l, int fd);

/*
 * sock_for_connect() - a TCP socket to connect to `to` with
 *
 * `from` (may be NULL) is the local address, whose port the kernel chooses only at the connect, so
 * that each (from, to) has a port range of its own. user_ms 0 is no TCP_USER_TIMEOUT.
 */
int sock_for_connect(struct loop *l, const struct addr *to, const struct addr *from,
		     uint32_t user_ms) LB_MUST_CHECK;

/* Whether a connection can come from this local address. */
int sock_try_source(struct loop *l, const struct addr *from) LB_MUST_CHECK;

/*
 * sock_spread_keepalive() - another time for keepalive to begin, for sockets accepted from now on
 *
 * To be called for a listening socket now and then while connections come in.
 */
void sock_spread_keepalive(struct loop *l, int fd);

/* Changes TCP_USER_TIMEOUT; 0 is none. */
void sock_set_user_timeout(struct loop *l, int fd, uint32_t user_ms);

/* From now on close(2) resets the connection and drops what was not sent. */
void sock_reset_on_close(struct loop *l, int fd);

/* The pending error, or 0. */
int sock_error(struct loop *l, int fd);
