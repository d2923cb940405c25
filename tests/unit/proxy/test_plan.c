/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "../suite.h"
#include "balance/pool.h"
#include "proxy/names.h"
#include "proxy/plan.h"
#include "written.h"

#define N_POOLS 2

static struct names *names;
static struct conf *conf;
static struct pool *pools[N_POOLS];
static struct plan *plan;

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
	ck_assert_ptr_nonnull(plan = plan_new(conf, pools, names));
}

static void teardown(void)
{
	ck_assert_ptr_null(plan_unref(plan));
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
	ck_assert_uint_eq(plan->n_pools, N_POOLS);
	for (int i = 0; i < N_POOLS; i++) {
		ck_assert_ptr_eq(plan->pools[i].conf, &conf->pools[i]);
		ck_assert_ptr_eq(plan->pools[i].pool, pools[i]);
	}
	ck_assert_uint_eq(plan->n_listeners, 3);
	for (int i = 0; i < 3; i++)
		ck_assert_ptr_eq(plan->listeners[i].conf, &conf->listeners[i]);
	ck_assert_ptr_eq(plan->listeners[0].pool, &plan->pools[1]);
	ck_assert_ptr_null(plan->listeners[1].pool); /* no match is 404 */
	ck_assert_ptr_eq(plan->listeners[2].pool, &plan->pools[0]);
}
END_TEST

START_TEST(only_http_has_routes)
{
	ck_assert_ptr_nonnull(plan->listeners[0].routes);
	ck_assert_ptr_nonnull(plan->listeners[1].routes);
	ck_assert_ptr_null(plan->listeners[2].routes);
}
END_TEST

/* What a session's log line says of its route lives longer than the plan. */
START_TEST(route_names_are_interned)
{
	ck_assert_ptr_eq(plan->listeners[0].route_name[0], names_intern(names, "chat"));
	ck_assert_ptr_eq(plan->listeners[0].route_name[1], names_intern(names, "2"));
	ck_assert_ptr_eq(plan->listeners[1].route_name[0], names_intern(names, "1"));
	const char *kept = plan->listeners[0].route_name[0];
	struct plan *next = plan_new(conf, pools, names);
	plan_unref(plan);
	ck_assert_str_eq(kept, "chat");
	ck_assert_ptr_eq(next->listeners[0].route_name[0], kept);
	plan = next;
}
END_TEST

/* A session that shakes hands keeps its plan, and so the configuration and the pools. */
START_TEST(a_plan_lives_as_long_as_it_is_used)
{
	ck_assert_uint_eq(ref_count(&conf->refs), 2);
	ck_assert_uint_eq(ref_count(&pools[0]->refs), 2);
	ck_assert_ptr_eq(plan_ref(plan), plan);
	ck_assert_ptr_null(plan_unref(plan));
	ck_assert_uint_eq(ref_count(&conf->refs), 2);
	ck_assert_str_eq(plan->listeners[0].conf->name, "web");
	ck_assert_ptr_null(plan_unref(NULL));
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, names_are_resolved);
	tcase_add_test(t, only_http_has_routes);
	tcase_add_test(t, route_names_are_interned);
	tcase_add_test(t, a_plan_lives_as_long_as_it_is_used);
}

int main(void)
{
	return run_suite("proxy/plan", add_tests);
}
