/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes: which of a listener's routes is the first whose conditions a request meets, without a
 * look at each of them.
 *
 * Terms. A row is a route of the file in the table. A row's key is the hash of its host and its
 * path, which are written so:
 *
 *     host    "chat.example.com" as it is; "*.example.com" as ".example.com"; no condition as ""
 *     path    "/exact" as it is; "/ws/" followed by a star as "/ws/"; no condition as ""
 *
 * A chain is the rows of one bucket of a hash table, in the file's order.
 *
 * route_table_new() puts every row into a hash table by its key (add_row()), and every host that
 * some row has into a second one (add_host()).
 *
 * A request can meet a row only if
 *
 *     the row's host is "", or the request's host, or ends that host and begins with a dot, and
 *     the row's path is "", or the request's path, or begins that path and ends with a slash.
 *
 * So a match looks up every pair of such a host and such a path. For a.b.example.com and /x/y:
 *
 *     hosts: "", ".com", ".example.com", ".b.example.com", "a.b.example.com"
 *     paths: "", "/", "/x/", "/x/y"
 *
 * The match is the first row found, in the file's order. route_match() goes through
 * the hosts, match_host() through the paths of a host, and match_key() through the chain of a pair.
 * The hashes are computed a byte at a time, hosts from their end and paths from their beginning, so
 * all hosts cost one pass over the host, and all paths one pass over the path per host.
 *
 * A host that no row has costs one look into the second hash table, and no pass over the path. No
 * pass goes beyond the longest host or path that some row has.
 *
 * Each row found is compared with the request itself, in all conditions (is_met()). So when two
 * keys have the same hash, that costs time and nothing else.
 *
 * Thread: any; main for route_table_new() and route_table_free(). Hot, but for these two.
 */
#include "balance/route.h"

#include <stdint.h>
#include <stdlib.h>

#include "conf/conf.h"
#include "util/assert.h"
#include "util/hash.h"

#define NONE UINT32_MAX

struct row {
	struct slice host, path;
	const struct conf_route *conf;
	uint64_t key;
	uint32_t next; /* the next row of the same chain, which is later in the file; or NONE */
};

/* A host that some row has. */
struct host {
	uint64_t hash;
	size_t longest_path; /* bytes of the longest path of the rows with this host */
	uint32_t next;       /* the next host of the same chain, or NONE */
};

struct route_table {
	uint32_t n_rows;
	size_t longest_host;
	uint64_t mask;     /* of both hash tables: the number of chains - 1 */
	uint32_t *by_key;  /* owns: the first row of each chain, or NONE */
	uint32_t *by_host; /* owns: the first host of each chain, or NONE */
	struct host *host; /* owns */
	uint32_t n_hosts;
	struct row row[];
};

/* ---- hashes ---------------------------------------------------------------------------------- */

#define HASH_OF_NONE UINT64_C(0)

/* One step of FNV-1a. The low bits of such a hash are weak, so hash_mix() makes an index of it. */
static uint64_t hash_step(uint64_t hash, char c)
{
	return (hash ^ (unsigned char)c) * UINT64_C(0x100000001b3);
}

static uint64_t hash_step_host(uint64_t hash, char c)
{
	return hash_step(hash, c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c);
}

static uint64_t hash_host(struct slice s)
{
	uint64_t hash = HASH_OF_NONE;

	for (size_t i = s.n; i > 0; i--)
		hash = hash_step_host(hash, s.p[i - 1]);
	return hash;
}

static uint64_t hash_path(struct slice s)
{
	uint64_t hash = HASH_OF_NONE;

	for (size_t i = 0; i < s.n; i++)
		hash = hash_step(hash, s.p[i]);
	return hash;
}

/* ---- the table ------------------------------------------------------------------------------- */

static struct host *find_host(const struct route_table *t, uint64_t hash)
{
	for (uint32_t i = t->by_host[hash_mix(hash, 0) & t->mask]; i != NONE; i = t->host[i].next)
		if (t->host[i].hash == hash)
			return &t->host[i];
	return NULL;
}

static void add_host(struct route_table *t, uint64_t hash, const struct row *row)
{
	struct host *h = find_host(t, hash);

	if (h == NULL) {
		uint32_t *first = &t->by_host[hash_mix(hash, 0) & t->mask];
		LB_ASSERT(t->n_hosts < t->n_rows); /* at most one host for each row */
		h = &t->host[t->n_hosts];
		*h = (struct host){ .hash = hash, .next = *first };
		*first = t->n_hosts++;
	}
	if (h->longest_path < row->path.n)
		h->longest_path = row->path.n;
	if (t->longest_host < row->host.n)
		t->longest_host = row->host.n;
}

/*
 * Puts row `i` at the beginning of its chain. Rows are added from the last to the first, so the
 * chain is in the order of the file.
 */
static void add_row(struct route_table *t, uint32_t i, const struct conf_route *conf)
{
	struct row *row = &t->row[i];

	row->conf = conf;
	if (conf->host != NULL)
		row->host = slice_of(conf->host);
	if (conf->path != NULL)
		row->path = slice_of(conf->path);

	uint64_t hash = hash_host(row->host);

	row->key = hash_mix(hash, hash_path(row->path));
	LB_ASSERT(i < t->n_rows);
	row->next = t->by_key[row->key & t->mask];
	LB_ASSERT(row->next > i); /* NONE is above i, too */
	t->by_key[row->key & t->mask] = i;
	add_host(t, hash, row);
}

struct route_table *route_table_new(const struct conf_listener *c)
{
	struct route_table *t = calloc(1, sizeof(*t) + c->n_routes * sizeof(t->row[0]));
	size_t n_chains = 1;

	if (t == NULL)
		return NULL;
	LB_ASSERT(c->n_routes < INT32_MAX); /* route_match() returns an int */
	while (n_chains < 2 * c->n_routes)
		n_chains *= 2;
	t->n_rows = (uint32_t)c->n_routes;
	t->mask = n_chains - 1;
	t->by_key = calloc(n_chains, sizeof(*t->by_key));
	t->by_host = calloc(n_chains, sizeof(*t->by_host));
	t->host = calloc(c->n_routes + 1, sizeof(*t->host));
	if (t->by_key == NULL || t->by_host == NULL || t->host == NULL)
		return route_table_free(t);
	for (size_t i = 0; i < n_chains; i++)
		t->by_key[i] = t->by_host[i] = NONE;
	for (size_t i = c->n_routes; i > 0; i--)
		add_row(t, (uint32_t)(i - 1), &c->routes[i - 1]);
	return t;
}

struct route_table *route_table_free(struct route_table *t)
{
	if (t != NULL) {
		free(t->by_key);
		free(t->by_host);
		free(t->host);
	}
	free(t);
	return NULL;
}

/* ---- conditions ------------------------------------------------------------------------------ */

/*
 * A row for the host "*.x" has ".x" in row->host: any name below x meets it, but x itself does not.
 */
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

/*
 * A prefix ends with a slash: the paths "/ws/" and "/ws/a" meet the prefix "/ws/", but the path
 * "/ws" does not.
 */
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

static bool is_met(const struct row *row, const struct route_req *r)
{
	return is_kind_met(row, r->is_websocket) && is_host_met(row, r->host) &&
	       is_path_met(row, r->path) && are_headers_met(row, r);
}

/* ---- matching -------------------------------------------------------------------------------- */

/*
 * match_key() and match_host() return the first row in the file's order that the request meets,
 * among the rows that they look at and the row `best`. `best` is an index, or NONE.
 */

static uint32_t match_key(const struct route_table *t, const struct route_req *r, uint64_t host,
			  uint64_t path, uint32_t best)
{
	uint64_t key = hash_mix(host, path);

	LB_ASSERT(best == NONE || best < t->n_rows);
	for (uint32_t i = t->by_key[key & t->mask]; i < best; i = t->row[i].next)
		if (t->row[i].key == key && is_met(&t->row[i], r))
			return i;
	return best;
}

static uint32_t match_host(const struct route_table *t, const struct route_req *r, uint64_t host,
			   uint32_t best)
{
	const struct host *h = find_host(t, host);
	uint64_t path = HASH_OF_NONE;

	if (h == NULL)
		return best;
	best = match_key(t, r, host, path, best);
	for (size_t i = 0; i < r->path.n && i < h->longest_path; i++) {
		path = hash_step(path, r->path.p[i]);
		if (r->path.p[i] == '/' || i + 1 == r->path.n)
			best = match_key(t, r, host, path, best);
	}
	return best;
}

int route_match(const struct route_table *t, const struct route_req *r)
{
	uint64_t host = HASH_OF_NONE;
	uint32_t best = match_host(t, r, host, NONE);

	for (size_t i = 0; i < r->host.n && i < t->longest_host; i++) {
		char c = r->host.p[r->host.n - 1 - i];
		host = hash_step_host(host, c);
		if (c == '.' || i + 1 == r->host.n)
			best = match_host(t, r, host, best);
	}
	LB_ASSERT(best == NONE || best < t->n_rows);
	LB_DASSERT(best == NONE || is_met(&t->row[best], r));
	return best != NONE ? (int)best : -1;
}
