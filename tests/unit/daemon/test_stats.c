/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon_fixture.h"

#include "daemon/commands.h"
#include "daemon/stats.h"
#include "proxy/end.h"

static uint64_t end_of(const struct status *st, const char *word)
{
	for (size_t i = 0; i < st->n_ends; i++)
		if (strcmp(st->ends[i].word, word) == 0)
			return st->ends[i].n;
	ck_abort_msg("no end %s", word);
}

START_TEST(a_snapshot_has_everything)
{
	struct status st = { 0 };

	write_simple();
	start();
	ck_assert_int_eq(stats_read(&lb, &st), 0);
	ck_assert_str_eq(st.version, LB_VERSION);
	ck_assert_str_eq(st.engine, loop_engine_name(lb.loop));
	ck_assert_int_eq(st.pid, getpid());
	ck_assert_uint_le(st.uptime_s, 10);
	ck_assert_uint_eq(st.generation, 1);
	ck_assert_uint_eq(st.connections.limit, atomic_load(&lb.threads->proxy.max_conns));

	ck_assert_uint_eq(st.n_workers, N_WORKERS);
	for (uint32_t i = 0; i < N_WORKERS; i++)
		ck_assert_uint_eq(st.workers[i].id, i);
	ck_assert_uint_eq(st.n_listeners, 1);
	ck_assert_str_eq(st.listeners[0].name, "l");
	ck_assert_uint_eq((unsigned)atoi(strrchr(st.listeners[0].bind, ':') + 1), port_of(0));
	ck_assert_uint_eq(st.n_pools, 1);
	ck_assert_str_eq(st.pools[0].name, "p");
	ck_assert_str_eq(st.pools[0].balance, "first");
	ck_assert_uint_eq(st.pools[0].n_backends, 2);
	ck_assert_str_eq(st.pools[0].backends[0].name, "b");
	ck_assert_str_eq(st.pools[0].backends[1].name, "c");
	ck_assert_str_eq(st.pools[0].backends[1].address, "127.0.0.1:1");
	ck_assert_str_eq(st.pools[0].backends[1].state, "up");
	ck_assert_ptr_null(st.pools[0].backends[1].check_type);
	ck_assert_uint_eq(st.connections.forecast, lb.watermarks.capacity.n_conns);
	ck_assert_str_eq(st.connections.forecast_by,
			 conn_capacity_limit_name(lb.watermarks.capacity.binding));
	ck_assert_uint_eq(st.workers[0].limit, lb.threads->share.max_sessions);
	ck_assert_uint_eq(st.pools[0].backends[0].n_sources, 1);
	ck_assert_str_eq(st.pools[0].backends[0].sources[0].text, "default");
	ck_assert_uint_eq(st.pools[0].backends[0].ports_limit, lb.watermarks.n_ports);

	/* Every reason of the table, in its order, once. */
	ck_assert_uint_eq(st.n_ends, SESS_N_ENDS - 1);
	for (size_t i = 0; i < st.n_ends; i++) {
		ck_assert_str_eq(st.ends[i].word, sess_end_word((enum sess_end)(i + 1)));
		ck_assert_uint_eq(st.ends[i].n, 0);
	}
	ck_assert_uint_gt(st.n_counters, 0);
	for (size_t i = 0; i < st.n_counters; i++) {
		ck_assert_uint_eq(st.counters[i].n, 0);
		ck_assert_uint_gt(strlen(st.counters[i].help), 0);
		for (size_t k = 0; k < i; k++)
			ck_assert_str_ne(st.counters[i].name, st.counters[k].name);
	}
	status_deinit(&st);
	stop();
}
END_TEST

static const struct status_counter *counter_of(const struct status *st, const char *name)
{
	for (size_t i = 0; i < st->n_counters; i++)
		if (strcmp(st->counters[i].name, name) == 0)
			return &st->counters[i];
	ck_abort_msg("no counter %s", name);
}

static const struct {
	const char *name, *old_name;
	uint64_t n;
} renamed[] = {
	{ "accept_handed_off", "accept_passed", 7 },
	{ "accept_handoff_lost", "accept_strays", 3 },
};

/* A counter that was renamed has both names for one release, and the old one says so. */
START_TEST(renamed_counters_have_both_names)
{
	struct status st = { 0 };

	write_simple();
	start();
	struct worker_stats *w = lb.threads->thread[N_WORKERS - 1].worker->stats;
	counter_add(&w->handed_off, renamed[0].n); /* no worker hands anything off here */
	counter_add(&w->handoff_lost, renamed[1].n);
	ck_assert_int_eq(stats_read(&lb, &st), 0);
	const struct status_counter *c = counter_of(&st, renamed[_i].name);
	const struct status_counter *old = counter_of(&st, renamed[_i].old_name);
	ck_assert_uint_eq(c->n, renamed[_i].n);
	ck_assert_uint_eq(old->n, c->n);
	ck_assert_ptr_null(strstr(c->help, "Deprecated"));
	ck_assert_ptr_nonnull(strstr(old->help, "Deprecated"));
	ck_assert_ptr_nonnull(strstr(old->help, renamed[_i].name));
	status_deinit(&st);
	stop();
}
END_TEST

START_TEST(figures_are_sums_over_workers)
{
	struct status st = { 0 };
	uint64_t active = 0, accepted = 0;

	write_simple();
	start();
	open_clients();
	ck_assert_int_eq(stats_read(&lb, &st), 0);
	ck_assert_uint_eq(st.connections.active, N_CLIENTS);
	ck_assert_uint_eq(st.connections.total, N_CLIENTS);
	for (uint32_t i = 0; i < N_WORKERS; i++) {
		active += st.workers[i].active;
		accepted += st.workers[i].accepted;
	}
	ck_assert_uint_eq(active, N_CLIENTS);
	ck_assert_uint_eq(accepted, N_CLIENTS);
	ck_assert_uint_eq(st.listeners[0].active, N_CLIENTS);
	ck_assert_uint_eq(st.listeners[0].accepted, N_CLIENTS);
	ck_assert_uint_eq(st.listeners[0].rejected, 0);
	ck_assert_uint_eq(st.pools[0].active, N_CLIENTS);
	ck_assert_uint_eq(st.pools[0].backends[0].active, N_CLIENTS);
	ck_assert_uint_eq(st.pools[0].backends[0].total, N_CLIENTS);
	ck_assert_uint_eq(st.pools[0].backends[1].total, 0);
	status_deinit(&st);

	close_clients();
	st = (struct status){ 0 };
	ck_assert_int_eq(stats_read(&lb, &st), 0);
	ck_assert_uint_eq(st.connections.active, 0);
	ck_assert_uint_eq(st.connections.total, N_CLIENTS);
	ck_assert_uint_eq(end_of(&st, "client_reset"), N_CLIENTS);
	ck_assert_uint_eq(st.pools[0].backends[0].active, 0);
	status_deinit(&st);
	stop();
}
END_TEST

/* Each worker frees its counters when it ends; main answers until the last one has ended. */
START_TEST(workers_that_end_are_not_read)
{
	struct status st = { 0 };

	write_simple();
	start();
	control_stop(&lb.control);
	control_stop(&lb.control);
	threads_join(lb.threads);
	ck_assert_int_eq(stats_read(&lb, &st), -ESHUTDOWN);
	status_deinit(&st);
	ck_assert_int_eq(server_run(&lb), 0);
	server_close(&lb);
}
END_TEST

static void on_reloaded(void *ctx, int result, const char *why)
{
	int *n = ctx;

	ck_assert_msg(result == 0, "%s", why);
	(*n)++;
}

static void check_sources(const struct status_backend *b, const char *const *want, size_t n)
{
	ck_assert_uint_eq(b->n_sources, n);
	for (size_t i = 0; i < n; i++)
		ck_assert_str_eq(b->sources[i].text, want[i]);
}

/* Each backend with the addresses of its own family; one that is gone from the file with none. */
START_TEST(ports_are_told_by_source)
{
	static const char *const v4[] = { "127.0.0.5", "127.0.0.6" };
	static const char *const v6[] = { "::1" };
	static const char *const any[] = { "default" };
	struct status st = { 0 };

	write_conf(LISTENER
		   "pools: [{name: p, source: ['127.0.0.5', '::1', '127.0.0.6'], balance: first, "
		   "backends: [{name: b, address: '127.0.0.1:%u'}, {name: c, address: "
		   "'[::1]:1'}]},\n"
		   "{name: q, source: ['127.0.0.5'], backends: ['127.0.0.1:2', '[::1]:2']}]\n",
		   backend_port);
	start();
	for (int i = 0; i < 3; i++)
		clients[i] = dial(port_of(0));
	RUN_UNTIL(backend_active(backend_named("b")) == 3);
	ck_assert_int_eq(stats_read(&lb, &st), 0);
	check_sources(&st.pools[0].backends[0], v4, 2);
	check_sources(&st.pools[0].backends[1], v6, 1);
	check_sources(&st.pools[1].backends[0], v4, 1);
	check_sources(&st.pools[1].backends[1], any, 1);
	ck_assert_uint_eq(st.pools[0].backends[0].ports_used, 2);
	ck_assert_uint_eq(st.pools[0].backends[1].ports_used, 0);
	ck_assert_uint_eq(st.pools[0].backends[0].ports_limit, lb.watermarks.n_ports);
	status_deinit(&st);

	st = (struct status){ 0 };
	write_conf(LISTENER "pools: [{name: p, backends: ['127.0.0.1:9']}]\n");
	int n = 0;
	commands_reload(&lb.control, on_reloaded, &n);
	RUN_UNTIL(n == 1);
	ck_assert_int_eq(stats_read(&lb, &st), 0);
	check_sources(&st.pools[0].backends[0], any, 1);
	ck_assert(st.pools[0].backends[1].is_removed);
	ck_assert_uint_eq(st.pools[0].backends[1].n_sources, 0);
	status_deinit(&st);
	for (int i = 0; i < 3; i++)
		hang_up(clients[i]);
	stop();
}
END_TEST

static void add_tests(TCase *t)
{
	use_daemon(t);
	tcase_add_test(t, a_snapshot_has_everything);
	tcase_add_loop_test(t, renamed_counters_have_both_names, 0, ARRAY_SIZE(renamed));
	tcase_add_test(t, figures_are_sums_over_workers);
	tcase_add_test(t, workers_that_end_are_not_read);
	tcase_add_test(t, ports_are_told_by_source);
}

int main(void)
{
	return run_suite("daemon/stats", add_tests);
}
