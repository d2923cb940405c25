/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Log output: the log and the access log, as one thread writes them.
 *
 * Each of the two logs has a batch of lines. When a log cannot be written or opened, or when bytes
 * were lost, a line of the log reports it. When writing begins to fail, a line on stderr reports
 * it, too.
 *
 * Thread: main until the log thread runs, then the log thread. Layer: daemon.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/log_file.h"
#include "daemon/log_format.h"
#include "util/assert.h"
#include "util/log.h"

struct log_output {
	/* private to log_output.c */
	struct log_file log, access;
};

/* The time for the lines of both logs, in ns since 1970-01-01 UTC. Thread: any. */
uint64_t log_output_wall_ns(void);

/* Makes two logs that are off. `should_stop` is borrowed (log_file.should_stop). log_output_close()
 * is due. */
void log_output_init(struct log_output *o, const atomic_bool *should_stop);

/* Opens both logs. Returns 0, or a negative errno with the reason in `e`. */
int log_output_open(struct log_output *o, const struct conf_log *log, const struct conf_log *access,
		    struct err *e) LB_MUST_CHECK;

/* Gives both files to a user (log_file_chown()). Thread: main, before the log thread runs. */
void log_output_chown(const struct log_output *o, uid_t uid, gid_t gid);

/* Adds a line to the log. */
void log_output_line(struct log_output *o, enum log_level level, uint64_t ns, const char *line);

/* Adds an ended connection to the access log if the access log is on, and to the log if
 * `is_logged`. */
void log_output_access(struct log_output *o, const struct log_access *a, bool is_logged);

/* Writes both batches when they are larger than 256 KiB together. May wait for a reader. */
void log_output_flush_large(struct log_output *o);

/* Writes both batches, and then lines about logs that cannot be written. May wait for a reader. */
void log_output_flush(struct log_output *o);

/*
 * log_output_move() - replace the destinations and formats of both logs
 *
 * `log` and `access` are owned from here on; NULL: that log is off. When a destination cannot be
 * opened, the open file is kept, and a line of the log reports it.
 */
void log_output_move(struct log_output *o, char *log, enum conf_log_format log_format, char *access,
		     enum conf_log_format access_format);

/* Opens both files again by their names. When a file cannot be opened, the open file is kept, and a
 * line of the log reports it. */
void log_output_reopen(struct log_output *o);

void log_output_close(struct log_output *o);
