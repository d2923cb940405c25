/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A whole lb within the test's process: main is the test's thread and moves in RUN_UNTIL() only,
 * the workers are threads of their own. Its files are in a directory of the test's.
 */

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../suite.h"
#include "../until.h"
#include "balance/backend.h"
#include "balance/pool.h"
#include "daemon/server.h"
#include "proxy/listener.h"

#define N_WORKERS 2

static struct server lb;
static char dir[24];
static char conf_path[64], log_path[64], socket_path[64];
static int backend_fd = -1; /* accepts in the kernel, answers nothing */
static uint16_t backend_port;
static int n_fds_before;

/* A loopback address on which no other process listens: it is made of the process's number. */
static inline uint32_t own_address(void)
{
	uint32_t pid = (uint32_t)getpid();

	return 127u << 24 | 1u << 23 | (pid & 0x7fff) << 8 | 2;
}

/* A listening socket of the test's own on a port that is free on `address`; its port. */
static inline int listening_on(uint32_t address, uint16_t *ret_port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(address) };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	ck_assert_int_eq(listen(fd, 4096), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	*ret_port = ntohs(sin.sin_port);
	return fd;
}

static inline int listening(uint16_t *ret_port)
{
	return listening_on(INADDR_LOOPBACK, ret_port);
}

static inline void setup(void)
{
	n_fds_before = n_fds();
	(void)strcpy(dir, "/tmp/test_lb.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(conf_path, sizeof(conf_path), "%s/lb.yaml", dir);
	(void)snprintf(log_path, sizeof(log_path), "%s/log", dir);
	(void)snprintf(socket_path, sizeof(socket_path), "%s/admin.sock", dir);
	backend_fd = listening(&backend_port);
}

static inline void teardown(void)
{
	close(backend_fd);
	(void)unlink(conf_path);
	(void)unlink(log_path);
	ck_assert_int_eq(rmdir(dir), 0); /* the admin socket is gone, too */
	ck_assert_int_eq(n_fds(), n_fds_before);
}

/* Writes the configuration: what every test wants, and what is given. */
static inline LB_PRINTF(1, 2) void write_conf(const char *fmt, ...)
{
	FILE *f = fopen(conf_path, "w");
	va_list ap;

	ck_assert_ptr_nonnull(f);
	(void)fprintf(f, "workers: %d\nlog: {to: %s, level: info}\nadmin: {socket: %s}\n",
		      N_WORKERS, log_path, socket_path);
	va_start(ap, fmt);
	(void)vfprintf(f, fmt, ap);
	va_end(ap);
	ck_assert_int_eq(fclose(f), 0);
}

/* A listener "l" on a port of the kernel's choice and a pool "p" with backends "b" and "c". */
#define LISTENER "listeners: [{name: l, bind: '127.0.0.1:0', mode: tcp, pool: p}]\n"
#define POOL \
	"pools: [{name: p, balance: first, backends: [{name: b, address: '127.0.0.1:%u'}, {name: " \
	"c, address: '127.0.0.1:1'}]}]\n"

static inline void write_simple(void)
{
	write_conf(LISTENER POOL, backend_port);
}

/* Opens and starts by the file that was written; the status, with the reasons in `e`. */
static inline int started(struct err *e)
{
	struct conf *conf = NULL;

	ck_assert_int_eq(conf_load(conf_path, e, &conf), 0);
	int status = server_open(&lb, conf_path, conf, e);
	conf_unref(conf);
	return status == 0 ? server_start(&lb, e) : status;
}

static inline void start(void)
{
	struct err e = ERR_INIT;

	ck_assert_int_eq(started(&e), 0);
	ck_assert_uint_eq(e.n, 0);
	err_deinit(&e); /* it may have warnings */
	ck_assert_int_eq(lb.control.phase, PHASE_RUNNING);
}

/* Turns main until `cond` holds, for some seconds at most. */
#define RUN_UNTIL(cond) STEP_UNTIL(cond, ck_assert_int_eq(loop_turn(lb.loop, 5), 0))

/* At once, whatever is open. */
static inline void stop(void)
{
	control_stop(&lb.control);
	control_stop(&lb.control);
	ck_assert_int_eq(server_run(&lb), 0);
	server_close(&lb);
}

static inline uint16_t port_of(size_t i)
{
	list_for_each(it, &lb.control.registry.listeners) if (i-- == 0) return list_entry(
		it, struct registry_listener, link)
		->listener->addr.port;
	ck_abort_msg("there is no such listener");
}

/*
 * A client's connection, or -1 where it is refused. While a listening socket is being closed, the
 * kernel may answer the handshake and then reset the connection: that is a refusal, too.
 */
static inline int dial_at(uint32_t address, uint16_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(address) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0)
		return fd;
	ck_assert_msg(errno == ECONNREFUSED || errno == ECONNRESET, "%s", strerror(errno));
	close(fd);
	return -1;
}

static inline int dial(uint16_t port)
{
	return dial_at(INADDR_LOOPBACK, port);
}

/* Ends a client's connection with a reset: lb then waits for nothing. */
static inline void hang_up(int fd)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	close(fd);
}

static inline struct backend *backend_named(const char *name)
{
	struct registry_pool *p = registry_find_pool(&lb.control.registry, "p");

	ck_assert_ptr_nonnull(p);
	struct registry_backend *fb = registry_find_backend(p, name);
	ck_assert_msg(fb != NULL, "no backend %s", name);
	return fb->backend;
}

static inline uint64_t n_active(void)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < lb.control.n_workers; i++)
		n += counter_read(&lb.threads->thread[i].worker->stats->active);
	return n;
}

#define N_CLIENTS 40

static int clients[N_CLIENTS];

/* N_CLIENTS connections through the first listener to backend "b". */
static inline void open_clients(void)
{
	for (int i = 0; i < N_CLIENTS; i++)
		ck_assert_int_ge(clients[i] = dial(port_of(0)), 0);
	RUN_UNTIL(n_active() == N_CLIENTS && backend_total(backend_named("b")) == N_CLIENTS);
}

static inline void close_clients(void)
{
	for (int i = 0; i < N_CLIENTS; i++)
		hang_up(clients[i]);
	RUN_UNTIL(n_active() == 0);
}

/* Whether the log, once lb was closed or has written it, has a line with all of this. */
static inline bool is_logged(const char *text)
{
	static char all[65536];
	FILE *f = fopen(log_path, "r");

	ck_assert_ptr_nonnull(f);
	all[fread(all, 1, sizeof(all) - 1, f)] = '\0';
	(void)fclose(f);
	return strstr(all, text) != NULL;
}

static inline bool has_reason(const struct err *e, const char *text)
{
	for (size_t i = 0; i < e->n_kept; i++)
		if (strstr(e->item[i].text, text) != NULL)
			return true;
	return false;
}

/* To be called first by add_tests(): each test starts with a directory of its own. */
static inline void use_daemon(TCase *t)
{
	tcase_set_timeout(t, 60); /* workers start slowly under ThreadSanitizer */
	tcase_add_checked_fixture(t, setup, teardown);
}
