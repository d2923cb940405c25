/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Registry: the run-time objects that outlive a configuration, and what changes between two.
 *
 * Listeners are known by their bound address, pools by their name, backends by (pool, name,
 * address). A new configuration becomes a delta against them: what is kept, what is new. Preparing
 * a delta changes nothing that runs (new addresses are bound, none listens); then it is committed,
 * or dropped without a trace.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "conf/conf.h"
#include "daemon/past.h"
#include "ev/loop.h"
#include "util/err.h"
#include "util/list.h"

struct backend;
struct listener;
struct members;
struct names;
struct plan;
struct pool;

/* A backend in the file, or one that left it and still has connections. */
struct registry_backend {
	struct list link; /* registry_pool.backends, in the order of the file, the removed last */
	struct backend *backend; /* counted */
	uint32_t file_weight;    /* as in the newest file */
	bool is_weight_set;      /* `lbctl weight` has changed it since */
	bool is_removed;
	struct past_record *record; /* owns: the room for what it did, once it is gone */
	struct backend_sums past;   /* of earlier backends of its name, long gone */
	bool is_ports_high;         /* it was warned of the local ports towards it */
};

struct registry_pool {
	struct list link;
	struct pool *pool;       /* counted */
	struct members *members; /* counted: the newest version */
	struct list backends;    /* of struct registry_backend */
	struct past_pool past;   /* of the backends that are gone */
	enum conf_balance balance;
	enum conf_check check;
	/* Not in the file any more, but has backends that may still serve, or a past to tell of. */
	bool is_removed;
	size_t conf_index; /* in the plan's configuration, unless it is removed */
};

struct registry_listener {
	struct list link;
	struct listener *listener; /* counted */
	const char *name;          /* counted: the listener's */
};

struct registry {
	struct loop *loop; /* borrows: makes sockets */
	uint32_t n_workers;
	struct names *names; /* owns */
	struct list pools, listeners;
	struct past past;
	struct list
		leaving;   /* of struct registry_listener: removed, perhaps not closed everywhere */
	struct plan *plan; /* counted: the current one; NULL before the first commit */
	struct plan *old;  /* counted, as a list: replaced ones that a session may still use */
	uint64_t next_number; /* of listeners */
	uint32_t next_slot;   /* of pools: all below it were given out */
	uint32_t *free_slots; /* owns: room for next_slot; those that were given back */
	uint32_t n_free, slots_cap;
	bool has_old_names; /* a commit has left some that nobody may count any more */
};

/* One listener of a delta: the plan's listener and, where it is new, a bound socket per worker. */
struct delta_listener {
	struct listener *listener;       /* counted */
	struct registry_listener *fresh; /* owns until the commit: its entry */
	const char *name;                /* counted until the commit: its name from then on */
	size_t plan_index;
	bool is_new;
	int *fd; /* owns: n_workers of them, -1 once passed on; NULL where kept */
};

struct delta_backend {
	struct backend *backend;        /* counted */
	struct registry_backend *old;   /* borrows: NULL where new */
	struct registry_backend *fresh; /* owns until the commit: the entry of a new one */
	uint32_t weight;                /* to be used: the file's, or the one set at run time */
	uint32_t file_weight;
	bool is_weight_set; /* an operator set the weight while this delta was under way */
};

struct delta_pool {
	struct pool *pool;           /* counted */
	struct registry_pool *old;   /* borrows: NULL where new */
	struct registry_pool *fresh; /* owns until the commit: the entry of a new one */
	struct members *members;     /* counted */
	size_t n_backends;
	struct delta_backend *backends; /* owns */
};

struct delta {
	struct conf *conf; /* counted */
	struct plan *plan; /* counted */
	size_t n_listeners;
	struct delta_listener *listeners; /* owns */
	size_t n_pools;
	struct delta_pool *pools; /* owns; in the order of conf->pools */
	bool is_committed;
};

/* Returns 0 or -ENOMEM. */
int registry_init(struct registry *f, struct loop *loop, uint32_t n_workers) LB_MUST_CHECK;
void registry_deinit(struct registry *f);

/*
 * registry_prepare() - what `conf` changes
 *
 * Binds all new addresses, and each source to see whether it is there. Returns 0 and sets *ret, or
 * a negative errno with every reason in `e`; nothing has changed then.
 */
int registry_prepare(struct registry *f, struct conf *conf, struct err *e,
		     struct delta **ret) LB_MUST_CHECK;

/* Whether connections can come from every source of `conf`: 0, or -EINVAL with the reasons in `e`.
 */
int registry_try_sources(struct loop *l, const struct conf *conf, struct err *e);

/* Whether it changes what open tunnels are timed by. Before registry_commit(). */
bool registry_has_new_timeouts(const struct delta *d);

/*
 * registry_give() - give the new sockets to the user that lb is about to become
 *
 * The kernel lets two sockets share a port only where both are one user's. Without this no later
 * reload could go from one address to another that includes it. Returns 0 or a negative errno.
 */
int registry_give(const struct registry *f, const struct delta *d, uid_t uid,
		  gid_t gid) LB_MUST_CHECK;

/* Lets all new sockets listen (main's copies share them with the workers'). */
int registry_listen(struct registry *f, struct delta *d, struct err *e) LB_MUST_CHECK;

/*
 * Makes the delta current: settings, weights, removed backends. The workers know of it already.
 * Takes no memory, so that it cannot fail half-way: the delta has all that it needs.
 */
void registry_commit(struct registry *f, struct delta *d);

/* Closes main's copies of the sockets; frees. NULL is fine. Returns NULL. */
struct delta *delta_free(struct registry *f, struct delta *d);

/*
 * Drops removed listeners that no worker has a socket of, plans that no session uses any more, and
 * removed backends and pools whose last connection has ended; what these did goes to the past. A
 * pool stays while such a plan names it. Not between registry_commit() and the moment when the
 * health checks follow it: they still name what was removed.
 */
void registry_tidy(struct registry *f);

/* What the newest configuration says of a pool; NULL where it is removed. */
const struct conf_pool *registry_pool_conf(const struct registry *f, const struct registry_pool *p);

/* A pool, or a backend of one, that is in the file; NULL where there is none. */
struct registry_pool *registry_find_pool(struct registry *f, const char *name);
struct registry_backend *registry_find_backend(const struct registry_pool *p, const char *name);

/* The backend that a delta has under these names, and its pool in *ret; NULL where it has none. */
struct delta_backend *delta_find_backend(struct delta *d, const char *pool, const char *backend,
					 struct delta_pool **ret);

/*
 * registry_members_with() - the pool's members if `fb` had this weight
 *
 * Nothing changes yet. Returns members with one reference, or NULL when memory is short.
 */
struct members *registry_members_with(const struct registry_pool *p,
				      const struct registry_backend *fb, uint32_t weight);
/* The same for a pool of a delta that is not committed. */
struct members *delta_members_with(const struct delta *d, const struct delta_pool *dp,
				   const struct delta_backend *db, uint32_t weight);
