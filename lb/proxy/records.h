/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Records: what a receive on an end of TLS means for the steps of a session, which know bytes only.
 *
 * Thread: owner worker. Hot. Layer: proxy.
 */

#include "net/queue.h"
#include "proxy/session.h"
#include "util/assert.h"

/* What records_open() returns where the stream goes on. */
#define RECORDS_GO_ON 1

/*
 * records_open() - decrypt what a receive from `side` has brought
 *
 * Appends the bytes to `out`; takes over c->buf. With `c` NULL, what has come before is decrypted.
 * Returns RECORDS_GO_ON, or how the stream has ended, as a receive does: 0 at its end, which is a
 * close_notify or a FIN, or a negative errno.
 */
int records_open(struct session *s, enum side side, const struct completion *c,
		 struct queue *out) LB_MUST_CHECK;
