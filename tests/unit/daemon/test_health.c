/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/ioctl.h>

#include "daemon_fixture.h"

#include "daemon/commands.h"
#include "daemon/health.h"

#define CHECKED \
	"pools: [{name: p, health: {type: tcp, interval: 20ms, timeout: 1s, rise: 1, fall: 1}, " \
	"backends: [{name: b, address: '127.0.0.1:%u'}, {name: c, address: '127.0.0.1:1'}]}]\n"

/* Connections that have come to the backend so far. */
static int n_probed(void)
{
	static int n;

	for (int fd; (fd = accept4(backend_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0; n++)
		close(fd);
	ck_assert(errno == EAGAIN);
	return n;
}

static void start_checked(void)
{
	int nonblocking = 1;

	ck_assert_int_eq(ioctl(backend_fd, FIONBIO, &nonblocking), 0);
	write_conf(LISTENER CHECKED, backend_port);
	start();
}

static void set(enum admin_backend_op op)
{
	char why[320];

	ck_assert_int_eq(commands_backend(&lb.control, op, "p", "b", 0, why, sizeof(why)), 0);
}

static bool is_in_state(const char *name, const char *state)
{
	return strcmp(backend_state_name(backend_named(name)), state) == 0;
}

/* Turns for several intervals. */
static void wait_a_while(void)
{
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(loop_turn(lb.loop, 10), 0);
}

/* Nobody probes the backend, once what was under way is over. */
static void check_left_alone(void)
{
	wait_a_while();
	int before = n_probed();
	wait_a_while();
	ck_assert_int_eq(n_probed(), before);
}

static void wait_for_a_probe(void)
{
	int before = n_probed();

	RUN_UNTIL(n_probed() > before);
}

START_TEST(without_checks_backends_are_up)
{
	write_simple();
	start();
	ck_assert(is_in_state("b", "up"));
	ck_assert(is_in_state("c", "up"));
	ck_assert_str_eq(backend_named("b")->check_result, "");
	stop();
}
END_TEST

START_TEST(verdicts_become_states)
{
	start_checked();
	ck_assert(is_in_state("c", "checking") || is_in_state("c", "down"));
	RUN_UNTIL(is_in_state("b", "up") && is_in_state("c", "down"));
	ck_assert_uint_gt(strlen(backend_named("b")->check_result), 0);
	ck_assert_uint_gt(strlen(backend_named("c")->check_result), 0);
	ck_assert(backend_is_usable(backend_named("b")));
	ck_assert(!backend_is_usable(backend_named("c")));
	stop();
	ck_assert(is_logged("notice backend is up pool=p backend=b first=true "));
	ck_assert(is_logged("warn backend is down pool=p backend=c first=true "));
}
END_TEST

/* maint stops the checks, drain does not, ready begins them again. */
START_TEST(maintenance_stops_checks)
{
	start_checked();
	wait_for_a_probe();
	set(ADMIN_MAINT);
	check_left_alone();
	ck_assert(is_in_state("b", "maint"));
	set(ADMIN_DRAIN);
	wait_for_a_probe();
	ck_assert(is_in_state("b", "draining"));
	set(ADMIN_READY);
	wait_for_a_probe();
	RUN_UNTIL(is_in_state("b", "up"));
	stop();
}
END_TEST

static int n_reloaded;

static void on_reloaded(void *ctx, int result, const struct err *why)
{
	(void)why;
	ck_assert_ptr_eq(ctx, &lb);
	ck_assert_int_eq(result, 0);
	n_reloaded++;
}

static void reload(void)
{
	int want = n_reloaded + 1;

	reload_request(&lb.control.reload, on_reloaded, &lb);
	RUN_UNTIL(n_reloaded == want);
}

/* A verdict is the backend's, not the configuration's. */
START_TEST(states_survive_a_reload)
{
	start_checked();
	RUN_UNTIL(is_in_state("b", "up") && is_in_state("c", "down"));
	uint64_t since = backend_named("c")->since_ns;
	write_conf("limits: {connections: 5}\n" LISTENER CHECKED, backend_port);
	reload();
	ck_assert(is_in_state("b", "up"));
	ck_assert(is_in_state("c", "down"));
	ck_assert_uint_eq(backend_named("c")->since_ns, since);
	stop();
}
END_TEST

/* Who is checked no more is up by definition. */
START_TEST(checks_may_be_taken_away)
{
	start_checked();
	RUN_UNTIL(is_in_state("c", "down"));
	write_simple();
	reload();
	ck_assert(is_in_state("b", "up"));
	ck_assert(is_in_state("c", "up"));
	ck_assert_str_eq(backend_named("c")->check_result, "");
	check_left_alone();
	stop();
}
END_TEST

/* ... and a removed one is let alone, though it still serves. */
START_TEST(a_removed_backend_is_not_checked)
{
	start_checked();
	RUN_UNTIL(is_in_state("b", "up"));
	int fd = dial(port_of(0));
	RUN_UNTIL(backend_active(backend_named("b")) == 1);
	struct backend *b = backend_ref(backend_named("b"));
	write_conf(LISTENER "pools: [{name: p, health: {type: tcp, interval: 20ms}, backends: "
			    "[{name: c, address: '127.0.0.1:1'}]}]\n");
	reload();
	check_left_alone();
	ck_assert_str_eq(backend_state_name(b), "draining");
	hang_up(fd);
	RUN_UNTIL(n_active() == 0);
	backend_unref(b);
	stop();
}
END_TEST

static void add_tests(TCase *t)
{
	use_daemon(t);
	tcase_add_test(t, without_checks_backends_are_up);
	tcase_add_test(t, verdicts_become_states);
	tcase_add_test(t, maintenance_stops_checks);
	tcase_add_test(t, states_survive_a_reload);
	tcase_add_test(t, checks_may_be_taken_away);
	tcase_add_test(t, a_removed_backend_is_not_checked);
}

int main(void)
{
	return run_suite("daemon/health", add_tests);
}
