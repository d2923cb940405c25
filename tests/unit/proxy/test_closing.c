/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a refused client is read on, by a clock that the test moves. It is a plain socket, as
 * the backend is.
 */
#include "../ev/later.h"
#include "worker_fixture.h"

#define LINGER_BYTES (64u << 10)
#define GET "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

static void begin_replies(int engine)
{
	mode = "http";
	begin_serving(engine);
	for (int i = 0; i < N_WORKERS; i++)
		later_follow(rigs[i].loop);
	put_in_force();
	later_stand_still(loop);
}

static void end_replies(void)
{
	put_out_of_force();
	end_serving();
}

static uint32_t n_sessions(void)
{
	return rigs[0].w->n_sessions + rigs[1].w->n_sessions;
}

/* Turns for a while: whoever was to be ended is. */
static void settle(void)
{
	for (int i = 0; i < 10; i++)
		turn_all();
}

/* Lets time pass, in which the client goes on sending what nobody reads. */
static void wait_sending(int fd, uint64_t ms)
{
	for (int i = 0; i < 10; i++) {
		ck_assert_int_eq(send(fd, "more", 4, MSG_NOSIGNAL), 4);
		settle();
		later(ms / 10);
	}
	settle();
}

static void say(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static char heard[1 << 16];
static size_t n_heard;

/* Whether the client has heard all that comes. */
static bool has_heard_end(int fd)
{
	ssize_t n = recv(fd, heard + n_heard, sizeof(heard) - n_heard - 1, MSG_DONTWAIT);

	ck_assert(n >= 0 || errno == EAGAIN);
	n_heard += n > 0 ? (size_t)n : 0;
	return n == 0;
}

/* A client that is refused, has its answer and the end behind it, and stays. */
static int refused(void)
{
	int fd = dial(listener->addr.port);

	say(fd, "BAD\r\n\r\n");
	TURN_UNTIL(has_heard_end(fd));
	ck_assert_int_eq(strncmp(heard, "HTTP/1.1 400 ", 13), 0);
	return fd;
}

START_TEST(it_is_read_for_2_seconds)
{
	begin_replies(_i);
	int fd = refused();
	wait_sending(fd, 1990);
	ck_assert_uint_eq(n_sessions(), 1);
	later(20);
	TURN_UNTIL(n_sessions() == 0);
	close(fd);
	end_replies();
}
END_TEST

START_TEST(it_is_read_for_64_kib)
{
	static char more[LINGER_BYTES];

	begin_replies(_i);
	int fd = refused();
	ck_assert_int_eq(send(fd, more, sizeof(more), 0), sizeof(more));
	settle();
	ck_assert_uint_eq(n_sessions(), 1);
	ck_assert_int_eq(send(fd, more, 1, 0), 1);
	TURN_UNTIL(n_sessions() == 0);
	close(fd);
	end_replies();
}
END_TEST

START_TEST(who_closes_is_gone)
{
	begin_replies(_i);
	int fd = refused();
	close(fd);
	TURN_UNTIL(n_sessions() == 0);
	end_replies();
}
END_TEST

/* ---- a body that goes on coming
 * ------------------------------------------------------------------ */

/* A client that is answered by the backend in the midst of its body, and has heard it. */
static int answered_early(void)
{
	static const char answer[] = "HTTP/1.1 413 x\r\nContent-Length: 0\r\n\r\n";
	int fd = dial(listener->addr.port);
	int conn = -1;

	say(fd, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n");
	TURN_UNTIL(conn >= 0 || (conn = loop_accept_now(loop, backend_fd)) >= 0);
	ck_assert_int_eq(send(conn, answer, sizeof(answer) - 1, MSG_NOSIGNAL), sizeof(answer) - 1);
	n_heard = 0;
	TURN_UNTIL(has_heard_end(fd));
	ck_assert_int_eq(strncmp(heard, "HTTP/1.1 413 ", 13), 0);
	close(conn);
	return fd;
}

START_TEST(a_body_is_read_for_30_seconds)
{
	static char more[LINGER_BYTES];

	begin_replies(_i);
	int fd = answered_early();
	for (int i = 0; i < 29; i++) {
		ck_assert_int_eq(send(fd, more, sizeof(more), MSG_NOSIGNAL), sizeof(more));
		settle();
		ck_assert_uint_eq(n_sessions(), 1);
		later(1000);
	}
	wait_sending(fd, 990);
	ck_assert_uint_eq(n_sessions(), 1);
	later(20);
	TURN_UNTIL(n_sessions() == 0);
	close(fd);
	end_replies();
}
END_TEST

START_TEST(a_body_may_pause_for_2_seconds)
{
	begin_replies(_i);
	int fd = answered_early();
	for (int i = 0; i < 3; i++) {
		later(1980);
		settle();
		ck_assert_uint_eq(n_sessions(), 1);
		say(fd, "more");
		settle();
	}
	later(2020);
	TURN_UNTIL(n_sessions() == 0);
	close(fd);
	end_replies();
}
END_TEST

/* ---- an answer that is not delivered --------------------------------------------------------- */

/* A client that takes a few bytes only, however many there are for it. */
static int dial_small(void)
{
	struct sockaddr_in to = loopback(listener->addr.port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), small = 4096;

	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

/* A client whose window is full of interim responses when the backend answers nonsense. */
static int refused_unread(void)
{
	static char interim[13000] = "HTTP/1.1 103 x\r\nLink: ";
	int fd = dial_small();
	size_t n = sizeof(interim), part = strlen(interim);
	int conn = -1;

	say(fd, GET);
	TURN_UNTIL(conn >= 0 || (conn = loop_accept_now(loop, backend_fd)) >= 0);
	memset(interim + part, 'x', n - part);
	memcpy(interim + n - 4, "\r\n\r\n", 4);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(send(conn, interim, n, MSG_NOSIGNAL), (ssize_t)n);
		settle();
	}
	say(conn, "HTTP/9\r\n\r\n");
	settle();
	close(conn);
	ck_assert_uint_eq(n_sessions(), 1);
	return fd;
}

/* Then the answer would be lost by a reset: the client is read on, however much it sends. */
START_TEST(it_is_read_for_30_seconds_before_it_has_its_answer)
{
	static char more[LINGER_BYTES];

	begin_replies(_i);
	int fd = refused_unread();
	for (int i = 0; i < 4; i++) {
		ck_assert_int_eq(send(fd, more, sizeof(more), MSG_NOSIGNAL), sizeof(more));
		settle();
	}
	wait_sending(fd, 29990);
	ck_assert_uint_eq(n_sessions(), 1);
	later(20);
	TURN_UNTIL(n_sessions() == 0);
	close(fd);
	end_replies();
}
END_TEST

/* One that takes its answer late has it. */
START_TEST(a_late_reader_has_its_answer)
{
	begin_replies(_i);
	int fd = refused_unread();
	wait_sending(fd, 29990);
	TURN_UNTIL(has_heard_end(fd));
	ck_assert_ptr_nonnull(strstr(heard, "\r\n\r\nHTTP/1.1 502 "));
	later(20);
	TURN_UNTIL(n_sessions() == 0);
	close(fd);
	end_replies();
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, it_is_read_for_2_seconds, 0, n_engines);
	tcase_add_loop_test(t, it_is_read_for_64_kib, 0, n_engines);
	tcase_add_loop_test(t, who_closes_is_gone, 0, n_engines);
	tcase_add_loop_test(t, a_body_is_read_for_30_seconds, 0, n_engines);
	tcase_add_loop_test(t, a_body_may_pause_for_2_seconds, 0, n_engines);
	tcase_add_loop_test(t, it_is_read_for_30_seconds_before_it_has_its_answer, 0, n_engines);
	tcase_add_loop_test(t, a_late_reader_has_its_answer, 0, n_engines);
}

int main(void)
{
	return run_on_engines("proxy/closing", add_tests);
}
