/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Sockets as lb wants them: listeners, and connections to backends.
 *
 * Dead peers: every TCP socket has TCP_NODELAY and TCP_USER_TIMEOUT, and, unless its address is a
 * loopback address, keepalive. The first probe is sent after 40 to 60 s without traffic, the next
 * ones every 2 or 3 s. Without TCP_USER_TIMEOUT the connection ends after 30 probes. Accepted
 * sockets inherit these options from the listening socket. docs/decisions/0011-keepalive.md gives
 * the reasons for these times.
 *
 * Bytes are paced when the system's congestion control paces, but not to a loopback address
 * (docs/decisions/0013-loopback-pacing.md).
 *
 * Functions that return an int, except sock_error(), return 0, a descriptor or a negative errno.
 * Thread: the loop's. Layer: net.
 */

#include <stdbool.h>
#include <stdint.h>

#include "ev/loop.h"
#include "util/sockaddr.h"

#define SOCK_BACKLOG 4096 /* connections; the kernel allows at most net.core.somaxconn */

/* TCP_USER_TIMEOUT in ms, until a pool's own value is known. */
#define SOCK_USER_MS 120000u

/*
 * sock_probe_free() - whether no other socket listens on `addr`
 *
 * Binds a socket without SO_REUSEPORT to `addr`, listens on it, and closes it. Sets *ret_port to
 * its port, which the kernel has chosen when the port of `addr` is 0.
 */
int sock_probe_free(struct loop *l, const struct addr *addr, uint16_t *ret_port) LB_MUST_CHECK;

/* Makes a socket of a SO_REUSEPORT group, bound to `addr`. It does not listen yet. */
int sock_bind_shared(struct loop *l, const struct addr *addr) LB_MUST_CHECK;

/* Makes a socket without SO_REUSEPORT, bound to `addr`. It does not listen yet. */
int sock_bind_alone(struct loop *l, const struct addr *addr) LB_MUST_CHECK;

/*
 * sock_drop_new() - let a listening TCP socket drop the SYNs of new connections
 *
 * Handshakes that have begun still complete. So the owner can accept all connections that are
 * queued, and then close the socket. Without this a connection that comes between the last accept
 * and the close would be reset.
 */
void sock_drop_new(struct loop *l, int fd);

/* Undoes sock_drop_new() for a connection that was accepted from such a socket, because it has
 * inherited the filter. */
void sock_serve_old(struct loop *l, int fd);

/*
 * sock_for_connect() - a TCP socket to connect to `to` with
 *
 * `from` is the local address, or NULL. The kernel chooses the local port at the connect only, so
 * that each pair of `from` and `to` has the whole range of ports. When user_ms is 0, there is no
 * TCP_USER_TIMEOUT.
 */
int sock_for_connect(struct loop *l, const struct addr *to, const struct addr *from,
		     uint32_t user_ms) LB_MUST_CHECK;

/* Tells whether a connection can have the local address `from`. Returns 0 or a negative errno. */
int sock_try_source(struct loop *l, const struct addr *from) LB_MUST_CHECK;

/*
 * sock_spread_keepalive() - choose another time until keepalive begins
 *
 * `fd` is a listening socket; sockets that are accepted from now on inherit the time. To be called
 * now and then while connections come in.
 */
void sock_spread_keepalive(struct loop *l, int fd);

/* Changes TCP_USER_TIMEOUT; user_ms 0 switches it off. */
void sock_set_user_timeout(struct loop *l, int fd, uint32_t user_ms);

/* Lets a later close(2) reset the connection and drop the bytes that were not sent. */
void sock_reset_on_close(struct loop *l, int fd);

/* The socket's pending error as a positive errno, or 0. */
int sock_error(struct loop *l, int fd);
