/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What changes in the registry: prepared, then committed or freed.
 *
 * Terms. An entry is a record of the registry: registry_listener, registry_pool, registry_backend.
 * For a pool or a backend that the registry has, `old` is the registry's entry. For a new one,
 * `fresh` is an entry that the preparation allocates and the commit moves into the registry.
 * Exactly one of the two is set before the commit. A listener always gets a fresh entry. The
 * members of a pool are its backends with their weights, frozen, as workers pick from them.
 *
 *   delta_prepare()       of a configuration: prepare_pools(), then delta_binds_prepare()
 *   delta_of_pool()       of a list of backends for one pool; delta_freeze() is due next
 *   fill_backend()        one backend: the entry with its name and address, or a new entry
 *   delta_freeze()        the members of a pool
 *   delta_members_with()  the members that the pool would have with one other weight
 *   delta_commit()        commit_listeners(), commit_pool(), remove_pool(), commit_snapshot()
 *   delta_free()          also after the commit: frees what is left in the delta
 *
 * The commit treats the list of pools, and each pool's list of backends, in this way: all entries
 * go to a list `removed`; the entries of the delta, old and new, are put back in the order of the
 * delta; the entries that are left in `removed` are marked as removed and put at the end. So a list
 * has the order of the configuration, with the removed entries at its end. registry_tidy() drops
 * a removed entry once nothing uses it. Listeners that are removed go to the list
 * registry.leaving.
 *
 * The commit allocates nothing: every entry, the members and the snapshot exist before. All
 * changes are on main; the workers follow by the messages of membership.c, which exist before the
 * commit, too.
 *
 * Relies on: name_index.c (finding by name among thousands), registry.c (entries, slots),
 * sources.c.
 *
 * Thread: main.
 */
#include "daemon/delta.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "daemon/delta_binds.h"
#include "daemon/name_index.h"
#include "daemon/registry.h"
#include "daemon/sources.h"
#include "proxy/listener.h"
#include "proxy/snapshot.h"

/* ---- pools ----------------------------------------------------------------------------------- */

/* The weight that the backend gets. A weight that an operator has set stays until a list gives the
 * backend another weight than the list before it. */
static uint32_t weight_of(const struct registry_backend *old, const struct conf_backend *c)
{
	if (old != NULL && old->is_weight_set && old->file_weight == c->weight)
		return backend_weight(old->backend);
	return c->weight;
}

struct members *delta_members_with(const struct delta_pool *dp, const struct delta_backend *changed,
				   uint32_t weight)
{
	LB_ASSERT(changed == NULL ||
		  (changed >= dp->backends && (size_t)(changed - dp->backends) < dp->n_backends));
	struct members_entry *entries = calloc(dp->n_backends + 1, sizeof(*entries));

	if (entries == NULL)
		return NULL;
	for (size_t i = 0; i < dp->n_backends; i++) {
		const struct delta_backend *db = &dp->backends[i];
		entries[i] = (struct members_entry){
			.backend = db->backend,
			.weight = db == changed ? weight : db->weight,
		};
	}
	struct members *m =
		members_new(dp->pool, dp->balance, dp->load_percent, entries, dp->n_backends);
	free(entries);
	return m;
}

int delta_freeze(struct delta_pool *dp)
{
	LB_ASSERT(dp->members == NULL && dp->pool != NULL);
	dp->members = delta_members_with(dp, NULL, 0);
	return dp->members == NULL ? -ENOMEM : 0;
}

/* Adds a backend of the list to the pool. Returns 0, or -ENOMEM; delta_free() frees what was made
 * before the failure. */
static int fill_backend(struct registry *reg, struct delta_pool *dp, struct registry_backend *old,
			const struct conf_backend *c)
{
	struct delta_backend *db = &dp->backends[dp->n_backends++];

	*db = (struct delta_backend){
		.old = old,
		.weight = weight_of(old, c),
		.file_weight = c->weight,
		.max_conns = c->max_conns,
	};
	if (old != NULL) {
		db->backend = backend_ref(old->backend);
		return 0;
	}
	db->backend = backend_new(pool_name(dp->pool), c, reg->n_workers, loop_now_ns(reg->loop));
	db->fresh = registry_backend_new(c->name);
	return db->backend == NULL || db->fresh == NULL ? -ENOMEM : 0;
}

static int fill_backends(struct registry *reg, struct delta_pool *dp,
			 const struct conf_backend *list, size_t n)
{
	_cleanup_(name_index_deinit) struct name_index by_name = NAME_INDEX_INIT;

	dp->backends = calloc(n + 1, sizeof(*dp->backends));
	if (dp->backends == NULL || name_index_init(&by_name, dp->old) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (fill_backend(reg, dp, name_index_find(&by_name, &list[i]), &list[i]) < 0)
			return -ENOMEM;
	LB_ASSERT(dp->n_backends == n);
	return 0;
}

static int prepare_pool(struct registry *reg, const struct directory *all, struct delta *d,
			const struct conf_pool *c)
{
	struct delta_pool *dp = &d->pools[d->n_pools++];

	*dp = (struct delta_pool){
		.old = directory_pool(all, c->name),
		.conf = c,
		.balance = c->balance,
		.load_percent = c->hash.load_percent,
	};
	dp->pool = dp->old != NULL ? pool_ref(dp->old->pool) : registry_new_pool(reg, c);
	dp->fresh = dp->old != NULL ? NULL : calloc(1, sizeof(*dp->fresh));
	if (dp->pool == NULL || (dp->old == NULL && dp->fresh == NULL))
		return -ENOMEM;
	int r = fill_backends(reg, dp, c->backends, c->n_backends);
	return r == 0 ? delta_freeze(dp) : r;
}

static int prepare_pools(struct registry *reg, const struct directory *all, struct delta *d)
{
	const struct conf *conf = d->conf;

	d->pools = calloc(conf->n_pools, sizeof(*d->pools));
	struct pool **pools = calloc(conf->n_pools, sizeof(struct pool *));
	int r = d->pools == NULL || pools == NULL ? -ENOMEM : 0;

	for (size_t i = 0; i < conf->n_pools && r == 0; i++) {
		r = prepare_pool(reg, all, d, &conf->pools[i]);
		pools[i] = d->pools[i].pool;
	}
	if (r == 0) {
		LB_ASSERT(d->n_pools == conf->n_pools);
		d->snapshot = snapshot_new(d->conf, pools, reg->names);
		if (d->snapshot == NULL)
			r = -ENOMEM;
	}
	free(pools);
	return r;
}

/* ---- birth and end --------------------------------------------------------------------------- */

int delta_prepare(struct registry *reg, struct conf *conf, struct err *e, struct delta **ret)
{
	loop_assert_owner(reg->loop);
	struct delta *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return err_add(e, -ENOMEM, "out of memory");
	d->conf = conf_ref(conf);
	_cleanup_(directory_deinit) struct directory all = DIRECTORY_INIT;
	int r = directory_init(&all, reg);
	if (r == 0)
		r = prepare_pools(reg, &all, d);
	if (r < 0) {
		(void)err_add(e, r, "out of memory");
	} else {
		/* Each step is tried after a failure of another, so that `e` has every reason. */
		int tls = tls_store_fill(&reg->tls, d->snapshot, loop_wall_ns(reg->loop), e);
		int sources = sources_try(reg->loop, conf, e);
		r = delta_binds_prepare(reg, &all, d, e);
		r = r < 0 ? r : sources < 0 ? sources : tls == -EINVAL ? -EKEYREJECTED : tls;
	}
	if (r < 0) {
		delta_free(reg, d);
		return r;
	}
	*ret = d;
	return 0;
}

int delta_of_pool(struct registry *reg, struct registry_pool *p, const struct conf_backend *list,
		  size_t n, struct delta **ret)
{
	struct delta *d = calloc(1, sizeof(*d));

	loop_assert_owner(reg->loop);
	LB_ASSERT(!p->is_removed && p->members != NULL);
	if (d == NULL)
		return -ENOMEM;
	d->pools = calloc(1, sizeof(*d->pools));
	if (d->pools == NULL) {
		free(d);
		return -ENOMEM;
	}
	d->n_pools = 1;
	d->pools[0] = (struct delta_pool){
		.pool = pool_ref(p->pool),
		.old = p,
		.balance = p->balance,
		.load_percent = members_load_percent(p->members),
	};
	if (fill_backends(reg, &d->pools[0], list, n) < 0) {
		delta_free(reg, d);
		return -ENOMEM;
	}
	*ret = d;
	return 0;
}

static void pool_deinit(struct registry *reg, struct delta_pool *dp, bool is_committed)
{
	LB_ASSERT(!is_committed || dp->fresh == NULL);
	for (size_t b = 0; b < dp->n_backends; b++) {
		LB_ASSERT(!is_committed || dp->backends[b].fresh == NULL);
		registry_backend_free(dp->backends[b].fresh);
		backend_unref(dp->backends[b].backend);
	}
	free(dp->backends);
	free(dp->fresh);
	members_unref(dp->members);
	if (dp->pool != NULL && dp->old == NULL && !is_committed)
		registry_give_slot(reg, dp->pool);
	pool_unref(dp->pool);
}

struct delta *delta_free(struct registry *reg, struct delta *d)
{
	if (d == NULL)
		return NULL;
	delta_binds_free(reg, d);
	for (size_t i = 0; i < d->n_pools; i++)
		pool_deinit(reg, &d->pools[i], d->is_committed);
	snapshot_unref(d->snapshot);
	conf_unref(d->conf);
	free(d->pools);
	free(d);
	return NULL;
}

/* ---- the commit ------------------------------------------------------------------------------ */

bool delta_has_new_timeouts(const struct delta *d)
{
	LB_ASSERT(!d->is_committed); /* the commit overwrites the pools' old time-outs */
	for (size_t i = 0; i < d->n_pools; i++) {
		const struct pool *p = d->pools[i].pool;
		const struct conf_pool *c = d->pools[i].conf;
		if (c != NULL &&
		    (pool_idle_ms(p) != c->idle_ms || pool_half_closed_ms(p) != c->half_closed_ms))
			return true;
	}
	return false;
}

/* A listener that the delta keeps gets the delta's fresh entry, and its old entry is freed. The
 * entries of all other listeners go to reg->leaving. */
static void commit_listeners(struct registry *reg, struct delta *d)
{
	list_for_each(it, &reg->listeners) list_entry(it, struct registry_listener, link)
		->listener->snapshot_index = LISTENER_REMOVED;
	for (size_t i = 0; i < d->n_listeners; i++)
		d->listeners[i].listener->snapshot_index = (uint32_t)d->listeners[i].snapshot_index;
	list_for_each(it, &reg->listeners)
	{
		struct registry_listener *rl = list_entry(it, struct registry_listener, link);
		if (rl->listener->snapshot_index != LISTENER_REMOVED) {
			registry_listener_free(rl);
		} else {
			list_del(&rl->link);
			list_add_tail(&reg->leaving, &rl->link);
		}
	}
	for (size_t i = 0; i < d->n_listeners; i++) {
		struct delta_listener *dl = &d->listeners[i];
		struct registry_listener *rl = take_ptr(dl->fresh);

		LB_ASSERT(rl != NULL && dl->name != NULL);
		LB_ASSERT(dl->listener->snapshot_index == dl->snapshot_index);
		rl->listener = listener_ref(dl->listener);
		rl->name = take_ptr(dl->name);
		/* Release: a worker that reads this pointer also sees the text of the name. */
		atomic_store_explicit(&rl->listener->name, rl->name, memory_order_release);
		list_add_tail(&reg->listeners, &rl->link);
	}
}

static void commit_backend(struct registry_pool *p, struct delta_backend *db)
{
	struct registry_backend *rb = db->old;

	LB_ASSERT((db->old == NULL) == (db->fresh != NULL) && db->backend != NULL);
	LB_ASSERT(rb == NULL || rb->backend == db->backend);
	if (rb == NULL) {
		rb = take_ptr(db->fresh);
		LB_ASSERT(rb != NULL && rb->backend == NULL);
		rb->backend = backend_ref(db->backend);
	}
	rb->is_weight_set =
		db->is_weight_set || (rb->is_weight_set && db->file_weight == rb->file_weight);
	rb->file_weight = db->file_weight;
	rb->is_removed = false;
	backend_set_weight(rb->backend, db->weight);
	backend_set_max_conns(rb->backend, db->max_conns);
	backend_set_removed(rb->backend, false);
	list_del(&rb->link);
	list_add_tail(&p->backends, &rb->link); /* so the list gets the order of the delta */
}

static void remove_backends(const struct list *backends)
{
	list_for_each(it, backends)
	{
		struct registry_backend *rb = list_entry(it, struct registry_backend, link);
		rb->is_removed = true;
		backend_set_removed(rb->backend, true);
	}
}

/* No new snapshot names the pool. A session that an older snapshot has routed to the pool can still
 * pick among the members that the pool keeps (pool_keep_members()). */
static void remove_pool(struct registry_pool *p)
{
	if (p->is_removed)
		return;
	LB_ASSERT(p->members != NULL);
	p->is_removed = true;
	pool_keep_members(p->pool, p->members);
	remove_backends(&p->backends);
}

static struct registry_pool *begin_pool(struct delta_pool *dp)
{
	struct registry_pool *p = take_ptr(dp->fresh);

	LB_ASSERT(p != NULL && p->pool == NULL);
	p->pool = pool_ref(dp->pool);
	list_init(&p->backends);
	list_init(&p->link);
	past_pool_init(&p->past);
	return p;
}

/* Makes the pool's settings current, and moves the pool to its place in the order of the
 * configuration.
 */
static void configure_pool(struct registry *reg, const struct delta *d, struct delta_pool *dp,
			   struct registry_pool *p)
{
	LB_ASSERT(dp->conf == &d->conf->pools[dp - d->pools]);
	pool_configure(p->pool, dp->conf);
	p->check = dp->conf->health.type;
	p->conf_index = (size_t)(dp - d->pools);
	p->is_removed = false;
	list_del(&p->link);
	list_add_tail(&reg->pools, &p->link);
}

/* The members of a pool that is in use are its backends in use, in their order. */
static void assert_members(const struct registry_pool *p)
{
	const struct members *m = p->members;
	size_t i = 0;

	list_for_each(it, &p->backends)
	{
		const struct registry_backend *rb = list_entry(it, struct registry_backend, link);
		if (rb->is_removed)
			continue;
		LB_ASSERT(i < m->n && m->entry[i].backend == rb->backend &&
			  m->entry[i].weight == backend_weight(rb->backend));
		i++;
	}
	LB_ASSERT(i == m->n && m->pool == p->pool);
}

static void commit_pool(struct registry *reg, const struct delta *d, struct delta_pool *dp)
{
	struct registry_pool *p = dp->old != NULL ? dp->old : begin_pool(dp);
	struct list removed = LIST_INIT(removed);

	LB_ASSERT(dp->members != NULL && dp->members->n == dp->n_backends);
	LB_ASSERT(dp->old == NULL || dp->old->pool == dp->pool);
	p->balance = dp->balance;
	members_unref(p->members);
	p->members = members_ref(dp->members);

	/* All backends go to `removed`, and those of the delta back to the pool's list. The
	 * backends that stay in `removed` are marked as removed. */
	list_splice_tail(&removed, &p->backends);
	for (size_t b = 0; b < dp->n_backends; b++)
		commit_backend(p, &dp->backends[b]);
	remove_backends(&removed);
	list_splice_tail(&p->backends, &removed);
	assert_members(p);
	if (dp->conf != NULL)
		configure_pool(reg, d, dp, p);
}

/* Makes the delta's snapshot the newest. The replaced snapshot is kept in reg->old until no session
 * uses it; then registry_tidy() frees it. */
static void commit_snapshot(struct registry *reg, const struct delta *d)
{
	if (reg->snapshot != NULL) {
		reg->snapshot->next = reg->old;
		reg->old = reg->snapshot;
	}
	reg->snapshot = snapshot_ref(d->snapshot);
	reg->has_old_names = true;
}

void delta_commit(struct registry *reg, struct delta *d)
{
	struct list removed = LIST_INIT(removed);

	loop_assert_owner(reg->loop);
	LB_ASSERT(d->n_pools > 0 || d->conf != NULL);
	LB_ASSERT(!d->is_committed && (d->conf == NULL) == (d->snapshot == NULL));
	d->is_committed = true;
	if (d->conf == NULL) {
		LB_ASSERT(d->n_pools == 1 && d->n_listeners == 0 && d->pools[0].old != NULL);
		commit_pool(reg, d, &d->pools[0]);
		return;
	}
	commit_listeners(reg, d);
	list_splice_tail(&removed, &reg->pools);
	for (size_t i = 0; i < d->n_pools; i++)
		commit_pool(reg, d, &d->pools[i]);
	list_for_each(it, &removed) remove_pool(list_entry(it, struct registry_pool, link));
	list_splice_tail(&reg->pools, &removed);
	commit_snapshot(reg, d);
}

/* ---- finding --------------------------------------------------------------------------------- */

struct delta_backend *delta_find_backend(struct delta *d, const char *pool, const char *backend,
					 struct delta_pool **ret)
{
	for (size_t i = 0; i < d->n_pools; i++) {
		struct delta_pool *dp = &d->pools[i];
		if (strcmp(pool_name(dp->pool), pool) != 0)
			continue;
		*ret = dp;
		for (size_t b = 0; b < dp->n_backends; b++)
			if (strcmp(dp->backends[b].backend->name, backend) == 0)
				return &dp->backends[b];
		return NULL;
	}
	return NULL;
}
