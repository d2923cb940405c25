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
 * unix_judge() - whether what has this path, if anything has, leaves it to a new Unix socket
 *
 * 0: nothing has it, or a socket that nobody answers on. -EADDRINUSE: a socket that somebody
 * answers on. -EPERM: a socket that this user may not ask. -ENOTSOCK: no socket. Changes nothing.
 */
int unix_judge(const char *path) LB_MUST_CHECK;

/*
 * unix_listen() - a listening Unix socket at `path` with permission bits `mode`
 *
 * The file of a socket that nobody answers on is replaced; for all else see unix_judge().
 */
int unix_listen(struct loop *l, const char *path, uint32_t mode) LB_MUST_CHECK;
