/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process's life on the main thread: open, start, run, stop.
 *
 * A stop goes through the phases of enum control_phase: DELAYING (still accepting, /healthz says
 * 503), DRAINING (the workers have closed their sockets; connections may end by themselves),
 * QUITTING (the workers end what is left and are joined).
 *
 * Thread: main.
 */
#include "daemon/control.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/admin.h"
#include "daemon/admin_socket.h"
#include "daemon/health.h"
#include "daemon/host_limits.h"
#include "daemon/logger.h"
#include "daemon/notify.h"
#include "daemon/preflight.h"
#include "daemon/privs.h"
#include "daemon/refusal.h"
#include "daemon/report.h"
#include "ev/signals.h"
#include "net/sock.h"
#include "proxy/order.h"

/*
 * How often a stop looks whether the connections have ended, and how often the registry is tidied
 * and the service manager is told how many connections there are.
 */
#define TICK_MS 20
#define TIDY_MS 1000

/* What a stop takes beyond its time-outs: workers end, logs are written. A guess. */
#define STOP_MARGIN_MS 10000

static void on_tick(struct timer *t, void *arg);
static void on_signal(void *arg, int signo);

void control_log_errors(struct control *c, const char *what, const struct err *e)
{
	char scratch[64];

	for (size_t i = 0; i < err_n_lines(e); i++) {
		if (i == e->n_kept || !e->item[i].is_warning)
			log_err(&c->log, "%s: %s", what, err_line(e, i, scratch, sizeof(scratch)));
	}
}

void control_log_warnings(struct control *c, const struct err *e)
{
	size_t n = 0;

	for (size_t i = 0; i < e->n_kept; i++) {
		if (!e->item[i].is_warning)
			continue;
		log_warn(&c->log, "configuration: %s", e->item[i].text);
		n++;
	}
	if (n < e->n_warnings)
		log_warn(&c->log, "configuration: %zu more warnings", e->n_warnings - n);
}

bool control_is_accepting(const struct control *c)
{
	return c->phase == PHASE_RUNNING;
}

uint64_t control_n_active(const struct control *c)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < c->n_workers; i++)
		n += counter_read(&c->threads->thread[i].worker->stats->active);
	return n;
}

/* Tells the service manager what lb does, where that has changed. */
static void tell_status(struct control *c)
{
	uint64_t n = control_n_active(c);
	const char *s = n == 1 ? "" : "s";

	if (c->phase == PHASE_RUNNING)
		notify_status(&c->status, "%llu connection%s, generation %llu",
			      (unsigned long long)n, s, (unsigned long long)c->generation);
	else
		notify_status(&c->status, "stopping, %llu connection%s left", (unsigned long long)n,
			      s);
}

/* ---- the workers' last orders ---------------------------------------------------------------- */

static int make_last_orders(struct control *c)
{
	c->last = calloc(c->n_workers, sizeof(*c->last));
	for (uint32_t i = 0; c->last != NULL && i < c->n_workers; i++) {
		c->last[i].stop = order_new(ORDER_STOP, i);
		c->last[i].quit = order_new(ORDER_QUIT, i);
		if (c->last[i].stop == NULL || c->last[i].quit == NULL)
			return -ENOMEM;
	}
	return c->last == NULL ? -ENOMEM : 0;
}

static void free_last_orders(struct control *c)
{
	for (uint32_t i = 0; c->last != NULL && i < c->n_workers; i++) {
		order_free(c->last[i].stop);
		order_free(c->last[i].quit);
	}
	free(c->last);
	c->last = NULL;
}

/* Gives one of a worker's last orders; each is given once. */
static void give(struct control *c, struct order **last, void (*done)(struct order *o, void *arg))
{
	struct order *o = *last;

	LB_ASSERT(o != NULL);
	*last = NULL;
	o->done = done;
	threads_order(c->threads, o->worker, &o->mail);
}

/* ---- open ------------------------------------------------------------------------------------ */

static enum loop_engine engine_of(enum conf_engine e)
{
	switch (e) {
	case CONF_ENGINE_AUTO: return LOOP_AUTO;
	case CONF_ENGINE_URING: return LOOP_URING;
	case CONF_ENGINE_EPOLL: return LOOP_EPOLL;
	}
	return LOOP_AUTO;
}

/* Decides the engine once, for all threads, and says why where it is not the preferred one. */
static int choose_engine(struct control *c, enum loop_engine *ret, struct err *e)
{
	struct err why = ERR_INIT;

	*ret = engine_of(c->conf->engine);
	if (*ret == LOOP_EPOLL)
		return 0;
	if (loop_probe_uring(*ret == LOOP_URING ? e : &why) == 0) {
		*ret = LOOP_URING;
	} else if (*ret == LOOP_URING) {
		return EXIT_BIND;
	} else {
		log_notice(&c->log, "engine falls back to epoll reason=\"%s\"",
			   why.n_kept > 0 ? why.item[0].text : "");
		*ret = LOOP_EPOLL;
	}
	err_deinit(&why);
	return 0;
}

static int open_logger(struct control *c, struct err *e)
{
	if (logger_open(&c->conf->log, &c->conf->access_log, c->n_workers + 1, e, &c->logger) < 0)
		return EXIT_BIND;
	c->log = logger_handle(c->logger, 0);
	return 0;
}

/*
 * Signals that mean something to lb, and those that mean nothing but would end it. Not among these
 * are the signals of a fault (SEGV, BUS, FPE, ILL, TRAP, SYS, ABRT), those that stop a job and let
 * it go on (TSTP, TTIN, TTOU, STOP, CONT), and those that do nothing by themselves (CHLD, URG,
 * WINCH).
 */
static const int own_signals[] = {
	SIGHUP,    SIGTERM,   SIGINT,  SIGQUIT, SIGUSR1, SIGUSR2,
	SIGALRM,   SIGVTALRM, SIGPROF, SIGIO,   SIGPWR,  SIGXCPU,
#ifdef SIGSTKFLT /* not on every architecture */
	SIGSTKFLT,
#endif
};

/* The same and all real-time signals, whose numbers the C library knows only at run time. */
static size_t list_signals(int list[NSIG])
{
	size_t n = ARRAY_SIZE(own_signals);

	memcpy(list, own_signals, sizeof(own_signals));
	for (int signo = SIGRTMIN; signo <= SIGRTMAX && n < NSIG; signo++)
		list[n++] = signo;
	return n;
}

int control_open(struct control *c, const char *path, struct conf *conf, struct err *e)
{
	int signals[NSIG];
	size_t n_signals = list_signals(signals);
	enum loop_engine engine;
	struct host_limits machine;

	*c = (struct control){ .path = path, .mail.wake_fd = -1, .admin_fd = -1, .http_fd = -1 };
	c->conf = conf_ref(conf);
	host_limits_read("", &machine);
	c->n_workers = threads_count(conf->workers, &machine);
	c->max_fds = privs_raise_nofile();
	c->no_tables = threads_unshare_table(); /* no other thread runs yet */
	if (preflight_user(conf, e) < 0)
		return EXIT_CONF;
	if (preflight_crypto(e) < 0)
		return EXIT_BIND;
	int r = open_logger(c, e);
	if (r == 0)
		r = choose_engine(c, &engine, e);
	if (r != 0)
		return r;

	if (loop_new(&(struct loop_opts){ .engine = engine }, e, &c->loop) < 0)
		return EXIT_INTERNAL;
	c->loop->timers.arg = c;
	c->start_ns = loop_now_ns(c->loop);
	timer_init(&c->tick, on_tick);
	r = mailbox_open(&c->mail, c);
	if (r == 0)
		r = mailbox_attach(&c->mail, c->loop);
	if (r == 0)
		r = make_last_orders(c);
	if (r == 0)
		r = registry_init(&c->registry, c->loop, c->n_workers);
	if (r == 0)
		r = signals_open(c->loop, CLASS_SIGNAL, signals, n_signals, on_signal, c,
				 &c->signals);
	if (r < 0) {
		(void)err_add(e, r, "starting: %s", strerror(-r));
		return EXIT_INTERNAL;
	}
	struct threads_opts o = {
		.need = { .n_workers = c->n_workers,
			  .n_binds = (uint32_t)conf_n_binds(conf),
			  .max_fds = c->max_fds,
			  .is_shared = c->no_tables < 0 },
		.engine = engine,
		.main = &c->mail,
		.logger = c->logger,
	};
	r = threads_new(&o, e, &c->threads);
	return r == 0 ? 0 : EXIT_BIND;
}

/* ---- the admin socket's file ----------------------------------------------------------------- */

/* Remembers which file was just bound; without a memory of it the file stays when lb ends. */
static void own_socket_file(struct control *c, const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return;
	c->socket_path = strdup(path);
	c->socket_dev = st.st_dev;
	c->socket_ino = st.st_ino;
}

/*
 * Removes the admin socket's file, unless the path names another file meanwhile: then it is
 * somebody else's. Call while the socket is open: until it is closed, its inode's number is not
 * given to another file.
 */
static void remove_socket_file(const struct control *c)
{
	struct stat st;

	if (c->socket_path != NULL && lstat(c->socket_path, &st) == 0 &&
	    st.st_dev == c->socket_dev && st.st_ino == c->socket_ino)
		(void)unlink(c->socket_path);
}

/* ---- start ----------------------------------------------------------------------------------- */

static int bind_http(struct control *c)
{
	struct sockaddr_storage sa;
	struct addr got;

	c->http_fd = sock_bind_alone(c->loop, &c->conf->admin.http);
	int r = c->http_fd < 0 ? c->http_fd : loop_listen(c->loop, c->http_fd, SOCK_BACKLOG);
	if (r == 0)
		r = loop_sockname(c->loop, c->http_fd, &sa);
	if (r < 0)
		return r;
	addr_from_sockaddr((struct sockaddr *)&sa, &got);
	(void)addr_format(&got, c->http_text);
	return 0;
}

static int bind_admin(struct control *c, struct err *e)
{
	const struct conf *conf = c->conf;

	if (conf->admin.socket != NULL) {
		c->admin_fd = admin_socket_open(c->loop, conf, e);
		if (c->admin_fd >= 0)
			own_socket_file(c, conf->admin.socket);
	}
	if (conf->admin.has_http) {
		int r = bind_http(c);
		if (r < 0)
			(void)refusal_http(e, conf, r);
	}
	return e->n > 0 ? EXIT_BIND : 0;
}

/* What the user may not open, a reload cannot. */
static void warn_of_reload(struct control *c)
{
	_cleanup_(err_deinit) struct err why = ERR_INIT;
	char scratch[64];

	preflight_reload(c->conf, &why);
	for (size_t i = 0; i < err_n_lines(&why); i++)
		log_warn(&c->log, "reload will fail: %s",
			 err_line(&why, i, scratch, sizeof(scratch)));
}

static int become_user(struct control *c, const struct delta *first, struct err *e)
{
	uid_t uid;
	gid_t gid;

	if (privs_resolve_user(c->conf->user, &uid, &gid, e) < 0)
		return EXIT_BIND;
	logger_chown(c->logger, uid, gid);
	int r = registry_give(&c->registry, first, uid, gid);
	if (r < 0)
		log_warn(&c->log,
			 "listening sockets stay with their owner: a reload cannot replace an "
			 "address by one that includes it error=\"%s\"",
			 strerror(-r));
	if (c->socket_path != NULL && lchown(c->socket_path, uid, gid) < 0)
		log_warn(&c->log, "admin socket stays with its owner error=\"%s\"",
			 strerror(errno));
	return privs_drop(c->conf->user, uid, gid, PRIVS_KEEP_BIND, e) < 0 ? EXIT_BIND : 0;
}

/* Drops to `user`: logs, the admin socket and the listeners' sockets are given to it first. */
static int drop_user(struct control *c, const struct delta *first, struct err *e)
{
	_cleanup_(err_deinit) struct err why = ERR_INIT;
	char scratch[64];

	if (c->conf->user == NULL)
		return 0;
	int r = become_user(c, first, &why);
	if (r == 0)
		warn_of_reload(c);
	else
		(void)err_at(e, c->conf->user_at, "%s",
			     err_line(&why, 0, scratch, sizeof(scratch)));
	return r;
}

static const struct admin_ops admin_ops = {
	.status = report_status,
	.conns = report_conns,
	.reload = report_reload,
	.backend = report_backend,
	.is_accepting = report_is_accepting,
};

static int open_admin(struct control *c)
{
	c->admin = admin_new(&(struct admin_opts){
		.loop = c->loop,
		.log = &c->log,
		.ops = &admin_ops,
		.arg = c,
		.class_id = CLASS_ADMIN,
	});
	return c->admin == NULL ? -ENOMEM : 0;
}

static void warn_of_one_table(struct control *c)
{
	log_warn(&c->log,
		 "all threads share one descriptor table: close_range(2) and unshare(2) are "
		 "refused, "
		 "the limit of open files holds for the whole process error=\"%s\" workers=%u "
		 "open_files=%u",
		 strerror(-c->no_tables), c->n_workers, c->max_fds);
}

static int start_services(struct control *c, struct err *e)
{
	int r = logger_start(c->logger);

	if (r < 0)
		return err_add(e, r, "cannot start the log's thread: %s", strerror(-r));
	if (c->no_tables < 0)
		warn_of_one_table(c);
	if (open_admin(c) < 0 || health_open(c) < 0 || watermarks_open(c) < 0)
		return err_add(e, -ENOMEM, "out of memory");
	return 0;
}

/* All workers accept (or the start has failed): now the socket may answer. */
static void on_started(void *ctx, int result, const struct err *why)
{
	struct control *c = ctx;

	if (result < 0) {
		control_log_errors(c, "cannot start", why);
		c->phase = PHASE_QUITTING; /* control_start() ends the workers */
		return;
	}
	c->phase = PHASE_RUNNING;
	c->is_started = true;
	if (c->admin_fd >= 0)
		admin_serve_socket(c->admin, c->admin_fd);
	c->admin_fd = -1;
	if (c->http_fd >= 0)
		admin_serve_http(c->admin, c->http_fd);
	c->http_fd = -1;
	loop_timer_start(c->loop, &c->tick, TIDY_MS);
	log_notice(&c->log, "started version=%s pid=%d engine=%s workers=%u connections_limit=%llu",
		   LB_VERSION, (int)getpid(), loop_engine_name(c->loop), c->n_workers,
		   (unsigned long long)atomic_load(&c->threads->proxy.max_conns));
	notify_ready();
	tell_status(c);
}

static void set_limit(struct control *c)
{
	uint64_t most = (uint64_t)c->threads->share.max_sessions * c->n_workers;
	uint64_t asked = c->conf->max_conns;

	atomic_store(&c->threads->proxy.max_conns, asked != 0 && asked < most ? asked : most);
}

static void on_quit(struct order *o, void *arg)
{
	struct control *c = arg;

	announce_count(c, o);
	order_free(o);
	if (++c->n_quit == c->n_workers)
		loop_stop(c->loop);
}

/* After a start that failed: those that run already are told to end. */
static void end_workers(struct control *c)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->n_workers; i++) {
		const struct thread *t = &c->threads->thread[i];
		if (!t->is_started || t->result < 0)
			continue;
		give(c, &c->last[i].quit, on_quit);
		n++;
	}
	while (c->n_quit < n)
		(void)loop_turn(c->loop, 1000);
}

int control_start(struct control *c, struct err *e)
{
	int r = bind_admin(c, e);
	struct delta *first = NULL;

	/* Bound now, while lb may still be privileged; what fails is said with all other failures.
	 */
	if (registry_prepare(&c->registry, c->conf, e, &first) < 0)
		r = EXIT_BIND;
	if (r == 0)
		r = drop_user(c, first, e);
	if (r == 0 && (start_services(c, e) < 0 || threads_start(c->threads, e) < 0))
		r = EXIT_INTERNAL;
	if (r == 0) {
		set_limit(c); /* before anybody accepts */
		if (reload_start(c, first, on_started, c) < 0) {
			(void)err_add(e, -ENOMEM, "out of memory");
			r = EXIT_INTERNAL;
		}
	}
	if (r != 0) {
		delta_free(&c->registry, first);
		end_workers(c);
		return r;
	}

	while (c->phase == PHASE_STARTING)
		(void)loop_turn(c->loop, 1000);
	if (c->is_started) {
		for (; c->n_early_stops > 0; c->n_early_stops--)
			control_stop(c);
		return 0;
	}
	end_workers(c);
	(void)err_add(e, -EINVAL, "could not start");
	return EXIT_BIND;
}

void control_apply_conf(struct control *c)
{
	threads_set_binds(c->threads, conf_n_binds(c->conf));
	set_limit(c);
	health_apply(c);
	watermarks_apply(c);
}

/* ---- stop ------------------------------------------------------------------------------------ */

static void on_stopped(struct order *o, void *arg)
{
	(void)arg;
	order_free(o);
}

static void quit_now(struct control *c)
{
	if (c->phase == PHASE_QUITTING)
		return;
	c->phase = PHASE_QUITTING;
	for (uint32_t i = 0; i < c->n_workers; i++)
		give(c, &c->last[i].quit, on_quit);
}

static void begin_drain(struct control *c)
{
	c->phase = PHASE_DRAINING;
	c->deadline_ms = loop_now_ms(c->loop) + c->conf->stop_timeout_ms;
	for (uint32_t i = 0; i < c->n_workers; i++)
		give(c, &c->last[i].stop, on_stopped);
	loop_timer_start(c->loop, &c->tick, TICK_MS);
}

void control_stop(struct control *c)
{
	switch (c->phase) {
	case PHASE_STARTING: c->n_early_stops++; break;
	case PHASE_QUITTING: break;
	case PHASE_RUNNING:
		log_notice(&c->log, "stopping active=%llu stop_timeout_ms=%u",
			   (unsigned long long)control_n_active(c), c->conf->stop_timeout_ms);
		announce_count_from_now(c);
		notify_stopping((uint64_t)c->conf->stop_delay_ms + c->conf->stop_timeout_ms +
				STOP_MARGIN_MS);
		if (c->conf->stop_delay_ms > 0) {
			c->phase = PHASE_DELAYING;
			loop_timer_start(c->loop, &c->tick, c->conf->stop_delay_ms);
		} else {
			begin_drain(c);
		}
		break;
	case PHASE_DELAYING:
	case PHASE_DRAINING:
		log_notice(&c->log, "stopping at once active=%llu",
			   (unsigned long long)control_n_active(c));
		quit_now(c);
		break;
	}
}

static void on_tick(struct timer *t, void *arg)
{
	struct control *c = arg;

	(void)t;
	switch (c->phase) {
	case PHASE_STARTING:
	case PHASE_QUITTING: break;
	case PHASE_RUNNING:
		if (!reload_is_under_way(c))
			registry_tidy(&c->registry);
		watermarks_tick(c);
		tell_status(c);
		loop_timer_start(c->loop, &c->tick, TIDY_MS);
		break;
	case PHASE_DELAYING: begin_drain(c); break;
	case PHASE_DRAINING:
		if (loop_now_ms(c->loop) >= c->status_ms) {
			c->status_ms = loop_now_ms(c->loop) + TIDY_MS;
			tell_status(c);
		}
		if (control_n_active(c) == 0 || loop_now_ms(c->loop) >= c->deadline_ms)
			quit_now(c);
		else
			loop_timer_start(c->loop, &c->tick, TICK_MS);
		break;
	}
}

/* A real-time signal is named by its number: "signal=35". */
static void ignore_signal(struct control *c, int signo)
{
	const char *name = sigabbrev_np(signo);

	if (name != NULL)
		log_notice(&c->log, "signal ignored: lb gives it no meaning signal=%s", name);
	else
		log_notice(&c->log, "signal ignored: lb gives it no meaning signal=%d", signo);
}

static void on_signal(void *arg, int signo)
{
	struct control *c = arg;

	switch (signo) {
	case SIGHUP: reload_request(c, NULL, NULL); break;
	case SIGUSR1: logger_reopen(c->logger); break;
	case SIGTERM:
	case SIGINT:
	case SIGQUIT: control_stop(c); break;
	default: ignore_signal(c, signo); break;
	}
}

int control_run(struct control *c)
{
	/* Two stops that came in the last turn of the start may have ended the workers already. */
	int r = c->n_quit == c->n_workers ? 0 : loop_run(c->loop);

	if (r < 0) {
		log_err(&c->log, "the loop failed error=\"%s\"", strerror(-r));
		return EXIT_INTERNAL;
	}
	announce_stopped(c);
	return 0;
}

/* ---- close ----------------------------------------------------------------------------------- */

static void close_fd(struct control *c, int *fd)
{
	if (*fd >= 0)
		loop_close(c->loop, *fd);
	*fd = -1;
}

/* Lets what is in flight on main's loop end. */
static void close_services(struct control *c)
{
	while (c->admin != NULL && admin_close(c->admin))
		(void)loop_turn(c->loop, 10);
	while (health_close(c))
		(void)loop_turn(c->loop, 10);
	c->admin = admin_free(c->admin);
}

void control_close(struct control *c)
{
	/* First: a worker whose last answer is here already may still be waking us up. */
	if (c->threads != NULL)
		threads_join(c->threads);
	if (c->loop != NULL) {
		remove_socket_file(c);
		close_services(c);
		close_fd(c, &c->admin_fd);
		close_fd(c, &c->http_fd);
		loop_timer_stop(c->loop, &c->tick);
		reload_deinit(c);
		registry_deinit(&c->registry);
		c->signals = signals_close(c->signals);
		mailbox_close(&c->mail);
		(void)loop_turn(c->loop, 0); /* closes what was asked to be closed */
	}
	c->threads = threads_free(c->threads);
	free_last_orders(c);
	c->loop = loop_free(c->loop);
	c->logger = logger_stop(c->logger);
	watermarks_close(c);
	c->conf = conf_unref(c->conf);
	free(c->socket_path);
	c->socket_path = NULL;
}
