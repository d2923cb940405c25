/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of a route's keys, and the functions that read and write values of OPT_CALL rows: the
 * conditions `host` (host_read(), host_write()), `path` (path_read(), path_write()) and `header`
 * (headers_read(), headers_write()).
 *
 * route_opts_read() makes one struct conf_route for each item of a listener's list `routes`, in the
 * order of the list, which is the order in which requests are compared.
 *
 * Conditions are kept in the form in which a request is compared with them. Of a host *.x, ".x" is
 * kept and host_is_suffix is set; of a path with a star at its end, the part before the star is
 * kept and path_is_prefix is set; a host is in lower case. A NULL host or path is no condition. The
 * write functions put the star back.
 *
 * A route without a name gets its number as the name, for logs and warnings. A route's pool is an
 * index of conf.pools (pool_ref.c); only in a configuration with mistakes it may be CONF_NO_POOL.
 *
 * check.c and warn.c find routes that can match no request: check.c because of the route's own
 * conditions, warn.c because of the routes before it.
 */
#include <stdio.h>
#include <string.h>

#include "conf/conf.h"
#include "conf/print.h"
#include "conf/tables.h"
#include "conf/word.h"

#define ROUTE(member) offsetof(struct conf_route, member)

static const struct opt_word kinds[] = {
	{ "true", CONF_YES, false },
	{ "false", CONF_NO, false },
	{ .word = NULL },
};

/*
 * Reads the host of a route. A dot at the end of the host is dropped, because lb drops such a dot
 * from the host of a request, too.
 */
static void host_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		      void *object)
{
	struct conf_route *r = object;
	const char *text = opt_text(ctx, o, node);

	if (text == NULL)
		return;
	struct slice s = slice_of(text);
	bool is_suffix = slice_starts_with(s, SLICE("*."));
	size_t skip = is_suffix ? 2 : 0;
	struct slice name = { .p = s.p + skip, .n = s.n - skip };
	if (name.n > 1 && name.p[name.n - 1] == '.')
		name.n--;
	if (!word_is_host(name) || (is_suffix && name.p[0] == '[')) {
		opt_bad(ctx, o, node,
			"must be a host without a port; a * may only be its first label, as in "
			"\"*.example.com\"");
		return;
	}
	if (is_suffix)
		name = (struct slice){ .p = name.p - 1, .n = name.n + 1 };
	LB_ASSERT(!is_suffix || name.p[0] == '.');
	opt_set_string(ctx, &r->host, name);
	r->host_is_suffix = is_suffix;
	for (char *p = r->host; p != NULL && *p != '\0'; p++) {
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	}
}

static void path_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		      void *object)
{
	struct conf_route *r = object;
	const char *text = opt_text(ctx, o, node);

	if (text == NULL)
		return;
	struct slice s = slice_of(text);
	bool is_prefix = s.n >= 2 && memcmp(s.p + s.n - 2, "/*", 2) == 0;
	if (is_prefix)
		s.n--; /* keep the path without the star */
	if (!word_is_path(s)) {
		opt_bad(ctx, o, node, "must begin with / and have no spaces, ? and #");
		return;
	}
	if (memchr(s.p, '*', s.n) != NULL) {
		opt_bad(ctx, o, node, "a * may only stand at the end, behind a /, as in /ws/*");
		return;
	}
	opt_set_string(ctx, &r->path, s);
	r->path_is_prefix = is_prefix;
}

static void header_add(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		       struct conf_route *r)
{
	char shown[WORD_SHOWN_MAX];

	if (!word_is_token(slice_of(node->key))) {
		(void)err_at(ctx->err, node->key_at, "\"%s\" is not the name of a header",
			     word_show(node->key, shown));
		return;
	}
	const char *value = opt_text(ctx, o, node);
	if (value == NULL)
		return;
	if (!word_is_field_value(slice_of(value))) {
		opt_bad(ctx, o, node, "a header's value has no control characters");
		return;
	}
	struct conf_header_cond *h =
		&r->headers[r->n_headers++]; /* r->headers has an element for each key of the map */
	opt_set_string(ctx, &h->name, slice_of(node->key));
	opt_set_string(ctx, &h->value, slice_of(value));
}

static void headers_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
			 void *object)
{
	struct conf_route *r = object;

	if (node->kind != YAML_MAP) {
		opt_bad(ctx, o, node, "must be a map, like {x-canary: \"1\"}");
		return;
	}
	if (node->n == 0)
		return;
	r->headers = opt_alloc(ctx, node->n, sizeof(r->headers[0]));
	if (r->headers == NULL)
		return;
	for (const struct yaml_node *item = node->first; item != NULL; item = item->next)
		header_add(ctx, o, item, r);
	LB_ASSERT(r->n_headers <= node->n);
}

static void host_write(struct printer *p, const struct opt *o, const void *object)
{
	const struct conf_route *r = object;
	_cleanup_(text_deinit) struct text host = TEXT_INIT;

	if (r->host == NULL)
		return;
	LB_ASSERT(!r->host_is_suffix || r->host[0] == '.');
	text_addf(&host, "%s%s", r->host_is_suffix ? "*" : "", r->host);
	print_text(p, o, text_slice(&host));
	p->out->failed = p->out->failed || host.failed;
}

static void path_write(struct printer *p, const struct opt *o, const void *object)
{
	const struct conf_route *r = object;
	_cleanup_(text_deinit) struct text path = TEXT_INIT;

	if (r->path == NULL)
		return;
	text_addf(&path, "%s%s", r->path, r->path_is_prefix ? "*" : "");
	print_text(p, o, text_slice(&path));
	p->out->failed = p->out->failed || path.failed;
}

static void headers_write(struct printer *p, const struct opt *o, const void *object)
{
	const struct conf_route *r = object;
	_cleanup_(text_deinit) struct text value = TEXT_INIT;

	if (r->n_headers == 0)
		return;
	for (size_t i = 0; i < r->n_headers; i++) {
		text_add(&value, i == 0 ? SLICE("{") : SLICE(", "));
		print_scalar(&value, slice_of(r->headers[i].name));
		text_add(&value, SLICE(": "));
		print_scalar(&value, slice_of(r->headers[i].value));
	}
	text_add(&value, SLICE("}"));
	print_yaml(p, o, &value);
}

/* Keys of a `routes:` entry, in the order of lb.yaml(5). */
const struct opt route_opts[] = {
	{
		.key = "name",
		.type = OPT_NAME,
		.offset = ROUTE(name),
		.flags = OPT_RELOAD,
		.help = "The name of the route in logs; without it, the route's number in the "
			"list, counted from 1.",
	},
	{
		.key = "host",
		.type = OPT_CALL,
		.read = host_read,
		.write = host_write,
		.pattern = "^(\\*\\.)?([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\])$",
		.flags = OPT_RELOAD,
		.help = "The requested host, without a port; *.x matches any host name below x.",
	},
	{
		.key = "path",
		.type = OPT_CALL,
		.read = path_read,
		.write = path_write,
		.pattern = "^/([^ ?#*]*/)?\\*?$|^/[^ ?#*]*$",
		.flags = OPT_RELOAD,
		.help = "The requested path; /x/* matches /x/ and every path below it.",
	},
	{
		.key = "websocket",
		.type = OPT_WORD,
		.offset = ROUTE(websocket),
		.words = kinds,
		.flags = OPT_RELOAD,
		.help = "true matches only WebSocket upgrade requests, false only other requests.",
	},
	{
		.key = "header",
		.type = OPT_CALL,
		.read = headers_read,
		.write = headers_write,
		.shape = SHAPE_MAP_OF_TEXTS,
		.flags = OPT_RELOAD,
		.help = "Header fields that the request must have, with exactly these values.",
	},
	{
		.key = "pool",
		.type = OPT_CALL,
		.offset = ROUTE(pool),
		.read = pool_ref_read,
		.write = pool_ref_write,
		.pattern = PATTERN_NAME,
		.flags = OPT_RELOAD | OPT_REQUIRED,
		.help = "The name of the pool for requests that match the route.",
	},
	{ .key = "method", .flags = OPT_LATER, .help = "The request's method." },
	{ .key = "query", .flags = OPT_LATER, .help = "Parameters of the request's query." },
	{ .key = "cookie", .flags = OPT_LATER, .help = "Cookies of the request." },
	{ .key = "subprotocol",
	  .flags = OPT_LATER,
	  .help = "A WebSocket subprotocol that the client offers." },
	{ .key = "origin",
	  .flags = OPT_LATER,
	  .help = "The origin of the page that opens the WebSocket." },
	{ .key = NULL },
};

void route_opts_read(struct opt_ctx *ctx, const struct opt *o, const struct yaml_node *node,
		     void *listener)
{
	struct conf_listener *l = listener;
	size_t n = opt_list(ctx, o, node);
	char number[24];

	LB_ASSERT(l->routes == NULL && l->n_routes == 0); /* opt_read() reads each key once */
	l->routes = n == 0 ? NULL : opt_alloc(ctx, n, sizeof(l->routes[0]));
	if (l->routes == NULL)
		return;
	for (const struct yaml_node *item = node->first; item != NULL; item = item->next) {
		struct conf_route *r = &l->routes[l->n_routes++];
		r->at = item->at;
		r->pool = CONF_NO_POOL;
		opt_set_defaults(ctx, route_opts, r);
		opt_read(ctx, route_opts, item, r);
		if (r->name == NULL) {
			(void)snprintf(number, sizeof(number), "%zu", l->n_routes);
			opt_set_string(ctx, &r->name, slice_of(number));
		}
	}
	LB_ASSERT(l->n_routes == n);
}

void route_opts_write(struct printer *p, const struct opt *o, const void *listener)
{
	const struct conf_listener *l = listener;

	if (l->n_routes == 0)
		return;
	print_list(p, o);
	for (size_t i = 0; i < l->n_routes; i++)
		print_item(p, route_opts, &l->routes[i]);
}
