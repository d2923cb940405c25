/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Two workers and main in one thread: each worker has a loop of the engine under test and a
 * channel, main has a mailbox that is drained by hand. Nothing moves but in TURN_UNTIL().
 */

#include <errno.h>
#include <sys/socket.h>

#include "../ev/loop_fixture.h"
#include "proxy/worker.h"
#include "written.h"

#define N_WORKERS 2
#define MAX_SESSIONS 2000u

static struct proxy proxy;
static struct mailbox main_mail;
static struct rig {
	struct loop *loop;
	struct mailbox mail;
	struct worker *w;
	int channel[2]; /* [0] main's */
} rigs[N_WORKERS];
static int n_logged; /* lines that workers wrote */

static void note_line(void *arg, enum log_level level, const char *line, size_t n)
{
	(void)arg;
	(void)level;
	ck_assert(line != NULL && n > 0);
	n_logged++;
}

static void no_wake(void *arg)
{
	(void)arg;
}

static void open_channel(int ends[2])
{
	int type = SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK;

	ck_assert_int_eq(socketpair(AF_UNIX, type, 0, ends), 0);
}

static void close_channel(const int ends[2])
{
	close(ends[0]);
	close(ends[1]);
}

static struct worker *new_worker(struct rig *r, uint32_t id)
{
	struct worker *w = NULL;
	struct worker_opts o = {
		.id = id,
		.proxy = &proxy,
		.loop = r->loop,
		.mail = &r->mail,
		.main = &main_mail,
		.channel = r->channel[1],
		.max_sessions = MAX_SESSIONS,
		.max_pipes = 4,
		.log = { .max = LOG_LEVEL_WARN, .sink = note_line },
	};

	ck_assert_int_eq(worker_new(&o, &w), 0);
	return w;
}

/* Also sets loop_fixture.h's `loop`, the first worker's, by which main makes its sockets here. */
static void begin_workers(int engine)
{
	struct err e = ERR_INIT;

	n_fds_before = n_fds();
	n_logged = 0;
	ck_assert_int_eq(proxy_init(&proxy, N_WORKERS), 0);
	proxy.leaving_ms = 0; /* nobody's SYN is on its way here, and a clock may stand still */
	open_channel(proxy.handoff_fd);
	atomic_store(&proxy.max_conns, 1000000);
	mailbox_open_with(&main_mail, NULL, no_wake, NULL);
	for (uint32_t i = 0; i < N_WORKERS; i++) {
		struct rig *r = &rigs[i];
		struct loop_opts o = { .engine = engines[engine] };
		ck_assert_int_eq(loop_new(&o, &e, &r->loop), 0);
		ck_assert_int_eq(mailbox_open(&r->mail, NULL), 0);
		open_channel(r->channel);
		r->w = new_worker(r, i);
		r->mail.arg = r->w;
		ck_assert_int_eq(mailbox_attach(&r->mail, r->loop), 0);
	}
	loop = rigs[0].loop;
	err_deinit(&e);
}

static void turn_all(void)
{
	for (int i = 0; i < N_WORKERS; i++)
		ck_assert_int_eq(loop_turn(rigs[i].loop, 1), 0);
	mailbox_drain(&main_mail);
}

/* Turns both workers until `cond` holds, for some seconds at most. */
#define TURN_UNTIL(cond) STEP_UNTIL(cond, turn_all())

/* Nobody may have a session any more; memory and descriptors must be back. */
static void end_workers(void)
{
	turn_all();
	for (int i = 0; i < N_WORKERS; i++) {
		struct rig *r = &rigs[i];
		ck_assert_ptr_null(worker_free(r->w));
		loop_free(r->loop);
		mailbox_close(&r->mail);
		close_channel(r->channel);
	}
	close_channel(proxy.handoff_fd);
	proxy_deinit(&proxy);
	mailbox_close(&main_mail);
	ck_assert_uint_eq(atomic_load(&proxy.n_conns), 0);
	ck_assert_int_eq(n_fds(), n_fds_before);
}
