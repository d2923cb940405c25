/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capacity: a connection has a slot before lb accepts it.
 *
 * A slot counts towards two limits. A worker has half as many slots as it has descriptors for
 * sessions, and all workers together have as many slots as limits.connections allows. So
 * slot_reserve() counts a slot twice, in capacity.n_used of the worker and in proxy.n_conns. Both
 * numbers are atomic, because a full worker reserves slots of other workers (proxy/handoff.h). When
 * memory was short, capacity_reserve() reserves no slot until there is memory for one more session.
 *
 * Thread: the worker; slot_reserve() and slot_release() any.
 */
#include "proxy/capacity.h"

#include "ev/loop.h"
#include "net/sock.h"
#include "proxy/worker.h"
#include "util/slab.h"

#define FDS_PER_SESSION 2 /* the client's socket and the backend's */

/* When a worker's memory was short, this many small buffers must be free before the worker accepts
 * another connection. A guess, never tuned. */
#define SHORT_BUFS 64

/* Raises *n_used by 1, unless it is `max` already. By the compare-and-swap the limit is never
 * exceeded, not even for a moment. Relaxed, because no other memory depends on the number. */
static bool use_slot(_Atomic uint64_t *n_used, uint64_t max)
{
	uint64_t n = atomic_load_explicit(n_used, memory_order_relaxed);

	do {
		if (n >= max)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(n_used, &n, n + 1, memory_order_relaxed,
							memory_order_relaxed));
	return true;
}

static void free_slot(_Atomic uint64_t *n_used)
{
	uint64_t n = atomic_fetch_sub_explicit(n_used, 1, memory_order_relaxed);

	LB_ASSERT(n > 0);
}

bool slot_reserve(struct proxy *p, struct capacity *c)
{
	if (!use_slot(&c->n_used, atomic_load_explicit(&c->n_slots, memory_order_relaxed)))
		return false;
	if (use_slot(&p->n_conns, atomic_load_explicit(&p->max_conns, memory_order_relaxed)))
		return true;
	free_slot(&c->n_used);
	return false;
}

void slot_release(struct proxy *p, struct capacity *c)
{
	free_slot(&p->n_conns);
	free_slot(&c->n_used);
}

void capacity_count_listening(struct worker *w, int diff)
{
	worker_assert_owner(w);
	LB_ASSERT((diff == 1 || diff == -1) && (diff > 0 || w->n_listening > 0));
	w->n_listening += (uint32_t)diff;
	if (w->max_fds == 0)
		return;
	uint64_t left = w->max_fds > w->n_listening ? w->max_fds - w->n_listening : 0;
	/* Relaxed, because no other memory depends on the number. */
	atomic_store_explicit(&w->capacity->n_slots, left / FDS_PER_SESSION, memory_order_relaxed);
	if (diff < 0 && w->is_paused)
		loop_timer_start(w->loop, &w->retry, 0);
}

/* When memory was short, tries to reserve memory for one more session. Returns whether there is
 * enough memory. */
static bool find_memory(struct worker *w)
{
	if (w->is_short)
		w->is_short = slab_reserve(w->exchanges, 1) < 0 ||
			      slab_reserve(w->sessions, 1) < 0 ||
			      slab_reserve(w->conns.slab, N_SIDES) < 0 ||
			      buf_reserve(w->loop->bufs, BUF_HEAD, 1) < 0 ||
			      buf_reserve(w->loop->bufs, BUF_SMALL, SHORT_BUFS) < 0;
	return !w->is_short;
}

bool capacity_reserve(struct worker *w)
{
	return find_memory(w) && slot_reserve(w->proxy, w->capacity);
}

void capacity_release(struct worker *w)
{
	slot_release(w->proxy, w->capacity);
	if (w->is_paused)
		loop_timer_start(w->loop, &w->retry, 0);
}

bool capacity_is_roomy(const struct worker *w)
{
	struct proxy *p = w->proxy;
	uint64_t here = atomic_load_explicit(&w->capacity->n_used, memory_order_relaxed);
	uint64_t all = atomic_load_explicit(&p->n_conns, memory_order_relaxed);
	uint64_t max = atomic_load_explicit(&p->max_conns, memory_order_relaxed);
	/* A multishot accept brings at most the kernel's full queue in one turn; `burst` is more
	 * than that. */
	uint64_t burst = 2 * SOCK_BACKLOG;

	uint64_t slots = atomic_load_explicit(&w->capacity->n_slots, memory_order_relaxed);

	return !w->is_short && here + burst < slots && all + burst * p->n_workers < max;
}
