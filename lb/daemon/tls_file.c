/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/tls_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/refusal.h"

/* Reads up to `n` bytes; fewer where the file ends before. Returns how many, or a negative errno.
 */
static ssize_t read_all(int fd, char *to, size_t n)
{
	size_t got = 0;

	while (got < n) {
		ssize_t r = read(fd, to + got, n - got);
		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		got += (size_t)r;
	}
	return (ssize_t)got;
}

/* A file that grows while it is read is cut; its text is judged like any other. */
static int read_fd(int fd, const struct stat *st, struct tls_file *f)
{
	if (!S_ISREG(st->st_mode))
		return S_ISDIR(st->st_mode) ? -EISDIR : -ENXIO;
	if (st->st_size > (off_t)TLS_FILE_MAX)
		return -EFBIG;
	size_t size = (size_t)st->st_size;
	f->text = malloc(size + 1);
	if (f->text == NULL)
		return -ENOMEM;
	ssize_t n = read_all(fd, f->text, size);
	f->n = n < 0 ? size : (size_t)n;
	f->text[f->n] = '\0';
	return n < 0 ? (int)n : 0;
}

static int read_file(const char *path, struct mark at, bool is_secret, struct err *e,
		     struct tls_file *ret)
{
	struct tls_file f = { .path = path };
	struct stat st = { 0 };
	/* O_NONBLOCK: a pipe without a writer would hold up main. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int r = fd < 0 || fstat(fd, &st) < 0 ? -errno : read_fd(fd, &st, &f);

	if (fd >= 0)
		(void)close(fd);
	if (r < 0)
		r = refusal_tls_file(e, at, path, r);
	else if (is_secret && (st.st_mode & S_IRWXO) != 0)
		r = err_at(e, at,
			   "%s: other users may use this file of secrets (mode %04o): \"chmod o= "
			   "%s\"",
			   path, (unsigned)st.st_mode & 07777, path);
	if (r < 0) {
		tls_file_deinit(&f);
		return r;
	}
	*ret = f;
	return 0;
}

int tls_file_read(const char *path, struct mark at, struct err *e, struct tls_file *ret)
{
	return read_file(path, at, false, e, ret);
}

int tls_file_read_secret(const char *path, struct mark at, struct err *e, struct tls_file *ret)
{
	return read_file(path, at, true, e, ret);
}

void tls_file_deinit(struct tls_file *f)
{
	if (f->text != NULL)
		explicit_bzero(f->text, f->n);
	free(f->text);
	*f = (struct tls_file){ 0 };
}
