/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lb-echo [-l ADDR:PORT]... [-n NAME] [-e io_uring|epoll]
 *
 * Prints "listening on ADDR:PORT" for each listener when all listeners accept. For port 0 the
 * kernel chooses a port. TERM and INT end lb-echo with status 0.
 *
 * Terms. A listener is an address with the socket that accepts there. An accept is an operation
 * that goes on until it fails or is cancelled.
 *
 * main() reads the arguments (parse_args()), raises the limit of descriptors (raise_nofile()), and
 * run() does the rest: start() makes the loop and the slab of connections, listeners_open() binds
 * the listeners and starts an accept on each (arm()), and loop_run() serves.
 *
 * on_accept() gives every accepted socket to conn_start(). When an accept has failed, because no
 * descriptor or memory was left, on_retry() starts it again after RETRY_MS.
 *
 * A signal stops the loop. wind_down() then cancels the accepts, ends all connections, and turns
 * the loop until the last operation has completed, for STOP_TURNS turns at most; only then are the
 * descriptors, the slab and the loop freed.
 *
 * Relies on backends/conn.c for connections, and on ev/signals.h and net/sock.h. One thread.
 */
#include "backends/echo.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ev/signals.h"
#include "net/sock.h"
#include "util/slab.h"

#define LISTENERS_MAX 64
#define CONNS_MAX (1u << 21)
#define BUF_SOFT_BYTES (1u << 30) /* the ceiling of bytes in buffers, of all clients together */
#define RETRY_MS 100u             /* time until a failed accept is started again */
#define STOP_TURNS 100            /* turns of at most 20 ms to wait for the last completions */

struct listener {
	struct timer retry;
	struct echo *echo;
	struct addr addr;
	int fd; /* owns; -1 before it is bound */
	bool is_accepting;
};

struct echo {
	struct server server;
	struct signals *signals; /* owns */
	enum loop_engine engine;
	bool is_stopping;
	size_t n_listeners;
	struct listener listeners[LISTENERS_MAX];
};

static const char usage[] = "usage: lb-echo [-l ADDR:PORT]... [-n NAME] [-e io_uring|epoll]\n";

/* ---- listeners ------------------------------------------------------------------------------- */

static void arm(struct listener *ln)
{
	struct echo *e = ln->echo;

	ln->is_accepting = true;
	loop_accept(e->server.loop, ln->fd, ACCEPT_MANY,
		    tag_make(ECHO_CLASS_ACCEPT, 0, (uint64_t)(ln - e->listeners)));
}

static void on_retry(struct timer *t, void *arg)
{
	(void)arg;
	arm(container_of(t, struct listener, retry));
}

static void on_accept(void *arg, const struct completion *c)
{
	struct echo *e = arg;
	LB_ASSERT(tag_handle(c->tag) < e->n_listeners);
	struct listener *ln = &e->listeners[tag_handle(c->tag)];

	if (c->res >= 0)
		conn_start(&e->server, c->res);
	ln->is_accepting = c->more;
	if (!c->more && !e->is_stopping)
		loop_timer_start(e->server.loop, &ln->retry, RETRY_MS);
}

static int listener_open(struct listener *ln)
{
	struct loop *l = ln->echo->server.loop;
	struct sockaddr_storage sa;

	ln->fd = sock_bind_alone(l, &ln->addr);
	if (ln->fd < 0)
		return ln->fd;
	int r = loop_listen(l, ln->fd, SOCK_BACKLOG);
	if (r == 0)
		r = loop_sockname(l, ln->fd, &sa);
	if (r < 0)
		return r;
	addr_from_sockaddr((struct sockaddr *)&sa, &ln->addr);
	timer_init(&ln->retry, on_retry);
	arm(ln);
	return 0;
}

static int listeners_open(struct echo *e)
{
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < e->n_listeners; i++) {
		struct listener *ln = &e->listeners[i];
		int r = listener_open(ln);

		if (r < 0) {
			(void)fprintf(stderr, "lb-echo: %s: %s\n", addr_format(&ln->addr, text),
				      strerror(-r));
			return r;
		}
	}
	for (size_t i = 0; i < e->n_listeners; i++)
		(void)printf("listening on %s\n", addr_format(&e->listeners[i].addr, text));
	(void)fflush(stdout);
	return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void on_signal(void *arg, int signo)
{
	struct echo *e = arg;

	(void)signo;
	loop_stop(e->server.loop);
}

static bool is_busy(const struct echo *e)
{
	for (size_t i = 0; i < e->n_listeners; i++)
		if (e->listeners[i].is_accepting)
			return true;
	return slab_n_used(e->server.conns) > 0;
}

/* Cancels all operations and waits for their last completions. */
static void wind_down(struct echo *e)
{
	struct loop *l = e->server.loop;
	uint32_t cursor = 0;
	struct conn *c;

	e->is_stopping = true;
	for (size_t i = 0; i < e->n_listeners; i++) {
		struct listener *ln = &e->listeners[i];

		if (ln->is_accepting)
			loop_cancel(l, ln->fd, tag_make(ECHO_CLASS_ACCEPT, 0, i));
		if (ln->fd >= 0)
			loop_timer_stop(l, &ln->retry);
	}
	while ((c = slab_next(e->server.conns, &cursor)) != NULL)
		conn_end(c);
	for (int i = 0; i < STOP_TURNS && is_busy(e); i++)
		if (loop_turn(l, 20) < 0)
			break;
	for (size_t i = 0; i < e->n_listeners; i++)
		if (e->listeners[i].fd >= 0)
			loop_close(l, e->listeners[i].fd);
}

static int start(struct echo *e, struct err *why)
{
	static const int signo[] = { SIGTERM, SIGINT };
	const struct loop_opts o = { .engine = e->engine, .buf_soft_bytes = BUF_SOFT_BYTES };

	int r = loop_new(&o, why, &e->server.loop);
	if (r < 0)
		return r;
	e->server.conns = slab_new("connections", sizeof(struct conn), CONNS_MAX);
	if (e->server.conns == NULL)
		return -ENOMEM;
	list_init(&e->server.dead);
	loop_set_handler(e->server.loop, ECHO_CLASS_ACCEPT, on_accept, e);
	loop_set_handler(e->server.loop, ECHO_CLASS_CONN, dispatch_on_completion, &e->server);
	loop_set_turn_end(e->server.loop, conn_bury, &e->server);
	return signals_open(e->server.loop, ECHO_CLASS_SIGNAL, signo, ARRAY_SIZE(signo), on_signal,
			    e, &e->signals);
}

static void raise_nofile(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
		return;
	rl.rlim_cur = rl.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &rl);
}

static int run(struct echo *e)
{
	struct err why = ERR_INIT;
	char scratch[ERR_TEXT_MAX];
	int r = start(e, &why);

	if (r < 0)
		(void)fprintf(stderr, "lb-echo: %s\n",
			      err_n_lines(&why) > 0 ? err_line(&why, 0, scratch, sizeof(scratch))
						    : strerror(-r));
	err_deinit(&why);
	if (r == 0)
		r = listeners_open(e);
	if (r == 0)
		r = loop_run(e->server.loop);
	if (e->server.conns != NULL)
		wind_down(e);
	signals_close(e->signals);
	slab_free(e->server.conns);
	loop_free(e->server.loop);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* ---- arguments ------------------------------------------------------------------------------- */

static bool add_listener(struct echo *e, const char *text)
{
	if (e->n_listeners == LISTENERS_MAX)
		return false;
	struct listener *ln = &e->listeners[e->n_listeners];

	if (addr_parse(slice_of(text), &ln->addr) < 0)
		return false;
	ln->echo = e;
	ln->fd = -1;
	e->n_listeners++;
	return true;
}

static bool set_engine(struct echo *e, const char *text)
{
	if (strcmp(text, "io_uring") == 0)
		e->engine = LOOP_URING;
	else if (strcmp(text, "epoll") == 0)
		e->engine = LOOP_EPOLL;
	else
		return false;
	return true;
}

/* The name has to be visible ASCII, because it is the value of a header field. */
static bool set_name(struct echo *e, const char *text)
{
	e->server.name = slice_of(text);
	for (const char *p = text; *p != '\0'; p++)
		if (*p <= ' ' || *p > '~')
			return false;
	return e->server.name.n > 0 && e->server.name.n <= 100;
}

static bool parse_args(struct echo *e, int argc, char **argv)
{
	bool is_right = true;
	int c;

	while (is_right && (c = getopt(argc, argv, "l:n:e:")) != -1) {
		switch (c) {
		case 'l': is_right = add_listener(e, optarg); break;
		case 'n': is_right = set_name(e, optarg); break;
		case 'e': is_right = set_engine(e, optarg); break;
		default: is_right = false;
		}
	}
	if (is_right && e->n_listeners == 0)
		is_right = add_listener(e, "127.0.0.1:9001");
	return is_right && optind == argc;
}

int main(int argc, char **argv)
{
	static struct echo e = { .server.name = { .p = "echo", .n = 4 }, .engine = LOOP_AUTO };

	if (!parse_args(&e, argc, argv)) {
		(void)fputs(usage, stderr);
		return 2;
	}
	raise_nofile();
	return run(&e);
}
