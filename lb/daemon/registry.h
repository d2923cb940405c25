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
#include "daemon/tls_store.h"
#include "ev/loop.h"
#include "util/list.h"

struct backend;
struct listener;
struct members;
struct names;
struct snapshot;
struct pool;

/* A backend that is in use, or a removed backend that still has connections. */
struct registry_backend {
	struct list link; /* in registry_pool.backends: as in the file, removed backends last */
	struct backend *backend; /* counted */
	uint32_t file_weight;    /* weight in the newest file */
	bool is_weight_set;      /* an operator has set another weight (`lbctl weight`) */
	bool is_removed;
	struct past_record *record; /* owns: for the sums when the backend is gone */
	/* sums of earlier backends of this name whose records were dropped */
	struct backend_sums past;
	bool is_ports_high; /* the log has warned that local ports for the backend run out */
};

struct registry_pool {
	struct list link;
	struct pool *pool;       /* counted */
	struct members *members; /* counted: the newest members */
	struct list backends;    /* struct registry_backend */
	struct past_pool past;   /* records and sums of backends that are gone */
	enum conf_balance balance;
	enum conf_check check;
	/* The newest file does not name the pool. The entry stays while the pool has a backend or a
	 * record. */
	bool is_removed;
	size_t conf_index; /* the pool's index in the newest configuration, unless is_removed */
};

struct registry_listener {
	struct list link;
	struct listener *listener; /* counted */
	const char *name;          /* counted: the listener's name */
};

struct registry {
	struct loop *loop; /* borrows: for making sockets, and the time */
	uint32_t n_workers;
	struct names *names; /* owns */
	struct addr http;    /* bound address of admin.http, until lb ends; family 0: none */
	struct list pools, listeners;
	struct list leaving; /* registry_listener: removed, but a worker may have its socket */
	struct past past;
	struct tls_store tls;
	struct snapshot *snapshot; /* counted: the newest snapshot; NULL before the first commit */
	struct snapshot *old; /* counted: list of replaced snapshots that a session may still use */
	uint64_t next_number; /* the number that the last new listener got */
	uint32_t next_slot;   /* all smaller slots were given to a pool at least once */
	uint32_t *free_slots; /* owns: the n_free slots that were given back; room for slots_cap */
	uint32_t n_free, slots_cap;
	bool has_old_names; /* a commit has replaced names, so names_sweep() may free some */
};

/* Returns 0 or -ENOMEM. */
int registry_init(struct registry *reg, struct loop *loop, uint32_t n_workers) LB_MUST_CHECK;
/* Frees everything. Call after the workers have ended. Does nothing when registry_init() has
 * failed. */
void registry_deinit(struct registry *reg);

/*
 * registry_tidy() - free removed entries that nothing uses any more
 *
 * Frees removed listeners of which no worker has a socket, snapshots that no session uses, and
 * removed backends and pools whose last connection has ended; the backends' sums go to the past. A
 * pool stays while a snapshot names it. Do not call between delta_commit() and health_apply(),
 * because until health_apply() the health checks still point to removed backends.
 */
void registry_tidy(struct registry *reg);

/* The pool's settings in the newest configuration; NULL when the pool is removed. */
const struct conf_pool *registry_pool_conf(const struct registry *reg,
					   const struct registry_pool *p);

/* The pool in use with this name, and the pool's backend in use with this name; NULL when there is
 * none. */
struct registry_pool *registry_find_pool(struct registry *reg, const char *name);
struct registry_backend *registry_find_backend(const struct registry_pool *p, const char *name);

/* ---- entries, for delta.c -------------------------------------------------------------------- */

/* Makes the entry for a new backend, which a commit will add. NULL when memory is short. */
struct registry_backend *registry_backend_new(const char *name);
/* Frees the entry. NULL is fine. Returns NULL. */
struct registry_backend *registry_backend_free(struct registry_backend *rb);
void registry_listener_free(struct registry_listener *rl);

/* Makes a pool with a slot of its own; NULL when memory is short. */
struct pool *registry_new_pool(struct registry *reg, const struct conf_pool *c);
/* Gives back the slot of a pool that is not used any more. */
void registry_give_slot(struct registry *reg, const struct pool *p);
