/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Descriptor table: the kernel's table of a thread's open files.
 *
 * Thread: the one whose table it is. Layer: daemon.
 */

#include <stddef.h>

#include "util/assert.h"

/*
 * fd_table_unshare() - a descriptor table of its own for the calling thread
 *
 * The descriptors that the thread has stay open in the new table. When the thread is the only
 * thread of its process, the call changes nothing. So main can try it before main starts a thread.
 * Returns 0, or a negative errno: -EPERM or -ENOSYS when seccomp or a kernel before Linux 5.9
 * refuses the system calls.
 */
int fd_table_unshare(void) LB_MUST_CHECK;

/* Closes all descriptors of the calling thread's table but the `n` in `keep`; sorts `keep`. */
void fd_table_close_all_but(int *keep, size_t n);
