/* SPDX-License-Identifier: Apache-2.0 */
/* A listening Unix socket: its file, and other files at the same path. */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "../ev/loop_fixture.h"
#include "net/unix.h"

static char dir[24];
static char path[64];

static void begin_unix(int engine)
{
	begin(engine);
	(void)strcpy(dir, "/tmp/test_unix.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
}

static void end_unix(void)
{
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(rmdir(dir), 0);
	end();
}

static bool is_answered(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	memcpy(sun.sun_path, path, sizeof(path));
	int r = connect(fd, (struct sockaddr *)&sun, sizeof(sun));
	close(fd);
	return r == 0;
}

START_TEST(a_unix_socket_has_its_mode)
{
	static const uint32_t modes[] = { 0600, 0660, 0666 };
	struct stat st;

	begin_unix(0);
	int fd = unix_listen(loop, path, modes[_i]);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, modes[_i]);
	ck_assert(S_ISSOCK(st.st_mode));
	ck_assert(is_answered());
	loop_close(loop, fd);
	end_unix();
}
END_TEST

START_TEST(a_living_unix_socket_is_not_taken)
{
	begin_unix(_i);
	int fd = unix_listen(loop, path, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(unix_listen(loop, path, 0666), -EADDRINUSE);
	ck_assert(is_answered());
	loop_close(loop, fd);
	end_unix();
}
END_TEST

START_TEST(a_dead_unix_socket_is_replaced)
{
	begin_unix(_i);
	int fd = unix_listen(loop, path, 0600);
	ck_assert_int_ge(fd, 0);
	loop_close(loop, fd);
	ck_assert_int_eq(loop_turn(loop, 0), 0);
	ck_assert(!is_answered());
	fd = unix_listen(loop, path, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert(is_answered());
	loop_close(loop, fd);
	end_unix();
}
END_TEST

/* Only a socket is ever removed. */
START_TEST(a_file_in_the_way_is_kept)
{
	begin_unix(_i);
	int file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	ck_assert_int_ge(file, 0);
	close(file);
	ck_assert_int_eq(unix_listen(loop, path, 0600), -ENOTSOCK);
	end_unix(); /* it is still there to be removed */
}
END_TEST

/* unix_judge() says what is at the path, and changes nothing. */
START_TEST(a_unix_sockets_place_is_judged)
{
	begin_unix(_i);
	ck_assert_int_eq(unix_judge(path), 0);
	ck_assert_int_eq(unix_judge("/no/such/folder/s"), 0);
	ck_assert_int_eq(unix_judge(dir), -ENOTSOCK);
	int fd = unix_listen(loop, path, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(unix_judge(path), -EADDRINUSE);
	loop_close(loop, fd);
	ck_assert_int_eq(loop_turn(loop, 0), 0);
	ck_assert_int_eq(unix_judge(path), 0);
	end_unix(); /* its file is still there to be removed */
}
END_TEST

START_TEST(a_path_must_fit)
{
	char longest[200];

	begin(_i);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[0] = '/';
	longest[sizeof(longest) - 1] = '\0';
	ck_assert_int_eq(unix_listen(loop, longest, 0600), -ENAMETOOLONG);
	ck_assert_int_eq(unix_listen(loop, "/no/such/folder/s", 0600), -ENOENT);
	end();
}
END_TEST

START_TEST(a_full_table_is_told)
{
	struct rlimit all, few;

	begin(_i);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &all), 0);
	few = (struct rlimit){ .rlim_cur = 0, .rlim_max = all.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	ck_assert_int_eq(unix_listen(loop, "/tmp/not-made", 0600), -EMFILE);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &all), 0);
	end();
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, a_full_table_is_told, 0, n_engines);
	tcase_add_loop_test(t, a_unix_socket_has_its_mode, 0, 3);
	tcase_add_loop_test(t, a_living_unix_socket_is_not_taken, 0, n_engines);
	tcase_add_loop_test(t, a_dead_unix_socket_is_replaced, 0, n_engines);
	tcase_add_loop_test(t, a_file_in_the_way_is_kept, 0, n_engines);
	tcase_add_loop_test(t, a_unix_sockets_place_is_judged, 0, n_engines);
	tcase_add_loop_test(t, a_path_must_fit, 0, n_engines);
}

int main(void)
{
	return run_on_engines("net/unix", add_tests);
}
