/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Server: the process around control: logs, signals, privileges, threads, the admin socket.
 *
 *   main() -> server_open() -> server_start() -> server_run() ... signals ... -> server_close()
 *
 * server_start() is in server_start.c, everything else in server.c.
 *
 * Main moves no client's byte: it reads configurations, binds, checks backends' health, answers the
 * admin socket and tells the workers what has changed.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdbool.h>
#include <stdint.h>

#include "daemon/admin_socket.h"
#include "daemon/control.h"
#include "daemon/notify.h"
#include "daemon/threads.h"
#include "daemon/watermarks.h"
#include "ev/loop.h"
#include "ev/mailbox.h"
#include "util/err.h"

struct admin;
struct logger;
struct signals;

/* Classes of tags in main's loop. */
enum { CLASS_ADMIN = 2, CLASS_PROBE = 3, CLASS_SIGNAL = 4 };

struct server {
	struct control control;
	const char *path;        /* borrows: path of the configuration file */
	struct loop *loop;       /* owns */
	struct mailbox mail;     /* main's mailbox, for the workers' replies */
	struct logger *logger;   /* owns */
	struct threads *threads; /* owns */
	struct admin *admin;     /* owns */
	struct signals *signals; /* owns */
	struct watermarks watermarks;
	struct notify_status status;
	uint32_t max_fds;
	int no_tables; /* 0, or a negative errno: all threads share one table */
	uint64_t start_ns;
	bool is_started;       /* the start has succeeded; stays true during a stop */
	int admin_fd, http_fd; /* listening sockets that `admin` does not serve yet; -1: none */
	char http_text[ADDR_TEXT_MAX]; /* bound address of admin.http; "": no admin.http */
	struct admin_socket_file socket;
};

#define EXIT_CONF 1
#define EXIT_USAGE 2
#define EXIT_BIND 3 /* could not bind, or lacks a permission */
#define EXIT_INTERNAL 70

/* Makes the objects that need no other thread and no bound address. Returns 0, or an exit status
 * with the reasons in `e`; server_close() is due in both cases. */
int server_open(struct server *s, const char *path, struct conf *conf, struct err *e) LB_MUST_CHECK;

/* Binds all addresses, starts the workers, waits until they accept. Returns as server_open(). */
int server_start(struct server *s, struct err *e) LB_MUST_CHECK;

/* Turns main's loop until a stop has ended every worker. Returns the exit status. */
int server_run(struct server *s);

/* Frees everything. Call after the workers have ended, or when they were never started. */
void server_close(struct server *s);
