/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Logger: the log thread, which formats and writes all lines, and which alone may block on a log.
 *
 * Every producer (0 is main, then the workers) has a ring, into which it writes lines and access
 * records. When the ring is full, the record is dropped and counted. The log thread formats the
 * records and writes them in batches. Before the log thread is started, lines of main go to stderr.
 * When a log cannot be written, the rest of the batch is lost, even from the middle of a line on.
 * Lost bytes are counted, and the count is logged when the log can be written again.
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

/* Opens both logs. Returns 0 and sets *ret, or a negative errno with the reason in `e`. Thread:
 * main. */
int logger_open(const struct conf_log *log, const struct conf_log *access, uint32_t n_producers,
		struct err *e, struct logger **ret) LB_MUST_CHECK;

/* Starts the thread, with all signals blocked. Returns 0 or a negative errno. Thread: main. */
int logger_start(struct logger *l) LB_MUST_CHECK;

/*
 * Writes the records that are in the rings, ends the log thread, and frees the logger. The handles
 * are invalid afterwards, so call only after all workers have ended. NULL is fine. Returns NULL.
 * Thread: main.
 */
struct logger *logger_stop(struct logger *l);

/* The eventfd by which producers wake the log thread. A worker has to keep it in its descriptor
 * table. */
int logger_wake_fd(const struct logger *l);

/* The handle by which a producer logs. Only the producer's thread may use it. */
struct log logger_handle(struct logger *l, uint32_t producer);

/* The function that a worker calls for each ended connection, and the value for its parameter
 * `arg`. */
access_fn logger_access_fn(struct logger *l);
void *logger_access_arg(struct logger *l, uint32_t producer);

/* Lets the log thread open both files again by their names (signal USR1). Thread: main. */
void logger_reopen(struct logger *l);

/* Hands new settings from a reload to the log thread, which opens files with new names. Thread:
 * main. */
void logger_reconfigure(struct logger *l, const struct conf_log *log,
			const struct conf_log *access);

/*
 * logger_check() - whether both logs can be opened now, as logger_reconfigure() will open them
 *
 * Returns 0, or -EINVAL with all reasons in `e`. Makes files that are missing. Thread: main.
 */
int logger_check(const struct conf_log *log, const struct conf_log *access, struct err *e);

/* Gives both files to a user (log_file_chown()). Thread: main, before logger_start(). */
void logger_chown(struct logger *l, uid_t uid, gid_t gid);

/* How many records were dropped because a ring was full. Thread: any. */
uint64_t logger_n_dropped(const struct logger *l);
