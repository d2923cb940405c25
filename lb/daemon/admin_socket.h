/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The admin socket's place in the file system: made by a start, only looked at by `lb check`.
 *
 * Thread: main. Layer: daemon.
 */

#include "conf/conf.h"
#include "ev/loop.h"
#include "util/err.h"

/*
 * admin_socket_open() - the listening socket of `conf`, which has one
 *
 * Makes the folder of the default path (CONF_ADMIN_SOCKET) where it is missing and that is allowed,
 * for `user` where there is one; no other folder. Returns the descriptor, or -EINVAL with the
 * reason in `e`.
 */
int admin_socket_open(struct loop *l, const struct conf *conf, struct err *e) LB_MUST_CHECK;

/*
 * admin_socket_check() - whether admin_socket_open() would do it
 *
 * Makes nothing. Returns 0, -EADDRINUSE where a program answers on the socket (nothing is added to
 * `e`: it may be the lb that this file is for), or -EINVAL with the reason in `e`.
 */
int admin_socket_check(const struct conf *conf, struct err *e) LB_MUST_CHECK;
