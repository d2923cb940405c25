/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Delta: what changes in the registry, prepared as a whole before any of it is in force.
 *
 *   delta_prepare()   a configuration: all its listeners, pools and backends, and a snapshot
 *   delta_of_pool()   a list of backends, wherever it comes from: other members for one pool
 *
 * Preparing changes nothing that runs: new addresses are bound and do not listen, and all memory
 * that the commit needs is allocated. Then the delta is committed, which cannot fail, or freed,
 * which leaves no trace.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "util/err.h"

struct backend;
struct listener;
struct members;
struct snapshot;
struct pool;
struct registry;
struct registry_backend;
struct registry_listener;
struct registry_pool;

/* A listener of the configuration; when it is new, with a bound socket for each worker. */
struct delta_listener {
	struct listener *listener;       /* counted */
	struct registry_listener *fresh; /* owns until the commit: the listener's entry */
	const char *name; /* counted until the commit: the name that the commit sets */
	size_t snapshot_index;
	bool is_new;
	int *fd; /* owns: one for each worker, -1 before it is bound; NULL: the listener is kept */
};

struct delta_backend {
	struct backend *backend;        /* counted */
	struct registry_backend *old;   /* borrows: the backend's entry; NULL: the backend is new */
	struct registry_backend *fresh; /* owns until the commit: the entry of a new backend */
	uint32_t weight;      /* from the commit on: file_weight, or what an operator has set */
	uint32_t file_weight; /* the weight in the list of backends */
	uint32_t max_conns;
	bool is_weight_set; /* an operator has set `weight` since the delta was prepared */
};

struct delta_pool {
	struct pool *pool;            /* counted */
	struct registry_pool *old;    /* borrows: the pool's entry; NULL: the pool is new */
	struct registry_pool *fresh;  /* owns until the commit: the entry of a new pool */
	struct members *members;      /* counted: made by delta_freeze() */
	const struct conf_pool *conf; /* borrows from delta.conf; NULL: the settings stay */
	enum conf_balance balance;
	uint32_t load_percent;
	size_t n_backends;
	struct delta_backend *backends; /* owns */
};

struct delta {
	/* Both counted. Both NULL when the delta only changes the members of one pool. */
	struct conf *conf;
	struct snapshot *snapshot;
	size_t n_listeners;
	struct delta_listener *listeners; /* owns */
	size_t n_pools;
	struct delta_pool *pools; /* owns; when `conf` is set: in the order of its pools */
	bool is_committed;
};

/*
 * delta_prepare() - prepare what a configuration changes
 *
 * Binds all new addresses, and reads the files that TLS listeners name. Tries to bind each source
 * address, too, to see whether this machine has it. Returns 0 and sets *ret, or a negative errno
 * with every reason in `e`: -EKEYREJECTED when only files of `tls` are at fault. In both cases
 * warnings about certificates are added to `e`.
 */
int delta_prepare(struct registry *reg, struct conf *conf, struct err *e,
		  struct delta **ret) LB_MUST_CHECK;

/*
 * delta_of_pool() - give the pool `p` the backends of a list, in its order
 *
 * The pool's settings stay. A backend of the list is kept when the pool has a backend of the same
 * name and address; a weight that an operator has set for the backend stays, too. A backend of the
 * pool that is not in the list is removed, as by a reload. The caller may change weights before
 * delta_freeze(). Returns 0 and sets *ret, or -ENOMEM.
 */
int delta_of_pool(struct registry *reg, struct registry_pool *p, const struct conf_backend *list,
		  size_t n, struct delta **ret) LB_MUST_CHECK;

/* Makes the pool's members from its backends and their weights. Returns 0 or -ENOMEM. */
int delta_freeze(struct delta_pool *dp) LB_MUST_CHECK;

/* Whether the delta changes a time-out of open tunnels. Call before delta_commit(). */
bool delta_has_new_timeouts(const struct delta *d);

/*
 * delta_commit() - make the delta current: settings, weights, removed backends
 *
 * The messages that tell the workers of the commit exist already. Allocates nothing and cannot
 * fail.
 */
void delta_commit(struct registry *reg, struct delta *d);

/* Closes main's descriptors of the new sockets, and frees the delta. NULL is fine. Returns NULL. */
struct delta *delta_free(struct registry *reg, struct delta *d);

/* The backend named `backend` of the pool named `pool`, and the pool in *ret. NULL when the delta
 * has no such backend. */
struct delta_backend *delta_find_backend(struct delta *d, const char *pool, const char *backend,
					 struct delta_pool **ret);

/*
 * delta_members_with() - the members that the pool would have if `db` had this weight
 *
 * Changes nothing. Returns members with one reference, or NULL when memory is short.
 */
struct members *delta_members_with(const struct delta_pool *dp, const struct delta_backend *db,
				   uint32_t weight);
