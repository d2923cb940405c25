/* SPDX-License-Identifier: Apache-2.0 */
/* Rows drawn by lot, judged against every request of a small world. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "conf/cover.h"

#define N_ROWS 6
#define N_LISTENERS 400

static const struct {
	char *host;
	bool is_suffix;
} hosts[] = {
	{ NULL, false }, { "a.x.y", false }, { "x.y", false }, { ".y", true }, { ".x.y", true }
};

static const struct {
	char *path;
	bool is_prefix;
} paths[] = { { NULL, false },   { "/", false }, { "/a", false },
	      { "/a/b", false }, { "/", true },  { "/a/", true } };

static struct conf_header_cond headers[][2] = { { { "x", "1" }, { "y", "1" } },
						{ { "X", "1" }, { "y", "2" } },
						{ { "x", "2" }, { "Y", "1" } } };

static const char *const asked_hosts[] = { "", "a.x.y", "b.x.y", "x.y", "z.y", "c.a.x.y", "w" };
static const char *const asked_paths[] = { "*", "/", "/a", "/a/", "/a/b", "/a/c", "/b" };

struct request {
	const char *host, *path;
	bool is_upgrade;
	unsigned fields; /* bits: x: 1, x: 2, y: 1, y: 2 */
};

static unsigned drawn(unsigned *state, unsigned n)
{
	*state = *state * 1103515245u + 12345u;
	return (*state >> 16) % n;
}

static struct conf_route row_drawn(unsigned *state)
{
	size_t h = drawn(state, ARRAY_SIZE(hosts)), p = drawn(state, ARRAY_SIZE(paths));

	return (struct conf_route){
		.host = hosts[h].host,
		.host_is_suffix = hosts[h].is_suffix,
		.path = paths[p].path,
		.path_is_prefix = paths[p].is_prefix,
		.websocket = (enum conf_tristate)drawn(state, 3),
		.n_headers = drawn(state, 3),
		.headers = headers[drawn(state, ARRAY_SIZE(headers))],
	};
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), n_end = strlen(end);

	return n > n_end && strcmp(s + n - n_end, end) == 0;
}

static bool has_fields(const struct conf_route *r, const struct request *q)
{
	for (size_t i = 0; i < r->n_headers; i++) {
		unsigned bit = strcasecmp(r->headers[i].name, "x") == 0 ? 0 : 2;
		bit += r->headers[i].value[0] == '1' ? 0 : 1;
		if ((q->fields & 1u << bit) == 0)
			return false;
	}
	return true;
}

static bool matches(const struct conf_route *r, const struct request *q)
{
	if (r->host != NULL &&
	    (r->host_is_suffix ? !ends_with(q->host, r->host) : strcmp(q->host, r->host) != 0))
		return false;
	if (r->path != NULL && (r->path_is_prefix ? strncmp(q->path, r->path, strlen(r->path)) != 0
						  : strcmp(q->path, r->path) != 0))
		return false;
	if (r->websocket != CONF_ANY && (r->websocket == CONF_YES) != q->is_upgrade)
		return false;
	return has_fields(r, q);
}

/* Whether the rows of by[] match every request that the row does. */
static bool is_covered(const struct conf_route *rows, const struct conf_route *row,
		       const size_t *by, size_t n)
{
	for (size_t i = 0; i < ARRAY_SIZE(asked_hosts) * ARRAY_SIZE(asked_paths) * 32; i++) {
		struct request q = {
			.fields = i % 16,
			.is_upgrade = i / 16 % 2 != 0,
			.path = asked_paths[i / 32 % ARRAY_SIZE(asked_paths)],
			.host = asked_hosts[i / 32 / ARRAY_SIZE(asked_paths)],
		};
		bool is_met = !matches(row, &q);
		for (size_t k = 0; k < n; k++)
			is_met = is_met || matches(&rows[by[k]], &q);
		if (!is_met)
			return false;
	}
	return true;
}

/* What is found covers; what one row alone covers is found. */
static void judge(const struct conf_listener *l, const struct cover *c, size_t index)
{
	static const struct conf_route any;
	const struct conf_route *row = index < l->n_routes ? &l->routes[index] : &any;
	size_t by[2] = { SIZE_MAX, SIZE_MAX }, n = cover_find(c, index, by);

	ck_assert_uint_le(n, 2);
	for (size_t k = 0; k < n; k++)
		ck_assert_uint_lt(by[k], index);
	ck_assert(n == 0 || is_covered(l->routes, row, by, n));
	ck_assert(n < 2 || by[0] < by[1]);
	for (size_t i = 0; i < index && n == 0; i++)
		ck_assert_msg(!is_covered(l->routes, row, &i, 1), "row %zu covers row %zu", i,
			      index);
}

START_TEST(a_cover_means_what_routes_match)
{
	struct conf_route rows[N_ROWS];
	struct conf_listener l = { .routes = rows, .n_routes = N_ROWS };
	unsigned state = 1;

	for (int i = 0; i < N_LISTENERS; i++) {
		for (size_t k = 0; k < N_ROWS; k++)
			rows[k] = row_drawn(&state);
		struct cover *c = cover_new(&l);
		ck_assert_ptr_nonnull(c);
		for (size_t k = 0; k <= N_ROWS; k++)
			judge(&l, c, k);
		ck_assert_ptr_null(cover_free(c));
	}
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, a_cover_means_what_routes_match);
}

int main(void)
{
	return run_suite("conf/cover", add_tests);
}
