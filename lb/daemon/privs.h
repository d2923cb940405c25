/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Privileges and limits of the process. Thread: main, but for privs_drop_thread_caps(). Layer:
 * daemon.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/assert.h"
#include "util/err.h"

/* Raises the soft limit of open files to the hard limit. Returns the soft limit that is in force
 * afterwards. */
uint32_t privs_raise_nofile(void);

/* Finds the user's and its group's number. Returns 0, or -ENOENT with the reason in `e`. */
int privs_resolve_user(const char *name, uid_t *ret_uid, gid_t *ret_gid,
		       struct err *e) LB_MUST_CHECK;

/*
 * privs_drop() - become the user `name`, and keep the capabilities that `kept` says
 *
 * Call before the first worker starts. Returns 0, or a negative errno with the reason in `e`.
 */
enum privs_kept {
	PRIVS_KEEP_NONE,
	PRIVS_KEEP_BIND, /* the calling thread keeps CAP_NET_BIND_SERVICE, for later reloads */
};
int privs_drop(const char *name, uid_t uid, gid_t gid, enum privs_kept kept,
	       struct err *e) LB_MUST_CHECK;

/*
 * privs_forbid_dumps() - keep keys out of core dumps, and away from other processes of this user
 *
 * Until the end of the process; privs_drop() may undo it, where fs.suid_dumpable says so.
 */
void privs_forbid_dumps(void);

/*
 * Drops all capabilities of the calling thread, unless the process runs as root. For threads that
 * bind nothing. A thread inherits main's capabilities: the one that privs_drop() kept, or those
 * that a service manager gave to lb (ambient capabilities).
 */
void privs_drop_thread_caps(void);
