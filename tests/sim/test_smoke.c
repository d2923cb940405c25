/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam, proved early: the real worker on the simulated engine, one client, one backend, a few
 * seeds. Bytes go both ways in pieces, then the client closes; nothing may be lost, doubled or
 * left.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "conf/conf.h"
#include "proxy/listener.h"
#include "proxy/names.h"
#include "proxy/order.h"
#include "proxy/plan.h"
#include "proxy/worker.h"
#include "sim.h"

#define N_BYTES 200000u

static const struct addr front = { .family = AF_INET, .port = 8080, .v4 = { 127, 0, 0, 1 } };
static const struct addr back = { .family = AF_INET, .port = 9001, .v4 = { 127, 0, 0, 1 } };

/* A byte of a checkable stream. */
static uint8_t byte_at(uint64_t salt, size_t i)
{
	return (uint8_t)(salt + i * 7 + i / 251);
}

/* One end of a conversation: sends a stream, checks the one it gets. */
struct end {
	struct sim *w;
	int fd;
	uint64_t sends_salt, gets_salt;
	size_t n_sent, n_got;
	bool is_shut, is_eof, is_closed;
	int error;
};

struct test {
	struct sim *w;
	struct loop *loop;
	struct mailbox mail, main;
	struct worker *worker;
	struct proxy proxy;
	int listen_fd;
	struct end client, server;
	bool has_quit;
	bool is_mail_due;
};

static bool end_step(struct end *e)
{
	uint8_t chunk[3000];
	bool has_acted = false;

	if (e->fd < 0 || e->is_closed)
		return false;
	if (e->n_sent < N_BYTES) {
		size_t n = 1 + sim_rand(e->w, sizeof(chunk));
		if (n > N_BYTES - e->n_sent)
			n = N_BYTES - e->n_sent;
		for (size_t i = 0; i < n; i++)
			chunk[i] = byte_at(e->sends_salt, e->n_sent + i);
		ssize_t r = sim_send(e->w, e->fd, chunk, n);
		if (r > 0) {
			e->n_sent += (size_t)r;
			has_acted = true;
		}
	} else if (!e->is_shut) {
		sim_shutdown_write(e->w, e->fd);
		e->is_shut = has_acted = true;
	}

	ssize_t r = sim_recv(e->w, e->fd, chunk, 1 + sim_rand(e->w, sizeof(chunk)));
	ssize_t right = 0; /* one assertion per chunk: each costs a system call of libcheck's */
	while (right < r && chunk[right] == byte_at(e->gets_salt, e->n_got + (size_t)right))
		right++;
	ck_assert_msg(r < 0 || right == r, "byte %zu is wrong", e->n_got + (size_t)right);
	if (r > 0) {
		e->n_got += (size_t)r;
		has_acted = true;
	} else if (r == 0 && !e->is_eof) {
		e->is_eof = has_acted = true;
	} else if (r < 0 && r != -EAGAIN) {
		e->error = (int)r;
	}
	if (e->is_eof && e->is_shut) {
		sim_close(e->w, e->fd);
		e->is_closed = has_acted = true;
	}
	return has_acted;
}

static bool client_step(void *arg)
{
	struct test *t = arg;

	if (t->client.fd < 0) {
		t->client.fd = sim_connect(t->w, &front);
		return true;
	}
	return end_step(&t->client);
}

static bool server_step(void *arg)
{
	struct test *t = arg;

	if (t->server.fd < 0) {
		t->server.fd = sim_accept(t->w, t->listen_fd);
		return t->server.fd >= 0;
	}
	return end_step(&t->server);
}

/* Mailboxes have no descriptor here: whoever is woken drains in its next turn. */
static void wake(void *arg)
{
	struct test *t = arg;

	t->is_mail_due = true;
}

static bool mail_step(void *arg)
{
	struct test *t = arg;

	if (!t->is_mail_due)
		return false;
	t->is_mail_due = false;
	mailbox_drain(&t->mail);
	mailbox_drain(&t->main);
	return true;
}

static void on_done(struct order *o, void *arg)
{
	struct test *t = arg;

	ck_assert_int_eq(o->result, 0);
	if (o->kind == ORDER_QUIT)
		t->has_quit = true;
	order_free(o);
}

static void post(struct test *t, struct order *o)
{
	o->done = on_done;
	mailbox_post(&t->mail, &o->mail);
}

static bool is_over(void *arg)
{
	struct test *t = arg;

	return t->client.is_closed && t->server.is_closed &&
	       counter_read(&t->worker->stats->active) == 0;
}

static bool has_quit(void *arg)
{
	return ((struct test *)arg)->has_quit;
}

/* The configuration of one tcp listener and one pool with one backend. */
static struct conf *make_conf(void)
{
	static char name_l[] = "front", name_p[] = "pool", name_b[] = "b1";
	static struct conf_bind bind;
	static struct conf_listener listener;
	static struct conf_backend backend;
	static struct conf_pool pool;
	static struct conf conf;

	bind = (struct conf_bind){ .addr = front, .text = name_l };
	listener = (struct conf_listener){
		.name = name_l,
		.mode = CONF_MODE_TCP,
		.n_binds = 1,
		.binds = &bind,
		.handshake_ms = 1000,
	};
	backend = (struct conf_backend){ .name = name_b, .addr = back, .weight = 1 };
	pool = (struct conf_pool){
		.name = name_p,
		.n_backends = 1,
		.backends = &backend,
		.connect_ms = 3000,
		.idle_ms = CONF_OFF,
		.half_closed_ms = 30000,
		.user_ms = 120000,
		.splice = CONF_SPLICE_NEVER,
		.buffer_bytes = 65536,
	};
	conf = (struct conf){
		.n_listeners = 1,
		.listeners = &listener,
		.n_pools = 1,
		.pools = &pool,
	};
	atomic_init(&conf.refs, 1); /* never the last: nothing of it was allocated */
	return &conf;
}

/* What daemon/ does at a start, for one worker: a pool, its members, a listener, one order. */
static void start(struct test *t, struct names *names)
{
	struct conf *conf = make_conf();
	struct pool *pool = pool_new(&conf->pools[0], 0);
	struct backend *b = backend_new("pool", &conf->pools[0].backends[0], 1, 0);
	struct members *m = members_new(pool, CONF_BALANCE_LEAST, 0,
					&(struct members_entry){ .backend = b, .weight = 1 }, 1);
	struct listener *l = listener_new(1, &front, names_intern(names, "front"), 1);
	struct order *o = order_new(ORDER_APPLY, 0);
	struct sockaddr_storage sa;

	int fd = loop_socket(t->loop, AF_INET, SOCK_STREAM);
	socklen_t len = addr_to_sockaddr(&front, &sa);
	ck_assert_int_eq(loop_bind(t->loop, fd, (struct sockaddr *)&sa, len), 0);
	ck_assert_int_eq(loop_listen(t->loop, fd, 64), 0);
	ck_assert_ptr_nonnull(listen_socket_new(t->worker, l, fd));

	o->plan = plan_new(conf, &pool, names);
	o->members = calloc(1, sizeof(struct members *));
	o->members[o->n_members++] = m;
	o->listeners = calloc(1, sizeof(struct listener *));
	o->plan_index = calloc(1, sizeof(size_t));
	o->listeners[o->n_listeners++] = l;
	backend_unref(b);
	pool_unref(pool);
	post(t, o);
}

START_TEST(relays_both_ways)
{
	struct test t = { .client = { .fd = -1, .sends_salt = 3, .gets_salt = 11 },
			  .server = { .fd = -1, .sends_salt = 11, .gets_salt = 3 } };
	struct names *names = names_new();

	t.w = sim_new(&(struct sim_opts){ .seed = (uint64_t)_i });
	t.client.w = t.server.w = t.w;
	t.loop = sim_loop_new(t.w, &(struct loop_opts){ 0 });
	t.proxy.n_workers = 1;
	atomic_store(&t.proxy.max_conns, 100);
	mailbox_open_with(&t.mail, NULL, wake, &t);
	mailbox_open_with(&t.main, &t, wake, &t);
	ck_assert_int_eq(worker_new(&(struct worker_opts){ .proxy = &t.proxy,
							   .loop = t.loop,
							   .mail = &t.mail,
							   .main = &t.main,
							   .channel = -1,
							   .max_sessions = 100 },
				    &t.worker),
			 0);
	t.mail.arg = t.worker;
	t.listen_fd = sim_listen(t.w, &back);
	start(&t, names);
	sim_add_actor(t.w, mail_step, &t);
	sim_add_actor(t.w, client_step, &t);
	sim_add_actor(t.w, server_step, &t);

	ck_assert_msg(sim_run(t.w, is_over, &t, 1000000) > 0, "seed %d: stuck", _i);
	ck_assert_uint_eq(t.client.n_got, N_BYTES);
	ck_assert_uint_eq(t.server.n_got, N_BYTES);
	ck_assert_int_eq(t.client.error, 0);
	ck_assert_int_eq(t.server.error, 0);
	ck_assert_uint_eq(counter_read(&t.worker->stats->ends[SESS_END_CLIENT_CLOSED]) +
				  counter_read(&t.worker->stats->ends[SESS_END_BACKEND_CLOSED]),
			  1);

	post(&t, order_new(ORDER_QUIT, 0));
	ck_assert_uint_gt(sim_run(t.w, has_quit, &t, 100000), 0);
	/* What the worker has asked to be closed is closed in a turn of its own. */
	t.worker = worker_free(t.worker);
	loop_free(t.loop);
	mailbox_close(&t.mail);
	mailbox_close(&t.main);
	names_free(names);
	sim_close(t.w, t.listen_fd);
	ck_assert_uint_eq(sim_n_open(t.w), 0);
	sim_free(t.w);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("sim/smoke");
	TCase *t = tcase_create("tcp");

	tcase_set_timeout(t, 60);
	tcase_add_loop_test(t, relays_both_ways, 1, 51);
	suite_add_tcase(s, t);

	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
