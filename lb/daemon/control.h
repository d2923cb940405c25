/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Control: which configuration is in force, and in which phase of its life lb is.
 *
 *   control_init() -> control_start() -> reloads, commands ... -> control_stop() -> ops->ended()
 *
 * control.c makes all decisions of main, and touches no file, no signal and nothing else of the
 * process. server.c does that; control calls server.c by `struct control_ops` only. So the
 * simulation can run control.c unchanged, on a simulated loop.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "daemon/announce.h"
#include "daemon/broadcast.h"
#include "daemon/cert_watch.h"
#include "daemon/health.h"
#include "daemon/membership.h"
#include "daemon/phase.h"
#include "daemon/registry.h"
#include "daemon/reload.h"
#include "ev/loop.h"
#include "ev/mailbox.h"
#include "util/err.h"
#include "util/log.h"

struct control;
struct delta;
struct threads;

/* The functions by which control calls the process around it, server.c or the simulation. `arg` is
 * control_opts.arg. */
struct control_ops {
	/* Whether this process can run by `conf`; see reload_ops.check. */
	int (*check)(void *arg, const struct conf *conf, struct err *e);

	/* How many connections the workers have room for, all together. */
	uint64_t (*capacity)(void *arg);

	/* A configuration has become current on every worker. Called in every phase, also in
	 * PHASE_QUITTING, in which the workers' counters must not be read. */
	void (*conf_changed)(void *arg, const struct conf *conf);

	void (*reload_begins)(void *arg);
	void (*reload_ended)(void *arg);

	/* The start is over: all workers accept, or `result` is negative, with the reasons in
	 * `why`. */
	void (*started)(void *arg, int result, const struct err *why);

	/* A stop begins, which takes `within_ms` at most. */
	void (*stopping)(void *arg, uint64_t within_ms);

	/* Once a second in PHASE_RUNNING and PHASE_DRAINING. */
	void (*second)(void *arg);

	/* Every worker has replied to QUIT. */
	void (*ended)(void *arg);
};

struct control_opts {
	const char *path;  /* borrows: path of the configuration file */
	struct conf *conf; /* counted: the first configuration */
	struct loop *loop; /* borrows; control_init() sets loop->timers.arg */
	struct log log;
	unsigned probe_class; /* class of the tags of health checks in `loop` */
	uint32_t n_workers;
	const struct control_ops *ops; /* borrows */
	void *arg;
};

struct control {
	struct conf *conf; /* counted: the configuration in force */
	struct loop *loop; /* borrows */
	struct log log;
	struct threads *threads; /* borrows; NULL before control_set_threads() */
	const struct control_ops *ops;
	void *arg;
	uint32_t n_workers;
	enum phase phase;
	uint64_t generation; /* how many configurations have been in force */
	struct registry registry;
	struct membership membership;
	struct reload reload;
	struct health health;
	struct cert_watch certs;

	/* private to control.c */
	struct conf *started; /* counted: the first configuration in force; NULL before it is */
	struct timer tick;
	uint64_t second_ms;          /* PHASE_DRAINING: when ops->second() is due */
	uint64_t deadline_ms;        /* PHASE_DRAINING: when to give up waiting */
	uint32_t n_early_stops;      /* calls of control_stop() in PHASE_STARTING */
	uint32_t n_quit;             /* workers that have ended */
	struct broadcast stop, quit; /* made at the start, so that a stop needs no memory */
	struct stop_count stop_count;
};

/* Returns 0 or -ENOMEM; control_deinit() is due in both cases. */
int control_init(struct control *c, const struct control_opts *o) LB_MUST_CHECK;

/* Gives control the workers' threads, which are made after control. Call once, before
 * control_start(). */
void control_set_threads(struct control *c, struct threads *t);

/*
 * control_deinit() - free all
 *
 * Call after the workers have ended, or when they were never started, and after control_close() has
 * returned false.
 */
void control_deinit(struct control *c);

/* Stops the health checks. Returns true while a check is still in flight; when it does, call again
 * after a turn of the loop. */
bool control_close(struct control *c);

/*
 * control_start() - let the workers accept by the first configuration
 *
 * `first` is the delta of the first configuration. Returns 0 when the start has begun: control owns
 * `first`, and ops->started() is called later. Returns -ENOMEM when nothing has begun: `first`
 * stays the caller's.
 */
int control_start(struct control *c, struct delta *first) LB_MUST_CHECK;

/* After a start that failed: posts QUIT to every worker whose thread runs, and waits until all
 * these workers have replied. */
void control_end_workers(struct control *c);

/* Begins a stop with the time-outs of the configuration in force. A second call ends all
 * connections at once. */
void control_stop(struct control *c);

/* Whether lb accepts and was not asked to stop. */
static inline bool control_is_accepting(const struct control *c)
{
	return c->phase == PHASE_RUNNING;
}

/* Whether the workers' counters can be read: until the workers are told to end. */
static inline bool control_has_workers(const struct control *c)
{
	return c->phase != PHASE_QUITTING;
}
