/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One function per rule. The frozen structs keep few marks, so a rule walks an array of the
 * configuration and the list it came from side by side: they have the same items (conf/tables.h).
 */
#include "conf/check.h"

#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "conf/tables.h"
#include "proto/http1.h"
#include "util/assert.h"
#include "util/parse.h"

/* Whether a word was not understood, so that its default stands in for it. */
static bool is_misread(const struct yaml_node *map, const char *key, const char *word)
{
	const struct yaml_node *n = opt_find(map, key);

	return n != NULL && (n->kind != YAML_SCALAR || strcmp(n->text, word) != 0);
}

/* A setting that would do nothing, `why`. */
static void report_idle(struct opt_ctx *ctx, const struct yaml_node *map, const char *key,
			const char *why)
{
	const struct yaml_node *n = opt_find(map, key);

	LB_ASSERT(n != NULL);
	(void)err_at(ctx->err, n->key_at, "\"%s\" has no effect %s", key, why);
}

/* ---- nothing twice ---- */

struct entry {
	const char *name;        /* borrowed; NULL: compared by address */
	const struct addr *addr; /* borrowed; with a name: what must differ for a report */
	struct mark at;
};

static int compare_value(const struct entry *a, const struct entry *b)
{
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

/* A source is an address without a port. */
static const char *addr_show(const struct addr *a, char text[ADDR_TEXT_MAX])
{
	return a->port == 0 ? addr_format_host(a, text) : addr_format(a, text);
}

/* Reports each entry that equals an earlier one. All have names, or none has. Sorts them. */
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
		if (has_same_addr(&e[first], &e[i]))
			continue; /* the address is reported */
		(void)err_at(ctx->err, e[i].at, "%s \"%s\" is given twice (first in line %u)", what,
			     e[i].name != NULL ? e[i].name : addr_show(e[i].addr, text),
			     e[first].at.line);
	}
}

static void listener_names_differ(struct opt_ctx *ctx, const struct yaml_node *root)
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

static void pool_names_differ(struct opt_ctx *ctx, const struct yaml_node *root)
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

/* Two backends of a pool differ in their addresses and in their names. */
static void backends_differ(struct opt_ctx *ctx, const struct conf_pool *p,
			    const struct yaml_node *pool)
{
	const struct yaml_node *node = lb_yaml_items(pool, SLICE("backends"));
	struct entry *names = opt_alloc(ctx, p->n_backends + 1, sizeof(*names));
	struct entry *addrs = opt_alloc(ctx, p->n_backends + 1, sizeof(*addrs));
	size_t n_names = 0, n_addrs = 0;

	for (size_t i = 0; names != NULL && addrs != NULL && i < p->n_backends; i++) {
		const struct conf_backend *b = &p->backends[i];
		const struct addr *addr = b->addr.family != 0 ? &b->addr : NULL;
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

/* No two sockets at one address; at port 0 each gets a port of its own. */
static void binds_differ(struct opt_ctx *ctx)
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
	report_twins(ctx, e, n, "address");
	free(e);
}

/* A listener has its address to itself, also where one of the two addresses stands for all. */
static void http_is_no_listener(struct opt_ctx *ctx, const struct conf_listener *l)
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

/* A source is for backends of its own family, and counts once. */
static void sources_fit(struct opt_ctx *ctx, const struct conf_pool *p,
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

/* What a check asks for, and which status it wants, is for checks that ask. */
static void health_fits_type(struct opt_ctx *ctx, const struct conf_pool *p,
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
 * `hash` alone gives no stickiness. Its defaults may stand beside another balance that is written
 * out: that is a warning (conf/warn.c).
 */
static void hash_is_used(struct opt_ctx *ctx, const struct conf_pool *p,
			 const struct yaml_node *pool)
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

/* Something must say where its connections go. */
static void listener_leads_somewhere(struct opt_ctx *ctx, const struct conf_listener *l,
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

/* In mode tcp nothing of a request is known. */
static void tcp_reads_no_request(struct opt_ctx *ctx, const struct conf_listener *l,
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

/* ... so there is no head to wait for. */
static void tcp_awaits_no_head(struct opt_ctx *ctx, const struct conf_listener *l,
			       const struct yaml_node *node)
{
	struct conf_listener def = { 0 };

	opt_set_defaults(ctx, listener_opts, &def);
	if (l->mode != CONF_MODE_TCP)
		return;
	if (l->handshake_ms != def.handshake_ms)
		report_idle(ctx, node, "timeouts.handshake", "in mode tcp");
	if (l->http.underscores != def.http.underscores)
		report_idle(ctx, node, "http.underscores", "in mode tcp");
	if (opt_find(node, "http.dot_segments") != NULL)
		report_idle(ctx, node, "http.dot_segments", "in mode tcp");
	if (l->http.targets != def.http.targets)
		report_idle(ctx, node, "http.targets", "in mode tcp");
}

/* The pool looks for a field that the listener never lets through. */
static void hash_key_can_come(struct opt_ctx *ctx, size_t pool, struct mark at)
{
	const struct conf *c = ctx->conf;

	if (pool == CONF_NO_POOL)
		return;
	const struct conf_hash *h = &c->pools[pool].hash;
	if (h->key == CONF_HASH_HEADER && h->name != NULL && strchr(h->name, '_') != NULL)
		(void)err_at(
			ctx->err, at,
			"pool \"%s\" hashes the header \"%s\", but this listener accepts no header "
			"with an underscore in its name: set \"http: {underscores: pass}\"",
			c->pools[pool].name, h->name);
}

static void hash_keys_can_come(struct opt_ctx *ctx, const struct conf_listener *l,
			       const struct yaml_node *node)
{
	const struct yaml_node *route = lb_yaml_items(node, SLICE("routes"));

	if (l->mode != CONF_MODE_HTTP || l->http.underscores == CONF_UNDERSCORES_PASS)
		return;
	hash_key_can_come(ctx, l->pool, opt_mark(node, "pool"));
	for (size_t i = 0; i < l->n_routes; i++, route = route->next) {
		LB_ASSERT(route != NULL);
		hash_key_can_come(ctx, l->routes[i].pool, opt_mark(route, "pool"));
	}
}

/* ---- a route ---- */

/* Before routes are looked at a request with a dot segment is refused, or loses it. */
static void path_can_match(struct opt_ctx *ctx, const struct conf_listener *l,
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

static void header_asks_something(struct opt_ctx *ctx, const struct yaml_node *node)
{
	const struct yaml_node *header = lb_yaml_find(node, SLICE("header"));

	if (header != NULL && header->kind == YAML_MAP && header->n == 0)
		(void)err_at(ctx->err, header->at,
			     "\"header\" is empty: write \"header: {NAME: "
			     "VALUE}\", or leave it out");
}

/* A field that is dropped or refused before routes are looked at. */
static void header_can_come(struct opt_ctx *ctx, const struct conf_listener *l,
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

/* Permission bits are those of a socket. */
static void mode_has_a_socket(struct opt_ctx *ctx, const struct yaml_node *root)
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
		path_can_match(ctx, l, &l->routes[i], node);
		header_asks_something(ctx, node);
		header_can_come(ctx, l, &l->routes[i], node);
	}
}

void check_all(struct opt_ctx *ctx, const struct yaml_node *root)
{
	const struct conf *c = ctx->conf;
	const struct yaml_node *node = lb_yaml_items(root, SLICE("listeners"));

	mode_has_a_socket(ctx, root);
	listener_names_differ(ctx, root);
	pool_names_differ(ctx, root);
	binds_differ(ctx);
	for (size_t i = 0; i < c->n_listeners; i++, node = node->next) {
		LB_ASSERT(node != NULL);
		listener_leads_somewhere(ctx, &c->listeners[i], node);
		tcp_reads_no_request(ctx, &c->listeners[i], node);
		tcp_awaits_no_head(ctx, &c->listeners[i], node);
		http_is_no_listener(ctx, &c->listeners[i]);
		hash_keys_can_come(ctx, &c->listeners[i], node);
		check_routes(ctx, &c->listeners[i], node);
	}
	node = lb_yaml_items(root, SLICE("pools"));
	for (size_t i = 0; i < c->n_pools; i++, node = node->next) {
		LB_ASSERT(node != NULL);
		backends_differ(ctx, &c->pools[i], node);
		sources_fit(ctx, &c->pools[i], node);
		health_fits_type(ctx, &c->pools[i], node);
		hash_is_used(ctx, &c->pools[i], node);
	}
}
