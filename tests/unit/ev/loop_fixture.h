/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the tests of the loop share: a loop of the engine under test, operations that note their
 * completions, and peers on the other side of plain sockets. Every test is run on every engine that
 * the kernel allows, as a loop test over `engines`.
 */

#include <arpa/inet.h>
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../suite.h"
#include "../until.h"
#include "ev/loop.h"

#define N_OPS 256
#define CLASS_TEST 2u

/* What is known of the operation whose tag has this handle. */
struct noted {
	int n;        /* completions so far */
	int n_last;   /* of them without `more` */
	int32_t res;  /* of the latest */
	uint64_t pos; /* bytes received: what comes must be pattern(pos) and on */
	bool is_kept; /* keep the buffers */
	struct buf *kept;
	void (*fn)(const struct completion *c); /* called after noting, or NULL */
};

static enum loop_engine engines[2];
static int n_engines;

static struct loop *loop;
static struct noted ops[N_OPS];
static int n_fds_before;

/* Bytes whose order and completeness can be checked anywhere in a stream. */
static inline uint8_t pattern(uint64_t pos)
{
	return (uint8_t)(pos % 251);
}

static inline op_tag tag(unsigned op)
{
	return tag_make(CLASS_TEST, 0, op);
}

static void check_pattern(struct noted *o, const uint8_t *data, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (data[i] != pattern(o->pos + i))
			ck_abort_msg("byte %llu is wrong", (unsigned long long)(o->pos + i));
	o->pos += n;
}

static void on_completion(void *arg, const struct completion *c)
{
	struct noted *o = &ops[tag_handle(c->tag)];

	ck_assert_ptr_eq(arg, ops);
	o->n++;
	o->n_last += !c->more;
	o->res = c->res;
	if (c->buf != NULL) {
		ck_assert_int_gt(c->res, 0);
		ck_assert_uint_eq(c->buf->refs, 1);
		check_pattern(o, c->buf->data, (size_t)c->res);
		if (o->is_kept)
			o->kept = c->buf;
		else
			buf_put(loop->bufs, c->buf);
	}
	if (o->fn != NULL)
		o->fn(c);
}

static inline void begin_with(const struct loop_opts *o)
{
	struct err e = ERR_INIT;

	n_fds_before = n_fds();
	memset(ops, 0, sizeof(ops));
	ck_assert_int_eq(loop_new(o, &e, &loop), 0);
	loop_set_handler(loop, CLASS_TEST, on_completion, ops);
	err_deinit(&e);
}

static inline void begin(int engine)
{
	begin_with(&(struct loop_opts){ .engine = engines[engine] });
}

/* The test has closed its descriptors; the loop's memory and its own must be gone, too. */
static inline void end(void)
{
	loop_turn(loop, 0);
	loop = loop_free(loop);
	ck_assert_int_eq(n_fds(), n_fds_before);
}

/* Turns until `cond` holds, for some seconds at most. */
#define UNTIL(cond) STEP_UNTIL(cond, ck_assert_int_eq(loop_turn(loop, 2), 0))

/* Turns for a while in which nothing is to happen. */
static inline void idle(void)
{
	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(loop_turn(loop, 2), 0);
}

static inline struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
}

/* A listening socket, made by the loop's calls; its port. */
static inline int listening(int backlog, uint16_t *ret_port)
{
	struct sockaddr_in at = loopback(0);
	struct sockaddr_storage name;
	int fd = loop_socket(loop, AF_INET, SOCK_STREAM);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(loop_bind(loop, fd, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(loop_listen(loop, fd, backlog), 0);
	ck_assert_int_eq(loop_sockname(loop, fd, &name), 0);
	*ret_port = ntohs(((struct sockaddr_in *)&name)->sin_port);
	ck_assert_uint_ne(*ret_port, 0);
	return fd;
}

/* A peer's side of a connection: a plain, blocking socket. */
static inline int dial(uint16_t port)
{
	struct sockaddr_in to = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

/* A connection: fds[0] is the loop's, fds[1] the peer's. */
static inline void tcp_pair(int fds[2])
{
	uint16_t port;
	int l = listening(1, &port);

	fds[1] = dial(port);
	fds[0] = loop_accept_now(loop, l);
	ck_assert_int_ge(fds[0], 0);
	close(l); /* nothing was ever started on it */
}

/* Closes a connection; the peer's side gives a reset if `is_hard`. */
static inline void close_peer(int fd, bool is_hard)
{
	struct linger l = { .l_onoff = 1, .l_linger = 0 };

	if (is_hard)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(fd);
}

static inline void close_pair(int fds[2])
{
	loop_close(loop, fds[0]);
	close(fds[1]);
}

/* Sends bytes pos to pos + n - 1 of the pattern; how many were taken without waiting. */
static inline size_t feed(int fd, uint64_t pos, size_t n)
{
	static uint8_t data[65536];

	n = n < sizeof(data) ? n : sizeof(data);
	for (size_t i = 0; i < n; i++)
		data[i] = pattern(pos + i);
	ssize_t sent = send(fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	ck_assert(sent >= 0 || errno == EAGAIN);
	return sent < 0 ? 0 : (size_t)sent;
}

/* Reads what a socket holds and checks that it goes on where `o` is. */
static inline size_t drain(int fd, struct noted *o)
{
	static uint8_t data[65536];
	size_t total = 0;
	ssize_t n;

	while ((n = recv(fd, data, sizeof(data), MSG_DONTWAIT)) > 0) {
		check_pattern(o, data, (size_t)n);
		total += (size_t)n;
	}
	return total;
}

/* As run_suite(), with `engines` filled in before `add_tests` is called. */
static inline int run_on_engines(const char *name, void (*add_tests)(TCase *t))
{
	struct err e = ERR_INIT;

	engines[n_engines++] = LOOP_EPOLL;
	if (loop_probe_uring(&e) == 0)
		engines[n_engines++] = LOOP_URING;
	err_deinit(&e);
	return run_suite(name, add_tests);
}
