/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A pool at run time, its members, and the pick.
 *
 * The pool is counted, known by its name, and holds what a reload changes live: relaying sessions
 * read their time-outs and limits here. Its members are one immutable versioned array with what the
 * policy needs to choose among them; main makes a new one for every change and mails it to the
 * workers.
 *
 * Layer: balance. Thread: any, where not said otherwise.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "util/assert.h"
#include "util/ref.h"
#include "util/slice.h"
#include "util/sockaddr.h"

struct backend;
struct load_index;
struct rendezvous;
struct bounded_load;

/* Classes of a status: 1xx to 5xx. */
#define POOL_N_CLASSES 5

struct pool {
	uint32_t slot; /* a dense number of its own: indexes the workers' tables */

	/* private to pool.c, but for the policies */
	char *name; /* owns */
	/* counted: by which sessions pick that were routed to the pool before it left the file */
	struct members *kept;
	uint32_t n_plans; /* thread: main: configurations in use that name the pool */
	/* read by relaying sessions, written by a reload */
	_Atomic uint32_t idle_ms, half_closed_ms, user_ms, buffer_bytes;
	_Atomic uint8_t splice; /* enum conf_splice */
	/* written by workers for every connection, so in a cache line of their own */
	LB_CACHE_ALIGNED _Atomic uint64_t ticket;   /* of round_robin and least_connections */
	_Atomic uint32_t next_source;               /* turns through the local addresses */
	_Atomic uint64_t responses[POOL_N_CLASSES]; /* by pool_class_of() */
	struct ref refs;
};

/* One reference, or NULL when memory is short. Thread: main. */
struct pool *pool_new(const struct conf_pool *c, uint32_t slot);
/* Takes the live settings from the file. Thread: main. */
void pool_configure(struct pool *p, const struct conf_pool *c);
struct pool *pool_ref(struct pool *p);
/* NULL is fine. Returns NULL. */
struct pool *pool_unref(struct pool *p);

const char *pool_name(const struct pool *p);

/* Live settings; times in ms, CONF_OFF where off. Hot. */
uint32_t pool_idle_ms(const struct pool *p);
uint32_t pool_half_closed_ms(const struct pool *p);
uint32_t pool_user_ms(const struct pool *p);
uint32_t pool_buffer_bytes(const struct pool *p);
enum conf_splice pool_splice(const struct pool *p);

/*
 * pool_keep_members() - what a pool that leaves the file is picked from until its plans are gone
 *
 * Connections that were routed to the pool under an older configuration, and are still without a
 * backend, go to these members (counted; NULL: none any more). Thread: main, while no worker reads
 * them: before a mail that makes the workers forget the pool, or when no plan names it any more.
 */
void pool_keep_members(struct pool *p, struct members *m);
/* Thread: a worker that has no members of its own of the pool. Hot. */
const struct members *pool_kept_members(const struct pool *p);

/* Plans that name a pool; with the last of them go its kept members. Thread: main. */
void pool_add_plan(struct pool *p);
void pool_drop_plan(struct pool *p);
bool pool_has_plan(const struct pool *p);

/* The class that a status is counted in, from 0 for 1xx; one beyond 599 is with 5xx. */
static inline unsigned pool_class_of(unsigned status)
{
	return status / 100 - 1 < POOL_N_CLASSES ? status / 100 - 1 : POOL_N_CLASSES - 1;
}

/* A client got the head of a response with this status. Hot. */
void pool_count_response(struct pool *p, unsigned status);
uint64_t pool_n_responses(const struct pool *p, unsigned class_of);

/* A number that goes up by one per call, to turn through the local addresses. */
uint32_t pool_next_source(struct pool *p);

/* ---- members --------------------------------------------------------------------------------- */

struct members_entry {
	struct backend *backend; /* counted once it is in a struct members */
	uint32_t weight;
};

struct members {
	struct pool *pool; /* counted */

	/* private to pool.c and the policies */
	struct ref refs;
	enum conf_balance balance;
	uint32_t load_percent; /* of bounded loads; 0: off */
	uint64_t total_weight;
	uint64_t *cumulated; /* owns: random's; the weights up to and with each entry */
	uint32_t *schedule;  /* owns: round_robin's cycle, as indices; or NULL */
	uint32_t n_schedule;
	struct rendezvous *rendezvous; /* owns: hash's; or NULL */
	struct bounded_load
		*bounded_load; /* owns: that of bounded loads, where there are many; or NULL */
	struct load_index
		*load_index; /* owns: least_connections' index, where there are many; or NULL */
	size_t n;
	struct members_entry entry[];
};

/*
 * members_new() - freeze `n` backends with their weights
 *
 * Takes a reference of the pool and of each backend. NULL when memory is short. Thread: main.
 */
struct members *members_new(struct pool *pool, enum conf_balance balance, uint32_t load_percent,
			    const struct members_entry *entries, size_t n);
struct members *members_ref(struct members *m);
/* NULL is fine. Returns NULL. */
struct members *members_unref(struct members *m);
uint32_t members_load_percent(const struct members *m);

/* ---- the pick -------------------------------------------------------------------------------- */

#define PICK_MAX_TRIED 128 /* more than `retries` can be */

/* What a pick knows of the connection; kept over its retries. */
struct pick {
	uint64_t key;    /* what policy hash hashes */
	uint64_t random; /* fresh for every pick */
	uint32_t n_tried;
	const struct backend *tried[PICK_MAX_TRIED]; /* borrowed: only compared */
};

/*
 * pool_pick() - choose a backend for a connection
 *
 * Passes over what is not usable, full, of weight 0 or tried before. The backend returned is
 * counted (the caller's reference), has a place reserved (backend_release() gives it back) and is
 * noted as tried. NULL: there is none. Hot: no lock, no allocation.
 */
struct backend *pool_pick(const struct members *m, struct pick *k);

/*
 * pool_has_candidate() - whether a pick failed only because backends are full
 *
 * That is: some are usable and were not tried. Looks at each, so it is for when a pick has failed.
 */
bool pool_has_candidate(const struct members *m, const struct pick *k);

/* Keys for policy hash (docs/hash.md): of bytes, of a host in any case, of a client's address. */
uint64_t pool_key_of_bytes(struct slice s);
uint64_t pool_key_of_host(struct slice s);
/* IPv4: the whole address. IPv6: its /64. The port does not count. */
uint64_t pool_key_of_addr(const struct addr *a);
