/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Preflight: why this machine would not let lb start by a file, although the file has no mistake.
 *
 * preflight() is `lb check`, and changes nothing: addresses are bound without listening, no file
 * and no folder is made, and the lb that runs already is asked for its addresses. The findings are
 * worded by the same functions as the errors of a start (daemon/refusal.h).
 *
 * Thread: main. Layer: daemon.
 */

#include <stdbool.h>

#include "conf/conf.h"
#include "util/err.h"

/*
 * preflight() - find everything that would make a start fail
 *
 * The process must have one thread. Adds a finding for each to `e`, in the order of their places.
 * Returns 0 where there is no finding, or -EINVAL.
 */
int preflight(const struct conf *conf, struct err *e) LB_MUST_CHECK;

/* Whether this machine knows `user`. Returns 0, or -EINVAL with the reason in `e`. */
int preflight_user(const struct conf *conf, struct err *e) LB_MUST_CHECK;

/* Whether libcrypto has what handshakes need. Returns 0, or -ENOTSUP with the reason in `e`. */
int preflight_crypto(struct err *e);

/* After a start has become `user`: adds what that user lacks for a reload to `e`. */
void preflight_reload(const struct conf *conf, struct err *e);
