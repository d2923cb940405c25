/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "../suite.h"
#include "balance/pool.h"
#include "proxy/names.h"
#include "proxy/snapshot.h"
#include "written.h"

#define N_POOLS 2

static struct names *names;
static struct conf *conf;
static struct pool *pools[N_POOLS];
static struct snapshot *snapshot;

static void setup(void)
{
	conf = written(
		"listeners:\n"
		"  - {name: web, bind: '127.0.0.1:81', pool: b, routes: [\n"
		"     {name: chat, path: /ws/*, pool: a}, {host: x.example, pool: b}]}\n"
		"  - {name: only-routes, bind: '127.0.0.1:82', routes: [{path: /, pool: a}]}\n"
		"  - {name: raw, bind: '127.0.0.1:83', mode: tcp, pool: a}\n"
		"pools:\n"
		"  - {name: a, backends: ['127.0.0.1:1']}\n"
		"  - {name: b, backends: ['127.0.0.1:2']}\n");
	ck_assert_uint_eq(conf->n_pools, N_POOLS);
	names = names_new();
	for (uint32_t i = 0; i < N_POOLS; i++)
		ck_assert_ptr_nonnull(pools[i] = pool_new(&conf->pools[i], i));
	ck_assert_ptr_nonnull(snapshot = snapshot_new(conf, pools, names));
}

static void teardown(void)
{
	ck_assert_ptr_null(snapshot_unref(snapshot));
	for (int i = 0; i < N_POOLS; i++) {
		ck_assert_uint_eq(ref_count(&pools[i]->refs), 1);
		pool_unref(pools[i]);
	}
	ck_assert_uint_eq(ref_count(&conf->refs), 1);
	conf_unref(conf);
	names_free(names);
}

START_TEST(names_are_resolved)
{
	ck_assert_uint_eq(snapshot->n_pools, N_POOLS);
	for (int i = 0; i < N_POOLS; i++) {
		ck_assert_ptr_eq(snapshot->pools[i].conf, &conf->pools[i]);
		ck_assert_ptr_eq(snapshot->pools[i].pool, pools[i]);
	}
	ck_assert_uint_eq(snapshot->n_listeners, 3);
	for (int i = 0; i < 3; i++)
		ck_assert_ptr_eq(snapshot->listeners[i].conf, &conf->listeners[i]);
	ck_assert_ptr_eq(snapshot->listeners[0].pool, &snapshot->pools[1]);
	ck_assert_ptr_null(snapshot->listeners[1].pool); /* no match is 404 */
	ck_assert_ptr_eq(snapshot->listeners[2].pool, &snapshot->pools[0]);
}
END_TEST

START_TEST(only_http_has_routes)
{
	ck_assert_ptr_nonnull(snapshot->listeners[0].routes);
	ck_assert_ptr_nonnull(snapshot->listeners[1].routes);
	ck_assert_ptr_null(snapshot->listeners[2].routes);
}
END_TEST

/* What a session's log line says of its route lives longer than the snapshot. */
START_TEST(route_names_are_interned)
{
	ck_assert_ptr_eq(snapshot->listeners[0].route_name[0], names_intern(names, "chat"));
	ck_assert_ptr_eq(snapshot->listeners[0].route_name[1], names_intern(names, "2"));
	ck_assert_ptr_eq(snapshot->listeners[1].route_name[0], names_intern(names, "1"));
	const char *kept = snapshot->listeners[0].route_name[0];
	struct snapshot *next = snapshot_new(conf, pools, names);
	snapshot_unref(snapshot);
	ck_assert_str_eq(kept, "chat");
	ck_assert_ptr_eq(next->listeners[0].route_name[0], kept);
	snapshot = next;
}
END_TEST

/* A session that shakes hands keeps its snapshot, and so the configuration and the pools. */
START_TEST(a_snapshot_lives_as_long_as_it_is_used)
{
	ck_assert_uint_eq(ref_count(&conf->refs), 2);
	ck_assert_uint_eq(ref_count(&pools[0]->refs), 2);
	ck_assert_ptr_eq(snapshot_ref(snapshot), snapshot);
	ck_assert_ptr_null(snapshot_unref(snapshot));
	ck_assert_uint_eq(ref_count(&conf->refs), 2);
	ck_assert_str_eq(snapshot->listeners[0].conf->name, "web");
	ck_assert_ptr_null(snapshot_unref(NULL));
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, names_are_resolved);
	tcase_add_test(t, only_http_has_routes);
	tcase_add_test(t, route_names_are_interned);
	tcase_add_test(t, a_snapshot_lives_as_long_as_it_is_used);
}

int main(void)
{
	return run_suite("proxy/snapshot", add_tests);
}
