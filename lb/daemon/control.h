/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Control: the main thread's own state, and the life of the process on it.
 *
 *   main() -> control_open() -> control_start() -> loop_run() ... signals ... -> control_close()
 *
 * Main moves no client's byte: it reads configurations, binds, checks backends' health, answers the
 * admin socket and tells the workers what has changed.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "conf/conf.h"
#include "daemon/announce.h"
#include "daemon/notify.h"
#include "daemon/registry.h"
#include "daemon/reload.h"
#include "daemon/threads.h"
#include "daemon/watermarks.h"
#include "ev/loop.h"
#include "ev/mailbox.h"
#include "util/err.h"
#include "util/log.h"

struct admin;
struct logger;
struct order;
struct probes;
struct signals;

/* Classes of tags in main's loop. */
enum { CLASS_ADMIN = 2, CLASS_PROBE = 3, CLASS_SIGNAL = 4 };

enum control_phase {
	PHASE_STARTING,
	PHASE_RUNNING,
	PHASE_DELAYING, /* asked to stop, still accepting for stop_delay */
	PHASE_DRAINING, /* accepts no more, waits for connections to end */
	PHASE_QUITTING, /* ends what is left */
};

/* The two orders with which a worker's life ends; NULL once they are given. */
struct last_orders {
	struct order *stop, *quit; /* owns */
};

struct control {
	const char *path;      /* borrows: of the configuration file */
	struct conf *conf;     /* counted: the current one */
	struct loop *loop;     /* owns */
	struct mailbox mail;   /* where workers' answers arrive */
	struct logger *logger; /* owns */
	struct log log;
	struct threads *threads; /* owns */
	struct registry registry;
	struct probes *probes;       /* owns */
	uint64_t no_check_logged_ms; /* when the log last had a check that could not be made; 0:
					never */
	struct admin *admin;         /* owns */
	struct signals *signals;     /* owns */
	struct reload reload;
	struct watermarks watermarks;
	struct notify_status status;
	uint64_t status_ms; /* PHASE_DRAINING: when it is told next */
	uint32_t n_workers;
	uint32_t max_fds;
	int no_tables; /* 0, or the negative errno for which threads have no tables of their own */
	uint64_t generation;
	uint64_t start_ns;
	enum control_phase phase;
	bool is_started;        /* all workers accepted once, whatever the phase is now */
	uint32_t n_early_stops; /* stops asked for in PHASE_STARTING; control_start() obeys them */
	uint64_t deadline_ms;   /* PHASE_DRAINING: when to give up waiting */
	struct timer tick;      /* of the stop, to tidy the registry, to look at the watermarks */
	uint32_t n_quit;        /* workers that have ended */
	struct stop_count stop_count;
	struct last_orders *last; /* owns: n_workers, made at the start: a stop lacks no memory */
	int admin_fd, http_fd;    /* bound, not yet served; -1: none */
	char http_text[ADDR_TEXT_MAX]; /* of admin.http with its real port; "": there is none */
	char *socket_path; /* owns: of the admin socket that was bound, whatever the file says now
			    */
	dev_t socket_dev;  /* with socket_ino: which file that is */
	ino_t socket_ino;
};

#define EXIT_CONF 1
#define EXIT_USAGE 2
#define EXIT_BIND 3 /* could not bind, or lacks a permission */
#define EXIT_INTERNAL 70

/* Makes what needs no thread yet. Returns 0 or an exit status, with the reasons in `e`. */
int control_open(struct control *c, const char *path, struct conf *conf,
		 struct err *e) LB_MUST_CHECK;

/* Binds, starts the workers, and lets everything accept. The same returns. */
int control_start(struct control *c, struct err *e) LB_MUST_CHECK;

/* Runs until stopped. Returns the exit status. */
int control_run(struct control *c);

/* Frees all; the workers have ended or were never started. */
void control_close(struct control *c);

/* A signal to stop; the second stops at once. */
void control_stop(struct control *c);

/* Open connections, over all workers. */
uint64_t control_n_active(const struct control *c);

/* Whether /healthz is 200. */
bool control_is_accepting(const struct control *c);

/* A configuration has become current: limits and health checks follow it. */
void control_apply_conf(struct control *c);

/* Writes each error, but no warning, as a line of the log. */
void control_log_errors(struct control *c, const char *what, const struct err *e);

/* Writes each warning of a configuration as a line of the log. */
void control_log_warnings(struct control *c, const struct err *e);
