/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../suite.h"
#include "daemon/occupied.h"

static uint32_t own; /* lb's own socket; 0: it has none */

static bool is_own(void *arg, uint32_t inode)
{
	(void)arg;
	return inode == own;
}

static struct addr addr_with(const char *host, uint16_t port)
{
	struct addr a = { .family = strchr(host, ':') != NULL ? AF_INET6 : AF_INET, .port = port };

	ck_assert_int_eq(
		inet_pton(a.family, host, a.family == AF_INET ? (void *)a.v4 : (void *)a.v6), 1);
	return a;
}

/* A socket that listens on a port of the kernel's choice. */
static int listening(const char *host, bool is_dual, uint16_t *ret_port)
{
	struct addr a = addr_with(host, 0);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&a, &sa);
	int fd = socket(a.family, SOCK_STREAM | SOCK_CLOEXEC, 0), v6_only = !is_dual;

	if (a.family == AF_INET6)
		ck_assert_int_eq(
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof(v6_only)), 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, len), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	addr_from_sockaddr((struct sockaddr *)&sa, &a);
	*ret_port = a.port;
	return fd;
}

/* clang-format off */
static const struct {
	const char *name, *listens;
	bool is_dual; /* takes IPv4, too */
	const char *new;
	int want;
} conflicts[] = {
	{ "the same", "127.0.0.1", false, "127.0.0.1", -EADDRINUSE },
	{ "another", "127.0.0.1", false, "127.0.0.2", 0 },
	{ "all, where one listens", "127.0.0.1", false, "0.0.0.0", -EADDRINUSE },
	{ "one, where all listens", "0.0.0.0", false, "127.0.0.1", -EADDRINUSE },
	{ "all twice", "0.0.0.0", false, "0.0.0.0", -EADDRINUSE },
	{ "the same of IPv6", "::1", false, "::1", -EADDRINUSE },
	{ "all of IPv6, where one listens", "::1", false, "::", -EADDRINUSE },
	{ "one of IPv6, where all listens", "::", false, "::1", -EADDRINUSE },
	{ "another of IPv6", "::1", false, "::2", 0 },
	{ "IPv4 beside all of IPv6", "::", false, "127.0.0.1", 0 },
	{ "IPv4 beside both", "::", true, "127.0.0.1", -EADDRINUSE },
	{ "all of IPv4 beside both", "::", true, "0.0.0.0", -EADDRINUSE },
	{ "IPv4, where its mapped address listens", "::ffff:127.0.0.1", true, "127.0.0.1", -EADDRINUSE },
	{ "IPv4, where another mapped one listens", "::ffff:127.0.0.2", true, "127.0.0.1", 0 },
	{ "IPv6 beside IPv4", "0.0.0.0", false, "::", 0 },
};
/* clang-format on */

START_TEST(conflicts_are_found)
{
	uint16_t port;
	int fd = listening(conflicts[_i].listens, conflicts[_i].is_dual, &port);
	struct addr a = addr_with(conflicts[_i].new, port);

	own = 0;
	ck_assert_msg(occupied_by_others(&a, is_own, NULL) == conflicts[_i].want, "%s",
		      conflicts[_i].name);
	/* lb's own is in nobody's way. */
	own = occupied_inode(fd);
	ck_assert_uint_ne(own, 0);
	ck_assert_msg(occupied_by_others(&a, is_own, NULL) == 0, "%s", conflicts[_i].name);
	/* Another port is another matter. */
	own = 0;
	a.port = (uint16_t)(port == 1 ? 2 : 1);
	ck_assert_int_eq(occupied_by_others(&a, is_own, NULL), 0);
	close(fd);
}
END_TEST

/* One of many is a stranger's; the kernel's answer has more than one part. */
START_TEST(one_stranger_among_many_is_found)
{
	enum { N = 400 };
	int fds[N], one = 1;
	uint16_t port;

	int first = listening("127.0.0.1", false, &port);
	struct addr a = addr_with("0.0.0.0", port);
	own = occupied_inode(first);
	for (int i = 0; i < N; i++) {
		struct sockaddr_in sin = { .sin_family = AF_INET,
					   .sin_port = htons(port),
					   .sin_addr.s_addr = htonl(0x7f010000u + (uint32_t)i) };
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		ck_assert_int_eq(setsockopt(fds[i], SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)),
				 0);
		ck_assert_int_eq(bind(fds[i], (struct sockaddr *)&sin, sizeof(sin)), 0);
		ck_assert_int_eq(listen(fds[i], 1), 0);
		ck_assert_int_eq(occupied_by_others(&a, is_own, NULL), -EADDRINUSE);
	}
	for (int i = 0; i < N; i++)
		close(fds[i]);
	ck_assert_int_eq(occupied_by_others(&a, is_own, NULL), 0);
	close(first);
}
END_TEST

START_TEST(what_is_no_descriptor_has_no_inode)
{
	ck_assert_uint_eq(occupied_inode(-1), 0);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, conflicts_are_found, 0, sizeof(conflicts) / sizeof(conflicts[0]));
	tcase_add_test(t, one_stranger_among_many_is_found);
	tcase_add_test(t, what_is_no_descriptor_has_no_inode);
}

int main(void)
{
	return run_suite("daemon/occupied", add_tests);
}
