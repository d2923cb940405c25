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

/* One listener: the snapshot's, and where it is new a bound socket for each worker. */
struct delta_listener {
	struct listener *listener;       /* counted */
	struct registry_listener *fresh; /* owns until the commit: its entry */
	const char *name;                /* counted until the commit: its name from then on */
	size_t snapshot_index;
	bool is_new;
	int *fd; /* owns: one for each worker, -1 before it is bound; NULL: the listener is kept */
};

struct delta_backend {
	struct backend *backend;        /* counted */
	struct registry_backend *old;   /* borrows: its entry; NULL: the backend is new */
	struct registry_backend *fresh; /* owns until the commit: the entry of a new backend */
	uint32_t weight;      /* the weight to use: the list's, or the one set at run time */
	uint32_t file_weight; /* the list's */
	uint32_t max_conns;
	bool is_weight_set; /* an operator has set `weight` for this delta */
};

struct delta_pool {
	struct pool *pool;            /* counted */
	struct registry_pool *old;    /* borrows: its entry; NULL: the pool is new */
	struct registry_pool *fresh;  /* owns until the commit: the entry of a new pool */
	struct members *members;      /* counted: made by delta_freeze() */
	const struct conf_pool *conf; /* borrows from the delta's; NULL: the settings stay */
	enum conf_balance balance;
	uint32_t load_percent;
	size_t n_backends;
	struct delta_backend *backends; /* owns */
};

struct delta {
	/* Both counted; NULL where the delta has other members for one pool and nothing else. */
	struct conf *conf;
	struct snapshot *snapshot;
	size_t n_listeners;
	struct delta_listener *listeners; /* owns */
	size_t n_pools;
	struct delta_pool *pools; /* owns; where there is a configuration, in its order */
	bool is_committed;
};

/*
 * delta_prepare() - what a configuration changes
 *
 * Binds all new addresses, and each source to see whether this machine has it. Returns 0 and sets
 * *ret, or a negative errno with every reason in `e`.
 */
int delta_prepare(struct registry *reg, struct conf *conf, struct err *e,
		  struct delta **ret) LB_MUST_CHECK;

/*
 * delta_of_pool() - give the pool `p` the backends of a list, in its order
 *
 * The pool's settings stay. A backend whose name and address the pool has is kept, with the weight
 * that an operator has set, if any; a backend that the list lacks is removed, as by a reload. The
 * caller may change weights before delta_freeze(). Returns 0 and sets *ret, or -ENOMEM.
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

/* Closes main's descriptors of new sockets; frees. NULL is fine. Returns NULL. */
struct delta *delta_free(struct registry *reg, struct delta *d);

/* The backend of these names in the delta, and its pool in *ret; NULL: the delta has none. */
struct delta_backend *delta_find_backend(struct delta *d, const char *pool, const char *backend,
					 struct delta_pool **ret);

/*
 * delta_members_with() - the pool's members if `db` had this weight
 *
 * Nothing changes yet. Returns members with one reference, or NULL when memory is short.
 */
struct members *delta_members_with(const struct delta_pool *dp, const struct delta_backend *db,
				   uint32_t weight);
