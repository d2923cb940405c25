/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool at run time: its settings, its counters, its members, and the pick of a backend.
 *
 * Terms. A member is a backend with its weight in one version of the pool's list; an entry (struct
 * members_entry) is a member in the array of members. The members are an array that never changes;
 * for every change main makes another array (members_new()), with the index that the pool's policy
 * needs. A snapshot is a configuration that workers read. A pick chooses a member for a connection,
 * and reserves a slot at its backend.
 *
 * How a connection gets its backend:
 *
 *   pool_pick() -> the policy of the members (policy_*.c) -> member_is_candidate() for each entry
 *               -> backend_reserve() at the chosen one
 *
 * struct pick remembers the backends that were tried, so that a retry gets another one. When a pick
 * has found nothing, pool_has_candidate() tells whether there are candidates. When there are, all
 * of them are full, and a slot may become free; when there are none, waiting is of no use.
 *
 * References. Members always hold a reference of their pool and of each of their backends. A pool
 * that left the file holds a reference of its last members (pool_keep_members()), for sessions that
 * were routed to it before. pool_drop_snapshot() breaks this cycle when it drops the last snapshot
 * that names the pool.
 *
 * The settings (pool_configure()) are atomics: main writes them, and sessions that are open read
 * the new values. The counters are shared by all workers (struct pool_tally says why).
 *
 * Relies on the policies and the indexes of this folder, and on balance/backend.h for slots.
 *
 * Thread: any, where the header does not say main. Hot: the pick, the counters and the settings.
 */
#include "balance/pool.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "balance/bounded_load.h"
#include "balance/load_index.h"
#include "balance/member.h"
#include "balance/policy.h"
#include "balance/rendezvous.h"
#include "util/hash.h"

/*
 * The seed of the hashes of keys; names of backends have another seed (SEED_NAME). docs/hash.md
 * defines both.
 */
#define SEED_KEY 0u

/* ---- the pool -------------------------------------------------------------------------------- */

static void set(_Atomic uint32_t *to, uint32_t v)
{
	atomic_store_explicit(to, v, memory_order_relaxed);
}

static uint32_t get(const _Atomic uint32_t *from)
{
	return atomic_load_explicit(from, memory_order_relaxed);
}

void pool_configure(struct pool *p, const struct conf_pool *c)
{
	set(&p->idle_ms, c->idle_ms);
	set(&p->half_closed_ms, c->half_closed_ms);
	set(&p->user_ms, c->user_ms);
	set(&p->buffer_bytes, c->buffer_bytes);
	atomic_store_explicit(&p->splice, (uint8_t)c->splice, memory_order_relaxed);
}

struct pool *pool_new(const struct conf_pool *c, uint32_t slot)
{
	struct pool *p = aligned_alloc(_Alignof(struct pool), sizeof(*p));

	if (p == NULL)
		return NULL;
	memset(p, 0, sizeof(*p));
	ref_init(&p->refs);
	p->slot = slot;
	p->name = strdup(c->name);
	if (p->name == NULL)
		return pool_unref(p);
	pool_configure(p, c);
	return p;
}

struct pool *pool_ref(struct pool *p)
{
	ref_get(&p->refs);
	return p;
}

struct pool *pool_unref(struct pool *p)
{
	if (p == NULL || !ref_put(&p->refs))
		return NULL;
	LB_ASSERT(p->n_snapshots == 0 && p->kept == NULL);
	free(p->name);
	free(p);
	return NULL;
}

const char *pool_name(const struct pool *p)
{
	return p->name;
}

uint32_t pool_idle_ms(const struct pool *p)
{
	return get(&p->idle_ms);
}

uint32_t pool_half_closed_ms(const struct pool *p)
{
	return get(&p->half_closed_ms);
}

uint32_t pool_user_ms(const struct pool *p)
{
	return get(&p->user_ms);
}

uint32_t pool_buffer_bytes(const struct pool *p)
{
	return get(&p->buffer_bytes);
}

enum conf_splice pool_splice(const struct pool *p)
{
	return atomic_load_explicit(&p->splice, memory_order_relaxed);
}

void pool_count_response(struct pool *p, unsigned status)
{
	counter_add_shared(&p->tally.responses[pool_class_of(status)], 1);
}

void pool_count_end(struct pool *p, unsigned reason)
{
	LB_ASSERT(reason < POOL_MAX_ENDS);
	counter_add_shared(&p->tally.ends[reason], 1);
}

uint32_t pool_next_source(struct pool *p)
{
	return atomic_fetch_add_explicit(&p->next_source, 1, memory_order_relaxed);
}

void pool_keep_members(struct pool *p, struct members *m)
{
	struct members *old = p->kept;

	LB_ASSERT(m == NULL || m->pool == p);
	p->kept = m != NULL ? members_ref(m) : NULL;
	members_unref(old); /* frees the pool, too, when `old` has its last reference */
}

const struct members *pool_kept_members(const struct pool *p)
{
	LB_ASSERT(p->kept == NULL || p->kept->pool == p);
	return p->kept;
}

void pool_add_snapshot(struct pool *p)
{
	p->n_snapshots++;
}

void pool_drop_snapshot(struct pool *p)
{
	LB_ASSERT(p->n_snapshots > 0);
	if (--p->n_snapshots == 0)
		pool_keep_members(p, NULL);
}

bool pool_has_snapshot(const struct pool *p)
{
	return p->n_snapshots > 0;
}

/* ---- members --------------------------------------------------------------------------------- */

static const policy_fn policies[] = {
	[CONF_BALANCE_LEAST] = policy_least,   [CONF_BALANCE_ROUND_ROBIN] = policy_rr,
	[CONF_BALANCE_RANDOM] = policy_random, [CONF_BALANCE_HASH] = policy_hash,
	[CONF_BALANCE_FIRST] = policy_first,
};

/* Makes m->cumulated for policy random. Returns 0 or -ENOMEM. */
static int cumulate(struct members *m)
{
	uint64_t sum = 0;

	m->cumulated = calloc(m->n, sizeof(*m->cumulated));
	if (m->cumulated == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < m->n; i++)
		m->cumulated[i] = sum += m->entry[i].weight;
	LB_ASSERT(sum == m->total_weight);
	return 0;
}

struct members *members_new(struct pool *pool, enum conf_balance balance, uint32_t load_percent,
			    const struct members_entry *entries, size_t n)
{
	struct members *m = calloc(1, sizeof(*m) + n * sizeof(m->entry[0]));

	if (m == NULL)
		return NULL;
	ref_init(&m->refs);
	m->pool = pool_ref(pool);
	m->balance = balance;
	m->load_percent = load_percent;
	LB_ASSERT((size_t)balance < ARRAY_SIZE(policies));
	for (size_t i = 0; i < n; i++) {
		LB_ASSERT(entries[i].weight <= POOL_WEIGHT_MAX);
		m->entry[m->n++] = (struct members_entry){
			.backend = backend_ref(entries[i].backend),
			.weight = entries[i].weight,
		};
		m->total_weight += entries[i].weight;
	}
	if (balance == CONF_BALANCE_LEAST && n >= LOAD_INDEX_MIN_MEMBERS && load_index_build(m) < 0)
		return members_unref(m);
	if (balance == CONF_BALANCE_RANDOM && cumulate(m) < 0)
		return members_unref(m);
	if (balance == CONF_BALANCE_ROUND_ROBIN && policy_rr_build(m) < 0)
		return members_unref(m);
	LB_ASSERT((m->schedule != NULL) == (m->n_schedule > 0));
	if (balance == CONF_BALANCE_HASH) {
		m->rendezvous = rendezvous_new(entries, n, RENDEZVOUS_SCAN_BEST);
		if (m->rendezvous == NULL)
			return members_unref(m);
		if (load_percent != 0 && n >= BOUNDED_LOAD_MIN_MEMBERS && bounded_load_build(m) < 0)
			return members_unref(m);
	}
	return m;
}

struct members *members_ref(struct members *m)
{
	ref_get(&m->refs);
	return m;
}

struct members *members_unref(struct members *m)
{
	if (m == NULL || !ref_put(&m->refs))
		return NULL;
	for (size_t i = 0; i < m->n; i++)
		backend_unref(m->entry[i].backend);
	pool_unref(m->pool);
	load_index_free(m->load_index);
	rendezvous_free(m->rendezvous);
	bounded_load_free(m->bounded_load);
	free(m->schedule);
	free(m->cumulated);
	free(m);
	return NULL;
}

uint32_t members_load_percent(const struct members *m)
{
	return m->load_percent;
}

/* ---- the pick -------------------------------------------------------------------------------- */

struct backend *pool_pick(const struct members *m, struct pick *k)
{
	LB_ASSERT(k->n_tried <= PICK_MAX_TRIED);
	if (m->n == 0 || k->n_tried == PICK_MAX_TRIED)
		return NULL;

	const struct members_entry *e = policies[m->balance](m, k);
	if (e == NULL)
		return NULL;
	LB_ASSERT(e >= m->entry && e < m->entry + m->n && e->weight > 0);
	LB_ASSERT(backend_active(e->backend) > 0); /* the slot that the policy has reserved */
	for (uint32_t i = 0; i < k->n_tried; i++)
		LB_DASSERT(k->tried[i] != e->backend);
	k->tried[k->n_tried++] = e->backend;
	return backend_ref(e->backend);
}

bool pool_has_candidate(const struct members *m, const struct pick *k)
{
	for (size_t i = 0; i < m->n && k->n_tried < PICK_MAX_TRIED; i++)
		if (member_is_candidate(&m->entry[i], k))
			return true;
	return false;
}

/* ---- keys ------------------------------------------------------------------------------------ */

uint64_t pool_key_of_bytes(struct slice s)
{
	return hash_bytes(s.p, s.n, SEED_KEY);
}

uint64_t pool_key_of_host(struct slice s)
{
	/*
	 * A DNS name has at most 253 bytes. Of a longer host only the first 256 bytes are hashed.
	 */
	char lower[256];
	size_t n = s.n < sizeof(lower) ? s.n : sizeof(lower);

	for (size_t i = 0; i < n; i++)
		lower[i] = (char)tolower((unsigned char)s.p[i]);
	return hash_bytes(lower, n, SEED_KEY);
}

uint64_t pool_key_of_addr(const struct addr *a)
{
	if (a->family == AF_INET)
		return hash_bytes(a->v4, sizeof(a->v4), SEED_KEY);
	return hash_bytes(a->v6, 8, SEED_KEY);
}
