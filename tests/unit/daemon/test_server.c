/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/un.h>

#include "daemon_fixture.h"

#include "../net/tls_certs.h"

#include "daemon/err_log.h"
#include "proxy/snapshot.h"

/* ---- start ----------------------------------------------------------------------------------- */

static bool is_socket_answered(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(sun.sun_path, socket_path, sizeof(socket_path));
	int r = connect(fd, (struct sockaddr *)&sun, sizeof(sun));
	close(fd);
	return r == 0;
}

static const char *const engines[] = { "io_uring", "epoll" };

/* Started means: every listener accepts, and the admin socket answers. */
START_TEST(a_started_lb_accepts)
{
	write_conf("engine: %s\n" LISTENER POOL, engines[_i], backend_port);
	start();
	ck_assert(control_is_accepting(&lb.control));
	ck_assert_uint_eq(lb.control.generation, 1);
	ck_assert_uint_eq(lb.control.n_workers, N_WORKERS);
	ck_assert_str_eq(loop_engine_name(lb.loop), engines[_i]);
	ck_assert(is_socket_answered());
	int fd = dial(port_of(0));
	ck_assert_int_ge(fd, 0);
	RUN_UNTIL(n_active() == 1 && backend_active(backend_named("b")) == 1);
	hang_up(fd);
	RUN_UNTIL(n_active() == 0);
	stop();
	ck_assert_int_ne(access(socket_path, F_OK), 0);
	ck_assert(is_logged("notice started "));
	ck_assert(is_logged("notice stopped"));
}
END_TEST

static const struct {
	const char *name;
	const char *limits; /* of the file */
	uint32_t want;      /* 0: what the tables have room for */
} limits[] = {
	{ "the file's", "limits: {connections: 7}\n", 7 },
	{ "auto", "limits: {connections: auto}\n", 0 },
	{ "more than the tables hold", "limits: {connections: 100000000}\n", 0 },
};

START_TEST(the_limit_is_the_lower_one)
{
	write_conf("%s" LISTENER POOL, limits[_i].limits, backend_port);
	start();
	uint64_t most = (uint64_t)N_WORKERS * lb.threads->share.max_sessions;
	ck_assert_msg(atomic_load(&lb.threads->proxy.max_conns) ==
			      (limits[_i].want != 0 ? limits[_i].want : most),
		      "%s", limits[_i].name);
	stop();
}
END_TEST

/* ---- TLS ------------------------------------------------------------------------------------- */

static void write_made(const char *path, const struct tls_pem *pem)
{
	FILE *f = fopen(path, "we");

	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(pem->text.p, 1, pem->text.n, f), pem->text.n);
	ck_assert_int_eq(fclose(f), 0);
}

static int is_dumpable(void)
{
	return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
}

#define LISTENERS \
	"listeners:\n" \
	"  - {name: l, bind: '127.0.0.1:0', mode: tcp, pool: p}\n"

/* Keys are in no core dump: from the start on, or from the reload that brings TLS. */
START_TEST(keys_are_not_dumped)
{
	const struct made *m = make_cert((struct wish){ .cn = "a", .san = "DNS:a.test" });
	char cert[64], key[64], tls[256];
	bool is_at_start = _i == 0;

	(void)snprintf(cert, sizeof(cert), "%s/a.pem", dir);
	(void)snprintf(key, sizeof(key), "%s/a.key", dir);
	(void)snprintf(tls, sizeof(tls),
		       "  - {name: s, bind: '127.0.0.1:0', pool: p, tls: {certificates: [{cert: "
		       "%s, key: %s}]}}\n",
		       cert, key);
	write_made(cert, &m->cert_pem);
	write_made(key, &m->key_pem);
	write_conf(LISTENERS "%s" POOL, is_at_start ? tls : "", backend_port);
	ck_assert_int_eq(is_dumpable(), 1);
	start();
	ck_assert_int_eq(is_dumpable(), !is_at_start);
	write_conf(LISTENERS "%s" POOL, tls, backend_port);
	reload_request(&lb.control.reload, NULL, NULL);
	RUN_UNTIL(lb.control.generation == 2);
	ck_assert_int_eq(is_dumpable(), 0);
	for (uint32_t w = 0; w < N_WORKERS; w++)
		ck_assert_ptr_nonnull(snapshot_tls(lb.control.registry.snapshot, 1, w));
	stop();
	certs_end();
	ck_assert(unlink(cert) == 0 && unlink(key) == 0);
}
END_TEST

/* ---- what cannot start ----------------------------------------------------------------------- */

static void check_not_started(int want)
{
	struct err e = ERR_INIT;

	ck_assert_int_eq(started(&e), want);
	ck_assert_uint_gt(e.n, 0);
	server_close(&lb);
	err_deinit(&e);
}

START_TEST(a_log_that_cannot_be_opened_is_3)
{
	write_conf("access_log: {to: /no/such/folder/access.log}\n" LISTENER POOL, backend_port);
	check_not_started(EXIT_BIND);
}
END_TEST

START_TEST(a_missing_certificate_is_1)
{
	write_conf("listeners: [{name: l, bind: '127.0.0.1:0', pool: p, tls: {certificates: "
		   "[{cert: /no/such/a.pem, key: /no/such/a.key}]}}]\n" POOL,
		   backend_port);
	check_not_started(EXIT_CONF);
}
END_TEST

START_TEST(a_low_limit_of_files_is_3)
{
	struct rlimit few = { .rlim_cur = 40, .rlim_max = 40 };
	struct err e = ERR_INIT;

	write_simple();
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	ck_assert_int_eq(started(&e), EXIT_BIND);
	ck_assert(has_reason(&e, "40 open files"));
	ck_assert(has_reason(&e, "ulimit -n"));
	ck_assert(has_reason(&e, "LimitNOFILE="));
	ck_assert(has_reason(&e, " with 1 listening address need"));
	server_close(&lb);
	err_deinit(&e);
}
END_TEST

/* All that is taken is named in one run. */
START_TEST(taken_addresses_are_3)
{
	struct err e = ERR_INIT;
	uint16_t one, two;
	int fd_one = listening(&one), fd_two = listening(&two);
	char text[2][32];

	(void)snprintf(text[0], sizeof(text[0]), "127.0.0.1:%u", one);
	(void)snprintf(text[1], sizeof(text[1]), "127.0.0.1:%u", two);
	write_conf("listeners: [{name: l, bind: ['%s', '127.0.0.1:0', '%s'], pool: p}]\n" POOL,
		   text[0], text[1], backend_port);
	ck_assert_int_eq(started(&e), EXIT_BIND);
	ck_assert_uint_eq(e.n, 2);
	ck_assert(has_reason(&e, text[0]));
	ck_assert(has_reason(&e, text[1]));
	server_close(&lb);
	err_deinit(&e);
	(void)unlink(socket_path); /* of an lb that never served it */
	close(fd_one);
	close(fd_two);
}
END_TEST

START_TEST(a_living_admin_socket_is_3)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct err e = ERR_INIT;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(sun.sun_path, socket_path, sizeof(socket_path));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	ck_assert_int_eq(listen(fd, 5), 0);
	write_simple();
	ck_assert_int_eq(started(&e), EXIT_BIND);
	ck_assert(has_reason(&e, socket_path));
	server_close(&lb);
	ck_assert(is_socket_answered()); /* it is still the other one's */
	err_deinit(&e);
	close(fd);
	ck_assert_int_eq(unlink(socket_path), 0);
}
END_TEST

/* ---- stop ------------------------------------------------------------------------------------ */

START_TEST(a_stop_ends_with_the_last_connection)
{
	write_conf("stop_timeout: 1h\n" LISTENER POOL, backend_port);
	start();
	uint16_t port = port_of(0);
	int fd = dial(port);
	RUN_UNTIL(n_active() == 1);
	control_stop(&lb.control);
	ck_assert_int_eq(lb.control.phase, PHASE_DRAINING);
	ck_assert(!control_is_accepting(&lb.control));
	for (int late = 0; late >= 0;) { /* until the workers have closed their sockets */
		ck_assert_int_eq(loop_turn(lb.loop, 10), 0);
		if ((late = dial(port)) >= 0)
			hang_up(late);
	}
	RUN_UNTIL(n_active() == 1); /* but for those who came in at the last moment */
	ck_assert_int_eq(lb.control.phase, PHASE_DRAINING);
	hang_up(fd);
	ck_assert_int_eq(server_run(&lb), 0);
	server_close(&lb);
}
END_TEST

START_TEST(a_stop_waits_no_longer_than_it_may)
{
	char byte;

	write_conf("stop_timeout: 100ms\n" LISTENER POOL, backend_port);
	start();
	int fd = dial(port_of(0));
	RUN_UNTIL(n_active() == 1);
	control_stop(&lb.control);
	ck_assert_int_eq(server_run(&lb), 0);
	ck_assert_int_eq(lb.control.phase, PHASE_QUITTING);
	server_close(&lb);
	ck_assert_int_le(recv(fd, &byte, 1, 0), 0);
	close(fd);
	ck_assert(is_logged("end=stop"));
}
END_TEST

/* What stands in front of lb is told first, while connections are still taken. */
START_TEST(a_delayed_stop_goes_on_accepting)
{
	write_conf("stop_timeout: 1h\nstop_delay: 200ms\n" LISTENER POOL, backend_port);
	start();
	control_stop(&lb.control);
	ck_assert_int_eq(lb.control.phase, PHASE_DELAYING);
	ck_assert(!control_is_accepting(&lb.control));
	int fd = dial(port_of(0));
	ck_assert_int_ge(fd, 0);
	RUN_UNTIL(n_active() == 1);
	RUN_UNTIL(lb.control.phase == PHASE_DRAINING);
	hang_up(fd);
	ck_assert_int_eq(server_run(&lb), 0);
	server_close(&lb);
}
END_TEST

static const char *const patient[] = {
	"stop_timeout: 1h\n",
	"stop_timeout: 1h\nstop_delay: 1h\n",
};

START_TEST(a_second_signal_stops_at_once)
{
	write_conf("%s" LISTENER POOL, patient[_i], backend_port);
	start();
	int fd = dial(port_of(0));
	RUN_UNTIL(n_active() == 1);
	control_stop(&lb.control);
	control_stop(&lb.control);
	ck_assert_int_eq(lb.control.phase, PHASE_QUITTING);
	control_stop(&lb.control); /* and a third one does no harm */
	ck_assert_int_eq(server_run(&lb), 0);
	server_close(&lb);
	close(fd);
}
END_TEST

/* ---- logs ------------------------------------------------------------------------------------ */

START_TEST(errors_are_lines_of_the_log)
{
	struct err e = ERR_INIT;

	write_simple();
	start();
	(void)err_add(&e, -EINVAL, "the first");
	(void)err_add(&e, -EINVAL, "the second");
	err_log_errors(&lb.control.log, "what failed", &e);
	err_deinit(&e);
	stop();
	ck_assert(is_logged("err what failed: the first\n"));
	ck_assert(is_logged("err what failed: the second\n"));
}
END_TEST

static void add_tests(TCase *t)
{
	use_daemon(t);
	struct err e = ERR_INIT;
	int first = loop_probe_uring(&e) == 0 ? 0 : 1;

	err_deinit(&e);
	tcase_add_loop_test(t, a_started_lb_accepts, first, ARRAY_SIZE(engines));
	tcase_add_loop_test(t, the_limit_is_the_lower_one, 0, ARRAY_SIZE(limits));
	tcase_add_loop_test(t, keys_are_not_dumped, 0, 2);
	tcase_add_test(t, a_missing_certificate_is_1);
	tcase_add_test(t, a_log_that_cannot_be_opened_is_3);
	tcase_add_test(t, taken_addresses_are_3);
	tcase_add_test(t, a_living_admin_socket_is_3);
	tcase_add_test(t, a_stop_ends_with_the_last_connection);
	tcase_add_test(t, a_stop_waits_no_longer_than_it_may);
	tcase_add_test(t, a_delayed_stop_goes_on_accepting);
	tcase_add_loop_test(t, a_second_signal_stops_at_once, 0, ARRAY_SIZE(patient));
	tcase_add_test(t, errors_are_lines_of_the_log);
	tcase_add_test(t, a_low_limit_of_files_is_3); /* last: nobody raises it again */
}

int main(void)
{
	return run_suite("daemon/server", add_tests);
}
