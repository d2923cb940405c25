/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Whether this machine's OpenSSL lets connections out of its SSL objects: a handshake in memory for
 * each suite, with records of lb's own on both sides.
 *
 * To be asked once, before a listener or a pool with `records: compact` is made: what fails here
 * would otherwise be found by clients. Takes some 20 ms.
 *
 * Thread: main's. Layer: net.
 */

#include "util/assert.h"
#include "util/err.h"

struct tls_lib;

/* Returns 0, -ENOTSUP where a suite does not work, or -ENOMEM; reported in `e`, with the suite. */
int tls_check_compact(struct tls_lib *l, struct err *e) LB_MUST_CHECK;
