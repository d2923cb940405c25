/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A compact end without its queues, flat: to be handed to another process, or to be made from keys
 * that are known (the simulation, fuzzing).
 *
 * Thread: the loop's. Layer: net.
 */

#include "net/tls.h"

struct tls_export {
	struct tls_half rx, tx;
	struct tls_messages messages;
	struct tls_suite suite;
	uint8_t n_idle;
	bool is_client;
	bool got_close, sent_close;
	bool must_update, must_request, has_requested;
};

/*
 * tls_export() - move a compact end's keys and places out of it
 *
 * `t` has no keys afterwards and can only be freed: two ends with the same keys would use a nonce
 * twice. `raw` and `sealed` go with the keys: the caller takes their chunks out by queue_pop() and
 * gives them to the new end by tls_feed() and queue_push(). The caller wipes *ret.
 */
void tls_export(struct tls *t, struct tls_export *ret);

/* The end that goes on where it was. NULL: slab_reserve(). */
struct tls *tls_import(struct tls_ends *es, const struct tls_export *e);
