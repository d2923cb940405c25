/* SPDX-License-Identifier: Apache-2.0 */
#include <check.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../suite.h"
#include "daemon/notify.h"

static int manager = -1;

/* A service manager's socket; a leading '@' makes the name an abstract one. */
static void listen_at(const char *name)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t len = strlen(name);

	memcpy(sun.sun_path, name, len);
	if (name[0] == '@')
		sun.sun_path[0] = '\0';
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(manager, (struct sockaddr *)&sun,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
			 0);
	setenv("NOTIFY_SOCKET", name, 1);
}

/* The next message, or "" when there is none. */
static const char *heard(void)
{
	static char text[256];
	ssize_t n = recv(manager, text, sizeof(text) - 1, MSG_DONTWAIT);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static uint64_t monotonic_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000u + (uint64_t)ts.tv_nsec / 1000u;
}

static void talk(void)
{
	unsigned long long at = 0;
	int end = 0;

	notify_ready();
	ck_assert_str_eq(heard(), "READY=1");
	uint64_t before = monotonic_us();
	notify_reloading();
	const char *text = heard();
	ck_assert_int_eq(sscanf(text, "RELOADING=1\nMONOTONIC_USEC=%llu%n", &at, &end), 1);
	ck_assert_int_eq(text[end], '\0');
	ck_assert_uint_ge(at, before);
	ck_assert_uint_le(at, monotonic_us());
	notify_stopping(40000);
	ck_assert_str_eq(heard(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=40000000");
	ck_assert_str_eq(heard(), "");
	close(manager);
}

START_TEST(a_socket_with_a_path_is_told)
{
	char dir[] = "/tmp/test_notify.XXXXXX", path[64];

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/notify", dir);
	listen_at(path);
	talk();
	unlink(path);
	rmdir(dir);
}
END_TEST

START_TEST(an_abstract_socket_is_told)
{
	char name[64];

	snprintf(name, sizeof(name), "@test_notify.%d", (int)getpid());
	listen_at(name);
	talk();
}
END_TEST

/* The same line is told once. */
START_TEST(a_status_is_told_where_it_changes)
{
	struct notify_status told = { .text = "" };
	char name[64], want[sizeof("STATUS=") + sizeof(told.text)];

	snprintf(name, sizeof(name), "@test_notify.%d", (int)getpid());
	listen_at(name);
	notify_status(&told, "%d connections, generation %d", 0, 1);
	ck_assert_str_eq(heard(), "STATUS=0 connections, generation 1");
	notify_status(&told, "%d connections, generation %d", 0, 1);
	ck_assert_str_eq(heard(), "");
	notify_status(&told, "%d connections, generation %d", 0, 2);
	ck_assert_str_eq(heard(), "STATUS=0 connections, generation 2");

	for (int i = 0; i < 2; i++) { /* a line that is too long is cut, and the same again */
		notify_status(&told, "%0200d", i);
		snprintf(want, sizeof(want), "STATUS=%0*d", (int)sizeof(told.text) - 1, 0);
		ck_assert_str_eq(heard(), i == 0 ? want : "");
	}
	close(manager);
}
END_TEST

/* No manager, one that is gone, a name that is too long: nothing happens, no descriptor stays. */
START_TEST(nobody_need_listen)
{
	char name[300];
	int before = dup(0);

	unsetenv("NOTIFY_SOCKET");
	notify_ready();
	setenv("NOTIFY_SOCKET", "", 1);
	notify_ready();
	setenv("NOTIFY_SOCKET", "/nonexistent/notify", 1);
	notify_ready();
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	setenv("NOTIFY_SOCKET", name, 1);
	notify_stopping(1);
	close(before);
	int after = dup(0);
	ck_assert_int_eq(after, before);
	close(after);
}
END_TEST

/* A manager that does not read holds nobody up. */
START_TEST(a_deaf_manager_is_not_waited_for)
{
	char name[64];

	snprintf(name, sizeof(name), "@test_notify.%d", (int)getpid());
	listen_at(name);
	for (int i = 0; i < 5000; i++) /* more than any queue holds */
		notify_ready();
	ck_assert_str_eq(heard(), "READY=1");
	close(manager);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_test(t, a_socket_with_a_path_is_told);
	tcase_add_test(t, an_abstract_socket_is_told);
	tcase_add_test(t, a_status_is_told_where_it_changes);
	tcase_add_test(t, nobody_need_listen);
	tcase_add_test(t, a_deaf_manager_is_not_waited_for);
}

int main(void)
{
	return run_suite("daemon/notify", add_tests);
}
