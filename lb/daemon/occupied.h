/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Occupied: whether a new address conflicts with listening TCP sockets that are not lb's own.
 *
 * When bind(2) fails, its errno says that an address is in use, but not by which socket. lb's own
 * sockets are not in the way, because they have SO_REUSEPORT: a reload may replace 127.0.0.1 by
 * 0.0.0.0 while 127.0.0.1 still listens. The kernel lists all sockets that listen on a port with
 * their inodes (sock_diag(7)), and lb knows the inodes of its own sockets.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdbool.h>
#include <stdint.h>

#include "util/assert.h"
#include "util/sockaddr.h"

/* The number of the socket's inode as the kernel lists it (32 bits); 0 when the number cannot be
 * read. */
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
