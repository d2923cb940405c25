/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routing with 1,000 routes: the first, the last and none, of exact hosts, suffixes and paths, and
 * of paths that all share one host; and with ten.
 */
#include "micro.h"

#include "balance/route.h"
#include "conf/conf.h"

#define MAX_ROUTES 1000u
#define N_REQUESTS 200u
#define TEXT_MAX 64u

struct row {
	const char *name;
	const char *host, *path; /* of the request */
	int want;
};

struct request {
	const struct route_table *table;
	struct row row;
};

static bool has_header(void *arg, struct slice name, struct slice value)
{
	(void)arg;
	(void)name;
	(void)value;
	return false;
}

static void requests(void *arg, unsigned n)
{
	const struct request *q = arg;
	struct route_req r = {
		.host = slice_of(q->row.host),
		.path = slice_of(q->row.path),
		.is_websocket = true,
		.has_header = has_header,
	};

	for (unsigned i = 0; i < n; i++)
		MICRO_CHECK(route_match(q->table, &r) == q->row.want);
}

static struct conf_route exact_host(unsigned i, char *text)
{
	(void)snprintf(text, TEXT_MAX, "tenant%u.example.com", i);
	return (struct conf_route){ .host = text };
}

static struct conf_route host_suffix(unsigned i, char *text)
{
	(void)snprintf(text, TEXT_MAX, ".tenant%u.example.com", i);
	return (struct conf_route){ .host = text, .host_is_suffix = true };
}

static struct conf_route path_prefix(unsigned i, char *text)
{
	(void)snprintf(text, TEXT_MAX, "/tenant%u/", i);
	return (struct conf_route){ .path = text, .path_is_prefix = true };
}

static struct conf_route shared_host(unsigned i, char *text)
{
	static char host[] = "example.com";

	(void)snprintf(text, TEXT_MAX, "/tenant%u", i);
	return (struct conf_route){ .host = host, .path = text };
}

int main(int argc, char **argv)
{
	static const struct {
		unsigned n;
		struct conf_route (*make)(unsigned i, char *text);
		struct row rows[3];
	} tables[] = {
		{ 1000,
		  exact_host,
		  { { "host, first of 1,000", "tenant0.example.com", "/ws", 0 },
		    { "host, last of 1,000", "tenant999.example.com", "/ws", 999 },
		    { "host, none of 1,000", "tenant.example.com", "/ws", -1 } } },
		{ 1000,
		  host_suffix,
		  { { "suffix, first of 1,000", "a.tenant0.example.com", "/ws", 0 },
		    { "suffix, last of 1,000", "a.tenant999.example.com", "/ws", 999 },
		    { "suffix, none of 1,000", "a.tenant.example.com", "/ws", -1 } } },
		{ 1000,
		  path_prefix,
		  { { "path, first of 1,000", "example.com", "/tenant0/ws", 0 },
		    { "path, last of 1,000", "example.com", "/tenant999/ws", 999 },
		    { "path, none of 1,000", "example.com", "/tenant/ws", -1 } } },
		{ 1000,
		  shared_host,
		  { { "path of one host, first of 1,000", "example.com", "/tenant0", 0 },
		    { "path of one host, last of 1,000", "example.com", "/tenant999", 999 },
		    { "path of one host, none of 1,000", "example.com", "/tenant", -1 } } },
		{ 10,
		  exact_host,
		  { { "host, first of 10", "tenant0.example.com", "/ws", 0 },
		    { "host, last of 10", "tenant9.example.com", "/ws", 9 },
		    { "host, none of 10", "tenant.example.com", "/ws", -1 } } },
	};
	static struct conf_route routes[MAX_ROUTES];
	static char text[MAX_ROUTES][TEXT_MAX];

	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		struct conf_listener l = { .n_routes = tables[i].n, .routes = routes };

		for (unsigned k = 0; k < tables[i].n; k++)
			routes[k] = tables[i].make(k, text[k]);
		struct route_table *t = route_table_new(&l);
		MICRO_CHECK(t != NULL);
		for (size_t k = 0; k < 3; k++) {
			struct request q = { .table = t, .row = tables[i].rows[k] };

			micro_run(q.row.name, requests, &q, N_REQUESTS, argc, argv);
		}
		route_table_free(t);
	}
	return 0;
}
