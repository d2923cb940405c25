/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../suite.h"
#include "conf/conf.h"
#include "util/log.h"

/* A file of tests/config/good. */
static struct conf *load_good(const char *name)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	const char *dir = getenv("LB_TESTS");
	struct conf *c = NULL;
	char path[PATH_MAX];

	ck_assert_ptr_nonnull(dir);
	(void)snprintf(path, sizeof(path), "%s/config/good/%s.yaml", dir, name);
	ck_assert_int_eq(conf_load(path, &e, &c), 0);
	ck_assert_str_eq(c->file, path);
	return c;
}

/* Text through a file in a folder of its own; the folder's path goes to `dir`. */
static int load_text(const char *text, struct err *e, struct conf **ret, char dir[PATH_MAX])
{
	char path[PATH_MAX + 16];

	(void)snprintf(dir, PATH_MAX, "/tmp/lb-test-conf-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/lb.yaml", dir);
	FILE *f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	(void)fputs(text, f);
	(void)fclose(f);
	int r = conf_load(path, e, ret);
	(void)unlink(path);
	(void)rmdir(dir);
	return r;
}

static void addr_is(const struct addr *a, const char *want)
{
	char text[ADDR_TEXT_MAX];

	ck_assert_str_eq(addr_format(a, text), want);
}

START_TEST(defaults_of_main)
{
	struct conf *c = load_good("minimal");

	ck_assert_uint_eq(c->workers, 0);
	ck_assert_int_eq(c->engine, CONF_ENGINE_AUTO);
	ck_assert_ptr_null(c->user);
	ck_assert_uint_eq(c->stop_timeout_ms, 30000);
	ck_assert_uint_eq(c->stop_delay_ms, 0);
	ck_assert(c->log.is_on);
	ck_assert_int_eq(c->log.level, LOG_LEVEL_NOTICE);
	ck_assert_int_eq(c->log.format, CONF_LOG_TEXT);
	ck_assert_str_eq(c->log.to, "stderr");
	ck_assert(!c->access_log.is_on);
	ck_assert_ptr_null(c->access_log.to);
	ck_assert_str_eq(c->admin.socket, "/run/lb/admin.sock");
	ck_assert_uint_eq(c->admin.mode, 0600);
	ck_assert(!c->admin.has_http);
	ck_assert_ptr_null(c->admin.http_text);
	ck_assert_uint_eq(c->max_conns, 0);
	conf_unref(c);
}
END_TEST

START_TEST(defaults_of_a_listener)
{
	struct conf *c = load_good("minimal");

	ck_assert_uint_eq(c->n_listeners, 1);
	const struct conf_listener *l = &c->listeners[0];
	ck_assert_str_eq(l->name, "l");
	ck_assert_int_eq(l->mode, CONF_MODE_HTTP);
	ck_assert_uint_eq(l->n_binds, 1);
	addr_is(&l->binds[0].addr, "127.0.0.1:8080");
	ck_assert_str_eq(l->binds[0].text, "127.0.0.1:8080");
	ck_assert_uint_eq(l->binds[0].at.line, 2);
	ck_assert_uint_eq(l->binds[0].at.col, 21);
	ck_assert_ptr_eq(l->binds[0].at.file, c->file);
	ck_assert_uint_eq(l->pool, 0);
	ck_assert_uint_eq(l->n_routes, 0);
	ck_assert_uint_eq(l->handshake_ms, 10000);
	ck_assert_int_eq(l->http.underscores, CONF_UNDERSCORES_DROP);
	ck_assert_int_eq(l->http.dots, CONF_DOTS_PASS); /* no route looks at paths */
	ck_assert_int_eq(l->http.targets, CONF_TARGETS_STRICT);
	ck_assert_uint_eq(l->at.line, 2);
	conf_unref(c);
}
END_TEST

/* However an address is spelt, it is shown, and a name is made of it, in one spelling. */
START_TEST(addresses_have_one_spelling)
{
	struct conf *c = load_good("ipv6");

	ck_assert_str_eq(c->admin.http_text, "[::1]:9901");
	ck_assert_str_eq(c->listeners[0].binds[1].text, "[::]:8080");
	ck_assert_str_eq(c->pools[0].backends[0].name, "[::1]:9001");
	ck_assert_str_eq(c->pools[0].backends[1].name, "127.0.0.1:9001");
	ck_assert_str_eq(c->pools[0].backends[2].name, "[2001:db8::a]:9001");
	conf_unref(c);
}
END_TEST

START_TEST(defaults_of_a_pool)
{
	struct conf *c = load_good("minimal");

	ck_assert_uint_eq(c->n_pools, 1);
	const struct conf_pool *p = &c->pools[0];
	ck_assert_str_eq(p->name, "p");
	ck_assert_int_eq(p->balance, CONF_BALANCE_LEAST);
	ck_assert_int_eq(p->hash.key, CONF_HASH_SOURCE);
	ck_assert_ptr_null(p->hash.name);
	ck_assert_uint_eq(p->hash.load_percent, 0);
	ck_assert_uint_eq(p->n_sources, 0);
	ck_assert_int_eq(p->health.type, CONF_CHECK_NONE);
	ck_assert_uint_eq(p->retries, 2);
	ck_assert_uint_eq(p->connect_ms, 3000);
	ck_assert_uint_eq(p->upgrade_ms, 10000);
	ck_assert_uint_eq(p->response_ms, 60000);
	ck_assert_uint_eq(p->body_ms, 60000);
	ck_assert_uint_eq(p->idle_ms, CONF_OFF);
	ck_assert_uint_eq(p->half_closed_ms, 30000);
	ck_assert_uint_eq(p->user_ms, 120000);
	ck_assert_int_eq(p->splice, CONF_SPLICE_AUTO);
	ck_assert_uint_eq(p->buffer_bytes, 65536);
	ck_assert_uint_eq(p->n_backends, 1);
	ck_assert_str_eq(p->backends[0].name, "127.0.0.1:9001");
	addr_is(&p->backends[0].addr, "127.0.0.1:9001");
	ck_assert_uint_eq(p->backends[0].weight, 1);
	ck_assert_uint_eq(p->backends[0].max_conns, 0);
	ck_assert_uint_eq(p->backends[0].at.line, 4);
	conf_unref(c);
}
END_TEST

/* `health: {}` is tcp with the values of the manual. */
START_TEST(defaults_of_health)
{
	struct conf *c = load_good("health");
	const struct conf_health *a = &c->pools[0].health, *b = &c->pools[1].health;

	ck_assert_int_eq(a->type, CONF_CHECK_TCP);
	ck_assert_str_eq(a->path, "/");
	ck_assert_ptr_null(a->host);
	ck_assert_uint_eq(a->status_min, 200);
	ck_assert_uint_eq(a->status_max, 399);
	ck_assert_uint_eq(a->interval_ms, 2000);
	ck_assert_uint_eq(a->timeout_ms, 1000);
	ck_assert_uint_eq(a->rise, 2);
	ck_assert_uint_eq(a->fall, 3);

	ck_assert_int_eq(b->type, CONF_CHECK_HTTP);
	ck_assert_str_eq(b->path, "/up?x=1");
	ck_assert_str_eq(b->host, "example.com:80");
	ck_assert_uint_eq(b->status_min, 204);
	ck_assert_uint_eq(b->status_max, 204);
	ck_assert_int_eq(c->pools[2].health.type, CONF_CHECK_WEBSOCKET);
	ck_assert_int_eq(c->pools[3].health.type, CONF_CHECK_NONE);
	conf_unref(c);
}
END_TEST

/* The long example: what differs from the defaults. */
START_TEST(full_example)
{
	struct conf *c = load_good("full");

	ck_assert(c->access_log.is_on);
	ck_assert_int_eq(c->access_log.format, CONF_LOG_JSON);
	ck_assert_str_eq(c->access_log.to, "/var/log/lb/access.log");
	ck_assert(c->admin.has_http);
	addr_is(&c->admin.http, "127.0.0.1:9901");
	ck_assert_str_eq(c->admin.http_text, "127.0.0.1:9901");
	ck_assert_uint_eq(c->admin.at.line, 8);

	const struct conf_pool *p = &c->pools[0];
	ck_assert_uint_eq(p->n_backends, 2);
	ck_assert_str_eq(p->backends[1].name, "b2");
	addr_is(&p->backends[1].addr, "127.0.0.1:9002");
	ck_assert_uint_eq(p->backends[1].weight, 2);
	ck_assert_uint_eq(p->backends[1].max_conns, 20000);
	ck_assert_uint_eq(p->n_sources, 2);
	addr_is(&p->sources[1], "10.0.0.6:0");
	ck_assert_int_eq(p->health.type, CONF_CHECK_WEBSOCKET);
	ck_assert_str_eq(p->health.path, "/ws");
	conf_unref(c);
}
END_TEST

START_TEST(routes_of_the_full_example)
{
	struct conf *c = load_good("full");
	const struct conf_listener *l = &c->listeners[0];

	ck_assert_uint_eq(l->n_routes, 3);
	ck_assert_int_eq(l->http.dots, CONF_DOTS_REFUSE); /* one does */
	ck_assert_str_eq(l->routes[0].name, "1");
	ck_assert_str_eq(l->routes[0].host, "chat.example.com");
	ck_assert(!l->routes[0].host_is_suffix);
	ck_assert_str_eq(l->routes[0].path, "/ws/");
	ck_assert(l->routes[0].path_is_prefix);
	ck_assert_int_eq(l->routes[0].websocket, CONF_ANY);
	ck_assert_uint_eq(l->routes[0].pool, 0);
	ck_assert_str_eq(l->routes[1].name, "plain");
	ck_assert_ptr_null(l->routes[1].host);
	ck_assert_ptr_null(l->routes[1].path);
	ck_assert_int_eq(l->routes[1].websocket, CONF_NO);
	ck_assert_uint_eq(l->routes[1].pool, 1);
	ck_assert_str_eq(l->routes[2].name, "3");
	ck_assert_uint_eq(l->routes[2].n_headers, 1);
	ck_assert_str_eq(l->routes[2].headers[0].name, "x-canary");
	ck_assert_str_eq(l->routes[2].headers[0].value, "1");
	ck_assert_uint_eq(l->routes[2].pool, 2);
	conf_unref(c);
}
END_TEST

START_TEST(patterns_are_normalised)
{
	struct conf *c = load_good("routes_only");
	const struct conf_listener *l = &c->listeners[0];

	ck_assert_uint_eq(l->pool, CONF_NO_POOL);
	ck_assert_str_eq(l->routes[0].host, ".example.com");
	ck_assert(l->routes[0].host_is_suffix);
	ck_assert_int_eq(l->routes[0].websocket, CONF_YES);
	ck_assert_str_eq(l->routes[1].host, "[::1]");
	ck_assert_str_eq(l->routes[1].path, "/");
	ck_assert(!l->routes[1].path_is_prefix);
	ck_assert_str_eq(l->routes[2].path, "/");
	ck_assert(l->routes[2].path_is_prefix);
	ck_assert_str_eq(l->routes[2].headers[1].value, "");
	conf_unref(c);
}
END_TEST

static const struct {
	enum conf_hash_key key;
	const char *name;
} hash_keys[] = {
	{ CONF_HASH_SOURCE, NULL },  { CONF_HASH_HEADER, "x-user" }, { CONF_HASH_COOKIE, "sid" },
	{ CONF_HASH_QUERY, "room" }, { CONF_HASH_PATH, NULL },       { CONF_HASH_HOST, NULL },
};

START_TEST(hash_key_is_read)
{
	struct conf *c = load_good("hash_keys");
	const struct conf_hash *h = &c->pools[_i].hash;

	ck_assert_uint_eq(c->n_pools, ARRAY_SIZE(hash_keys));
	ck_assert_int_eq(h->key, hash_keys[_i].key);
	ck_assert_pstr_eq(h->name, hash_keys[_i].name);
	conf_unref(c);
}
END_TEST

START_TEST(ends_of_ranges)
{
	struct conf *c = load_good("limits_of_values");
	const struct conf_pool *p = &c->pools[0];

	ck_assert_uint_eq(c->workers, 256);
	ck_assert_int_eq(c->engine, CONF_ENGINE_EPOLL);
	ck_assert_str_eq(c->user, "root");
	ck_assert_uint_eq(c->admin.mode, 0777);
	ck_assert_uint_eq(c->max_conns, 100000000);
	ck_assert_str_eq(c->log.to, "stdout");
	ck_assert_int_eq(c->log.level, LOG_LEVEL_DEBUG);
	ck_assert_uint_eq(c->listeners[0].n_binds, 2);
	ck_assert_int_eq(p->balance, CONF_BALANCE_HASH);
	ck_assert_uint_eq(p->hash.load_percent, 1000);
	ck_assert_uint_eq(p->idle_ms, 168 * 3600 * 1000);
	ck_assert_uint_eq(p->user_ms, CONF_OFF);
	ck_assert_int_eq(p->splice, CONF_SPLICE_NEVER);
	ck_assert_uint_eq(p->buffer_bytes, 4096);
	ck_assert_uint_eq(p->backends[0].weight, 0);
	conf_unref(c);
}
END_TEST

/* Relative paths start at the file's folder, not at the working directory. */
START_TEST(paths_start_at_the_file)
{
	struct conf *c = load_good("limits_of_values");
	char want[PATH_MAX], dir[PATH_MAX];

	(void)snprintf(want, sizeof(want), "%s/config/good", getenv("LB_TESTS"));
	ck_assert_ptr_nonnull(realpath(want, dir));
	ck_assert_str_eq(c->dir, dir);
	(void)snprintf(want, sizeof(want), "%s/%s", c->dir, "lb.sock");
	ck_assert_str_eq(c->admin.socket, want);
	(void)snprintf(want, sizeof(want), "%s/%s", c->dir, "access.log");
	ck_assert_str_eq(c->access_log.to, want);
	conf_unref(c);
}
END_TEST

START_TEST(file_in_the_working_directory)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct conf *c = NULL;
	char cwd[PATH_MAX];

	(void)snprintf(cwd, sizeof(cwd), "%s/config/good", getenv("LB_TESTS"));
	ck_assert_int_eq(chdir(cwd), 0);
	ck_assert_int_eq(conf_load("limits_of_values.yaml", &e, &c), 0);
	ck_assert_str_eq(c->file, "limits_of_values.yaml");
	ck_assert_ptr_nonnull(getcwd(cwd, sizeof(cwd)));
	ck_assert_str_eq(c->dir, cwd);
	conf_unref(c);
}
END_TEST

static void is_at(struct mark m, const struct conf *c, uint32_t line, uint32_t col)
{
	ck_assert_ptr_eq(m.file, c->file);
	ck_assert_uint_eq(m.line, line);
	ck_assert_uint_eq(m.col, col);
}

/* What can only be judged later, by the process, is reported with its place. */
START_TEST(places_are_kept)
{
	struct conf *c = load_good("limits_of_values");

	is_at(c->user_at, c, 3, 7);
	is_at(c->log.at, c, 6, 39);
	is_at(c->access_log.at, c, 7, 18);
	is_at(c->admin.socket_at, c, 8, 17);
	conf_unref(c);

	c = load_good("minimal"); /* of a default: the file */
	is_at(c->admin.socket_at, c, 0, 0);
	is_at(c->log.at, c, 0, 0);
	conf_unref(c);

	c = load_good("ipv6");
	const struct conf_pool *p = &c->pools[0];
	ck_assert_uint_eq(p->n_sources, 2);
	is_at(p->sources_at[0], c, 9, 14);
	is_at(p->sources_at[1], c, 9, 21);
	conf_unref(c);
}
END_TEST

static const struct {
	const char *name, *path, *text;
	int want;
} unreadable[] = {
	{ "missing", "/nonexistent/lb.yaml",
	  "/nonexistent/lb.yaml: cannot be read: No such file or directory", -ENOENT },
	{ "a folder", "/", "/: cannot be read: Is a directory", -EISDIR },
	{ "endless", "/dev/zero", "/dev/zero: cannot be read: File too large", -EFBIG },
	{ "empty", "/dev/null", "/dev/null: the file is empty", -EINVAL },
};

START_TEST(unreadable_file)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct conf *c = NULL;
	char scratch[64];

	ck_assert_int_eq(conf_load(unreadable[_i].path, &e, &c), unreadable[_i].want);
	ck_assert_ptr_null(c);
	ck_assert_uint_eq(err_n_lines(&e), 1);
	ck_assert_str_eq(err_line(&e, 0, scratch, sizeof(scratch)), unreadable[_i].text);
}
END_TEST

/* More mistakes than are kept: counted, and no crash. */
START_TEST(many_mistakes)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct conf *c = NULL;
	char text[16384], dir[PATH_MAX], scratch[64];
	size_t n = 0;

	for (int i = 0; i < 300; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "unknown_%d: 1\n", i);
	ck_assert_int_eq(load_text(text, &e, &c, dir), -EINVAL);
	ck_assert_uint_eq(e.n, 302); /* and two keys are missing */
	ck_assert_str_eq(err_line(&e, ERR_KEPT_MAX, scratch, sizeof(scratch)), "and 102 more");
}
END_TEST

#define REST \
	"\nlisteners: [{name: l, bind: 127.0.0.1:8080, pool: p}]\n" \
	"pools: [{name: p, backends: [127.0.0.1:9001]}]\n"

static const struct {
	const char *name, *old, *new;
	size_t n;
	const char *key[4];
} restarts[] = {
	{ "nothing", "workers: 2", "workers: 2", 0, { 0 } },
	{ "reloadable", "stop_timeout: 1s", "log: {level: debug}", 0, { 0 } },
	{ "workers", "workers: 2", "workers: 3", 1, { "workers" } },
	{ "engine", "engine: epoll", "", 1, { "engine" } },
	{ "user", "", "user: root", 1, { "user" } },
	{ "another user", "user: root", "user: nobody", 1, { "user" } },
	{ "socket", "admin: {socket: /a}", "admin: {socket: /b}", 1, { "admin" } },
	{ "no socket", "admin: {socket: /a}", "admin: {socket: off}", 1, { "admin" } },
	{ "no socket, as before", "admin: {socket: off}", "admin: {socket: off}", 0, { 0 } },
	{ "mode", "admin: {mode: 0600}", "admin: {mode: 0660}", 1, { "admin" } },
	{ "no http", "admin: {http: 127.0.0.1:1}", "", 1, { "admin" } },
	{ "two of admin", "admin: {http: 127.0.0.1:1}", "admin: {mode: 0660}", 1, { "admin" } },
	{ "all",
	  "workers: 2",
	  "engine: epoll\nuser: root\nadmin: {mode: 0660}",
	  4,
	  { "workers", "engine", "user", "admin" } },
};

/* `off` is no path; a file of that name is written with its folder. */
START_TEST(a_socket_may_be_off)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct conf *c = NULL;
	char dir[PATH_MAX], want[PATH_MAX + 8];

	ck_assert_int_eq(load_text("admin: {socket: off}" REST, &e, &c, dir), 0);
	ck_assert_ptr_null(c->admin.socket);
	conf_unref(c);
	ck_assert_int_eq(load_text("admin: {socket: ./off}" REST, &e, &c, dir), 0);
	(void)snprintf(want, sizeof(want), "%s/./off", c->dir);
	ck_assert_str_eq(c->admin.socket, want);
	conf_unref(c);
	ck_assert_uint_eq(e.n, 0);
}
END_TEST

START_TEST(restart_keys)
{
	_cleanup_(err_deinit) struct err e = ERR_INIT;
	struct conf *old = NULL, *new = NULL;
	char text[512], dir[PATH_MAX];
	const char *key[4];

	(void)snprintf(text, sizeof(text), "%s%s", restarts[_i].old, REST);
	ck_assert_int_eq(load_text(text, &e, &old, dir), 0);
	(void)snprintf(text, sizeof(text), "%s%s", restarts[_i].new, REST);
	ck_assert_int_eq(load_text(text, &e, &new, dir), 0);

	size_t n = conf_restart_keys(old, new, key);
	ck_assert_msg(n == restarts[_i].n, "%s: %zu", restarts[_i].name, n);
	for (size_t i = 0; i < n; i++)
		ck_assert_str_eq(key[i], restarts[_i].key[i]);
	conf_unref(old);
	conf_unref(new);
}
END_TEST

START_TEST(references_are_counted)
{
	struct conf *c = load_good("minimal");

	ck_assert_ptr_eq(conf_ref(c), c);
	ck_assert_ptr_null(conf_unref(c));
	ck_assert_str_eq(c->pools[0].name, "p"); /* the sanitizer would object */
	ck_assert_ptr_null(conf_unref(c));
	ck_assert_ptr_null(conf_unref(NULL));
}
END_TEST

START_TEST(enum_names)
{
	ck_assert_str_eq(conf_balance_name(CONF_BALANCE_LEAST), "least_connections");
	ck_assert_str_eq(conf_balance_name(CONF_BALANCE_ROUND_ROBIN), "round_robin");
	ck_assert_str_eq(conf_balance_name(CONF_BALANCE_RANDOM), "random");
	ck_assert_str_eq(conf_balance_name(CONF_BALANCE_HASH), "hash");
	ck_assert_str_eq(conf_balance_name(CONF_BALANCE_FIRST), "first");
	ck_assert_str_eq(conf_check_name(CONF_CHECK_TCP), "tcp");
	ck_assert_str_eq(conf_check_name(CONF_CHECK_HTTP), "http");
	ck_assert_str_eq(conf_check_name(CONF_CHECK_WEBSOCKET), "websocket");
	ck_assert_str_eq(conf_check_name(CONF_CHECK_NONE), "");
	ck_assert_str_eq(conf_mode_name(CONF_MODE_HTTP), "http");
	ck_assert_str_eq(conf_mode_name(CONF_MODE_TCP), "tcp");
}
END_TEST

START_TEST(pools_are_found_by_name)
{
	struct conf *c = load_good("full");

	ck_assert_uint_gt(c->n_pools, 1);
	for (size_t i = 0; i < c->n_pools; i++)
		ck_assert_ptr_eq(conf_find_pool(c, c->pools[i].name), &c->pools[i]);
	ck_assert_ptr_null(conf_find_pool(c, "no such pool"));
	ck_assert_ptr_null(conf_find_pool(c, ""));
	conf_unref(c);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, defaults_of_main);
	tcase_add_test(t, defaults_of_a_listener);
	tcase_add_test(t, addresses_have_one_spelling);
	tcase_add_test(t, defaults_of_a_pool);
	tcase_add_test(t, defaults_of_health);
	tcase_add_test(t, full_example);
	tcase_add_test(t, routes_of_the_full_example);
	tcase_add_test(t, patterns_are_normalised);
	tcase_add_loop_test(t, hash_key_is_read, 0, ARRAY_SIZE(hash_keys));
	tcase_add_test(t, ends_of_ranges);
	tcase_add_test(t, paths_start_at_the_file);
	tcase_add_test(t, file_in_the_working_directory);
	tcase_add_test(t, a_socket_may_be_off);
	tcase_add_test(t, places_are_kept);
	tcase_add_loop_test(t, unreadable_file, 0, ARRAY_SIZE(unreadable));
	tcase_add_test(t, many_mistakes);
	tcase_add_loop_test(t, restart_keys, 0, ARRAY_SIZE(restarts));
	tcase_add_test(t, references_are_counted);
	tcase_add_test(t, pools_are_found_by_name);
	tcase_add_test(t, enum_names);
}

int main(void)
{
	return run_suite("conf/conf", add_tests);
}
