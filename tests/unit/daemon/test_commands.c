/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon_fixture.h"

#include "daemon/commands.h"
#include "daemon/delta.h"

static int reload_result;

/* ---- connections ----------------------------------------------------------------------------- */

static struct {
	int n, result;
	size_t n_rows;
	uint64_t total;
	uint64_t ids[N_CLIENTS], ages_ms[N_CLIENTS];
} conns;

static void on_conns(void *ctx, int result, const struct admin_conn_list *list)
{
	const struct admin_conn *rows = list->rows;
	size_t n = list->n;

	ck_assert_ptr_eq(ctx, &conns);
	conns.n++;
	conns.result = result;
	conns.n_rows = n;
	conns.total = list->total;
	ck_assert_uint_le(n, N_CLIENTS);
	for (size_t i = 0; i < n; i++) {
		conns.ids[i] = rows[i].id;
		conns.ages_ms[i] = rows[i].age_ms;
		ck_assert_str_eq(rows[i].listener, "l");
		ck_assert_str_eq(rows[i].pool, "p");
		ck_assert_str_eq(rows[i].backend, "b");
		ck_assert_str_eq(rows[i].state, "relay");
		ck_assert_int_eq(rows[i].client.family, AF_INET);
		ck_assert_uint_le(rows[i].age_ms, 20000);
	}
}

static size_t listed(const struct admin_conn_query *q)
{
	int want = conns.n + 1;

	commands_conns(&lb.control, q, on_conns, &conns);
	RUN_UNTIL(conns.n == want);
	ck_assert_int_eq(conns.result, 0);
	return conns.n_rows;
}

static const struct {
	const char *name;
	struct admin_conn_query query;
	size_t want, total;
} queries[] = {
	{ "all", { .limit = 1000 }, N_CLIENTS, N_CLIENTS },
	{ "as many as there are", { .limit = N_CLIENTS }, N_CLIENTS, N_CLIENTS },
	{ "one less, over all workers", { .limit = N_CLIENTS - 1 }, N_CLIENTS - 1, N_CLIENTS },
	{ "one", { .limit = 1 }, 1, N_CLIENTS },
	{ "the oldest", { .sort = ADMIN_BY_AGE, .limit = 3 }, 3, N_CLIENTS },
	{ "all by bytes", { .sort = ADMIN_BY_BYTES, .limit = 1000 }, N_CLIENTS, N_CLIENTS },
	{ "of the pool", { .pool = "p", .limit = 1000 }, N_CLIENTS, N_CLIENTS },
	{ "of another pool", { .pool = "q", .limit = 1000 }, 0, 0 },
	{ "of the backend", { .backend = "b", .limit = 1000 }, N_CLIENTS, N_CLIENTS },
	{ "of another backend", { .backend = "c", .limit = 1000 }, 0, 0 },
	{ "older than a minute", { .min_age_ms = 60000, .limit = 1000 }, 0, 0 },
	{ "from another network",
	  { .has_client = true,
	    .client = { .net = { .family = AF_INET, .v4 = { 10 } }, .bits = 8 },
	    .limit = 1000 },
	  0,
	  0 },
};

START_TEST(connections_of_all_workers_are_listed)
{
	write_simple();
	start();
	open_clients();
	for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
		ck_assert_msg(listed(&queries[i].query) == queries[i].want, "%s: %zu",
			      queries[i].name, conns.n_rows);
		ck_assert_msg(conns.total == queries[i].total, "%s: %u in all", queries[i].name,
			      (unsigned)conns.total);
		for (size_t k = 1; k < conns.n_rows && queries[i].query.sort == ADMIN_BY_AGE; k++)
			ck_assert_uint_ge(conns.ages_ms[k - 1], conns.ages_ms[k]);
		for (size_t k = 1; k < conns.n_rows; k++)
			for (size_t m = 0; m < k; m++)
				if (conns.ids[k] == conns.ids[m])
					ck_abort_msg("%s: an id twice", queries[i].name);
	}
	close_clients();
	ck_assert_uint_eq(listed(&queries[0].query), 0);
	stop();
}
END_TEST

/* Workers that are at their end are asked no more. */
START_TEST(a_quitting_lb_lists_nothing)
{
	write_simple();
	start();
	control_stop(&lb.control);
	control_stop(&lb.control);
	conns.n = 0;
	commands_conns(&lb.control, &queries[0].query, on_conns, &conns);
	ck_assert_int_eq(conns.n, 1);
	ck_assert_int_eq(conns.result, -ESHUTDOWN);
	ck_assert_uint_eq(conns.n_rows, 0);
	ck_assert_int_eq(server_run(&lb), 0);
	server_close(&lb);
}
END_TEST

/* ---- backends -------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	enum admin_backend_op op;
	uint32_t weight;
	const char *want_state;
	uint32_t want_weight;
} changes[] = {
	{ "drain", ADMIN_DRAIN, 0, "draining", 1 }, { "maint", ADMIN_MAINT, 0, "maint", 1 },
	{ "ready", ADMIN_READY, 0, "up", 1 },       { "a weight", ADMIN_WEIGHT, 77, "up", 77 },
	{ "weight 0", ADMIN_WEIGHT, 0, "up", 0 },
};

START_TEST(a_backend_is_changed)
{
	char why[320] = "";

	write_simple();
	start();
	struct members *before =
		members_ref(registry_find_pool(&lb.control.registry, "p")->members);
	ck_assert_int_eq(commands_backend(&lb.control, changes[_i].op, "p", "b", changes[_i].weight,
					  why, sizeof(why)),
			 0);
	ck_assert_str_eq(why, "");
	ck_assert_msg(strcmp(backend_state_name(backend_named("b")), changes[_i].want_state) == 0,
		      "%s", changes[_i].name);
	ck_assert_uint_eq(backend_weight(backend_named("b")), changes[_i].want_weight);
	ck_assert_str_eq(backend_state_name(backend_named("c")), "up");
	/* Every worker has the new members when it answers: only this test holds the old ones. */
	if (changes[_i].op == ADMIN_WEIGHT)
		RUN_UNTIL(ref_count(&before->refs) == 1);
	members_unref(before);

	/* The next connection sees it. */
	int fd = dial(port_of(0));
	bool is_used = strcmp(changes[_i].want_state, "up") == 0 && changes[_i].want_weight > 0;
	RUN_UNTIL(backend_total(backend_named("b")) + backend_failed(backend_named("c")) > 0);
	ck_assert_msg(backend_total(backend_named("b")) == is_used, "%s", changes[_i].name);
	hang_up(fd);
	RUN_UNTIL(n_active() == 0);
	stop();
	ck_assert(is_logged("backend set by an operator pool=p backend=b state="));
}
END_TEST

/* ---- a reload under way ---------------------------------------------------------------------- */

static int n_reloaded;

static void on_reload_over(void *ctx, int result, const struct err *why)
{
	(void)why;
	ck_assert_ptr_null(ctx);
	reload_result = result;
	n_reloaded++;
}

/* Where a reload stands when the operator's command comes. */
enum moment { BEFORE_COMMIT, BEHIND_COMMIT };

/* clang-format off */
static const struct {
	const char *name;
	enum moment moment;
	enum admin_backend_op op;
	uint32_t weight;
	const char *address, *more; /* of "b" in the next file; NULL: its address stays */
	uint32_t want_weight;
	enum backend_admin want_admin;
} meanwhile[] = {
	{ "a weight", BEFORE_COMMIT, ADMIN_WEIGHT, 9, NULL, "", 9, BACKEND_READY },
	{ "weight 0", BEFORE_COMMIT, ADMIN_WEIGHT, 0, NULL, "", 0, BACKEND_READY },
	{ "a weight that the file changes, too", BEFORE_COMMIT, ADMIN_WEIGHT, 9, NULL, ", weight: 3", 9,
	  BACKEND_READY },
	{ "a weight where the file moves the backend", BEFORE_COMMIT, ADMIN_WEIGHT, 9, "127.0.0.1:9", "", 9,
	  BACKEND_READY },
	{ "drain", BEFORE_COMMIT, ADMIN_DRAIN, 0, NULL, "", 1, BACKEND_DRAIN },
	{ "maint", BEFORE_COMMIT, ADMIN_MAINT, 0, NULL, "", 1, BACKEND_MAINT },
	{ "ready", BEFORE_COMMIT, ADMIN_READY, 0, NULL, "", 1, BACKEND_READY },
	{ "drain where the file moves the backend", BEFORE_COMMIT, ADMIN_DRAIN, 0, "127.0.0.1:9", "", 1,
	  BACKEND_DRAIN },
	{ "a weight behind the commit", BEHIND_COMMIT, ADMIN_WEIGHT, 9, NULL, "", 9, BACKEND_READY },
	{ "drain behind the commit", BEHIND_COMMIT, ADMIN_DRAIN, 0, NULL, "", 1, BACKEND_DRAIN },
};
/* clang-format on */

/* Writes the next file. A new listener makes the reload wait for the workers before its commit. */
static void write_next(const char *address, const char *more)
{
	char own[32];

	(void)snprintf(own, sizeof(own), "127.0.0.1:%u", backend_port);
	write_conf("listeners: [{name: l, bind: '127.0.0.1:0', mode: tcp, pool: p}, {name: n, "
		   "bind: '127.0.0.1:0', mode: tcp, pool: p}]\n"
		   "pools: [{name: p, balance: first, backends: [{name: b, address: '%s'%s}, "
		   "{name: c, address: '127.0.0.1:1'}]}]\n",
		   address != NULL ? address : own, more);
}

/* What an operator is told "ok" for holds behind the reload, in main's view and the workers'. */
START_TEST(what_is_set_during_a_reload_is_kept)
{
	char why[320] = "";

	write_simple();
	start();
	write_next(meanwhile[_i].address, meanwhile[_i].more);
	n_reloaded = 0;
	reload_request(&lb.control.reload, on_reload_over, NULL);
	if (meanwhile[_i].moment == BEHIND_COMMIT)
		RUN_UNTIL(lb.control.reload.delta == NULL || lb.control.reload.delta->is_committed);
	ck_assert_int_eq(commands_backend(&lb.control, meanwhile[_i].op, "p", "b",
					  meanwhile[_i].weight, why, sizeof(why)),
			 0);
	RUN_UNTIL(n_reloaded == 1);
	ck_assert_int_eq(reload_result, 0);

	struct backend *b = backend_named("b");
	ck_assert_msg(backend_weight(b) == meanwhile[_i].want_weight, "%s: %u", meanwhile[_i].name,
		      backend_weight(b));
	ck_assert_msg(backend_admin(b) == meanwhile[_i].want_admin, "%s", meanwhile[_i].name);
	struct members *m = registry_find_pool(&lb.control.registry, "p")->members;
	ck_assert_ptr_eq(m->entry[0].backend, b);
	ck_assert_uint_eq(m->entry[0].weight, meanwhile[_i].want_weight);
	/* Every worker picks by these members. */
	RUN_UNTIL(ref_count(&m->refs) == 1 + N_WORKERS);

	/* The same file once more changes nothing. */
	reload_request(&lb.control.reload, on_reload_over, NULL);
	RUN_UNTIL(n_reloaded == 2);
	ck_assert_uint_eq(backend_weight(backend_named("b")), meanwhile[_i].want_weight);
	ck_assert_int_eq(backend_admin(backend_named("b")), meanwhile[_i].want_admin);
	stop();
}
END_TEST

/* The command is refused once the workers are told to quit: nobody is there to apply it. */
START_TEST(nothing_is_set_on_a_quitting_lb)
{
	char why[320] = "";

	write_simple();
	start();
	control_stop(&lb.control);
	ck_assert_int_eq(commands_backend(&lb.control, ADMIN_WEIGHT, "p", "b", 9, why, sizeof(why)),
			 0);
	control_stop(&lb.control);
	ck_assert_int_eq(commands_backend(&lb.control, ADMIN_WEIGHT, "p", "b", 7, why, sizeof(why)),
			 -ESHUTDOWN);
	ck_assert_str_eq(why, "lb is stopping");
	ck_assert_uint_eq(backend_weight(backend_named("b")), 9);
	ck_assert_int_eq(server_run(&lb), 0);
	server_close(&lb);
}
END_TEST

static const struct {
	const char *name, *pool, *backend, *want;
} unknown[] = {
	{ "another pool", "zzzzzzz", "b", "unknown pool \"zzzzzzz\"" },
	{ "a pool's name misspelt", "pp", "b", "unknown pool \"pp\", did you mean \"p\"?" },
	{ "another backend", "p", "zzzzzzz", "unknown backend \"zzzzzzz\"" },
	{ "a backend's name misspelt", "p", "bb", "unknown backend \"bb\", did you mean \"b\"?" },
};

START_TEST(an_unknown_backend_is_told)
{
	char why[320] = "";

	write_simple();
	start();
	ck_assert_int_eq(commands_backend(&lb.control, ADMIN_DRAIN, unknown[_i].pool,
					  unknown[_i].backend, 0, why, sizeof(why)),
			 -ENOENT);
	ck_assert_msg(strcmp(why, unknown[_i].want) == 0, "%s: %s", unknown[_i].name, why);
	ck_assert_str_eq(backend_state_name(backend_named("b")), "up");
	stop();
}
END_TEST

/* ---- reload and health ----------------------------------------------------------------------- */

static char reload_why[1024];

static void on_reloaded(void *ctx, int result, const char *why)
{
	++*(int *)ctx;
	reload_result = result;
	(void)snprintf(reload_why, sizeof(reload_why), "%s", why);
}

/* All reasons, a line each. */
START_TEST(a_reload_is_answered)
{
	int n = 0;

	write_simple();
	start();
	commands_reload(&lb.control, on_reloaded, &n);
	RUN_UNTIL(n == 1);
	ck_assert_int_eq(reload_result, 0);
	ck_assert_str_eq(reload_why, "");

	write_conf("one: 1\ntwo: 2\n" LISTENER POOL, backend_port);
	commands_reload(&lb.control, on_reloaded, &n);
	RUN_UNTIL(n == 2);
	ck_assert_int_eq(reload_result, -EINVAL);
	const char *second = strchr(reload_why, '\n');
	ck_assert_ptr_nonnull(second);
	ck_assert_ptr_nonnull(strstr(reload_why, "\"one\""));
	ck_assert_ptr_nonnull(strstr(second, "\"two\""));
	ck_assert_ptr_null(strchr(second + 1, '\n'));
	stop();
}
END_TEST

START_TEST(a_stopping_lb_is_not_healthy)
{
	write_simple();
	start();
	ck_assert(control_is_accepting(&lb.control));
	control_stop(&lb.control);
	ck_assert(!control_is_accepting(&lb.control));
	ck_assert_int_eq(server_run(&lb), 0);
	server_close(&lb);
}
END_TEST

static void add_tests(TCase *t)
{
	use_daemon(t);
	tcase_add_test(t, connections_of_all_workers_are_listed);
	tcase_add_test(t, a_quitting_lb_lists_nothing);
	tcase_add_loop_test(t, a_backend_is_changed, 0, ARRAY_SIZE(changes));
	tcase_add_loop_test(t, what_is_set_during_a_reload_is_kept, 0, ARRAY_SIZE(meanwhile));
	tcase_add_test(t, nothing_is_set_on_a_quitting_lb);
	tcase_add_loop_test(t, an_unknown_backend_is_told, 0, ARRAY_SIZE(unknown));
	tcase_add_test(t, a_reload_is_answered);
	tcase_add_test(t, a_stopping_lb_is_not_healthy);
}

int main(void)
{
	return run_suite("daemon/commands", add_tests);
}
