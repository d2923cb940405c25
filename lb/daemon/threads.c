/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's birth: unshare the descriptor table, close what was inherited but for 0 to 2, the
 * mailboxes' and the logger's eventfds, the passage and its own end of its channel, then make the
 * loop and the worker.
 *
 * Thread: main, but for run().
 */
#include "daemon/threads.h"

#include <errno.h>
#include <linux/close_range.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/limits.h"
#include "daemon/logger.h"
#include "daemon/privs.h"
#include "proxy/guest.h"

/* Descriptors a worker keeps for what is not a session. */
#define SPARE_FDS 8   /* for what main passes to it (a full table loses it) */
#define PASSAGE_FDS 2 /* both ends */
#define LISTEN_FDS 16 /* listening sockets, those of a reload included */
#define ENGINE_FDS 2  /* a ring or an epoll instance */
#define MAX_PIPES 64
#define FDS_PER_PIPE 2
#define FDS_PER_SESSION 2
#define MIN_SESSIONS 8

static int by_number(const void *pa, const void *pb)
{
	const int *a = pa, *b = pb;

	return (*a > *b) - (*a < *b);
}

/* Closes all descriptors of this thread's table but the `n` kept ones. */
static void close_all_but(int *keep, size_t n)
{
	int from = 0;

	qsort(keep, n, sizeof(*keep), by_number);
	for (size_t i = 0; i < n; i++) {
		if (keep[i] > from)
			(void)close_range((unsigned)from, (unsigned)keep[i] - 1, 0);
		if (keep[i] >= from)
			from = keep[i] + 1;
	}
	(void)close_range((unsigned)from, ~0u, 0);
}

static int take_own_table(struct thread *t)
{
	struct threads *all = t->all;
	size_t n = 0;
	int *keep = calloc(all->n + 8, sizeof(*keep));

	if (keep == NULL)
		return -ENOMEM;
	if (unshare(CLONE_FILES) < 0) {
		free(keep);
		return -errno;
	}
	for (int fd = 0; fd <= 2; fd++)
		keep[n++] = fd;
	keep[n++] = all->main->wake_fd;
	keep[n++] = logger_wake_fd(all->logger);
	keep[n++] = t->channel[1];
	keep[n++] = all->proxy.passage[0];
	keep[n++] = all->proxy.passage[1];
	for (uint32_t i = 0; i < all->n; i++)
		keep[n++] = all->thread[i].mail.wake_fd;
	close_all_but(keep, n);
	free(keep);
	return 0;
}

static int make_worker(struct thread *t, struct loop **ret_loop)
{
	struct threads *all = t->all;
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
		.max_sessions = all->max_sessions,
		.max_pipes = all->max_pipes,
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
	privs_drop_thread_caps();
	t->result = make_worker(t, &loop);
	/* Release: whoever counts this thread as ready sees its worker and result. */
	atomic_fetch_add_explicit(&t->all->n_ready, 1, memory_order_release);
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

bool threads_share_out(uint32_t n_workers, uint32_t max_fds, struct threads_share *ret)
{
	/* 0 to 2, the eventfds (workers', main's, the logger's), the channel. */
	uint32_t fixed = 3 + (n_workers + 2) + 1 + ENGINE_FDS + SPARE_FDS + LISTEN_FDS +
			 PASSAGE_FDS + GUESTS_PER_TURN;

	*ret = (struct threads_share){ 0 };
	ret->max_pipes = max_fds / 64 < MAX_PIPES ? max_fds / 64 : MAX_PIPES;
	ret->n_own = fixed + ret->max_pipes * FDS_PER_PIPE;
	if (max_fds < ret->n_own + MIN_SESSIONS * FDS_PER_SESSION)
		return false;
	ret->max_sessions = (max_fds - ret->n_own) / FDS_PER_SESSION;
	return true;
}

static int share_out(struct threads *t, uint32_t max_fds, struct err *e)
{
	struct threads_share share;

	if (!threads_share_out(t->n, max_fds, &share))
		return err_add(e, -EMFILE,
			       "the limit of %u open files leaves no room for connections: "
			       "%u workers need %u each (ulimit -n)",
			       max_fds, t->n, share.n_own + MIN_SESSIONS * FDS_PER_SESSION);
	t->max_pipes = share.max_pipes;
	t->max_sessions = share.max_sessions;
	return 0;
}

uint32_t threads_n_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	int n = CPU_COUNT(&set);
	return n < 1 ? 1 : n > THREADS_MAX ? THREADS_MAX : (uint32_t)n;
}

uint32_t threads_count(uint32_t asked, const struct limits *machine)
{
	uint32_t n = threads_n_cpus();
	uint64_t milli = machine->cgroup_cpu_milli;

	if (asked != 0)
		return asked;
	/* At least 1: a quota of no time at all is none that the kernel takes. */
	if (milli <= (uint64_t)(n - 1) * 1000)
		n = milli == 0 ? 1 : (uint32_t)((milli + 999) / 1000);
	return n;
}

/* Packets, so that each descriptor goes with its number; never waits. */
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

int threads_new(uint32_t n, enum loop_engine engine, uint32_t max_fds, struct mailbox *main,
		struct logger *logger, struct err *e, struct threads **ret)
{
	struct threads *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return err_add(e, -ENOMEM, "out of memory");
	t->n = n;
	t->engine = engine;
	t->main = main;
	t->logger = logger;
	int r = share_out(t, max_fds, e);
	if (r < 0) {
		free(t);
		return r;
	}

	r = proxy_init(&t->proxy, n);
	if (r == 0)
		r = open_pair(t->proxy.passage);
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
		t->thread[i].is_started = true;
		/* One after the other: tables are copied while nobody else opens anything. */
		while (atomic_load_explicit(&t->n_ready, memory_order_acquire) <= i)
			(void)usleep(100);
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
	close_end(&t->proxy.passage[0]); /* and with them whoever is still in it */
	close_end(&t->proxy.passage[1]);
	proxy_deinit(&t->proxy);
	free(t->thread);
	free(t);
	return NULL;
}

void threads_order(struct threads *t, uint32_t id, struct mail *m)
{
	mailbox_post(&t->thread[id].mail, m);
}
