/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../suite.h"
#include "../until.h"
#include "daemon/host_limits.h"
#include "daemon/logger.h"
#include "daemon/threads.h"
#include "proxy/listener.h"
#include "proxy/message_conf.h"
#include "proxy/message_conns.h"
#include "proxy/message_stop.h"

#define MAX_FDS 1024
#define N 3

static struct loop *loop; /* main's */
static struct mailbox mail;
static struct logger *logger;
static int n_fds_before;

/* Open descriptors of a thread's table. */
static int n_fds_of(pid_t tid)
{
	char path[64];
	int n = 0;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/fd", (int)tid);
	DIR *d = opendir(path);
	ck_assert_ptr_nonnull(d);
	for (struct dirent *e; (e = readdir(d)) != NULL;)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static void setup(void)
{
	static char to[] = "stderr";
	const struct conf_log log = { .is_on = true, .level = LOG_LEVEL_ERR, .to = to };
	const struct conf_log none = { 0 };
	struct err e = ERR_INIT;

	n_fds_before = n_fds_of(getpid());
	ck_assert_int_eq(loop_new(&(struct loop_opts){ .engine = LOOP_EPOLL }, &e, &loop), 0);
	ck_assert_int_eq(mailbox_open(&mail, NULL), 0);
	ck_assert_int_eq(mailbox_attach(&mail, loop), 0);
	ck_assert_int_eq(logger_open(&log, &none, 257, &e, &logger), 0);
	ck_assert_int_eq(logger_start(logger), 0);
	err_deinit(&e);
}

static void teardown(void)
{
	mailbox_close(&mail);
	loop_free(loop);
	logger_stop(logger);
	ck_assert_int_eq(n_fds_of(getpid()), n_fds_before);
}

static struct threads *made(uint32_t n, enum loop_engine engine)
{
	struct err e = ERR_INIT;
	struct threads *t = NULL;

	ck_assert_int_eq(threads_new(
				 &(struct threads_opts){
					 .need = { .n_workers = n, .max_fds = MAX_FDS },
					 .engine = engine,
					 .main = &mail,
					 .logger = logger,
				 },
				 &e, &t),
			 0);
	ck_assert_uint_eq(e.n, 0);
	ck_assert_uint_eq(t->n, n);
	ck_assert_uint_eq(t->proxy.n_workers, n);
	return t;
}

static int n_replies;

static void on_reply(struct message *m, void *arg)
{
	(void)arg;
	n_replies++;
	message_free(m);
}

static struct message *conns_for(uint32_t worker)
{
	return &message_conns_new(worker, &(struct conn_filter){ .limit = 1 })->base;
}

static struct message *quit_for(uint32_t worker)
{
	return &message_quit_new(worker)->base;
}

/* Asks all workers for something, and waits for their replies. */
static void ask_all(struct threads *t, struct message *(*make)(uint32_t worker))
{
	n_replies = 0;
	for (uint32_t i = 0; i < t->n; i++) {
		struct message *m = make(i);
		ck_assert_ptr_nonnull(m);
		m->done = on_reply;
		mailbox_post(&t->thread[i].mail, &m->mail);
	}
	STEP_UNTIL(n_replies >= (int)t->n, ck_assert_int_eq(loop_turn(loop, 5), 0));
	ck_assert_int_eq(n_replies, (int)t->n);
}

/* ---- the share of a table -------------------------------------------------------------------- */

START_TEST(auto_is_a_worker_for_each_cpu)
{
	const struct host_limits machine = { .cgroup_cpu_milli = HOST_LIMITS_NONE };
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	ck_assert_uint_eq(threads_count(7, &machine), 7);
	ck_assert_uint_ge(threads_n_cpus(), 1);
	ck_assert_uint_le(threads_n_cpus(), (uint32_t)(n < THREADS_MAX ? n : THREADS_MAX));
	ck_assert_uint_eq(threads_count(0, &machine), threads_n_cpus());
}
END_TEST

static const struct {
	uint64_t milli;
	uint32_t want; /* where the process may run on more CPUs */
} quotas[] = {
	{ 0, 1 },
	{ 1, 1 },
	{ 500, 1 },
	{ 999, 1 },
	{ 1000, 1 },
	{ 1001, 2 },
	{ 1500, 2 },
	{ 2000, 2 },
	{ 2001, 3 },
	{ 255999, 256 },
	{ 1ull << 40, UINT32_MAX },
};

/* A quota counts only where "auto" is asked for, and where it grants less than there are CPUs. */
START_TEST(auto_counts_the_quota_of_cpu_time)
{
	const struct host_limits machine = { .cgroup_cpu_milli = quotas[_i].milli };
	uint32_t n = threads_n_cpus();

	ck_assert_msg(threads_count(0, &machine) == (quotas[_i].want < n ? quotas[_i].want : n),
		      "%llu: %u", (unsigned long long)quotas[_i].milli, threads_count(0, &machine));
	ck_assert_uint_eq(threads_count(7, &machine), 7);
}
END_TEST

/* The share is what a worker gets, and says what it needs where it gets nothing. */
START_TEST(a_share_is_known_before)
{
	struct fd_share s;

	ck_assert(fd_share_out(&(struct fd_need){ .n_workers = 3, .max_fds = MAX_FDS }, &s));
	struct threads *t = made(3, LOOP_EPOLL);
	ck_assert_uint_eq(s.max_sessions, t->share.max_sessions);
	ck_assert_uint_eq(s.max_pipes, t->share.max_pipes);
	ck_assert_uint_le(s.n_own + 2 * s.max_sessions, MAX_FDS);
	ck_assert_uint_gt(s.n_own + 2 * (s.max_sessions + 1), MAX_FDS);
	threads_free(t);
	ck_assert(!fd_share_out(&(struct fd_need){ .n_workers = 3, .max_fds = 20 }, &s));
	ck_assert_uint_eq(s.max_sessions, 0);
	ck_assert_uint_gt(s.n_own, 20);
}
END_TEST

/* Two listening sockets take the slot of a session; a reload adds and removes some. */
START_TEST(a_share_follows_the_listeners)
{
	struct err e = ERR_INIT;
	struct threads *t = made(2, LOOP_EPOLL);
	uint32_t most = t->share.max_sessions;

	threads_set_binds(t, 100);
	ck_assert_uint_eq(t->share.max_sessions, most - 50);
	ck_assert_int_eq(threads_check_binds(t, 400, &e), 0);
	ck_assert_uint_eq(t->share.max_sessions, most - 50);
	ck_assert_int_eq(threads_check_binds(t, 1000, &e), -EMFILE);
	ck_assert_uint_eq(e.n, 1);
	ck_assert_ptr_nonnull(strstr(e.item[0].text, "2 workers with 1000 listening addresses"));
	threads_set_binds(t, 0);
	ck_assert_uint_eq(t->share.max_sessions, most);
	threads_free(t);
	err_deinit(&e);
}
END_TEST

/* ---- running --------------------------------------------------------------------------------- */

static const enum loop_engine engines[] = { LOOP_EPOLL, LOOP_URING };
static int n_engines = 1;

START_TEST(workers_start_answer_and_end)
{
	struct err e = ERR_INIT;
	struct threads *t = made(N, engines[_i]);

	ck_assert_int_eq(threads_start(t, &e), 0);
	ck_assert_uint_eq(e.n, 0);
	for (uint32_t i = 0; i < N; i++) {
		const struct worker *w = t->thread[i].worker;
		ck_assert_ptr_nonnull(w);
		ck_assert_uint_eq(w->id, i);
		ck_assert_ptr_eq(w->proxy, &t->proxy);
		ck_assert_uint_eq(w->capacity->n_slots, t->share.max_sessions);
		ck_assert_uint_eq(counter_read(&w->stats->active), 0);
	}
	ask_all(t, conns_for);
	ask_all(t, message_stop_new);
	ask_all(t, quit_for);
	threads_join(t);
	threads_join(t); /* once more is fine */
	for (uint32_t i = 0; i < N; i++)
		ck_assert_ptr_null(t->thread[i].worker);
	ck_assert_ptr_null(threads_free(t));
}
END_TEST

/* As a container may have it: workers lay nothing out for connections that they do not have. */
START_TEST(a_huge_limit_is_fine)
{
	struct err e = ERR_INIT;
	struct threads *t = NULL;
	struct threads_opts o = {
		.need = { .n_workers = N, .n_binds = 1, .max_fds = 1073741816 },
		.engine = engines[_i],
		.main = &mail,
		.logger = logger,
	};

	ck_assert_int_eq(threads_new(&o, &e, &t), 0);
	int r = threads_start(t, &e);
	ck_assert_msg(r == 0, "%s", e.n_kept > 0 ? e.item[0].text : "no reason");
	ask_all(t, quit_for);
	threads_join(t);
	threads_free(t);
}
END_TEST

static struct message *stop_for(uint32_t worker)
{
	return message_stop_new(worker);
}

static struct message *adopt_for(uint32_t worker)
{
	return &message_adopt_new(worker, 1)->base;
}

static void post_to(struct threads *t, uint32_t worker, struct message *m)
{
	ck_assert_ptr_nonnull(m);
	m->done = on_reply;
	mailbox_post(&t->thread[worker].mail, &m->mail);
}

/* A message that comes when its worker has ended, or has never begun, is freed and does not run. */
START_TEST(undelivered_messages_are_dropped)
{
	struct err e = ERR_INIT;
	struct threads *t = made(N, engines[_i]);

	ck_assert_int_eq(threads_start(t, &e), 0);
	ask_all(t, quit_for);
	threads_join(t);
	post_to(t, 0, stop_for(0));
	post_to(t, 0, conns_for(0));
	post_to(t, N - 1, adopt_for(N - 1));
	threads_free(t);
	t = made(N, engines[_i]);
	post_to(t, 1, stop_for(1));
	threads_free(t);
	ck_assert_int_eq(n_replies, N); /* those of ask_all() */
	err_deinit(&e);
}
END_TEST

START_TEST(never_started_is_fine)
{
	struct threads *t = made(N, LOOP_EPOLL);
	threads_join(t);
	ck_assert_ptr_null(threads_free(t));
	ck_assert_ptr_null(threads_free(NULL));
}
END_TEST

/* ---- tables ---------------------------------------------------------------------------------- */

/* The threads of this process whose name says that they are workers. */
static int find_workers(pid_t tids[N])
{
	int n = 0;
	DIR *d = opendir("/proc/self/task");

	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		char path[300], name[32] = "";
		(void)snprintf(path, sizeof(path), "/proc/self/task/%s/comm", e->d_name);
		FILE *f = e->d_name[0] != '.' ? fopen(path, "r") : NULL;
		if (f == NULL)
			continue;
		if (fgets(name, sizeof(name), f) != NULL && strncmp(name, "lb-worker-", 10) == 0) {
			ck_assert_int_lt(n, N);
			tids[n++] = (pid_t)atoi(e->d_name);
		}
		(void)fclose(f);
	}
	closedir(d);
	return n;
}

/* A worker keeps 0 to 2, the eventfds, the hand-off socket and its own end of its channel; it does
 * not share a table. */
START_TEST(tables_are_their_own)
{
	enum { N_EXTRA = 50 };
	struct err e = ERR_INIT;
	pid_t tids[N];
	int extra[N_EXTRA], before[N];

	for (int i = 0; i < N_EXTRA; i++) /* open at birth: closed there again */
		ck_assert_int_ge(extra[i] = dup(0), 0);
	struct threads *t = made(N, engines[_i]);
	ck_assert_int_eq(threads_start(t, &e), 0);
	ck_assert_int_eq(find_workers(tids), N);
	for (int i = 0; i < N; i++) {
		before[i] = n_fds_of(tids[i]);
		/* 0 to 2, N + 2 eventfds, channel, hand-off socket, and the engine's: two at most.
		 */
		ck_assert_int_ge(before[i], 3 + N + 2 + 1 + 2 + 1);
		ck_assert_int_le(before[i], 3 + N + 2 + 1 + 2 + 2);
	}
	for (int i = 0; i < N_EXTRA; i++) /* open later: not seen there */
		close(extra[i]);
	for (int i = 0; i < N_EXTRA; i++)
		ck_assert_int_ge(extra[i] = dup(0), 0);
	for (int i = 0; i < N; i++)
		ck_assert_int_eq(n_fds_of(tids[i]), before[i]);
	for (int i = 0; i < N_EXTRA; i++)
		close(extra[i]);
	ask_all(t, quit_for);
	threads_join(t);
	threads_free(t);
}
END_TEST

/* A descriptor goes into a worker's table by its channel only. */
START_TEST(sockets_are_passed_to_one_table)
{
	struct addr any = { .family = AF_INET, .v4 = { 127, 0, 0, 1 } };
	struct err e = ERR_INIT;
	pid_t tids[N];
	int before[N], fd = loop_socket(loop, AF_INET, SOCK_STREAM);

	struct threads *t = made(N, engines[_i]);
	ck_assert_int_eq(threads_start(t, &e), 0);
	ask_all(t, message_abort_new); /* all have turned once */
	ck_assert_int_eq(find_workers(tids), N);
	for (int i = 0; i < N; i++)
		before[i] = n_fds_of(tids[i]);

	struct listener *l = listener_new(7, &any, "l", N);
	struct message_adopt *m = message_adopt_new(1, 1);
	message_adopt_add(m, l);
	listener_unref(l);
	m->base.done = on_reply;
	n_replies = 0;
	ck_assert_int_eq(loop_pass_fd(loop, t->thread[1].channel[0], fd, 7), 0);
	mailbox_post(&t->thread[1].mail, &m->base.mail);
	STEP_UNTIL(n_replies > 0, ck_assert_int_eq(loop_turn(loop, 5), 0));
	ck_assert_int_eq(n_replies, 1);
	/* It takes a session's slot there. */
	ck_assert_uint_eq(t->thread[1].worker->capacity->n_slots, (t->share.worker_fds - 1) / 2);
	ck_assert_uint_eq(t->thread[0].worker->capacity->n_slots, t->share.worker_fds / 2);
	int more = 0;
	for (int i = 0; i < N; i++)
		more += n_fds_of(tids[i]) - before[i];
	ck_assert_int_eq(more, 1);
	ask_all(t, quit_for);
	threads_join(t);
	threads_free(t);
	loop_close(loop, fd);
	ck_assert_int_eq(loop_turn(loop, 0), 0);
}
END_TEST

/* Main closes what it passes; what it opens is everybody's; workers end without closing main's. */
START_TEST(a_shared_table_is_mains)
{
	struct err e = ERR_INIT;
	pid_t tids[N];
	struct threads *t = NULL;
	struct threads_opts o = {
		.need = { .n_workers = N, .max_fds = MAX_FDS, .is_shared = true },
		.engine = engines[_i],
		.main = &mail,
		.logger = logger,
	};

	ck_assert_int_eq(threads_new(&o, &e, &t), 0);
	ck_assert_int_eq(threads_start(t, &e), 0);
	int n = n_fds_of(getpid()), extra = dup(0);
	ck_assert_int_ge(extra, 0);
	ck_assert_int_eq(find_workers(tids), N);
	for (int i = 0; i < N; i++)
		ck_assert_int_eq(n_fds_of(tids[i]), n + 1);
	ask_all(t, conns_for);
	ask_all(t, quit_for);
	threads_join(t);
	ck_assert_int_eq(close(extra), 0);
	threads_free(t); /* the teardown counts what is left */
}
END_TEST

static void add_tests(TCase *t)
{
	struct err e = ERR_INIT;

	if (loop_probe_uring(&e) == 0)
		n_engines = 2;
	err_deinit(&e);
	tcase_set_timeout(t, 60); /* workers start slowly under ThreadSanitizer */
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, auto_is_a_worker_for_each_cpu);
	tcase_add_loop_test(t, auto_counts_the_quota_of_cpu_time, 0, ARRAY_SIZE(quotas));
	tcase_add_test(t, a_share_is_known_before);
	tcase_add_test(t, a_share_follows_the_listeners);
	tcase_add_loop_test(t, workers_start_answer_and_end, 0, n_engines);
	tcase_add_loop_test(t, a_huge_limit_is_fine, 0, n_engines);
	tcase_add_loop_test(t, undelivered_messages_are_dropped, 0, n_engines);
	tcase_add_test(t, never_started_is_fine);
	tcase_add_loop_test(t, tables_are_their_own, 0, n_engines);
	tcase_add_loop_test(t, sockets_are_passed_to_one_table, 0, n_engines);
	tcase_add_loop_test(t, a_shared_table_is_mains, 0, n_engines);
}

int main(void)
{
	return run_suite("daemon/threads", add_tests);
}
