/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Main where malloc or the kernel refuses: a start that fails gives everything back, and a reload
 * that fails has changed nothing.
 */
#include "../ev/loop_fixture.h"
#include "../fault_nth.h"
#include "../net/tls_certs.h"
#include "../proxy/written.h"

#include "balance/backend.h"
#include "balance/pool.h"
#include "daemon/delta.h"
#include "daemon/delta_binds.h"
#include "daemon/membership.h"
#include "daemon/server.h"
#include "daemon/threads.h"
#include "net/sock.h"
#include "proxy/listener.h"
#include "proxy/snapshot.h"
#include "proxy/worker.h"

#define N_WORKERS 2

/* ---- the registry -------------------------------------------------------------------------------
 */

static struct registry registry;

/* A port that nobody listens on, here and now. */
static uint16_t free_port(void)
{
	struct addr a = { .family = AF_INET, .v4 = { 127, 0, 0, 1 } };

	ck_assert_int_eq(sock_probe_free(loop, &a, &a.port), 0);
	ck_assert_int_eq(loop_turn(loop, 0), 0);
	return a.port;
}

static struct delta *prepared(struct conf *conf)
{
	struct err e = ERR_INIT;
	struct delta *d = NULL;
	int r = delta_prepare(&registry, conf, &e, &d);

	ck_assert_msg(r == 0, "%s", e.n_kept > 0 ? e.item[0].text : "no reason");
	return d;
}

static void commit(struct delta *d)
{
	struct err e = ERR_INIT;

	ck_assert_int_eq(delta_binds_listen(&registry, d, &e), 0);
	delta_commit(&registry, d);
	registry_tidy(&registry);
	ck_assert_ptr_null(delta_free(&registry, d));
}

/* The pool p with its first backend, and how many there are of everything. */
static void check_is_old(const struct snapshot *snapshot, struct conf *old)
{
	struct registry_pool *p = registry_find_pool(&registry, "p");
	int n_backends = 0, n_listeners = 0, n_pools = 0;

	ck_assert_ptr_eq(registry.snapshot, snapshot);
	ck_assert_ptr_eq(registry.snapshot->conf, old);
	list_for_each(it, &registry.listeners) n_listeners++;
	list_for_each(it, &registry.pools) n_pools++;
	ck_assert_int_eq(n_listeners, 1);
	ck_assert_int_eq(n_pools, 1);
	ck_assert_ptr_nonnull(p);
	list_for_each(it, &p->backends) n_backends++;
	ck_assert_int_eq(n_backends, 2);
	ck_assert_ptr_nonnull(registry_find_backend(p, "a"));
	ck_assert_ptr_nonnull(registry_find_backend(p, "b"));
	ck_assert_uint_eq(pool_idle_ms(p->pool), 7000);
	ck_assert_uint_eq(p->members->n, 2);
	ck_assert_int_eq(p->members->balance, CONF_BALANCE_HASH);
}

static const char *const policies[] = { "least_connections", "round_robin", "random", "hash",
					"first" };

/* Whatever of a reload is refused, what runs stays as it is, and the next reload succeeds. */
START_TEST(a_reload_without_memory_is_refused_whole)
{
	unsigned n_refused = 0;

	FOR_EVERY_N((enum fault_manner)(_i % FAULT_N_MANNERS))
	{
		struct err e = ERR_INIT;
		struct delta *d = NULL;

		begin(0);
		ck_assert_int_eq(registry_init(&registry, loop, N_WORKERS), 0);
		uint16_t port = free_port();
		struct conf *old = written("listeners: [{name: l, bind: '127.0.0.1:%u', pool: p}]\n"
					   "pools: [{name: p, balance: hash, timeouts: {idle: 7s}, "
					   "backends: [{name: a, address: '127.0.0.1:1'}, "
					   "{name: b, address: '127.0.0.1:2'}]}]\n",
					   port);
		struct conf *new = written(
			"listeners:\n"
			"  - {name: l, bind: '127.0.0.1:%u', pool: q, routes: [\n"
			"      {name: chat, host: x.example, path: /a/*, pool: p}]}\n"
			"  - {name: m, bind: '127.0.0.1:0', mode: tcp, pool: p}\n"
			"pools:\n"
			"  - {name: p, balance: %s, timeouts: {idle: 9s}, source: [127.0.0.1],\n"
			"     backends: [{name: b, address: '127.0.0.1:2', weight: 3},\n"
			"     {name: c, address: '127.0.0.1:3'}]}\n"
			"  - {name: q, backends: ['127.0.0.1:4']}\n",
			port, policies[_i / FAULT_N_MANNERS]);
		commit(prepared(old));
		const struct snapshot *snapshot = registry.snapshot;
		int n_open = n_fds(), r;

		WITH_FAULT(r = delta_prepare(&registry, new, &e, &d));
		ck_assert_int_eq(r == 0, d != NULL);
		ck_assert_int_eq(r == 0, e.n == 0);
		ck_assert_int_eq(r<0, fault.n_refused> 0);
		n_refused += r < 0;
		check_is_old(snapshot, old);
		ck_assert_ptr_null(delta_free(&registry, d));
		ck_assert_int_eq(loop_turn(loop, 0), 0);
		ck_assert_int_eq(n_fds(), n_open);
		ck_assert_uint_eq(ref_count(&new->refs), 1);
		check_is_old(snapshot, old);

		commit(prepared(new));
		ck_assert_ptr_eq(registry.snapshot->conf, new);
		ck_assert_ptr_nonnull(registry_find_pool(&registry, "q"));
		ck_assert_ptr_null(registry_find_backend(registry_find_pool(&registry, "p"), "a"));
		err_deinit(&e);
		conf_unref(old);
		conf_unref(new);
		registry_deinit(&registry);
		end();
	}
	ck_assert_uint_ge(n_refused, 30);
}
END_TEST

/* ---- TLS ------------------------------------------------------------------------------------- */

/* Writes a text to a file of the folder, whose path goes to `path`. */
static void write_text(const char *dir, const char *name, struct slice text, char path[64])
{
	(void)snprintf(path, 64, "%s/%s", dir, name);
	FILE *f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	ck_assert_uint_eq(fwrite(text.p, 1, text.n, f), text.n);
	ck_assert_int_eq(fclose(f), 0);
}

/* The contexts of a configuration are all made, or none is left. */
START_TEST(certificates_are_taken_whole_or_not_at_all)
{
	char dir[] = "/tmp/test_fault.XXXXXX", cert[64], key[64];
	const struct made *m = make_cert((struct wish){ .cn = "a", .san = "DNS:a.test" });
	unsigned n_failed = 0;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	write_text(dir, "a.pem", m->cert_pem.text, cert);
	write_text(dir, "a.key", m->key_pem.text, key);
	FOR_EVERY_N((enum fault_manner)_i)
	{
		struct err e = ERR_INIT;
		struct delta *d = NULL;
		int r;

		begin(0);
		ck_assert_int_eq(registry_init(&registry, loop, N_WORKERS), 0);
		struct conf *conf = written(
			"listeners: [{name: l, bind: '127.0.0.1:0', pool: p, tls: {certificates: "
			"[{cert: %s, key: %s}], client: {ca: %s}}}]\n"
			"pools: [{name: p, backends: ['127.0.0.1:1']}]\n",
			cert, key, cert);
		WITH_FAULT(r = delta_prepare(&registry, conf, &e, &d));
		ck_assert_msg((r < 0) == (fault.n_refused > 0), "%u: %s", fault.n, fault.refused);
		ck_assert_int_eq(r == 0, e.n == 0);
		n_failed += r < 0;
		for (uint32_t w = 0; w < N_WORKERS && r == 0; w++)
			ck_assert_ptr_nonnull(snapshot_tls(d->snapshot, 0, w));
		ck_assert_ptr_null(delta_free(&registry, d));
		ck_assert_uint_eq(ref_count(&conf->refs), 1);
		err_deinit(&e);
		conf_unref(conf);
		registry_deinit(&registry);
		end();
	}
	ck_assert_uint_ge(n_failed, 40);
	certs_end();
	ck_assert(unlink(cert) == 0 && unlink(key) == 0 && rmdir(dir) == 0);
}
END_TEST

START_TEST(a_fleet_begins_or_not)
{
	FOR_EVERY_N((enum fault_manner)_i)
	{
		int r;

		begin(0);
		WITH_FAULT(r = registry_init(&registry, loop, N_WORKERS));
		ck_assert_int_eq(r, fault.n_refused > 0 ? -ENOMEM : 0);
		registry_deinit(&registry);
		end();
	}
}
END_TEST

/* ---- the start ------------------------------------------------------------------------------- */

static const char *const engine_names[] = { "auto", "epoll", "io_uring" };

/* The messages of a stop are made here, so that a stop needs no memory. */
START_TEST(opening_fails_whole)
{
	static struct server c;
	struct conf *conf = written("engine: %s\nworkers: 2\nlog: {level: warn}\n"
				    "listeners: [{name: l, bind: '127.0.0.1:1', pool: p}]\n"
				    "pools: [{name: p, backends: ['127.0.0.1:1']}]\n",
				    engine_names[_i / FAULT_N_MANNERS]);
	unsigned n_failed = 0;

	fault.wait_error = ENOMEM; /* an interrupted one is tried again */
	FOR_EVERY_N((enum fault_manner)(_i % FAULT_N_MANNERS))
	{
		struct err e = ERR_INIT;
		int status;

		WITH_FAULT(status = server_open(&c, "lb.yaml", conf, &e));
		ck_assert(status == 0 || fault.n_refused > 0);
		ck_assert_int_eq(status == 0, e.n == 0);
		n_failed += status != 0;
		if (status == 0)
			for (uint32_t i = 0; i < c.control.n_workers; i++)
				ck_assert(c.control.stop.message[i] != NULL &&
					  c.control.quit.message[i] != NULL);
		server_close(&c);
		ck_assert_uint_eq(ref_count(&conf->refs), 1);
		err_deinit(&e);
	}
	ck_assert_uint_ge(n_failed, 15);
	conf_unref(conf);
}
END_TEST

/* A start that is refused something says so, and does not wait for ever. */
START_TEST(starting_fails_whole)
{
	static struct server c;
	char socket_path[64], log_path[64];
	unsigned n_failed = 0;

	(void)snprintf(socket_path, sizeof(socket_path), "/tmp/test_lb.%d.sock", (int)getpid());
	(void)snprintf(log_path, sizeof(log_path), "/tmp/test_lb.%d.log", (int)getpid());
	struct conf *conf =
		written("engine: %s\nworkers: 2\nlog: {to: %s, level: err}\nadmin: {socket: %s}\n"
			"listeners: [{name: l, bind: '127.0.0.1:0', pool: p}]\n"
			"pools: [{name: p, backends: ['127.0.0.1:1']}]\n",
			engine_names[1 + _i / FAULT_N_MANNERS], log_path, socket_path);

	fault.spares_io = true; /* main waits for its workers */
	FOR_EVERY_N((enum fault_manner)(_i % FAULT_N_MANNERS))
	{
		struct err e = ERR_INIT;
		int status;

		ck_assert_int_eq(server_open(&c, "lb.yaml", conf, &e), 0);
		WITH_FAULT(status = server_start(&c, &e));
		ck_assert(status == 0 || fault.n_refused > 0);
		ck_assert_int_eq(status == 0, e.n == 0);
		n_failed += status != 0;
		if (status == 0) {
			control_stop(&c.control);
			control_stop(&c.control);
			ck_assert_int_eq(server_run(&c), 0);
		}
		server_close(&c);
		ck_assert_uint_eq(ref_count(&conf->refs), 1);
		err_deinit(&e);
	}
	ck_assert_uint_ge(n_failed, 30);
	conf_unref(conf);
	ck_assert_int_eq(unlink(log_path), 0);
	ck_assert_int_ne(access(socket_path, F_OK), 0);
}
END_TEST

/* ---- a reload of a running lb ---------------------------------------------------------------- */

static char conf_path[64], reload_log[64], reload_socket[64];
static uint16_t ports[3];

static void write_file(const char *binds)
{
	FILE *f = fopen(conf_path, "w");

	ck_assert_ptr_nonnull(f);
	(void)fprintf(f,
		      "workers: 2\nlog: {to: %s, level: err}\nadmin: {socket: %s}\n"
		      "listeners: [{name: l, bind: [%s], pool: p}]\n"
		      "pools: [{name: p, backends: ['127.0.0.1:1']}]\n",
		      reload_log, reload_socket, binds);
	ck_assert_int_eq(fclose(f), 0);
}

/* One listener, or with two more. */
static void write_ports(int n)
{
	char text[128] = "";

	for (int i = 0; i < n; i++)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s'127.0.0.1:%u'",
			       i > 0 ? ", " : "", ports[i]);
	write_file(text);
}

/* Whether the file is in force then. */
static bool reload_now(struct server *s, bool is_faulty)
{
	uint64_t generation = s->control.generation;

	fault_is_on = is_faulty;
	reload_request(&s->control.reload, NULL, NULL);
	for (int i = 0; i < 2000 && reload_is_under_way(&s->control.reload); i++)
		(void)loop_turn(s->loop, 5);
	fault_is_on = false;
	ck_assert(!reload_is_under_way(&s->control.reload));
	return s->control.generation == generation + 1;
}

static bool is_refused(uint16_t port)
{
	struct sockaddr_in to = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r = connect(fd, (struct sockaddr *)&to, sizeof(to));

	close(fd);
	return r < 0;
}

/*
 * Whatever main is refused on the way, and however much of it: the new addresses are given up to
 * the last worker, and the next reload has them.
 */
START_TEST(a_reload_that_fails_gives_its_addresses_up)
{
	static struct server c;
	unsigned n_failed = 0;
	struct err e = ERR_INIT;
	struct conf *conf = NULL;

	(void)snprintf(conf_path, sizeof(conf_path), "/tmp/test_lb.%d.yaml", (int)getpid());
	(void)snprintf(reload_log, sizeof(reload_log), "/tmp/test_lb.%d.log", (int)getpid());
	(void)snprintf(reload_socket, sizeof(reload_socket), "/tmp/test_lb.%d.sock", (int)getpid());
	begin(0);
	for (size_t i = 0; i < ARRAY_SIZE(ports); i++)
		ports[i] = free_port();
	end();
	write_ports(1);
	ck_assert_int_eq(conf_load(conf_path, &e, &conf), 0);
	ck_assert_int_eq(server_open(&c, conf_path, conf, &e), 0);
	conf_unref(conf);
	ck_assert_int_eq(server_start(&c, &e), 0);

	fault.spares_io = true;
	fault_begin((enum fault_manner)_i);
	do {
		fault.n++;
		fault.n_asked = fault.n_refused = 0;
		write_ports(3);
		bool is_in_force = reload_now(&c, true);
		ck_assert(is_in_force || fault.n_refused > 0);
		n_failed += !is_in_force;
		ck_assert_int_eq(is_refused(ports[1]), !is_in_force);
		ck_assert_int_eq(is_refused(ports[2]), !is_in_force);
		ck_assert(reload_now(&c, false));
		ck_assert(!is_refused(ports[1]) && !is_refused(ports[2]));
		write_ports(1);
		ck_assert(reload_now(&c, false));
	} while (fault.n_refused > 0);
	ck_assert_uint_ge(n_failed, 60);

	control_stop(&c.control);
	control_stop(&c.control);
	ck_assert_int_eq(server_run(&c), 0);
	server_close(&c);
	err_deinit(&e);
	ck_assert_int_eq(unlink(reload_log), 0);
	ck_assert_int_eq(unlink(conf_path), 0);
}
END_TEST

/* ---- a weight that an operator sets ---------------------------------------------------------- */

static void wake_nobody(void *arg)
{
	(void)arg;
}

/* Main, and of its workers what a message of new members touches. */
static struct registry reg;
static struct membership membership;
static struct mailbox main_mail;
static struct threads threads;
static struct thread thread[N_WORKERS];
static struct worker workers[N_WORKERS];

static void begin_membership(struct conf *conf)
{
	begin(0);
	threads = (struct threads){ .n = N_WORKERS, .thread = thread };
	membership = (struct membership){ .registry = &reg, .threads = &threads };
	mailbox_open_with(&main_mail, NULL, wake_nobody, NULL);
	ck_assert_int_eq(registry_init(&reg, loop, N_WORKERS), 0);
	struct err e = ERR_INIT;
	struct delta *d = NULL;
	ck_assert_int_eq(delta_prepare(&reg, conf, &e, &d), 0);
	delta_commit(&reg, d);
	for (int i = 0; i < N_WORKERS; i++) {
		struct worker *w = &workers[i];
		*w = (struct worker){ .id = (uint32_t)i,
				      .owner = pthread_self(),
				      .main = &main_mail,
				      .n_members = 1 };
		w->members = calloc(1, sizeof(struct members *));
		w->members[0] = members_ref(d->pools[0].members);
		mailbox_open_with(&thread[i].mail, w, wake_nobody, NULL);
	}
	delta_free(&reg, d);
	ck_assert_int_eq(loop_turn(loop, 0), 0);
}

static void end_membership(void)
{
	for (int i = 0; i < N_WORKERS; i++) {
		members_unref(workers[i].members[0]);
		free(workers[i].members);
		mailbox_close(&thread[i].mail);
	}
	registry_deinit(&reg);
	mailbox_close(&main_mail);
	end();
}

/* It is set on main and on every worker, or nowhere. */
START_TEST(a_weight_is_set_whole_or_not_at_all)
{
	unsigned n_failed = 0;

	FOR_EVERY_N((enum fault_manner)(_i % FAULT_N_MANNERS))
	{
		struct conf *conf =
			written("listeners: [{name: l, bind: '127.0.0.1:0', pool: p}]\n"
				"pools: [{name: p, balance: %s, backends: [{name: b, address: "
				"'127.0.0.1:1'}, {name: c, address: '127.0.0.1:2'}]}]\n",
				policies[_i / FAULT_N_MANNERS]);
		int r;

		begin_membership(conf);
		struct registry_pool *p = registry_find_pool(&reg, "p");
		struct registry_backend *b = registry_find_backend(p, "b");
		struct members *before = members_ref(p->members);
		WITH_FAULT(r = membership_set_weight(&membership, p, b, 7));
		ck_assert_int_eq(r, fault.n_refused > 0 ? -ENOMEM : 0);
		n_failed += r < 0;
		ck_assert_uint_eq(backend_weight(b->backend), r == 0 ? 7 : 1);
		ck_assert_int_eq(b->is_weight_set, r == 0);
		ck_assert_int_eq(p->members != before, r == 0);
		ck_assert_uint_eq(p->members->entry[0].weight, r == 0 ? 7 : 1);
		for (int i = 0; i < N_WORKERS; i++) {
			mailbox_drain(&thread[i].mail);
			ck_assert_ptr_eq(workers[i].members[0], p->members);
		}
		mailbox_drain(&main_mail);
		ck_assert_uint_eq(ref_count(&before->refs), r == 0 ? 1 : 2 + N_WORKERS);
		members_unref(before);
		end_membership();
		conf_unref(conf);
	}
	ck_assert_uint_ge(n_failed, 6);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_set_timeout(t, 60); /* each is run for every n, slowly under sanitizers */
	tcase_add_loop_test(t, a_reload_without_memory_is_refused_whole, 0,
			    FAULT_N_MANNERS * (int)ARRAY_SIZE(policies));
	tcase_add_loop_test(t, certificates_are_taken_whole_or_not_at_all, 0, FAULT_N_MANNERS);
	tcase_add_loop_test(t, a_fleet_begins_or_not, 0, FAULT_N_MANNERS);
	tcase_add_loop_test(t, opening_fails_whole, 0, FAULT_N_MANNERS * (1 + n_engines));
	tcase_add_loop_test(t, a_weight_is_set_whole_or_not_at_all, 0,
			    FAULT_N_MANNERS * (int)ARRAY_SIZE(policies));
	tcase_add_loop_test(t, a_reload_that_fails_gives_its_addresses_up, 0, FAULT_N_MANNERS);
	tcase_add_loop_test(t, starting_fails_whole, 0, FAULT_N_MANNERS * n_engines);
}

int main(void)
{
	return run_on_engines("daemon/fault_nth", add_tests);
}
