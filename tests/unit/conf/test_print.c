/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is printed is the same configuration: read again it has the same values, no mistake and no
 * new warning, and prints the same.
 */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../suite.h"
#include "conf/conf.h"
#include "conf/print.h"
#include "conf/tables.h"

/* Loads a file; the warnings are counted. */
static struct conf *load(const char *path, size_t *n_warnings)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct conf *c = NULL;

	ck_assert_msg(conf_load(path, &e, &c) == 0, "%s", e.n_kept > 0 ? e.item[0].text : path);
	*n_warnings = e.n_warnings;
	return c;
}

static struct text printed(const struct conf *c)
{
	struct text t = TEXT_INIT;

	ck_assert_int_eq(conf_print(c, &t), 0);
	ck_assert(t.n > 0);
	return t;
}

/* A text through a file. */
static struct conf *load_text(const struct text *t, size_t *n_warnings)
{
	char path[] = "/tmp/lb-test-print-XXXXXX";
	int fd = mkstemp(path);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, t->p, t->n), (ssize_t)t->n);
	(void)close(fd);
	struct conf *c = load(path, n_warnings);
	(void)unlink(path);
	return c;
}

/* What no type of a row compares: the rest is told by the text. */
static void rows_are_same(const struct opt *table, const void *a, const void *b, const char *path)
{
	for (const struct opt *o = table; o->key != NULL; o++) {
		if (o->type == OPT_CALL || (o->flags & OPT_LATER) != 0 ||
		    (o->has_effect != NULL && !o->has_effect(a)))
			continue;
		ck_assert_msg(opt_is_same(o, a, b), "%s: %s has changed", path, o->key);
	}
}

static void pools_are_same(const struct conf_pool *a, const struct conf_pool *b, const char *path)
{
	rows_are_same(pool_opts, a, b, path);
	ck_assert_uint_eq(a->n_backends, b->n_backends);
	for (size_t i = 0; i < a->n_backends; i++)
		rows_are_same(backend_opts, &a->backends[i], &b->backends[i], path);
	ck_assert_int_eq(a->health.type, b->health.type);
	ck_assert_int_eq(a->hash.key, b->hash.key);
	ck_assert_pstr_eq(a->hash.name, b->hash.name);
	ck_assert_uint_eq(a->health.status_min, b->health.status_min);
	ck_assert_uint_eq(a->health.status_max, b->health.status_max);
	ck_assert_str_eq(a->health.path, b->health.path);
	ck_assert_pstr_eq(a->health.host, b->health.host);
	ck_assert_uint_eq(a->n_sources, b->n_sources);
	for (size_t i = 0; i < a->n_sources; i++)
		ck_assert(addr_eq(&a->sources[i], &b->sources[i]));
}

static void routes_are_same(const struct conf_route *a, const struct conf_route *b,
			    const char *path)
{
	rows_are_same(route_opts, a, b, path);
	ck_assert_pstr_eq(a->host, b->host);
	ck_assert_pstr_eq(a->path, b->path);
	ck_assert(a->host_is_suffix == b->host_is_suffix && a->path_is_prefix == b->path_is_prefix);
	ck_assert_uint_eq(a->pool, b->pool);
	ck_assert_uint_eq(a->n_headers, b->n_headers);
	for (size_t i = 0; i < a->n_headers; i++) {
		ck_assert_str_eq(a->headers[i].name, b->headers[i].name);
		ck_assert_str_eq(a->headers[i].value, b->headers[i].value);
	}
}

static void listeners_are_same(const struct conf_listener *a, const struct conf_listener *b,
			       const char *path)
{
	rows_are_same(listener_opts, a, b, path);
	ck_assert_uint_eq(a->pool, b->pool);
	ck_assert_uint_eq(a->n_binds, b->n_binds);
	for (size_t i = 0; i < a->n_binds; i++)
		ck_assert(addr_eq(&a->binds[i].addr, &b->binds[i].addr));
	ck_assert_uint_eq(a->n_routes, b->n_routes);
	for (size_t i = 0; i < a->n_routes; i++)
		routes_are_same(&a->routes[i], &b->routes[i], path);
}

static void is_fixed_point(const char *path)
{
	size_t n_before, n_after;
	struct conf *a = load(path, &n_before);
	struct text first = printed(a);
	struct conf *b = load_text(&first, &n_after);
	struct text second = printed(b);

	ck_assert_msg(strcmp(first.p, second.p) == 0, "%s: first:\n%s\nthen:\n%s", path, first.p,
		      second.p);
	ck_assert_msg(n_after <= n_before, "%s: new warnings", path);
	rows_are_same(main_opts, a, b, path);
	ck_assert_uint_eq(a->n_pools, b->n_pools);
	for (size_t i = 0; i < a->n_pools; i++)
		pools_are_same(&a->pools[i], &b->pools[i], path);
	ck_assert_uint_eq(a->n_listeners, b->n_listeners);
	for (size_t i = 0; i < a->n_listeners; i++)
		listeners_are_same(&a->listeners[i], &b->listeners[i], path);
	text_deinit(&first);
	text_deinit(&second);
	conf_unref(a);
	conf_unref(b);
}

static void path_of(const char *what, char path[4096])
{
	ck_assert_ptr_nonnull(getenv("LB_TESTS"));
	(void)snprintf(path, 4096, "%s/%s", getenv("LB_TESTS"), what);
}

static size_t each_file(const char *folder, void (*fn)(const char *path))
{
	char dir[4096], path[8192];
	size_t n = 0;

	path_of(folder, dir);
	DIR *d = opendir(dir);
	ck_assert_ptr_nonnull(d);
	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		if (e->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		fn(path);
		n++;
	}
	(void)closedir(d);
	return n;
}

START_TEST(print_is_read_as_the_same)
{
	char path[4096];

	ck_assert_uint_ge(each_file("config/good", is_fixed_point), 10);
	ck_assert_uint_ge(each_file("config/warn", is_fixed_point), 8);
	path_of("../lb.yaml", path);
	is_fixed_point(path);
}
END_TEST

/* Every key and every default, word for word. */
START_TEST(print_is_whole)
{
	char path[4096], want[16384];
	size_t n_warnings;

	path_of("config/good/full.yaml", path);
	struct conf *c = load(path, &n_warnings);
	struct text t = printed(c);
	path_of("config/print/full.yaml", path);
	FILE *f = fopen(path, "re");
	ck_assert_ptr_nonnull(f);
	size_t n = fread(want, 1, sizeof(want) - 1, f);
	want[n] = '\0';
	(void)fclose(f);
	ck_assert_str_eq(t.p, want);
	text_deinit(&t);
	conf_unref(c);
}
END_TEST

static const struct {
	const char *text, *want;
} scalars[] = {
	{ "chat", "chat" },
	{ "127.0.0.1:9001", "127.0.0.1:9001" },
	{ "/ws/*", "/ws/*" },
	{ "", "\"\"" },
	{ "1", "\"1\"" },
	{ "1.5", "\"1.5\"" },
	{ "12:30", "\"12:30\"" },
	{ "[::1]:80", "\"[::1]:80\"" },
	{ "*.example.com", "\"*.example.com\"" },
	{ "Yes", "\"Yes\"" },
	{ "null", "\"null\"" },
	{ "-x", "\"-x\"" },
	{ "a:", "\"a:\"" },
	{ "a, b", "\"a, b\"" },
	{ "a # b", "\"a # b\"" },
	{ "a\tb", "\"a\\x09b\"" },
	{ "a\"b\\c", "\"a\\\"b\\\\c\"" },
	{ "a\302\205b", "\"a\\x85b\"" },
	{ "\342\200\250\357\273\277", "\"\\u2028\\uFEFF\"" },
	{ "\303\251", "\"\303\251\"" },
};

static void is_read_as(const char *yaml, const char *want)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct yaml_node *root = NULL;

	ck_assert_int_eq(lb_yaml_parse(slice_of(yaml), "f", &e, &root), 0);
	ck_assert_str_eq(root->text, want);
	lb_yaml_free(root);
}

START_TEST(scalar)
{
	struct text t = TEXT_INIT;

	print_scalar(&t, slice_of(scalars[_i].text));
	ck_assert_str_eq(t.p, scalars[_i].want);
	is_read_as(t.p, scalars[_i].text);
	text_deinit(&t);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, print_is_read_as_the_same);
	tcase_add_test(t, print_is_whole);
	tcase_add_loop_test(t, scalar, 0, ARRAY_SIZE(scalars));
}

int main(void)
{
	return run_suite("conf/print", add_tests);
}
