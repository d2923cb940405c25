/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/membership.h"

#include <errno.h>
#include <stdlib.h>

#include "balance/pool.h"
#include "daemon/delta.h"
#include "daemon/registry.h"
#include "proxy/order.h"
#include "proxy/plan.h"

/* ---- all pools of a file --------------------------------------------------------------------- */

void membership_begin(struct membership *m, struct delta *d)
{
	LB_ASSERT(m->pending == NULL && !d->is_committed);
	m->pending = d;
}

void membership_abandon(struct membership *m)
{
	m->pending = NULL;
}

static int fill_apply(struct order *o, void *ctx)
{
	const struct delta *d = ctx;

	o->plan = plan_ref(d->plan);
	o->has_new_timeouts = delta_has_new_timeouts(d);
	o->members = calloc(d->n_pools, sizeof(struct members *));
	if (o->members == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < d->n_pools; i++)
		o->members[o->n_members++] = members_ref(d->pools[i].members);
	return order_make_slots(o);
}

int membership_make_apply(struct membership *m, struct broadcast *ret)
{
	LB_ASSERT(m->pending != NULL);
	return broadcast_make(ret, m->registry->n_workers, ORDER_APPLY, fill_apply, m->pending);
}

void membership_commit(struct membership *m)
{
	LB_ASSERT(m->pending != NULL);
	delta_commit(m->registry, m->pending);
	m->pending = NULL;
}

/* ---- one pool -------------------------------------------------------------------------------- */

static void on_published(struct order *o, void *arg)
{
	(void)arg;
	order_free(o);
}

static int fill_members(struct order *o, void *ctx)
{
	const struct delta_pool *dp = ctx;

	o->members = calloc(1, sizeof(struct members *));
	if (o->members == NULL)
		return -ENOMEM;
	o->members[o->n_members++] = members_ref(dp->members);
	return 0;
}

/* The pool's backends that are in use, as a list for delta_of_pool(). NULL when memory is short. */
static struct conf_backend *list_current(const struct registry_pool *p, size_t *ret_n)
{
	size_t n = 0;

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
	*ret_n = n;
	return list;
}

/* The pool as it is, with one backend's weight changed. Returns 0 or -ENOMEM. */
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
	for (size_t i = 0; i < d->pools[0].n_backends; i++) {
		struct delta_backend *db = &d->pools[0].backends[i];
		if (db->old != rb)
			continue;
		db->weight = weight;
		db->is_weight_set = true;
	}
	r = delta_freeze(&d->pools[0]);
	if (r < 0) {
		delta_free(m->registry, d);
		return r;
	}
	*ret = d;
	return 0;
}

/* The backend of these names in the pending delta; NULL where there is none. */
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
	struct broadcast b = BROADCAST_INIT;
	struct delta_pool *dp = NULL;
	struct delta_backend *db = find_pending(m, p, rb, &dp);
	struct members *next = db != NULL ? delta_members_with(dp, db, weight) : NULL;
	struct delta *d = NULL;
	int r = db != NULL && next == NULL ? -ENOMEM : prepare_weight(m, p, rb, weight, &d);

	if (r == 0)
		r = broadcast_make(&b, m->registry->n_workers, ORDER_MEMBERS, fill_members,
				   &d->pools[0]);
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
	struct delta_pool *dp;
	struct delta_backend *db = find_pending(m, p, rb, &dp);

	backend_set_admin(rb->backend, a);
	if (db != NULL)
		backend_set_admin(db->backend, a);
}
