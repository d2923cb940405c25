/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listening Unix socket of the admin interface, and its file.
 *
 * A process that ends without cleaning up leaves the socket's file behind, and bind(2) then fails.
 * unix_judge() finds out whether a program still listens: it connects to the file (ask_unix()).
 * unix_listen() removes a file that no program listens on (make_way()), binds again, and sets the
 * file's mode before the socket listens.
 *
 * Thread: the loop's; unix_judge() any.
 */
#include "net/unix.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "net/sock.h"

/*
 * Finds out whether a program listens on the Unix socket. Returns 0 when none does, -EADDRINUSE
 * when one does, and -EPERM when this user may not connect to the socket.
 */
static int ask_unix(const struct sockaddr_un *sun)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		/* Whether a program listens cannot be found out, so the file is kept. */
		return -EADDRINUSE;

	int r = connect(fd, (const struct sockaddr *)sun, sizeof(*sun)) < 0 ? errno : 0;
	(void)close(fd);
	if (r == ECONNREFUSED || r == ENOENT)
		return 0;
	return r == EACCES || r == EPERM ? -EPERM : -EADDRINUSE;
}

static int unix_addr(const char *path, struct sockaddr_un *ret)
{
	size_t len = strlen(path);

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (len >= sizeof(ret->sun_path))
		return -ENAMETOOLONG;
	memcpy(ret->sun_path, path, len); /* the bytes behind the path are 0 */
	return 0;
}

int unix_judge(const char *path)
{
	struct sockaddr_un sun;
	struct stat st;
	int r = unix_addr(path, &sun);

	if (r < 0)
		return r;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	return ask_unix(&sun);
}

/* Removes the file of a socket on which no program listens. */
static int make_way(const char *path)
{
	int r = unix_judge(path);

	return r == 0 && unlink(path) < 0 && errno != ENOENT ? -errno : r;
}

int unix_listen(struct loop *l, const char *path, uint32_t mode)
{
	struct sockaddr_un sun;
	int r = unix_addr(path, &sun);

	if (r < 0)
		return r;
	int fd = loop_socket(l, AF_UNIX, SOCK_STREAM);
	if (fd < 0)
		return fd;
	r = loop_bind(l, fd, (struct sockaddr *)&sun, sizeof(sun));
	if (r == -EADDRINUSE) {
		r = make_way(path);
		if (r == 0)
			r = loop_bind(l, fd, (struct sockaddr *)&sun, sizeof(sun));
	}
	/* No client can connect before listen(2), so the file has its permissions in time. */
	if (r == 0 && chmod(path, mode) < 0)
		r = -errno;
	if (r == 0)
		r = loop_listen(l, fd, SOCK_BACKLOG);
	if (r < 0) {
		loop_close(l, fd);
		return r;
	}
	return fd;
}
