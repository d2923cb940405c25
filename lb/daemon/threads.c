/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workers' threads, from the mailboxes to the join.
 *
 * Terms. A descriptor table is the kernel's table of a thread's open files (daemon/fd_table.h). A
 * channel is a pair of Unix sockets on which main passes a worker its listening sockets. A share is
 * the number of open files that a thread may have (daemon/fd_share.h).
 *
 * A thread gets a copy of main's table. So threads_new() opens all descriptors that several threads
 * use before the first thread starts: each worker's mailbox and channel, and the hand-off socket.
 * threads_start() starts one thread after the other and waits until each has made its worker or
 * failed. In run(), make_worker() calls take_own_table(), which copies the table and closes the
 * inherited descriptors. The thread keeps descriptors 0 to 2, the eventfds of the mailboxes and of
 * the logger, the hand-off socket, and the worker's end of its channel. Then make_worker() makes
 * the loop and the worker, and the thread turns the loop until the worker has ended. When a worker
 * cannot be made, the reason is in thread.why, and threads_start() adds it to its `e`.
 *
 * When the system allows no copy of a table, all threads use main's table. Then a thread closes no
 * inherited descriptor, and a descriptor that main passes to a worker gets a second number in the
 * same table.
 *
 * The order of the end is: every worker replies to QUIT, threads_join(), threads_free().
 *
 * Thread: main, but for run() and what run() calls.
 */
#include "daemon/threads.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/fd_table.h"
#include "daemon/host_limits.h"
#include "daemon/logger.h"
#include "daemon/privs.h"

/* Gives the thread its own descriptor table and closes the inherited descriptors that the worker
 * does not use. When all threads share one table, does nothing. Returns 0 or a negative errno. */
static int take_own_table(struct thread *t)
{
	struct threads *all = t->all;
	size_t n = 0;

	if (all->need.is_shared)
		return 0;
	int *keep = calloc(all->n + 8, sizeof(*keep));
	if (keep == NULL)
		return -ENOMEM;
	int r = fd_table_unshare();
	if (r < 0) {
		free(keep);
		return r;
	}
	for (int fd = 0; fd <= 2; fd++)
		keep[n++] = fd;
	keep[n++] = all->main->wake_fd;
	keep[n++] = logger_wake_fd(all->logger);
	keep[n++] = t->channel[1];
	keep[n++] = all->proxy.handoff_fd[0];
	keep[n++] = all->proxy.handoff_fd[1];
	for (uint32_t i = 0; i < all->n; i++)
		keep[n++] = all->thread[i].mail.wake_fd;
	LB_ASSERT(n == all->n + 8); /* `keep` is full */
	fd_table_close_all_but(keep, n);
	free(keep);
	return 0;
}

static int make_worker(struct thread *t, struct loop **ret_loop)
{
	struct threads *all = t->all;

	LB_ASSERT(t->worker == NULL);
	int r = take_own_table(t);

	if (r < 0)
		return err_add(&t->why, r, "worker %u: own descriptor table: %s", t->id,
			       strerror(-r));
	r = loop_new(&(struct loop_opts){ .engine = all->engine }, &t->why, ret_loop);
	if (r < 0)
		return r;

	struct worker_opts o = {
		.id = t->id,
		.proxy = &all->proxy,
		.loop = *ret_loop,
		.mail = &t->mail,
		.main = all->main,
		.channel = t->channel[1],
		.max_sessions = all->share.worker_fds / FDS_PER_SESSION,
		.max_fds = all->share.worker_fds,
		.max_pipes = all->share.max_pipes,
		.log = logger_handle(all->logger, t->id + 1),
		.access = logger_access_fn(all->logger),
		.access_arg = logger_access_arg(all->logger, t->id + 1),
	};
	r = worker_new(&o, &t->worker);
	if (r < 0)
		return err_add(&t->why, r, "worker %u: %s", t->id, strerror(-r));
	t->mail.arg = t->worker;
	r = mailbox_attach(&t->mail, *ret_loop);
	return r < 0 ? err_add(&t->why, r, "worker %u: %s", t->id, strerror(-r)) : 0;
}

static void *run(void *arg)
{
	struct thread *t = arg;
	struct loop *loop = NULL;
	char name[16];

	(void)snprintf(name, sizeof(name), "lb-worker-%u", t->id);
	(void)pthread_setname_np(pthread_self(), name);
	atomic_store_explicit(&t->tid, (int)gettid(), memory_order_relaxed);
	privs_drop_thread_caps();
	t->result = make_worker(t, &loop);
	(void)sem_post(&t->all->ready); /* main reads t->worker and t->result from here on */
	if (t->result == 0) {
		int r = loop_run(loop);
		if (r < 0)
			(void)fprintf(stderr, "lb: worker %u: %s\n", t->id, strerror(-r));
		LB_ASSERT(r == 0);
	}
	t->worker = worker_free(t->worker);
	loop_free(loop);
	return NULL;
}

/* ---- main's side ----------------------------------------------------------------------------- */

static struct fd_need with_binds(const struct threads *t, size_t n_binds)
{
	struct fd_need need = t->need;

	need.n_binds = n_binds < UINT32_MAX ? (uint32_t)n_binds : UINT32_MAX;
	return need;
}

int threads_check_binds(const struct threads *t, size_t n_binds, struct err *e)
{
	const struct fd_need need = with_binds(t, n_binds);
	struct fd_share share;

	return fd_share_fit(&need, &share, e);
}

void threads_set_binds(struct threads *t, size_t n_binds)
{
	t->need = with_binds(t, n_binds);
	LB_ASSERT(t->need.n_workers == t->n);
	bool is_enough = fd_share_out(&t->need, &t->share);
	LB_ASSERT(is_enough); /* threads_check_binds() has checked n_binds */
}

uint32_t threads_n_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	int n = CPU_COUNT(&set);
	return n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : (uint32_t)n;
}

uint32_t threads_count(uint32_t asked, const struct host_limits *machine)
{
	uint32_t n = threads_n_cpus();
	uint64_t milli = machine->cgroup_cpu_milli;

	if (asked != 0)
		return asked;
	/* The kernel accepts no quota of 0. When a file of `machine` has one all the same, lb
	 * starts one worker. */
	if (milli <= (uint64_t)(n - 1) * 1000)
		n = milli == 0 ? 1 : (uint32_t)((milli + 999) / 1000);
	return n;
}

/* Makes a socket pair by which descriptors are passed. It is of type SOCK_SEQPACKET, so that each
 * descriptor stays in one message with the number that is sent with it. */
static int open_pair(int ends[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0
		       ? -errno
		       : 0;
}

static int open_thread(struct threads *all, uint32_t id)
{
	struct thread *t = &all->thread[id];

	t->all = all;
	t->id = id;
	t->channel[0] = t->channel[1] = -1;
	int r = mailbox_open(&t->mail, NULL);
	return r == 0 ? open_pair(t->channel) : r;
}

int threads_new(const struct threads_opts *o, struct err *e, struct threads **ret)
{
	struct threads *t = calloc(1, sizeof(*t));
	uint32_t n = o->need.n_workers;

	LB_ASSERT(n > 0 && o->main != NULL && o->logger != NULL);
	if (t == NULL)
		return err_add(e, -ENOMEM, "out of memory");
	t->n = n;
	t->engine = o->engine;
	t->main = o->main;
	t->logger = o->logger;
	t->need = o->need;
	(void)sem_init(&t->ready, 0, 0);
	int r = fd_share_fit(&t->need, &t->share, e);
	if (r < 0) {
		(void)sem_destroy(&t->ready);
		free(t);
		return r;
	}

	r = proxy_init(&t->proxy, n);
	if (r == 0)
		r = open_pair(t->proxy.handoff_fd);
	t->thread = calloc(n, sizeof(*t->thread));
	if (t->thread == NULL)
		r = -ENOMEM;
	for (uint32_t i = 0; i < n && r == 0; i++) {
		t->thread[i].mail.wake_fd = -1;
		r = open_thread(t, i);
	}
	if (r < 0) {
		threads_free(t);
		return err_add(e, r, "workers: %s", strerror(-r));
	}
	*ret = t;
	return 0;
}

int threads_start(struct threads *t, struct err *e)
{
	for (uint32_t i = 0; i < t->n; i++) {
		int r = pthread_create(&t->thread[i].handle, NULL, run, &t->thread[i]);
		if (r != 0)
			return err_add(e, -r, "worker %u: cannot start its thread: %s", i,
				       strerror(r));
		LB_ASSERT(!t->thread[i].is_started);
		t->thread[i].is_started = true;
		/* The next thread is started only when this one is ready, so that no thread opens
		 * descriptors while another thread copies main's table. */
		while (sem_wait(&t->ready) < 0)
			LB_ASSERT(errno == EINTR);
		LB_ASSERT(t->thread[i].result < 0 || t->thread[i].worker != NULL);
	}
	for (uint32_t i = 0; i < t->n; i++) {
		const struct thread *th = &t->thread[i];
		if (th->result < 0)
			return err_add(e, th->result, "%s",
				       th->why.n_kept > 0 ? th->why.item[0].text : "worker failed");
	}
	return 0;
}

void threads_join(struct threads *t)
{
	for (uint32_t i = 0; i < t->n; i++) {
		if (t->thread[i].is_started)
			(void)pthread_join(t->thread[i].handle, NULL);
		t->thread[i].is_started = false;
		LB_ASSERT(t->thread[i].worker == NULL); /* run() has freed it */
	}
}

static void close_end(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

struct threads *threads_free(struct threads *t)
{
	if (t == NULL)
		return NULL;
	for (uint32_t i = 0; t->thread != NULL && i < t->n && t->thread[i].all != NULL; i++) {
		struct thread *th = &t->thread[i];
		LB_ASSERT(!th->is_started);
		mailbox_close(&th->mail);
		close_end(&th->channel[0]);
		close_end(&th->channel[1]);
		err_deinit(&th->why);
	}
	close_end(&t->proxy.handoff_fd[0]); /* also closes connections in the queue */
	close_end(&t->proxy.handoff_fd[1]);
	proxy_deinit(&t->proxy);
	(void)sem_destroy(&t->ready);
	free(t->thread);
	free(t);
	return NULL;
}
