/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "../suite.h"
#include "balance/route.h"
#include "conf/conf.h"
#include "util/assert.h"
#include "util/hash.h"

static char host[] = "chat.example.com", suffix[] = ".example.com", path[] = "/exact",
	    prefix[] = "/ws/", header[] = "X-Canary", value[] = "1";
static struct conf_header_cond cond = { .name = header, .value = value };

/* For each row of the table, the route that the requests below meet first. */
static struct conf_route rows[] = {
	{ .host = host, .path = prefix, .path_is_prefix = true },
	{ .host = suffix, .host_is_suffix = true, .websocket = CONF_YES },
	{ .path = path },
	{ .n_headers = 1, .headers = &cond },
	{ .websocket = CONF_NO, .host = host },
};

static const struct {
	const char *name, *host, *path, *header;
	bool is_websocket;
	int want;
} requests[] = {
	{ "host and prefix", "chat.example.com", "/ws/a", NULL, true, 0 },
	{ "the prefix alone", "chat.example.com", "/ws/", NULL, true, 0 },
	{ "host in any case", "CHAT.Example.Com", "/ws/a", NULL, true, 0 },
	{ "without the prefix's slash", "chat.example.com", "/ws", NULL, true, 1 },
	{ "a suffix, deeper", "a.b.example.com", "/", NULL, true, 1 },
	{ "a suffix is not its own name", "example.com", "/", NULL, true, -1 },
	{ "a suffix needs its dot", "badexample.com", "/", NULL, true, -1 },
	{ "exact path", "other", "/exact", NULL, true, 2 },
	{ "exact path is exact", "other", "/exact/", NULL, true, -1 },
	{ "path's case counts", "other", "/EXACT", NULL, true, -1 },
	{ "header", "other", "/", "1", true, 3 },
	{ "header with another value", "other", "/", "2", true, -1 },
	{ "a plain request", "chat.example.com", "/", NULL, false, 4 },
	{ "no host at all", "", "/", NULL, false, -1 },
	{ "the first of two that match", "chat.example.com", "/exact", "1", false, 2 },
};

static bool has_header(void *arg, struct slice name, struct slice wanted)
{
	const char *got = arg;

	return got != NULL && slice_eq_nocase(name, SLICE("x-canary")) &&
	       slice_eq(slice_of(got), wanted);
}

START_TEST(first_match_wins)
{
	struct conf_listener l = { .n_routes = ARRAY_SIZE(rows), .routes = rows };
	struct route_table *t = route_table_new(&l);
	char got_header[] = { 0, 0 };
	struct route_req r = {
		.host = slice_of(requests[_i].host),
		.path = slice_of(requests[_i].path),
		.is_websocket = requests[_i].is_websocket,
		.has_header = has_header,
		.arg = requests[_i].header != NULL ? got_header : NULL,
	};

	if (requests[_i].header != NULL)
		got_header[0] = requests[_i].header[0];
	int got = route_match(t, &r);
	ck_assert_msg(got == requests[_i].want, "%s: row %d", requests[_i].name, got);
	route_table_free(t);
}
END_TEST

/* ---- paths as they were sent ------------------------------------------------------------------
 */

/*
 * A path may be written in more than one way; a request meets only the row that is written like its
 * own.
 */
static const struct {
	const char *name, *row;
	bool is_prefix;
	const char *path;
	bool is_met;
} written[] = {
	{ "an encoded slash is none", "/a/b", false, "/a%2fb", false },
	{ "an encoded slash ends no prefix", "/a/", true, "/a%2fb", false },
	{ "an encoded slash as written", "/a%2fb", false, "/a%2fb", true },
	{ "an encoded slash in another case", "/a%2fb", false, "/a%2Fb", false },
	{ "a prefix with an encoded slash", "/a%2f/", true, "/a%2f/b", true },
	{ "an encoded letter is none", "/admin", false, "/%61dmin", false },
	{ "a backslash is no slash", "/a/b", false, "/a\\b", false },
	{ "a backslash ends no prefix", "/a/", true, "/a\\b", false },
	{ "a backslash as written", "/a\\b", false, "/a\\b", true },
	{ "two slashes are not one", "/a/b", false, "/a//b", false },
	{ "one slash is not two", "/a//b", false, "/a/b", false },
	{ "two slashes as written", "/a//b", false, "/a//b", true },
	{ "two slashes first", "/a/", true, "//a/b", false },
	{ "two slashes behind a prefix", "/a/", true, "/a//b", true },
	{ "what follows a semicolon counts", "/a", false, "/a;b", false },
	{ "what follows a semicolon ends no prefix", "/a/", true, "/a;b/c", false },
	{ "a semicolon as written", "/a;b", false, "/a;b", true },
	{ "a semicolon behind a prefix", "/a/", true, "/a/;b", true },
};

START_TEST(a_path_is_met_as_it_is_written)
{
	char text[32];
	struct conf_route row = { .path = text, .path_is_prefix = written[_i].is_prefix };
	struct conf_listener l = { .n_routes = 1, .routes = &row };
	struct route_req r = { .path = slice_of(written[_i].path), .has_header = has_header };

	(void)strcpy(text, written[_i].row);
	struct route_table *t = route_table_new(&l);
	ck_assert_msg((route_match(t, &r) == 0) == written[_i].is_met, "%s", written[_i].name);
	route_table_free(t);
}
END_TEST

/* ---- held against the plain definition --------------------------------------------------------
 */

#define N_TABLES 1000
#define N_REQUESTS 200
#define MAX_ROWS 64
#define TEXT_MAX 32

/* What a request has, for the plain matcher. */
struct sample {
	char host[TEXT_MAX], path[TEXT_MAX];
	const char *header; /* the value of x-canary, or NULL */
	bool is_websocket;
};

static bool is_sample_met(const struct conf_route *c, const struct sample *q)
{
	size_t host_n = strlen(q->host), n = c->host != NULL ? strlen(c->host) : 0;

	if (c->websocket != CONF_ANY && (c->websocket == CONF_YES) != q->is_websocket)
		return false;
	if (c->host != NULL && c->host_is_suffix &&
	    (host_n <= n || strcasecmp(q->host + host_n - n, c->host) != 0))
		return false;
	if (c->host != NULL && !c->host_is_suffix && strcasecmp(q->host, c->host) != 0)
		return false;
	if (c->path != NULL && c->path_is_prefix && strncmp(q->path, c->path, strlen(c->path)) != 0)
		return false;
	if (c->path != NULL && !c->path_is_prefix && strcmp(q->path, c->path) != 0)
		return false;
	return c->n_headers == 0 ||
	       (q->header != NULL && strcmp(q->header, c->headers[0].value) == 0);
}

static int first_met(const struct conf_listener *l, const struct sample *q)
{
	for (size_t i = 0; i < l->n_routes; i++)
		if (is_sample_met(&l->routes[i], q))
			return (int)i;
	return -1;
}

static uint64_t draw(uint64_t *random, uint64_t n)
{
	*random = hash_mix(*random, 1);
	return *random % n;
}

/* Of few labels, so that rows and requests meet: "", "a.b", "b.a.b" and the like. */
static void draw_host(uint64_t *random, char *text)
{
	static const char *const labels[] = { "a", "b", "c", "ab" };

	text[0] = '\0';
	for (uint64_t n = draw(random, 5); n > 0; n--) {
		(void)strcat(text, labels[draw(random, ARRAY_SIZE(labels))]);
		if (n > 1)
			(void)strcat(text, ".");
	}
}

/* "/", "/a", "/a/", "/a//b" and the like. */
static void draw_path(uint64_t *random, char *text)
{
	static const char *const parts[] = { "a", "b", "/", "/", "ab" };

	(void)strcpy(text, "/");
	for (uint64_t n = draw(random, 6); n > 0; n--)
		(void)strcat(text, parts[draw(random, ARRAY_SIZE(parts))]);
}

static void draw_row(uint64_t *random, struct conf_route *row, char *host_text, char *path_text)
{
	*row = (struct conf_route){ .websocket = (enum conf_tristate)draw(random, 3) };
	host_text[0] = '.';
	draw_host(random, host_text + 1);
	if (draw(random, 4) > 0 && host_text[1] != '\0') {
		row->host_is_suffix = draw(random, 2) == 0;
		row->host = host_text + !row->host_is_suffix;
	}
	draw_path(random, path_text);
	if (draw(random, 4) > 0) {
		row->path = path_text;
		row->path_is_prefix = path_text[strlen(path_text) - 1] == '/' && draw(random, 2);
	}
	if (draw(random, 5) == 0) {
		row->n_headers = 1;
		row->headers = &cond;
	}
}

static void draw_sample(uint64_t *random, struct sample *q)
{
	draw_host(random, q->host);
	for (size_t i = 0; q->host[i] != '\0'; i++)
		if (draw(random, 4) == 0)
			q->host[i] = (char)toupper((unsigned char)q->host[i]);
	draw_path(random, q->path);
	q->header = draw(random, 2) > 0 ? "1" : draw(random, 2) > 0 ? "2" : NULL;
	q->is_websocket = draw(random, 2) > 0;
}

static void compare(const struct conf_listener *l, const struct route_table *t, uint64_t *random)
{
	struct sample q;

	draw_sample(random, &q);
	char got_header[] = { q.header != NULL ? q.header[0] : '\0', '\0' };
	struct route_req r = {
		.host = slice_of(q.host),
		.path = slice_of(q.path),
		.is_websocket = q.is_websocket,
		.has_header = has_header,
		.arg = q.header != NULL ? got_header : NULL,
	};
	int got = route_match(t, &r), want = first_met(l, &q);
	if (got != want)
		ck_abort_msg("%s %s: row %d, not %d", q.host, q.path, got, want);
}

/*
 * Random tables of any size: each request meets the row that a plain matcher finds, which looks at
 * one row after the other.
 */
START_TEST(the_index_means_the_file)
{
	struct conf_route drawn[MAX_ROWS];
	char text[MAX_ROWS][2][TEXT_MAX];

	for (uint64_t table = 1; table <= N_TABLES; table++) {
		uint64_t random = table;
		struct conf_listener l = { .n_routes = draw(&random, MAX_ROWS + 1),
					   .routes = drawn };

		for (size_t i = 0; i < l.n_routes; i++)
			draw_row(&random, &drawn[i], text[i][0], text[i][1]);
		struct route_table *t = route_table_new(&l);
		ck_assert_ptr_nonnull(t);
		for (int k = 0; k < N_REQUESTS; k++)
			compare(&l, t, &random);
		route_table_free(t);
	}
}
END_TEST

/* The generator is useful only when requests meet rows of every kind, and miss some. */
START_TEST(generated_requests_meet_every_kind)
{
	size_t n_missed = 0, n_host = 0, n_suffix = 0, n_prefix = 0, n_late = 0;

	for (uint64_t table = 1; table <= 100; table++) {
		struct conf_route drawn[MAX_ROWS];
		char text[MAX_ROWS][2][TEXT_MAX];
		uint64_t random = table;
		struct conf_listener l = { .n_routes = draw(&random, MAX_ROWS + 1),
					   .routes = drawn };

		for (size_t i = 0; i < l.n_routes; i++)
			draw_row(&random, &drawn[i], text[i][0], text[i][1]);
		for (int k = 0; k < N_REQUESTS; k++) {
			struct sample q;
			draw_sample(&random, &q);
			int at = first_met(&l, &q);
			n_missed += at < 0;
			if (at < 0)
				continue;
			n_late += at > 8;
			n_host += drawn[at].host != NULL && !drawn[at].host_is_suffix;
			n_suffix += drawn[at].host_is_suffix;
			n_prefix += drawn[at].path_is_prefix;
		}
	}
	ck_assert_msg(n_missed > 100 && n_late > 100 && n_host > 100 && n_suffix > 100 &&
			      n_prefix > 100,
		      "%zu missed, %zu late, %zu by host, %zu by suffix, %zu by prefix", n_missed,
		      n_late, n_host, n_suffix, n_prefix);
}
END_TEST

/*
 * A long request costs no more: what is longer than in any row is not hashed, and nothing
 * overflows.
 */
START_TEST(long_requests_miss)
{
	static char long_host[60000], long_path[60000];
	struct conf_listener l = { .n_routes = ARRAY_SIZE(rows), .routes = rows };
	struct route_table *t = route_table_new(&l);
	struct route_req r = {
		.host = { .p = long_host, .n = sizeof(long_host) },
		.path = { .p = long_path, .n = sizeof(long_path) },
		.has_header = has_header,
	};

	memset(long_host, '.', sizeof(long_host));
	memset(long_path, '/', sizeof(long_path));
	ck_assert_int_eq(route_match(t, &r), -1);
	route_table_free(t);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, first_match_wins, 0, ARRAY_SIZE(requests));
	tcase_add_loop_test(t, a_path_is_met_as_it_is_written, 0, ARRAY_SIZE(written));
	tcase_add_test(t, the_index_means_the_file);
	tcase_add_test(t, generated_requests_meet_every_kind);
	tcase_add_test(t, long_requests_miss);
}

int main(void)
{
	return run_suite("balance/route", add_tests);
}
