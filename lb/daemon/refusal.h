/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Refusal: an error that says what this machine does not let lb do, and what the user can do about
 * it.
 *
 * A start, a reload and `lb check` use these functions, so that the same error has the same words.
 * Each function is named after what was refused, adds one error to `e` and returns -EINVAL. `r` is
 * the negative errno with which the kernel refused.
 *
 * Thread: main. Layer: daemon.
 */

#include "conf/conf.h"
#include "util/err.h"
#include "util/sockaddr.h"

/* Binding the address `a` of a listener was refused. `text` is `a` as the file has it. */
int refusal_bind(struct err *e, struct mark at, const struct addr *a, const char *text, int r);

/* Binding an address was refused to a reload because this lb itself has a socket there. `own` is
 * the rest of the error's text: which socket, and the way out. */
int refusal_own(struct err *e, struct mark at, const char *text, const char *own);

/* Binding the address of admin.http was refused. */
int refusal_http(struct err *e, const struct conf *conf, int r);

/* Binding the source address `a` was refused. */
int refusal_source(struct err *e, struct mark at, const struct addr *a, int r);

/* Opening the log `to` was refused. */
int refusal_log(struct err *e, struct mark at, const char *to, int r);

/*
 * Making the admin socket was refused. -ENOENT: its folder is missing. -EADDRINUSE: a program
 * answers on the socket. -EPERM: the socket is another user's. -ENOTSOCK: the file is no socket.
 */
int refusal_socket(struct err *e, const struct conf *conf, int r);

/* The user that lb runs as may not read the configuration file, so a reload would fail. */
int refusal_file(struct err *e, const struct conf *conf, int r);

/* To read the file `path` that a listener's `tls` names at `at`. */
int refusal_tls_file(struct err *e, struct mark at, const char *path, int r);

/*
 * Writes the folder of the file `path` to `out`, or "." when `path` has no folder. A folder that is
 * longer than `size` - 1 bytes is cut. Returns `out`.
 */
char *refusal_folder(const char *path, char *out, size_t size);
