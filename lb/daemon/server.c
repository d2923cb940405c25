/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process on the main thread: open, run, close. The start is in server_start.c.
 *
 * Terms. Control (daemon/control.h) decides which configuration is in force and in which phase lb
 * is. The server is the process around it: files, signals, privileges, threads, the admin server.
 * Control knows the server by `control_ops` only, so that the simulation can put another process
 * around it.
 *
 * main() calls, in this order:
 *
 *   server_open()   the logs' files, the engine, main's loop, control, the mailbox for the workers'
 *                   replies, the signals, and the workers' mailboxes and channels
 *   server_start()  binds all addresses, drops privileges, starts the threads; returns when every
 *                   worker accepts
 *   server_run()    turns main's loop until every worker has ended (on_ended())
 *   server_close()  joins the threads, lets what is in flight on main's loop end, frees
 *
 * server_close() is due after each failure, too. So every pointer of the server is NULL, and every
 * descriptor is -1, until the object is made, and server_close() skips these.
 *
 * The order in server_close() matters. The threads are joined first, because a worker that has
 * replied to QUIT may still be in the call that wakes main. The admin socket's file is removed
 * before the socket is closed: while the socket is open, no other file can have the same inode, so
 * the file with the remembered inode is lb's own. The logger is stopped after everything that logs.
 *
 * Thread: main.
 */
#include "daemon/server.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "admin/admin.h"
#include "daemon/err_log.h"
#include "daemon/fd_table.h"
#include "daemon/host_limits.h"
#include "daemon/logger.h"
#include "daemon/preflight.h"
#include "daemon/privs.h"
#include "daemon/worker_sums.h"
#include "ev/signals.h"

static void on_signal(void *arg, int signo);

/* ---- what control asks, and tells ------------------------------------------------------------ */

static int on_check(void *arg, const struct conf *conf, struct err *e)
{
	struct server *s = arg;
	if (conf_has_tls(conf)) /* before keys are read */
		privs_forbid_dumps();
	int user = preflight_user(conf, e);
	int logs = logger_check(&conf->log, &conf->access_log, e);
	int fds = threads_check_binds(s->threads, conf_n_binds(conf), e);

	return fds < 0 ? fds : user < 0 ? user : logs;
}

static uint64_t on_capacity(void *arg)
{
	const struct server *s = arg;

	LB_ASSERT(s->threads->share.max_sessions > 0); /* threads_new() has checked the limit */
	return (uint64_t)s->threads->share.max_sessions * s->threads->n;
}

static void on_conf_changed(void *arg, const struct conf *conf)
{
	struct server *s = arg;

	LB_ASSERT(conf == s->control.conf); /* control has set it before this call */
	logger_reconfigure(s->logger, &conf->log, &conf->access_log);
	if (conf_has_tls(conf))
		privs_forbid_dumps();
	if (!control_has_workers(&s->control))
		return;
	threads_set_binds(s->threads, conf_n_binds(conf));
	watermarks_apply(&s->watermarks, conf);
}

static void on_reload_begins(void *arg)
{
	(void)arg;
	notify_reloading();
}

/* After RELOADING=1 the service manager waits for READY=1. During a stop, STOPPING=1 was sent and
 * READY=1 must not follow. */
static void on_reload_ended(void *arg)
{
	const struct server *s = arg;

	if (s->control.phase == PHASE_RUNNING)
		notify_ready();
}

/* Sends the service manager a new status line, if the line has changed. */
static void tell_status(struct server *s)
{
	uint64_t n = worker_sums_active(s->threads);
	const char *plural = n == 1 ? "" : "s";

	if (s->control.phase == PHASE_RUNNING)
		notify_status(&s->status, "%llu connection%s, generation %llu",
			      (unsigned long long)n, plural,
			      (unsigned long long)s->control.generation);
	else
		notify_status(&s->status, "stopping, %llu connection%s left", (unsigned long long)n,
			      plural);
}

static void on_second(void *arg)
{
	struct server *s = arg;

	LB_ASSERT(s->control.phase == PHASE_RUNNING || s->control.phase == PHASE_DRAINING);
	if (s->control.phase == PHASE_RUNNING)
		watermarks_tick(&s->watermarks);
	tell_status(s);
}

/* The start is over. When it has succeeded, the admin socket and admin.http begin to answer: the
 * workers' counters cannot be read earlier. */
static void on_started(void *arg, int result, const struct err *why)
{
	struct server *s = arg;
	const struct log *log = &s->control.log;

	if (result < 0) {
		err_log_errors(log, "cannot start", why);
		return;
	}
	LB_ASSERT(!s->is_started && s->admin != NULL);
	s->is_started = true;
	if (s->admin_fd >= 0)
		admin_serve_socket(s->admin, s->admin_fd);
	s->admin_fd = -1;
	if (s->http_fd >= 0)
		admin_serve_http(s->admin, s->http_fd);
	s->http_fd = -1;
	log_notice(log, "started version=%s pid=%d engine=%s workers=%u connections_limit=%llu",
		   LB_VERSION, (int)getpid(), loop_engine_name(s->loop), s->threads->n,
		   (unsigned long long)atomic_load(&s->threads->proxy.max_conns));
	notify_ready();
	tell_status(s);
}

static void on_stopping(void *arg, uint64_t within_ms)
{
	(void)arg;
	notify_stopping(within_ms);
}

static void on_ended(void *arg)
{
	struct server *s = arg;

	LB_ASSERT(s->control.n_quit == s->threads->n);
	loop_stop(s->loop);
}

static const struct control_ops control_ops = {
	.check = on_check,
	.capacity = on_capacity,
	.conf_changed = on_conf_changed,
	.reload_begins = on_reload_begins,
	.reload_ended = on_reload_ended,
	.started = on_started,
	.stopping = on_stopping,
	.second = on_second,
	.ended = on_ended,
};

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

/* Chooses the engine for all threads, and logs the reason when it is not the preferred engine. */
static int choose_engine(enum conf_engine asked, const struct log *log, enum loop_engine *ret,
			 struct err *e)
{
	struct err why = ERR_INIT;

	*ret = engine_of(asked);
	if (*ret == LOOP_EPOLL)
		return 0;
	if (loop_probe_uring(*ret == LOOP_URING ? e : &why) == 0) {
		*ret = LOOP_URING;
	} else if (*ret == LOOP_URING) {
		return EXIT_BIND;
	} else {
		log_notice(log, "engine falls back to epoll reason=\"%s\"",
			   why.n_kept > 0 ? why.item[0].text : "");
		*ret = LOOP_EPOLL;
	}
	err_deinit(&why);
	return 0;
}

/*
 * The signals that lb handles: those with a meaning for lb, and those without a meaning whose
 * default would end the process. The list does not have the signals of a fault (SEGV, BUS, FPE,
 * ILL, TRAP, SYS, ABRT), those that stop or continue a job (TSTP, TTIN, TTOU, STOP, CONT), and
 * those that are ignored by default (CHLD, URG, WINCH).
 */
static const int own_signals[] = {
	SIGHUP,    SIGTERM,   SIGINT,  SIGQUIT, SIGUSR1, SIGUSR2,
	SIGALRM,   SIGVTALRM, SIGPROF, SIGIO,   SIGPWR,  SIGXCPU,
#ifdef SIGSTKFLT /* some architectures do not have it */
	SIGSTKFLT,
#endif
};

/* Lists own_signals and all real-time signals. The latter's numbers are known only at run time. */
static size_t list_signals(int list[NSIG])
{
	size_t n = ARRAY_SIZE(own_signals);

	memcpy(list, own_signals, sizeof(own_signals));
	for (int signo = SIGRTMIN; signo <= SIGRTMAX && n < NSIG; signo++)
		list[n++] = signo;
	return n;
}

/* Makes main's loop, and the objects that use this loop: control, the mailbox for replies, and the
 * signals. */
static int open_loop(struct server *s, struct conf *conf, uint32_t n_workers,
		     enum loop_engine engine, const struct log *log, struct err *e)
{
	int signals[NSIG];
	size_t n_signals = list_signals(signals);

	if (loop_new(&(struct loop_opts){ .engine = engine }, e, &s->loop) < 0)
		return EXIT_INTERNAL;
	s->start_ns = loop_now_ns(s->loop);
	int r = control_init(&s->control, &(struct control_opts){
						  .path = s->path,
						  .conf = conf,
						  .loop = s->loop,
						  .log = *log,
						  .probe_class = CLASS_PROBE,
						  .n_workers = n_workers,
						  .ops = &control_ops,
						  .arg = s,
					  });
	if (r == 0)
		r = mailbox_open(&s->mail, s);
	if (r == 0)
		r = mailbox_attach(&s->mail, s->loop);
	if (r == 0)
		r = signals_open(s->loop, CLASS_SIGNAL, signals, n_signals, on_signal, s,
				 &s->signals);
	if (r < 0) {
		(void)err_add(e, r, "starting: %s", strerror(-r));
		return EXIT_INTERNAL;
	}
	return 0;
}

static int open_threads(struct server *s, const struct conf *conf, enum loop_engine engine,
			struct err *e)
{
	struct threads_opts o = {
		.need = { .n_workers = s->control.n_workers,
			  .n_binds = (uint32_t)conf_n_binds(conf),
			  .max_fds = s->max_fds,
			  .is_shared = s->no_tables < 0 },
		.engine = engine,
		.main = &s->mail,
		.logger = s->logger,
	};

	if (threads_new(&o, e, &s->threads) < 0)
		return EXIT_BIND;
	control_set_threads(&s->control, s->threads);
	return 0;
}

int server_open(struct server *s, const char *path, struct conf *conf, struct err *e)
{
	enum loop_engine engine;
	struct host_limits machine;

	*s = (struct server){ .path = path, .mail.wake_fd = -1, .admin_fd = -1, .http_fd = -1 };
	host_limits_read("", &machine);
	uint32_t n_workers = threads_count(conf->workers, &machine);
	s->max_fds = privs_raise_nofile();
	s->no_tables = fd_table_unshare(); /* no other thread runs yet */
	if (preflight_user(conf, e) < 0)
		return EXIT_CONF;
	if (preflight_crypto(e) < 0)
		return EXIT_BIND;
	if (logger_open(&conf->log, &conf->access_log, n_workers + 1, e, &s->logger) < 0)
		return EXIT_BIND;
	struct log log = logger_handle(s->logger, 0);
	int r = choose_engine(conf->engine, &log, &engine, e);
	if (r == 0)
		r = open_loop(s, conf, n_workers, engine, &log, e);
	return r == 0 ? open_threads(s, conf, engine, e) : r;
}

/* ---- run ------------------------------------------------------------------------------------- */

/* Logs that a signal is ignored. A real-time signal has no name, so its number is logged. */
static void ignore_signal(struct server *s, int signo)
{
	const char *name = sigabbrev_np(signo);

	if (name != NULL)
		log_notice(&s->control.log, "signal ignored: it has no meaning for lb signal=%s",
			   name);
	else
		log_notice(&s->control.log, "signal ignored: it has no meaning for lb signal=%d",
			   signo);
}

static void on_signal(void *arg, int signo)
{
	struct server *s = arg;

	switch (signo) {
	case SIGHUP: reload_request(&s->control.reload, NULL, NULL); break;
	case SIGUSR1: logger_reopen(s->logger); break;
	case SIGTERM:
	case SIGINT:
	case SIGQUIT: control_stop(&s->control); break;
	default: ignore_signal(s, signo); break;
	}
}

int server_run(struct server *s)
{
	LB_ASSERT(s->is_started);
	/* When two stop signals came while server_start() still turned the loop, all workers may
	 * have ended by now. Then on_ended() is not called again, and nothing would ever stop the
	 * loop. */
	int r = s->control.n_quit == s->threads->n ? 0 : loop_run(s->loop);

	if (r < 0) {
		log_err(&s->control.log, "the loop failed error=\"%s\"", strerror(-r));
		return EXIT_INTERNAL;
	}
	announce_stopped(&s->control.log, &s->control.stop_count);
	return 0;
}

/* ---- close ----------------------------------------------------------------------------------- */

static void close_fd(struct server *s, int *fd)
{
	if (*fd >= 0)
		loop_close(s->loop, *fd);
	*fd = -1;
}

/* Closes the admin server and the health checks, and turns main's loop until none of their
 * operations is in flight. */
static void close_services(struct server *s)
{
	while (s->admin != NULL && admin_close(s->admin))
		(void)loop_turn(s->loop, 10);
	while (control_close(&s->control))
		(void)loop_turn(s->loop, 10);
	s->admin = admin_free(s->admin);
}

void server_close(struct server *s)
{
	/* The threads are joined first: a worker that has replied to QUIT may still be in the call
	 * that wakes main, and uses s->mail there. */
	if (s->threads != NULL)
		threads_join(s->threads);
	if (s->loop != NULL) {
		admin_socket_remove(&s->socket);
		close_services(s);
		close_fd(s, &s->admin_fd);
		close_fd(s, &s->http_fd);
		control_deinit(&s->control);
		s->signals = signals_close(s->signals);
		mailbox_close(&s->mail);
		(void)loop_turn(s->loop, 0); /* carries out the calls of loop_close() */
	}
	s->threads = threads_free(s->threads);
	s->loop = loop_free(s->loop);
	s->logger = logger_stop(s->logger);
	watermarks_close(&s->watermarks);
	admin_socket_forget(&s->socket);
}
