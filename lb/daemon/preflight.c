/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `lb check`: tries each step of a start, and undoes it.
 *
 * Terms. A finding is an error with which a start by this file would fail on this machine. The
 * running lb is the lb that answers on the admin socket which the file names (running_lb.c).
 *
 * preflight() calls one function for each step of a start (server.c, server_start.c), in the same
 * order, and each step is undone at once:
 *
 *   try_process()    SHA-1 for handshakes, io_uring, and the limit of open files
 *   try_logs()       whether each log can be opened or made
 *   find_running()   the admin socket, and the lb that answers on it
 *   try_addresses()  each address is bound, and each source address
 *   try_as_user()    what lb does after it has become `user`, in a child process that becomes
 *                    this user (be_user()) and writes its findings to a pipe
 *
 * The admin socket and the addresses of the running lb are no findings, because the running lb has
 * to end before another lb starts by the file. So an address that is in use is a finding only when
 * the running lb has no socket there. When a start would succeed but a reload of the running lb
 * would fail, preflight() adds a warning (warn_of_http()).
 *
 * When a start would give a log to `user`, the child does not open the log, because the file still
 * belongs to another user. The child only checks that `user` can reach the log's folder
 * (try_way()).
 *
 * Relies on: admin_socket.c, log_file.c, sources.c, fd_share.c, privs.c, which a start uses, too;
 * refusal.c words the findings as the start does. preflight_user() and preflight_crypto() are
 * steps of the start itself. preflight_reload() is for the start, too: it finds why a later reload
 * would fail.
 *
 * Thread: main, the only thread of the process, because a child is forked.
 */
#include "daemon/preflight.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/admin_socket.h"
#include "daemon/fd_share.h"
#include "daemon/fd_table.h"
#include "daemon/host_limits.h"
#include "daemon/log_file.h"
#include "daemon/logger.h"
#include "daemon/privs.h"
#include "daemon/refusal.h"
#include "daemon/running_lb.h"
#include "daemon/sources.h"
#include "daemon/threads.h"
#include "daemon/tls_store.h"
#include "ev/loop.h"
#include "net/sock.h"
#include "proto/accept_key.h"

struct flight {
	const struct conf *conf; /* borrows */
	struct loop *loop;       /* owns: for making sockets */
	struct err *e;
	struct running_lb running;
	/* [0] is the log, [1] is the access log. */
	bool is_given[2]; /* a start would give this log to `user` */
	bool is_bad[2];   /* this log cannot be opened, and the finding was added */
};

int preflight_user(const struct conf *conf, struct err *e)
{
	if (conf->user == NULL || getpwnam(conf->user) != NULL)
		return 0;
	return err_at(e, conf->user_at, "\"user\" is \"%s\": no such user", conf->user);
}

int preflight_crypto(struct err *e)
{
	if (accept_key_check() == 0)
		return 0;
	return err_add(
		e, -ENOTSUP,
		"libcrypto refuses SHA-1, which the WebSocket handshake needs (RFC 6455, 1.3)");
}

/* ---- the process ----------------------------------------------------------------------------- */

static void try_process(struct flight *f)
{
	const struct conf *conf = f->conf;
	struct fd_share share;
	struct host_limits machine;

	(void)preflight_crypto(f->e);
	if (conf->engine == CONF_ENGINE_URING)
		(void)loop_probe_uring(f->e);
	host_limits_read("", &machine);
	const struct fd_need need = {
		.n_workers = threads_count(conf->workers, &machine),
		.n_binds = (uint32_t)conf_n_binds(conf),
		.max_fds = privs_raise_nofile(),
		.is_shared = fd_table_unshare() < 0,
	};
	(void)fd_share_fit(&need, &share, f->e);
}

/* A start reads these files before it becomes `user`. */
static void try_tls(struct flight *f)
{
	if (conf_has_tls(f->conf))
		privs_forbid_dumps();
	tls_store_check(f->conf, loop_wall_ns(f->loop), f->e);
}

/* ---- logs ------------------------------------------------------------------------------------ */

static const struct conf_log *log_of(const struct conf *conf, int which)
{
	return which == 0 ? &conf->log : &conf->access_log;
}

/* Whether logger_chown() would give this log to `user`. It would when the file is missing, because
 * a start makes the file first. */
static bool is_to_be_given(const struct conf_log *c)
{
	struct stat st;

	if (geteuid() != 0 || !c->is_on || c->to[0] != '/')
		return false;
	if (lstat(c->to, &st) < 0)
		return errno == ENOENT;
	return S_ISREG(st.st_mode) && st.st_nlink == 1;
}

static void try_logs(struct flight *f)
{
	for (int i = 0; i < 2; i++) {
		const struct conf_log *c = log_of(f->conf, i);
		f->is_bad[i] = log_file_try(c, f->e) < 0;
		f->is_given[i] = is_to_be_given(c);
	}
}

/* ---- addresses ------------------------------------------------------------------------------- */

/* Fills f->running when an lb answers on the admin socket. When another program answers, adds a
 * finding. */
static void find_running(struct flight *f)
{
	const struct conf *conf = f->conf;

	if (conf->admin.socket == NULL || admin_socket_check(conf, f->e) != -EADDRINUSE)
		return;
	int r = running_lb_ask(conf->admin.socket, &f->running);
	if (r < 0)
		(void)refusal_socket(f->e, conf, -EADDRINUSE);
}

/* Binds a socket as the start does, and closes it. The socket does not listen, so it takes no
 * client, and meanwhile another program can listen on the address. */
static int try_bind(struct flight *f, const struct addr *a)
{
	int fd = sock_bind_alone(f->loop, a);

	if (fd >= 0)
		loop_close(f->loop, fd);
	return fd < 0 ? fd : 0;
}

/* Warns when the running lb has the address for its admin.http. A start can bind the address,
 * because the running lb has ended by then. A reload cannot bind it, because the running lb keeps
 * its admin.http until it ends. */
static void warn_of_http(struct flight *f, const struct conf_bind *b)
{
	char http[ADDR_TEXT_MAX];

	if (f->running.has_http && addr_overlaps(&f->running.http, &b->addr))
		err_warn_at(f->e, b->at,
			    "a reload cannot bind %s, because the running lb has this port for its "
			    "admin.http %s: restart lb, or take another port",
			    b->text, addr_format(&f->running.http, http));
}

/* Adds a finding when the address cannot be bound. It is no finding when the running lb has the
 * address, or has an address that the new one includes, because a restart can bind it then. */
static void try_listener(struct flight *f, const struct conf_bind *b)
{
	int r = try_bind(f, &b->addr);
	bool is_own = (r == -EADDRINUSE || r == -EACCES) && running_lb_has(&f->running, &b->addr);
	bool includes_own = r == -EADDRINUSE && running_lb_in_way(&f->running, &b->addr) != NULL;

	if (r < 0 && !is_own && !includes_own)
		(void)refusal_bind(f->e, b->at, &b->addr, b->text, r);
	if (includes_own)
		warn_of_http(f, b);
}

static void try_addresses(struct flight *f)
{
	const struct conf *conf = f->conf;

	if (conf->admin.has_http) {
		int r = try_bind(f, &conf->admin.http);
		bool is_own = (r == -EADDRINUSE || r == -EACCES) &&
			      running_lb_in_way(&f->running, &conf->admin.http) != NULL;
		if (r < 0 && !is_own)
			(void)refusal_http(f->e, conf, r);
	}
	for (size_t i = 0; i < conf->n_listeners; i++)
		for (size_t k = 0; k < conf->listeners[i].n_binds; k++)
			try_listener(f, &conf->listeners[i].binds[k]);
	(void)sources_try(f->loop, conf, f->e);
}

/* ---- as `user` ------------------------------------------------------------------------------- */

static void try_file(const struct conf *conf, struct err *e)
{
	if (faccessat(AT_FDCWD, conf->file, R_OK, AT_EACCESS) < 0)
		(void)refusal_file(e, conf, -errno);
}

void preflight_reload(const struct conf *conf, struct err *e)
{
	try_file(conf, e);
	tls_store_check_access(conf, e);
	(void)logger_check(&conf->log, &conf->access_log, e);
}

/* A start gives this log to `user`, so `user` needs only the right to reach the log's folder. */
static void try_way(const struct conf_log *c, struct err *e)
{
	char folder[PATH_MAX];

	(void)refusal_folder(c->to, folder, sizeof(folder));
	if (faccessat(AT_FDCWD, folder, X_OK, AT_EACCESS) < 0)
		(void)refusal_log(e, c->at, c->to, -errno);
}

/* Runs in the child: becomes `user`, checks what `user` has to open, and writes each finding to the
 * pipe `to` as a struct err_item. */
static void be_user(const struct flight *f, uid_t uid, gid_t gid, int to)
{
	const struct conf *conf = f->conf;
	struct err e = ERR_INIT, why = ERR_INIT;
	char scratch[64];

	if (privs_drop(conf->user, uid, gid, PRIVS_KEEP_BIND, &why) < 0) {
		(void)err_at(&e, conf->user_at, "%s", err_line(&why, 0, scratch, sizeof(scratch)));
	} else {
		try_file(conf, &e);
		tls_store_check_access(conf, &e);
		for (int i = 0; i < 2; i++) {
			if (f->is_bad[i]) /* try_logs() has added the finding */
				continue;
			if (f->is_given[i])
				try_way(log_of(conf, i), &e);
			else
				(void)log_file_try(log_of(conf, i), &e);
		}
	}
	for (size_t i = 0; i < e.n_kept; i++)
		(void)!write(to, &e.item[i], sizeof(e.item[i]));
	err_deinit(&why);
	err_deinit(&e);
}

/* Reads the child's findings. Each read(2) returns a whole finding, because a pipe does not divide
 * a write of up to PIPE_BUF bytes. */
static void take_findings(struct flight *f, int from)
{
	_Static_assert(sizeof(struct err_item) <= PIPE_BUF, "a finding is written at once");
	struct err_item it;

	while (read(from, &it, sizeof(it)) == (ssize_t)sizeof(it))
		(void)err_at(f->e, (struct mark){ .line = it.line, .col = it.col }, "%s", it.text);
}

static void try_as_user(struct flight *f)
{
	int ends[2];
	uid_t uid;
	gid_t gid;

	if (f->conf->user == NULL || privs_resolve_user(f->conf->user, &uid, &gid, f->e) < 0)
		return;
	if (pipe2(ends, O_CLOEXEC) < 0) {
		(void)err_add(f->e, -errno, "pipe: %s", strerror(errno));
		return;
	}
	pid_t child = fork();
	if (child == 0) {
		be_user(f, uid, gid, ends[1]);
		_exit(0);
	}
	(void)close(ends[1]);
	if (child < 0)
		(void)err_add(f->e, -errno, "fork: %s", strerror(errno));
	else
		take_findings(f, ends[0]);
	(void)close(ends[0]);
	if (child > 0)
		(void)waitpid(child, NULL, 0);
}

/* ---- all of it ------------------------------------------------------------------------------- */

int preflight(const struct conf *conf, struct err *e)
{
	struct flight f = { .conf = conf, .e = e };
	size_t n_before = e->n;
	int r = loop_new(&(struct loop_opts){ .engine = LOOP_EPOLL }, e, &f.loop);

	if (r < 0)
		return -EINVAL;
	bool has_user = preflight_user(conf, e) == 0;
	try_process(&f);
	try_tls(&f);
	try_logs(&f);
	find_running(&f);
	try_addresses(&f);
	if (has_user)
		try_as_user(&f);
	err_sort(e);
	running_lb_deinit(&f.running);
	loop_free(f.loop);
	return e->n > n_before ? -EINVAL : 0;
}
