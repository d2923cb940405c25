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
 * The descriptors that the thread has stay open in the new table. Where the thread is the only one
 * of its process, nothing changes, so main can try the call before it starts a thread. Returns 0 or
 * a negative errno: -EPERM or -ENOSYS where seccomp or an old kernel refuses both system calls
 * (Linux 5.9 has what lb needs).
 */
int fd_table_unshare(void) LB_MUST_CHECK;

/* Closes all descriptors of the calling thread's table but the `n` in `keep`; sorts `keep`. */
void fd_table_close_all_but(int *keep, size_t n);
