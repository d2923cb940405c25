/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The administrator, and those parts of main that belong to a process (daemon/server.c). All else
 * of main is the real code (daemon/control.c and below): reloads, health checks, commands and the
 * stop run on a simulated loop. The actor writes configurations, good and broken ones, and gives
 * the commands of lbctl: it reloads, sets weights, drains backends, lists connections, and in the
 * end stops lb as SIGTERM does.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "daemon/commands.h"
#include "daemon/delta.h"
#include "daemon/occupied.h"
#include "daemon/worker_sums.h"
#include "net/sock.h"
#include "proxy/listener.h"
#include "scenario.h"
#include "util/slab.h"

#define MAX_FDS 400
#define SMALL_FDS 90
#define MAX_PIPES 4
#define SPARE_FDS 8
#define ROOMY (3 * SOCK_BACKLOG) /* slots; capacity_is_roomy() asks for two backlogs */
#define LISTEN_FDS 8
#define N_POOLS 2
#define CLASS_PROBE 3 /* of tags in main's loop */

enum admin_actor_phase { ACTOR_BEGINS, ACTOR_SERVES, ACTOR_STOPS, ACTOR_ENDED };

struct admin_actor {
	enum admin_actor_phase phase;
	uint32_t n_changes_left;
	uint64_t stop_ms; /* when the actor stops lb at the latest */
	bool have_workers_ended;
	bool is_reloading;
	bool is_broken; /* the configuration file has a mistake */
	/* Why the reload under way may be refused, though its file is a good one. */
	uint32_t n_fds_refused;  /* by main's table and the workers' channels, at its begin */
	bool is_address_closing; /* an address that it needs is of a socket in LISTEN_CLOSING */
	uint32_t n_listings;
	/* The backend that was set last while a reload was under way, and how; pool NULL: none. */
	const char *set_pool, *set_backend;
	uint32_t set_weight;
	enum backend_admin set_admin;
	bool is_weight_set, is_admin_set;
};

/* ---- what a process adds to control ---------------------------------------------------------- */

/* A world's tables have room for the listening sockets of every configuration. */
static int on_check(void *arg, const struct conf *conf, struct err *e)
{
	(void)arg;
	(void)conf;
	(void)e;
	return 0;
}

static uint64_t on_capacity(void *arg)
{
	const struct scenario *t = arg;
	uint64_t n = 0;

	for (uint32_t i = 0; i < t->n_workers; i++)
		n += t->threads.proxy.capacity[i].n_slots;
	return n;
}

static void on_conf_changed(void *arg, const struct conf *conf)
{
	(void)arg;
	(void)conf;
}

/* Neither a service manager nor a log is here. */
static void ignore(void *arg)
{
	(void)arg;
}

static void on_started(void *arg, int result, const struct err *why)
{
	struct scenario *t = arg;
	char scratch[64];

	SIM_CHECK(result == 0, "could not start: %s", err_line(why, 0, scratch, sizeof(scratch)));
	t->admin->phase = ACTOR_SERVES;
}

static void on_stopping(void *arg, uint64_t within_ms)
{
	(void)arg;
	(void)within_ms;
}

static void on_ended(void *arg)
{
	struct scenario *t = arg;

	t->admin->have_workers_ended = true;
}

static const struct control_ops control_ops = {
	.check = on_check,
	.capacity = on_capacity,
	.conf_changed = on_conf_changed,
	.reload_begins = ignore,
	.reload_ended = ignore,
	.started = on_started,
	.stopping = on_stopping,
	.second = ignore,
	.ended = on_ended,
};

static void on_line(void *arg, enum log_level level, const char *line, size_t n)
{
	struct scenario *t = arg;

	sim_say(t->w, "log     %s: %.*s", log_level_name(level), (int)n, line);
}

static void on_record(void *arg, const struct access_record *r)
{
	check_record(arg, r);
}

/* The scenario whose main runs: daemon/delta_binds.c calls the functions below without it. */
static struct scenario *current;

uint32_t occupied_inode(int fd)
{
	(void)fd;
	return 0;
}

/* Whether a worker keeps a removed socket of this address open, until there are slots for what
 * waits in its queue. */
static bool is_closing(const struct scenario *t, const struct addr *a)
{
	for (uint32_t i = 0; i < t->n_workers; i++)
		list_for_each(it, &t->thread[i].worker->listen)
		{
			const struct listen_socket *ls = list_entry(it, struct listen_socket, link);
			if (ls->state == LISTEN_CLOSING && !ls->is_armed &&
			    addr_eq(&ls->listener->addr, a))
				return true;
		}
	return false;
}

/* All sockets here are lb's own, which shares its addresses with itself; but an address whose
 * socket still closes is occupied. */
int occupied_by_others(const struct addr *a, bool (*is_own)(void *arg, uint32_t inode), void *arg)
{
	(void)is_own;
	(void)arg;
	if (!sim_is_listening(current->w, a))
		return 0;
	current->admin->is_address_closing |= is_closing(current, a);
	return -EADDRINUSE;
}

/* ---- mailboxes ------------------------------------------------------------------------------- */

static void wake(void *due)
{
	*(bool *)due = true;
}

/* Mailboxes have no descriptor here: this actor drains those that are due, each after a while. */
static enum sim_step mail_step(void *arg)
{
	struct scenario *t = arg;
	bool has_acted = false;

	for (uint32_t i = 0; i <= t->n_workers; i++) {
		uint32_t k = i < t->n_workers ? i : MAX_WORKERS;
		if (!t->is_due[k] || sim_chance(t->w, 4))
			continue;
		t->is_due[k] = false;
		mailbox_drain(k == MAX_WORKERS ? &t->main_mail : &t->thread[k].mail);
		has_acted = true;
	}
	for (uint32_t k = 0; k <= MAX_WORKERS && !has_acted; k++)
		has_acted = t->is_due[k];
	if (admin_actor_is_over(t) && !has_acted)
		return SIM_DONE;
	return has_acted ? SIM_ACTED : SIM_IDLE;
}

/* ---- the configuration ----------------------------------------------------------------------- */

static void put(struct scenario *t, const char *fmt, ...) LB_PRINTF(2, 3);
static void put(struct scenario *t, const char *fmt, ...)
{
	size_t have = strlen(t->text);
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(t->text + have, sizeof(t->text) - have, fmt, ap);
	va_end(ap);
	LB_ASSERT(n >= 0 && (size_t)n < sizeof(t->text) - have);
}

static const char *one_of(struct scenario *t, const char *const *words, size_t n)
{
	return words[sim_rand(t->w, n)];
}

#define ONE_OF(t, ...) \
	one_of(t, (const char *const[]){ __VA_ARGS__ }, \
	       sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(const char *))

static void put_timeouts(struct scenario *t)
{
	put(t, "    timeouts: {connect: %s, upgrade: %s, response: %s, body: %s, idle: %s,",
	    ONE_OF(t, "1s", "3s"), ONE_OF(t, "2s", "10s"), ONE_OF(t, "4s", "60s"),
	    ONE_OF(t, "5s", "60s"), ONE_OF(t, "off", "off", "40s"));
	put(t, " half_closed: %s, user: %s}\n", ONE_OF(t, "30s", "60s"),
	    ONE_OF(t, "off", "30s", "120s"));
}

/* A pool over half of the hosts; sometimes without one of them, so that reloads remove and add it.
 */
static void put_pool(struct scenario *t, const char *name, int first)
{
	put(t, "  - name: %s\n    balance: %s\n", name,
	    ONE_OF(t, "least_connections", "round_robin", "random", "hash", "first"));
	put(t, "    retries: %d\n", (int)sim_rand(t->w, 3));
	put_timeouts(t);
	put(t, "    relay: {splice: %s, buffer: %s}\n", ONE_OF(t, "auto", "always", "never"),
	    ONE_OF(t, "16KiB", "64KiB", "256KiB"));
	if (sim_chance(t->w, 2))
		put(t, "    health: {type: %s, interval: %s, timeout: 1s, rise: 1, fall: 2}\n",
		    first == 0 ? ONE_OF(t, "tcp", "http", "websocket") : "tcp",
		    ONE_OF(t, "5s", "15s"));
	put(t, "    backends:\n");
	int left_out = sim_chance(t->w, 3) ? (int)sim_rand(t->w, N_HOSTS / 2) : -1;
	for (int i = 0; i < N_HOSTS / 2; i++) {
		if (i == left_out)
			continue;
		put(t, "      - {name: b%d, address: \"127.0.0.1:%u\", weight: %d", first + i,
		    t->host[first + i].addr.port, (int)(1 + sim_rand(t->w, 3)));
		if (sim_chance(t->w, 5))
			put(t, ", max_connections: %d", (int)(1 + sim_rand(t->w, 6)));
		put(t, "}\n");
	}
}

/* A reload may give a pool its other name: it is another pool then. */
static const char *const pool_names[N_POOLS][2] = { { "web", "web2" }, { "raw", "raw2" } };

static void write_conf(struct scenario *t, bool is_broken)
{
	const char *web = pool_names[0][sim_chance(t->w, 4)];
	const char *raw = pool_names[1][sim_chance(t->w, 4)];

	t->text[0] = '\0';
	put(t, "stop_timeout: 5s\n");
	if (sim_chance(t->w, 6))
		put(t, "limits: {connections: %d}\n", (int)(4 + sim_rand(t->w, 12)));
	put(t,
	    "listeners:\n  - {name: web, bind: \"127.0.0.1:8080\", mode: http, pool: %s,"
	    " timeouts: {handshake: %s}}\n",
	    web, ONE_OF(t, "2s", "30s"));
	/* 0.0.0.0 includes the other address, and a reload may replace one by the other. */
	put(t, "  - {name: raw, bind: %s, mode: tcp, pool: %s}\n",
	    ONE_OF(t, "\"127.0.0.1:8081\"", "\"127.0.0.1:8081\"", "\"0.0.0.0:8081\"",
		   "[\"0.0.0.0:8081\", \"127.0.0.1:8081\"]"),
	    raw);
	if (sim_chance(t->w, 3)) /* a listener that reloads add and remove */
		put(t, "  - {name: more, bind: \"127.0.0.1:%d\", mode: tcp, pool: %s}\n",
		    (int)(8090 + sim_rand(t->w, 2)), raw);
	if (is_broken)
		put(t, "    nonsense: {\n");
	put(t, "pools:\n");
	put_pool(t, web, 0);
	put_pool(t, raw, N_HOSTS / 2);
	LB_ASSERT(ftruncate(t->file, 0) == 0);
	LB_ASSERT(pwrite(t->file, t->text, strlen(t->text), 0) == (ssize_t)strlen(t->text));
	if (sim_is_traced(t->w))
		sim_say(t->w, "main    writes\n%s", t->text);
}

/* ---- start ----------------------------------------------------------------------------------- */

/* How many sessions a worker may have: as daemon/threads would say, or fewer, or more than the
 * table has descriptors for. */
static uint32_t n_sessions_for(struct scenario *t, int max_fds)
{
	if (t->is_tight)
		return 1 + (uint32_t)sim_rand(t->w, 6);
	if (t->is_roomy)
		return ROOMY;
	if (max_fds == SMALL_FDS && sim_chance(t->w, 2))
		return MAX_FDS;
	return (uint32_t)(max_fds - 3 - SPARE_FDS - LISTEN_FDS - 2 * MAX_PIPES) / 2;
}

static void open_worker(struct scenario *t, uint32_t id)
{
	static const char *const names[] = { "worker0", "worker1", "worker2" };
	struct thread *th = &t->thread[id];
	int max_fds = sim_chance(t->w, 4) ? SMALL_FDS : MAX_FDS; /* a small table may run full */
	struct loop_opts lo = { .buf_soft_bytes = t->is_faulty ? 300000 : 0 };

	t->loop[id] = sim_loop_new(t->w, &lo, names[id], max_fds);
	mailbox_open_with(&th->mail, NULL, wake, &t->is_due[id]);
	th->channel[0] = th->channel[1] = sim_channel(t->w);
	struct worker_opts o = {
		.id = id,
		.proxy = &t->threads.proxy,
		.loop = t->loop[id],
		.mail = &th->mail,
		.main = &t->main_mail,
		.channel = th->channel[1],
		.max_sessions = n_sessions_for(t, max_fds),
		.max_pipes = MAX_PIPES,
		.log = { .max = LOG_LEVEL_DEBUG, .sink = on_line, .arg = t },
		.access = on_record,
		.access_arg = t,
	};
	LB_ASSERT(worker_new(&o, &th->worker) == 0);
	if (sim_chance(t->w, 2)) /* few visits per turn, so that a walk takes many turns */
		th->worker->walk_turn = 1 + (uint32_t)sim_rand(t->w, 4);
	th->mail.arg = th->worker;
}

static void open_main(struct scenario *t, struct conf *conf)
{
	struct loop *loop = sim_loop_new(t->w, &(struct loop_opts){ 0 }, "main", MAX_FDS);

	mailbox_open_with(&t->main_mail, NULL, wake, &t->is_due[MAX_WORKERS]);
	LB_ASSERT(control_init(&t->control,
			       &(struct control_opts){
				       .path = t->path,
				       .conf = conf,
				       .loop = loop,
				       .log = { .max = LOG_LEVEL_DEBUG, .sink = on_line, .arg = t },
				       .probe_class = CLASS_PROBE,
				       .n_workers = t->n_workers,
				       .ops = &control_ops,
				       .arg = t,
			       }) == 0);
	control_set_threads(&t->control, &t->threads);
}

static void write_first_conf(struct scenario *t)
{
	t->file = memfd_create("lb.yaml", MFD_CLOEXEC);
	LB_ASSERT(t->file >= 0);
	(void)snprintf(t->path, sizeof(t->path), "/proc/self/fd/%d", t->file);
	write_conf(t, false);
}

void admin_actor_open(struct scenario *t)
{
	struct err e = ERR_INIT;
	struct conf *conf = NULL;
	struct delta *first = NULL;
	char scratch[64];

	current = t;
	t->admin = calloc(1, sizeof(*t->admin));
	LB_ASSERT(t->admin != NULL);
	t->admin->n_changes_left = (uint32_t)sim_rand(t->w, 8);
	t->admin->stop_ms = sim_now_ms(t->w) + 10000 + sim_rand(t->w, 100000);
	write_first_conf(t);
	int r = conf_load(t->path, &e, &conf);
	SIM_CHECK(r == 0, "the first configuration is refused: %s",
		  err_line(&e, 0, scratch, sizeof(scratch)));

	t->threads.n = t->n_workers;
	LB_ASSERT(proxy_init(&t->threads.proxy, t->n_workers) == 0);
	t->threads.proxy.handoff_fd[0] = t->threads.proxy.handoff_fd[1] = sim_channel(t->w);
	t->threads.thread = t->thread;
	t->threads.share.max_checks = 1 + (uint32_t)sim_rand(t->w, 2 * N_HOSTS);
	open_main(t, conf);
	conf_unref(conf);
	for (uint32_t i = 0; i < t->n_workers; i++)
		open_worker(t, i);
	r = delta_prepare(&t->control.registry, t->control.conf, &e, &first);
	SIM_CHECK(r == 0, "the first configuration is refused: %s",
		  err_line(&e, 0, scratch, sizeof(scratch)));
	err_deinit(&e);
	sim_add_actor(t->w, mail_step, t);
	SIM_CHECK(control_start(&t->control, first) == 0, "out of memory");
}

/* ---- changes --------------------------------------------------------------------------------- */

/* Checks that what was set successfully while the reload was under way is still set behind it. */
static void check_settings(struct scenario *t)
{
	struct admin_actor *op = t->admin;
	struct registry_pool *p = op->set_pool != NULL
					  ? registry_find_pool(&t->control.registry, op->set_pool)
					  : NULL;
	struct registry_backend *rb = p != NULL ? registry_find_backend(p, op->set_backend) : NULL;

	if (rb != NULL && op->is_weight_set)
		SIM_CHECK(backend_weight(rb->backend) == op->set_weight,
			  "a weight that was set during a reload is lost");
	if (rb != NULL && op->is_admin_set)
		SIM_CHECK(backend_admin(rb->backend) == op->set_admin,
			  "a state that was set during a reload is lost");
	op->set_pool = NULL;
}

/* Remembers, while a reload is under way, which backend was set last. */
static void note_setting(struct scenario *t, const struct registry_backend *rb)
{
	static const char *const names[N_HOSTS] = { "b0", "b1", "b2", "b3" };
	struct admin_actor *op = t->admin;
	int i = rb->backend->name[1] - '0';

	op->set_pool = NULL;
	for (int k = 0; k < N_POOLS * 2 && op->is_reloading; k++)
		if (strcmp(pool_names[k / 2][k % 2], rb->backend->pool_name) == 0)
			op->set_pool = pool_names[k / 2][k % 2];
	op->set_backend = names[i];
	op->is_weight_set = op->is_admin_set = false;
}

/* Descriptors that a reload may need and that were refused: main's, and those sent to workers. */
static uint32_t n_fds_refused(const struct scenario *t)
{
	uint32_t n = sim_n_fds_refused(t->control.loop);

	for (uint32_t i = 0; i < t->n_workers; i++)
		n += sim_channel_n_refused(t->w, t->thread[i].channel[1]);
	return n;
}

/*
 * Whether a good file may have been refused: the kernel has refused a descriptor, or lb was so full
 * that it still serves the queue of an address that was removed before, or a stop has begun.
 */
static bool is_refusal_explained(const struct scenario *t, const char *why)
{
	const struct admin_actor *op = t->admin;

	return op->n_fds_refused != n_fds_refused(t) || t->control.phase != PHASE_RUNNING ||
	       (op->is_address_closing && strstr(why, "is closing it: reload again") != NULL);
}

static void on_reloaded(void *ctx, int result, const char *why)
{
	struct scenario *t = ctx;

	t->admin->is_reloading = false;
	check_settings(t);
	SIM_CHECK(result == 0 || t->admin->is_broken || is_refusal_explained(t, why),
		  "a reload is refused: %s", why);
	SIM_CHECK(result < 0 || !t->admin->is_broken, "a broken file was accepted");
	sim_say(t->w, "main    reload: %d", result);
}

static void reload(struct scenario *t)
{
	if (t->admin->is_reloading)
		return;
	t->admin->is_broken = sim_chance(t->w, 4);
	write_conf(t, t->admin->is_broken);
	t->admin->is_reloading = true;
	t->admin->is_address_closing = false;
	t->admin->n_fds_refused = n_fds_refused(t);
	commands_reload(&t->control, on_reloaded, t);
}

static struct registry_pool *any_pool(struct scenario *t)
{
	const char *const *names = pool_names[sim_rand(t->w, N_POOLS)];
	struct registry_pool *p = registry_find_pool(&t->control.registry, names[0]);

	return p != NULL ? p : registry_find_pool(&t->control.registry, names[1]);
}

static struct registry_backend *any_backend(struct scenario *t, struct registry_pool *p)
{
	struct registry_backend *found = NULL;
	size_t n = 0;

	list_for_each(it, &p->backends) if (sim_rand(t->w, ++n) == 0) found =
		list_entry(it, struct registry_backend, link);
	return found != NULL && !found->is_removed ? found : NULL;
}

/* Gives a command of lbctl about a backend that is in use, which must succeed. */
static void command(struct scenario *t, enum admin_backend_op op, const struct registry_backend *rb,
		    uint32_t weight)
{
	char why[320] = "";
	int r = commands_backend(&t->control, op, rb->backend->pool_name, rb->backend->name, weight,
				 why, sizeof(why));

	SIM_CHECK(r == 0, "a command is refused: %s", why);
	note_setting(t, rb);
}

static void administer(struct scenario *t)
{
	static const struct {
		enum admin_backend_op op;
		enum backend_admin admin;
	} ops[] = {
		{ ADMIN_READY, BACKEND_READY },
		{ ADMIN_READY, BACKEND_READY },
		{ ADMIN_DRAIN, BACKEND_DRAIN },
		{ ADMIN_MAINT, BACKEND_MAINT },
	};
	struct registry_pool *p = any_pool(t);
	struct registry_backend *rb = p != NULL ? any_backend(t, p) : NULL;

	if (rb == NULL)
		return;
	uint64_t i = sim_rand(t->w, ARRAY_SIZE(ops));
	sim_say(t->w, "main    %s is set to %d", rb->backend->name, (int)ops[i].admin);
	command(t, ops[i].op, rb, 0);
	t->admin->set_admin = ops[i].admin;
	t->admin->is_admin_set = true;
}

static void reweigh(struct scenario *t)
{
	struct registry_pool *p = any_pool(t);
	struct registry_backend *rb = p != NULL ? any_backend(t, p) : NULL;

	if (rb == NULL)
		return;
	uint32_t weight = (uint32_t)sim_rand(t->w, 4);
	sim_say(t->w, "main    %s is given weight %u", rb->backend->name, weight);
	command(t, ADMIN_WEIGHT, rb, weight);
	t->admin->set_weight = weight;
	t->admin->is_weight_set = true;
}

static void on_listed(void *ctx, int result, const struct admin_conn_list *list)
{
	struct scenario *t = ctx;

	SIM_CHECK(result == 0, "the connections are not listed: %s", strerror(-result));
	SIM_CHECK(list->n <= list->total, "more connections are listed than there are");
	t->admin->n_listings++;
	for (size_t i = 0; i < list->n; i++) {
		uint16_t port = list->rows[i].client.port;
		SIM_CHECK(port == 0 || conversation_of_port(t, port) != NULL,
			  "a listed connection that no client has made");
	}
}

static void list_connections(struct scenario *t)
{
	struct admin_conn_query q = { .limit = 1 + (uint32_t)sim_rand(t->w, 100) };

	q.sort = (enum admin_conn_sort)sim_rand(t->w, 3);
	commands_conns(&t->control, &q, on_listed, t);
}

/* Makes a buffer, a session or an exchange fail, once. */
static void sabotage(struct scenario *t)
{
	struct worker *w = t->thread[sim_rand(t->w, t->n_workers)].worker;
	uint32_t n = 1 + (uint32_t)sim_rand(t->w, 20);

	switch (sim_rand(t->w, 3)) {
	case 0: buf_fail_after(w->loop->bufs, n); break;
	case 1: slab_fail_after(w->sessions, 1 + n % 4); break;
	case 2: slab_fail_after(w->exchanges, 1 + n % 4); break;
	}
	sim_say(t->w, "main    something will fail on %u", w->id);
}

static void change(struct scenario *t)
{
	if (t->is_faulty && sim_chance(t->w, 2)) {
		sabotage(t);
		return;
	}
	switch (sim_rand(t->w, 6)) {
	case 0:
	case 1: reload(t); break;
	case 2: administer(t); break;
	case 3: reweigh(t); break;
	case 4: list_connections(t); break;
	case 5: patrol_begin(t); break;
	}
}

/* Makes a change now and then, and stops lb when all clients are over or stop_ms has come. */
static enum sim_step serve_step(struct scenario *t)
{
	struct admin_actor *op = t->admin;
	uint64_t now_ms = sim_now_ms(t->w);

	if (op->n_changes_left > 0 && sim_chance(t->w, 3)) {
		op->n_changes_left--;
		change(t);
		/* Without a pause the next change may come while a reload is under way. */
		if (!op->is_reloading || sim_chance(t->w, 2))
			sim_sleep_ms(t->w, sim_rand(t->w, 6000));
		return SIM_ACTED;
	}
	if (now_ms >= op->stop_ms || t->n_open_clients == 0) {
		if (t->n_open_clients == 0 && worker_sums_active(&t->threads) == 0)
			check_idle(t);
		op->phase = ACTOR_STOPS;
		sim_say(t->w, "main    stops");
		control_stop(&t->control);
		if (sim_chance(t->w, 2)) /* as by a second signal: ends everything at once */
			control_stop(&t->control);
		return SIM_ACTED;
	}
	sim_wake_at_ms(t->w, op->stop_ms > now_ms ? op->stop_ms : now_ms + 100);
	return SIM_IDLE;
}

enum sim_step admin_actor_step(void *scenario)
{
	struct scenario *t = scenario;

	switch (t->admin->phase) {
	case ACTOR_BEGINS: return SIM_IDLE;
	case ACTOR_SERVES: return serve_step(t);
	case ACTOR_STOPS:
		if (!t->admin->have_workers_ended || control_close(&t->control))
			return SIM_IDLE;
		t->admin->phase = ACTOR_ENDED;
		return SIM_ACTED;
	case ACTOR_ENDED: return SIM_DONE;
	}
	return SIM_DONE;
}

void admin_actor_stop_at(struct scenario *t, uint64_t at_ms)
{
	t->admin->stop_ms = at_ms;
}

bool admin_actor_is_over(const struct scenario *t)
{
	return t->admin->phase == ACTOR_ENDED;
}

bool admin_actor_has_stopped(const struct scenario *t)
{
	return t->admin->phase >= ACTOR_STOPS;
}

bool admin_actor_is_quitting(const struct scenario *t)
{
	return t->control.phase == PHASE_QUITTING;
}

void admin_actor_close(struct scenario *t)
{
	struct loop *loop = t->control.loop;

	for (uint32_t i = 0; i < t->n_workers; i++) {
		t->thread[i].worker = worker_free(t->thread[i].worker);
		t->loop[i] = loop_free(t->loop[i]);
		mailbox_close(&t->thread[i].mail);
	}
	SIM_CHECK(t->n_patrols == 0, "%u walks have not ended", t->n_patrols);
	control_deinit(&t->control);
	mailbox_close(&t->main_mail);
	loop_free(loop);
	proxy_deinit(&t->threads.proxy);
	free(t->admin);
	(void)close(t->file);
}
