/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entries that outlive a configuration, and how they are dropped.
 *
 * Terms. An entry is in use when the newest configuration names it. An entry is removed when the
 * newest configuration does not name it, and the entry is kept because something still uses the
 * object or its counters. A slot is a small number that a pool has for its life. It is an index
 * into the workers' arrays of members. The past of a pool is the sums of its backends that are gone
 * (daemon/past.h).
 *
 * delta_commit() (delta.c) adds entries to the lists. registry_tidy(), which main calls once a
 * second and after each commit, frees what is not needed any more:
 *
 *   tidy_listeners()   removed listeners of which no worker has a socket
 *   tidy_snapshots()   replaced snapshots that no session uses
 *   names_sweep()      names of listeners and routes that no snapshot uses
 *   retire()           removed backends without a connection; their sums become records
 *   tidy_past()        records that are too old; their sums are added to the backend in use with
 *                      the same name (find_heir()), or to the pool
 *   pool_entry_free()  removed pools that have no backend and no record, and that no snapshot names
 *
 * A removed pool keeps its members (pool_keep_members()) while a snapshot names it, because a
 * session that was routed to the pool under that snapshot may still pick among them.
 *
 * A pool's slot is given back when the pool's entry is freed. free_slots has room for every slot
 * that was ever given out, so giving a slot back cannot fail.
 *
 * registry_deinit() frees everything once the workers have ended, and asserts that nothing is left
 * in use.
 *
 * Thread: main.
 */
#include "daemon/registry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "daemon/name_index.h"
#include "proxy/listener.h"
#include "proxy/names.h"
#include "proxy/snapshot.h"

int registry_init(struct registry *reg, struct loop *loop, uint32_t n_workers)
{
	loop_assert_owner(loop);
	LB_ASSERT(n_workers > 0 && reg->names == NULL);
	reg->loop = loop;
	reg->n_workers = n_workers;
	reg->http = (struct addr){ 0 };
	list_init(&reg->pools);
	list_init(&reg->listeners);
	list_init(&reg->leaving);
	past_init(&reg->past);
	tls_store_init(&reg->tls, n_workers);
	reg->names = names_new();
	return reg->names == NULL ? -ENOMEM : 0;
}

struct registry_backend *registry_backend_free(struct registry_backend *rb)
{
	if (rb == NULL)
		return NULL;
	list_del(&rb->link);
	LB_ASSERT(rb->backend == NULL || backend_active(rb->backend) == 0);
	backend_unref(rb->backend);
	past_record_free(rb->record);
	free(rb);
	return NULL;
}

struct registry_backend *registry_backend_new(const char *name)
{
	struct registry_backend *rb = calloc(1, sizeof(*rb));

	if (rb == NULL)
		return NULL;
	list_init(&rb->link);
	rb->record = past_record_new(name);
	if (rb->record == NULL) {
		free(rb);
		return NULL;
	}
	return rb;
}

/* ---- slots of pools ------------------------------------------------------------------------- */

/* Takes a free slot, or the next number. free_slots is grown here and not in registry_give_slot(),
 * so that giving a slot back cannot fail. Returns 0 or -ENOMEM. */
static int take_slot(struct registry *reg, uint32_t *ret)
{
	LB_ASSERT(reg->n_free <= reg->next_slot && reg->next_slot <= reg->slots_cap);
	if (reg->n_free > 0) {
		*ret = reg->free_slots[--reg->n_free];
		return 0;
	}
	if (reg->next_slot == reg->slots_cap) {
		uint32_t cap = reg->slots_cap == 0 ? 16 : 2 * reg->slots_cap;
		uint32_t *grown = reallocarray(reg->free_slots, cap, sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		reg->free_slots = grown;
		reg->slots_cap = cap;
	}
	*ret = reg->next_slot++;
	return 0;
}

/* When another pool gets the slot, a worker may still have this pool's members in the slot. The
 * worker does not take these members for the other pool's, because it also compares the pool. */
void registry_give_slot(struct registry *reg, const struct pool *p)
{
	LB_ASSERT(reg->n_free < reg->next_slot && p->slot < reg->next_slot);
	reg->free_slots[reg->n_free++] = p->slot;
}

struct pool *registry_new_pool(struct registry *reg, const struct conf_pool *c)
{
	uint32_t slot;

	if (take_slot(reg, &slot) < 0)
		return NULL;
	struct pool *p = pool_new(c, slot);
	if (p == NULL)
		reg->free_slots[reg->n_free++] = slot;
	return p;
}

/* ---- entries --------------------------------------------------------------------------------- */

static void pool_entry_free(struct registry *reg, struct registry_pool *p)
{
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what is freed was unlinked before */
	list_for_each(it, &p->backends)
		registry_backend_free(list_entry(it, struct registry_backend, link));
	LB_ASSERT(p->members == NULL || p->members->pool == p->pool);
	list_del(&p->link);
	past_pool_deinit(&reg->past, &p->past);
	registry_give_slot(reg, p->pool);
	members_unref(p->members);
	pool_unref(p->pool);
	free(p);
}

void registry_listener_free(struct registry_listener *rl)
{
	list_del(&rl->link);
	listener_unref(rl->listener);
	names_unref(rl->name);
	free(rl);
}

void registry_deinit(struct registry *reg)
{
	if (reg->names == NULL)
		return;
	list_for_each(it, &reg->pools)
		pool_entry_free(reg, list_entry(it, struct registry_pool, link));
	list_for_each(it, &reg->listeners)
		registry_listener_free(list_entry(it, struct registry_listener, link));
	list_for_each(it, &reg->leaving)
		registry_listener_free(list_entry(it, struct registry_listener, link));
	reg->snapshot = snapshot_unref(reg->snapshot);
	while (reg->old != NULL) {
		struct snapshot *p = reg->old;
		reg->old = p->next;
		LB_ASSERT(snapshot_is_unused(p)); /* no session is left */
		snapshot_unref(p);
	}
	tls_store_deinit(&reg->tls); /* behind the snapshots, which have contexts of it */
	LB_ASSERT(reg->n_free == reg->next_slot); /* every pool has given its slot back */
	LB_ASSERT(reg->past.n == 0);
	reg->names = names_free(reg->names);
	free(reg->free_slots);
	reg->free_slots = NULL;
	reg->n_free = reg->slots_cap = reg->next_slot = 0;
}

/* ---- finding --------------------------------------------------------------------------------- */

static struct registry_pool *find_any_pool(struct registry *reg, const char *name)
{
	list_for_each(it, &reg->pools)
	{
		struct registry_pool *p = list_entry(it, struct registry_pool, link);
		if (strcmp(pool_name(p->pool), name) == 0)
			return p;
	}
	return NULL;
}

const struct conf_pool *registry_pool_conf(const struct registry *reg,
					   const struct registry_pool *p)
{
	if (p->is_removed)
		return NULL;
	LB_ASSERT(p->conf_index < reg->snapshot->conf->n_pools);
	return &reg->snapshot->conf->pools[p->conf_index];
}

struct registry_pool *registry_find_pool(struct registry *reg, const char *name)
{
	struct registry_pool *p = find_any_pool(reg, name);

	return p != NULL && !p->is_removed ? p : NULL;
}

struct registry_backend *registry_find_backend(const struct registry_pool *p, const char *name)
{
	list_for_each(it, &p->backends)
	{
		struct registry_backend *rb = list_entry(it, struct registry_backend, link);
		if (!rb->is_removed && strcmp(rb->backend->name, name) == 0)
			return rb;
	}
	return NULL;
}

/* ---- what is gone ---------------------------------------------------------------------------- */

/* Whether the pool's own counters are not all 0. They count connections and responses, also those
 * that did not reach a backend. */
static bool has_counted(const struct pool *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(p->tally.ends); i++)
		if (counter_read(&p->tally.ends[i]) > 0)
			return true;
	for (size_t i = 0; i < ARRAY_SIZE(p->tally.responses); i++)
		if (counter_read(&p->tally.responses[i]) > 0)
			return true;
	return false;
}

/*
 * Frees a removed backend whose last connection has ended, and adds its sums to the pool's past. A
 * removed pool is freed with its last record. So when the pool has counters of its own, its last
 * backend leaves a record even if the backend's sums are 0. The pool's counters are then shown for
 * as long as a backend's.
 */
static void retire(struct registry *reg, struct registry_pool *p, struct registry_backend *rb)
{
	struct backend_sums sums = backend_sums(rb->backend);
	bool is_last = p->backends.next == &rb->link && p->backends.prev == &rb->link;
	struct past_record *record = take_ptr(rb->record);

	LB_ASSERT(rb->is_removed && record != NULL && backend_active(rb->backend) == 0);
	backend_sums_add(&sums, &rb->past);
	if (p->is_removed && is_last && has_counted(p->pool))
		past_keep(&reg->past, &p->past, record, &sums, loop_now_ns(reg->loop));
	else
		past_add(&reg->past, &p->past, record, &sums, loop_now_ns(reg->loop));
	registry_backend_free(rb);
}

/* The argument of find_heir(). Many records of one pool may be dropped at once, so find_heir()
 * makes an index of the backends of the pool `of`, and uses it until a record of another pool
 * comes. */
struct heirs {
	const struct past_pool *of;
	struct name_index index;
};

static struct backend_sums *find_heir(void *arg, struct past_pool *p, const char *name)
{
	struct heirs *h = arg;
	const struct registry_pool *pool = container_of(p, struct registry_pool, past);

	if (h->of != p) {
		name_index_deinit(&h->index);
		h->of = name_index_init(&h->index, pool) == 0 ? p : NULL;
	}
	struct registry_backend *rb = h->of != NULL ? name_index_find_used(&h->index, name)
						    : registry_find_backend(pool, name);
	return rb != NULL ? &rb->past : NULL;
}

static void tidy_past(struct registry *reg)
{
	struct heirs h = { .of = NULL };

	past_expire(&reg->past, loop_now_ns(reg->loop), find_heir, &h);
	name_index_deinit(&h.index);
}

static void tidy_snapshots(struct registry *reg)
{
	struct snapshot **at = &reg->old;

	while (*at != NULL) {
		struct snapshot *p = *at;
		LB_ASSERT(p != reg->snapshot);
		if (snapshot_is_unused(p)) {
			*at = p->next;
			snapshot_unref(p);
		} else {
			at = &p->next;
		}
	}
}

static void tidy_listeners(struct registry *reg)
{
	list_for_each(it, &reg->leaving)
	{
		struct registry_listener *rl = list_entry(it, struct registry_listener, link);
		LB_ASSERT(rl->listener->snapshot_index == LISTENER_REMOVED);
		if (listener_is_unused(rl->listener))
			registry_listener_free(rl);
	}
}

void registry_tidy(struct registry *reg)
{
	loop_assert_owner(reg->loop);
	tidy_listeners(reg);
	tidy_snapshots(reg);
	if (reg->has_old_names)
		names_sweep(reg->names);
	reg->has_old_names = false;
	list_for_each(it, &reg->pools)
	{
		struct registry_pool *p = list_entry(it, struct registry_pool, link);
		LB_ASSERT(p->is_removed || p->members != NULL);
		if (!p->is_removed)
			pool_keep_members(p->pool, NULL); /* the workers have newer members */
		else if (pool_has_snapshot(p->pool))
			continue;
		list_for_each(ib, &p->backends)
		{
			struct registry_backend *rb = list_entry(ib, struct registry_backend, link);
			if (rb->is_removed && backend_active(rb->backend) == 0)
				retire(reg, p, rb);
		}
	}
	tidy_past(reg);
	list_for_each(it, &reg->pools)
	{
		struct registry_pool *p = list_entry(it, struct registry_pool, link);
		if (!p->is_removed || !list_is_empty(&p->backends))
			continue;
		if (list_is_empty(&p->past.records))
			pool_entry_free(reg, p);
		else
			p->members = members_unref(p->members); /* members refer to backends */
	}
}
