/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sorted arrays of the registry's entries, and binary search in them. A name_index holds the
 * backends of one pool. Several of them may have one name; search() finds the first of these, and
 * its callers look at the following entries. A directory holds all pools by name and all listeners
 * in use by address; no two pools have one name, and no two listeners have one address.
 *
 * Thread: main.
 */
#include "daemon/name_index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "daemon/registry.h"
#include "proxy/listener.h"

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

int name_index_init(struct name_index *index, const struct registry_pool *p)
{
	size_t n = 0;

	*index = (struct name_index){ .entry = NULL };
	if (p == NULL)
		return 0;
	list_for_each(it, &p->backends) n++;
	index->entry = calloc(n + 1, sizeof(struct registry_backend *));
	if (index->entry == NULL)
		return -ENOMEM;
	list_for_each(it, &p->backends) index->entry[index->n++] =
		list_entry(it, struct registry_backend, link);
	LB_ASSERT(index->n == n);
	qsort(index->entry, index->n, sizeof(struct registry_backend *), compare_names);
	return 0;
}

void name_index_deinit(struct name_index *index)
{
	free(index->entry);
}

/* The first entry of this name, or NULL. */
static struct registry_backend **search(const struct name_index *index, const char *name)
{
	struct registry_backend **at = index->n == 0
					       ? NULL
					       : bsearch(name, index->entry, index->n,
							 sizeof(struct registry_backend *), by_key);

	while (at != NULL && at > index->entry && strcmp(at[-1]->backend->name, name) == 0)
		at--;
	return at;
}

struct registry_backend *name_index_find(const struct name_index *index,
					 const struct conf_backend *c)
{
	struct registry_backend **at = search(index, c->name);

	for (; at != NULL && at < index->entry + index->n &&
	       strcmp((*at)->backend->name, c->name) == 0;
	     at++)
		if (addr_eq(&(*at)->backend->addr, &c->addr))
			return *at;
	return NULL;
}

struct registry_backend *name_index_find_used(const struct name_index *index, const char *name)
{
	struct registry_backend **at = search(index, name);
	struct registry_backend *found = NULL;

	for (;
	     at != NULL && at < index->entry + index->n && strcmp((*at)->backend->name, name) == 0;
	     at++) {
		if ((*at)->is_removed)
			continue;
		LB_ASSERT(found == NULL); /* at most one backend of a name is in use */
		found = *at;
	}
	return found;
}

/* ---- the directory --------------------------------------------------------------------------- */

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

void directory_deinit(struct directory *d)
{
	free(d->pool);
	free(d->listener);
	*d = DIRECTORY_INIT;
}

int directory_init(struct directory *d, const struct registry *reg)
{
	size_t n_pools = 0, n_listeners = 0;

	list_for_each(it, &reg->pools) n_pools++;
	list_for_each(it, &reg->listeners) n_listeners++;
	d->pool = calloc(n_pools + 1, sizeof(struct registry_pool *));
	d->listener = calloc(n_listeners + 1, sizeof(struct listener *));
	if (d->pool == NULL || d->listener == NULL) {
		directory_deinit(d);
		return -ENOMEM;
	}
	list_for_each(it, &reg->pools) d->pool[d->n_pools++] =
		list_entry(it, struct registry_pool, link);
	list_for_each(it, &reg->listeners) d->listener[d->n_listeners++] =
		list_entry(it, struct registry_listener, link)->listener;
	LB_ASSERT(d->n_pools == n_pools && d->n_listeners == n_listeners);
	qsort(d->pool, d->n_pools, sizeof(struct registry_pool *), by_pool_name);
	qsort(d->listener, d->n_listeners, sizeof(struct listener *), by_addr);
	for (size_t i = 1; i < d->n_pools; i++)
		LB_ASSERT(by_pool_name(&d->pool[i - 1], &d->pool[i]) < 0);
	for (size_t i = 1; i < d->n_listeners; i++)
		LB_ASSERT(by_addr(&d->listener[i - 1], &d->listener[i]) < 0);
	return 0;
}

struct registry_pool *directory_pool(const struct directory *d, const char *name)
{
	struct registry_pool **at =
		bsearch(name, d->pool, d->n_pools, sizeof(struct registry_pool *), by_pool_key);

	return at != NULL ? *at : NULL;
}

struct listener *directory_listener(const struct directory *d, const struct addr *a)
{
	struct listener **at =
		bsearch(a, d->listener, d->n_listeners, sizeof(struct listener *), by_addr_key);

	return at != NULL ? *at : NULL;
}
