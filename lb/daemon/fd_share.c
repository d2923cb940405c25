/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arithmetic of open files.
 *
 * Terms. A share is the number of descriptors that one thread may have. Where each thread has a
 * descriptor table of its own, RLIMIT_NOFILE holds for each table, and a worker's share is a whole
 * table; where all threads share main's table, the limit holds for the sum of all shares. `fixed`
 * descriptors of a worker are neither for sessions nor for listening sockets. The least of a thread
 * is the number of descriptors without which it cannot do its work at all.
 *
 * fd_share_out() takes from a table the least, then the listening sockets, and gives the rest to
 * the sessions, FDS_PER_SESSION to each. A pipe for splicing and a health check have a bound of
 * their own (max_pipes, max_checks), so that neither takes a session's descriptors. Where fewer
 * than MIN_SESSIONS sessions are left to a worker, the limit is too low: fd_share_fit() says so in
 * words, with the number that is needed.
 *
 * No function here makes a system call or keeps a state: the start, a reload, `lb check` and
 * `lb doctor` get the same numbers from the same input.
 *
 * Thread: main.
 */
#include "daemon/fd_share.h"

#include <errno.h>

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
#define MIN_SESSIONS 8

/* The descriptors that the main thread needs, without those of the admin socket's clients. */
static uint64_t least_of_main(const struct fd_need *need)
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
static void share_out_worker(const struct fd_need *need, uint64_t max, uint64_t fixed,
			     struct fd_share *ret)
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
static void share_out_tables(const struct fd_need *need, struct fd_share *ret)
{
	uint32_t n = need->n_workers, max = need->max_fds, pipes = pipes_of(max);
	uint64_t main = least_of_main(need);
	/* Descriptors made before the thread began. Of its channel a worker keeps one end. */
	uint64_t inherited = STDIO_FDS + EVENT_FDS((uint64_t)n) + 1 + HANDOFF_FDS;
	uint64_t fixed = inherited + least_of_worker(pipes);
	uint64_t worker_needs = fixed + need->n_binds + MIN_SESSIONS * FDS_PER_SESSION;
	/* At the start main binds the sockets of all workers, and then passes them on. */
	uint64_t main_needs = main + (uint64_t)need->n_binds * n;

	*ret = (struct fd_share){
		.n_needed = saturated(worker_needs > main_needs ? worker_needs : main_needs),
		.n_main = saturated(main + admin_fds(max)),
		.max_pipes = pipes,
	};
	/* Half of what main has left; the other half is for the sockets that a reload binds. */
	ret->max_checks = max > ret->n_main ? (max - ret->n_main) / 2 : 0;
	share_out_worker(need, max, fixed, ret);
}

/*
 * One table for all: main's part, with the admin socket's clients, comes off first; the workers
 * have equal parts of the rest. A socket that main passes on is in the table twice for a moment.
 */
static void share_out_one_table(const struct fd_need *need, struct fd_share *ret)
{
	uint32_t n = need->n_workers, max = need->max_fds;
	uint64_t main = least_of_main(need);
	uint64_t all = main + admin_fds(max) + max / CHECK_SHARE;
	uint64_t each = max > all ? (max - all) / n : 0;
	uint32_t pipes = pipes_of(each), binds = need->n_binds;
	uint64_t sockets =
		MIN_SESSIONS * FDS_PER_SESSION > binds ? MIN_SESSIONS * FDS_PER_SESSION : binds;
	uint64_t least = main + n * (least_of_worker(pipes) + binds + sockets);

	*ret = (struct fd_share){
		/* A quarter more, for the parts of the admin socket's clients and of the checks. */
		.n_needed = saturated(least + least / 4),
		.n_main = saturated(all),
		.max_pipes = pipes,
		.max_checks = max / CHECK_SHARE,
	};
	share_out_worker(need, each, least_of_worker(pipes), ret);
}

bool fd_share_out(const struct fd_need *need, struct fd_share *ret)
{
	LB_ASSERT(need->n_workers > 0);
	if (need->is_shared)
		share_out_one_table(need, ret);
	else
		share_out_tables(need, ret);
	uint64_t worker = ret->n_own + (uint64_t)ret->max_sessions * FDS_PER_SESSION;
	LB_ASSERT(ret->worker_fds >= ret->max_sessions * FDS_PER_SESSION);
	LB_ASSERT(ret->max_sessions == 0 || worker <= need->max_fds);
	/* In one table the shares of main and of all workers fit together. */
	LB_ASSERT(!need->is_shared || ret->max_sessions == 0 ||
		  ret->n_main + worker * need->n_workers <= need->max_fds);
	if (ret->max_sessions == 0 || need->max_fds < ret->n_needed) {
		ret->worker_fds = ret->max_sessions = ret->max_pipes = 0;
		return false;
	}
	return true;
}

int fd_share_fit(const struct fd_need *need, struct fd_share *ret, struct err *e)
{
	if (fd_share_out(need, ret))
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
