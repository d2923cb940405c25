/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A backend at run time: what it is, how many connections it has, whether it may get more.
 *
 * A backend is not a part of a configuration. When a reload finds the same pool, name and address
 * in the file, lb keeps the struct backend, with its counters and states. Backends are
 * reference-counted; sessions, members and main hold references.
 *
 * A connection to a backend takes a slot: backend_reserve() before the connect, backend_release()
 * when the connection is over. `active` counts the slots taken.
 *
 * Layer: balance. Thread: any, where not said otherwise.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "util/assert.h"
#include "util/metric.h"
#include "util/ref.h"
#include "util/sockaddr.h"

enum backend_health { BACKEND_CHECKING, BACKEND_UP, BACKEND_DOWN };
enum backend_admin { BACKEND_READY, BACKEND_DRAIN, BACKEND_MAINT };

/*
 * What one worker has counted for a backend. Thread: the worker with the tally's index writes, any
 * thread reads.
 */
struct backend_tally {
	struct counter bytes_in;  /* bytes from clients, sent to the backend */
	struct counter bytes_out; /* bytes from the backend, sent to clients */
	struct counter total;     /* connections established to the backend */
	struct counter failed;    /* failed connects, bad handshakes, upgrades answered 5xx */
} LB_CACHE_ALIGNED;

/* What a backend has done since backend_new(), summed over all workers. */
struct backend_sums {
	uint64_t total, failed, bytes_in, bytes_out, check_failures;
};

struct backend {
	/*
	 * Workers write these at every pick and at every end of a connection, so they have a cache
	 * line of their own.
	 */
	LB_CACHE_ALIGNED _Atomic uint32_t active; /* slots taken; the pick takes the slot */
	struct ref refs;
	_Atomic uint64_t turn; /* set by a pick: see backend_turn() */

	/* Every pick reads these; main writes them now and then. */
	LB_CACHE_ALIGNED _Atomic uint32_t max_conns; /* 0: no limit */
	_Atomic uint32_t weight;
	_Atomic uint8_t health;  /* enum backend_health */
	_Atomic uint8_t admin;   /* enum backend_admin */
	_Atomic bool is_removed; /* only for backend_state_name(); no pick reads it */

	/* constant */
	char *name;      /* owns */
	char *pool_name; /* owns */
	char *addr_text; /* owns */
	struct addr addr;
	uint32_t n_workers;
	struct backend_tally *tally; /* owns: one per worker */

	/* thread: main */
	char check_result[96]; /* text of the last check's result; "" before the first check */
	uint64_t since_ns;     /* when the backend got its health state */
	uint64_t check_failures;
};

/* A backend with one reference, or NULL when memory is short. Thread: main. */
struct backend *backend_new(const char *pool_name, const struct conf_backend *c, uint32_t n_workers,
			    uint64_t now_ns);
struct backend *backend_ref(struct backend *b);
/*
 * Gives a reference back. The last reference frees the backend; at that time all slots have to be
 * given back. `b` may be NULL. Returns NULL.
 */
struct backend *backend_unref(struct backend *b);

/*
 * backend_reserve() - take a slot, unless the backend is full
 *
 * By compare-and-swap, so `active` never exceeds max_conns, not even for a moment. Only
 * backend_release() gives the slot back. Hot.
 */
bool backend_reserve(struct backend *b) LB_MUST_CHECK;
/* Does what backend_reserve() does, and also refuses when `bound` or more slots are taken. Hot. */
bool backend_reserve_within(struct backend *b, uint32_t bound) LB_MUST_CHECK;
void backend_release(struct backend *b);

/*
 * backend_is_usable() - whether new connections may go to the backend
 *
 * That is so when checks have found the backend up or have found nothing yet, and the administrator
 * has set it ready.
 *
 * The function does not look at is_removed, because the members that a worker gets with its next
 * configuration leave a removed backend out. Until these members arrive, the worker may use the
 * removed backend. Otherwise a worker that has no other backend would refuse connections. Hot.
 */
bool backend_is_usable(const struct backend *b);

/*
 * The state as a word: "up", "down", "draining", "maint" or "checking". A removed backend is
 * "draining", unless it is in "maint".
 */
const char *backend_state_name(const struct backend *b);

/* Thread: main. */
void backend_set_health(struct backend *b, enum backend_health h, uint64_t now_ns);
void backend_set_admin(struct backend *b, enum backend_admin a);
void backend_set_weight(struct backend *b, uint32_t weight);
void backend_set_max_conns(struct backend *b, uint32_t max_conns);
void backend_set_removed(struct backend *b, bool is_removed);

uint32_t backend_weight(const struct backend *b);
uint32_t backend_max_conns(const struct backend *b);
uint32_t backend_active(const struct backend *b);
/*
 * When `b` has its next turn among backends with equal loads, in the pool's virtual time
 * (policy_least.c). The turn is 0 before least_connections has picked `b` for the first time. Hot.
 */
uint64_t backend_turn(const struct backend *b);
void backend_set_turn(struct backend *b, uint64_t turn);
enum backend_admin backend_admin(const struct backend *b);

/* Each of these returns the sum of one counter over all workers. */
uint64_t backend_bytes_in(const struct backend *b);
uint64_t backend_bytes_out(const struct backend *b);
uint64_t backend_total(const struct backend *b);
uint64_t backend_failed(const struct backend *b);

/* All counters of `b`, each summed over all workers. Thread: main. */
struct backend_sums backend_sums(const struct backend *b);
void backend_sums_add(struct backend_sums *to, const struct backend_sums *more);
bool backend_sums_are_zero(const struct backend_sums *s);

/* Adds bytes to `worker`'s tally of `b`. Thread: that worker. Hot. */
static inline void backend_count_bytes(struct backend *b, uint32_t worker, uint64_t in,
				       uint64_t out)
{
	LB_ASSERT(worker < b->n_workers);
	counter_add(&b->tally[worker].bytes_in, in);
	counter_add(&b->tally[worker].bytes_out, out);
}

static inline void backend_count_failure(struct backend *b, uint32_t worker)
{
	LB_ASSERT(worker < b->n_workers);
	counter_add(&b->tally[worker].failed, 1);
}
