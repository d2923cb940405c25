/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Threads: a worker on each, with a descriptor table of its own; where the system allows none, all
 * threads share main's.
 *
 * Descriptors that several threads use are made here before the first thread starts, so that they
 * have the same number in every table: each worker's mailbox, for each worker a socketpair on which
 * main passes the worker its listening sockets, and for all workers one socketpair on which a full
 * worker passes connections to another.
 *
 * Thread: main. Layer: daemon.
 */

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/fd_share.h"
#include "ev/loop.h"
#include "ev/mailbox.h"
#include "proxy/worker.h"
#include "util/err.h"

struct host_limits;
struct logger;
struct threads;

struct thread {
	struct threads *all; /* borrows */
	uint32_t id;
	pthread_t handle;
	bool is_started;
	_Atomic int tid; /* the kernel's number of the thread, once the thread runs */
	struct mailbox mail;
	int channel[2];        /* [0] main's end, [1] the worker's */
	struct worker *worker; /* made and freed on the thread; main reads its stats meanwhile */
	int result;            /* of its start: 0, or a negative errno with the reason in `why` */
	struct err why;
};

struct threads {
	uint32_t n;
	struct thread *thread; /* owns */
	enum loop_engine engine;
	struct proxy proxy;    /* shared by the workers */
	struct mailbox *main;  /* borrows */
	struct logger *logger; /* borrows */
	struct fd_need need;   /* as things are now */
	struct fd_share share; /* what results from `need` */
	sem_t ready;           /* posted by each thread once its worker is made, or could not be */
};

#define THREADS_MAX 256

/*
 * threads_count() - how many workers the file's number means
 *
 * 0 (auto) is one for each CPU on which this process may run, but no more than the CPU time that
 * its cgroups grant, rounded up: 1 for half a CPU, 2 for one and a half.
 */
uint32_t threads_count(uint32_t asked, const struct host_limits *machine);

/* On how many CPUs this process may run (its affinity), 1 to THREADS_MAX. */
uint32_t threads_n_cpus(void);

/* Whether `n_binds` addresses can listen under the limit of open files; if not, why is in `e`. */
int threads_check_binds(const struct threads *t, size_t n_binds, struct err *e) LB_MUST_CHECK;

/* `n_binds` addresses listen from now on: t->share follows. Call threads_check_binds() before. */
void threads_set_binds(struct threads *t, size_t n_binds);

struct threads_opts {
	struct fd_need need;
	enum loop_engine engine;
	struct mailbox *main;  /* borrows */
	struct logger *logger; /* borrows */
};

/*
 * threads_new() - mailboxes and channels for the workers
 *
 * Returns 0 and sets *ret, or a negative errno with the reason in `e`; -EMFILE is a limit of open
 * files that is too low.
 */
int threads_new(const struct threads_opts *o, struct err *e, struct threads **ret) LB_MUST_CHECK;

/* Starts all threads, and waits until each has made its worker. On failure the reason is in `e`,
 * and threads_free() is due once those that run have ended. */
int threads_start(struct threads *t, struct err *e) LB_MUST_CHECK;

/* Waits until every thread has ended. QUIT was posted to each worker. */
void threads_join(struct threads *t);

/* NULL is fine. Returns NULL. No thread may run. */
struct threads *threads_free(struct threads *t);
