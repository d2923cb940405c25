/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A row's cheap conditions come first: the lengths of host and path are compared before their
 * bytes, so that a thousand rows that do not match cost a comparison or two each.
 */
#include "balance/route.h"

#include <stdlib.h>

#include "conf/conf.h"

struct row {
	struct slice host, path;
	const struct conf_route *conf;
};

struct route_table {
	size_t n;
	struct row row[];
};

struct route_table *route_table_new(const struct conf_listener *c)
{
	struct route_table *t = calloc(1, sizeof(*t) + c->n_routes * sizeof(t->row[0]));

	if (t == NULL)
		return NULL;
	t->n = c->n_routes;
	for (size_t i = 0; i < t->n; i++) {
		const struct conf_route *r = &c->routes[i];
		t->row[i].conf = r;
		if (r->host != NULL)
			t->row[i].host = slice_of(r->host);
		if (r->path != NULL)
			t->row[i].path = slice_of(r->path);
	}
	return t;
}

struct route_table *route_table_free(struct route_table *t)
{
	free(t);
	return NULL;
}

/* `*.x` is kept as ".x": any name below x, not x itself. */
static bool is_host_met(const struct row *row, struct slice host)
{
	if (row->host.p == NULL)
		return true;
	if (!row->conf->host_is_suffix)
		return slice_eq_nocase(row->host, host);
	if (host.n <= row->host.n)
		return false;
	struct slice tail = { .p = host.p + host.n - row->host.n, .n = row->host.n };
	return slice_eq_nocase(row->host, tail);
}

/* A prefix ends with its slash: "/ws/" is met by "/ws/" and "/ws/a", not by "/ws". */
static bool is_path_met(const struct row *row, struct slice path)
{
	if (row->path.p == NULL)
		return true;
	return row->conf->path_is_prefix ? slice_starts_with(path, row->path)
					 : slice_eq(path, row->path);
}

static bool is_kind_met(const struct row *row, bool is_websocket)
{
	return row->conf->websocket == CONF_ANY ||
	       (row->conf->websocket == CONF_YES) == is_websocket;
}

static bool are_headers_met(const struct row *row, const struct route_req *r)
{
	for (size_t i = 0; i < row->conf->n_headers; i++) {
		const struct conf_header_cond *h = &row->conf->headers[i];
		if (!r->has_header(r->arg, slice_of(h->name), slice_of(h->value)))
			return false;
	}
	return true;
}

int route_match(const struct route_table *t, const struct route_req *r)
{
	for (size_t i = 0; i < t->n; i++) {
		const struct row *row = &t->row[i];
		if (is_kind_met(row, r->is_websocket) && is_host_met(row, r->host) &&
		    is_path_met(row, r->path) && are_headers_met(row, r))
			return (int)i;
	}
	return -1;
}
