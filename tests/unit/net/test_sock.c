/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets on loopback: their options, and what they refuse. */
#include <linux/filter.h>
#include <stdio.h>
#include <sys/resource.h>

#include "../ev/loop_fixture.h"
#include "net/sock.h"

static struct addr local(uint16_t port)
{
	return (struct addr){ .family = AF_INET, .port = port, .v4 = { 127, 0, 0, 1 } };
}

static struct addr addr_of(int fd)
{
	struct sockaddr_storage sa;
	struct addr a;

	ck_assert_int_eq(loop_sockname(loop, fd, &sa), 0);
	addr_from_sockaddr((struct sockaddr *)&sa, &a);
	return a;
}

/* A listening socket of a shared group on a port of the kernel's choice, or on the given one. */
static int listen_shared(uint16_t port)
{
	struct addr a = local(port);
	int fd = sock_bind_shared(loop, &a);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(loop_listen(loop, fd, SOCK_BACKLOG), 0);
	return fd;
}

/* What UNTIL() asks for. */
static bool is_accepted(int listener, int *ret)
{
	if (*ret < 0)
		*ret = loop_accept_now(loop, listener);
	return *ret >= 0;
}

/* ---- options --------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	int level, option, min, max; /* -1: the user timeout */
} promised[] = {
	{ "TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, 1, 1 },
	{ "SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, 1, 1 },
	{ "TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE, 40, 60 },
	{ "TCP_KEEPINTVL", IPPROTO_TCP, TCP_KEEPINTVL, 2, 3 },
	{ "TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT, 30, 30 },
	{ "TCP_USER_TIMEOUT", IPPROTO_TCP, TCP_USER_TIMEOUT, -1, -1 },
};

static int int_option(int fd, int level, int option)
{
	int value = -1;
	socklen_t len = sizeof(value);

	ck_assert_int_eq(loop_getsockopt(loop, fd, level, option, &value, &len), 0);
	return value;
}

static void check_options(int fd, int user_ms)
{
	for (size_t i = 0; i < ARRAY_SIZE(promised); i++) {
		int min = promised[i].min < 0 ? user_ms : promised[i].min;
		int max = promised[i].max < 0 ? user_ms : promised[i].max;
		int got = int_option(fd, promised[i].level, promised[i].option);
		ck_assert_msg(got >= min && got <= max, "%s is %d", promised[i].name, got);
	}
}

/* Accepted from a listening socket on `a`, whose port the kernel chooses; closes the others. */
static void accepted_on(struct addr a, void (*then)(int listener, int fd))
{
	int listener = sock_bind_shared(loop, &a), fd = -1;

	ck_assert_int_ge(listener, 0);
	ck_assert_int_eq(loop_listen(loop, listener, 1), 0);
	int peer = dial(addr_of(listener).port);
	UNTIL(is_accepted(listener, &fd));
	then(listener, fd);
	loop_close(loop, fd);
	loop_close(loop, listener);
	close(peer);
}

/* The name of a socket's congestion control. */
static const char *congestion_of(int fd)
{
	static char name[16]; /* TCP_CA_NAME_MAX */
	socklen_t len = sizeof(name);

	ck_assert_int_eq(loop_getsockopt(loop, fd, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
	return name;
}

/* The options of a socket that no test sets. */
static const char *system_congestion(void)
{
	static char name[16];
	socklen_t len = sizeof(name);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
	close(fd);
	return name;
}

static void check_both(int listener, int fd)
{
	ck_assert_str_eq(congestion_of(fd), system_congestion());
	check_options(listener, 120000);
	check_options(fd, 120000);
	ck_assert_int_eq(int_option(fd, IPPROTO_TCP, TCP_KEEPIDLE),
			 int_option(listener, IPPROTO_TCP, TCP_KEEPIDLE));
}

static void check_no_keepalive(int listener, int fd)
{
	ck_assert_int_eq(int_option(listener, SOL_SOCKET, SO_KEEPALIVE), 0);
	ck_assert_int_eq(int_option(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
	ck_assert_int_eq(int_option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
	ck_assert_int_eq(int_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 120000);
}

static void check_unpaced(int listener, int fd)
{
	ck_assert_str_eq(congestion_of(listener), "reno");
	ck_assert_str_eq(congestion_of(fd), "reno");
}

/* The 120 s of lb.yaml(5), and all the rest, come with the listening socket. */
START_TEST(accepted_sockets_inherit_their_options)
{
	begin(_i);
	accepted_on((struct addr){ .family = AF_INET }, check_both);
	end();
}
END_TEST

/* A peer on this machine cannot vanish unnoticed, so there is no keepalive. */
START_TEST(a_loopback_needs_no_keepalive)
{
	struct addr to = local(1);

	begin(_i);
	accepted_on(local(0), check_no_keepalive);
	int fd = sock_for_connect(loop, &to, NULL, 120000);
	ck_assert_int_eq(loop_turn(loop, 0), 0);
	check_no_keepalive(fd, fd);
	loop_close(loop, fd);
	end();
}
END_TEST

/* A loopback connection needs no pacing; other connections have the system's congestion control. */
START_TEST(a_loopback_is_not_paced)
{
	struct addr near = local(1), far = { .family = AF_INET, .port = 1, .v4 = { 192, 0, 2, 1 } };

	begin(_i);
	accepted_on(local(0), check_unpaced);
	int fd = sock_for_connect(loop, &near, NULL, 120000);
	int other = sock_for_connect(loop, &far, NULL, 120000);
	ck_assert_int_eq(loop_turn(loop, 0), 0);
	check_unpaced(fd, fd);
	ck_assert_str_eq(congestion_of(other), system_congestion());
	loop_close(loop, fd);
	loop_close(loop, other);
	end();
}
END_TEST

/*
 * A connection that is accepted after the call begins keepalive at another time than one accepted
 * before.
 */
START_TEST(keepalive_times_are_spread)
{
	struct addr any = { .family = AF_INET };
	int idle_s[61] = { 0 }, n_idle = 0;

	begin(_i);
	int listener = sock_bind_shared(loop, &any);
	for (int i = 0; i < 200; i++) {
		sock_spread_keepalive(loop, listener);
		check_options(listener, 120000);
		n_idle += idle_s[int_option(listener, IPPROTO_TCP, TCP_KEEPIDLE)]++ == 0;
	}
	/* Of 21 possible times; fewer than that by chance are as good as impossible. */
	ck_assert_int_ge(n_idle, 15);
	loop_close(loop, listener);
	end();
}
END_TEST

static const struct {
	const char *name;
	uint32_t user_ms;
} user_rows[] = {
	{ "the default", SOCK_USER_MS },
	{ "another", 2000 },
	{ "none", 0 },
};

/*
 * The options hold from the next turn on. (An address of RFC 5737 is used, so nothing answers, and
 * nothing is sent.)
 */
START_TEST(connecting_sockets_have_their_options)
{
	struct addr to = { .family = AF_INET, .port = 1, .v4 = { 192, 0, 2, 1 } };
	uint32_t user_ms = user_rows[_i / n_engines].user_ms;

	begin(_i % n_engines);
	int fd = sock_for_connect(loop, &to, NULL, user_ms);
	ck_assert_msg(fd >= 0, "%s", user_rows[_i / n_engines].name);
	ck_assert_int_eq(loop_turn(loop, 0), 0);
	check_options(fd, (int)user_ms);
	sock_set_user_timeout(loop, fd, 777);
	check_options(fd, 777);
	sock_set_user_timeout(loop, fd, 0);
	check_options(fd, 0);
	loop_close(loop, fd);
	end();
}
END_TEST

/* ---- binding --------------------------------------------------------------------------------- */

START_TEST(a_free_address_gets_a_port)
{
	struct addr a = local(0);
	uint16_t port = 0;

	begin(_i);
	ck_assert_int_eq(sock_probe_free(loop, &a, &port), 0);
	ck_assert_uint_ne(port, 0);
	/* The address was only probed, so a whole group can be bound there at once. */
	int one = listen_shared(port), two = listen_shared(port);
	ck_assert_uint_eq(addr_of(one).port, port);
	ck_assert_uint_eq(addr_of(two).port, port);
	loop_close(loop, one);
	loop_close(loop, two);
	end();
}
END_TEST

/*
 * The SO_REUSEPORT group of another program would accept one more socket without an error; the
 * probe finds it.
 */
START_TEST(a_taken_address_is_refused)
{
	uint16_t port = 7;

	begin(_i);
	int taken = listen_shared(0);
	struct addr a = addr_of(taken);
	ck_assert_int_eq(sock_probe_free(loop, &a, &port), -EADDRINUSE);
	ck_assert_uint_eq(port, 7);
	ck_assert_int_eq(sock_bind_alone(loop, &a), -EADDRINUSE);
	loop_close(loop, taken);
	ck_assert_int_eq(loop_turn(loop, 0), 0);
	ck_assert_int_eq(sock_probe_free(loop, &a, &port), 0);
	ck_assert_uint_eq(port, a.port);
	int alone = sock_bind_alone(loop, &a);
	ck_assert_int_ge(alone, 0);
	ck_assert_int_eq(loop_listen(loop, alone, 1), 0);
	ck_assert_int_eq(sock_bind_shared(loop, &a), -EADDRINUSE);
	loop_close(loop, alone);
	end();
}
END_TEST

START_TEST(a_strange_address_is_refused)
{
	struct addr elsewhere = { .family = AF_INET, .v4 = { 192, 0, 2, 1 } }, to = local(1);
	uint16_t port;

	begin(_i);
	ck_assert_int_eq(sock_probe_free(loop, &elsewhere, &port), -EADDRNOTAVAIL);
	ck_assert_int_eq(sock_bind_shared(loop, &elsewhere), -EADDRNOTAVAIL);
	ck_assert_int_eq(sock_bind_alone(loop, &elsewhere), -EADDRNOTAVAIL);
	ck_assert_int_eq(sock_for_connect(loop, &to, &elsewhere, 0), -EADDRNOTAVAIL);
	end(); /* and no descriptor is left */
}
END_TEST

START_TEST(a_full_table_is_told)
{
	struct addr a = local(0);
	struct rlimit all, few;
	uint16_t port;

	begin(_i);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &all), 0);
	few = (struct rlimit){ .rlim_cur = 0, .rlim_max = all.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	ck_assert_int_eq(sock_probe_free(loop, &a, &port), -EMFILE);
	ck_assert_int_eq(sock_bind_shared(loop, &a), -EMFILE);
	ck_assert_int_eq(sock_for_connect(loop, &a, NULL, 0), -EMFILE);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &all), 0);
	end();
}
END_TEST

/*
 * An IPv6 socket takes no IPv4: each family needs a listener of its own. The port that the kernel
 * has chosen for one family may be in use for the other, but not time after time.
 */
START_TEST(families_do_not_mix)
{
	struct addr six = { .family = AF_INET6 }, four = { .family = AF_INET };
	int a = -1, b = -EADDRINUSE;

	begin(_i);
	for (int tries = 0; tries < 10 && b == -EADDRINUSE; tries++) {
		if (a >= 0)
			loop_close(loop, a);
		a = sock_bind_shared(loop, &six);
		ck_assert_int_ge(a, 0);
		ck_assert_int_eq(int_option(a, IPPROTO_IPV6, IPV6_V6ONLY), 1);
		ck_assert_int_eq(loop_listen(loop, a, 1), 0);
		four.port = addr_of(a).port;
		b = sock_bind_alone(loop, &four);
	}
	ck_assert_int_ge(b, 0);
	loop_close(loop, a);
	loop_close(loop, b);
	end();
}
END_TEST

/* The local port is chosen at the connect, so that each (from, to) has a range of its own. */
START_TEST(a_source_address_is_bound_without_a_port)
{
	struct addr from = { .family = AF_INET, .v4 = { 127, 0, 0, 9 } };

	begin(_i);
	int listener = listen_shared(0);
	struct addr to = addr_of(listener);
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(&to, &sa);
	int fd = sock_for_connect(loop, &to, &from, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_uint_eq(addr_of(fd).port, 0);
	loop_connect(loop, fd, (struct sockaddr *)&sa, len, tag(0));
	UNTIL(ops[0].n_last == 1);
	ck_assert_int_eq(ops[0].res, 0);
	ck_assert_uint_ne(addr_of(fd).port, 0);
	struct addr got = addr_of(fd);
	got.port = 0;
	ck_assert(addr_eq(&got, &from));
	loop_close(loop, fd);
	loop_close(loop, listener);
	end();
}
END_TEST

/* A connection in the queue is served; a new one gets no answer, and no reset. */
START_TEST(new_connections_are_ignored)
{
	begin(_i % n_engines);
	int listener = listen_shared(0), queued = -1, one = 1;
	struct addr to = addr_of(listener);
	struct sockaddr_in sin = loopback(to.port);
	int early = dial(to.port);
	if (_i >= n_engines) /* as if the kernel refused to attach a filter */
		ck_assert_int_eq(
			setsockopt(listener, SOL_SOCKET, SO_LOCK_FILTER, &one, sizeof(one)), 0);
	sock_drop_new(loop, listener);
	int late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ck_assert_int_eq(connect(late, (struct sockaddr *)&sin, sizeof(sin)), -1);
	ck_assert_int_eq(errno, EINPROGRESS);
	struct pollfd pfd = { .fd = late, .events = POLLOUT };
	ck_assert_int_eq(poll(&pfd, 1, 100), 0);
	UNTIL(is_accepted(listener, &queued));
	ck_assert_int_eq(loop_accept_now(loop, listener), -EAGAIN);
	sock_serve_old(loop, queued);
	ck_assert_int_eq(write(early, "x", 1), 1);
	char byte;
	UNTIL(recv(queued, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 1);
	loop_close(loop, queued);
	loop_close(loop, listener);
	close(early);
	close(late);
	end();
}
END_TEST

/* ---- closing --------------------------------------------------------------------------------- */

START_TEST(a_close_can_be_a_reset)
{
	int fds[2];
	char byte;

	begin(_i);
	tcp_pair(fds);
	sock_reset_on_close(loop, fds[0]);
	loop_close(loop, fds[0]);
	ck_assert_int_eq(loop_turn(loop, 0), 0);
	ck_assert_int_eq(recv(fds[1], &byte, 1, 0), -1);
	ck_assert_int_eq(errno, ECONNRESET);
	close(fds[1]);
	end();
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, accepted_sockets_inherit_their_options, 0, n_engines);
	tcase_add_loop_test(t, a_loopback_needs_no_keepalive, 0, n_engines);
	tcase_add_loop_test(t, a_loopback_is_not_paced, 0, n_engines);
	tcase_add_loop_test(t, keepalive_times_are_spread, 0, n_engines);
	tcase_add_loop_test(t, connecting_sockets_have_their_options, 0,
			    (int)ARRAY_SIZE(user_rows) * n_engines);
	tcase_add_loop_test(t, a_free_address_gets_a_port, 0, n_engines);
	tcase_add_loop_test(t, a_taken_address_is_refused, 0, n_engines);
	tcase_add_loop_test(t, a_strange_address_is_refused, 0, n_engines);
	tcase_add_loop_test(t, a_full_table_is_told, 0, n_engines);
	tcase_add_loop_test(t, families_do_not_mix, 0, n_engines);
	tcase_add_loop_test(t, a_source_address_is_bound_without_a_port, 0, n_engines);
	tcase_add_loop_test(t, new_connections_are_ignored, 0, 2 * n_engines);
	tcase_add_loop_test(t, a_close_can_be_a_reset, 0, n_engines);
}

int main(void)
{
	return run_on_engines("net/sock", add_tests);
}
