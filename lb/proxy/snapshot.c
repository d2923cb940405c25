/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a snapshot: the names of pools in the configuration become pointers, the routes of each
 * listener become a table, and the names of the routes become counted ones (names.h). When memory
 * runs out, the function that frees a whole snapshot also frees the one that is half made.
 *
 * Thread: main, but for snapshot_ref() and snapshot_unref().
 */
#include "proxy/snapshot.h"

#include <errno.h>
#include <stdlib.h>

#include "net/tls_ctx.h"
#include "proxy/names.h"

void snapshot_certs_free(struct snapshot_cert *certs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < certs[i].n_names; k++)
			free(certs[i].names[k]);
		free(certs[i].names);
		free(certs[i].file);
	}
	free(certs);
}

static void snapshot_free(struct snapshot *p)
{
	LB_ASSERT(p->n_listeners <= p->conf->n_listeners && p->n_pools <= p->conf->n_pools);
	for (size_t i = 0; i < p->n_listeners; i++) {
		struct snapshot_listener *pl = &p->listeners[i];
		route_table_free(pl->routes);
		for (size_t r = 0; pl->route_name != NULL && r < pl->conf->n_routes; r++)
			names_unref(pl->route_name[r]);
		free(pl->route_name);
		for (uint32_t w = 0; pl->tls != NULL && w < p->n_tls; w++)
			tls_ctx_unref(pl->tls[w]);
		free(pl->tls);
		snapshot_certs_free(pl->certs, pl->n_certs);
	}
	for (size_t i = 0; i < p->n_pools; i++) {
		pool_drop_snapshot(p->pools[i].pool);
		pool_unref(p->pools[i].pool);
	}
	free(p->listeners);
	free(p->pools);
	conf_unref(p->conf);
	free(p);
}

static bool resolve_listener(struct snapshot *p, size_t i, struct names *names)
{
	struct snapshot_listener *pl = &p->listeners[i];
	const struct conf_listener *c = &p->conf->listeners[i];

	LB_ASSERT(i < p->n_listeners && (c->pool == CONF_NO_POOL || c->pool < p->n_pools));
	pl->conf = c;
	pl->pool = c->pool == CONF_NO_POOL ? NULL : &p->pools[c->pool];
	if (c->mode == CONF_MODE_TCP)
		return true;

	pl->routes = route_table_new(c);
	pl->route_name = calloc(c->n_routes + 1, sizeof(*pl->route_name));
	if (pl->routes == NULL || pl->route_name == NULL)
		return false;
	for (size_t r = 0; r < c->n_routes; r++) {
		pl->route_name[r] = names_intern(names, c->routes[r].name);
		if (pl->route_name[r] == NULL)
			return false;
	}
	return true;
}

struct snapshot *snapshot_new(struct conf *conf, struct pool *const *pools, struct names *names)
{
	struct snapshot *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	ref_init(&p->refs);
	p->conf = conf_ref(conf);
	p->listeners = calloc(conf->n_listeners, sizeof(*p->listeners));
	p->pools = calloc(conf->n_pools, sizeof(*p->pools));
	if (p->listeners == NULL || p->pools == NULL) {
		snapshot_free(p);
		return NULL;
	}

	for (size_t i = 0; i < conf->n_pools; i++) {
		p->pools[p->n_pools++] = (struct snapshot_pool){ .conf = &conf->pools[i],
								 .pool = pool_ref(pools[i]) };
		pool_add_snapshot(pools[i]);
	}
	for (size_t i = 0; i < conf->n_listeners; i++) {
		p->n_listeners++;
		if (!resolve_listener(p, i, names)) {
			snapshot_free(p);
			return NULL;
		}
	}
	return p;
}

int snapshot_set_tls(struct snapshot *p, size_t listener, struct tls_lib *const *libs,
		     struct tls_ctx *const *contexts, uint32_t n)
{
	struct snapshot_listener *pl = &p->listeners[listener];

	LB_ASSERT(listener < p->n_listeners && pl->tls == NULL && n > 0);
	LB_ASSERT(p->tls_libs == NULL || (p->tls_libs == libs && p->n_tls == n));
	pl->tls = calloc(n, sizeof(struct tls_ctx *));
	if (pl->tls == NULL)
		return -ENOMEM;
	p->tls_libs = libs;
	p->n_tls = n;
	for (uint32_t w = 0; w < n; w++)
		pl->tls[w] = tls_ctx_ref(contexts[w]);
	return 0;
}

void snapshot_set_certs(struct snapshot *p, size_t listener, struct snapshot_cert *certs, size_t n)
{
	struct snapshot_listener *pl = &p->listeners[listener];

	LB_ASSERT(listener < p->n_listeners && pl->certs == NULL);
	pl->certs = certs;
	pl->n_certs = n;
}

struct snapshot *snapshot_ref(struct snapshot *p)
{
	ref_get(&p->refs);
	return p;
}

struct snapshot *snapshot_unref(struct snapshot *p)
{
	if (p != NULL && ref_put(&p->refs))
		snapshot_free(p);
	return NULL;
}

bool snapshot_is_unused(const struct snapshot *p)
{
	return ref_is_only(&p->refs);
}
