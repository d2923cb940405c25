/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What sessions get from their worker: exchanges, the members of a pool, ids. A worker's slots are
 * in capacity.c; worker_turn.c makes and ends a worker, and runs its turns.
 *
 * Thread: the worker; proxy_init() and proxy_deinit() main.
 */
#include "proxy/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "balance/pool.h"
#include "net/tls.h"
#include "proxy/exchange.h"
#include "proxy/listener.h"
#include "proxy/snapshot.h"
#include "util/slab.h"

/* A worker takes this many session ids at a time from proxy->last_id, so that it seldom touches a
 * counter that all workers share. */
#define ID_BATCH 1024

int proxy_init(struct proxy *p, uint32_t n_workers)
{
	size_t size = n_workers * sizeof(struct capacity);

	LB_ASSERT(n_workers > 0);
	*p = (struct proxy){
		.n_workers = n_workers,
		.leaving_ms = LISTEN_LEAVING_MS,
		.handoff_fd = { -1, -1 },
	};
	p->capacity = aligned_alloc(_Alignof(struct capacity), size);
	if (p->capacity == NULL)
		return -ENOMEM;
	memset(p->capacity, 0, size);
	return 0;
}

void proxy_deinit(struct proxy *p)
{
	LB_ASSERT(atomic_load_explicit(&p->n_handoffs, memory_order_relaxed) == 0);
	free(p->capacity);
	p->capacity = NULL;
}

/* ---- what sessions ask for ------------------------------------------------------------------- */

int worker_reserve_tls(struct worker *w, struct tls_lib *lib)
{
	if (w->tls != NULL)
		return slab_reserve(w->tls->slab, 1);
	struct tls_ends *es = calloc(1, sizeof(*es));
	if (es == NULL)
		return -ENOMEM;
	int r = tls_ends_init(es, lib, w->loop->bufs, N_SIDES * w->max_sessions);
	if (r == 0)
		r = slab_reserve(es->slab, 1);
	if (r < 0) {
		tls_ends_deinit(es);
		free(es);
		return r;
	}
	w->tls = es;
	return 0;
}

struct exchange *worker_lend_exchange(struct worker *w)
{
	if (slab_reserve(w->exchanges, 1) < 0)
		return NULL;
	return slab_get(w->exchanges);
}

void worker_return_exchange(struct worker *w, struct exchange *x)
{
	for (enum side side = CLIENT; side < N_SIDES; side++)
		if (x->head[side] != NULL)
			buf_put(w->loop->bufs, x->head[side]);
	queue_clear(&x->held, w->loop->bufs);
	snapshot_unref(x->snapshot);
	slab_put(w->exchanges, x);
}

const struct members *worker_members(const struct worker *w, const struct pool *pool)
{
	const struct members *m = pool->slot < w->n_members ? w->members[pool->slot] : NULL;

	/* When the pool has left the configuration, its slot is empty, out of range, or has another
	 * pool's members. */
	return m != NULL && m->pool == pool ? m : pool_kept_members(pool);
}

uint64_t worker_next_id(struct worker *w)
{
	if (w->next_id == w->last_id) {
		w->next_id = atomic_fetch_add_explicit(&w->proxy->last_id, ID_BATCH,
						       memory_order_relaxed);
		w->last_id = w->next_id + ID_BATCH;
	}
	return ++w->next_id;
}
