/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for loop_uring.c where lb is built without liburing.
 *
 * loop_uring_new() always fails with -ENOSYS, so LOOP_AUTO takes epoll, and a configuration that
 * names io_uring is told the reason.
 */
#include <errno.h>

#include "ev/loop_priv.h"

int loop_uring_new(const struct loop_opts *o, struct err *e, struct loop **ret)
{
	(void)o;
	(void)ret;
	return err_add(e, -ENOSYS, "io_uring: this lb was built without liburing");
}
