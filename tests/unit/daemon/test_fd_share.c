/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../suite.h"
#include "daemon/fd_share.h"

static const struct {
	const char *name;
	uint32_t n_workers, max_fds, n_binds;
	bool is_enough;
} tables[] = {
	{ "usual", 2, 1024, 1, true },
	{ "large", 2, 1000000, 1, true },
	{ "as large as a container may have", 2, 1073741816, 1, true },
	{ "many workers", 256, 1024, 0, true },
	{ "many workers, each with a socket that main binds", 256, 1024, 1, false },
	{ "many listeners", 2, 400, 60, true },
	{ "more listeners than main can bind", 8, 400, 60, false },
	{ "more listeners than a worker can have", 1, 400, 400, false },
	{ "beyond all numbers", 256, 1024, UINT32_MAX, false },
	{ "small", 1, 64, 1, true },
	{ "too small", 1, 32, 1, false },
	{ "too small for so many workers", 256, 280, 1, false },
	{ "nothing", 1, 0, 1, false },
};

/* Two descriptors for each session and each pipe fit into a table beside what a worker needs, and
 * what main needs and binds fits into main's. */
START_TEST(a_table_is_shared_out)
{
	const uint32_t n = tables[_i].n_workers, max = tables[_i].max_fds;
	struct err e = ERR_INIT;
	struct fd_need need = { .n_workers = n, .n_binds = tables[_i].n_binds, .max_fds = max };
	struct fd_share s;
	int r = fd_share_fit(&need, &s, &e);

	ck_assert_msg((r == 0) == tables[_i].is_enough, "%s", tables[_i].name);
	if (r == 0) {
		uint32_t used = 2 * (s.max_sessions + s.max_pipes);
		ck_assert_uint_ge(s.max_sessions, 8);
		ck_assert_uint_lt(used, max);
		/* The eventfd of each worker, 0 to 2, what listens, spare ones: there is room. */
		ck_assert_uint_ge(max - used, n + 3 + 8 + tables[_i].n_binds);
		ck_assert_uint_ge(max, 3 * n + tables[_i].n_binds * n + 3 + 8);
		ck_assert_uint_eq(e.n, 0);
	} else {
		char text[64];
		(void)snprintf(text, sizeof(text), "limit of %u open files", max);
		ck_assert_int_eq(r, -EMFILE);
		ck_assert_uint_eq(e.n, 1);
		ck_assert_ptr_nonnull(strstr(e.item[0].text, text));
	}
	err_deinit(&e);
}
END_TEST

static const struct {
	const char *name;
	uint32_t n_workers, max_fds, n_binds;
	bool is_enough;
} shared[] = {
	{ "usual", 2, 1024, 1, true },
	{ "large", 2, 1000000, 1, true },
	{ "as large as a container may have", 64, 1073741816, 1, true },
	{ "many listeners", 2, 1024, 60, true },
	{ "too many listeners", 2, 1024, 300, false },
	{ "too many workers", 64, 1024, 1, false },
	{ "small", 1, 128, 1, true },
	{ "too small", 1, 64, 1, false },
	{ "nothing", 1, 0, 1, false },
	{ "beyond all numbers", 256, UINT32_MAX, UINT32_MAX, false },
};

/* One table for all: whatever all workers and main have at the most fits into it together. */
START_TEST(one_table_is_shared_out)
{
	struct fd_need need = {
		.n_workers = shared[_i].n_workers,
		.n_binds = shared[_i].n_binds,
		.max_fds = shared[_i].max_fds,
		.is_shared = true,
	};
	struct fd_share s, apart;

	ck_assert_msg(fd_share_out(&need, &s) == shared[_i].is_enough, "%s", shared[_i].name);
	if (!shared[_i].is_enough) {
		ck_assert_uint_eq(s.max_sessions, 0);
		ck_assert_msg(s.n_needed >= need.max_fds, "%s: %u", shared[_i].name, s.n_needed);
		return;
	}
	uint64_t all = s.n_main + (uint64_t)need.n_workers * (s.n_own + 2 * s.max_sessions);
	ck_assert_uint_ge(s.max_sessions, 8);
	ck_assert_uint_le(all, need.max_fds);
	ck_assert_uint_gt(all + 2 * (uint64_t)need.n_workers, need.max_fds - need.n_workers);
	need.is_shared = false;
	ck_assert(fd_share_out(&need, &apart));
	ck_assert_uint_gt(apart.max_sessions, s.max_sessions);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, a_table_is_shared_out, 0, ARRAY_SIZE(tables));
	tcase_add_loop_test(t, one_table_is_shared_out, 0, ARRAY_SIZE(shared));
}

int main(void)
{
	return run_suite("daemon/fd_share", add_tests);
}
