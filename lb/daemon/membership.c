/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/membership.h"

#include <errno.h>
#include <stdlib.h>

#include "balance/pool.h"
#include "daemon/control.h"
#include "daemon/registry.h"
#include "daemon/reload.h"
#include "daemon/threads.h"
#include "proxy/order.h"

/* What setting one weight needs, all of it allocated before anything is set. */
struct change {
	struct delta_pool *dp;      /* borrows: the pool in the delta under way; NULL: none */
	struct delta_backend *db;   /* borrows: the backend there; NULL: none */
	struct members *now, *next; /* own: of the running pool, and of the delta's */
	struct order **orders;      /* owns: one per worker */
	uint32_t n_workers;
};

static void change_free(struct change *ch)
{
	members_unref(ch->now);
	members_unref(ch->next);
	for (uint32_t w = 0; ch->orders != NULL && w < ch->n_workers; w++)
		order_free(ch->orders[w]);
	free(ch->orders);
}

static void on_mailed(struct order *o, void *arg)
{
	(void)arg;
	order_free(o);
}

static struct order *members_order(uint32_t worker, struct members *m)
{
	struct order *o = order_new(ORDER_MEMBERS, worker);

	if (o == NULL)
		return NULL;
	o->members = calloc(1, sizeof(struct members *));
	if (o->members == NULL)
		return order_free(o);
	o->members[o->n_members++] = members_ref(m);
	o->done = on_mailed;
	return o;
}

/* The backend of these names in the delta of a reload under way; NULL where there is none. */
static struct delta_backend *find_pending(struct control *c, const struct registry_pool *p,
					  const struct registry_backend *fb,
					  struct delta_pool **ret)
{
	struct delta *d = reload_pending(c);

	return d == NULL ? NULL : delta_find_backend(d, pool_name(p->pool), fb->backend->name, ret);
}

static int change_prepare(struct change *ch, struct control *c, struct registry_pool *p,
			  struct registry_backend *fb, uint32_t weight)
{
	ch->n_workers = c->n_workers;
	ch->db = find_pending(c, p, fb, &ch->dp);
	ch->now = registry_members_with(p, fb, weight);
	ch->orders = calloc(c->n_workers, sizeof(struct order *));
	if (ch->now == NULL || ch->orders == NULL)
		return -ENOMEM;
	if (ch->db != NULL) {
		ch->next = delta_members_with(reload_pending(c), ch->dp, ch->db, weight);
		if (ch->next == NULL)
			return -ENOMEM;
	}
	for (uint32_t w = 0; w < c->n_workers; w++) {
		ch->orders[w] = members_order(w, ch->now);
		if (ch->orders[w] == NULL)
			return -ENOMEM;
	}
	return 0;
}

int membership_set_weight(struct control *c, struct registry_pool *p, struct registry_backend *fb,
			  uint32_t weight)
{
	struct change ch = { .dp = NULL };
	int r = change_prepare(&ch, c, p, fb, weight);

	if (r < 0) {
		change_free(&ch);
		return r;
	}
	backend_set_weight(fb->backend, weight);
	fb->is_weight_set = true;
	members_unref(p->members);
	p->members = take_ptr(ch.now);
	if (ch.db != NULL) {
		ch.db->weight = weight;
		ch.db->is_weight_set = true;
		members_unref(ch.dp->members);
		ch.dp->members = take_ptr(ch.next);
	}
	for (uint32_t w = 0; w < c->n_workers; w++)
		threads_order(c->threads, w, &take_ptr(ch.orders[w])->mail);
	change_free(&ch);
	return 0;
}

void membership_set_admin(struct control *c, struct registry_pool *p, struct registry_backend *fb,
			  enum backend_admin a)
{
	struct delta_pool *dp;
	struct delta_backend *db = find_pending(c, p, fb, &dp);

	backend_set_admin(fb->backend, a);
	if (db != NULL)
		backend_set_admin(db->backend, a);
}
