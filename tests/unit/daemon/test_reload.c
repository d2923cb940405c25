/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon_fixture.h"

/* What reload_request() was answered. */
static struct answer {
	int n, result;
	bool says_lb_yaml; /* a reason names the file */
	size_t n_reasons, n_warnings;
} answers[8];

static void on_reloaded(void *ctx, int result, const struct err *why)
{
	struct answer *a = ctx;

	a->n++;
	a->result = result;
	a->n_reasons = why->n;
	a->n_warnings = why->n_warnings;
	a->says_lb_yaml = has_reason(why, conf_path);
}

static int n_answered(void)
{
	int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
		n += answers[i].n;
	return n;
}

static void begin(void)
{
	memset(answers, 0, sizeof(answers));
	write_simple();
	start();
}

/* Reloads by what was written; its result. */
static int reloaded(void)
{
	int want = n_answered() + 1;

	reload_request(&lb.control.reload, on_reloaded, &answers[0]);
	RUN_UNTIL(n_answered() == want);
	return answers[0].result;
}

/* ---- success --------------------------------------------------------------------------------- */

START_TEST(a_reload_makes_the_file_current)
{
	begin();
	struct conf *before = lb.control.conf;
	uint16_t port = port_of(0);
	struct backend *b = backend_named("b");
	write_conf("limits: {connections: 9}\n"
		   "listeners: [{name: l, bind: ['127.0.0.1:0', '[::1]:0'], mode: tcp, pool: p}]\n"
		   "pools: [{name: p, balance: first, backends: [{name: b, address: "
		   "'127.0.0.1:%u', weight: 3}]}]\n",
		   backend_port);
	ck_assert_int_eq(reloaded(), 0);
	ck_assert_uint_eq(answers[0].n_reasons, 0);
	ck_assert_uint_eq(lb.control.generation, 2);
	ck_assert_ptr_ne(lb.control.conf, before);
	ck_assert_uint_eq(port_of(0), port);
	ck_assert_ptr_eq(backend_named("b"), b);
	ck_assert_uint_eq(backend_weight(b), 3);
	ck_assert_uint_eq(atomic_load(&lb.threads->proxy.max_conns), 9);
	stop();
	ck_assert(is_logged("notice reloaded generation=2 "));
}
END_TEST

/* The answer comes when every worker has it: at once afterwards a new address is served. */
START_TEST(new_addresses_accept_when_it_is_answered)
{
	begin();
	for (int round = 0; round < 5; round++) {
		write_conf("listeners: [{name: l, bind: '127.0.0.1:0', mode: tcp, pool: p}, {name: "
			   "n%d, bind: '127.0.0.1:0', mode: tcp, pool: p}]\n" POOL,
			   round, backend_port);
		ck_assert_int_eq(reloaded(), 0);
		uint16_t port = port_of(1);
		int fd = dial(port);
		ck_assert_int_ge(fd, 0);
		RUN_UNTIL(n_active() == 1);
		hang_up(fd);
		RUN_UNTIL(n_active() == 0);
		write_simple();
		ck_assert_int_eq(reloaded(), 0);
		ck_assert_int_eq(dial(port), -1); /* given up to the last worker */
	}
	ck_assert_uint_eq(lb.control.generation, 11);
	stop();
}
END_TEST

START_TEST(connections_do_not_notice)
{
	char byte;

	begin();
	int fd = dial(port_of(0));
	RUN_UNTIL(n_active() == 1 && backend_total(backend_named("b")) == 1);
	int peer = accept(backend_fd, NULL, NULL);
	ck_assert_int_ge(peer, 0);
	write_conf(LISTENER "pools: [{name: p, backends: [{name: x, address: '127.0.0.1:1'}]}]\n");
	struct backend *b = backend_named("b");
	ck_assert_int_eq(reloaded(), 0);
	ck_assert_uint_eq(backend_active(b), 1);
	ck_assert_int_eq(write(fd, "!", 1), 1);
	ck_assert_int_eq(recv(peer, &byte, 1, 0), 1);
	hang_up(fd);
	RUN_UNTIL(n_active() == 0);
	close(peer);
	stop();
}
END_TEST

/* ---- several at once ------------------------------------------------------------------------- */

/* Everybody who asks is answered once, those who came meanwhile by one more reload. */
START_TEST(requests_meanwhile_become_one_more)
{
	begin();
	for (size_t i = 0; i < 5; i++)
		reload_request(&lb.control.reload, on_reloaded, &answers[i]);
	reload_request(&lb.control.reload, NULL, NULL);
	RUN_UNTIL(n_answered() == 5);
	for (size_t i = 0; i < 5; i++) {
		ck_assert_int_eq(answers[i].n, 1);
		ck_assert_int_eq(answers[i].result, 0);
	}
	ck_assert_uint_eq(lb.control.generation, 3);
	stop();
}
END_TEST

/* ... and it reads what was written meanwhile. */
START_TEST(the_later_request_reads_the_later_file)
{
	begin();
	reload_request(&lb.control.reload, on_reloaded, &answers[0]);
	write_conf("nonsense: 1\n" LISTENER POOL, backend_port);
	reload_request(&lb.control.reload, on_reloaded, &answers[1]);
	RUN_UNTIL(n_answered() == 2);
	ck_assert_int_eq(answers[0].result, 0);
	ck_assert_int_eq(answers[1].result, -EINVAL);
	ck_assert_uint_eq(lb.control.generation, 2);
	stop();
}
END_TEST

/* A stop does not wait for one that is under way, and nobody is left without an answer. */
START_TEST(a_stop_may_come_in_between)
{
	begin();
	reload_request(&lb.control.reload, on_reloaded, &answers[0]);
	control_stop(&lb.control);
	reload_request(&lb.control.reload, on_reloaded, &answers[1]);
	ck_assert_int_eq(server_run(&lb), 0);
	ck_assert_int_eq(answers[0].n, 1);
	ck_assert_int_eq(answers[1].n, 1);
	ck_assert_int_eq(answers[1].result, -ESHUTDOWN);
	server_close(&lb);
}
END_TEST

/* ---- a stop behind a reload ------------------------------------------------------------------ */

/* More than the workers take in one batch. */
#define N_NEW 150

static uint16_t new_ports[N_NEW];

/*
 * The next file has N_NEW listeners more, on ports that are free. On 127.0.0.1 another process
 * might take such a port meanwhile, and a client that happens to get the port as its own would
 * connect to itself; so the listeners are on an address of this process alone.
 */
static void write_many(void)
{
	static char text[N_NEW * 64];
	uint32_t a = own_address();
	int fds[N_NEW], n = 0;

	for (int i = 0; i < N_NEW; i++)
		fds[i] = listening_on(a, &new_ports[i]);
	for (int i = 0; i < N_NEW; i++) {
		close(fds[i]);
		n += snprintf(text + n, sizeof(text) - (size_t)n, ", '%u.%u.%u.%u:%u'", a >> 24,
			      a >> 16 & 0xff, a >> 8 & 0xff, a & 0xff, new_ports[i]);
	}
	write_conf("stop_timeout: 30s\n"
		   "listeners: [{name: l, bind: ['127.0.0.1:0'%s], mode: tcp, pool: p}]\n" POOL,
		   text, backend_port);
}

static bool is_accepting(uint32_t address, uint16_t port)
{
	int fd = dial_at(address, port);

	if (fd >= 0)
		hang_up(fd);
	return fd >= 0;
}

static int n_accepting(void)
{
	int n = 0;

	for (int i = 0; i < N_NEW; i++)
		n += is_accepting(own_address(), new_ports[i]);
	return n;
}

/* What had come of a reload when lb was told to stop: no listener, one batch of them, all. */
static const struct {
	const char *name;
	size_t n_handed_over;
	int want;
} stops[] = {
	{ "the first batch is under way", 1, -ESHUTDOWN },
	{ "a later batch is under way", 100, -ESHUTDOWN },
	{ "it is in force", SIZE_MAX, 0 },
};

/* Nobody new is accepted behind a stop, neither by an old listener nor by a new one. */
START_TEST(a_stop_opens_no_listener)
{
	memset(answers, 0, sizeof(answers));
	write_conf("stop_timeout: 30s\n" LISTENER POOL, backend_port);
	start();
	int client = dial(port_of(0)); /* lb waits for it while it drains */
	RUN_UNTIL(n_active() == 1);
	uint16_t old_port = port_of(0);

	write_many();
	reload_request(&lb.control.reload, on_reloaded, &answers[0]);
	RUN_UNTIL(lb.control.reload.batch_to >= stops[_i].n_handed_over || answers[0].n == 1);
	control_stop(&lb.control);
	RUN_UNTIL(answers[0].n == 1);
	ck_assert_msg(answers[0].result == stops[_i].want, "%s: %d", stops[_i].name,
		      answers[0].result);
	ck_assert_int_eq(lb.control.phase, PHASE_DRAINING);
	ck_assert(!reload_is_under_way(&lb.control.reload));
	for (int i = 0; i < 20; i++) /* main closes its copies of the sockets */
		ck_assert_int_eq(loop_turn(lb.loop, 2), 0);
	/*
	 * While a socket leaves, nobody is answered; then everybody is refused. Each worker closes
	 * its sockets at its own speed. A listener that was opened behind the stop would stay.
	 */
	RUN_UNTIL(!is_accepting(INADDR_LOOPBACK, old_port) && n_accepting() == 0);
	RUN_UNTIL(n_active() == 1);

	hang_up(client);
	ck_assert_int_eq(server_run(&lb), 0);
	server_close(&lb);
}
END_TEST

/* ... and one that stops at once may find the reload anywhere. */
START_TEST(a_second_stop_ends_a_reload)
{
	memset(answers, 0, sizeof(answers));
	write_conf("stop_timeout: 30s\n" LISTENER POOL, backend_port);
	start();
	write_many();
	reload_request(&lb.control.reload, on_reloaded, &answers[0]);
	RUN_UNTIL(lb.control.reload.batch_to >= stops[_i].n_handed_over || answers[0].n == 1);
	control_stop(&lb.control);
	control_stop(&lb.control);
	ck_assert_int_eq(server_run(&lb), 0);
	ck_assert_int_eq(answers[0].n, 1);
	server_close(&lb);
}
END_TEST

/* ---- refusals -------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	const char *text; /* of the file; NULL: there is none */
	int want;
	size_t n_reasons;
} refused[] = {
	{ "no file", NULL, -ENOENT, 1 },
	{ "no YAML", "listeners: [\n", -EINVAL, 1 },
	{ "two mistakes",
	  "listeners: [{name: l, bind: '127.0.0.1:0', mode: tcp, pool: q, what: 1}]\n"
	  "pools: [{name: p, backends: ['127.0.0.1:1']}]\n",
	  -EINVAL, 2 },
	{ "an address that is not here",
	  "listeners: [{name: l, bind: ['127.0.0.1:0', '192.0.2.1:80'], pool: p}]\n"
	  "pools: [{name: p, balance: random, backends: ['127.0.0.1:1']}]\n",
	  -EINVAL, 1 },
};

/* A close may take a few turns on io_uring. */
static int n_fds_settled(void)
{
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(loop_turn(lb.loop, 2), 0);
	return n_fds();
}

START_TEST(a_refused_file_changes_nothing)
{
	begin();
	int fd = dial(port_of(0));
	RUN_UNTIL(n_active() == 1);
	struct conf *conf = lb.control.conf;
	struct snapshot *snapshot = lb.control.registry.snapshot;
	uint16_t port = port_of(0);
	uint64_t limit = atomic_load(&lb.threads->proxy.max_conns);
	int before = n_fds_settled();

	if (refused[_i].text != NULL)
		write_conf("%s", refused[_i].text);
	else
		ck_assert_int_eq(unlink(conf_path), 0);
	ck_assert_msg(reloaded() == refused[_i].want, "%s: %d", refused[_i].name,
		      answers[0].result);
	ck_assert_uint_eq(answers[0].n_reasons, refused[_i].n_reasons);
	ck_assert(answers[0].says_lb_yaml);

	ck_assert_uint_eq(lb.control.generation, 1);
	ck_assert_ptr_eq(lb.control.conf, conf);
	ck_assert_ptr_eq(lb.control.registry.snapshot, snapshot);
	ck_assert_uint_eq(port_of(0), port);
	ck_assert_uint_eq(atomic_load(&lb.threads->proxy.max_conns), limit);
	ck_assert_str_eq(backend_named("c")->name, "c");
	ck_assert_int_eq(n_fds_settled(), before);
	ck_assert_uint_eq(n_active(), 1);
	hang_up(fd);

	write_simple();
	ck_assert_int_eq(reloaded(), 0);
	ck_assert_uint_eq(lb.control.generation, 2);
	stop();
	ck_assert(is_logged("err reload refused: "));
}
END_TEST

/* ---- what only a restart applies ------------------------------------------------------------- */

static void write_for_restart(void)
{
	FILE *f = fopen(conf_path, "w");

	(void)fprintf(
		f, "workers: 5\nlog: {to: %s}\nadmin: {socket: %s, mode: '0666'}\n" LISTENER POOL,
		log_path, socket_path, backend_port);
	ck_assert_int_eq(fclose(f), 0);
}

START_TEST(a_restart_is_asked_for)
{
	begin();
	write_for_restart();
	ck_assert_int_eq(reloaded(), 0);
	ck_assert_uint_eq(lb.control.n_workers, N_WORKERS);
	stop();
	ck_assert(is_logged("takes effect at restart key=workers\n"));
	ck_assert(is_logged("takes effect at restart key=admin\n"));
	ck_assert(!is_logged("takes effect at restart key=engine"));
	ck_assert(!is_logged("takes effect at restart key=user"));
}
END_TEST

/* As long as the file differs from what runs, and no longer. */
START_TEST(a_restart_is_asked_for_until_the_file_is_what_runs)
{
	begin();
	for (int round = 0; round < 3; round++) {
		write_for_restart();
		ck_assert_int_eq(reloaded(), 0);
		ck_assert_uint_eq(answers[0].n_warnings, 2);
	}
	write_simple();
	ck_assert_int_eq(reloaded(), 0);
	ck_assert_uint_eq(answers[0].n_warnings, 0);
	stop();
}
END_TEST

static void add_tests(TCase *t)
{
	use_daemon(t);
	tcase_add_test(t, a_reload_makes_the_file_current);
	tcase_add_test(t, new_addresses_accept_when_it_is_answered);
	tcase_add_test(t, connections_do_not_notice);
	tcase_add_test(t, requests_meanwhile_become_one_more);
	tcase_add_test(t, the_later_request_reads_the_later_file);
	tcase_add_test(t, a_stop_may_come_in_between);
	tcase_add_loop_test(t, a_stop_opens_no_listener, 0, ARRAY_SIZE(stops));
	tcase_add_loop_test(t, a_second_stop_ends_a_reload, 0, ARRAY_SIZE(stops));
	tcase_add_loop_test(t, a_refused_file_changes_nothing, 0, ARRAY_SIZE(refused));
	tcase_add_test(t, a_restart_is_asked_for);
	tcase_add_test(t, a_restart_is_asked_for_until_the_file_is_what_runs);
}

int main(void)
{
	return run_suite("daemon/reload", add_tests);
}
