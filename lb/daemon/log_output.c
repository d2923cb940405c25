/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of the log and the access log, and lines of the log about these files.
 * log_output_line() and log_output_access() add lines to the batches. log_output_flush() writes the
 * batches (log_file.c), and then adds lines about what failed to the log:
 *
 *   say_unwritten()   a file cannot be written: once, when writing begins to fail; also on stderr,
 *                     because the log itself may be on the disk that is full
 *   say_lost()        how many bytes were lost, when the file can be written again
 *   say_unopened()    a destination cannot be opened, so the open file is kept
 *
 * Thread: as the header says.
 */
#include "daemon/log_output.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FLUSH_BYTES (256u << 10) /* both batches are written when their sum is larger */

uint64_t log_output_wall_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- birth and end --------------------------------------------------------------------------- */

void log_output_init(struct log_output *o, const atomic_bool *should_stop)
{
	log_file_init(&o->log, should_stop);
	log_file_init(&o->access, should_stop);
}

int log_output_open(struct log_output *o, const struct conf_log *log, const struct conf_log *access,
		    struct err *e)
{
	int r = log_file_open(&o->log, log, e);

	return r < 0 ? r : log_file_open(&o->access, access, e);
}

void log_output_chown(const struct log_output *o, uid_t uid, gid_t gid)
{
	log_file_chown(&o->log, uid, gid);
	log_file_chown(&o->access, uid, gid);
}

void log_output_close(struct log_output *o)
{
	log_file_close(&o->log);
	log_file_close(&o->access);
}

/* ---- lines ----------------------------------------------------------------------------------- */

void log_output_line(struct log_output *o, enum log_level level, uint64_t ns, const char *line)
{
	log_format_line(&o->log.batch, o->log.format, level, ns, line);
}

void log_output_access(struct log_output *o, const struct log_access *a, bool is_logged)
{
	if (o->access.to != NULL)
		log_format_access(&o->access.batch, o->access.format, a);
	if (is_logged)
		log_format_ended(&o->log.batch, o->log.format, a);
}

/* ---- what is told of the files --------------------------------------------------------------- */

/* Writes the line to stderr, unless stderr is the log itself or writing to stderr would block. */
static void tell_stderr(const struct log_output *o, const char *line)
{
	struct pollfd pfd = { .fd = STDERR_FILENO, .events = POLLOUT };

	if (o->log.fd == STDERR_FILENO || poll(&pfd, 1, 0) != 1 || (pfd.revents & POLLOUT) == 0)
		return;
	(void)dprintf(STDERR_FILENO, "lb: %s: %s\n", log_level_name(LOG_LEVEL_ERR), line);
}

/*
 * Reports once that a file cannot be written. The report goes to stderr, because the log may be on
 * the same disk, and, when the file is the access log, also to the log.
 */
static void say_unwritten(struct log_output *o, struct log_file *f)
{
	char line[LOG_LINE_MAX];

	if (f->is_well)
		f->is_bad = false;
	if (f->to == NULL || f->error == 0 || f->is_well || f->is_bad)
		return;
	f->is_bad = true;
	(void)snprintf(line, sizeof(line), "cannot write log path=%.200s error=\"%s\"", f->to,
		       strerror(f->error));
	tell_stderr(o, line);
	if (f != &o->log)
		log_output_line(o, LOG_LEVEL_ERR, log_output_wall_ns(), line);
}

/* When the file can be written again, logs how many bytes were lost meanwhile. */
static void say_lost(struct log_output *o, struct log_file *f)
{
	char line[LOG_LINE_MAX];

	LB_ASSERT(f->n_lost_said <= f->n_lost);
	if (f->to == NULL || !f->is_well || f->n_lost == f->n_lost_said)
		return;
	(void)snprintf(line, sizeof(line), "log bytes lost path=%.200s n=%llu", f->to,
		       (unsigned long long)(f->n_lost - f->n_lost_said));
	f->n_lost_said = f->n_lost;
	log_output_line(o, LOG_LEVEL_WARN, log_output_wall_ns(), line);
}

/* When `r` is a negative errno, logs that `r` kept the destination from being opened. */
static void say_unopened(struct log_output *o, const struct log_file *f, int r)
{
	char line[LOG_LINE_MAX];

	if (r >= 0)
		return;
	(void)snprintf(line, sizeof(line),
		       "cannot open log, keeping the old one path=%.200s error=\"%s\"", f->to,
		       strerror(-r));
	log_output_line(o, LOG_LEVEL_ERR, log_output_wall_ns(), line);
}

/* ---- writing --------------------------------------------------------------------------------- */

static void write_batches(struct log_output *o)
{
	log_file_flush(&o->log);
	log_file_flush(&o->access);
}

void log_output_flush_large(struct log_output *o)
{
	if (o->log.batch.n + o->access.batch.n > FLUSH_BYTES)
		write_batches(o);
}

void log_output_flush(struct log_output *o)
{
	write_batches(o);
	say_unwritten(o, &o->log);
	say_unwritten(o, &o->access);
	say_lost(o, &o->log);
	say_lost(o, &o->access);
	log_file_flush(&o->log);
}

void log_output_move(struct log_output *o, char *log, enum conf_log_format log_format, char *access,
		     enum conf_log_format access_format)
{
	say_unopened(o, &o->log, log_file_move(&o->log, log, log_format));
	say_unopened(o, &o->access, log_file_move(&o->access, access, access_format));
}

void log_output_reopen(struct log_output *o)
{
	say_unopened(o, &o->log, log_file_reopen(&o->log));
	say_unopened(o, &o->access, log_file_reopen(&o->access));
}
