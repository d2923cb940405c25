/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <sys/resource.h>

#include "../ev/loop_fixture.h"
#include "net/pipe.h"

#define MAX_IDLE 8 /* as in pipe.c */

/* How many descriptors more than before the test are open; closed ones are gone after a turn. */
static int n_fds_more(int than)
{
	ck_assert_int_eq(loop_turn(loop, 0), 0);
	return n_fds() - than;
}

START_TEST(bytes_go_through)
{
	char in[] = "through the pipe", out[sizeof(in)];

	begin(_i);
	struct pipe_pool *pool = pipe_pool_new(loop, 1);
	struct pipe *p = pipe_get(pool);
	ck_assert_ptr_nonnull(p);
	ck_assert_int_eq(write(p->write_fd, in, sizeof(in)), sizeof(in));
	ck_assert_int_eq(read(p->read_fd, out, sizeof(out)), sizeof(out));
	ck_assert_mem_eq(in, out, sizeof(in));
	/* Neither end ever waits. */
	ck_assert_int_eq(read(p->read_fd, out, 1), -1);
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_int_gt(fcntl(p->write_fd, F_GETPIPE_SZ), 0);
	ck_assert_int_le(fcntl(p->write_fd, F_GETPIPE_SZ), PIPE_BYTES);
	pipe_put(pool, p);
	ck_assert_ptr_null(pipe_pool_free(pool));
	end();
}
END_TEST

/* The maximum counts what is lent; what was put back is lent again, not opened again. */
START_TEST(no_more_than_the_maximum)
{
	enum { MAX = 3 };
	struct pipe *p[MAX];

	begin(_i);
	struct pipe_pool *pool = pipe_pool_new(loop, MAX);
	int before = n_fds_more(0);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < MAX; i++) {
			ck_assert(pipe_is_available(pool));
			ck_assert_ptr_nonnull(p[i] = pipe_get(pool));
		}
		ck_assert(!pipe_is_available(pool));
		ck_assert_ptr_null(pipe_get(pool));
		ck_assert_int_eq(n_fds_more(before), 2 * MAX);
		for (int i = 0; i < MAX; i++)
			pipe_put(pool, p[i]);
	}
	ck_assert_int_eq(n_fds_more(before), 2 * MAX);
	pipe_pool_free(pool);
	ck_assert_int_eq(n_fds_more(before), 0);
	end();
}
END_TEST

START_TEST(none_is_lent_where_none_may_be)
{
	begin(_i);
	struct pipe_pool *pool = pipe_pool_new(loop, 0);
	ck_assert(!pipe_is_available(pool));
	ck_assert_ptr_null(pipe_get(pool));
	pipe_pool_free(pool);
	end();
}
END_TEST

/* Bytes of one connection must not turn up in another one. */
START_TEST(a_pipe_that_holds_bytes_is_closed)
{
	char byte;

	begin(_i);
	struct pipe_pool *pool = pipe_pool_new(loop, 1);
	int before = n_fds_more(0);
	struct pipe *p = pipe_get(pool);
	ck_assert_int_eq(write(p->write_fd, "secret", 6), 6);
	pipe_discard(pool, p);
	ck_assert_int_eq(n_fds_more(before), 0);
	ck_assert_ptr_nonnull(p = pipe_get(pool));
	ck_assert_int_eq(read(p->read_fd, &byte, 1), -1);
	ck_assert_int_eq(errno, EAGAIN);
	pipe_put(pool, p);
	pipe_pool_free(pool);
	end();
}
END_TEST

START_TEST(few_are_kept_idle)
{
	enum { N = MAX_IDLE + 5 };
	struct pipe *p[N];

	begin(_i);
	struct pipe_pool *pool = pipe_pool_new(loop, N);
	int before = n_fds_more(0);
	for (int i = 0; i < N; i++)
		ck_assert_ptr_nonnull(p[i] = pipe_get(pool));
	ck_assert_int_eq(n_fds_more(before), 2 * N);
	for (int i = 0; i < N; i++)
		pipe_put(pool, p[i]);
	ck_assert_int_eq(n_fds_more(before), 2 * MAX_IDLE);
	pipe_pool_free(pool);
	ck_assert_int_eq(n_fds_more(before), 0);
	end();
}
END_TEST

/* When no pipe can be made, bytes go through buffers; a later pipe is lent again. */
START_TEST(a_full_table_gives_none)
{
	struct rlimit all, few;

	begin(_i);
	struct pipe_pool *pool = pipe_pool_new(loop, 4);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &all), 0);
	few = (struct rlimit){ .rlim_cur = 0, .rlim_max = all.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	ck_assert_ptr_null(pipe_get(pool));
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &all), 0);
	struct pipe *p = pipe_get(pool);
	ck_assert_ptr_nonnull(p);
	pipe_put(pool, p);
	pipe_pool_free(pool);
	end();
}
END_TEST

/* ---- a user who has no more than others ------------------------------------------------------ */

#define NOBODY_ELSE 61184 /* a user whom no system has: the kernel counts pipes by user */

/* So that the process can become root again. */
static void become_a_user(void)
{
	struct rlimit all;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &all), 0);
	all.rlim_cur = all.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &all), 0);
	if (geteuid() == 0)
		ck_assert_int_eq(setresuid(NOBODY_ELSE, NOBODY_ELSE, 0), 0);
}

/* Pages of pipes that a user may have; beyond them the kernel makes small pipes only. */
static long soft_pages(void)
{
	long n = 0;
	FILE *f = fopen("/proc/sys/fs/pipe-user-pages-soft", "r");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%ld", &n), 1);
	(void)fclose(f);
	return n;
}

/* Bytes that fit into a pipe go through it in order, again and again. */
static void carry(const struct pipe *p)
{
	uint8_t in[1024], out[1024];

	for (size_t i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i % 251);
	for (int round = 0; round < 20; round++) {
		ck_assert_int_eq(write(p->write_fd, in, sizeof(in)), sizeof(in));
		ck_assert_int_eq(read(p->read_fd, out, sizeof(out)), sizeof(out));
		ck_assert_mem_eq(in, out, sizeof(in));
	}
}

/* Beyond a user's limit the kernel refuses the size and not the pipe. */
START_TEST(a_smaller_pipe_does_too)
{
	enum { MOST = 600 };
	static struct pipe *p[MOST];
	const long page = sysconf(_SC_PAGESIZE);
	const long soft = soft_pages();
	const bool is_root = geteuid() == 0;
	int n = 0, size = PIPE_BYTES;

	/* Fewer pipes can be made than are asked for. */
	ck_assert_int_gt(soft, 0);
	ck_assert_int_lt(soft * page / PIPE_BYTES, MOST - 1);
	begin(_i);
	become_a_user();
	struct pipe_pool *pool = pipe_pool_new(loop, MOST);
	while (n < MOST && size == PIPE_BYTES) {
		ck_assert_ptr_nonnull(p[n] = pipe_get(pool));
		size = fcntl(p[n++]->write_fd, F_GETPIPE_SZ);
	}
	ck_assert_int_gt(size, 0);
	ck_assert_int_lt(size, PIPE_BYTES);
	carry(p[n - 1]);
	while (n > 0)
		pipe_put(pool, p[--n]);
	pipe_pool_free(pool);
	if (is_root)
		ck_assert_int_eq(setresuid(0, 0, 0), 0);
	end();
}
END_TEST

START_TEST(freeing_nothing_is_fine)
{
	ck_assert_ptr_null(pipe_pool_free(NULL));
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, bytes_go_through, 0, n_engines);
	tcase_add_loop_test(t, no_more_than_the_maximum, 0, n_engines);
	tcase_add_loop_test(t, none_is_lent_where_none_may_be, 0, n_engines);
	tcase_add_loop_test(t, a_pipe_that_holds_bytes_is_closed, 0, n_engines);
	tcase_add_loop_test(t, few_are_kept_idle, 0, n_engines);
	tcase_add_loop_test(t, a_full_table_gives_none, 0, n_engines);
	tcase_add_loop_test(t, a_smaller_pipe_does_too, 0, n_engines);
	tcase_add_test(t, freeing_nothing_is_fine);
}

int main(void)
{
	return run_on_engines("net/pipe", add_tests);
}
