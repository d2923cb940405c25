/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A listening Unix socket and its file: that of the admin socket.
 *
 * Thread: the loop's. Layer: net.
 */

#include <stdint.h>

#include "util/assert.h"

struct loop;

/*
 * unix_judge() - whether a new Unix socket may be made at `path`
 *
 * Returns 0 when there is no file, or a socket on which no program listens; -EADDRINUSE: a socket
 * on which a program listens; -EPERM: a socket that this user may not connect to; -ENOTSOCK: a file
 * that is no socket. Changes nothing.
 */
int unix_judge(const char *path) LB_MUST_CHECK;

/*
 * unix_listen() - a listening Unix socket at `path` with permission bits `mode`
 *
 * Replaces the file of a socket on which no program listens. Otherwise returns the descriptor, or
 * the errors of unix_judge() and of bind(2).
 */
int unix_listen(struct loop *l, const char *path, uint32_t mode) LB_MUST_CHECK;
