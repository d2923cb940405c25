/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A pool at run time, its members, and the pick.
 *
 * A pool is reference-counted and identified by its name. It holds the settings that a reload
 * changes for living sessions: sessions read their timeouts and limits here.
 *
 * The members of a pool are an immutable array of backends and weights, with what the pool's policy
 * needs to choose among them. For every change main makes a new array, and sends it to the workers
 * in messages.
 *
 * Layer: balance. Thread: any, where not said otherwise.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "util/assert.h"
#include "util/metric.h"
#include "util/ref.h"
#include "util/slice.h"
#include "util/sockaddr.h"

struct backend;
struct load_index;
struct rendezvous;
struct bounded_load;

/* Classes of a status: 1xx to 5xx. */
#define POOL_N_CLASSES 5
/* At least as many as there are reasons for which connections end (enum sess_end of proxy/end.h, a
 * higher layer). */
#define POOL_MAX_ENDS 32

/*
 * What a pool's connections did, 536 bytes. All workers add to the same counters: one such tally
 * for each worker would be 86 MB with 10,000 pools and 16 workers. The price is at most four atomic
 * additions in a connection's life, none of them while a tunnel stands. thread: workers write, any
 * reads.
 */
struct pool_tally {
	struct counter responses[POOL_N_CLASSES]; /* by pool_class_of() */
	struct counter ends[POOL_MAX_ENDS];       /* connections that ended, by enum sess_end */
	struct metric_hist handshake; /* accept to tunnel, or to the refusal of an upgrade */
	struct metric_hist response;  /* accept to the response head of a plain request */
};

struct pool {
	uint32_t slot; /* a small number that no other pool has: an index in the workers' tables */

	/* private to pool.c and the policies */
	char *name; /* owns */
	/* a reference: see pool_keep_members() */
	struct members *kept;
	uint32_t n_snapshots; /* thread: main: configurations in use that name the pool */
	/* read by relaying sessions, written by a reload */
	_Atomic uint32_t idle_ms, half_closed_ms, user_ms, buffer_bytes;
	_Atomic uint8_t splice; /* enum conf_splice */
	/* written by workers for every connection, so these have a cache line of their own */
	LB_CACHE_ALIGNED _Atomic uint64_t ticket; /* of round_robin and the load index */
	_Atomic uint64_t virtual_time;            /* of least_connections: see policy_least.c */
	_Atomic uint32_t next_source;             /* see pool_next_source() */
	struct ref refs;
	struct pool_tally tally;
};

/* A pool with one reference, or NULL when memory is short. Thread: main. */
struct pool *pool_new(const struct conf_pool *c, uint32_t slot);
/* Copies the live settings from the configuration. Thread: main. */
void pool_configure(struct pool *p, const struct conf_pool *c);
struct pool *pool_ref(struct pool *p);
/* Frees with the last reference; then no snapshot may name the pool. NULL is fine. Returns NULL. */
struct pool *pool_unref(struct pool *p);

const char *pool_name(const struct pool *p);

/* The live settings. Times are in ms, CONF_OFF where off. Hot. */
uint32_t pool_idle_ms(const struct pool *p);
uint32_t pool_half_closed_ms(const struct pool *p);
uint32_t pool_user_ms(const struct pool *p);
uint32_t pool_buffer_bytes(const struct pool *p);
enum conf_splice pool_splice(const struct pool *p);

/*
 * pool_keep_members() - the members of a pool that leaves the file, for sessions that need them
 *
 * A session that was routed to the pool under an older configuration, and has no backend yet, picks
 * among these members. Takes a reference; NULL drops the members. Thread: main, while no worker
 * reads the kept members: before the message that makes the workers forget the pool, or when no
 * snapshot names the pool any more.
 */
void pool_keep_members(struct pool *p, struct members *m);
/* Thread: a worker that has no members of the pool itself. Hot. */
const struct members *pool_kept_members(const struct pool *p);

/* Counts the snapshots that name the pool; the last drop drops the kept members. Thread: main. */
void pool_add_snapshot(struct pool *p);
void pool_drop_snapshot(struct pool *p);
bool pool_has_snapshot(const struct pool *p);

/* The class that `status` is counted in, 0 for 1xx to 4 for 5xx and everything above. */
static inline unsigned pool_class_of(unsigned status)
{
	return status / 100 - 1 < POOL_N_CLASSES ? status / 100 - 1 : POOL_N_CLASSES - 1;
}

/* Counts a response whose head has gone to a client. Hot. */
void pool_count_response(struct pool *p, unsigned status);
/* A connection ended for this reason (enum sess_end). Hot. */
void pool_count_end(struct pool *p, unsigned reason);

/* Goes up by one per call; sessions use it to take the local addresses in turn. */
uint32_t pool_next_source(struct pool *p);

/* ---- members --------------------------------------------------------------------------------- */

#define POOL_WEIGHT_MAX 256 /* of a member; conf/ and admin/ refuse more */

struct members_entry {
	struct backend *backend; /* a reference in struct members; elsewhere borrowed */
	uint32_t weight;
};

struct members {
	struct pool *pool; /* a reference */

	/* private to pool.c and the policies */
	struct ref refs;
	enum conf_balance balance;
	uint32_t load_percent; /* load_factor in percent; 0: off */
	uint64_t total_weight;
	/* Each is owned, and NULL where the policy has no use for it. */
	uint64_t *cumulated;               /* random: the sum of the weights of entry[0] to [i] */
	uint32_t *schedule;                /* round_robin: the cycle, as indices of entries */
	uint32_t n_schedule;               /* turns of the cycle */
	struct rendezvous *rendezvous;     /* hash */
	struct bounded_load *bounded_load; /* hash with load_factor, among many members */
	struct load_index *load_index;     /* least_connections, among many members */
	size_t n;
	struct members_entry entry[];
};

/*
 * members_new() - the members of `pool` from now on: `n` different backends with their weights
 *
 * Takes a reference of the pool and of each backend. `load_percent` is used by policy hash only.
 * NULL when memory is short. Thread: main.
 */
struct members *members_new(struct pool *pool, enum conf_balance balance, uint32_t load_percent,
			    const struct members_entry *entries, size_t n);
struct members *members_ref(struct members *m);
/* NULL is fine. Returns NULL. */
struct members *members_unref(struct members *m);
uint32_t members_load_percent(const struct members *m);

/* ---- the pick -------------------------------------------------------------------------------- */

#define PICK_MAX_TRIED 128 /* more than `retries` can be */

/* What a pick knows of the connection. The same one is used for each retry of a connection. */
struct pick {
	uint64_t key;    /* what policy hash hashes */
	uint64_t random; /* unpredictable, and another one for every pick */
	uint32_t n_tried;
	const struct backend *tried[PICK_MAX_TRIED]; /* borrowed: only compared */
};

/*
 * pool_pick() - choose a backend for a connection
 *
 * Passes over backends that are not usable, are full, have weight 0 or were tried before. The
 * caller gets a reference of the backend returned, and a slot there (backend_release() gives it
 * back); the backend is added to those tried. NULL: there is none. Hot: no lock, no allocation.
 */
struct backend *pool_pick(const struct members *m, struct pick *k);

/*
 * pool_has_candidate() - whether a pick failed only because backends are full
 *
 * That is, whether some member is a candidate. Looks at each member: for when a pick has failed.
 */
bool pool_has_candidate(const struct members *m, const struct pick *k);

/* Keys for policy hash (docs/hash.md): of bytes, of a host in any case, of a client's address. */
uint64_t pool_key_of_bytes(struct slice s);
uint64_t pool_key_of_host(struct slice s);
/* IPv4: the whole address. IPv6: its /64. The port does not count. */
uint64_t pool_key_of_addr(const struct addr *a);
