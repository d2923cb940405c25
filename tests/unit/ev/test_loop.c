/* SPDX-License-Identifier: Apache-2.0 */

/* The loop's contract (ev/loop.h): connections, polls, cancels, calls, time. Both engines keep it.
 */

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <time.h>

#include "loop_fixture.h"

/* ---- accept ---------------------------------------------------------------------------------- */

START_TEST(accepts_one)
{
	uint16_t port;

	begin(_i);
	int l = listening(16, &port);
	loop_accept(loop, l, ACCEPT_ONE, tag(1));
	idle();
	ck_assert_int_eq(ops[1].n, 0);
	int a = dial(port), b = dial(port);
	UNTIL(ops[1].n > 0);
	idle();
	ck_assert_int_eq(ops[1].n, 1);
	ck_assert_int_eq(ops[1].n_last, 1);
	ck_assert_int_ge(ops[1].res, 0);
	ck_assert_int_ne(fcntl(ops[1].res, F_GETFL) & O_NONBLOCK, 0);
	ck_assert_int_ne(fcntl(ops[1].res, F_GETFD) & FD_CLOEXEC, 0);

	/* The second connection is still in the queue, and there is no third one. */
	int second = loop_accept_now(loop, l);
	ck_assert_int_ge(second, 0);
	ck_assert_int_eq(loop_accept_now(loop, l), -EAGAIN);
	loop_close(loop, second);
	loop_close(loop, ops[1].res);
	loop_close(loop, l);
	close(a);
	close(b);
	end();
}
END_TEST

static int accepted[N_OPS], n_accepted;

static void keep_accepted(const struct completion *c)
{
	if (c->res >= 0)
		accepted[n_accepted++] = c->res;
}

/*
 * More connections than an engine accepts in a turn; then a cancel, after which it accepts no more.
 */
START_TEST(accepts_many_until_cancelled)
{
	enum { N = 150 };
	int peer[N];
	uint16_t port;

	begin(_i);
	ops[1].fn = keep_accepted;
	int l = listening(N, &port);
	loop_accept(loop, l, ACCEPT_MANY, tag(1));
	for (int i = 0; i < N; i++)
		peer[i] = dial(port);
	UNTIL(n_accepted == N);
	ck_assert_int_eq(ops[1].n, N);
	ck_assert_int_eq(ops[1].n_last, 0);

	loop_cancel(loop, l, tag(1));
	UNTIL(ops[1].n_last > 0);
	ck_assert_int_eq(ops[1].res, -ECANCELED);
	int late = dial(port);
	idle();
	ck_assert_int_eq(ops[1].n, N + 1);
	ck_assert_int_eq(ops[1].n_last, 1);
	accepted[n_accepted++] = loop_accept_now(loop, l);
	ck_assert_int_ge(accepted[N], 0);

	for (int i = 0; i < n_accepted; i++)
		loop_close(loop, accepted[i]);
	for (int i = 0; i < N; i++)
		close(peer[i]);
	close(late);
	loop_close(loop, l);
	end();
}
END_TEST

/*
 * A full descriptor table ends the operation with an error; connections in the queue are not lost.
 */
START_TEST(accept_tells_of_a_full_table)
{
	struct rlimit before, full;
	uint16_t port;

	begin(_i);
	int l = listening(16, &port);
	int a = dial(port);
	getrlimit(RLIMIT_NOFILE, &before);
	full = before;
	full.rlim_cur = 3;
	setrlimit(RLIMIT_NOFILE, &full);
	loop_accept(loop, l, ACCEPT_MANY, tag(1));
	UNTIL(ops[1].n > 0);
	setrlimit(RLIMIT_NOFILE, &before);
	ck_assert_int_eq(ops[1].res, -EMFILE);
	ck_assert_int_eq(ops[1].n_last, 1);

	loop_accept(loop, l, ACCEPT_ONE, tag(1));
	UNTIL(ops[1].n == 2);
	ck_assert_int_ge(ops[1].res, 0);
	loop_close(loop, ops[1].res);
	loop_close(loop, l);
	close(a);
	end();
}
END_TEST

/* ---- connect --------------------------------------------------------------------------------- */

START_TEST(connects)
{
	uint16_t port;
	struct sockaddr_storage name;

	begin(_i);
	int l = listening(16, &port);
	int fd = loop_socket(loop, AF_INET, SOCK_STREAM);
	struct sockaddr_in to = loopback(port);
	loop_connect(loop, fd, (struct sockaddr *)&to, sizeof(to), tag(1));
	memset(&to, 0xff, sizeof(to)); /* it was copied */
	ck_assert_int_eq(ops[1].n, 0);
	UNTIL(ops[1].n > 0);
	ck_assert_int_eq(ops[1].res, 0);
	ck_assert_int_eq(ops[1].n_last, 1);
	ck_assert_int_eq(loop_peername(loop, fd, &name), 0);
	ck_assert_uint_eq(ntohs(((struct sockaddr_in *)&name)->sin_port), port);

	int other = loop_accept_now(loop, l);
	ck_assert_int_ge(other, 0);
	loop_close(loop, other);
	loop_close(loop, fd);
	loop_close(loop, l);
	end();
}
END_TEST

START_TEST(connect_is_refused)
{
	uint16_t port;

	begin(_i);
	loop_close(loop, listening(1, &port));
	loop_turn(loop, 0);
	int fd = loop_socket(loop, AF_INET, SOCK_STREAM);
	struct sockaddr_in to = loopback(port);
	loop_connect(loop, fd, (struct sockaddr *)&to, sizeof(to), tag(1));
	UNTIL(ops[1].n > 0);
	ck_assert_int_eq(ops[1].res, -ECONNREFUSED);
	ck_assert_int_eq(ops[1].n_last, 1);
	loop_close(loop, fd);
	end();
}
END_TEST

/* While a listener's queue is full, connects hang. */
START_TEST(connect_is_cancelled)
{
	enum { N = 4 };
	int fd[N];
	uint16_t port;

	begin(_i);
	int l = listening(0, &port);
	struct sockaddr_in to = loopback(port);
	for (unsigned i = 0; i < N; i++) {
		fd[i] = loop_socket(loop, AF_INET, SOCK_STREAM);
		loop_connect(loop, fd[i], (struct sockaddr *)&to, sizeof(to), tag(i));
	}
	idle();
	ck_assert_int_eq(ops[N - 1].n, 0);
	for (unsigned i = 0; i < N; i++)
		loop_cancel(loop, fd[i], tag(i));
	UNTIL(ops[N - 1].n > 0);
	idle();
	for (unsigned i = 0; i < N; i++) {
		ck_assert_int_eq(ops[i].n, 1);
		ck_assert_int_eq(ops[i].n_last, 1);
		loop_close(loop, fd[i]);
	}
	ck_assert_int_eq(ops[N - 1].res, -ECANCELED);
	loop_close(loop, l);
	end();
}
END_TEST

/* ---- poll and cancel ------------------------------------------------------------------------- */

START_TEST(poll_for_errors_sees_a_reset_only)
{
	int fds[2];

	begin(_i);
	tcp_pair(fds);
	loop_poll(loop, fds[0], 0, tag(1));
	feed(fds[1], 0, 100);
	idle();
	ck_assert_int_eq(ops[1].n, 0);
	close_peer(fds[1], true);
	UNTIL(ops[1].n > 0);
	ck_assert_int_ne(ops[1].res & (POLLERR | POLLHUP), 0);
	ck_assert_int_eq(ops[1].n_last, 1);
	loop_close(loop, fds[0]);
	end();
}
END_TEST

/*
 * As with poll(2), an event that is there when the poll starts counts, and counts again for the
 * next poll.
 */
START_TEST(poll_is_level_triggered)
{
	int fds[2];

	begin(_i);
	tcp_pair(fds);
	feed(fds[1], 0, 100);
	for (int n = 1; n <= 3; n++) {
		loop_poll(loop, fds[0], POLLIN, tag(1));
		ck_assert_int_eq(ops[1].n, n - 1);
		UNTIL(ops[1].n == n);
		ck_assert_int_eq(ops[1].res, POLLIN);
	}
	drain(fds[0], &ops[1]);
	loop_poll(loop, fds[0], POLLIN, tag(1));
	idle();
	ck_assert_int_eq(ops[1].n, 3);
	feed(fds[1], 100, 1);
	UNTIL(ops[1].n == 4);
	ck_assert_int_eq(ops[1].n_last, 4);
	close_pair(fds);
	end();
}
END_TEST

/* A descriptor that is spliced from and to has three polls, and each has its own completion. */
START_TEST(polls_stand_beside_each_other)
{
	int fds[2];

	begin(_i);
	tcp_pair(fds);
	loop_poll(loop, fds[0], 0, tag(1));
	loop_poll(loop, fds[0], POLLIN, tag(2));
	loop_poll(loop, fds[0], POLLRDHUP, tag(3));
	feed(fds[1], 0, 1);
	UNTIL(ops[2].n > 0);
	ck_assert_int_eq(ops[2].res, POLLIN);
	loop_poll(loop, fds[0], POLLOUT, tag(2));
	UNTIL(ops[2].n == 2);
	ck_assert_int_eq(ops[2].res, POLLOUT);
	ck_assert_int_eq(ops[1].n + ops[3].n, 0);
	shutdown(fds[1], SHUT_WR);
	UNTIL(ops[3].n > 0);
	ck_assert_int_eq(ops[3].res, POLLRDHUP);
	if (engines[_i] == LOOP_URING) { /* a FIN always counts there */
		UNTIL(ops[1].n > 0);
		ck_assert_int_eq(ops[1].res, POLLRDHUP);
		close(fds[1]);
	} else {
		idle();
		ck_assert_int_eq(ops[1].n, 0);
		close_peer(fds[1], true);
		UNTIL(ops[1].n > 0);
		ck_assert_int_ne(ops[1].res & POLLERR, 0);
	}
	loop_close(loop, fds[0]);
	end();
}
END_TEST

/*
 * Fills the socket's buffer: its peer does not read. The buffer counts as full when it has taken
 * nothing for 60 ms, because a delayed acknowledgement makes room once more after 40 ms.
 */
static void stuff(int fd)
{
	static const char zeros[65536];

	for (int quiet = 0; quiet < 30; quiet++) {
		while (send(fd, zeros, sizeof(zeros), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
			quiet = 0;
		ck_assert_int_eq(errno, EAGAIN);
		(void)usleep(2000);
	}
}

/* Whether nothing is dispatched in some turns. */
static bool is_idle(void)
{
	uint64_t n = loop->n_dispatched;

	idle();
	return loop->n_dispatched == n;
}

static void skip_all(int fd)
{
	static char skipped[65536];

	while (recv(fd, skipped, sizeof(skipped), MSG_DONTWAIT) > 0)
		;
}

/* Neither the peer's FIN nor bytes from the peer count as room. */
START_TEST(room_is_waited_for_behind_a_fin)
{
	int fds[2], others[2];

	begin(_i);
	tcp_pair(fds);
	tcp_pair(others);
	stuff(fds[0]);
	stuff(others[0]);
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	shutdown(fds[1], SHUT_WR);
	shutdown(others[1], SHUT_WR);
	for (int n = 1; n <= 2; n++) { /* again and again */
		loop_poll_room(loop, fds[0], tag(1));
		loop_poll_room(loop, others[0], tag(2));
		bool is_over = false;
		STEP_UNTIL(is_over, is_over = is_idle()); /* nothing completes again and again */
		ck_assert_int_eq(ops[1].n, n - 1);
		while (ops[1].n < n) {
			skip_all(fds[1]);
			ck_assert_int_eq(loop_turn(loop, 1), 0);
		}
		ck_assert_int_eq(ops[1].res, POLLOUT);
		ck_assert_int_eq(ops[2].n_last, n - 1);
		loop_cancel_room(loop, others[0], tag(2));
		loop_cancel_room(loop, others[0], tag(2));
		UNTIL(ops[2].n_last == n);
		ck_assert_int_eq(ops[2].res, -ECANCELED);
		stuff(fds[0]);
	}
	loop_poll_room(loop, fds[0], tag(1));
	close_peer(fds[1], true);
	UNTIL(ops[1].n == 3);
	ck_assert_int_ne(ops[1].res & (POLLERR | POLLHUP), 0);
	loop_close(loop, fds[0]);
	close_pair(others);
	end();
}
END_TEST

static void start(int kind, int fd, unsigned op)
{
	if (kind == 0)
		loop_recv(loop, fd, 1000, BUF_SMALL, tag(op));
	else if (kind == 1)
		loop_recv(loop, fd, 1 << 20, BUF_LARGE, tag(op));
	else
		loop_poll(loop, fd, POLLIN, tag(op));
}

/* Every kind of operation, cancelled once, twice or in the turn that started it. */
START_TEST(cancel_gives_one_last_completion)
{
	int fds[2];

	begin(_i);
	tcp_pair(fds);
	loop_cancel(loop, fds[0], tag(9));
	idle();
	ck_assert_int_eq(ops[9].n, 0); /* nothing was in flight */

	unsigned op = 0;
	for (int kind = 0; kind < 3; kind++) {
		for (int how = 0; how < 3; how++, op++) {
			start(kind, fds[0], op);
			if (how > 0)
				idle();
			ck_assert_int_eq(ops[op].n, 0);
			loop_cancel(loop, fds[0], tag(op));
			if (how == 2)
				loop_cancel(loop, fds[0], tag(op));
			ck_assert_int_eq(ops[op].n, 0);
			UNTIL(ops[op].n > 0);
			idle();
			ck_assert_int_eq(ops[op].n, 1);
			ck_assert_int_eq(ops[op].n_last, 1);
			ck_assert_int_eq(ops[op].res, -ECANCELED);
		}
	}
	/* None of the cancelled operations has taken bytes or connections. */
	feed(fds[1], 0, 10);
	start(0, fds[0], 20);
	UNTIL(ops[20].n > 0);
	ck_assert_uint_eq(ops[20].pos, 10);
	loop_cancel(loop, fds[0], tag(20));
	UNTIL(ops[20].n_last > 0);
	close_pair(fds);
	end();
}
END_TEST

/* ---- close ----------------------------------------------------------------------------------- */

static int victim, successor[2];

/* Closes a descriptor that has an event in the same turn; its number goes to a new descriptor. */
static void replace_victim(const struct completion *c)
{
	ck_assert_int_gt(c->res, 0);
	loop_close(loop, victim);
	int fd = fcntl(successor[0], F_DUPFD_CLOEXEC, victim);
	close(successor[0]);
	successor[0] = fd;
	loop_poll(loop, fd, POLLIN, tag(3));
}

START_TEST(new_owner_of_a_number_hears_nothing_old)
{
	int a[2], b[2];

	begin(_i);
	tcp_pair(a);
	tcp_pair(b);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, successor), 0);
	/* b is known to the engine, but nothing is in flight there. */
	loop_poll(loop, b[0], POLLOUT, tag(2));
	loop_poll(loop, a[0], POLLIN, tag(1));
	UNTIL(ops[2].n > 0);
	victim = b[0];
	ops[1].fn = replace_victim;
	feed(a[1], 0, 1);
	feed(b[1], 0, 1);
	UNTIL(ops[1].n > 0);
	idle();
	if (engines[_i] == LOOP_EPOLL)
		ck_assert_int_eq(successor[0], victim);
	ck_assert_int_eq(ops[2].n, 1);
	ck_assert_int_eq(ops[3].n, 0);
	ck_assert_int_eq((int)write(successor[1], "x", 1), 1);
	UNTIL(ops[3].n > 0);
	ck_assert_int_eq(ops[3].res, POLLIN);
	close_pair(a);
	close_pair(successor);
	close(b[1]);
	end();
}
END_TEST

/* ---- calls ----------------------------------------------------------------------------------- */

START_TEST(descriptors_are_passed)
{
	int chan[2], fds[2];
	uint64_t number = 0;

	begin(_i);
	tcp_pair(fds);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, chan), 0);
	ck_assert_int_eq(loop_take_fd(loop, chan[1], &number), -EAGAIN);
	ck_assert_int_eq(loop_pass_fd(loop, chan[0], fds[0], 0x123456789abcull), 0);
	ck_assert_int_eq(loop_pass_fd(loop, chan[0], fds[0], 2), 0);
	loop_close(loop, fds[0]); /* the passed ones live on */

	int copy = loop_take_fd(loop, chan[1], &number);
	ck_assert_int_ge(copy, 0);
	ck_assert_uint_eq(number, 0x123456789abcull);
	ck_assert_int_ne(fcntl(copy, F_GETFD) & FD_CLOEXEC, 0);
	feed(fds[1], 0, 10);
	loop_recv(loop, copy, 10, BUF_SMALL, tag(1));
	UNTIL(ops[1].n_last > 0);
	ck_assert_uint_eq(ops[1].pos, 10);

	/* When the table is full, the descriptor is lost, and the call says so. */
	struct rlimit before, full;
	getrlimit(RLIMIT_NOFILE, &before);
	full = before;
	full.rlim_cur = 3;
	setrlimit(RLIMIT_NOFILE, &full);
	number = 77;
	ck_assert_int_eq(loop_take_fd(loop, chan[1], &number), -EMFILE);
	setrlimit(RLIMIT_NOFILE, &before);
	ck_assert_uint_eq(number, 77);
	ck_assert_int_eq(loop_take_fd(loop, chan[1], &number), -EAGAIN);
	close(chan[0]);
	ck_assert_int_eq(loop_take_fd(loop, chan[1], &number), -EPIPE);
	close(chan[1]);
	loop_close(loop, copy);
	close(fds[1]);
	end();
}
END_TEST

/* When the number is cut short, the descriptor that came with it is closed. */
START_TEST(a_descriptor_without_its_number_is_closed)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = "half", .iov_len = 4 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	uint64_t number = 77;
	int chan[2];

	begin(_i);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, chan), 0);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &chan[0], sizeof(int));
	ck_assert_int_eq((int)sendmsg(chan[0], &msg, 0), 4);
	ck_assert_int_eq(loop_take_fd(loop, chan[1], &number), -EPROTO);
	ck_assert_uint_eq(number, 77);
	close(chan[0]);
	ck_assert_int_eq(loop_take_fd(loop, chan[1], &number), -EPIPE); /* no copy is open */
	close(chan[1]);
	end();
}
END_TEST

/* From one connection to another through a pipe, each step after a poll. */
START_TEST(splices_through_a_pipe)
{
	enum { TOTAL = 500000 };
	int from[2], to[2], pipe_fds[2], in_pipe = 0;
	uint64_t fed = 0;

	begin(_i);
	tcp_pair(from);
	tcp_pair(to);
	int size = loop_pipe(loop, pipe_fds, 65536);
	ck_assert_int_ge(size, 65536);
	ck_assert_int_eq((int)loop_splice(loop, from[0], pipe_fds[1], 100), -EAGAIN);
	ck_assert_int_eq((int)loop_splice(loop, pipe_fds[0], to[0], 100), -EAGAIN);

	for (int n = 1; ops[3].pos < TOTAL; n++) {
		fed += feed(from[1], fed, TOTAL - fed);
		if (fed == TOTAL)
			shutdown(from[1], SHUT_WR);
		loop_poll(loop, from[0], POLLIN, tag(1));
		UNTIL(ops[1].n == n);
		ssize_t moved = loop_splice(loop, from[0], pipe_fds[1], 65536);
		ck_assert(moved >= 0 || moved == -EAGAIN);
		in_pipe += moved > 0 ? (int)moved : 0;
		loop_poll(loop, to[0], POLLOUT, tag(2));
		UNTIL(ops[2].n == n);
		moved = loop_splice(loop, pipe_fds[0], to[0], 65536);
		ck_assert(moved >= 0 || moved == -EAGAIN);
		in_pipe -= moved > 0 ? (int)moved : 0;
		drain(to[1], &ops[3]);
	}
	ck_assert_int_eq(in_pipe, 0);
	ck_assert_int_eq((int)loop_splice(loop, from[0], pipe_fds[1], 100), 0);
	loop_close(loop, pipe_fds[0]);
	loop_close(loop, pipe_fds[1]);
	close_pair(from);
	close_pair(to);
	end();
}
END_TEST

START_TEST(calls_pass_errors_on)
{
	uint8_t a[600] = { 0 }, b[600] = { 0 };
	struct sockaddr_storage name;
	socklen_t len = sizeof(int);
	int one = 1, got = 0;

	begin(_i);
	int fd = loop_socket(loop, AF_INET, SOCK_STREAM);
	ck_assert_int_eq(loop_setsockopt(loop, fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
	ck_assert_int_eq(loop_getsockopt(loop, fd, IPPROTO_TCP, TCP_NODELAY, &got, &len), 0);
	ck_assert_int_ne(got, 0);
	ck_assert_int_eq(loop_setsockopt(loop, fd, SOL_SOCKET, 12345, &one, sizeof(one)),
			 -ENOPROTOOPT);
	ck_assert_int_eq(loop_peername(loop, fd, &name), -ENOTCONN);
	ck_assert_int_eq(loop_shutdown(loop, fd, SHUT_WR), -ENOTCONN);
	loop_close(loop, fd);
	ck_assert_int_eq(loop_socket(loop, 12345, SOCK_STREAM), -EAFNOSUPPORT);

	/* All bytes that are asked for are written, and none come twice. */
	for (size_t n = 0; n < 256; n += 32)
		loop_random(loop, a + n, 32);
	loop_random(loop, b, 256);
	for (size_t i = 0; i < 256; i += 16)
		for (size_t k = 0; k < 256; k += 16) {
			ck_assert_int_ne(memcmp(a + i, b + k, 16), 0);
			if (i != k)
				ck_assert_int_ne(memcmp(a + i, a + k, 16), 0);
		}
	int64_t off_s = (int64_t)(loop_wall_ns(loop) / 1000000000u) - (int64_t)time(NULL);
	ck_assert(off_s >= -1 && off_s <= 1);
	end();
}
END_TEST

/* ---- time and turns -------------------------------------------------------------------------- */

static uint64_t fired_ms;

static void on_timer(struct timer *t, void *arg)
{
	(void)t;
	(void)arg;
	fired_ms = loop_now_ms(loop);
	loop_stop(loop);
}

static void count_turn(void *arg)
{
	++*(int *)arg;
}

/* With an operation in flight that never completes, the loop sleeps until the timer. */
START_TEST(timers_fire_in_their_time)
{
	struct timer t;
	int fds[2], n_turns = 0;

	begin(_i);
	tcp_pair(fds);
	loop_recv(loop, fds[0], 100, BUF_SMALL, tag(1));
	loop_turn(loop, 0);
	timer_init(&t, on_timer);
	uint64_t from_ms = loop_now_ms(loop);
	loop_timer_start(loop, &t, 30);
	loop_set_turn_end(loop, count_turn, &n_turns);
	ck_assert_int_eq(loop_run(loop), 0);
	ck_assert_uint_ge(fired_ms, from_ms + 30);
	ck_assert_uint_le(fired_ms, from_ms + 500); /* a busy machine may be late */
	ck_assert_int_ge(n_turns, 1);
	ck_assert_int_le(n_turns, 10);

	loop_timer_start(loop, &t, 1);
	loop_timer_stop(loop, &t);
	fired_ms = 0;
	idle();
	ck_assert_uint_eq(fired_ms, 0);
	loop_cancel(loop, fds[0], tag(1));
	UNTIL(ops[1].n_last > 0);
	close_pair(fds);
	end();
}
END_TEST

/*
 * An option that is set without an answer holds for the operations that are started after it, and
 * for calls after the turn.
 */
START_TEST(options_are_set_in_time)
{
	uint16_t port;
	int value = 0;
	socklen_t len = sizeof(value);

	begin(_i);
	int l = listening(1, &port), fd = loop_socket(loop, AF_INET, SOCK_STREAM);
	struct sockaddr_in to = loopback(port);
	int idle_s = 47, on = 1;
	loop_set_option(loop, fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	idle_s = 48;                                                       /* it was copied */
	loop_set_option(loop, fd, SOL_SOCKET, SO_LINGER, &on, sizeof(on)); /* too short: refused */
	loop_set_option(loop, fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
	/*
	 * More options than are submitted at a time; of several values of one option the last one
	 * counts.
	 */
	for (int i = 1; i <= 5000; i++)
		loop_set_option(loop, fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &i, sizeof(i));
	loop_connect(loop, fd, (struct sockaddr *)&to, sizeof(to), tag(1));
	UNTIL(ops[1].n == 1);
	ck_assert_int_eq(ops[1].res, 0);
	ck_assert_int_eq(loop_getsockopt(loop, fd, IPPROTO_TCP, TCP_KEEPIDLE, &value, &len), 0);
	ck_assert_int_eq(value, 47);
	ck_assert_int_eq(loop_getsockopt(loop, fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &value, &len), 0);
	ck_assert_int_eq(value, 5000);
	char name[16] = "";
	len = sizeof(name);
	ck_assert_int_eq(loop_getsockopt(loop, fd, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
	ck_assert_str_eq(name, "reno");
	loop_close(loop, fd);
	loop_close(loop, l);
	end();
}
END_TEST

static int n_settled, n_parts, n_trimmed, n_spare;

/* Three parts; then there is no more for a second. */
static bool settle_one(void *arg)
{
	ck_assert_ptr_eq(arg, &n_settled);
	n_settled++;
	return n_parts == 0 || --n_parts == 0;
}

static void trim_one(void *arg)
{
	ck_assert_ptr_eq(arg, &n_settled);
	ck_assert_int_gt(n_spare, 0);
	n_trimmed++;
	n_spare--;
}

static bool is_spare_left(void *arg)
{
	ck_assert_ptr_eq(arg, &n_settled);
	return n_spare > 0;
}

/* The owner is asked for its memory part by part: once a second, and when no completion comes. */
START_TEST(upkeep_has_its_turns)
{
	static const struct loop_upkeep upkeep = {
		.settle = settle_one,
		.trim = trim_one,
		.has_spare = is_spare_left,
	};

	begin(_i);
	n_settled = n_trimmed = 0;
	n_parts = 3;
	loop_set_upkeep(loop, &upkeep, &n_settled);
	UNTIL(n_settled == 3);
	idle();
	ck_assert_int_eq(n_settled, 3);
	ck_assert_int_eq(n_trimmed, 0);

	/*
	 * The wait is shortened for the trim, because a loop that sleeps for ever would keep its
	 * memory.
	 */
	n_spare = 2;
	for (int i = 0; i < 20 && n_spare > 0; i++)
		ck_assert_int_eq(loop_turn(loop, 5000), 0);
	ck_assert_int_eq(n_trimmed, 2);
	UNTIL(n_settled > 3);
	end();
}
END_TEST

START_TEST(engines_have_names)
{
	begin(_i);
	ck_assert_str_eq(loop_engine_name(loop), engines[_i] == LOOP_EPOLL ? "epoll" : "io_uring");
	end();
	begin_with(&(struct loop_opts){ .engine = LOOP_AUTO });
	ck_assert_str_eq(loop_engine_name(loop), n_engines == 2 ? "io_uring" : "epoll");
	end();
}
END_TEST

static void *turn_elsewhere(void *arg)
{
	(void)loop_turn(arg, 0);
	return NULL;
}

START_TEST(a_turn_by_another_thread_aborts)
{
	pthread_t other;

	begin(_i);
	ck_assert_int_eq(pthread_create(&other, NULL, turn_elsewhere, loop), 0);
	(void)pthread_join(other, NULL);
}
END_TEST

static void turn_again(const struct completion *c)
{
	(void)c;
	(void)loop_turn(loop, 0);
}

START_TEST(a_turn_within_a_turn_aborts)
{
	int fds[2];

	begin(_i);
	tcp_pair(fds);
	ops[1].fn = turn_again;
	loop_poll(loop, fds[0], POLLOUT, tag(1));
	UNTIL(ops[1].n == 1);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, accepts_one, 0, n_engines);
	tcase_add_loop_test(t, accepts_many_until_cancelled, 0, n_engines);
	tcase_add_loop_test(t, accept_tells_of_a_full_table, 0, n_engines);
	tcase_add_loop_test(t, connects, 0, n_engines);
	tcase_add_loop_test(t, connect_is_refused, 0, n_engines);
	tcase_add_loop_test(t, connect_is_cancelled, 0, n_engines);
	tcase_add_loop_test(t, poll_for_errors_sees_a_reset_only, 0, n_engines);
	tcase_add_loop_test(t, poll_is_level_triggered, 0, n_engines);
	tcase_add_loop_test(t, polls_stand_beside_each_other, 0, n_engines);
	tcase_add_loop_test(t, room_is_waited_for_behind_a_fin, 0, n_engines);
	tcase_add_loop_test(t, cancel_gives_one_last_completion, 0, n_engines);
	tcase_add_loop_test(t, new_owner_of_a_number_hears_nothing_old, 0, n_engines);
	tcase_add_loop_test(t, descriptors_are_passed, 0, n_engines);
	tcase_add_loop_test(t, a_descriptor_without_its_number_is_closed, 0, n_engines);
	tcase_add_loop_test(t, splices_through_a_pipe, 0, n_engines);
	tcase_add_loop_test(t, calls_pass_errors_on, 0, n_engines);
	tcase_add_loop_test(t, timers_fire_in_their_time, 0, n_engines);
	tcase_add_loop_test(t, options_are_set_in_time, 0, n_engines);
	tcase_add_loop_test(t, upkeep_has_its_turns, 0, n_engines);
	tcase_add_loop_test(t, engines_have_names, 0, n_engines);
	tcase_add_loop_test_raise_signal(t, a_turn_by_another_thread_aborts, SIGABRT, 0, n_engines);
	tcase_add_loop_test_raise_signal(t, a_turn_within_a_turn_aborts, SIGABRT, 0, n_engines);
}

int main(void)
{
	return run_on_engines("ev/loop", add_tests);
}
