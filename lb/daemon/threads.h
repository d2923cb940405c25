/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Threads: the workers' threads. Each thread has one worker, and a descriptor table of its own when
 * the system allows that; otherwise all threads share main's table.
 *
 * Descriptors that several threads use are made here before the first thread starts, so that they
 * have the same number in every table. They are: each worker's mailbox; for each worker a channel,
 * which is the socket pair by which main passes the worker its listening sockets; and one hand-off
 * socket for all workers, by which a full worker passes connections to another worker.
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
	_Atomic int tid; /* the kernel's number of the thread; 0 before the thread runs */
	struct mailbox mail;
	int channel[2];        /* [0] is main's end, [1] is the worker's end */
	struct worker *worker; /* made and freed by the thread; main reads worker->stats between */
	int result; /* of make_worker(): 0, or a negative errno with the reason in `why` */
	struct err why;
};

struct threads {
	uint32_t n;
	struct thread *thread; /* owns */
	enum loop_engine engine;
	struct proxy proxy;    /* shared by the workers */
	struct mailbox *main;  /* borrows */
	struct logger *logger; /* borrows */
	struct fd_need need;   /* for the addresses of the configuration in force */
	struct fd_share share; /* fd_share_out() of `need` */
	sem_t ready;           /* each thread posts it when make_worker() has returned */
};

#define THREADS_MAX 256

/*
 * threads_count() - how many workers lb starts when the file asks for `asked`
 *
 * When `asked` is 0 (auto), the result is the number of CPUs on which this process may run, but at
 * most the CPU time that its cgroups grant, rounded up to whole CPUs (1 for half a CPU, 2 for one
 * and a half).
 */
uint32_t threads_count(uint32_t asked, const struct host_limits *machine);

/* On how many CPUs this process may run (its affinity), 1 to THREADS_MAX. */
uint32_t threads_n_cpus(void);

/* Whether lb can listen on `n_binds` addresses under the limit of open files. Returns 0, or -EMFILE
 * with the reason in `e`. */
int threads_check_binds(const struct threads *t, size_t n_binds, struct err *e) LB_MUST_CHECK;

/* Computes t->share anew for `n_binds` addresses. Call threads_check_binds() with this number
 * before. */
void threads_set_binds(struct threads *t, size_t n_binds);

struct threads_opts {
	struct fd_need need;
	enum loop_engine engine;
	struct mailbox *main;  /* borrows */
	struct logger *logger; /* borrows */
};

/*
 * threads_new() - make the workers' mailboxes and channels, and the hand-off socket
 *
 * Returns 0 and sets *ret, or a negative errno with the reason in `e`: -EMFILE when the limit of
 * open files is too low.
 */
int threads_new(const struct threads_opts *o, struct err *e, struct threads **ret) LB_MUST_CHECK;

/* Starts all threads, and waits until each has made its worker. Returns 0, or a negative errno with
 * the reason in `e`. After a failure, too, the threads that run have to be ended and joined before
 * threads_free(). */
int threads_start(struct threads *t, struct err *e) LB_MUST_CHECK;

/* Waits until every thread has ended. Call after QUIT was posted to each worker that runs. */
void threads_join(struct threads *t);

/* Frees everything. Call when no thread runs. NULL is fine. Returns NULL. */
struct threads *threads_free(struct threads *t);
