/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon_fixture.h"

#include "daemon/commands.h"

static int held[32];
static size_t n_clients;

static void want_clients(size_t n)
{
	while (n_clients < n) {
		held[n_clients] = dial(port_of(0));
		ck_assert_int_ge(held[n_clients++], 0);
	}
	while (n_clients > n)
		hang_up(held[--n_clients]);
	RUN_UNTIL(n_active() == n && backend_active(backend_named("b")) == n);
	watermarks_tick(&lb.watermarks);
	watermarks_tick(&lb.watermarks); /* a second look at the same changes nothing */
}

/* Lines of the log that have this; call when lb is closed. */
static size_t n_logged(const char *part)
{
	static char all[65536];
	FILE *f = fopen(log_path, "r");
	size_t n = 0;

	ck_assert_ptr_nonnull(f);
	all[fread(all, 1, sizeof(all) - 1, f)] = '\0';
	(void)fclose(f);
	for (const char *p = all; (p = strstr(p, part)) != NULL; p++)
		n++;
	return n;
}

static void finish(void)
{
	want_clients(0);
	stop();
}

/* ---- the forecast ---------------------------------------------------------------------------- */

START_TEST(the_start_says_it)
{
	write_conf("limits: {connections: 20}\n" LISTENER POOL, backend_port);
	start();
	ck_assert_uint_eq(lb.watermarks.capacity.n_conns, 20);
	ck_assert_int_eq(lb.watermarks.capacity.binding, CONN_CAPACITY_CONF);
	ck_assert_uint_gt(lb.watermarks.n_ports, 0);
	stop();
	ck_assert_uint_eq(n_logged("notice forecast connections=20 bound_by=limits.connections "
				   "workers=2"),
			  1);
	ck_assert_uint_eq(n_logged("forecast"), 1);
}
END_TEST

static int n_reloaded;

static void on_reloaded(void *ctx, int result, const char *why)
{
	(void)ctx;
	(void)why;
	ck_assert_int_eq(result, 0);
	n_reloaded++;
}

static void reload(void)
{
	int before = n_reloaded;

	commands_reload(&lb.control, on_reloaded, NULL);
	RUN_UNTIL(n_reloaded == before + 1);
}

/* A reload that changes nothing of it is silent. */
START_TEST(a_reload_says_what_is_new)
{
	write_conf("limits: {connections: 20}\n" LISTENER POOL, backend_port);
	start();
	reload();
	write_conf("limits: {connections: 21}\n" LISTENER POOL, backend_port);
	reload();
	reload();
	ck_assert_uint_eq(lb.watermarks.capacity.n_conns, 21);
	stop();
	ck_assert_uint_eq(n_logged("forecast"), 2);
	ck_assert_uint_eq(n_logged("forecast connections=21 "), 1);
}
END_TEST

/* ---- warnings -------------------------------------------------------------------------------- */

/* 80 % of 20 is 16, 70 % is 14. */
START_TEST(connections_warn_once)
{
	write_conf("limits: {connections: 20}\n" LISTENER POOL, backend_port);
	start();
	want_clients(15);
	ck_assert(!lb.watermarks.is_conns_high);
	want_clients(16);
	want_clients(20);
	want_clients(14); /* not below 70 % */
	want_clients(18); /* a line of its own, if there were one: the log merges equal ones */
	want_clients(13);
	ck_assert(!lb.watermarks.is_conns_high);
	want_clients(17);
	finish();
	ck_assert_uint_eq(n_logged("warn connections above 80 percent active="), 2);
	ck_assert_uint_eq(n_logged("active=16 limit=20 bound_by=limits.connections") +
				  n_logged("active=17 limit=20 bound_by=limits.connections"),
			  2);
}
END_TEST

/* As if the tables were small: main compares, a worker has its own figure. */
START_TEST(a_worker_warns_once)
{
	write_simple();
	start();
	lb.threads->share.max_sessions = 5;
	want_clients(30); /* one of two workers has 15 at least */
	uint64_t high = (uint64_t)lb.watermarks.is_worker_high[0] + lb.watermarks.is_worker_high[1];
	ck_assert_uint_ge(high, 1);
	finish();
	ck_assert_uint_eq(n_logged("warn descriptors above 80 percent worker="), high);
	ck_assert_uint_eq(n_logged("above 80"), high);
}
END_TEST

START_TEST(ports_warn_once)
{
	write_conf(LISTENER "pools: [{name: p, source: [127.0.0.5, 127.0.0.6], balance: first, "
			    "backends: [{name: b, address: '127.0.0.1:%u'}]}]\n",
		   backend_port);
	start();
	lb.watermarks.n_ports = 10; /* as if the machine had no more; 20 at two sources */
	want_clients(14);
	ck_assert_uint_eq(watermarks_ports_used(backend_named("b"), 2), 7);
	want_clients(15); /* 8 at one of them */
	want_clients(16);
	want_clients(12); /* 6: below 70 % */
	want_clients(18);
	finish();
	ck_assert_uint_eq(n_logged("warn local ports above 80 percent pool=p backend=b sources=2 "
				   "used_each=8 limit_each=10"),
			  1);
	ck_assert_uint_eq(n_logged("used_each=9 limit_each=10"), 1);
	ck_assert_uint_eq(n_logged("above 80"), 2);
}
END_TEST

START_TEST(unknown_ports_do_not_warn)
{
	write_simple();
	start();
	lb.watermarks.n_ports = HOST_LIMITS_NONE;
	want_clients(20);
	finish();
	ck_assert_uint_eq(n_logged("above 80"), 0);
}
END_TEST

static void add_tests(TCase *t)
{
	use_daemon(t);
	tcase_add_test(t, the_start_says_it);
	tcase_add_test(t, a_reload_says_what_is_new);
	tcase_add_test(t, connections_warn_once);
	tcase_add_test(t, a_worker_warns_once);
	tcase_add_test(t, ports_warn_once);
	tcase_add_test(t, unknown_ports_do_not_warn);
}

int main(void)
{
	return run_suite("daemon/watermarks", add_tests);
}
