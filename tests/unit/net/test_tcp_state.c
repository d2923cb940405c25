/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What TCP tells of a peer, on loopback. A peer vanishes by a filter on its socket, which drops
 * every packet.
 */
#include <linux/filter.h>

#include "../ev/loop_fixture.h"
#include "net/sock.h"
#include "net/tcp_state.h"

/* Writes until the kernel takes no more: the peer does not read, and its window is closed. */
static void stuff(int fd)
{
	static const char zeros[65536];

	for (int quiet = 0; quiet < 5; quiet++) {
		while (send(fd, zeros, sizeof(zeros), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
			quiet = 0;
		ck_assert_int_eq(errno, EAGAIN);
		(void)usleep(2000);
	}
}

static void drop_all(int fd)
{
	struct sock_filter code[] = { BPF_STMT(BPF_RET | BPF_K, 0) };
	struct sock_fprog program = { .len = ARRAY_SIZE(code), .filter = code };

	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)),
			 0);
}

START_TEST(bytes_are_delivered_once_acknowledged)
{
	int fds[2];
	uint8_t skipped[65536];

	begin(_i);
	tcp_pair(fds);
	ck_assert(tcp_state_is_delivered(loop, fds[0]));
	stuff(fds[0]);
	ck_assert(!tcp_state_is_delivered(loop, fds[0]));
	for (int i = 0; i < 20000 && !tcp_state_is_delivered(loop, fds[0]); i++)
		if (recv(fds[1], skipped, sizeof(skipped), MSG_DONTWAIT) < 0)
			(void)usleep(100);
	ck_assert(tcp_state_is_delivered(loop, fds[0]));
	close_pair(fds);
	end();
}
END_TEST

/* The bytes of a peer that does not read: those that its kernel took, and no more. */
START_TEST(what_is_taken_can_be_followed)
{
	struct tcp_taken was, now;
	uint8_t skipped[65536];
	int fds[2];

	begin(_i);
	tcp_pair(fds);
	stuff(fds[0]);
	do { /* the first look may come before the peer's delayed acknowledgement */
		ck_assert(tcp_state_taken(loop, fds[0], &was));
		(void)usleep(100000);
		ck_assert(tcp_state_taken(loop, fds[0], &now));
	} while (now.bytes != was.bytes);
	ck_assert_uint_ge(now.quiet_ms, 90); /* the kernel counts in ticks */
	/* Looks again when this look came late. */
	for (int i = 0; i < 20000 && (now.bytes == was.bytes || now.quiet_ms >= 90); i++) {
		if (recv(fds[1], skipped, sizeof(skipped), MSG_DONTWAIT) < 0)
			(void)usleep(100);
		ck_assert(tcp_state_taken(loop, fds[0], &now));
	}
	ck_assert_uint_ne(now.bytes, was.bytes);
	ck_assert_uint_lt(now.quiet_ms, 90);
	close_pair(fds);
	end();
}
END_TEST

/* Nothing will be delivered any more, so there is nothing to wait for. */
START_TEST(a_reset_ends_the_waiting)
{
	int fds[2];

	begin(_i);
	tcp_pair(fds);
	stuff(fds[0]);
	ck_assert(!tcp_state_is_delivered(loop, fds[0]));
	close_peer(fds[1], true);
	UNTIL(tcp_state_is_delivered(loop, fds[0]));
	ck_assert(!tcp_state_taken(loop, fds[0], &(struct tcp_taken){ 0 }));
	ck_assert_int_eq(sock_error(loop, fds[0]), ECONNRESET);
	ck_assert_int_eq(sock_error(loop, fds[0]), 0);
	loop_close(loop, fds[0]);
	end();
}
END_TEST

/* Both end in ETIMEDOUT; only the last acknowledgement tells them apart. */
static const struct {
	const char *name;
	bool vanishes;
} peers[] = {
	{ "alive, but takes no byte", false },
	{ "vanished", true },
};

START_TEST(a_stalled_peer_is_told_from_a_vanished_one)
{
	enum { USER_MS = 400 };
	int fds[2];

	begin(_i % n_engines);
	tcp_pair(fds);
	sock_set_user_timeout(loop, fds[0], USER_MS);
	if (peers[_i / n_engines].vanishes) {
		drop_all(fds[1]);
		ck_assert_int_eq(write(fds[0], "x", 1), 1);
	} else {
		stuff(fds[0]);
	}
	loop_poll(loop, fds[0], 0, tag(0));
	UNTIL(ops[0].n_last == 1);
	ck_assert_int_eq(sock_error(loop, fds[0]), ETIMEDOUT);
	ck_assert_msg(tcp_state_is_alive(loop, fds[0], USER_MS) != peers[_i / n_engines].vanishes,
		      "%s", peers[_i / n_engines].name);
	close_pair(fds);
	end();
}
END_TEST

/* A descriptor that gives no TCP_INFO counts as not alive, and is not waited for. */
START_TEST(what_is_no_tcp_socket_knows_nothing)
{
	int fds[2];

	begin(_i);
	ck_assert_int_eq(pipe(fds), 0);
	ck_assert(tcp_state_is_delivered(loop, fds[0]));
	ck_assert(!tcp_state_is_alive(loop, fds[0], 1000));
	ck_assert(!tcp_state_taken(loop, fds[0], &(struct tcp_taken){ 0 }));
	ck_assert_int_eq(sock_error(loop, fds[0]), 0);
	close(fds[0]);
	close(fds[1]);
	end();
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, bytes_are_delivered_once_acknowledged, 0, n_engines);
	tcase_add_loop_test(t, what_is_taken_can_be_followed, 0, n_engines);
	tcase_add_loop_test(t, a_reset_ends_the_waiting, 0, n_engines);
	tcase_add_loop_test(t, a_stalled_peer_is_told_from_a_vanished_one, 0,
			    n_engines * (int)ARRAY_SIZE(peers));
	tcase_add_loop_test(t, what_is_no_tcp_socket_knows_nothing, 0, n_engines);
}

int main(void)
{
	return run_on_engines("net/tcp_state", add_tests);
}
