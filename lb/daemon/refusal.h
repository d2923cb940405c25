/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Refusal: an error that says what this machine does not let lb do, and what to do about it.
 *
 * A start, a reload and `lb check` use these functions, so that they word the same error alike.
 * Each function adds one error to `e` and returns -EINVAL; `r` is the negative errno with which the
 * kernel refused.
 *
 * Thread: main. Layer: daemon.
 */

#include "conf/conf.h"
#include "util/err.h"
#include "util/sockaddr.h"

/* To listen at `a`, which the file writes as `text`: "cannot bind TEXT: ...". */
int refusal_bind(struct err *e, struct mark at, const struct addr *a, const char *text, int r);

/* The same, where lb's own socket is in the way of a reload: `own` says which, and the way out. */
int refusal_own(struct err *e, struct mark at, const char *text, const char *own);

/* To listen at admin.http. */
int refusal_http(struct err *e, const struct conf *conf, int r);

/* To connect from the source `a`. */
int refusal_source(struct err *e, struct mark at, const struct addr *a, int r);

/* To open the log `to`. */
int refusal_log(struct err *e, struct mark at, const char *to, int r);

/*
 * To make the admin socket: -ENOENT is a folder that is missing, -EADDRINUSE a socket on which a
 * program answers, -EPERM one of another user, -ENOTSOCK another file.
 */
int refusal_socket(struct err *e, const struct conf *conf, int r);

/* To let the user that lb is now read its file at a reload. */
int refusal_file(struct err *e, const struct conf *conf, int r);

/*
 * The folder of the file `path`, written to `out` of `size` bytes (cut where it is longer): "."
 * where the path has none. Returns `out`.
 */
char *refusal_folder(const char *path, char *out, size_t size);
