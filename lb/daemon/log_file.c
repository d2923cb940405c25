/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One destination of log lines: opens it, writes to it, opens it again, gives its file to a user,
 * and checks whether it could be opened.
 *
 * Terms. A destination is what the configuration names: a path, `stderr` or `stdout`. The batch is
 * the text that the next log_file_flush() writes. A log file is torn when the last byte that was
 * written did not end a line. The next flush then writes a newline first, so that the rest of a cut
 * line and the next line do not become one line.
 *
 *   log_file_init()     makes a log file that is off
 *   log_file_open()     for the start, on main: an error has the mark of the log's key
 *   log_file_flush()    writes the batch; bytes that cannot be written are counted in n_lost
 *   log_file_reopen()   opens the path again, for log rotation; the old file stays after a failure
 *   log_file_move()     opens another path, after a reload
 *   log_file_chown()    gives the file to `user`, before lb becomes that user
 *   log_file_close()    closes the file, but not stdout or stderr
 *   log_file_check()    for a reload: whether log_file_open() would succeed; may make the file
 *   log_file_try()      for `lb check`: whether log_file_open() would succeed; makes no file
 *
 * Opening and writing never block main, because main opens with O_NONBLOCK and writes nothing. The
 * log thread may wait in wait_writable() for the reader of a pipe, a terminal or a socket: without
 * a limit while lb runs, and at most about WAIT_MS once `should_stop` is set. A regular file is
 * written without waiting.
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

#define WAIT_MS 1000 /* interval in which a wait for a reader checks `should_stop` */

/* ---- the descriptor -------------------------------------------------------------------------- */

/*
 * Opens the destination `to` (see conf_log.to). Returns a descriptor, or a negative errno.
 *
 * Never waits. open(2) with O_NONBLOCK fails with ENXIO when a FIFO has no reader. So lb itself
 * opens the FIFO for reading, then for writing, and closes the reading end again. Bytes that are
 * written before another reader opens the FIFO are lost.
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

	LB_ASSERT(fd >= 0 && f->fd < 0); /* the old descriptor was closed */
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
 * Waits until the pipe, the terminal or the socket can be written. Waits without a limit while lb
 * runs. Returns false when it still cannot be written after WAIT_MS and `should_stop` is set.
 */
static bool wait_writable(const struct log_file *f)
{
	struct pollfd pfd = { .fd = f->fd, .events = POLLOUT };

	while (poll(&pfd, 1, WAIT_MS) == 0)
		if (atomic_load_explicit(f->should_stop, memory_order_acquire))
			return false;
	return true;
}

/* Writes up to `n` bytes, until writing fails. Returns how many bytes were written. */
static size_t write_out(struct log_file *f, const char *p, size_t n)
{
	size_t done = 0;

	f->error = 0;
	while (done < n) {
		size_t most = n - done;

		if (!f->is_file && !wait_writable(f))
			break;
		/* When poll(2) says that a pipe is writable, PIPE_BUF bytes can be written without
		 * blocking, but more may block. */
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
	LB_ASSERT(f->batch.n == 0); /* lines for the old file are not written to the new one */
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
 * A symbolic link, or a file that has another name, too, is not given to the user: the owner of the
 * folder could have made this link or name in order to become the owner of another user's file.
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

/* A FIFO is not opened, because when lb closes the FIFO again, its reader reads an end of file. */
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
 * Whether a file could be made in the folder: 0 or a negative errno. When the file system supports
 * O_TMPFILE, makes a file without a name, which ceases to exist when it is closed. Otherwise the
 * access rights of the folder decide. But in the kernel's file systems (/proc, /sys) no file can be
 * made although the rights let root write, so a folder in such a file system is refused.
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
		return -ENOENT; /* as open(2) would fail */
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
