/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Log lines: levels, and a handle that each thread has of its own.
 *
 * A line is formatted by its thread into a local buffer and given to the handle's sink as one
 * record; daemon/logger provides the sinks (a ring per worker that a log thread drains; main's
 * too). Nothing here blocks or takes a lock. Repeated lines are merged by the log thread.
 *
 * Layer: util.
 */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/assert.h"

/* In the order of the file's words: err | warn | notice | info | debug. */
enum log_level { LOG_LEVEL_ERR, LOG_LEVEL_WARN, LOG_LEVEL_NOTICE, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

#define LOG_LINE_MAX 1024 /* longer lines are cut */

/* Takes one line (no newline at its end). May drop it; must not block. */
typedef void (*log_sink_fn)(void *arg, enum log_level level, const char *line, size_t n);

/* thread: the one that owns the handle */
struct log {
	enum log_level max; /* lines above are not formatted */
	log_sink_fn sink;   /* NULL: lines are dropped */
	void *arg;          /* borrowed by the sink */
};

/* Whether a line of this level would be written: guards arguments that cost something. */
static inline bool log_is_on(const struct log *l, enum log_level level)
{
	return l->sink != NULL && level <= l->max;
}

/* Writes one line: a fixed text, then key=value pairs. Does nothing above the handle's level. */
void log_write(const struct log *l, enum log_level level, const char *fmt, ...) LB_PRINTF(3, 4);
void log_vwrite(const struct log *l, enum log_level level, const char *fmt, va_list ap)
	LB_PRINTF(3, 0);

/* "err", "warn", … */
const char *log_level_name(enum log_level level);

#define log_err(l, ...) log_write(l, LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warn(l, ...) log_write(l, LOG_LEVEL_WARN, __VA_ARGS__)
#define log_notice(l, ...) log_write(l, LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(l, ...) log_write(l, LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(l, ...) log_write(l, LOG_LEVEL_DEBUG, __VA_ARGS__)
