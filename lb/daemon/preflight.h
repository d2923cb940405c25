/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Preflight: why lb could not start by a file on this machine, although the file has no mistake.
 *
 * preflight() is `lb check`. It changes nothing: it binds addresses without listening, makes no
 * file and no folder that stays, and asks an lb that already runs for its addresses. The findings
 * have the same words as the errors of a start, from the same functions (daemon/refusal.h).
 *
 * Thread: main. Layer: daemon.
 */

#include <stdbool.h>

#include "conf/conf.h"
#include "util/err.h"

/*
 * preflight() - find everything that would make a start fail
 *
 * Call while the process has one thread only. Adds the findings to `e`, sorted by their marks in
 * the file. Returns 0 when there is no finding, and -EINVAL otherwise.
 */
int preflight(const struct conf *conf, struct err *e) LB_MUST_CHECK;

/* Whether this machine knows `user`. Returns 0, or -EINVAL with the reason in `e`. */
int preflight_user(const struct conf *conf, struct err *e) LB_MUST_CHECK;

/* Whether libcrypto has what handshakes need. Returns 0, or -ENOTSUP with the reason in `e`. */
int preflight_crypto(struct err *e);

/* Call after a start has become `user`. Adds an error to `e` for each file that this user cannot
 * open and a reload will have to open. */
void preflight_reload(const struct conf *conf, struct err *e);
