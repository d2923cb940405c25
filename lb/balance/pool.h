/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A pool at run time, its members, and the pick.
 *
 * A pool is reference-counted and identified by its name. It holds the live settings, which a
 * reload changes for open sessions, too: sessions read their timeouts and limits here.
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

/* How many classes of statuses there are: 1xx to 5xx. */
#define POOL_N_CLASSES 5
/*
 * At least the number of reasons for which connections end. (The reasons are enum sess_end of
 * proxy/end.h, which is in a higher layer.)
 */
#define POOL_MAX_ENDS 32

/*
 * What a pool's connections did, 536 bytes. All workers add to the same counters, because one tally
 * for each worker would take 86 MB with 10,000 pools and 16 workers. The price of sharing is at
 * most four atomic additions in a connection's life, none of them while a tunnel stands. Thread:
 * workers write, any thread reads.
 */
struct pool_tally {
	struct counter responses[POOL_N_CLASSES]; /* responses to clients, by pool_class_of() */
	struct counter ends[POOL_MAX_ENDS];       /* connections that ended, by enum sess_end */
	/* times from accept to tunnel, or to the refusal of an upgrade */
	struct metric_hist handshake;
	/* times from accept to the response head of a plain request */
	struct metric_hist response;
};

struct pool {
	/* index of the pool in the workers' tables: a small number that no other pool has */
	uint32_t slot;

	/* private to pool.c and the policies */
	char *name; /* owns */
	/* owns a reference, or NULL: see pool_keep_members() */
	struct members *kept;
	uint32_t n_snapshots; /* snapshots that name the pool; thread: main */
	/* Sessions read these while they relay; a reload writes them. */
	_Atomic uint32_t idle_ms, half_closed_ms, user_ms, buffer_bytes;
	_Atomic uint8_t splice; /* enum conf_splice */
	/* Workers write these for every connection, so they have a cache line of their own. */
	/* how many picks round_robin or the load index has made */
	LB_CACHE_ALIGNED _Atomic uint64_t ticket;
	_Atomic uint64_t virtual_time; /* see policy_least.c */
	_Atomic uint32_t next_source;  /* see pool_next_source() */
	struct ref refs;
	struct pool_tally tally;
};

/* A pool with one reference, or NULL when memory is short. Thread: main. */
struct pool *pool_new(const struct conf_pool *c, uint32_t slot);
/* Copies the live settings from the configuration. Thread: main. */
void pool_configure(struct pool *p, const struct conf_pool *c);
struct pool *pool_ref(struct pool *p);
/*
 * Gives a reference back. The last reference frees the pool; at that time no snapshot must name the
 * pool. `p` may be NULL. Returns NULL.
 */
struct pool *pool_unref(struct pool *p);

const char *pool_name(const struct pool *p);

/* The live settings. A time is in ms, or CONF_OFF when the setting is off. Hot. */
uint32_t pool_idle_ms(const struct pool *p);
uint32_t pool_half_closed_ms(const struct pool *p);
uint32_t pool_user_ms(const struct pool *p);
uint32_t pool_buffer_bytes(const struct pool *p);
enum conf_splice pool_splice(const struct pool *p);

/*
 * pool_keep_members() - keep the last members of a pool that leaves the file
 *
 * When a session was routed to the pool under an older configuration, and has no backend yet, it
 * picks among these members. The pool takes a reference of `m`; when `m` is NULL, it drops the
 * members that it has kept. Thread: main, and only while no worker reads the kept members: before
 * main posts the message by which the workers forget the pool, or when no snapshot names the pool
 * any more.
 */
void pool_keep_members(struct pool *p, struct members *m);
/*
 * The members that pool_keep_members() has kept, or NULL. Thread: a worker that has no members of
 * the pool any more. Hot.
 */
const struct members *pool_kept_members(const struct pool *p);

/*
 * These two count the snapshots that name the pool. When the last one is dropped, the pool drops
 * the members that it has kept. Thread: main.
 */
void pool_add_snapshot(struct pool *p);
void pool_drop_snapshot(struct pool *p);
bool pool_has_snapshot(const struct pool *p);

/*
 * The class that `status` is counted in: 0 for 1xx, and so on, up to 4 for 5xx and all greater
 * statuses.
 */
static inline unsigned pool_class_of(unsigned status)
{
	return status / 100 - 1 < POOL_N_CLASSES ? status / 100 - 1 : POOL_N_CLASSES - 1;
}

/* Counts a response whose head has gone to a client. Hot. */
void pool_count_response(struct pool *p, unsigned status);
/* Counts a connection that has ended for `reason` (enum sess_end). Hot. */
void pool_count_end(struct pool *p, unsigned reason);

/*
 * A number that goes up by one with each call. Sessions use it to take the local addresses in turn.
 */
uint32_t pool_next_source(struct pool *p);

/* ---- members --------------------------------------------------------------------------------- */

/* The greatest weight of a member; conf/ and admin/ refuse a greater one. */
#define POOL_WEIGHT_MAX 256

struct members_entry {
	struct backend *backend; /* owns a reference in struct members; borrowed elsewhere */
	uint32_t weight;
};

struct members {
	struct pool *pool; /* owns a reference */

	/* private to pool.c and the policies */
	struct ref refs;
	enum conf_balance balance;
	uint32_t load_percent; /* load_factor in percent; 0: off */
	uint64_t total_weight;
	/* This struct owns each array and object below, which is NULL when the policy does not use
	 * it. */
	uint64_t *cumulated;               /* random: the sum of the weights of entry[0] to [i] */
	uint32_t *schedule;                /* round_robin: the cycle, as indices of entries */
	uint32_t n_schedule;               /* elements of `schedule`: turns of the cycle */
	struct rendezvous *rendezvous;     /* hash: for the order of the entries */
	struct bounded_load *bounded_load; /* hash with load_factor and many members */
	struct load_index *load_index;     /* least_connections with many members */
	size_t n;
	struct members_entry entry[];
};

/*
 * members_new() - make members of `pool`: `n` different backends with their weights
 *
 * Takes a reference of the pool and of each backend. `load_percent` is used by policy hash only.
 * Returns NULL when memory is short. Thread: main.
 */
struct members *members_new(struct pool *pool, enum conf_balance balance, uint32_t load_percent,
			    const struct members_entry *entries, size_t n);
struct members *members_ref(struct members *m);
/* Gives a reference back; the last one frees the members. `m` may be NULL. Returns NULL. */
struct members *members_unref(struct members *m);
uint32_t members_load_percent(const struct members *m);

/* ---- the pick -------------------------------------------------------------------------------- */

#define PICK_MAX_TRIED 128 /* more than the greatest value of the key `retries` */

/* What a pick knows of the connection. Each retry for the connection uses the same struct. */
struct pick {
	uint64_t key;    /* for policy hash: pool_key_of_...() */
	uint64_t random; /* an unpredictable number, a new one for every pick */
	uint32_t n_tried;
	const struct backend *tried[PICK_MAX_TRIED]; /* borrowed; the pointers are only compared */
};

/*
 * pool_pick() - choose a backend for a connection
 *
 * Passes over backends that are not usable, are full, have weight 0 or were tried before. The
 * caller gets a reference of the returned backend, and a slot at it, which backend_release() gives
 * back. The backend is added to k->tried. Returns NULL when there is no backend to pick. Hot: no
 * lock, no allocation.
 */
struct backend *pool_pick(const struct members *m, struct pick *k);

/*
 * pool_has_candidate() - whether a pick failed only because backends are full
 *
 * To be called when a pick has failed. Looks at each member until it finds a candidate, which is
 * full then.
 */
bool pool_has_candidate(const struct members *m, const struct pick *k);

/*
 * Keys for policy hash (docs/hash.md): of bytes, of a host (upper and lower case are the same), and
 * of a client's address.
 */
uint64_t pool_key_of_bytes(struct slice s);
uint64_t pool_key_of_host(struct slice s);
/*
 * The key of an IPv4 address is of all its bytes, that of an IPv6 address of its /64. The port does
 * not count.
 */
uint64_t pool_key_of_addr(const struct addr *a);
