/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules about more than one value. check_all() calls one check_NAME() for each rule, in this
 * order: the process, names and addresses over the whole file, each listener with its routes, each
 * pool. A check that finds a mistake adds it to ctx->err at the mark of the value at fault, and all
 * checks are made whatever was found.
 *
 * The configuration may have values that were not understood. Such a value was reported when it was
 * read, and has its default or is zero. A check leaves such a value out, so that one mistake is not
 * reported twice. A name that was not understood is NULL, and an address has family 0; is_misread()
 * recognises a word that was not understood.
 *
 * Most values of the configuration have no mark of their own. So a check walks an array of the
 * configuration and the YAML list side by side, and takes the marks from the list. The array has
 * one element for each item of the list, in the same order (tables.h). The asserts on `node` in and
 * after these loops state that.
 *
 * "Idle" settings have no effect because of another setting. They are mistakes when their value is
 * not the default (report_idle()); where a default is harmless, warn.c warns.
 *
 * "Twins" are two equal values of one kind that must differ. A check collects the values as struct
 * entry and report_twins() sorts them, so that a file with 100,000 backends is checked fast. Each
 * twin is reported at the later place, with the line of the first one.
 */
#include "conf/check.h"

#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "conf/tables.h"
#include "proto/http1.h"
#include "util/assert.h"
#include "util/parse.h"

/*
 * Whether the word that the file has at `key` was not understood. `word` is the word for the value
 * in the configuration: when the file has another word, the value is still the default.
 */
static bool is_misread(const struct yaml_node *map, const char *key, const char *word)
{
	const struct yaml_node *n = opt_find(map, key);

	return n != NULL && (n->kind != YAML_SCALAR || strcmp(n->text, word) != 0);
}

/*
 * Reports a key of the file that has no effect. `map` must have the key. `why` follows the words
 * "has no effect" in the message.
 */
static void report_idle(struct opt_ctx *ctx, const struct yaml_node *map, const char *key,
			const char *why)
{
	const struct yaml_node *n = opt_find(map, key);

	LB_ASSERT(n != NULL);
	(void)err_at(ctx->err, n->key_at, "\"%s\" has no effect %s", key, why);
}

/* ---- twins ---- */

/* A value that must differ from others: `name`, or `addr` when `name` is NULL. */
struct entry {
	const char *name; /* borrowed */
	/* borrowed: the value, when `name` is NULL; beside a backend's name: its address */
	const struct addr *addr;
	struct mark at;
};

static int compare_value(const struct entry *a, const struct entry *b)
{
	LB_ASSERT((a->name != NULL) == (b->name != NULL));
	LB_ASSERT(a->name != NULL || (a->addr != NULL && b->addr != NULL));
	return a->name != NULL ? strcmp(a->name, b->name) : addr_compare(a->addr, b->addr);
}

static int compare_entry(const void *pa, const void *pb)
{
	const struct entry *a = pa, *b = pb;
	int r = compare_value(a, b);

	if (r != 0)
		return r;
	if (a->at.line != b->at.line)
		return a->at.line < b->at.line ? -1 : 1;
	return a->at.col < b->at.col ? -1 : a->at.col > b->at.col;
}

static bool has_same_addr(const struct entry *a, const struct entry *b)
{
	return a->name != NULL && a->addr != NULL && addr_compare(a->addr, b->addr) == 0;
}

/* Formats an address as the file has it: without the port when the port is 0, as in `source`. */
static const char *addr_show(const struct addr *a, char text[ADDR_TEXT_MAX])
{
	return a->port == 0 ? addr_format_host(a, text) : addr_format(a, text);
}

/*
 * Sorts the entries and reports each entry that equals an earlier one. Either all entries have
 * names, or none has. `what` is the kind of value for the message, as "listener".
 */
static void report_twins(struct opt_ctx *ctx, struct entry *e, size_t n, const char *what)
{
	char text[ADDR_TEXT_MAX];
	size_t first = 0;

	if (n < 2)
		return;
	qsort(e, n, sizeof(e[0]), compare_entry);
	for (size_t i = 1; i < n; i++) {
		if (compare_value(&e[first], &e[i]) != 0) {
			first = i;
			continue;
		}
		/* compare_entry() sorts entries with the same value by line and column. */
		LB_ASSERT(e[first].at.line <= e[i].at.line);
		/* Backends with one name and one address were reported for the address. */
		if (has_same_addr(&e[first], &e[i]))
			continue;
		(void)err_at(ctx->err, e[i].at, "%s \"%s\" is given twice (first in line %u)", what,
			     e[i].name != NULL ? e[i].name : addr_show(e[i].addr, text),
			     e[first].at.line);
	}
}

static void check_listener_names(struct opt_ctx *ctx, const struct yaml_node *root)
{
	const struct conf *c = ctx->conf;
	const struct yaml_node *node = lb_yaml_items(root, SLICE("listeners"));
	struct entry *e = opt_alloc(ctx, c->n_listeners + 1, sizeof(*e));
	size_t n = 0;

	for (size_t i = 0; e != NULL && i < c->n_listeners; i++, node = node->next) {
		LB_ASSERT(node != NULL);
		if (c->listeners[i].name != NULL)
			e[n++] = (struct entry){ .name = c->listeners[i].name,
						 .at = opt_mark(node, "name") };
	}
	report_twins(ctx, e, n, "listener");
	free(e);
}

static void check_pool_names(struct opt_ctx *ctx, const struct yaml_node *root)
{
	const struct conf *c = ctx->conf;
	const struct yaml_node *node = lb_yaml_items(root, SLICE("pools"));
	struct entry *e = opt_alloc(ctx, c->n_pools + 1, sizeof(*e));
	size_t n = 0;

	for (size_t i = 0; e != NULL && i < c->n_pools; i++, node = node->next) {
		LB_ASSERT(node != NULL);
		if (c->pools[i].name != NULL)
			e[n++] = (struct entry){ .name = c->pools[i].name,
						 .at = opt_mark(node, "name") };
	}
	report_twins(ctx, e, n, "pool");
	free(e);
}

/* Backends of a pool must differ in their addresses and in their names. */
static void check_backends(struct opt_ctx *ctx, const struct conf_pool *p,
			   const struct yaml_node *pool)
{
	const struct yaml_node *node = lb_yaml_items(pool, SLICE("backends"));
	struct entry *names = opt_alloc(ctx, p->n_backends + 1, sizeof(*names));
	struct entry *addrs = opt_alloc(ctx, p->n_backends + 1, sizeof(*addrs));
	size_t n_names = 0, n_addrs = 0;

	for (size_t i = 0; names != NULL && addrs != NULL && i < p->n_backends; i++) {
		const struct conf_backend *b = &p->backends[i];
		const struct addr *addr = b->addr.family != 0 ? &b->addr : NULL; /* NULL: misread */
		LB_ASSERT(node != NULL);
		if (addr != NULL)
			addrs[n_addrs++] =
				(struct entry){ .addr = addr, .at = opt_mark(node, "address") };
		if (addr != NULL && b->name != NULL)
			names[n_names++] = (struct entry){ .name = b->name,
							   .addr = addr,
							   .at = opt_mark(node, "name") };
		node = node->next;
	}
	report_twins(ctx, addrs, n_addrs, "address");
	report_twins(ctx, names, n_names, "backend");
	free(names);
	free(addrs);
}

/*
 * Listeners and admin.http must differ in their addresses. Addresses with port 0 are left out,
 * because the kernel gives each such socket a port of its own.
 */
static void check_binds(struct opt_ctx *ctx)
{
	const struct conf *c = ctx->conf;
	size_t max = 1, n = 0;

	for (size_t i = 0; i < c->n_listeners; i++)
		max += c->listeners[i].n_binds;
	struct entry *e = opt_alloc(ctx, max, sizeof(*e));
	if (e == NULL)
		return;
	for (size_t i = 0; i < c->n_listeners; i++) {
		const struct conf_listener *l = &c->listeners[i];
		for (size_t k = 0; k < l->n_binds; k++) {
			if (l->binds[k].addr.port != 0)
				e[n++] = (struct entry){ .addr = &l->binds[k].addr,
							 .at = l->binds[k].at };
		}
	}
	if (c->admin.has_http && c->admin.http.port != 0)
		e[n++] = (struct entry){ .addr = &c->admin.http, .at = c->admin.at };
	LB_ASSERT(n <= max);
	report_twins(ctx, e, n, "address");
	free(e);
}

/*
 * A listener's address must not include that of admin.http, as 0.0.0.0 includes every IPv4 address,
 * and must not be included in it. Equal addresses are reported by check_binds().
 */
static void check_admin_http(struct opt_ctx *ctx, const struct conf_listener *l)
{
	const struct conf *c = ctx->conf;

	for (size_t k = 0; c->admin.has_http && k < l->n_binds; k++) {
		const struct conf_bind *b = &l->binds[k];
		if (addr_overlaps(&b->addr, &c->admin.http) && !addr_eq(&b->addr, &c->admin.http))
			(void)err_at(
				ctx->err, c->admin.at,
				"\"admin.http\" is \"%s\", but the listener's address \"%s\" in "
				"line %u already includes it: give one of them another port",
				c->admin.http_text, b->text, b->at.line);
	}
}

/* ---- a pool ---- */

static bool has_backend_of(const struct conf_pool *p, uint8_t family)
{
	for (size_t i = 0; i < p->n_backends; i++) {
		if (p->backends[i].addr.family == family)
			return true;
	}
	return false;
}

/*
 * A source must have the address family of at least one backend of the pool. Sources must differ.
 */
static void check_sources(struct opt_ctx *ctx, const struct conf_pool *p,
			  const struct yaml_node *pool)
{
	const struct yaml_node *node = lb_yaml_items(pool, SLICE("source"));
	struct entry *e = opt_alloc(ctx, p->n_sources + 1, sizeof(*e));
	bool has_bad_backend = p->n_backends == 0 || has_backend_of(p, 0);
	char text[ADDR_TEXT_MAX];
	size_t n = 0;

	for (size_t i = 0; e != NULL && i < p->n_sources; i++, node = node->next) {
		const struct addr *a = &p->sources[i];
		LB_ASSERT(node != NULL);
		if (a->family == 0)
			continue;
		e[n++] = (struct entry){ .addr = a, .at = node->at };
		if (!has_bad_backend && !has_backend_of(p, a->family))
			(void)err_at(ctx->err, node->at,
				     "source \"%s\" is an IPv%s address, but no backend of this "
				     "pool has one: lb would never use it; leave it out",
				     addr_format_host(a, text), a->family == AF_INET ? "4" : "6");
	}
	report_twins(ctx, e, n, "source");
	free(e);
}

/*
 * Reports keys of `health` that have no effect because of health.type. A check of type tcp sends no
 * request and has no use for a path or a host. health.status has an effect only with type http.
 */
static void check_health(struct opt_ctx *ctx, const struct conf_pool *p,
			 const struct yaml_node *pool)
{
	const struct conf_health *h = &p->health;
	struct conf_pool def = { 0 };

	if (h->type == CONF_CHECK_NONE || h->type == CONF_CHECK_HTTP ||
	    is_misread(pool, "health.type", conf_check_name(h->type)))
		return;
	const char *why = h->type == CONF_CHECK_TCP ? "on a check of type tcp"
						    : "on a check of type websocket";
	opt_set_defaults(ctx, pool_opts, &def);
	if (ctx->no_memory)
		return;
	if (h->type == CONF_CHECK_TCP && strcmp(h->path, def.health.path) != 0)
		report_idle(ctx, pool, "health.path", why);
	if (h->type == CONF_CHECK_TCP && h->host != NULL)
		report_idle(ctx, pool, "health.host", why);
	if (h->status_min != def.health.status_min || h->status_max != def.health.status_max)
		report_idle(ctx, pool, "health.status", why);
	free(def.health.path);
}

/*
 * `hash` has no effect without `balance: hash`. When the file has no `balance`, any `hash` is a
 * mistake, because the file looks as if `hash` had an effect. When the file has another balance,
 * `hash` is a mistake if its values are not the defaults; warn.c warns of a `hash` with the
 * defaults.
 */
static void check_hash(struct opt_ctx *ctx, const struct conf_pool *p, const struct yaml_node *pool)
{
	static const char why[] = "without \"balance: hash\"";
	const struct yaml_node *hash = lb_yaml_find(pool, SLICE("hash"));

	if (hash == NULL || p->balance == CONF_BALANCE_HASH ||
	    is_misread(pool, "balance", conf_balance_name(p->balance)))
		return;
	if (lb_yaml_find(pool, SLICE("balance")) == NULL) {
		report_idle(ctx, pool, "hash",
			    "without \"balance: hash\": add that, or leave \"hash\" out");
		return;
	}
	if (p->hash.key != CONF_HASH_SOURCE)
		report_idle(ctx, pool, "hash.key", why);
	if (p->hash.load_percent != 0)
		report_idle(ctx, pool, "hash.load_factor", why);
}

/* ---- a listener ---- */

/* A listener needs `pool` or `routes`, which say where its connections go. */
static void check_destination(struct opt_ctx *ctx, const struct conf_listener *l,
			      const struct yaml_node *node)
{
	const struct yaml_node *routes = lb_yaml_find(node, SLICE("routes"));

	if (node->kind != YAML_MAP || lb_yaml_find(node, SLICE("pool")) != NULL ||
	    opt_is_meant(ctx, listener_opts, "pool", node) ||
	    opt_is_meant(ctx, listener_opts, "routes", node))
		return;
	if (l->mode == CONF_MODE_TCP)
		(void)err_at(ctx->err, node->at,
			     "\"pool\" is missing: a listener with mode tcp sends all its "
			     "connections to one pool");
	else if (routes == NULL || (routes->kind == YAML_LIST && routes->n == 0))
		(void)err_at(ctx->err, node->at,
			     "a listener needs \"pool\" or \"routes\", which "
			     "say where its requests go");
}

/*
 * In mode tcp lb reads no request. So `routes`, and pools that hash a part of the request, are
 * mistakes.
 */
static void check_tcp_destination(struct opt_ctx *ctx, const struct conf_listener *l,
				  const struct yaml_node *node)
{
	const struct conf *c = ctx->conf;
	const struct yaml_node *routes = lb_yaml_find(node, SLICE("routes"));

	if (l->mode != CONF_MODE_TCP)
		return;
	if (routes != NULL)
		(void)err_at(ctx->err, routes->key_at,
			     "\"routes\" need \"mode: http\": in mode tcp "
			     "lb does not read requests; name one \"pool\"");
	if (l->pool == CONF_NO_POOL || c->pools[l->pool].hash.key == CONF_HASH_SOURCE)
		return;
	(void)err_at(
		ctx->err, opt_mark(node, "pool"),
		"pool \"%s\" hashes a part of the HTTP request, which lb does not read in mode "
		"tcp: set \"hash: {key: source}\" in that pool, or \"mode: http\" here",
		c->pools[l->pool].name);
}

/* In mode tcp lb reads no request, so that settings about requests have no effect. */
static void check_tcp_settings(struct opt_ctx *ctx, const struct conf_listener *l,
			       const struct yaml_node *node)
{
	struct conf_listener def = { 0 };

	opt_set_defaults(ctx, listener_opts, &def);
	free(def.tls.groups);
	if (l->mode != CONF_MODE_TCP)
		return;
	if (l->handshake_ms != def.handshake_ms && !l->tls.is_on && l->proxy.n_from == 0)
		report_idle(ctx, node, "timeouts.handshake", "in mode tcp");
	if (l->http.underscores != def.http.underscores)
		report_idle(ctx, node, "http.underscores", "in mode tcp");
	if (opt_find(node, "http.dot_segments") != NULL)
		report_idle(ctx, node, "http.dot_segments", "in mode tcp");
	if (l->http.targets != def.http.targets)
		report_idle(ctx, node, "http.targets", "in mode tcp");
}

/* In mode http lb reads HTTP/1.1, whatever else a client would agree on by ALPN. */
static void check_alpn(struct opt_ctx *ctx, const struct conf_listener *l,
		       const struct yaml_node *node)
{
	const struct yaml_node *list = opt_find(node, "tls.alpn");

	if (l->mode != CONF_MODE_HTTP || list == NULL || list->kind != YAML_LIST ||
	    is_misread(node, "mode", conf_mode_name(l->mode)))
		return;
	for (const struct yaml_node *n = list->first; n != NULL; n = n->next)
		if (n->kind == YAML_SCALAR && !n->is_null && strcmp(n->text, "http/1.1") != 0)
			(void)err_at(ctx->err, n->at,
				     "\"tls.alpn\" has \"%s\", but with mode http lb speaks only "
				     "http/1.1: write [http/1.1], or leave the key out",
				     n->text);
}

/* Keys come from a file, or from lb. */
static void check_tickets(struct opt_ctx *ctx, const struct yaml_node *node)
{
	const struct yaml_node *rotate = opt_find(node, "tls.tickets.rotate");

	if (rotate != NULL && opt_find(node, "tls.tickets.file") != NULL)
		(void)err_at(ctx->err, rotate->key_at,
			     "\"tls.tickets.rotate\" is for keys that lb makes, but "
			     "\"tls.tickets.file\" has the keys: leave one of them out");
}

/*
 * Reports a pool that hashes a field with an underscore in its name. The caller has found that the
 * listener drops or refuses such fields. `at` is the mark of the key `pool` that names the pool.
 */
static void check_hash_header(struct opt_ctx *ctx, size_t pool, struct mark at)
{
	const struct conf *c = ctx->conf;

	if (pool == CONF_NO_POOL)
		return;
	LB_ASSERT(pool < c->n_pools);
	const struct conf_hash *h = &c->pools[pool].hash;
	if (h->key == CONF_HASH_HEADER && h->name != NULL && strchr(h->name, '_') != NULL)
		(void)err_at(
			ctx->err, at,
			"pool \"%s\" hashes the header \"%s\", but this listener accepts no header "
			"with an underscore in its name: set \"http: {underscores: pass}\"",
			c->pools[pool].name, h->name);
}

static void check_hash_headers(struct opt_ctx *ctx, const struct conf_listener *l,
			       const struct yaml_node *node)
{
	const struct yaml_node *route = lb_yaml_items(node, SLICE("routes"));

	if (l->mode != CONF_MODE_HTTP || l->http.underscores == CONF_UNDERSCORES_PASS)
		return;
	check_hash_header(ctx, l->pool, opt_mark(node, "pool"));
	for (size_t i = 0; i < l->n_routes; i++, route = route->next) {
		LB_ASSERT(route != NULL);
		check_hash_header(ctx, l->routes[i].pool, opt_mark(route, "pool"));
	}
}

/* ---- a route ---- */

/*
 * A route's path must not have dot segments when the listener refuses requests with dot segments or
 * removes the segments, because lb does both before it compares a request with the routes.
 */
static void check_path(struct opt_ctx *ctx, const struct conf_listener *l,
		       const struct conf_route *r, const struct yaml_node *node)
{
	bool is_refused = l->http.dots == CONF_DOTS_REFUSE;
	const char *p = r->path;

	while (l->http.dots != CONF_DOTS_PASS && p != NULL && *p == '/') {
		struct slice segment = { .p = p + 1, .n = strcspn(p + 1, "/") };
		if (http1_dots(segment) > 0) {
			(void)err_at(ctx->err, opt_mark(node, "path"),
				     "no request can match \"path\": a request with . or .. in its "
				     "path %s, unless \"http.dot_segments\" is pass",
				     is_refused ? "is answered with 400"
						: "loses them before the routes are looked at");
			return;
		}
		p = segment.p + segment.n;
	}
}

/* Reports an empty map `header`. It would be no condition at all, and is hardly meant as that. */
static void check_header_map(struct opt_ctx *ctx, const struct yaml_node *node)
{
	const struct yaml_node *header = lb_yaml_find(node, SLICE("header"));

	if (header != NULL && header->kind == YAML_MAP && header->n == 0)
		(void)err_at(ctx->err, header->at,
			     "\"header\" is empty: write \"header: {NAME: "
			     "VALUE}\", or leave it out");
}

/*
 * A route must not have a condition on a field that the listener drops or refuses before routes are
 * compared: a field with an underscore in its name.
 */
static void check_header_names(struct opt_ctx *ctx, const struct conf_listener *l,
			       const struct conf_route *r, const struct yaml_node *node)
{
	if (l->http.underscores == CONF_UNDERSCORES_PASS)
		return;
	for (size_t i = 0; i < r->n_headers; i++) {
		if (strchr(r->headers[i].name, '_') == NULL)
			continue;
		(void)err_at(ctx->err, opt_mark(node, "header"),
			     "no request can match \"header\": this listener accepts no header "
			     "with an underscore in its name, like \"%s\"; set \"http: "
			     "{underscores: pass}\"",
			     r->headers[i].name);
		return;
	}
}

/* ---- the process ---- */

/* admin.mode is the mode of the admin socket. Without the socket, the key has no effect. */
static void check_admin_mode(struct opt_ctx *ctx, const struct yaml_node *root)
{
	const struct conf *c = ctx->conf;
	uint32_t def = 0;
	int r = parse_octal_mode(slice_of(opt_row(main_opts, "admin.mode")->def), &def);

	LB_ASSERT(r == 0);
	if (c->admin.socket == NULL && c->admin.mode != def)
		report_idle(ctx, root, "admin.mode", "without an admin socket");
}

static void check_routes(struct opt_ctx *ctx, const struct conf_listener *l,
			 const struct yaml_node *listener)
{
	const struct yaml_node *node = lb_yaml_items(listener, SLICE("routes"));

	for (size_t i = 0; i < l->n_routes; i++, node = node->next) {
		LB_ASSERT(node != NULL);
		check_path(ctx, l, &l->routes[i], node);
		check_header_map(ctx, node);
		check_header_names(ctx, l, &l->routes[i], node);
	}
	LB_ASSERT(node == NULL);
}

void check_all(struct opt_ctx *ctx, const struct yaml_node *root)
{
	const struct conf *c = ctx->conf;
	const struct yaml_node *node = lb_yaml_items(root, SLICE("listeners"));

	LB_ASSERT(!ctx->no_memory); /* values that the checks compare would be missing */
	check_admin_mode(ctx, root);
	check_listener_names(ctx, root);
	check_pool_names(ctx, root);
	check_binds(ctx);
	for (size_t i = 0; i < c->n_listeners; i++, node = node->next) {
		LB_ASSERT(node != NULL);
		check_destination(ctx, &c->listeners[i], node);
		check_tcp_destination(ctx, &c->listeners[i], node);
		check_tcp_settings(ctx, &c->listeners[i], node);
		check_admin_http(ctx, &c->listeners[i]);
		check_hash_headers(ctx, &c->listeners[i], node);
		check_alpn(ctx, &c->listeners[i], node);
		check_tickets(ctx, node);
		check_routes(ctx, &c->listeners[i], node);
	}
	LB_ASSERT(node == NULL);
	node = lb_yaml_items(root, SLICE("pools"));
	for (size_t i = 0; i < c->n_pools; i++, node = node->next) {
		LB_ASSERT(node != NULL);
		check_backends(ctx, &c->pools[i], node);
		check_sources(ctx, &c->pools[i], node);
		check_health(ctx, &c->pools[i], node);
		check_hash(ctx, &c->pools[i], node);
	}
	LB_ASSERT(node == NULL);
}
