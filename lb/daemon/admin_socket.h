/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The file of the admin socket: a start makes the file, the end of lb removes it, and `lb check`
 * only looks at it.
 *
 * Thread: main. Layer: daemon.
 */

#include <sys/types.h>

#include "conf/conf.h"
#include "ev/loop.h"
#include "util/err.h"

/*
 * admin_socket_open() - make the admin socket, which listens from then on
 *
 * `conf` names an admin socket. When the folder of the default path (CONF_ADMIN_SOCKET) is missing,
 * makes the folder if that is allowed, and, when `conf` names a `user`, gives the folder to that
 * user. Makes no other folder. Returns the descriptor, or -EINVAL with the reason in `e`.
 */
int admin_socket_open(struct loop *l, const struct conf *conf, struct err *e) LB_MUST_CHECK;

/*
 * admin_socket_check() - whether admin_socket_open() would succeed
 *
 * Makes nothing. Returns 0, -EADDRINUSE when a program answers on the socket (nothing is added to
 * `e`, because the program may be an lb that runs by this configuration), or -EINVAL with the
 * reason in `e`.
 */
int admin_socket_check(const struct conf *conf, struct err *e) LB_MUST_CHECK;

/* The file of an admin socket that was bound. The device and the inode tell the file from another
 * file that gets the path later. */
struct admin_socket_file {
	char *path; /* owns; NULL: no file is remembered */
	dev_t dev;
	ino_t ino;
};

/*
 * admin_socket_remember() - remember which file was just bound at `path`
 *
 * When memory is short or lstat(2) fails, nothing is remembered, and the file stays when lb ends.
 */
void admin_socket_remember(struct admin_socket_file *f, const char *path);

/* Gives the remembered file to a user; does nothing when no file is remembered. Returns 0 or a
 * negative errno. */
int admin_socket_give(const struct admin_socket_file *f, uid_t uid, gid_t gid) LB_MUST_CHECK;

/*
 * admin_socket_remove() - remove the remembered file
 *
 * When the path names another file by now, that file is not lb's and stays. Call while the socket
 * is open: an open socket keeps its inode's number in use, so no other file can have that number
 * and be taken for the remembered file.
 */
void admin_socket_remove(const struct admin_socket_file *f);

void admin_socket_forget(struct admin_socket_file *f);
