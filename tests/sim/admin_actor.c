/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The administrator and main in one: what main does in a process (daemon/control.c), with the real
 * reload, registry and health checks, on a simulated loop. The actor writes configurations, good
 * and broken ones, sets weights, drains backends, lists connections, and in the end stops the
 * workers as SIGTERM would.
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
#include "daemon/health.h"
#include "daemon/logger.h"
#include "daemon/membership.h"
#include "daemon/notify.h"
#include "daemon/occupied.h"
#include "daemon/preflight.h"
#include "proxy/order.h"
#include "scenario.h"
#include "util/slab.h"

#define MAX_FDS 400
#define SMALL_FDS 90
#define MAX_PIPES 4
#define SPARE_FDS 8
#define LISTEN_FDS 8
#define N_POOLS 2

enum admin_actor_phase { ACTOR_BEGINS, ACTOR_SERVES, ACTOR_STOPS, ACTOR_QUITS, ACTOR_ENDED };

struct admin_actor {
	enum admin_actor_phase phase;
	uint32_t n_changes_left;
	uint64_t stop_ms;     /* when to stop at the latest */
	uint64_t deadline_ms; /* ACTOR_STOPS */
	uint32_t n_quit;
	bool is_reloading, has_listed;
	bool is_broken; /* the file on disk is */
	uint32_t n_listings;
	/* what was set last while a reload was under way; pool NULL: nothing */
	const char *set_pool, *set_backend;
	uint32_t set_weight;
	enum backend_admin set_admin;
	bool is_weight_set, is_admin_set;
};

/* ---- what daemon/ wants of the rest of itself ------------------------------------------------ */

static struct scenario *scenario_of(struct control *c)
{
	return container_of(c, struct scenario, control);
}

void threads_order(struct threads *t, uint32_t id, struct mail *m)
{
	mailbox_post(&t->thread[id].mail, m);
}

static uint64_t n_places(const struct scenario *t)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < t->n_workers; i++)
		n += t->threads.proxy.rooms[i].max;
	return n;
}

/* The tables of a simulated process have room for any number of listening sockets. */
int threads_check_binds(const struct threads *t, size_t n_binds, struct err *e)
{
	(void)t;
	(void)n_binds;
	(void)e;
	return 0;
}

void control_apply_conf(struct control *c)
{
	struct scenario *t = scenario_of(c);
	uint64_t most = n_places(t);
	uint64_t asked = c->conf->max_conns;

	atomic_store(&c->threads->proxy.max_conns, asked != 0 && asked < most ? asked : most);
	health_apply(c);
}

void control_log_errors(struct control *c, const char *what, const struct err *e)
{
	char scratch[64];

	for (size_t i = 0; i < err_n_lines(e); i++)
		sim_say(scenario_of(c)->w, "main    %s: %s", what,
			err_line(e, i, scratch, sizeof(scratch)));
}

void control_log_warnings(struct control *c, const struct err *e)
{
	for (size_t i = 0; i < e->n_kept; i++)
		sim_say(scenario_of(c)->w, "main    configuration: %s", e->item[i].text);
}

void logger_reconfigure(struct logger *l, const struct conf_log *log, const struct conf_log *access)
{
	(void)l;
	(void)log;
	(void)access;
}

int logger_check(const struct conf_log *log, const struct conf_log *access, struct err *e)
{
	(void)log;
	(void)access;
	(void)e;
	return 0;
}

int preflight_user(const struct conf *conf, struct err *e)
{
	(void)conf;
	(void)e;
	return 0;
}

void notify_ready(void)
{
}

void notify_reloading(void)
{
}

static void on_line(void *arg, enum log_level level, const char *line, size_t n)
{
	struct scenario *t = arg;

	sim_say(t->w, "log     %s: %.*s", log_level_name(level), (int)n, line);
}

static void on_record(void *arg, const struct access_record *r)
{
	check_record(arg, r);
}

/* The simulation whose main runs: the functions that daemon/registry.c calls here do not get it. */
static struct sim *current_sim;

uint32_t occupied_inode(int fd)
{
	(void)fd;
	return 0;
}

/* All sockets are lb's own. It shares its addresses with itself, but for one that still closes. */
int occupied_by_others(const struct addr *a, bool (*is_own)(void *arg, uint32_t inode), void *arg)
{
	(void)is_own;
	(void)arg;
	return sim_is_listening(current_sim, a) ? -EADDRINUSE : 0;
}

/* ---- mailboxes ------------------------------------------------------------------------------- */

static void wake(void *due)
{
	*(bool *)due = true;
}

/* Mailboxes have no descriptor here: whoever is woken drains in a turn of its own. */
static enum sim_step mail_step(void *arg)
{
	struct scenario *t = arg;
	bool has_acted = false;

	for (uint32_t i = 0; i <= t->n_workers; i++) {
		uint32_t k = i < t->n_workers ? i : MAX_WORKERS;
		if (!t->is_due[k] || sim_chance(t->w, 4))
			continue;
		t->is_due[k] = false;
		mailbox_drain(k == MAX_WORKERS ? &t->control.mail : &t->thread[k].mail);
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

/* A pool over half of the hosts; sometimes one is left out, so that reloads come and go. */
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

/* A reload may rename a pool, all else being the same: then it is another pool. */
static const char *const pool_names[N_POOLS][2] = { { "web", "web2" }, { "raw", "raw2" } };

static void write_conf(struct scenario *t, bool is_broken)
{
	const char *web = pool_names[0][sim_chance(t->w, 4)];
	const char *raw = pool_names[1][sim_chance(t->w, 4)];

	t->text[0] = '\0';
	if (sim_chance(t->w, 6))
		put(t, "limits: {connections: %d}\n", (int)(4 + sim_rand(t->w, 12)));
	put(t,
	    "listeners:\n  - {name: web, bind: \"127.0.0.1:8080\", mode: http, pool: %s,"
	    " timeouts: {handshake: %s}}\n",
	    web, ONE_OF(t, "2s", "30s"));
	/* One address may include the other, and take its place. */
	put(t, "  - {name: raw, bind: %s, mode: tcp, pool: %s}\n",
	    ONE_OF(t, "\"127.0.0.1:8081\"", "\"127.0.0.1:8081\"", "\"0.0.0.0:8081\"",
		   "[\"0.0.0.0:8081\", \"127.0.0.1:8081\"]"),
	    raw);
	if (sim_chance(t->w, 3)) /* one that comes and goes */
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

/* As daemon/threads shares a table out, or fewer, or more than there are. */
static uint32_t n_sessions_for(struct scenario *t, int max_fds)
{
	if (t->is_tight)
		return 1 + (uint32_t)sim_rand(t->w, 6);
	if (max_fds == SMALL_FDS && sim_chance(t->w, 2))
		return MAX_FDS;
	return (uint32_t)(max_fds - 3 - SPARE_FDS - LISTEN_FDS - 2 * MAX_PIPES) / 2;
}

static void open_worker(struct scenario *t, uint32_t id)
{
	static const char *const names[] = { "worker0", "worker1", "worker2" };
	struct thread *th = &t->thread[id];
	int max_fds = sim_chance(t->w, 4) ? SMALL_FDS : MAX_FDS; /* it may run full */
	struct loop_opts lo = { .buf_soft_bytes = t->is_faulty ? 300000 : 0 };

	t->loop[id] = sim_loop_new(t->w, &lo, names[id], max_fds);
	mailbox_open_with(&th->mail, NULL, wake, &t->is_due[id]);
	th->channel[0] = th->channel[1] = sim_channel(t->w);
	struct worker_opts o = {
		.id = id,
		.proxy = &t->threads.proxy,
		.loop = t->loop[id],
		.mail = &th->mail,
		.main = &t->control.mail,
		.channel = th->channel[1],
		.max_sessions = n_sessions_for(t, max_fds),
		.max_pipes = MAX_PIPES,
		.log = { .max = LOG_LEVEL_DEBUG, .sink = on_line, .arg = t },
		.access = on_record,
		.access_arg = t,
	};
	LB_ASSERT(worker_new(&o, &th->worker) == 0);
	th->mail.arg = th->worker;
}

static void open_main(struct scenario *t)
{
	struct control *c = &t->control;

	c->path = t->path;
	c->threads = &t->threads;
	c->n_workers = t->n_workers;
	c->loop = sim_loop_new(t->w, &(struct loop_opts){ 0 }, "main", MAX_FDS);
	c->loop->timers.arg = c;
	c->log = (struct log){ .max = LOG_LEVEL_DEBUG, .sink = on_line, .arg = t };
	mailbox_open_with(&c->mail, c, wake, &t->is_due[MAX_WORKERS]);
	LB_ASSERT(registry_init(&c->registry, c->loop, t->n_workers) == 0);
	LB_ASSERT(health_open(c) == 0);
}

static void on_started(void *ctx, int result, const struct err *why)
{
	struct scenario *t = ctx;
	char scratch[64];

	SIM_CHECK(result == 0, "could not start: %s", err_line(why, 0, scratch, sizeof(scratch)));
	t->admin->phase = ACTOR_SERVES;
	t->control.phase = PHASE_RUNNING;
}

void admin_actor_open(struct scenario *t)
{
	struct err e = ERR_INIT;
	struct delta *first = NULL;

	current_sim = t->w;
	t->admin = calloc(1, sizeof(*t->admin));
	LB_ASSERT(t->admin != NULL);
	t->admin->n_changes_left = (uint32_t)sim_rand(t->w, 8);
	t->admin->stop_ms = sim_now_ms(t->w) + 10000 + sim_rand(t->w, 100000);
	t->file = memfd_create("lb.yaml", MFD_CLOEXEC);
	LB_ASSERT(t->file >= 0);
	(void)snprintf(t->path, sizeof(t->path), "/proc/self/fd/%d", t->file);
	write_conf(t, false);

	t->threads.n = t->n_workers;
	LB_ASSERT(proxy_init(&t->threads.proxy, t->n_workers) == 0);
	t->threads.proxy.passage[0] = t->threads.proxy.passage[1] = sim_channel(t->w);
	t->threads.thread = t->thread;
	t->threads.share.max_checks = 1 + (uint32_t)sim_rand(t->w, 2 * N_HOSTS);
	open_main(t);
	for (uint32_t i = 0; i < t->n_workers; i++)
		open_worker(t, i);
	int r = conf_load(t->path, &e, &t->control.conf);
	if (r == 0)
		r = registry_prepare(&t->control.registry, t->control.conf, &e, &first);
	if (r < 0)
		control_log_errors(&t->control, "start", &e);
	SIM_CHECK(r == 0, "the first configuration is refused: %s", strerror(-r));
	t->control.phase = PHASE_STARTING;
	sim_add_actor(t->w, mail_step, t);
	SIM_CHECK(reload_start(&t->control, first, on_started, t) == 0, "out of memory");
	/* The limits hold before anybody accepts. */
	atomic_store(&t->threads.proxy.max_conns, n_places(t));
}

/* ---- changes --------------------------------------------------------------------------------- */

/* What was answered "ok" while the reload was under way holds behind it. */
static void check_settings(struct scenario *t)
{
	struct admin_actor *op = t->admin;
	struct registry_pool *p = op->set_pool != NULL
					  ? registry_find_pool(&t->control.registry, op->set_pool)
					  : NULL;
	struct registry_backend *fb = p != NULL ? registry_find_backend(p, op->set_backend) : NULL;

	if (fb != NULL && op->is_weight_set)
		SIM_CHECK(backend_weight(fb->backend) == op->set_weight,
			  "a weight that was set during a reload is lost");
	if (fb != NULL && op->is_admin_set)
		SIM_CHECK(backend_admin(fb->backend) == op->set_admin,
			  "a state that was set during a reload is lost");
	op->set_pool = NULL;
}

/* Remembers, while a reload is under way, which backend was set last. */
static void note_setting(struct scenario *t, const struct registry_backend *fb)
{
	static const char *const names[N_HOSTS] = { "b0", "b1", "b2", "b3" };
	struct admin_actor *op = t->admin;
	int i = fb->backend->name[1] - '0';

	op->set_pool = NULL;
	for (int k = 0; k < N_POOLS * 2 && op->is_reloading; k++)
		if (strcmp(pool_names[k / 2][k % 2], fb->backend->pool_name) == 0)
			op->set_pool = pool_names[k / 2][k % 2];
	op->set_backend = names[i];
	op->is_weight_set = op->is_admin_set = false;
}

static void on_reloaded(void *ctx, int result, const struct err *why)
{
	struct scenario *t = ctx;
	char scratch[64];

	t->admin->is_reloading = false;
	check_settings(t);
	/* Where all is full, a removed address is not free before those in its queue are served. */
	SIM_CHECK(result == 0 || t->admin->is_broken || t->is_faulty || t->is_tight ||
			  t->control.phase != PHASE_RUNNING,
		  "a reload is refused: %s", err_line(why, 0, scratch, sizeof(scratch)));
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
	reload_request(&t->control, on_reloaded, t);
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

static void administer(struct scenario *t)
{
	static const enum backend_admin admins[] = { BACKEND_READY, BACKEND_READY, BACKEND_DRAIN,
						     BACKEND_MAINT };
	struct registry_pool *p = any_pool(t);
	struct registry_backend *fb = p != NULL ? any_backend(t, p) : NULL;

	if (fb == NULL)
		return;
	enum backend_admin a = admins[sim_rand(t->w, ARRAY_SIZE(admins))];
	sim_say(t->w, "main    %s is set to %d", fb->backend->name, (int)a);
	membership_set_admin(&t->control, p, fb, a);
	note_setting(t, fb);
	t->admin->set_admin = a;
	t->admin->is_admin_set = true;
	health_apply(&t->control);
}

static void on_order_done(struct order *o, void *arg)
{
	(void)arg;
	order_free(o);
}

static void order_all(struct scenario *t, enum order_kind kind,
		      void (*done)(struct order *, void *))
{
	for (uint32_t i = 0; i < t->n_workers; i++) {
		struct order *o = order_new(kind, i);
		LB_ASSERT(o != NULL);
		o->done = done;
		o->conns.filter.limit = 1 + (uint32_t)sim_rand(t->w, 100);
		threads_order(&t->threads, i, &o->mail);
	}
}

static void reweigh(struct scenario *t)
{
	struct registry_pool *p = any_pool(t);
	struct registry_backend *fb = p != NULL ? any_backend(t, p) : NULL;

	if (fb == NULL)
		return;
	uint32_t weight = (uint32_t)sim_rand(t->w, 4);
	sim_say(t->w, "main    %s is given weight %u", fb->backend->name, weight);
	LB_ASSERT(membership_set_weight(&t->control, p, fb, weight) == 0);
	note_setting(t, fb);
	t->admin->set_weight = weight;
	t->admin->is_weight_set = true;
}

static void on_listed(struct order *o, void *arg)
{
	struct scenario *t = scenario_of(arg);

	t->admin->n_listings++;
	for (size_t i = 0; i < o->conns.n_rows; i++) {
		uint16_t port = o->conns.rows[i].client.port;
		SIM_CHECK(port == 0 || conversation_of_port(t, port) != NULL,
			  "a listed connection that nobody has made");
	}
	order_free(o);
}

/* Memory and buffers fail, once each. */
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
	if (!reload_is_under_way(&t->control)) /* as control.c does every second */
		registry_tidy(&t->control.registry);
	switch (sim_rand(t->w, 5)) {
	case 0:
	case 1: reload(t); break;
	case 2: administer(t); break;
	case 3: reweigh(t); break;
	case 4: order_all(t, ORDER_CONNS, on_listed); break;
	}
}

/* ---- stop ------------------------------------------------------------------------------------ */

static uint64_t n_active(const struct scenario *t)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < t->n_workers; i++)
		n += counter_read(&t->thread[i].worker->stats->active);
	return n;
}

static void on_quit(struct order *o, void *arg)
{
	struct scenario *t = scenario_of(arg);

	order_free(o);
	t->admin->n_quit++;
}

static enum sim_step stop_step(struct scenario *t)
{
	struct admin_actor *op = t->admin;

	if (n_active(t) == 0 || sim_now_ms(t->w) >= op->deadline_ms) {
		op->phase = ACTOR_QUITS;
		t->control.phase = PHASE_QUITTING;
		sim_say(t->w, "main    quits");
		order_all(t, ORDER_QUIT, on_quit);
		return SIM_ACTED;
	}
	sim_wake_at_ms(t->w, op->deadline_ms);
	return SIM_IDLE;
}

/* Serving: a change now and then; a stop when all is said, or when it is time. */
static enum sim_step serve_step(struct scenario *t)
{
	struct admin_actor *op = t->admin;
	uint64_t now_ms = sim_now_ms(t->w);

	if (op->n_changes_left > 0 && sim_chance(t->w, 3)) {
		op->n_changes_left--;
		change(t);
		/* Sometimes the next change comes while a reload is under way. */
		if (!op->is_reloading || sim_chance(t->w, 2))
			sim_sleep_ms(t->w, sim_rand(t->w, 6000));
		return SIM_ACTED;
	}
	if (now_ms >= op->stop_ms || t->n_open_clients == 0) {
		if (t->n_open_clients == 0 && n_active(t) == 0)
			check_idle(t);
		op->phase = ACTOR_STOPS;
		op->deadline_ms = now_ms + 5000;
		t->control.phase = PHASE_DRAINING;
		sim_say(t->w, "main    stops");
		order_all(t, ORDER_STOP, on_order_done);
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
	case ACTOR_STOPS: return stop_step(t);
	case ACTOR_QUITS:
		if (t->admin->n_quit < t->n_workers)
			return SIM_IDLE;
		if (health_close(&t->control))
			return SIM_IDLE;
		t->admin->phase = ACTOR_ENDED;
		return SIM_ACTED;
	case ACTOR_ENDED: return SIM_DONE;
	}
	return SIM_DONE;
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
	return t->admin->phase >= ACTOR_QUITS;
}

void admin_actor_close(struct scenario *t)
{
	struct control *c = &t->control;

	for (uint32_t i = 0; i < t->n_workers; i++) {
		t->thread[i].worker = worker_free(t->thread[i].worker);
		t->loop[i] = loop_free(t->loop[i]);
		mailbox_close(&t->thread[i].mail);
	}
	reload_deinit(c);
	registry_deinit(&c->registry);
	mailbox_close(&c->mail);
	c->conf = conf_unref(c->conf);
	c->loop = loop_free(c->loop);
	proxy_deinit(&t->threads.proxy);
	free(t->admin);
	(void)close(t->file);
}
