/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's birth: the thread unshares the descriptor table and closes what it inherited, except
 * descriptors 0 to 2, the eventfds of the mailboxes and of the logger, the hand-off socket, and its
 * own end of its channel. Then it makes the loop and the worker. Where no table can be unshared,
 * all threads use main's table: a thread closes nothing then, and a descriptor that main passes to
 * a worker gets a second number in the same table.
 *
 * Thread: main, but for run().
 */
#include "daemon/threads.h"

#include <errno.h>
#include <limits.h>
#include <linux/close_range.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/host_limits.h"
#include "daemon/logger.h"
#include "daemon/privs.h"
#include "proxy/handoff.h"

/* Descriptors that are not a session's. */
#define STDIO_FDS 3
#define ENGINE_FDS 2           /* a ring or an epoll instance */
#define HANDOFF_FDS 2          /* both ends */
#define SPARE_FDS 8            /* for what is open for a moment */
#define NEW_LISTEN_FDS 16      /* sockets that a reload may add to a full worker */
#define LOG_FDS 4              /* log and access log, each twice while it is opened again */
#define MAIN_FDS 3             /* the signals', and two that the admin socket and HTTP listen on */
#define ADMIN_FDS 128          /* clients of these two (MAX_CLIENTS of admin.c) ... */
#define ADMIN_SHARE 8          /* ... but no more than this part of all */
#define CHECK_SHARE 16         /* the part of health checks, where all threads share one table */
#define EVENT_FDS(n) ((n) + 2) /* an eventfd of each worker, of main and of the logger */

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

/*
 * Gives the calling thread a descriptor table of its own. Without close_range(2) such a table would
 * be of no use, because the thread could not close what it inherited: the first call tells whether
 * the kernel has it, and closes nothing, because no descriptor has a number that high. Seccomp
 * profiles of containers refuse unshare(2) and allow the last call. The last call is not the first
 * way, because valgrind skips a range without a descriptor, and the flag with it, and returns 0.
 */
int threads_unshare_table(void)
{
	if (close_range(INT_MAX, ~0u, 0) < 0)
		return -errno;
	if (unshare(CLONE_FILES) == 0)
		return 0;
	return close_range(INT_MAX, ~0u, CLOSE_RANGE_UNSHARE) < 0 ? -errno : 0;
}

/* Where all threads share one table, main owns every descriptor, and there is nothing to do. */
static int take_own_table(struct thread *t)
{
	struct threads *all = t->all;
	size_t n = 0;

	if (all->need.is_shared)
		return 0;
	int *keep = calloc(all->n + 8, sizeof(*keep));
	if (keep == NULL)
		return -ENOMEM;
	int r = threads_unshare_table();
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
	(void)sem_post(&t->all->ready); /* main sees t->worker and t->result from here on */
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

/* The descriptors that the main thread needs, without those of the admin socket's clients. */
static uint64_t least_of_main(const struct threads_need *need)
{
	uint64_t n = need->n_workers;

	return STDIO_FDS + LOG_FDS + EVENT_FDS(n) + 2 * n + HANDOFF_FDS + ENGINE_FDS + MAIN_FDS +
	       SPARE_FDS;
}

static uint32_t saturated(uint64_t n)
{
	return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

/* How many of `max` descriptors the admin socket's clients may take. */
static uint32_t admin_fds(uint32_t max)
{
	return max / ADMIN_SHARE < ADMIN_FDS ? max / ADMIN_SHARE : ADMIN_FDS;
}

/* The descriptors that a worker needs for itself, without its listening sockets. */
static uint64_t least_of_worker(uint32_t max_pipes)
{
	return ENGINE_FDS + SPARE_FDS + NEW_LISTEN_FDS + HANDOFFS_PER_TURN +
	       (uint64_t)max_pipes * FDS_PER_PIPE;
}

/* Each worker has `max` descriptors of its own, `fixed` of them for neither sessions nor listening
 * sockets. */
static void share_out_worker(const struct threads_need *need, uint64_t max, uint64_t fixed,
			     struct threads_share *ret)
{
	uint64_t own = fixed + need->n_binds;

	ret->n_own = saturated(own);
	if (max < own + MIN_SESSIONS * FDS_PER_SESSION)
		return;
	ret->worker_fds = (uint32_t)(max - fixed);
	ret->max_sessions = (uint32_t)(max - own) / FDS_PER_SESSION;
}

static uint32_t pipes_of(uint64_t max)
{
	return max / 64 < MAX_PIPES ? (uint32_t)(max / 64) : MAX_PIPES;
}

/* A table for main and one for each worker. */
static void share_out_tables(const struct threads_need *need, struct threads_share *ret)
{
	uint32_t n = need->n_workers, max = need->max_fds, pipes = pipes_of(max);
	uint64_t main = least_of_main(need);
	/* Descriptors made before the thread began; of its channel the worker keeps its own end. */
	uint64_t inherited = STDIO_FDS + EVENT_FDS((uint64_t)n) + 1 + HANDOFF_FDS;
	uint64_t fixed = inherited + least_of_worker(pipes);
	uint64_t worker_needs = fixed + need->n_binds + MIN_SESSIONS * FDS_PER_SESSION;
	/* At the start main binds the sockets of all workers, and then passes them on. */
	uint64_t main_needs = main + (uint64_t)need->n_binds * n;

	*ret = (struct threads_share){
		.n_needed = saturated(worker_needs > main_needs ? worker_needs : main_needs),
		.n_main = saturated(main + admin_fds(max)),
		.max_pipes = pipes,
	};
	/* The other half is left for the sockets that a reload binds. */
	ret->max_checks = max > ret->n_main ? (max - ret->n_main) / 2 : 0;
	share_out_worker(need, max, fixed, ret);
}

/*
 * One table for all: main's part, with the admin socket's clients, comes off first; the workers
 * have equal parts of the rest. A socket that main passes on is in the table twice for a moment.
 */
static void share_out_one_table(const struct threads_need *need, struct threads_share *ret)
{
	uint32_t n = need->n_workers, max = need->max_fds;
	uint64_t main = least_of_main(need);
	uint64_t all = main + admin_fds(max) + max / CHECK_SHARE;
	uint64_t each = max > all ? (max - all) / n : 0;
	uint32_t pipes = pipes_of(each), binds = need->n_binds;
	uint64_t sockets =
		MIN_SESSIONS * FDS_PER_SESSION > binds ? MIN_SESSIONS * FDS_PER_SESSION : binds;
	uint64_t least = main + n * (least_of_worker(pipes) + binds + sockets);

	*ret = (struct threads_share){
		/* A quarter more, for the parts of the admin socket's clients and of the checks. */
		.n_needed = saturated(least + least / 4),
		.n_main = saturated(all),
		.max_pipes = pipes,
		.max_checks = max / CHECK_SHARE,
	};
	share_out_worker(need, each, least_of_worker(pipes), ret);
}

bool threads_share_out(const struct threads_need *need, struct threads_share *ret)
{
	if (need->is_shared)
		share_out_one_table(need, ret);
	else
		share_out_tables(need, ret);
	LB_ASSERT(ret->worker_fds >= ret->max_sessions * FDS_PER_SESSION);
	if (ret->max_sessions == 0 || need->max_fds < ret->n_needed) {
		ret->worker_fds = ret->max_sessions = ret->max_pipes = 0;
		return false;
	}
	return true;
}

int threads_fit(const struct threads_need *need, struct threads_share *ret, struct err *e)
{
	if (threads_share_out(need, ret))
		return 0;
	return err_add(
		e, -EMFILE,
		"the limit of %u open files leaves no room for connections: %u worker%s with "
		"%u listening address%s need%s %u%s; raise it (\"ulimit -n\" in a shell, "
		"LimitNOFILE= in a unit of systemd, --ulimit nofile= for a container), or "
		"set fewer workers",
		need->max_fds, need->n_workers, need->n_workers == 1 ? "" : "s", need->n_binds,
		need->n_binds == 1 ? "" : "es", need->n_workers == 1 ? "s" : "", ret->n_needed,
		need->is_shared ? " in one table" : "");
}

static struct threads_need with_binds(const struct threads *t, size_t n_binds)
{
	struct threads_need need = t->need;

	need.n_binds = saturated(n_binds);
	return need;
}

int threads_check_binds(const struct threads *t, size_t n_binds, struct err *e)
{
	const struct threads_need need = with_binds(t, n_binds);
	struct threads_share share;

	return threads_fit(&need, &share, e);
}

void threads_set_binds(struct threads *t, size_t n_binds)
{
	t->need = with_binds(t, n_binds);
	bool is_enough = threads_share_out(&t->need, &t->share);
	LB_ASSERT(is_enough); /* threads_check_binds() was called */
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
	/* The kernel takes no quota of 0; should a file say so all the same, it means 1 CPU. */
	if (milli <= (uint64_t)(n - 1) * 1000)
		n = milli == 0 ? 1 : (uint32_t)((milli + 999) / 1000);
	return n;
}

/* SEQPACKET, so that each descriptor stays with the number that is sent with it; never blocks. */
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

	if (t == NULL)
		return err_add(e, -ENOMEM, "out of memory");
	t->n = n;
	t->engine = o->engine;
	t->main = o->main;
	t->logger = o->logger;
	t->need = o->need;
	(void)sem_init(&t->ready, 0, 0);
	int r = threads_fit(&t->need, &t->share, e);
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
		/* One after the other: a table is copied while no other thread opens anything. */
		while (sem_wait(&t->ready) < 0)
			LB_ASSERT(errno == EINTR);
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
	close_end(&t->proxy.handoff_fd[0]); /* closes the connections that are still in it, too */
	close_end(&t->proxy.handoff_fd[1]);
	proxy_deinit(&t->proxy);
	(void)sem_destroy(&t->ready);
	free(t->thread);
	free(t);
	return NULL;
}
