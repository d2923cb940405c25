/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Reload: makes all workers run by the present file, or refuses the file and changes nothing.
 *
 *   load, check -> prepare (bind) -> ADOPT to all workers -> listen -> APPLY to all -> commit
 *        | refused      | refused        | a full table: ABORT | refused: ABORT
 *
 * The start uses the same steps, but its delta is already prepared. When reloads are asked for
 * while a reload is under way, one more reload follows for all of them. When the workers are told
 * to stop before the reload has posted APPLY, the reload is refused, because it would open
 * listeners after the stop.
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

/* The functions by which a reload calls its owner, control.c. `arg` is reload_env.arg. */
struct reload_ops {
	/* Whether this process can run by `conf` (user, logs, descriptors): 0, or a negative errno
	 * with every reason in `e`. Addresses and sources are checked by the reload itself. */
	int (*check)(void *arg, const struct conf *conf, struct err *e);

	/* A reload begins to read the file. Not called for the start, nor for a reload that is
	 * refused because lb is not running or stops. */
	void (*begin)(void *arg);

	/* Every worker runs by `conf`. The function may add warnings. */
	void (*commit)(void *arg, struct conf *conf, struct err *warnings);

	/* The reload for which begin() was called is over: the file is in force, or was refused. */
	void (*end)(void *arg);
};

/* The objects that a reload uses. All are borrowed, and must outlive struct reload. */
struct reload_env {
	const char *path; /* path of the configuration file */
	struct loop *loop;
	const struct log *log;
	struct threads *threads;
	struct registry *registry;
	struct membership *membership;
	const enum phase *phase;
	const struct reload_ops *ops;
	void *arg;
};

/* `result` is 0 or a negative errno. `why` has the reasons when `result` is negative, and warnings
 * otherwise. */
typedef void (*reload_fn)(void *ctx, int result, const struct err *why);

struct reload_waiter {
	reload_fn fn;
	void *ctx;
};

struct reload {
	/* private to reload.c */
	struct reload_env env;
	struct delta *delta; /* owns: the delta of the reload under way; NULL: no reload */
	struct err err;
	int result;
	uint32_t n_waiting;     /* workers that have not replied */
	struct broadcast abort; /* made before ADOPT, so that ADOPT can always be undone */
	/* the batch: delta->listeners from batch_from up to, but without, batch_to */
	size_t batch_from, batch_to;
	bool has_begun;                   /* ops->begin() was called, and ops->end() is due */
	bool is_again;                    /* another reload was asked for and follows this reload */
	size_t n_now, n_next;             /* how many waiters are in `now` and in `next` */
	struct reload_waiter *now, *next; /* own: waiters for this and the following reload */
	/* read by stats.c: whether the last reload (or the start) was refused, and when it ended,
	 * in ns since 1970-01-01 UTC */
	bool was_refused;
	uint64_t ended_ns;
};

void reload_init(struct reload *r, const struct reload_env *env);
void reload_deinit(struct reload *r);

/* Asks for a reload. `fn` (may be NULL) is called once, when the reload has ended: later, or before
 * this function returns. When memory is short, `fn` may not be called. */
void reload_request(struct reload *r, reload_fn fn, void *ctx);

/*
 * reload_start() - bring the first configuration to the workers
 *
 * `d` is the configuration's delta. Returns 0 when the start has begun: `d` is owned, and `fn` is
 * called once, later or before this function returns. Returns -ENOMEM when nothing has begun: `fn`
 * is never called, and `d` stays the caller's.
 */
int reload_start(struct reload *r, struct delta *d, reload_fn fn, void *ctx) LB_MUST_CHECK;

/* Whether a reload has begun and is not over. */
bool reload_is_under_way(const struct reload *r);
