/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Warnings: settings that are allowed, but hardly ever meant.
 *
 * warn_all() calls one warn_of_NAME() for each rule: for each listener, for each pool and each of
 * its backends, and for all pools together. A rule that finds something adds a warning to ctx->err
 * at the mark of the setting, says what the effect is, and what to write instead.
 *
 * The configuration has no mistake (conf.c): every name is there, every address could be read, and
 * an array has one element for each item of its YAML list. Because most values have no mark of
 * their own, a rule walks the array and the list side by side and takes the marks from the list.
 * The asserts in the loops state that both have the same length.
 *
 * Rules must be fast for large files: rows of routes are compared by cover.h, and a backend's
 * address is compared with those of listeners only when some listener has its port (struct ports).
 *
 * When memory runs short, ctx->no_memory is set and the rule is skipped.
 *
 * Warnings are told at `lb check`, at the start and at each reload, and change nothing: lb starts
 * with the file as it is. A setting with which lb must not start is a mistake, and its rule belongs
 * to check.c.
 */
#include "conf/warn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "conf/cover.h"
#include "conf/tables.h"
#include "conf/word.h"
#include "util/assert.h"

/* ---- a listener ---- */

/*
 * Warns that no request reaches `what`, a route or `pool`. `by` has the indexes of the `n` routes
 * that match all these requests.
 */
static void warn_of_cover(struct opt_ctx *ctx, struct mark at, const struct conf_listener *l,
			  const char *what, size_t n, const size_t by[2])
{
	LB_ASSERT((n == 1 || n == 2) && by[n - 1] < l->n_routes);
	const struct conf_route *first = &l->routes[by[0]];

	if (n == 1)
		err_warn_at(ctx->err, at,
			    "no request reaches %s: route \"%s\" in line %u comes first and "
			    "matches every request that could reach it",
			    what, first->name, first->at.line);
	else
		err_warn_at(ctx->err, at,
			    "no request reaches %s: routes \"%s\" in line %u and \"%s\" in line "
			    "%u come first and match every request that could reach it",
			    what, first->name, first->at.line, l->routes[by[1]].name,
			    l->routes[by[1]].at.line);
}

/*
 * Warns of routes, and of the listener's `pool`, that no request reaches because of earlier routes.
 */
static void warn_of_unreached_routes(struct opt_ctx *ctx, const struct conf_listener *l,
				     const struct yaml_node *node)
{
	const struct yaml_node *row = lb_yaml_items(node, SLICE("routes"));
	char what[WORD_NAME_MAX + 16];
	size_t by[2], n;

	if (l->n_routes == 0)
		return;
	struct cover *c = cover_new(l);
	if (c == NULL) {
		ctx->no_memory = true;
		return;
	}
	for (size_t i = 0; i < l->n_routes; i++, row = row->next) {
		LB_ASSERT(row != NULL);
		n = cover_find(c, i, by);
		if (n == 0)
			continue;
		(void)snprintf(what, sizeof(what), "route \"%s\"", l->routes[i].name);
		warn_of_cover(ctx, row->at, l, what, n, by);
	}
	n = l->pool == CONF_NO_POOL ? 0 : cover_find(c, l->n_routes, by);
	if (n != 0)
		warn_of_cover(ctx, opt_mark(node, "pool"), l, "the listener's own \"pool\"", n, by);
	cover_free(c);
}

/* ---- a pool ---- */

/* Whether the address is 0.0.0.0 or [::]. A connect to one of these reaches this machine itself. */
static bool is_unspecified(const struct addr *a)
{
	static const struct addr none;

	return a->family == AF_INET ? memcmp(a->v4, none.v4, sizeof(a->v4)) == 0
				    : memcmp(a->v6, none.v6, sizeof(a->v6)) == 0;
}

/* Whether the address is a multicast or broadcast address, to which TCP cannot connect. */
static bool is_for_many(const struct addr *a)
{
	return a->family == AF_INET ? a->v4[0] >= 224 && (a->v4[0] < 240 || a->v4[3] == 255)
				    : a->v6[0] == 0xff;
}

/* Warns of a backend whose address is unspecified (0.0.0.0, [::]), multicast or broadcast. */
static void warn_of_no_server(struct opt_ctx *ctx, const struct conf_backend *b, struct mark at)
{
	char text[ADDR_TEXT_MAX];

	if (is_unspecified(&b->addr))
		err_warn_at(ctx->err, at,
			    "a backend at %s is this machine itself; write %s, or the address of "
			    "another machine",
			    addr_format_host(&b->addr, text),
			    b->addr.family == AF_INET ? "127.0.0.1" : "[::1]");
	else if (is_for_many(&b->addr))
		err_warn_at(ctx->err, at,
			    "backend %s is a multicast or broadcast address, to which TCP cannot "
			    "connect: write the address of one server",
			    addr_format_host(&b->addr, text));
}

/* Whether a connect to `to` reaches a socket that is bound to `bound`. */
static bool leads_to(const struct addr *to, const struct addr *bound)
{
	if (to->family != bound->family || to->port != bound->port)
		return false;
	if (addr_eq(to, bound))
		return true;
	return (is_unspecified(bound) && addr_is_loopback(to)) ||
	       (is_unspecified(to) && addr_is_loopback(bound));
}

/* The listener of lb that a connect to the address reaches, or NULL. */
static const struct conf_listener *listener_at(const struct conf *c, const struct addr *a)
{
	for (size_t i = 0; i < c->n_listeners; i++) {
		const struct conf_listener *l = &c->listeners[i];
		for (size_t k = 0; k < l->n_binds; k++) {
			if (leads_to(a, &l->binds[k].addr))
				return l;
		}
	}
	return NULL;
}

/* A set of ports, a bit for each. */
struct ports {
	uint8_t bit[(UINT16_MAX + 1) / 8];
};

/* Sets *ret to the ports of all listeners. */
static void ports_of(const struct conf *c, struct ports *ret)
{
	*ret = (struct ports){ 0 };
	for (size_t i = 0; i < c->n_listeners; i++) {
		for (size_t k = 0; k < c->listeners[i].n_binds; k++) {
			uint16_t port = c->listeners[i].binds[k].addr.port;
			ret->bit[port / 8] |= (uint8_t)(1u << port % 8);
		}
	}
}

/* Warns of a backend whose address leads to one of lb's own listeners. */
static void warn_of_loop(struct opt_ctx *ctx, const struct ports *ports,
			 const struct conf_backend *b, struct mark at)
{
	uint16_t port = b->addr.port;
	char text[ADDR_TEXT_MAX];

	if ((ports->bit[port / 8] & 1u << port % 8) == 0)
		return;
	const struct conf_listener *l = listener_at(ctx->conf, &b->addr);
	if (l != NULL)
		err_warn_at(ctx->err, at,
			    "backend %s is the address of lb's own listener \"%s\": lb may connect "
			    "to itself over and over, until no connection is left",
			    addr_format(&b->addr, text), l->name);
}

/* Warns of a pool whose backends all have weight 0. */
static void warn_of_zero_weights(struct opt_ctx *ctx, const struct conf_pool *p,
				 const struct yaml_node *node)
{
	for (size_t i = 0; i < p->n_backends; i++) {
		if (p->backends[i].weight != 0)
			return;
	}
	err_warn_at(ctx->err, opt_mark(node, "backends"),
		    "every backend of pool \"%s\" has weight 0, so no connection is sent to any of "
		    "them: give one of them a weight from 1 to 256",
		    p->name);
}

/*
 * Warns of a timeout that is longer than the interval. A check of a backend begins only when the
 * one before has ended, so that the interval is not kept while checks time out.
 */
static void warn_of_slow_checks(struct opt_ctx *ctx, const struct conf_pool *p,
				const struct yaml_node *node)
{
	const struct conf_health *h = &p->health;
	const struct yaml_node *n = opt_find(node, "health.timeout");

	if (h->type == CONF_CHECK_NONE || h->timeout_ms <= h->interval_ms)
		return;
	if (n == NULL)
		n = opt_find(node, "health.interval");
	/* The default timeout is shorter than the default interval: the file has a key. */
	LB_ASSERT(n != NULL);
	err_warn_at(ctx->err, n->at,
		    "\"health.timeout\" is longer than \"health.interval\": while a backend does "
		    "not answer, it is checked every \"health.timeout\" only");
}

/*
 * Warns of `hash` beside another balance. check.c has refused the cases that are mistakes: `hash`
 * without a `balance`, and values of `hash` that are not the defaults.
 */
static void warn_of_idle_hash(struct opt_ctx *ctx, const struct conf_pool *p,
			      const struct yaml_node *node)
{
	const struct yaml_node *hash = lb_yaml_find(node, SLICE("hash"));

	if (hash != NULL && p->balance != CONF_BALANCE_HASH)
		err_warn_at(ctx->err, hash->key_at,
			    "\"hash\" has no effect, because balance is %s: write \"balance: "
			    "hash\", or leave \"hash\" out",
			    conf_balance_name(p->balance));
}

static void warn_of_pool(struct opt_ctx *ctx, const struct ports *ports, const struct conf_pool *p,
			 const struct yaml_node *node)
{
	const struct yaml_node *item = lb_yaml_items(node, SLICE("backends"));

	for (size_t i = 0; i < p->n_backends; i++, item = item->next) {
		LB_ASSERT(item != NULL);
		struct mark at = opt_mark(item, "address");
		warn_of_no_server(ctx, &p->backends[i], at);
		warn_of_loop(ctx, ports, &p->backends[i], at);
	}
	LB_ASSERT(item == NULL);
	warn_of_zero_weights(ctx, p, node);
	warn_of_slow_checks(ctx, p, node);
	warn_of_idle_hash(ctx, p, node);
}

/* ---- the pools together ---- */

/* Marks a pool as used. `pool` is its index, or CONF_NO_POOL. */
static void mark_used(bool *is_used, size_t pool)
{
	if (pool != CONF_NO_POOL)
		is_used[pool] = true;
}

/* Warns of pools that no listener and no route names. */
static void warn_of_unused_pools(struct opt_ctx *ctx, const struct yaml_node *root)
{
	const struct conf *c = ctx->conf;
	const struct yaml_node *node = lb_yaml_items(root, SLICE("pools"));
	bool *is_used = opt_alloc(ctx, c->n_pools, sizeof(*is_used));

	if (is_used == NULL)
		return;
	for (size_t i = 0; i < c->n_listeners; i++) {
		const struct conf_listener *l = &c->listeners[i];
		mark_used(is_used, l->pool);
		for (size_t k = 0; k < l->n_routes; k++)
			mark_used(is_used, l->routes[k].pool);
	}
	for (size_t i = 0; i < c->n_pools; i++, node = node->next) {
		LB_ASSERT(node != NULL);
		if (!is_used[i])
			err_warn_at(ctx->err, opt_mark(node, "name"),
				    "pool \"%s\" is not used: no listener and no route names it",
				    c->pools[i].name);
	}
	free(is_used);
}

void warn_all(struct opt_ctx *ctx, const struct yaml_node *root)
{
	const struct conf *c = ctx->conf;
	const struct yaml_node *node = lb_yaml_items(root, SLICE("listeners"));
	struct ports ports;

	for (size_t i = 0; i < c->n_listeners; i++, node = node->next) {
		LB_ASSERT(node != NULL);
		warn_of_unreached_routes(ctx, &c->listeners[i], node);
	}
	LB_ASSERT(node == NULL);
	ports_of(c, &ports);
	node = lb_yaml_items(root, SLICE("pools"));
	for (size_t i = 0; i < c->n_pools; i++, node = node->next) {
		LB_ASSERT(node != NULL);
		warn_of_pool(ctx, &ports, &c->pools[i], node);
	}
	LB_ASSERT(node == NULL);
	warn_of_unused_pools(ctx, root);
}
