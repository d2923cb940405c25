/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The listeners of a delta: an address that the registry has keeps its listener and its sockets; a
 * new address is bound here, one socket for each worker, and listens only once every worker has its
 * socket.
 *
 * Thread: main. Layer: daemon.
 */

#include <sys/types.h>

#include "util/err.h"

struct delta;
struct directory;
struct registry;

/*
 * delta_binds_prepare() - fill d->listeners from d->conf
 *
 * Binds every new address. Returns 0, or a negative errno; `e` then has a reason for each address
 * that cannot be bound. After a failure, too, delta_free() closes the sockets that were bound.
 */
int delta_binds_prepare(struct registry *reg, const struct directory *all, struct delta *d,
			struct err *e) LB_MUST_CHECK;

/*
 * delta_binds_give() - give the new sockets to the user that lb is about to become
 *
 * The kernel lets two sockets share a port only when both belong to one user. So without this call
 * a later reload could not replace an address by one that includes it (127.0.0.1 by 0.0.0.0).
 * Returns 0 or a negative errno.
 */
int delta_binds_give(const struct registry *reg, const struct delta *d, uid_t uid,
		     gid_t gid) LB_MUST_CHECK;

/* Lets all new sockets listen. The call on main's descriptors is enough, because the workers'
 * descriptors name the same sockets. Returns 0, or a negative errno with the reason in `e`. */
int delta_binds_listen(struct registry *reg, struct delta *d, struct err *e) LB_MUST_CHECK;

/* Closes main's descriptors of the new sockets, and frees d->listeners. */
void delta_binds_free(struct registry *reg, struct delta *d);
