/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Reload: from a file to workers that run by it, all or nothing.
 *
 *   load, check -> prepare (bind) -> TAKE to all workers -> listen -> APPLY to all -> commit
 *        | refused      | refused        | a full table: DROP   | refused: DROP
 *
 * The first start goes the same way. Reloads asked for meanwhile become one more afterwards. Once
 * the workers are told to stop, a reload that has not got as far as APPLY is refused: it would open
 * listeners behind the stop.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

struct conf;
struct control;
struct delta;
struct order;

/* `why` has the reasons where result is negative, else warnings, if any. */
typedef void (*reload_fn)(void *ctx, int result, const struct err *why);

struct reload_waiter {
	reload_fn fn;
	void *ctx;
};

struct reload {
	/* private to reload.c */
	struct delta *delta;  /* owns: under way; NULL: none */
	struct conf *started; /* counted: of the start; NULL before it is over */
	struct err err;
	int result;
	uint32_t n_waiting;          /* workers that have not answered */
	struct order **drop;         /* owns, with one per worker: made first; NULL once posted */
	size_t batch_from, batch_to; /* of the delta's listeners: those being handed over */
	bool is_announced;           /* the service manager was told of this one */
	bool is_again;               /* asked for once more meanwhile */
	/* read by report.c: how the last one ended (or the start), and when, since 1970 */
	bool was_refused;
	uint64_t ended_ns;
	size_t n_now, n_next;             /* who waits for this one, and for the one after */
	struct reload_waiter *now, *next; /* own */
};

/* Reads the file again. `fn` (may be NULL) is called once, later or at once. */
void reload_request(struct control *c, reload_fn fn, void *ctx);

/*
 * The first one, with a delta that is prepared already and owned from here on. Returns 0, or
 * -ENOMEM with nothing begun: then `fn` is not called, and the delta stays the caller's.
 */
int reload_start(struct control *c, struct delta *d, reload_fn fn, void *ctx) LB_MUST_CHECK;

/* Whether one has begun and is not over. */
bool reload_is_under_way(const struct control *c);

/* What a reload under way will commit; NULL where there is none, or it is committed already. */
struct delta *reload_pending(const struct control *c);

void reload_deinit(struct control *c);
