/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Logger: the log thread, which formats and writes all lines, and which alone may block on a log.
 *
 * Every producer (0 is main, then the workers) has a ring, into which it writes lines and access
 * records; where the ring is full, a record is dropped and counted. The log thread formats and
 * writes in batches. Before the log thread is started, lines of main go to stderr. Where a log
 * cannot be written, its bytes are lost, whole lines or from the middle of a line on; lost bytes
 * are counted, and reported in the log when it can be written again.
 *
 * Layer: daemon.
 */

#include <stdint.h>
#include <sys/types.h>

#include "conf/conf.h"
#include "proxy/worker.h"
#include "util/assert.h"
#include "util/err.h"
#include "util/log.h"

struct logger;

/* Opens the files. Returns 0 and sets *ret, or a negative errno with the reason. Thread: main. */
int logger_open(const struct conf_log *log, const struct conf_log *access, uint32_t n_producers,
		struct err *e, struct logger **ret) LB_MUST_CHECK;

/* Starts the thread, with all signals blocked. Returns 0 or a negative errno. Thread: main. */
int logger_start(struct logger *l) LB_MUST_CHECK;

/*
 * Writes out what the rings hold, ends the thread, and frees. The handles are invalid afterwards,
 * so the workers must have ended before. NULL is fine. Returns NULL. Thread: main.
 */
struct logger *logger_stop(struct logger *l);

/* The eventfd that producers write to; a worker keeps it in its descriptor table. */
int logger_wake_fd(const struct logger *l);

/* The handle of a producer, to be used by its thread only. */
struct log logger_handle(struct logger *l, uint32_t producer);

/* The function that a worker calls for each ended connection, and its `arg`. */
access_fn logger_access_fn(struct logger *l);
void *logger_access_arg(struct logger *l, uint32_t producer);

/* Opens the files again by their names (USR1), on the thread. Thread: main. */
void logger_reopen(struct logger *l);

/* New settings from a reload; files with new names are opened on the thread. Thread: main. */
void logger_reconfigure(struct logger *l, const struct conf_log *log,
			const struct conf_log *access);

/*
 * logger_check() - whether both logs can be opened now, for logger_reconfigure() to do
 *
 * Returns 0, or -EINVAL with all reasons in `e`. Makes files that are not there. Thread: main.
 */
int logger_check(const struct conf_log *log, const struct conf_log *access, struct err *e);

/* Gives the log files to a user (log_file_chown()). Thread: main, before logger_start(). */
void logger_chown(struct logger *l, uid_t uid, gid_t gid);

/* Lines and records that found their ring full. Thread: any. */
uint64_t logger_n_dropped(const struct logger *l);
