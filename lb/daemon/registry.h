/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Registry: the run-time objects that outlive a configuration.
 *
 * A listener is known by its bound address, a pool by its name, a backend by its pool, name and
 * address. Each has an entry here from the commit of the delta that brings it (daemon/delta.h)
 * until registry_tidy() finds that it is removed and that nothing uses it any more.
 *
 * Invariants: no two pools have one name; of the backends of a pool that have one name at most one
 * is in use, that is, not removed; the members of a pool that is in use are its backends in use, in
 * their order.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "daemon/past.h"
#include "ev/loop.h"
#include "util/list.h"

struct backend;
struct listener;
struct members;
struct names;
struct snapshot;
struct pool;

/* A backend that is in use, or a removed one that still has connections. */
struct registry_backend {
	struct list link; /* registry_pool.backends: in the list's order, the removed behind */
	struct backend *backend; /* counted */
	uint32_t file_weight;    /* as in the newest file */
	bool is_weight_set;      /* `lbctl weight` has changed the weight since */
	bool is_removed;
	struct past_record *record; /* owns: to hold the sums once the backend is gone */
	struct backend_sums past;   /* of earlier backends of this name whose records are gone */
	bool is_ports_high;         /* the log has warned of the local ports towards the backend */
};

struct registry_pool {
	struct list link;
	struct pool *pool;       /* counted */
	struct members *members; /* counted: the newest version */
	struct list backends;    /* of struct registry_backend */
	struct past_pool past;   /* of the backends that are gone */
	enum conf_balance balance;
	enum conf_check check;
	/* The newest file lacks the pool, which has backends that may still serve, or records. */
	bool is_removed;
	size_t conf_index; /* in the snapshot's configuration; meaningless where it is removed */
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
	struct addr http;    /* admin.http as it is bound; family 0: none. Restart-only */
	struct list pools, listeners;
	struct list leaving; /* of struct registry_listener: removed, not closed everywhere */
	struct past past;
	struct snapshot *snapshot; /* counted: the current one; NULL before the first commit */
	struct snapshot *old; /* counted, as a list: replaced ones that a session may still use */
	uint64_t next_number; /* of listeners */
	uint32_t next_slot;   /* of pools: all smaller numbers were given out */
	uint32_t *free_slots; /* owns: has room for next_slot; those that were given back */
	uint32_t n_free, slots_cap;
	bool has_old_names; /* a commit has replaced names: names_sweep() may free some */
};

/* Returns 0 or -ENOMEM. */
int registry_init(struct registry *reg, struct loop *loop, uint32_t n_workers) LB_MUST_CHECK;
/* Frees everything; the workers have ended. Does nothing after a failed registry_init(). */
void registry_deinit(struct registry *reg);

/*
 * registry_tidy() - drop what is removed and no longer used
 *
 * That is: removed listeners that no worker has a socket of, snapshots that no session uses, and
 * removed backends and pools whose last connection has ended; their sums go to the past. A pool
 * stays while a snapshot names it. Do not call between delta_commit() and health_apply(), because
 * until then the health checks still name what was removed.
 */
void registry_tidy(struct registry *reg);

/* What the newest configuration says of a pool; NULL where the pool is removed. */
const struct conf_pool *registry_pool_conf(const struct registry *reg,
					   const struct registry_pool *p);

/* The pool, or the backend of a pool, that is in use under this name; NULL where there is none. */
struct registry_pool *registry_find_pool(struct registry *reg, const char *name);
struct registry_backend *registry_find_backend(const struct registry_pool *p, const char *name);

/* ---- entries, for delta.c -------------------------------------------------------------------- */

/* The entry of a backend that a commit will bring; NULL when memory is short. */
struct registry_backend *registry_backend_new(const char *name);
/* NULL is fine. Returns NULL. */
struct registry_backend *registry_backend_free(struct registry_backend *rb);
void registry_listener_free(struct registry_listener *rl);

/* A pool with a slot of its own; NULL when memory is short. */
struct pool *registry_new_pool(struct registry *reg, const struct conf_pool *c);
/* Takes back the slot of a pool that is not used any more. */
void registry_give_slot(struct registry *reg, const struct pool *p);
