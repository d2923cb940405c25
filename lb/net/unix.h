/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A listening Unix socket and its file, for the admin interface.
 *
 * Thread: the loop's. Layer: net.
 */

#include <stdint.h>

#include "util/assert.h"

struct loop;

/*
 * unix_judge() - whether a new Unix socket may be made at `path`
 *
 * Returns 0 when no file is there, or a socket on which no program listens. Returns -EADDRINUSE for
 * a socket on which a program listens, -EPERM for a socket that this user may not connect to, and
 * -ENOTSOCK for a file that is no socket. Changes nothing.
 */
int unix_judge(const char *path) LB_MUST_CHECK;

/*
 * unix_listen() - a listening Unix socket at `path` with permission bits `mode`
 *
 * When `path` is a socket on which no program listens, its file is replaced. Returns the
 * descriptor, or an error of unix_judge() or of bind(2).
 */
int unix_listen(struct loop *l, const char *path, uint32_t mode) LB_MUST_CHECK;
