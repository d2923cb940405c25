/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Log file: one destination of log lines (a file, a FIFO, stdout, stderr), with the batch of lines
 * that is written to it next. Writing never fails towards the caller: bytes that cannot be written
 * are counted as lost.
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
	const atomic_bool *should_stop; /* borrows: lb ends; a slow reader gets no more time */
	char *to;                       /* owns: as in struct conf_log; NULL: this log is off */
	int fd;                         /* -1: none is open */
	bool is_file;                   /* a regular file: writing waits for no reader */
	bool is_torn;                   /* the last byte written was not the end of a line */
	bool is_well;                   /* the last batch was written */
	bool is_bad;                    /* the last batch was not written, and this was reported */
	int error; /* errno of the last write that failed; 0: all writes of the last batch succeeded
		    */
	enum conf_log_format format;
	struct text batch; /* lines that log_file_flush() will write */
	uint64_t n_lost,
		n_lost_said; /* bytes that could not be written; those that the log tells */
};

/* Makes a log file that is off. log_file_close() is due. */
void log_file_init(struct log_file *f, const atomic_bool *should_stop);

/* Opens the destination that `c` names. Returns 0, or a negative errno with the reason in `e`. */
int log_file_open(struct log_file *f, const struct conf_log *c, struct err *e) LB_MUST_CHECK;

/* Writes the batch; bytes that cannot be written are lost and counted. May wait for a reader. */
void log_file_flush(struct log_file *f);

/* Writes the batch, and opens the file again by its name. Returns 0, or a negative errno, and then
 * the open file is kept. */
int log_file_reopen(struct log_file *f) LB_MUST_CHECK;

/* Goes on at `to` (owned from here on; NULL: off), in this format. Returns as log_file_reopen(). */
int log_file_move(struct log_file *f, char *to, enum conf_log_format format) LB_MUST_CHECK;

void log_file_close(struct log_file *f);

/* Gives the file to a user, where its path names a regular file that has no other name. */
void log_file_chown(const struct log_file *f, uid_t uid, gid_t gid);

/* Whether the destination of `c` can be opened now; makes the file where it is missing. Returns 0,
 * or -EINVAL with the reason in `e`. A log that is off is fine. */
int log_file_check(const struct conf_log *c, struct err *e);

/* Whether the destination of `c` could be opened, or made, now. Makes nothing that stays. Returns
 * as log_file_check(). */
int log_file_try(const struct conf_log *c, struct err *e);
