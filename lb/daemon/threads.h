/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Threads: a worker on each, with a descriptor table of its own; where the system allows none, all
 * threads share main's.
 *
 * Descriptors that several threads use are made here before the first thread starts, so that they
 * have the same number in every table: each worker's mailbox, for each worker a socketpair on which
 * main passes it its listening sockets, and for all workers one socketpair on which a full worker
 * passes connections to another.
 *
 * Thread: main. Layer: daemon.
 */

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

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
	_Atomic int tid; /* the kernel's number of it, once it runs */
	struct mailbox mail;
	int channel[2]; /* [0] main's end, [1] the worker's */
	struct worker
		*worker; /* made and freed on the thread; main reads its stats while it runs */
	int result;      /* of its start: 0, or a negative errno with the reason in `why` */
	struct err why;
};

/* What decides how the open files that lb may have are shared out. */
struct threads_need {
	uint32_t n_workers;
	uint32_t n_binds; /* addresses that listen: each worker has a socket for each */
	uint32_t max_fds; /* the limit of open files, which holds for each table */
	bool is_shared;   /* all threads share one table: the system allows no others */
};

/* How the open files are shared out. */
struct threads_share {
	uint32_t n_needed;     /* open files that the limit must allow at the least */
	uint32_t n_own;        /* a worker's descriptors that are not a session's */
	uint32_t n_main;       /* the main thread's, and what all have where they share a table */
	uint32_t worker_fds;   /* a worker's descriptors for its sessions and listening sockets */
	uint32_t max_sessions; /* of a worker beside its listening sockets */
	uint32_t max_pipes;    /* of a worker */
	uint32_t max_checks;   /* health checks that main may have under way */
};

struct threads {
	uint32_t n;
	struct thread *thread; /* owns */
	enum loop_engine engine;
	struct proxy proxy;         /* shared by the workers */
	struct mailbox *main;       /* borrows */
	struct logger *logger;      /* borrows */
	struct threads_need need;   /* as things are now */
	struct threads_share share; /* by it */
	sem_t ready; /* posted by each thread once its worker is made, or could not be */
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

/*
 * threads_unshare_table() - a descriptor table of its own for the calling thread
 *
 * The descriptors that the thread has stay open in the new table. Where the thread is the only one
 * of its process, nothing changes, so that main can try it before it starts a thread. Returns 0 or
 * a negative errno: -EPERM or -ENOSYS where seccomp or an old kernel refuses both ways to do it
 * (Linux 5.9 has what lb needs).
 */
int threads_unshare_table(void) LB_MUST_CHECK;

/* Shares out `max_fds` open files. False: they are fewer than ret->n_needed. */
bool threads_share_out(const struct threads_need *need, struct threads_share *ret);

/* As threads_share_out(), but returns 0, or -EMFILE with the reason in `e` where they are fewer. */
int threads_fit(const struct threads_need *need, struct threads_share *ret, struct err *e);

/* Whether `n_binds` addresses can listen under the limit of open files; if not, why is in `e`. */
int threads_check_binds(const struct threads *t, size_t n_binds, struct err *e) LB_MUST_CHECK;

/* `n_binds` addresses listen from now on: t->share follows. Call threads_check_binds() before. */
void threads_set_binds(struct threads *t, size_t n_binds);

struct threads_opts {
	struct threads_need need;
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

/* Starts all and waits until each has its loop. On failure the reason is in `e`; then
 * threads_free(). */
int threads_start(struct threads *t, struct err *e) LB_MUST_CHECK;

/* Waits for all to end (each has been told to quit). */
void threads_join(struct threads *t);

/* NULL is fine. Returns NULL. No thread may run. */
struct threads *threads_free(struct threads *t);
