/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which rows of a listener's routes cover a later row: they match every request that the later row
 * matches, so that no request reaches the later row. "Row" is a route; `pool` of the listener
 * counts as a last row without conditions.
 *
 * cover_new() makes a struct entry of each row and sorts the entries by their place (host and
 * path), then by index. cover_find() looks for the rows that cover one row. Such a row has the same
 * host, any host, or a suffix that the host ends with, and the same path, any path, or a prefix
 * that the path begins with. These are few places. look_at_hosts() goes over the hosts,
 * look_at_paths() over the paths, and look_at() finds the entries of one place by bisection
 * (lower_bound()) and compares their other conditions: the headers, and `websocket`.
 *
 * `websocket` divides the requests into two halves, upgrades to WebSocket and others. For each
 * half, struct search keeps the first row that covers the half. Each half that the row matches has
 * to be covered, both by one row or each by a row of its own.
 *
 * Apart from the two halves, cover_find() does not find rows that cover a row only together.
 * LOOKS_MAX and PREFIXES_MAX bound the work, and rows beyond these bounds are not found, either. So
 * cover_find() may miss that a row is covered, but when it says that a row is covered, that is
 * true.
 */
#include "conf/cover.h"

#include <stdlib.h>
#include <string.h>

#include "util/assert.h"
#include "util/slice.h"

#define LOOKS_MAX 256   /* most rows of one place that are compared with a row; a guess */
#define PREFIXES_MAX 64 /* most prefixes of a path, the shortest first; a guess */

/* The conditions of a row by which entries are sorted. An empty text is any host, or any path. */
struct place {
	struct slice host, path; /* borrowed */
	bool is_suffix, is_prefix;
};

struct entry {
	struct place place;
	size_t index;
};

struct cover {
	const struct conf_listener *listener; /* borrowed */
	size_t n;
	struct entry entry[];
};

static const struct conf_route everything; /* a row without conditions */

static struct place place_of(const struct conf_route *r)
{
	return (struct place){
		.host = r->host != NULL ? slice_of(r->host) : SLICE(""),
		.path = r->path != NULL ? slice_of(r->path) : SLICE(""),
		.is_suffix = r->host_is_suffix,
		.is_prefix = r->path_is_prefix,
	};
}

static int slice_compare(struct slice a, struct slice b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int r = n == 0 ? 0 : memcmp(a.p, b.p, n);

	return r != 0 ? r : (a.n > b.n) - (a.n < b.n);
}

static int place_compare(const struct place *a, const struct place *b)
{
	int r = slice_compare(a->host, b->host);

	if (r == 0)
		r = (int)a->is_suffix - (int)b->is_suffix;
	if (r == 0)
		r = slice_compare(a->path, b->path);
	return r != 0 ? r : (int)a->is_prefix - (int)b->is_prefix;
}

static int entry_compare(const void *pa, const void *pb)
{
	const struct entry *a = pa, *b = pb;
	int r = place_compare(&a->place, &b->place);

	return r != 0 ? r : (a->index > b->index) - (a->index < b->index);
}

struct cover *cover_new(const struct conf_listener *l)
{
	struct cover *c = calloc(1, sizeof(*c) + l->n_routes * sizeof(c->entry[0]));

	if (c == NULL)
		return NULL;
	c->listener = l;
	c->n = l->n_routes;
	LB_ASSERT(l->n_routes == 0 || l->routes != NULL);
	for (size_t i = 0; i < c->n; i++)
		c->entry[i] = (struct entry){ .place = place_of(&l->routes[i]), .index = i };
	qsort(c->entry, c->n, sizeof(c->entry[0]), entry_compare);
	return c;
}

struct cover *cover_free(struct cover *c)
{
	free(c);
	return NULL;
}

/*
 * The index of the first entry whose place is not before `p`; c->n when all entries are before `p`.
 */
static size_t lower_bound(const struct cover *c, const struct place *p)
{
	size_t from = 0, to = c->n;

	while (from < to) {
		size_t middle = from + (to - from) / 2;
		if (place_compare(&c->entry[middle].place, p) < 0)
			from = middle + 1;
		else
			to = middle;
	}
	LB_ASSERT(from <= c->n);
	LB_ASSERT(from == 0 || place_compare(&c->entry[from - 1].place, p) < 0);
	return from;
}

static bool has_header(const struct conf_route *r, const struct conf_header_cond *h)
{
	for (size_t i = 0; i < r->n_headers; i++) {
		if (strcasecmp(r->headers[i].name, h->name) == 0 &&
		    strcmp(r->headers[i].value, h->value) == 0)
			return true;
	}
	return false;
}

/* Whether each request that has the headers of route `r` also has the headers of route `by`. */
static bool has_headers(const struct conf_route *r, const struct conf_route *by)
{
	for (size_t i = 0; i < by->n_headers; i++) {
		if (!has_header(r, &by->headers[i]))
			return false;
	}
	return true;
}

/* The search for the rows that cover one row, which is `route` with the index `index`. */
struct search {
	const struct cover *cover;
	const struct conf_route *route;
	size_t index;
	/*
	 * Indexes of the first row that covers the requests that are no upgrades, and of the first
	 * row that covers the upgrades; SIZE_MAX: none.
	 */
	size_t other, upgrade;
};

static void take_first(size_t *first, size_t index)
{
	if (index < *first)
		*first = index;
}

/* Compares s->route with the rows of one place that come before s->route. */
static void look_at(struct search *s, const struct place *p)
{
	const struct cover *c = s->cover;
	size_t at = lower_bound(c, p);

	for (size_t looks = 0; at < c->n && looks < LOOKS_MAX; at++, looks++) {
		const struct entry *e = &c->entry[at];
		if (place_compare(&e->place, p) != 0 || e->index >= s->index)
			return;
		LB_ASSERT(e->index < c->n);
		const struct conf_route *by = &c->listener->routes[e->index];
		if (!has_headers(s->route, by))
			continue;
		if (by->websocket != CONF_YES)
			take_first(&s->other, e->index);
		if (by->websocket != CONF_NO)
			take_first(&s->upgrade, e->index);
	}
}

/*
 * Looks at the places with the host of `p`, and these paths: any, the row's own, and each prefix of
 * the row's path that ends with a slash.
 */
static void look_at_paths(struct search *s, struct place p)
{
	const struct place own = place_of(s->route);
	size_t n_prefixes = 0;

	LB_ASSERT(p.path.n == 0 && !p.is_prefix);
	look_at(s, &p);
	if (own.path.n == 0)
		return;
	if (!own.is_prefix) {
		p.path = own.path;
		look_at(s, &p);
	}
	p.is_prefix = true;
	for (size_t n = 1; n <= own.path.n && n_prefixes < PREFIXES_MAX; n++) {
		if (own.path.p[n - 1] != '/')
			continue;
		p.path = (struct slice){ .p = own.path.p, .n = n };
		look_at(s, &p);
		n_prefixes++;
	}
}

/* Looks at these hosts: any, the row's own, and each suffix of it that begins with a dot. */
static void look_at_hosts(struct search *s)
{
	const struct place own = place_of(s->route);

	look_at_paths(s, (struct place){ 0 });
	if (own.host.n == 0)
		return;
	look_at_paths(s, (struct place){ .host = own.host, .is_suffix = own.is_suffix });
	for (size_t i = 1; i < own.host.n; i++) {
		if (own.host.p[i] == '.')
			look_at_paths(s, (struct place){ .host = { .p = own.host.p + i,
								   .n = own.host.n - i },
							 .is_suffix = true });
	}
}

size_t cover_find(const struct cover *c, size_t index, size_t by[2])
{
	const struct conf_listener *l = c->listener;
	struct search s = { .cover = c, .index = index, .other = SIZE_MAX, .upgrade = SIZE_MAX };

	LB_ASSERT(index <= l->n_routes);
	s.route = index < l->n_routes ? &l->routes[index] : &everything;
	look_at_hosts(&s);
	bool needs_other = s.route->websocket != CONF_YES;
	bool needs_upgrade = s.route->websocket != CONF_NO;
	if ((needs_other && s.other == SIZE_MAX) || (needs_upgrade && s.upgrade == SIZE_MAX))
		return 0;
	if (!needs_other || !needs_upgrade || s.other == s.upgrade) {
		by[0] = needs_other ? s.other : s.upgrade;
		LB_ASSERT(by[0] < index);
		return 1;
	}
	by[0] = s.other < s.upgrade ? s.other : s.upgrade;
	by[1] = s.other < s.upgrade ? s.upgrade : s.other;
	LB_ASSERT(by[0] < by[1] && by[1] < index);
	return 2;
}
