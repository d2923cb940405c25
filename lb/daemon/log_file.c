/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One destination of log lines: opened, written, opened again, given away, and tried.
 *
 * Terms. A destination is what the file names: a path, `stderr` or `stdout`. The batch is the text
 * that the next log_file_flush() writes. A log file is torn when the last byte that was written
 * did not end a line; the next flush writes a newline first, so that what was lost never joins two
 * lines.
 *
 *   log_file_init()     a log file that is off
 *   log_file_open()     at the start, on main: an error is told with its place in the file
 *   log_file_flush()    writes the batch; what cannot be written is counted in n_lost
 *   log_file_reopen()   opens the path again, for log rotation; the old file stays after a failure
 *   log_file_move()     the same with another path, after a reload
 *   log_file_chown()    gives the file to `user`, before lb becomes that user
 *   log_file_close()    descriptors 0 to 2 stay open
 *   log_file_check()    for a reload: whether log_file_open() would succeed; may make the file
 *   log_file_try()      for `lb check`: the same, and nothing is made that stays
 *
 * Opening and writing never block main, because main opens with O_NONBLOCK and writes nothing. The
 * log thread may wait in wait_writable(): for as long as the reader of a pipe, a terminal or a
 * socket needs while lb runs, and for WAIT_MS once `should_stop` is set. A regular file is written
 * without waiting.
 *
 * Relies on: refusal.c for the words of an error.
 *
 * Thread: as the header says.
 */
#include "daemon/log_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "daemon/refusal.h"

#define WAIT_MS 1000 /* for a reader, before looking whether to stop */

/* ---- the descriptor -------------------------------------------------------------------------- */

/*
 * A descriptor for `to`, as in struct conf_log, or a negative errno
 *
 * Never waits. A FIFO without a reader cannot be opened for writing without waiting (ENXIO), so lb
 * itself opens the FIFO for reading for a moment. Bytes that are written before another reader
 * comes are lost.
 */
static int open_destination(const char *to)
{
	const int flags = O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

	if (strcmp(to, "stderr") == 0)
		return STDERR_FILENO;
	if (strcmp(to, "stdout") == 0)
		return STDOUT_FILENO;
	int fd = open(to, O_WRONLY | flags, 0640);
	if (fd >= 0 || errno != ENXIO)
		return fd < 0 ? -errno : fd;
	int reader = open(to, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	fd = reader < 0 ? -1 : open(to, O_WRONLY | flags, 0640);
	int r = fd < 0 ? -errno : fd;
	if (reader >= 0)
		(void)close(reader);
	return r;
}

static void set_destination(struct log_file *f, int fd)
{
	struct stat st;

	LB_ASSERT(fd >= 0 && f->fd < 0); /* the descriptor before was closed */
	f->fd = fd;
	f->is_torn = false;
	f->is_file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
}

static void close_destination(struct log_file *f)
{
	if (f->fd > STDERR_FILENO)
		(void)close(f->fd);
	f->fd = -1;
}

/* ---- writing --------------------------------------------------------------------------------- */

/*
 * Waits until a pipe, a terminal or a socket takes bytes: without a limit while lb runs, for at
 * most WAIT_MS once `should_stop` is set. False: not within that time.
 */
static bool wait_writable(const struct log_file *f)
{
	struct pollfd pfd = { .fd = f->fd, .events = POLLOUT };

	while (poll(&pfd, 1, WAIT_MS) == 0)
		if (atomic_load_explicit(f->should_stop, memory_order_acquire))
			return false;
	return true;
}

/* Writes as much as can be written; returns how much that was. */
static size_t write_out(struct log_file *f, const char *p, size_t n)
{
	size_t done = 0;

	f->error = 0;
	while (done < n) {
		size_t most = n - done;

		if (!f->is_file && !wait_writable(f))
			break;
		/* A pipe that poll(2) calls writable takes PIPE_BUF bytes without blocking. */
		if (!f->is_file && most > PIPE_BUF)
			most = PIPE_BUF;
		ssize_t r = write(f->fd, p + done, most);
		if (r > 0) {
			done += (size_t)r;
		} else if (r < 0 && errno != EINTR && errno != EAGAIN) {
			f->error = errno;
			break;
		}
	}
	return done;
}

void log_file_flush(struct log_file *f)
{
	size_t done = 0;

	if (f->batch.n == 0)
		return;
	if (f->fd >= 0 && f->is_torn)
		f->is_torn = write_out(f, "\n", 1) == 0;
	if (f->fd >= 0 && !f->is_torn) {
		done = write_out(f, f->batch.p, f->batch.n);
		f->is_torn = done > 0 && f->batch.p[done - 1] != '\n';
	}
	LB_ASSERT(done <= f->batch.n && f->n_lost_said <= f->n_lost);
	f->is_well = done == f->batch.n;
	f->n_lost += f->batch.n - done;
	text_clear(&f->batch);
}

/* ---- birth, new names, end ------------------------------------------------------------------- */

void log_file_init(struct log_file *f, const atomic_bool *should_stop)
{
	*f = (struct log_file){ .fd = -1, .should_stop = should_stop };
}

int log_file_open(struct log_file *f, const struct conf_log *c, struct err *e)
{
	LB_ASSERT(f->fd < 0 && f->to == NULL);
	if (!c->is_on)
		return 0;
	f->format = c->format;
	f->to = strdup(c->to);
	if (f->to == NULL)
		return err_add(e, -ENOMEM, "out of memory");
	int fd = open_destination(f->to);
	if (fd < 0) {
		(void)refusal_log(e, c->at, f->to, fd);
		return fd;
	}
	set_destination(f, fd);
	return 0;
}

int log_file_reopen(struct log_file *f)
{
	if (f->to == NULL)
		return 0;
	log_file_flush(f);
	LB_ASSERT(f->batch.n == 0); /* no line goes to another file than it was meant for */
	int fd = open_destination(f->to);
	if (fd < 0)
		return fd;
	close_destination(f);
	set_destination(f, fd);
	return 0;
}

int log_file_move(struct log_file *f, char *to, enum conf_log_format format)
{
	bool is_same = f->to != NULL && to != NULL && strcmp(f->to, to) == 0;

	LB_ASSERT(to == NULL || to != f->to);
	log_file_flush(f);
	f->format = format;
	if (is_same || (f->to == NULL && to == NULL)) {
		free(to);
		return 0;
	}
	if (to == NULL)
		close_destination(f);
	free(f->to);
	f->to = to;
	return log_file_reopen(f);
}

void log_file_close(struct log_file *f)
{
	close_destination(f);
	text_deinit(&f->batch);
	free(f->to);
	f->to = NULL;
}

/*
 * A symbolic link or a file with a second name is not given away: the owner of the folder could
 * have put it there to become the owner of the file that it leads to.
 */
void log_file_chown(const struct log_file *f, uid_t uid, gid_t gid)
{
	struct stat named, open;

	LB_ASSERT(f->fd < 0 || f->to != NULL);
	if (f->fd <= STDERR_FILENO || lstat(f->to, &named) < 0 || fstat(f->fd, &open) < 0)
		return;
	if (S_ISREG(named.st_mode) && named.st_nlink == 1 && named.st_ino == open.st_ino &&
	    named.st_dev == open.st_dev)
		(void)!fchown(f->fd, uid, gid);
}

/* ---- whether it could be opened -------------------------------------------------------------- */

/* A FIFO is not opened, because closing the FIFO again would be the end of the file for its reader.
 */
int log_file_check(const struct conf_log *c, struct err *e)
{
	struct stat st;
	int r = 0;

	if (!c->is_on)
		return 0;
	if (stat(c->to, &st) == 0 && S_ISFIFO(st.st_mode)) {
		r = faccessat(AT_FDCWD, c->to, W_OK, AT_EACCESS) < 0 ? -errno : 0;
	} else {
		r = open_destination(c->to);
		if (r > STDERR_FILENO)
			(void)close(r);
	}
	return r < 0 ? refusal_log(e, c->at, c->to, r) : 0;
}

/*
 * Whether a file could be made in the folder: 0 or a negative errno. Where the file system supports
 * O_TMPFILE, a file without a name is made, which is gone when the file is closed. Elsewhere the
 * access rights decide. In the file systems of the kernel (/proc, /sys) these rights allow root to
 * write in folders in which no file can be made, so folders there are refused by the type of the
 * file system.
 */
static int try_folder(const char *folder)
{
	struct statfs fs;
	int fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0640);

	if (fd >= 0) {
		(void)close(fd);
		return 0;
	}
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT)
		return -errno;
	if (statfs(folder, &fs) < 0)
		return -errno;
	if (fs.f_type == PROC_SUPER_MAGIC || fs.f_type == SYSFS_MAGIC ||
	    fs.f_type == DEVPTS_SUPER_MAGIC || fs.f_type == CGROUP_SUPER_MAGIC ||
	    fs.f_type == CGROUP2_SUPER_MAGIC || fs.f_type == DEBUGFS_MAGIC)
		return -ENOENT; /* as open(2) says */
	return faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

int log_file_try(const struct conf_log *log, struct err *e)
{
	char folder[PATH_MAX];
	struct stat st;

	if (!log->is_on || log->to[0] != '/' || stat(log->to, &st) == 0 || errno != ENOENT)
		return log_file_check(log, e);
	(void)refusal_folder(log->to, folder, sizeof(folder));
	int r = try_folder(folder);
	return r < 0 ? refusal_log(e, log->at, log->to, r) : 0;
}
