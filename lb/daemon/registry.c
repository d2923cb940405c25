/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/registry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "daemon/occupied.h"
#include "daemon/refusal.h"
#include "net/sock.h"
#include "proxy/listener.h"
#include "proxy/names.h"
#include "proxy/plan.h"

int registry_init(struct registry *f, struct loop *loop, uint32_t n_workers)
{
	f->loop = loop;
	f->n_workers = n_workers;
	list_init(&f->pools);
	list_init(&f->listeners);
	list_init(&f->leaving);
	past_init(&f->past);
	f->names = names_new();
	return f->names == NULL ? -ENOMEM : 0;
}

static void backend_entry_free(struct registry_backend *fb)
{
	list_del(&fb->link);
	backend_unref(fb->backend);
	past_record_free(fb->record);
	free(fb);
}

/* The entry of a backend that is to be; NULL when memory is short. */
static struct registry_backend *backend_entry_new(const char *name)
{
	struct registry_backend *fb = calloc(1, sizeof(*fb));

	if (fb == NULL)
		return NULL;
	list_init(&fb->link);
	fb->record = past_record_new(name);
	if (fb->record == NULL) {
		free(fb);
		return NULL;
	}
	return fb;
}

/* ---- slots of pools ------------------------------------------------------------------------- */

/* Returns 0, or -ENOMEM: the room to take it back is made here. */
static int take_slot(struct registry *f, uint32_t *ret)
{
	if (f->n_free > 0) {
		*ret = f->free_slots[--f->n_free];
		return 0;
	}
	if (f->next_slot == f->slots_cap) {
		uint32_t cap = f->slots_cap == 0 ? 16 : 2 * f->slots_cap;
		uint32_t *grown = reallocarray(f->free_slots, cap, sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		f->free_slots = grown;
		f->slots_cap = cap;
	}
	*ret = f->next_slot++;
	return 0;
}

/* Workers that look for the former pool's members there see that they are another pool's. */
static void give_slot(struct registry *f, const struct pool *p)
{
	LB_ASSERT(f->n_free < f->next_slot);
	f->free_slots[f->n_free++] = p->slot;
}

static struct pool *new_pool(struct registry *f, const struct conf_pool *c)
{
	uint32_t slot;

	if (take_slot(f, &slot) < 0)
		return NULL;
	struct pool *p = pool_new(c, slot);
	if (p == NULL)
		f->free_slots[f->n_free++] = slot;
	return p;
}

/* ---- entries --------------------------------------------------------------------------------- */

static void pool_entry_free(struct registry *f, struct registry_pool *p)
{
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what is freed was unlinked before */
	list_for_each(it, &p->backends)
		backend_entry_free(list_entry(it, struct registry_backend, link));
	list_del(&p->link);
	past_pool_deinit(&f->past, &p->past);
	give_slot(f, p->pool);
	members_unref(p->members);
	pool_unref(p->pool);
	free(p);
}

static void listener_entry_free(struct registry_listener *fl)
{
	list_del(&fl->link);
	listener_unref(fl->listener);
	names_unref(fl->name);
	free(fl);
}

void registry_deinit(struct registry *f)
{
	if (f->names == NULL)
		return;
	list_for_each(it, &f->pools) pool_entry_free(f, list_entry(it, struct registry_pool, link));
	list_for_each(it, &f->listeners)
		listener_entry_free(list_entry(it, struct registry_listener, link));
	list_for_each(it, &f->leaving)
		listener_entry_free(list_entry(it, struct registry_listener, link));
	f->plan = plan_unref(f->plan);
	while (f->old != NULL) {
		struct plan *p = f->old;
		f->old = p->next;
		LB_ASSERT(plan_is_unused(p)); /* the workers have ended */
		plan_unref(p);
	}
	f->names = names_free(f->names);
	free(f->free_slots);
	f->free_slots = NULL;
	f->n_free = f->slots_cap = f->next_slot = 0;
}

/* ---- finding --------------------------------------------------------------------------------- */

static struct registry_pool *find_any_pool(struct registry *f, const char *name)
{
	list_for_each(it, &f->pools)
	{
		struct registry_pool *p = list_entry(it, struct registry_pool, link);
		if (strcmp(pool_name(p->pool), name) == 0)
			return p;
	}
	return NULL;
}

const struct conf_pool *registry_pool_conf(const struct registry *f, const struct registry_pool *p)
{
	return p->is_removed ? NULL : &f->plan->conf->pools[p->conf_index];
}

struct registry_pool *registry_find_pool(struct registry *f, const char *name)
{
	struct registry_pool *p = find_any_pool(f, name);

	return p != NULL && !p->is_removed ? p : NULL;
}

struct registry_backend *registry_find_backend(const struct registry_pool *p, const char *name)
{
	list_for_each(it, &p->backends)
	{
		struct registry_backend *fb = list_entry(it, struct registry_backend, link);
		if (!fb->is_removed && strcmp(fb->backend->name, name) == 0)
			return fb;
	}
	return NULL;
}

/* A pool's backends in the order of their names: a file may have ten thousand. */
struct name_index {
	struct registry_backend **entry; /* owns the array, borrows the entries */
	size_t n;
};

static int compare_names(const void *pa, const void *pb)
{
	const struct registry_backend *const *a = pa, *const *b = pb;

	return strcmp((*a)->backend->name, (*b)->backend->name);
}

static int by_key(const void *name, const void *pb)
{
	const struct registry_backend *const *b = pb;

	return strcmp(name, (*b)->backend->name);
}

/* Of no pool there is an empty one. */
static int name_index_init(struct name_index *r, const struct registry_pool *p)
{
	size_t n = 0;

	*r = (struct name_index){ .entry = NULL };
	if (p == NULL)
		return 0;
	list_for_each(it, &p->backends) n++;
	r->entry = calloc(n + 1, sizeof(struct registry_backend *));
	if (r->entry == NULL)
		return -ENOMEM;
	list_for_each(it, &p->backends) r->entry[r->n++] =
		list_entry(it, struct registry_backend, link);
	qsort(r->entry, r->n, sizeof(struct registry_backend *), compare_names);
	return 0;
}

static void name_index_deinit(struct name_index *r)
{
	free(r->entry);
}

/* The first of this name, or NULL. */
static struct registry_backend **name_index_search(const struct name_index *r, const char *name)
{
	struct registry_backend **at =
		r->n == 0
			? NULL
			: bsearch(name, r->entry, r->n, sizeof(struct registry_backend *), by_key);

	while (at != NULL && at > r->entry && strcmp(at[-1]->backend->name, name) == 0)
		at--;
	return at;
}

/* The same name and address, in the file or gone from it: then it comes back with its counters. */
static struct registry_backend *name_index_find(const struct name_index *r,
						const struct conf_backend *c)
{
	struct registry_backend **at = name_index_search(r, c->name);

	for (; at != NULL && at < r->entry + r->n && strcmp((*at)->backend->name, c->name) == 0;
	     at++)
		if (addr_eq(&(*at)->backend->addr, &c->addr))
			return *at;
	return NULL;
}

/* The one of this name that is in the file. */
static struct registry_backend *name_index_find_named(const struct name_index *r, const char *name)
{
	struct registry_backend **at = name_index_search(r, name);

	for (; at != NULL && at < r->entry + r->n && strcmp((*at)->backend->name, name) == 0; at++)
		if (!(*at)->is_removed)
			return *at;
	return NULL;
}

/* All pools in the order of their names, and all listeners in that of their addresses. */
struct directory {
	struct registry_pool **pool; /* owns the array, borrows the entries */
	size_t n_pools;
	struct listener **listener; /* the same */
	size_t n_listeners;
};

static int by_pool_name(const void *pa, const void *pb)
{
	const struct registry_pool *const *a = pa, *const *b = pb;

	return strcmp(pool_name((*a)->pool), pool_name((*b)->pool));
}

static int by_pool_key(const void *name, const void *pb)
{
	const struct registry_pool *const *b = pb;

	return strcmp(name, pool_name((*b)->pool));
}

static int by_addr(const void *pa, const void *pb)
{
	const struct listener *const *a = pa, *const *b = pb;

	return addr_compare(&(*a)->addr, &(*b)->addr);
}

static int by_addr_key(const void *addr, const void *pb)
{
	const struct listener *const *b = pb;

	return addr_compare(addr, &(*b)->addr);
}

static void directory_deinit(struct directory *d)
{
	free(d->pool);
	free(d->listener);
	*d = (struct directory){ .pool = NULL };
}

static int directory_init(struct directory *d, const struct registry *f)
{
	size_t n_pools = 0, n_listeners = 0;

	list_for_each(it, &f->pools) n_pools++;
	list_for_each(it, &f->listeners) n_listeners++;
	d->pool = calloc(n_pools + 1, sizeof(struct registry_pool *));
	d->listener = calloc(n_listeners + 1, sizeof(struct listener *));
	if (d->pool == NULL || d->listener == NULL) {
		directory_deinit(d);
		return -ENOMEM;
	}
	list_for_each(it, &f->pools) d->pool[d->n_pools++] =
		list_entry(it, struct registry_pool, link);
	list_for_each(it, &f->listeners) d->listener[d->n_listeners++] =
		list_entry(it, struct registry_listener, link)->listener;
	qsort(d->pool, d->n_pools, sizeof(struct registry_pool *), by_pool_name);
	qsort(d->listener, d->n_listeners, sizeof(struct listener *), by_addr);
	return 0;
}

/* In the file or gone from it: no two pools have one name. */
static struct registry_pool *directory_pool(const struct directory *d, const char *name)
{
	struct registry_pool **at =
		bsearch(name, d->pool, d->n_pools, sizeof(struct registry_pool *), by_pool_key);

	return at != NULL ? *at : NULL;
}

static struct listener *directory_listener(const struct directory *d, const struct addr *a)
{
	struct listener **at =
		bsearch(a, d->listener, d->n_listeners, sizeof(struct listener *), by_addr_key);

	return at != NULL ? *at : NULL;
}

/* ---- listeners of a delta -------------------------------------------------------------------- */

/*
 * An address with port 0 was given a real port when it was bound: it is kept by the place it has in
 * the file, that is, by the listener's name.
 */
static struct listener *find_for_bind(struct registry *f, const struct directory *all,
				      const struct conf_bind *b, const char *name)
{
	if (b->addr.port != 0)
		return directory_listener(all, &b->addr);
	list_for_each(it, &f->listeners)
	{
		struct registry_listener *fl = list_entry(it, struct registry_listener, link);
		struct addr any = fl->listener->addr;

		any.port = 0;
		if (fl->listener->is_any_port && addr_eq(&any, &b->addr) &&
		    strcmp(atomic_load(&fl->listener->name), name) == 0)
			return fl->listener;
	}
	return NULL;
}

/* ---- an address that lb's own sockets are in the way of -------------------------------------- */

static bool has_inode(const struct listener *l, uint32_t n_workers, uint32_t inode)
{
	for (uint32_t w = 0; w < n_workers; w++)
		if (l->inodes[w] == inode)
			return true;
	return false;
}

/* Whether lb shares the new address with the socket of this inode. */
struct own {
	const struct registry *f;
	const struct addr *a;
};

/*
 * Of its own that leave, lb does not share the very same address: the old sockets, which drop what
 * is new to them, would get a part of the new ones' connections. (Such a socket listens on only
 * while lb is at a limit and its queue cannot be served.)
 */
static bool is_own(void *arg, uint32_t inode)
{
	const struct own *o = arg;

	if (inode == 0)
		return false;
	list_for_each(it, &o->f->listeners)
	{
		const struct listener *l = list_entry(it, struct registry_listener, link)->listener;
		if (has_inode(l, o->f->n_workers, inode))
			return true;
	}
	list_for_each(it, &o->f->leaving)
	{
		const struct listener *l = list_entry(it, struct registry_listener, link)->listener;
		if (has_inode(l, o->f->n_workers, inode))
			return !addr_eq(&l->addr, o->a);
	}
	return false;
}

static bool is_port_own(const struct registry *f, uint16_t port)
{
	list_for_each(it, &f->listeners) if (list_entry(it, struct registry_listener, link)
						     ->listener->addr.port == port) return true;
	list_for_each(it, &f->leaving) if (list_entry(it, struct registry_listener, link)
						   ->listener->addr.port == port) return true;
	return false;
}

/* Whether `a` can be had; sets its port where that is 0. */
static int probe_free(struct registry *f, struct addr *a)
{
	int r = sock_probe_free(f->loop, a, &a->port);

	if (r != -EADDRINUSE || !is_port_own(f, a->port))
		return r;
	/* Where the kernel does not tell who is in the way, the address counts as taken. */
	struct own own = { .f = f, .a = a };
	return occupied_by_others(a, is_own, &own) == 0 ? 0 : r;
}

/* One socket per worker. On failure those made so far stay in dl->fd, for delta_free(). */
static int bind_all(struct registry *f, struct delta_listener *dl, const struct addr *a)
{
	dl->fd = malloc(f->n_workers * sizeof(*dl->fd));
	if (dl->fd == NULL)
		return -ENOMEM;
	for (uint32_t w = 0; w < f->n_workers; w++)
		dl->fd[w] = -1;
	for (uint32_t w = 0; w < f->n_workers; w++) {
		dl->fd[w] = sock_bind_shared(f->loop, a);
		if (dl->fd[w] < 0)
			return dl->fd[w];
		dl->listener->inodes[w] = occupied_inode(dl->fd[w]);
	}
	return 0;
}

static int prepare_bind(struct registry *f, const struct directory *all, struct delta *d,
			size_t plan_index, const struct conf_bind *b, struct err *e)
{
	const struct conf_listener *c = &d->conf->listeners[plan_index];
	struct delta_listener *dl = &d->listeners[d->n_listeners];
	struct listener *kept = find_for_bind(f, all, b, c->name);
	struct addr a = b->addr;

	d->n_listeners++;
	*dl = (struct delta_listener){
		.fresh = calloc(1, sizeof(*dl->fresh)),
		.name = names_intern(f->names, c->name),
		.plan_index = plan_index,
	};
	if (dl->fresh == NULL || dl->name == NULL)
		return err_at(e, b->at, "out of memory");
	if (kept != NULL) {
		dl->listener = listener_ref(kept);
		return 0;
	}

	int r = probe_free(f, &a);
	if (r < 0)
		return refusal_bind(e, b->at, &b->addr, b->text, r);
	dl->listener = listener_new(++f->next_number, &a, dl->name, f->n_workers);
	if (dl->listener == NULL)
		return err_at(e, b->at, "out of memory");
	dl->listener->is_any_port = b->addr.port == 0;
	dl->is_new = true;
	r = bind_all(f, dl, &a);
	return r < 0 ? refusal_bind(e, b->at, &b->addr, b->text, r) : 0;
}

static int prepare_listeners(struct registry *f, const struct directory *all, struct delta *d,
			     struct err *e)
{
	size_t n = 0;
	int result = 0;

	for (size_t i = 0; i < d->conf->n_listeners; i++)
		n += d->conf->listeners[i].n_binds;
	d->listeners = calloc(n, sizeof(*d->listeners));
	if (d->listeners == NULL)
		return err_add(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < d->conf->n_listeners; i++) {
		const struct conf_listener *c = &d->conf->listeners[i];
		for (size_t b = 0; b < c->n_binds; b++) {
			int r = prepare_bind(f, all, d, i, &c->binds[b], e);
			if (r < 0)
				result =
					r; /* the others are tried, so that all are named at once */
		}
	}
	return result;
}

/* ---- sources of a delta ---------------------------------------------------------------------- */

/* A source that this machine does not have would fail every connection of its pool. */
static int try_sources(struct loop *l, const struct conf_pool *c, struct err *e)
{
	int result = 0;

	for (size_t i = 0; i < c->n_sources; i++) {
		int r = sock_try_source(l, &c->sources[i]);
		if (r < 0)
			result = refusal_source(e, c->sources_at[i], &c->sources[i], r);
	}
	return result;
}

int registry_try_sources(struct loop *l, const struct conf *conf, struct err *e)
{
	int result = 0;

	for (size_t i = 0; i < conf->n_pools; i++) {
		int r = try_sources(l, &conf->pools[i], e);
		if (r < 0)
			result = r; /* the others are tried, too */
	}
	return result;
}

/* ---- pools of a delta ------------------------------------------------------------------------ */

/* A weight set at run time holds until the file changes that backend's weight. */
static uint32_t weight_of(const struct registry_backend *old, const struct conf_backend *c)
{
	if (old != NULL && old->is_weight_set && old->file_weight == c->weight)
		return backend_weight(old->backend);
	return c->weight;
}

/* Where `changed` is not NULL, that backend has the given weight instead of its own. */
static struct members *make_members(const struct delta_pool *dp, const struct conf_pool *c,
				    const struct delta_backend *changed, uint32_t weight)
{
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
		members_new(dp->pool, c->balance, c->hash.load_percent, entries, dp->n_backends);
	free(entries);
	return m;
}

static int prepare_pool(struct registry *f, const struct directory *all, struct delta *d,
			const struct conf_pool *c)
{
	struct delta_pool *dp = &d->pools[d->n_pools++];
	_cleanup_(name_index_deinit) struct name_index by_name = { .entry = NULL };

	dp->old = directory_pool(all, c->name);
	dp->pool = dp->old != NULL ? pool_ref(dp->old->pool) : new_pool(f, c);
	dp->fresh = dp->old != NULL ? NULL : calloc(1, sizeof(*dp->fresh));
	dp->backends = calloc(c->n_backends, sizeof(*dp->backends));
	if (dp->pool == NULL || (dp->old == NULL && dp->fresh == NULL) || dp->backends == NULL ||
	    name_index_init(&by_name, dp->old) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < c->n_backends; i++) {
		struct delta_backend *db = &dp->backends[i];

		db->old = name_index_find(&by_name, &c->backends[i]);
		db->backend = db->old != NULL ? backend_ref(db->old->backend)
					      : backend_new(c->name, &c->backends[i], f->n_workers,
							    loop_now_ns(f->loop));
		db->fresh = db->old != NULL ? NULL : backend_entry_new(c->backends[i].name);
		dp->n_backends++; /* what it has so far is delta_free()'s */
		if (db->backend == NULL || (db->old == NULL && db->fresh == NULL))
			return -ENOMEM;
		db->weight = weight_of(db->old, &c->backends[i]);
		db->file_weight = c->backends[i].weight;
	}
	dp->members = make_members(dp, c, NULL, 0);
	return dp->members == NULL ? -ENOMEM : 0;
}

static int prepare_pools(struct registry *f, const struct directory *all, struct delta *d)
{
	const struct conf *conf = d->conf;

	d->pools = calloc(conf->n_pools, sizeof(*d->pools));
	struct pool **pools = calloc(conf->n_pools, sizeof(struct pool *));
	int r = d->pools == NULL || pools == NULL ? -ENOMEM : 0;

	for (size_t i = 0; i < conf->n_pools && r == 0; i++) {
		r = prepare_pool(f, all, d, &conf->pools[i]);
		pools[i] = d->pools[i].pool;
	}
	if (r == 0) {
		d->plan = plan_new(d->conf, pools, f->names);
		if (d->plan == NULL)
			r = -ENOMEM;
	}
	free(pools);
	return r;
}

int registry_prepare(struct registry *f, struct conf *conf, struct err *e, struct delta **ret)
{
	struct delta *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return err_add(e, -ENOMEM, "out of memory");
	d->conf = conf_ref(conf);
	_cleanup_(directory_deinit) struct directory all = { .pool = NULL };
	int r = directory_init(&all, f);
	if (r == 0)
		r = prepare_pools(f, &all, d);
	if (r < 0) {
		(void)err_add(e, r, "out of memory");
	} else {
		int sources = registry_try_sources(f->loop, conf, e);
		r = prepare_listeners(f, &all, d, e);
		r = r < 0 ? r : sources;
	}
	if (r < 0) {
		delta_free(f, d);
		return r;
	}
	*ret = d;
	return 0;
}

struct delta *delta_free(struct registry *f, struct delta *d)
{
	if (d == NULL)
		return NULL;
	for (size_t i = 0; i < d->n_listeners; i++) {
		struct delta_listener *dl = &d->listeners[i];
		for (uint32_t w = 0; dl->fd != NULL && w < f->n_workers; w++)
			if (dl->fd[w] >= 0)
				loop_close(f->loop, dl->fd[w]);
		free(dl->fd);
		free(dl->fresh);
		listener_unref(dl->listener);
		names_unref(dl->name);
	}
	for (size_t i = 0; i < d->n_pools; i++) {
		struct delta_pool *dp = &d->pools[i];
		for (size_t b = 0; b < dp->n_backends; b++) {
			if (dp->backends[b].fresh != NULL)
				backend_entry_free(dp->backends[b].fresh);
			backend_unref(dp->backends[b].backend);
		}
		free(dp->backends);
		free(dp->fresh);
		members_unref(dp->members);
		if (dp->pool != NULL && dp->old == NULL && !d->is_committed)
			give_slot(f, dp->pool);
		pool_unref(dp->pool);
	}
	plan_unref(d->plan);
	conf_unref(d->conf);
	free(d->listeners);
	free(d->pools);
	free(d);
	return NULL;
}

/* ---- making it current ----------------------------------------------------------------------- */

bool registry_has_new_timeouts(const struct delta *d)
{
	for (size_t i = 0; i < d->n_pools; i++) {
		const struct pool *p = d->pools[i].pool;
		const struct conf_pool *c = &d->conf->pools[i];
		if (pool_idle_ms(p) != c->idle_ms || pool_half_closed_ms(p) != c->half_closed_ms)
			return true;
	}
	return false;
}

int registry_give(const struct registry *f, const struct delta *d, uid_t uid, gid_t gid)
{
	for (size_t i = 0; i < d->n_listeners; i++)
		for (uint32_t w = 0; d->listeners[i].is_new && w < f->n_workers; w++)
			if (fchown(d->listeners[i].fd[w], uid, gid) < 0)
				return -errno;
	return 0;
}

int registry_listen(struct registry *f, struct delta *d, struct err *e)
{
	for (size_t i = 0; i < d->n_listeners; i++) {
		struct delta_listener *dl = &d->listeners[i];
		for (uint32_t w = 0; dl->is_new && w < f->n_workers; w++) {
			int r = loop_listen(f->loop, dl->fd[w], SOCK_BACKLOG);
			if (r < 0)
				return err_add(e, r, "cannot listen on %s: %s", dl->listener->text,
					       strerror(-r));
		}
	}
	return 0;
}

static void commit_listeners(struct registry *f, struct delta *d)
{
	list_for_each(it, &f->listeners) list_entry(it, struct registry_listener, link)
		->listener->plan_index = LISTENER_REMOVED;
	for (size_t i = 0; i < d->n_listeners; i++)
		d->listeners[i].listener->plan_index = (uint32_t)d->listeners[i].plan_index;
	list_for_each(it, &f->listeners)
	{
		struct registry_listener *fl = list_entry(it, struct registry_listener, link);
		if (fl->listener->plan_index != LISTENER_REMOVED) {
			listener_entry_free(fl); /* it gets a new one */
		} else {
			list_del(&fl->link);
			list_add_tail(&f->leaving, &fl->link);
		}
	}
	for (size_t i = 0; i < d->n_listeners; i++) {
		struct delta_listener *dl = &d->listeners[i];
		struct registry_listener *fl = take_ptr(dl->fresh);

		fl->listener = listener_ref(dl->listener);
		fl->name = take_ptr(dl->name);
		/* Release: a worker that reads the pointer sees the string. */
		atomic_store_explicit(&fl->listener->name, fl->name, memory_order_release);
		list_add_tail(&f->listeners, &fl->link);
	}
}

static void commit_backend(struct registry_pool *p, struct delta_backend *db,
			   const struct conf_backend *c)
{
	struct registry_backend *fb = db->old;

	if (fb == NULL) {
		fb = db->fresh;
		db->fresh = NULL;
		fb->backend = backend_ref(db->backend);
	}
	fb->is_weight_set =
		db->is_weight_set || (fb->is_weight_set && db->file_weight == fb->file_weight);
	fb->file_weight = db->file_weight;
	fb->is_removed = false;
	backend_set_weight(fb->backend, db->weight);
	backend_set_max_conns(fb->backend, c->max_conns);
	backend_set_removed(fb->backend, false);
	list_del(&fb->link);
	list_add_tail(&p->backends, &fb->link); /* in the order of the file */
}

/* No new plan names the pool, but a session that was routed to it has no other place to go to. */
static void remove_pool(struct registry_pool *p)
{
	if (p->is_removed)
		return;
	p->is_removed = true;
	pool_keep_members(p->pool, p->members);
	list_for_each(it, &p->backends)
	{
		struct registry_backend *fb = list_entry(it, struct registry_backend, link);
		fb->is_removed = true;
		backend_set_removed(fb->backend, true);
	}
}

static void commit_pool(struct registry *f, const struct delta *d, size_t i)
{
	struct delta_pool *dp = &d->pools[i];
	const struct conf_pool *c = &d->conf->pools[i];
	struct registry_pool *p = dp->old;
	struct list removed = LIST_INIT(removed);

	if (p == NULL) {
		p = dp->fresh;
		dp->fresh = NULL;
		p->pool = pool_ref(dp->pool);
		list_init(&p->backends);
		list_init(&p->link);
		past_pool_init(&p->past);
	}
	pool_configure(p->pool, c);
	p->balance = c->balance;
	p->check = c->health.type;
	p->conf_index = i;
	p->is_removed = false;
	members_unref(p->members);
	p->members = members_ref(dp->members);

	/* Those of the file are taken out and appended again; what stays in front has left it. */
	list_splice_tail(&removed, &p->backends);
	for (size_t b = 0; b < dp->n_backends; b++)
		commit_backend(p, &dp->backends[b], &c->backends[b]);
	list_for_each(it, &removed)
	{
		struct registry_backend *fb = list_entry(it, struct registry_backend, link);
		fb->is_removed = true;
		backend_set_removed(fb->backend, true);
	}
	list_splice_tail(&p->backends, &removed);
	list_del(&p->link);
	list_add_tail(&f->pools, &p->link);
}

void registry_commit(struct registry *f, struct delta *d)
{
	struct list removed = LIST_INIT(removed);

	commit_listeners(f, d);
	list_splice_tail(&removed, &f->pools);
	for (size_t i = 0; i < d->n_pools; i++)
		commit_pool(f, d, i);
	list_for_each(it, &removed) remove_pool(list_entry(it, struct registry_pool, link));
	list_splice_tail(&f->pools, &removed);

	if (f->plan != NULL) {
		f->plan->next = f->old;
		f->old = f->plan;
	}
	f->plan = plan_ref(d->plan);
	f->has_old_names = true;
	d->is_committed = true;
}

/* ---- what is gone ---------------------------------------------------------------------------- */

/* Its last connection has ended, and the file has it no more. */
static void retire(struct registry *f, struct registry_pool *p, struct registry_backend *fb)
{
	struct backend_sums sums = backend_sums(fb->backend);

	backend_sums_add(&sums, &fb->past);
	past_add(&f->past, &p->past, take_ptr(fb->record), &sums, loop_now_ns(f->loop));
	backend_entry_free(fb);
}

/* The backends of one pool by their names: many may be forgotten at once. */
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
	struct registry_backend *fb = h->of != NULL ? name_index_find_named(&h->index, name)
						    : registry_find_backend(pool, name);
	return fb != NULL ? &fb->past : NULL;
}

static void tidy_past(struct registry *f)
{
	struct heirs h = { .of = NULL };

	past_expire(&f->past, loop_now_ns(f->loop), find_heir, &h);
	name_index_deinit(&h.index);
}

static void tidy_plans(struct registry *f)
{
	struct plan **at = &f->old;

	while (*at != NULL) {
		struct plan *p = *at;
		if (plan_is_unused(p)) {
			*at = p->next;
			plan_unref(p);
		} else {
			at = &p->next;
		}
	}
}

static void tidy_listeners(struct registry *f)
{
	list_for_each(it, &f->leaving)
	{
		struct registry_listener *fl = list_entry(it, struct registry_listener, link);
		if (listener_is_unused(fl->listener))
			listener_entry_free(fl);
	}
}

void registry_tidy(struct registry *f)
{
	tidy_listeners(f);
	tidy_plans(f);
	if (f->has_old_names)
		names_sweep(f->names);
	f->has_old_names = false;
	list_for_each(it, &f->pools)
	{
		struct registry_pool *p = list_entry(it, struct registry_pool, link);
		if (!p->is_removed)
			pool_keep_members(p->pool, NULL); /* it came back: newer ones are in use */
		else if (pool_has_plan(p->pool))
			continue;
		list_for_each(ib, &p->backends)
		{
			struct registry_backend *fb = list_entry(ib, struct registry_backend, link);
			if (fb->is_removed && backend_active(fb->backend) == 0)
				retire(f, p, fb);
		}
	}
	tidy_past(f);
	list_for_each(it, &f->pools)
	{
		struct registry_pool *p = list_entry(it, struct registry_pool, link);
		if (!p->is_removed || !list_is_empty(&p->backends))
			continue;
		if (list_is_empty(&p->past.records))
			pool_entry_free(f, p);
		else
			p->members = members_unref(p->members); /* they hold its backends */
	}
}

/* ---- a weight that an operator sets --------------------------------------------------------- */

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

struct members *delta_members_with(const struct delta *d, const struct delta_pool *dp,
				   const struct delta_backend *db, uint32_t weight)
{
	LB_ASSERT(!d->is_committed);
	return make_members(dp, &d->conf->pools[dp - d->pools], db, weight);
}

struct members *registry_members_with(const struct registry_pool *p,
				      const struct registry_backend *fb, uint32_t weight)
{
	size_t n = 0, i = 0;

	list_for_each(it, &p->backends) n +=
		!list_entry(it, struct registry_backend, link)->is_removed;
	struct members_entry *entries = calloc(n + 1, sizeof(*entries));
	if (entries == NULL)
		return NULL;
	list_for_each(it, &p->backends)
	{
		const struct registry_backend *each = list_entry(it, struct registry_backend, link);
		if (!each->is_removed)
			entries[i++] = (struct members_entry){
				.backend = each->backend,
				.weight = each == fb ? weight : backend_weight(each->backend),
			};
	}
	struct members *m =
		members_new(p->pool, p->balance, members_load_percent(p->members), entries, n);
	free(entries);
	return m;
}
