/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The choice of an engine, when a loop is made.
 *
 * loop_new() makes the loop of the engine that its caller names. LOOP_AUTO is io_uring; where the
 * kernel does not allow io_uring, it is epoll. loop_probe_uring() tells why io_uring cannot run, by
 * making a loop and freeing it.
 *
 * This file calls the engines, and the engines call loop.c. loop.c calls an engine through its
 * struct loop_ops only.
 *
 * Thread: the one that will own the loop.
 */
#include <errno.h>

#include "ev/loop_priv.h"

int loop_new(const struct loop_opts *o, struct err *e, struct loop **ret)
{
	switch (o->engine) {
	case LOOP_URING: return loop_uring_new(o, e, ret);
	case LOOP_EPOLL: return loop_epoll_new(o, e, ret);
	case LOOP_SIM: return err_add(e, -EINVAL, "a simulated engine is made by its test");
	case LOOP_AUTO: break;
	}

	struct err why = ERR_INIT;
	int r = loop_uring_new(o, &why, ret);
	err_deinit(&why);
	return r == 0 ? 0 : loop_epoll_new(o, e, ret);
}

int loop_probe_uring(struct err *e)
{
	struct loop *l = NULL;
	int r = loop_uring_new(&(struct loop_opts){ .engine = LOOP_URING }, e, &l);

	if (r == 0)
		loop_free(l);
	return r;
}
