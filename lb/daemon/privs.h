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

/* Raises the soft limit of open files to the hard limit. Returns the limit that holds then. */
uint32_t privs_raise_nofile(void);

/* Looks a user up. Returns 0, or -ENOENT with the reason in `e`. */
int privs_resolve_user(const char *name, uid_t *ret_uid, gid_t *ret_gid,
		       struct err *e) LB_MUST_CHECK;

/*
 * privs_drop() - become that user
 *
 * Call before the first worker starts. Returns 0, or a negative errno with the reason.
 */
enum privs_kept {
	PRIVS_KEEP_NONE,
	PRIVS_KEEP_BIND, /* this thread's CAP_NET_BIND_SERVICE, to bind new addresses at a reload */
};
int privs_drop(const char *name, uid_t uid, gid_t gid, enum privs_kept kept,
	       struct err *e) LB_MUST_CHECK;

/*
 * A thread that binds nothing gives up all capabilities that it has got from main, where main is
 * not root: those that main kept in privs_drop(), or was started with (ambient ones of a service).
 */
void privs_drop_thread_caps(void);
