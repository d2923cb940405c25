/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The start: binds all addresses, and lets the workers accept. server_start() calls in this order:
 *
 *   bind_admin()       the admin socket and admin.http are bound, and answer nothing yet
 *   delta_prepare()    every address of the file is bound, one socket for each worker, and the
 *                      files of `tls` are read
 *   drop_user()        the files and sockets are given to `user`, then lb becomes `user`
 *   start_services()   the log's thread, the admin server, the watermarks
 *   threads_start()    the workers' threads, each with its loop
 *   start_workers()    main's loop turns until every worker accepts (control_start())
 *
 * All addresses are bound before privileges are dropped, because binding a port below 1024 needs
 * privileges. The keys of certificates are read before that, too, because often only root may read
 * them. A step that can fail because of the file or the machine comes before the threads are
 * started.
 *
 * The admin server calls the functions of `admin_ops`. These call stats.c for figures and
 * commands.c for an operator's commands. The admin server answers no client before control calls
 * on_started() (server.c), because the workers' counters cannot be read before that.
 *
 * Thread: main.
 */
#include "daemon/server.h"

#include <errno.h>
#include <string.h>

#include "admin/admin.h"
#include "daemon/admin_socket.h"
#include "daemon/commands.h"
#include "daemon/delta.h"
#include "daemon/delta_binds.h"
#include "daemon/logger.h"
#include "daemon/preflight.h"
#include "daemon/privs.h"
#include "daemon/refusal.h"
#include "daemon/stats.h"
#include "net/sock.h"

/* ---- addresses and `user` -------------------------------------------------------------------- */

static int bind_http(struct server *s)
{
	struct sockaddr_storage sa;
	struct addr got;

	LB_ASSERT(s->http_fd < 0);
	s->http_fd = sock_bind_alone(s->loop, &s->control.conf->admin.http);
	int r = s->http_fd < 0 ? s->http_fd : loop_listen(s->loop, s->http_fd, SOCK_BACKLOG);
	if (r == 0)
		r = loop_sockname(s->loop, s->http_fd, &sa);
	if (r < 0)
		return r;
	addr_from_sockaddr((struct sockaddr *)&sa, &got);
	(void)addr_format(&got, s->http_text);
	s->control.registry.http = got;
	return 0;
}

static int bind_admin(struct server *s, struct err *e)
{
	const struct conf *conf = s->control.conf;

	if (conf->admin.socket != NULL) {
		s->admin_fd = admin_socket_open(s->loop, conf, e);
		if (s->admin_fd >= 0)
			admin_socket_remember(&s->socket, conf->admin.socket);
	}
	if (conf->admin.has_http) {
		int r = bind_http(s);
		if (r < 0)
			(void)refusal_http(e, conf, r);
	}
	return e->n > 0 ? EXIT_BIND : 0;
}

/* Logs a warning for each file that `user` may not open, because a reload opens files as `user`. */
static void warn_of_reload(struct server *s)
{
	_cleanup_(err_deinit) struct err why = ERR_INIT;
	char scratch[64];

	preflight_reload(s->control.conf, &why);
	for (size_t i = 0; i < err_n_lines(&why); i++)
		log_warn(&s->control.log, "reload will fail: %s",
			 err_line(&why, i, scratch, sizeof(scratch)));
}

static int become_user(struct server *s, const struct delta *first, struct err *e)
{
	uid_t uid;
	gid_t gid;

	if (privs_resolve_user(s->control.conf->user, &uid, &gid, e) < 0)
		return EXIT_BIND;
	logger_chown(s->logger, uid, gid);
	int r = delta_binds_give(&s->control.registry, first, uid, gid);
	if (r < 0)
		log_warn(&s->control.log,
			 "listening sockets stay with their owner: a reload cannot replace an "
			 "address by one that includes it error=\"%s\"",
			 strerror(-r));
	r = admin_socket_give(&s->socket, uid, gid);
	if (r < 0)
		log_warn(&s->control.log, "admin socket stays with its owner error=\"%s\"",
			 strerror(-r));
	return privs_drop(s->control.conf->user, uid, gid, PRIVS_KEEP_BIND, e) < 0 ? EXIT_BIND : 0;
}

/* When the file has a `user`, gives the logs, the admin socket and the listeners' sockets to this
 * user, and then becomes this user. */
static int drop_user(struct server *s, const struct delta *first, struct err *e)
{
	_cleanup_(err_deinit) struct err why = ERR_INIT;
	char scratch[64];

	if (s->control.conf->user == NULL)
		return 0;
	int r = become_user(s, first, &why);
	if (r == 0)
		warn_of_reload(s);
	else
		(void)err_at(e, s->control.conf->user_at, "%s",
			     err_line(&why, 0, scratch, sizeof(scratch)));
	return r;
}

/* ---- the admin socket's questions ------------------------------------------------------------ */

static int on_admin_status(void *arg, struct status *ret)
{
	return stats_read(arg, ret);
}

static void on_admin_conns(void *arg, const struct admin_conn_query *q, admin_conns_fn done,
			   void *ctx)
{
	struct server *s = arg;

	commands_conns(&s->control, q, done, ctx);
}

static void on_admin_reload(void *arg, admin_reload_fn done, void *ctx)
{
	struct server *s = arg;

	commands_reload(&s->control, done, ctx);
}

static int on_admin_backend(void *arg, enum admin_backend_op op, const char *pool,
			    const char *backend, uint32_t weight, char *why, size_t why_len)
{
	struct server *s = arg;

	return commands_backend(&s->control, op, pool, backend, weight, why, why_len);
}

static bool on_admin_is_accepting(void *arg)
{
	const struct server *s = arg;

	return control_is_accepting(&s->control);
}

static const struct admin_ops admin_ops = {
	.status = on_admin_status,
	.conns = on_admin_conns,
	.reload = on_admin_reload,
	.backend = on_admin_backend,
	.is_accepting = on_admin_is_accepting,
};

/* ---- services and threads -------------------------------------------------------------------- */

static int open_admin(struct server *s)
{
	s->admin = admin_new(&(struct admin_opts){
		.loop = s->loop,
		.log = &s->control.log,
		.ops = &admin_ops,
		.arg = s,
		.class_id = CLASS_ADMIN,
	});
	return s->admin == NULL ? -ENOMEM : 0;
}

static void warn_of_one_table(struct server *s)
{
	log_warn(&s->control.log,
		 "all threads share one descriptor table: the system refuses close_range(2) and "
		 "unshare(2), so the limit of open files holds for all threads together "
		 "error=\"%s\" workers=%u "
		 "open_files=%u",
		 strerror(-s->no_tables), s->threads->n, s->max_fds);
}

static int start_services(struct server *s, struct err *e)
{
	int r = logger_start(s->logger);

	if (r < 0)
		return err_add(e, r, "cannot start the log's thread: %s", strerror(-r));
	if (s->no_tables < 0)
		warn_of_one_table(s);
	r = open_admin(s);
	if (r == 0)
		r = watermarks_open(&s->watermarks, &s->control.log, &s->control.registry,
				    s->threads);
	return r < 0 ? err_add(e, r, "out of memory") : 0;
}

/* Turns main's loop until every worker accepts, or the start has failed. */
static int start_workers(struct server *s, struct delta *first, struct err *e)
{
	LB_ASSERT(first != NULL && s->admin != NULL); /* on_started() needs s->admin */
	if (control_start(&s->control, first) < 0) {
		delta_free(&s->control.registry, first);
		(void)err_add(e, -ENOMEM, "out of memory");
		return EXIT_INTERNAL;
	}
	while (s->control.phase == PHASE_STARTING)
		(void)loop_turn(s->loop, 1000);
	if (s->is_started)
		return 0;
	(void)err_add(e, -EINVAL, "could not start");
	return EXIT_BIND;
}

int server_start(struct server *s, struct err *e)
{
	LB_ASSERT(s->threads != NULL && s->control.phase == PHASE_STARTING);
	int r = bind_admin(s, e);
	struct delta *first = NULL;

	if (conf_has_tls(s->control.conf))
		privs_forbid_dumps(); /* before keys are read */
	/* The listeners are bound before drop_user(), because ports below 1024 need privileges.
	 * They are bound even when bind_admin() has failed, so that `e` names every address that is
	 * in use. */
	int prepared = delta_prepare(&s->control.registry, s->control.conf, e, &first);
	if (prepared < 0 && r == 0)
		r = prepared == -EKEYREJECTED ? EXIT_CONF : EXIT_BIND;
	if (r == 0)
		r = drop_user(s, first, e);
	if (r == 0 && (start_services(s, e) < 0 || threads_start(s->threads, e) < 0))
		r = EXIT_INTERNAL;
	if (r == 0)
		r = start_workers(s, first, e);
	else
		delta_free(&s->control.registry, first);
	if (r != 0)
		control_end_workers(&s->control);
	return r;
}
