/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arithmetic of open files.
 *
 * Terms. A share is the number of descriptors that one thread may have. When each thread has a
 * descriptor table of its own, RLIMIT_NOFILE holds for each table, and a worker's share is a whole
 * table. When all threads share main's table, RLIMIT_NOFILE holds for the sum of all shares.
 * `fixed` is the number of a worker's descriptors that are neither for sessions nor for listening
 * sockets. The least of a thread is the number of descriptors without which the thread cannot work.
 *
 * fd_share_out() subtracts a thread's least and its listening sockets from the share. The rest is
 * for sessions, FDS_PER_SESSION for each. Pipes for splicing and health checks have bounds of their
 * own (max_pipes, max_checks), so that they never take a session's descriptors. When a worker has
 * descriptors for fewer than MIN_SESSIONS sessions, the limit of open files is too low:
 * fd_share_fit() writes an error with the limit that is needed.
 *
 * No function here makes a system call or keeps a state. So the start, a reload, `lb check` and
 * `lb doctor` get the same numbers from the same input.
 *
 * Thread: main.
 */
#include "daemon/fd_share.h"

#include <errno.h>

#include "proxy/handoff.h"

/* Numbers of descriptors that are not a session's. */
#define STDIO_FDS 3
#define ENGINE_FDS 2      /* the engine's: an io_uring and an epoll instance at most */
#define HANDOFF_FDS 2     /* both ends of the hand-off socket */
#define SPARE_FDS 8       /* for files that are open for a moment only */
#define NEW_LISTEN_FDS 16 /* sockets that a reload may add to a full worker */
#define LOG_FDS 4         /* log and access log, each open twice during a reopen */
#define MAIN_FDS 3        /* the signalfd, and the sockets of the admin socket and admin.http */
#define ADMIN_FDS 128     /* MAX_CLIENTS of admin.c for each of these two sockets ... */
#define ADMIN_SHARE 8     /* ... but at most 1/8 of the limit of open files */
#define CHECK_SHARE 16    /* in one table health checks get 1/16 of the limit */
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

/* How many of `max` descriptors the clients of the admin socket and of admin.http may take. */
static uint32_t admin_fds(uint32_t max)
{
	return max / ADMIN_SHARE < ADMIN_FDS ? max / ADMIN_SHARE : ADMIN_FDS;
}

/* How many descriptors a worker needs beside those of its sessions and its listening sockets. */
static uint64_t least_of_worker(uint32_t max_pipes)
{
	return ENGINE_FDS + SPARE_FDS + NEW_LISTEN_FDS + HANDOFFS_PER_TURN +
	       (uint64_t)max_pipes * FDS_PER_PIPE;
}

/* Fills in a worker's numbers. Each worker may have `max` descriptors; `fixed` of them are neither
 * for sessions nor for listening sockets. */
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

/* Shares out the descriptors when main has a table and each worker has a table of its own. */
static void share_out_tables(const struct fd_need *need, struct fd_share *ret)
{
	uint32_t n = need->n_workers, max = need->max_fds, pipes = pipes_of(max);
	uint64_t main = least_of_main(need);
	/* Descriptors that a worker's thread keeps from main's table. The 1 is the worker's end of
	 * its channel. */
	uint64_t inherited = STDIO_FDS + EVENT_FDS((uint64_t)n) + 1 + HANDOFF_FDS;
	uint64_t fixed = inherited + least_of_worker(pipes);
	uint64_t worker_needs = fixed + need->n_binds + MIN_SESSIONS * FDS_PER_SESSION;
	/* At the start main has the listening sockets of all workers, until main passes them on. */
	uint64_t main_needs = main + (uint64_t)need->n_binds * n;

	*ret = (struct fd_share){
		.n_needed = saturated(worker_needs > main_needs ? worker_needs : main_needs),
		.n_main = saturated(main + admin_fds(max)),
		.max_pipes = pipes,
	};
	/* Of the descriptors that main does not need for itself (n_main), health checks get half.
	 * The other half is for the sockets that a reload binds. */
	ret->max_checks = max > ret->n_main ? (max - ret->n_main) / 2 : 0;
	share_out_worker(need, max, fixed, ret);
}

/*
 * Shares out the descriptors of one table that all threads use. Main, the clients of the admin
 * socket and the health checks get theirs first, and the workers get equal parts of the rest. While
 * main passes a listening socket to a worker, the socket has two descriptors in the table.
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
		/* The additional quarter is for the admin socket's clients (1/8 of the limit) and
		 * the health checks (1/16). */
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
	/* In one table the sum of all shares is within the limit. */
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
