/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backend at run time: its references, its slots, its states and its counters.
 *
 * Terms. A slot is the right to one connection to the backend; `active` is how many slots are
 * taken. The health state is what checks have found (checking, up, down). The admin state is what
 * the administrator has set (ready, drain, maint). A tally is what one worker has counted for the
 * backend.
 *
 * Life. backend_new() makes a backend with one reference. Main, the members and the sessions hold
 * references (backend_ref()); backend_unref() frees the backend with the last reference. A session
 * gives its slot back before its reference, so no slot is taken when the backend is freed.
 *
 * A connection. A policy asks backend_is_usable(), and takes a slot with backend_reserve() or
 * backend_reserve_within(). A worker counts the connection in its own tally. backend_release()
 * gives the slot back. backend_total() and the functions beside it sum the tallies of all workers.
 *
 * Threads. All workers take slots, by compare-and-swap. Main alone writes the states and the
 * limits, and workers read these. Every access is relaxed; the comments at the functions say why
 * that is enough.
 *
 * Relies on util/ref.h for the references and on util/metric.h for the tallies.
 *
 * Thread: any, where the header does not say main. Hot: slots and states.
 */
#include "balance/backend.h"

#include <stdlib.h>
#include <string.h>

#include "balance/pool.h"

struct backend *backend_new(const char *pool_name, const struct conf_backend *c, uint32_t n_workers,
			    uint64_t now_ns)
{
	char text[ADDR_TEXT_MAX];
	struct backend *b = aligned_alloc(_Alignof(struct backend), sizeof(*b));

	LB_ASSERT(n_workers > 0);
	if (b == NULL)
		return NULL;
	memset(b, 0, sizeof(*b));
	ref_init(&b->refs);
	atomic_init(&b->weight, c->weight);
	atomic_init(&b->max_conns, c->max_conns);
	b->addr = c->addr;
	b->n_workers = n_workers;
	b->since_ns = now_ns;
	b->name = strdup(c->name);
	b->pool_name = strdup(pool_name);
	b->addr_text = strdup(addr_format(&c->addr, text));
	b->tally = aligned_alloc(_Alignof(struct backend_tally), n_workers * sizeof(*b->tally));
	if (b->name == NULL || b->pool_name == NULL || b->addr_text == NULL || b->tally == NULL)
		return backend_unref(b);
	memset(b->tally, 0, n_workers * sizeof(*b->tally));
	return b;
}

struct backend *backend_ref(struct backend *b)
{
	ref_get(&b->refs);
	return b;
}

struct backend *backend_unref(struct backend *b)
{
	if (b == NULL || !ref_put(&b->refs))
		return NULL;
	LB_ASSERT(backend_active(b) == 0); /* sessions give a slot back before its reference */
	free(b->name);
	free(b->pool_name);
	free(b->addr_text);
	free(b->tally);
	free(b);
	return NULL;
}

/* ---- slots ---------------------------------------------------------------------------------- */

bool backend_reserve(struct backend *b)
{
	return backend_reserve_within(b, UINT32_MAX);
}

bool backend_reserve_within(struct backend *b, uint32_t bound)
{
	/* Relaxed throughout, because `active` publishes no other memory. */
	uint32_t n = atomic_load_explicit(&b->active, memory_order_relaxed);

	do {
		uint32_t max = atomic_load_explicit(&b->max_conns, memory_order_relaxed);
		if (n >= bound || (max != 0 && n >= max))
			return false;
	} while (!atomic_compare_exchange_weak_explicit(&b->active, &n, n + 1, memory_order_relaxed,
							memory_order_relaxed));
	return true;
}

void backend_release(struct backend *b)
{
	uint32_t before = atomic_fetch_sub_explicit(&b->active, 1, memory_order_relaxed);

	LB_ASSERT(before > 0); /* callers give back only slots that they have taken */
}

/* ---- states ---------------------------------------------------------------------------------- */

/*
 * All accesses in this section are relaxed. Main alone writes the states and the limits, and no
 * reader needs two of them to belong together. Everything else that a pick reads is constant, or
 * came to the worker with the members, by a mailbox, which orders memory. A worker may act on a
 * value that is a moment old: the pick is then the same as if it had been made a moment earlier.
 */

bool backend_is_usable(const struct backend *b)
{
	return atomic_load_explicit(&b->health, memory_order_relaxed) != BACKEND_DOWN &&
	       atomic_load_explicit(&b->admin, memory_order_relaxed) == BACKEND_READY;
}

const char *backend_state_name(const struct backend *b)
{
	enum backend_admin admin = backend_admin(b);

	if (admin == BACKEND_MAINT)
		return "maint";
	if (admin == BACKEND_DRAIN || atomic_load_explicit(&b->is_removed, memory_order_relaxed))
		return "draining";
	switch ((enum backend_health)atomic_load_explicit(&b->health, memory_order_relaxed)) {
	case BACKEND_CHECKING: return "checking";
	case BACKEND_UP: return "up";
	case BACKEND_DOWN: return "down";
	}
	return "";
}

void backend_set_health(struct backend *b, enum backend_health h, uint64_t now_ns)
{
	LB_ASSERT(h <= BACKEND_DOWN);
	if (atomic_exchange_explicit(&b->health, (uint8_t)h, memory_order_relaxed) != h)
		b->since_ns = now_ns;
}

void backend_set_admin(struct backend *b, enum backend_admin a)
{
	LB_ASSERT(a <= BACKEND_MAINT);
	atomic_store_explicit(&b->admin, (uint8_t)a, memory_order_relaxed);
}

void backend_set_weight(struct backend *b, uint32_t weight)
{
	LB_ASSERT(weight <= POOL_WEIGHT_MAX);
	atomic_store_explicit(&b->weight, weight, memory_order_relaxed);
}

void backend_set_max_conns(struct backend *b, uint32_t max_conns)
{
	atomic_store_explicit(&b->max_conns, max_conns, memory_order_relaxed);
}

void backend_set_removed(struct backend *b, bool is_removed)
{
	atomic_store_explicit(&b->is_removed, is_removed, memory_order_relaxed);
}

uint32_t backend_weight(const struct backend *b)
{
	return atomic_load_explicit(&b->weight, memory_order_relaxed);
}

uint32_t backend_max_conns(const struct backend *b)
{
	return atomic_load_explicit(&b->max_conns, memory_order_relaxed);
}

uint32_t backend_active(const struct backend *b)
{
	return atomic_load_explicit(&b->active, memory_order_relaxed);
}

uint64_t backend_turn(const struct backend *b)
{
	return atomic_load_explicit(&b->turn, memory_order_relaxed);
}

void backend_set_turn(struct backend *b, uint64_t turn)
{
	/*
	 * When two workers pick `b` at once, the turn that either of them has stored may be the one
	 * that stays. That is no fault, because both turns are later than the old one.
	 */
	atomic_store_explicit(&b->turn, turn, memory_order_relaxed);
}

enum backend_admin backend_admin(const struct backend *b)
{
	return atomic_load_explicit(&b->admin, memory_order_relaxed);
}

/* ---- sums ------------------------------------------------------------------------------------ */

#define SUM(name) \
	uint64_t backend_##name(const struct backend *b) \
	{ \
		uint64_t n = 0; \
		for (uint32_t w = 0; w < b->n_workers; w++) \
			n += counter_read(&b->tally[w].name); \
		return n; \
	}
SUM(bytes_in)
SUM(bytes_out)
SUM(total)
SUM(failed)
#undef SUM

struct backend_sums backend_sums(const struct backend *b)
{
	return (struct backend_sums){
		.total = backend_total(b),
		.failed = backend_failed(b),
		.bytes_in = backend_bytes_in(b),
		.bytes_out = backend_bytes_out(b),
		.check_failures = b->check_failures,
	};
}

void backend_sums_add(struct backend_sums *to, const struct backend_sums *more)
{
	to->total += more->total;
	to->failed += more->failed;
	to->bytes_in += more->bytes_in;
	to->bytes_out += more->bytes_out;
	to->check_failures += more->check_failures;
}

bool backend_sums_are_zero(const struct backend_sums *s)
{
	return (s->total | s->failed | s->bytes_in | s->bytes_out | s->check_failures) == 0;
}
