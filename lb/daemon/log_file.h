/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Log file: one destination of log lines (a file, a FIFO, stdout, stderr), with the batch of lines
 * that is written to it next. log_file_flush() returns no error: bytes that cannot be written are
 * counted as lost.
 *
 * Thread: main until the log thread runs, then the log thread; log_file_check() and log_file_try():
 * main. Layer: daemon.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "conf/conf.h"
#include "util/assert.h"
#include "util/err.h"
#include "util/text.h"

struct log_file {
	const atomic_bool *should_stop; /* borrows: lb ends, so a slow reader is not waited for */
	char *to;                       /* owns: see conf_log.to; NULL: this log is off */
	int fd;                         /* -1: no file is open */
	bool is_file;                   /* a regular file, which is written without waiting */
	bool is_torn;                   /* the last byte that was written did not end a line */
	bool is_well;                   /* the whole last batch was written */
	bool is_bad;                    /* a failure was reported, and no batch was written since */
	int error; /* errno of the write(2) that ended the last writing; 0: none */
	enum conf_log_format format;
	struct text batch; /* lines that log_file_flush() will write */
	/* bytes that could not be written; n_lost_said: those of them that the log has reported */
	uint64_t n_lost, n_lost_said;
};

/* Makes a log file that is off. log_file_close() is due. */
void log_file_init(struct log_file *f, const atomic_bool *should_stop);

/* Opens the destination that `c` names. Returns 0, or a negative errno with the reason in `e`. */
int log_file_open(struct log_file *f, const struct conf_log *c, struct err *e) LB_MUST_CHECK;

/* Writes the batch; bytes that cannot be written are lost and counted. May wait for a reader. */
void log_file_flush(struct log_file *f);

/* Writes the batch, and opens the file again by its name. Returns 0, or a negative errno; on
 * failure the open file is kept. */
int log_file_reopen(struct log_file *f) LB_MUST_CHECK;

/* Writes the batch, and replaces the destination by `to` (owned from here on; NULL: the log is off)
 * and the format by `format`. Returns as log_file_reopen(). */
int log_file_move(struct log_file *f, char *to, enum conf_log_format format) LB_MUST_CHECK;

void log_file_close(struct log_file *f);

/* Gives the file to a user. Does nothing unless the path names the open file itself, the file is
 * regular, and it has no other name. */
void log_file_chown(const struct log_file *f, uid_t uid, gid_t gid);

/* Whether the destination of `c` can be opened now. When the file is missing, makes it. Returns 0,
 * also when the log is off, or -EINVAL with the reason in `e`. */
int log_file_check(const struct conf_log *c, struct err *e);

/* Whether log_file_check() would succeed. Leaves no new file. Returns as log_file_check(). */
int log_file_try(const struct conf_log *c, struct err *e);
