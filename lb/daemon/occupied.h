/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Occupied: with which listening TCP sockets of this machine a new address conflicts, and whether
 * they are lb's own.
 *
 * A failing bind(2) tells that an address is in use, but not which process uses it. lb's own
 * sockets are no obstacle, because they have SO_REUSEPORT, and a reload may go from 127.0.0.1 to
 * 0.0.0.0 and back while the old address still listens. The kernel lists all listening sockets of a
 * port with their inodes (sock_diag(7)), and lb knows the inodes of its own sockets.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdbool.h>
#include <stdint.h>

#include "util/assert.h"
#include "util/sockaddr.h"

/* The number by which the kernel lists a socket of this process; 0 where it has none. */
uint32_t occupied_inode(int fd);

/*
 * occupied_by_others() - whether a socket that is not lb's own is in the way of the address `a`
 *
 * `a` has a port. Returns 0 when every socket in the way is lb's own (is_own() decides by the
 * inode), -EADDRINUSE when one is not, or another negative errno when the kernel does not list the
 * sockets.
 */
int occupied_by_others(const struct addr *a, bool (*is_own)(void *arg, uint32_t inode),
		       void *arg) LB_MUST_CHECK;
