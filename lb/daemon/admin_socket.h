/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The admin socket's place in the file system: made by a start, removed at the end, and only looked
 * at by `lb check`.
 *
 * Thread: main. Layer: daemon.
 */

#include <sys/types.h>

#include "conf/conf.h"
#include "ev/loop.h"
#include "util/err.h"

/*
 * admin_socket_open() - the listening socket of `conf`, which has one
 *
 * When the folder of the default path (CONF_ADMIN_SOCKET) is missing, makes the folder if that is
 * allowed, and gives it to `user` where the file has one; makes no other folder. Returns the
 * descriptor, or -EINVAL with the reason in `e`.
 */
int admin_socket_open(struct loop *l, const struct conf *conf, struct err *e) LB_MUST_CHECK;

/*
 * admin_socket_check() - whether admin_socket_open() would succeed
 *
 * Makes nothing. Returns 0, -EADDRINUSE where a program answers on the socket (nothing is added to
 * `e`, because the program may be the lb that this file is for), or -EINVAL with the reason in `e`.
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
 * When that fails, nothing is remembered, and the file stays when lb ends.
 */
void admin_socket_remember(struct admin_socket_file *f, const char *path);

/* Gives the file to a user. Returns 0 or a negative errno; 0 where none is remembered. */
int admin_socket_give(const struct admin_socket_file *f, uid_t uid, gid_t gid) LB_MUST_CHECK;

/*
 * admin_socket_remove() - remove the file, unless its path names another file meanwhile
 *
 * Such a file is not lb's. Call while the socket is open: until then no other file can get the
 * number of its inode.
 */
void admin_socket_remove(const struct admin_socket_file *f);

void admin_socket_forget(struct admin_socket_file *f);
