/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The admin socket's file. A start makes the socket (admin_socket_open()), remembers which file
 * that is (admin_socket_remember()), gives the file to `user` (admin_socket_give()), and removes
 * it at the end (admin_socket_remove()). `lb check` asks with admin_socket_check() whether a start
 * could do all this.
 *
 * Only the folder of the default path is made, because no other program makes it. net/unix.c makes
 * and binds the socket; refusal.c has the words of an error.
 *
 * Thread: main.
 */
#include "daemon/admin_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/privs.h"
#include "daemon/refusal.h"
#include "net/unix.h"

static bool has_default_path(const struct conf *conf)
{
	return strcmp(conf->admin.socket, CONF_ADMIN_SOCKET) == 0;
}

/* When the folder cannot be made, the socket cannot be made either, and that error is reported. */
static void make_folder(const struct conf *conf, const char *folder)
{
	_cleanup_(err_deinit) struct err why = ERR_INIT;
	uid_t uid;
	gid_t gid;

	if (mkdir(folder, 0755) < 0)
		return;
	(void)!chmod(folder, 0755); /* because mkdir(2) applies the umask */
	if (conf->user != NULL && privs_resolve_user(conf->user, &uid, &gid, &why) == 0)
		(void)!lchown(folder, uid, gid);
}

int admin_socket_open(struct loop *l, const struct conf *conf, struct err *e)
{
	char folder[PATH_MAX];

	loop_assert_owner(l);
	LB_ASSERT(conf->admin.socket != NULL);
	if (has_default_path(conf))
		make_folder(conf, refusal_folder(conf->admin.socket, folder, sizeof(folder)));
	int fd = unix_listen(l, conf->admin.socket, conf->admin.mode);
	return fd < 0 ? refusal_socket(e, conf, fd) : fd;
}

/* Whether a file can be made in the folder: 0 or a negative errno. */
static int may_write(const char *folder)
{
	return faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

/* Whether the file of a socket that has ended can be removed (see sticky folders in unlink(2)). */
static int may_replace(const char *path, const char *folder)
{
	struct stat file, dir;
	uid_t own = geteuid();

	if (lstat(path, &file) < 0 || stat(folder, &dir) < 0 || own == 0)
		return 0;
	bool is_sticky = (dir.st_mode & S_ISVTX) != 0;
	return is_sticky && file.st_uid != own && dir.st_uid != own ? -EPERM : 0;
}

int admin_socket_check(const struct conf *conf, struct err *e)
{
	const char *path = conf->admin.socket;
	char folder[PATH_MAX], above[PATH_MAX];

	LB_ASSERT(path != NULL);
	int r = unix_judge(path);

	if (r == -EADDRINUSE)
		return r;
	(void)refusal_folder(path, folder, sizeof(folder));
	if (r == 0)
		r = may_write(folder);
	if (r == 0)
		r = may_replace(path, folder);
	if (r == -ENOENT && has_default_path(conf) &&
	    may_write(refusal_folder(folder, above, sizeof(above))) == 0)
		r = 0; /* a start makes the folder */
	return r < 0 ? refusal_socket(e, conf, r) : 0;
}

/* ---- the file that was bound ----------------------------------------------------------------- */

void admin_socket_remember(struct admin_socket_file *f, const char *path)
{
	struct stat st;

	LB_ASSERT(f->path == NULL);
	if (lstat(path, &st) < 0)
		return;
	f->path = strdup(path);
	f->dev = st.st_dev;
	f->ino = st.st_ino;
}

int admin_socket_give(const struct admin_socket_file *f, uid_t uid, gid_t gid)
{
	return f->path != NULL && lchown(f->path, uid, gid) < 0 ? -errno : 0;
}

void admin_socket_remove(const struct admin_socket_file *f)
{
	struct stat st;

	if (f->path != NULL && lstat(f->path, &st) == 0 && st.st_dev == f->dev &&
	    st.st_ino == f->ino)
		(void)unlink(f->path);
}

void admin_socket_forget(struct admin_socket_file *f)
{
	free(f->path);
	f->path = NULL;
}
