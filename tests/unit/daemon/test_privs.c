/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <errno.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../suite.h"
#include "daemon/privs.h"

/* A user that every system has, and that may do nothing. */
#define USER "nobody"

/* The calling thread's capabilities, as the kernel shows them. */
static unsigned long long caps(const char *kind)
{
	char line[256], format[32];
	unsigned long long mask = ~0ull;
	FILE *f = fopen("/proc/thread-self/status", "re");

	ck_assert_ptr_nonnull(f);
	snprintf(format, sizeof(format), "%s:", kind);
	while (fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, format, strlen(format)) == 0)
			ck_assert_int_eq(sscanf(line + strlen(format), "%llx", &mask), 1);
	fclose(f);
	return mask;
}

START_TEST(the_soft_limit_is_raised)
{
	struct rlimit rl;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &rl), 0);
	rl.rlim_max = rl.rlim_max > 500 ? 500 : rl.rlim_max;
	rl.rlim_cur = 100;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &rl), 0);
	ck_assert_uint_eq(privs_raise_nofile(), rl.rlim_max);
	rl.rlim_cur = 0;
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &rl), 0);
	ck_assert_uint_eq(rl.rlim_cur, rl.rlim_max);
}
END_TEST

START_TEST(users_are_found_by_name)
{
	struct err e = ERR_INIT;
	uid_t uid = 4711;
	gid_t gid = 4712;
	char scratch[64];

	ck_assert_int_eq(privs_resolve_user("no-such-user-at-all", &uid, &gid, &e), -ENOENT);
	ck_assert_uint_eq(err_n_lines(&e), 1);
	ck_assert_str_eq(err_line(&e, 0, scratch, sizeof(scratch)),
			 "user \"no-such-user-at-all\": no such user");
	ck_assert_uint_eq(uid, 4711);
	ck_assert_uint_eq(gid, 4712);
	ck_assert_int_eq(privs_resolve_user("root", &uid, &gid, &e), 0);
	ck_assert_uint_eq(uid, 0);
	ck_assert_uint_eq(gid, 0);
	err_deinit(&e);
}
END_TEST

static void *worker(void *arg)
{
	unsigned long long *seen = arg;

	seen[0] = caps("CapEff");
	privs_drop_thread_caps();
	seen[1] = caps("CapEff") | caps("CapPrm") | caps("CapInh");
	return NULL;
}

/* Main keeps one capability or none, a worker none, and there is no way back. */
START_TEST(a_dropped_process_keeps_what_it_binds_with)
{
	unsigned long long want = _i != 0 ? 1ull << CAP_NET_BIND_SERVICE : 0, seen[2];
	struct err e = ERR_INIT;
	pthread_t thread;
	uid_t uid;
	gid_t gid, groups[64];

	ck_assert_int_eq(privs_resolve_user(USER, &uid, &gid, &e), 0);
	ck_assert_int_eq(
		privs_drop(USER, uid, gid, _i != 0 ? PRIVS_KEEP_BIND : PRIVS_KEEP_NONE, &e), 0);
	ck_assert_uint_eq(err_n_lines(&e), 0);
	ck_assert(getuid() == uid && geteuid() == uid && getgid() == gid && getegid() == gid);
	int n = getgroups(64, groups);
	for (int i = 0; i < n; i++)
		ck_assert_uint_ne(groups[i], 0);
	ck_assert_uint_eq(caps("CapEff"), want);
	ck_assert_uint_eq(caps("CapPrm"), want);
	ck_assert_uint_eq(caps("CapInh"), 0);
	ck_assert_int_ne(setresuid(0, 0, 0), 0);

	ck_assert_int_eq(pthread_create(&thread, NULL, worker, seen), 0);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(seen[0], want);
	ck_assert_uint_eq(seen[1], 0);
	ck_assert_uint_eq(caps("CapEff"), want);
	/* Who is that user already has nothing to do. */
	ck_assert_int_eq(privs_drop(USER, uid, gid, PRIVS_KEEP_BIND, &e), 0);
	err_deinit(&e);
}
END_TEST

/* A service may be started as its user, with a capability that is an ambient one. */
START_TEST(a_worker_keeps_none_that_lb_was_started_with)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	unsigned long long bind = 1ull << CAP_NET_BIND_SERVICE, seen[2];
	struct err e = ERR_INIT;
	pthread_t thread;
	uid_t uid;
	gid_t gid;

	ck_assert_int_eq(privs_resolve_user(USER, &uid, &gid, &e), 0);
	ck_assert_int_eq(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(setresuid(uid, uid, uid), 0);
	memset(data, 0, sizeof(data));
	data[0].effective = data[0].permitted = data[0].inheritable = (uint32_t)bind;
	ck_assert_int_eq(syscall(SYS_capset, &header, data), 0);
	ck_assert_int_eq(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0),
			 0);

	ck_assert_int_eq(pthread_create(&thread, NULL, worker, seen), 0);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(seen[0], bind);
	ck_assert_uint_eq(seen[1], 0);
	ck_assert_uint_eq(caps("CapEff"), bind);
	err_deinit(&e);
}
END_TEST

/* Without a user in the file all stays as it was, in the workers, too. */
START_TEST(who_did_not_drop_keeps_all)
{
	unsigned long long before = caps("CapEff"), seen[2];
	pthread_t thread;

	ck_assert_uint_ne(before, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, worker, seen), 0);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(seen[0], before);
	ck_assert_uint_ne(seen[1], 0);
}
END_TEST

START_TEST(an_ordinary_user_cannot_become_another)
{
	struct err e = ERR_INIT;
	char scratch[64];
	uid_t uid;
	gid_t gid;

	if (getuid() == 0) { /* become an ordinary one */
		ck_assert_int_eq(privs_resolve_user(USER, &uid, &gid, &e), 0);
		ck_assert_int_eq(privs_drop(USER, uid, gid, PRIVS_KEEP_NONE, &e), 0);
	}
	ck_assert_int_eq(privs_drop("root", 0, 0, PRIVS_KEEP_BIND, &e), -EPERM);
	ck_assert_uint_eq(err_n_lines(&e), 1);
	ck_assert_str_eq(err_line(&e, 0, scratch, sizeof(scratch)),
			 "becoming user \"root\": Operation not permitted; start lb as root, or "
			 "leave \"user\" out");
	err_deinit(&e);
}
END_TEST

START_TEST(dumps_are_forbidden)
{
	ck_assert_int_eq(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 1);
	privs_forbid_dumps();
	ck_assert_int_eq(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
	privs_forbid_dumps();
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, dumps_are_forbidden);
	tcase_add_test(t, the_soft_limit_is_raised);
	tcase_add_test(t, users_are_found_by_name);
	tcase_add_test(t, an_ordinary_user_cannot_become_another);
	if (getuid() == 0) { /* only root has something to drop */
		tcase_add_loop_test(t, a_dropped_process_keeps_what_it_binds_with, 0, 2);
		tcase_add_test(t, a_worker_keeps_none_that_lb_was_started_with);
		tcase_add_test(t, who_did_not_drop_keeps_all);
	}
}

int main(void)
{
	return run_suite("daemon/privs", add_tests);
}
