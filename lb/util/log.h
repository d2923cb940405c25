/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Log lines: levels, and a handle that each thread has of its own.
 *
 * A line is formatted by its thread into a local buffer and given to the handle's sink as one
 * record; daemon/logger.h provides the sinks: main and each worker have a ring, and the log thread
 * drains the rings. No function here blocks or takes a lock. Repeated lines are merged by the log
 * thread.
 *
 * Layer: util.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/assert.h"

/* Levels, the most important first. The configuration calls them err, warn, notice, info and
 * debug. */
enum log_level { LOG_LEVEL_ERR, LOG_LEVEL_WARN, LOG_LEVEL_NOTICE, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

#define LOG_LINE_MAX 1024 /* with the NUL; a longer line is cut */

/* Takes one line, without a newline at its end. A sink may drop the line, and must not block. */
typedef void (*log_sink_fn)(void *arg, enum log_level level, const char *line, size_t n);

/* thread: the one that owns the handle */
struct log {
	enum log_level max; /* the least important level that is written */
	log_sink_fn sink;   /* NULL: every line is dropped */
	void *arg;          /* borrowed; the first argument of `sink` */
};

/* Whether a line of this level would be written. The caller asks before it computes arguments that
 * cost time. */
static inline bool log_is_on(const struct log *l, enum log_level level)
{
	return l->sink != NULL && level <= l->max;
}

/* Writes one line: a fixed text, then key=value pairs. Does nothing when the level is off
 * (log_is_on()). */
void log_write(const struct log *l, enum log_level level, const char *fmt, ...) LB_PRINTF(3, 4);
void log_vwrite(const struct log *l, enum log_level level, const char *fmt, va_list ap)
	LB_PRINTF(3, 0);

/* The name of a level: "err", "warn", … */
const char *log_level_name(enum log_level level);

#define log_err(l, ...) log_write(l, LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warn(l, ...) log_write(l, LOG_LEVEL_WARN, __VA_ARGS__)
#define log_notice(l, ...) log_write(l, LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(l, ...) log_write(l, LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(l, ...) log_write(l, LOG_LEVEL_DEBUG, __VA_ARGS__)
