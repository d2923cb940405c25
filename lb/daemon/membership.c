/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only publisher of a pool's members to the workers.
 *
 * Terms. The members of a pool are its backends with their weights, frozen. The pending delta is
 * the delta that a reload under way will commit. The message MEMBERS gives a worker other members
 * for one pool; the message APPLY gives a worker a whole configuration (proxy/message_conf.h).
 *
 *   membership_begin()       a reload has prepared its delta, which is pending from then on
 *   membership_make_apply()  makes an APPLY for each worker; changes nothing yet
 *   membership_commit()      commits the delta on main; the reload posts the messages next
 *   membership_abandon()     the reload has ended without a commit
 *   membership_set_weight()  a command: prepare_weight(), messages (MEMBERS), commit, post
 *   membership_set_admin()   a command: ready, draining or maintenance
 *
 * A command may come between membership_begin() and membership_commit(). Then find_pending() finds
 * the backend with the same name in the pending delta, and the command changes this backend, too.
 * Otherwise the commit would undo the command.
 *
 * A change of a weight is a delta of its own: the pool's present backends as a list
 * (list_current()), with one weight changed. A backend's state is an atomic that workers read, so a
 * change of a state needs neither a delta nor a message.
 *
 * Relies on: delta.c (what changes, the commit), broadcast.c (a message for each worker, or for
 * none).
 *
 * Thread: main.
 */
#include "daemon/membership.h"

#include <errno.h>
#include <stdlib.h>

#include "balance/pool.h"
#include "daemon/delta.h"
#include "daemon/registry.h"
#include "proxy/message_conf.h"
#include "proxy/snapshot.h"

/* ---- all pools of a file --------------------------------------------------------------------- */

void membership_begin(struct membership *m, struct delta *d)
{
	loop_assert_owner(m->registry->loop);
	LB_ASSERT(m->pending == NULL && !d->is_committed && d->conf != NULL);
	m->pending = d;
}

void membership_abandon(struct membership *m)
{
	LB_ASSERT(m->pending == NULL || !m->pending->is_committed);
	m->pending = NULL;
}

static uint32_t n_slots_of(const struct delta *d)
{
	uint32_t n = 0;

	for (size_t i = 0; i < d->n_pools; i++)
		if (d->pools[i].members->pool->slot >= n)
			n = d->pools[i].members->pool->slot + 1;
	return n;
}

static struct message *make_apply(uint32_t worker, void *ctx)
{
	const struct delta *d = ctx;
	struct message_apply *m = message_apply_new(worker, d->snapshot, n_slots_of(d));

	if (m == NULL)
		return NULL;
	m->has_new_timeouts = delta_has_new_timeouts(d);
	for (size_t i = 0; i < d->n_pools; i++)
		message_apply_set(m, d->pools[i].members);
	return &m->base;
}

int membership_make_apply(struct membership *m, struct broadcast *ret)
{
	LB_ASSERT(m->pending != NULL && m->pending->snapshot != NULL);
	return broadcast_make(ret, m->registry->n_workers, make_apply, m->pending);
}

void membership_commit(struct membership *m)
{
	LB_ASSERT(m->pending != NULL);
	delta_commit(m->registry, m->pending);
	m->pending = NULL;
}

/* ---- one pool -------------------------------------------------------------------------------- */

static void on_published(struct message *m, void *arg)
{
	(void)arg;
	LB_ASSERT(m->result == 0); /* a worker cannot refuse new members */
	message_free(m);
}

static struct message *make_members(uint32_t worker, void *ctx)
{
	const struct delta_pool *dp = ctx;
	struct message_members *m = message_members_new(worker, dp->members);

	return m == NULL ? NULL : &m->base;
}

/* The pool's backends that are in use, as a list for delta_of_pool(). NULL when memory is short. */
static struct conf_backend *list_current(const struct registry_pool *p, size_t *ret_n)
{
	size_t n = 0;

	LB_ASSERT(!p->is_removed);
	list_for_each(it, &p->backends) n++;
	struct conf_backend *list = calloc(n + 1, sizeof(*list));
	if (list == NULL)
		return NULL;
	n = 0;
	list_for_each(it, &p->backends)
	{
		const struct registry_backend *rb = list_entry(it, struct registry_backend, link);
		if (!rb->is_removed)
			list[n++] = (struct conf_backend){
				.name = rb->backend->name,
				.addr = rb->backend->addr,
				.weight = rb->file_weight,
				.max_conns = backend_max_conns(rb->backend),
			};
	}
	LB_ASSERT(n == p->members->n);
	*ret_n = n;
	return list;
}

/* Prepares a delta that changes one backend's weight and nothing else. Returns 0 or -ENOMEM. */
static int prepare_weight(struct membership *m, struct registry_pool *p,
			  const struct registry_backend *rb, uint32_t weight, struct delta **ret)
{
	struct delta *d = NULL;
	size_t n;
	struct conf_backend *list = list_current(p, &n);
	int r = list == NULL ? -ENOMEM : delta_of_pool(m->registry, p, list, n, &d);

	free(list);
	if (r < 0)
		return r;
	size_t n_changed = 0;
	for (size_t i = 0; i < d->pools[0].n_backends; i++) {
		struct delta_backend *db = &d->pools[0].backends[i];
		if (db->old != rb)
			continue;
		db->weight = weight;
		db->is_weight_set = true;
		n_changed++;
	}
	LB_ASSERT(n_changed == 1);
	r = delta_freeze(&d->pools[0]);
	if (r < 0) {
		delta_free(m->registry, d);
		return r;
	}
	*ret = d;
	return 0;
}

/* The backend of this pool's and this backend's name in the pending delta; NULL when no delta is
 * pending or it has no such backend. */
static struct delta_backend *find_pending(const struct membership *m, const struct registry_pool *p,
					  const struct registry_backend *rb,
					  struct delta_pool **ret)
{
	if (m->pending == NULL)
		return NULL;
	return delta_find_backend(m->pending, pool_name(p->pool), rb->backend->name, ret);
}

int membership_set_weight(struct membership *m, struct registry_pool *p,
			  struct registry_backend *rb, uint32_t weight)
{
	loop_assert_owner(m->registry->loop);
	LB_ASSERT(!p->is_removed && !rb->is_removed);
	struct broadcast b = BROADCAST_INIT;
	struct delta_pool *dp = NULL;
	struct delta_backend *db = find_pending(m, p, rb, &dp);
	struct members *next = db != NULL ? delta_members_with(dp, db, weight) : NULL;
	struct delta *d = NULL;
	int r = db != NULL && next == NULL ? -ENOMEM : prepare_weight(m, p, rb, weight, &d);

	if (r == 0)
		r = broadcast_make(&b, m->registry->n_workers, make_members, &d->pools[0]);
	if (r < 0) {
		members_unref(next);
		delta_free(m->registry, d);
		return r;
	}
	delta_commit(m->registry, d);
	delta_free(m->registry, d);
	if (db != NULL) {
		db->weight = weight;
		db->is_weight_set = true;
		members_unref(dp->members);
		dp->members = next;
	}
	broadcast_post(&b, m->threads, on_published, NULL);
	return 0;
}

void membership_set_admin(struct membership *m, struct registry_pool *p,
			  struct registry_backend *rb, enum backend_admin a)
{
	loop_assert_owner(m->registry->loop);
	LB_ASSERT(!p->is_removed && !rb->is_removed);
	struct delta_pool *dp;
	struct delta_backend *db = find_pending(m, p, rb, &dp);

	backend_set_admin(rb->backend, a);
	if (db != NULL)
		backend_set_admin(db->backend, a);
}
