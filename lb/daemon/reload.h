/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Reload: from a file to workers that run by it, all or nothing.
 *
 *   load, check -> prepare (bind) -> ADOPT to all workers -> listen -> APPLY to all -> commit
 *        | refused      | refused        | a full table: ABORT | refused: ABORT
 *
 * The first start goes the same way, from a delta that is prepared already. Where reloads are asked
 * for while one is under way, one more follows for all of them. Once the workers are told to stop,
 * a reload that has not got as far as APPLY is refused, because the reload would open listeners
 * after the stop.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/broadcast.h"
#include "daemon/phase.h"
#include "util/err.h"

struct conf;
struct delta;
struct log;
struct loop;
struct membership;
struct registry;
struct threads;

/* The functions that a reload calls in the process around it, each with reload_env.arg. */
struct reload_ops {
	/* Whether this process can run by `conf` (user, logs, descriptors): 0, or a negative errno
	 * with every reason in `e`. Addresses and sources are checked by the reload itself. */
	int (*check)(void *arg, const struct conf *conf, struct err *e);

	/* A file is going to be read. Not called for the start, nor for what is refused at once. */
	void (*begin)(void *arg);

	/* Every worker runs by `conf`. May add warnings. */
	void (*commit)(void *arg, struct conf *conf, struct err *warnings);

	/* The reload that begin() announced is over: its file is in force, or refused. */
	void (*end)(void *arg);
};

/* What a reload works on: everything is borrowed, and outlives the reload. */
struct reload_env {
	const char *path; /* of the configuration file */
	struct loop *loop;
	const struct log *log;
	struct threads *threads;
	struct registry *registry;
	struct membership *membership;
	const enum phase *phase;
	const struct reload_ops *ops;
	void *arg;
};

/* `why` has the reasons where result is negative, else warnings, if any. */
typedef void (*reload_fn)(void *ctx, int result, const struct err *why);

struct reload_waiter {
	reload_fn fn;
	void *ctx;
};

struct reload {
	/* private to reload.c */
	struct reload_env env;
	struct delta *delta; /* owns: under way; NULL: none */
	struct err err;
	int result;
	uint32_t n_waiting;          /* workers that have not replied */
	struct broadcast abort;      /* made before ADOPT, so that ADOPT can always be undone */
	size_t batch_from, batch_to; /* of the delta's listeners: those being handed over */
	bool has_begun;              /* ops->begin() was called, and ops->end() is due */
	bool is_again;               /* asked for once more meanwhile */
	size_t n_now, n_next;        /* callers that wait for this reload, and for the next one */
	struct reload_waiter *now, *next; /* own */
	/* read by stats.c: how the last reload (or the start) ended, and when, since 1970 */
	bool was_refused;
	uint64_t ended_ns;
};

void reload_init(struct reload *r, const struct reload_env *env);
void reload_deinit(struct reload *r);

/* Reads the file again. `fn` (may be NULL) is called once, later or before this returns. */
void reload_request(struct reload *r, reload_fn fn, void *ctx);

/*
 * reload_start() - the first reload, with a delta that is prepared already and owned from here on
 *
 * Returns 0, or -ENOMEM with nothing begun; then `fn` is never called, and the delta stays the
 * caller's.
 */
int reload_start(struct reload *r, struct delta *d, reload_fn fn, void *ctx) LB_MUST_CHECK;

/* Whether a reload has begun and is not over. */
bool reload_is_under_way(const struct reload *r);
