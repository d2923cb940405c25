/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PROXY header in front of a connection: whose the session is then, what comes behind the
 * header, and what ends the session. One client and one backend, which are plain sockets.
 */
#include "../ev/later.h"
#include "worker_fixture.h"

#include "proxy/exchange.h"
#include "proxy/session.h"
#include "util/slab.h"

#define LINE "PROXY TCP4 192.0.2.7 198.51.100.9 4711 443\r\n"
#define GET "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
#define FROM_LOOPBACK "proxy_protocol: {from: [127.0.0.0/8]}"

static int client = -1, server = -1; /* the ends of the test */

/* The one session, on whichever worker. */
static struct session *session(void)
{
	struct session *s = NULL;

	for (int i = 0; i < N_WORKERS && s == NULL; i++) {
		uint32_t cursor = 0;
		s = slab_next(rigs[i].w->sessions, &cursor);
	}
	return s;
}

static uint64_t n_ends(enum sess_end e)
{
	uint64_t n = 0;

	for (int i = 0; i < N_WORKERS; i++)
		n += counter_read(&rigs[i].w->stats->ends[e]);
	return n;
}

static void say(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void begin_client(int engine, const char *with_mode)
{
	mode = with_mode;
	begin_serving(engine);
	for (int i = 0; i < N_WORKERS; i++)
		later_follow(rigs[i].loop);
	put_in_force();
	later_stand_still(loop);
	client = dial(listener->addr.port);
	TURN_UNTIL(session() != NULL);
}

static void end_client(void)
{
	close(client);
	if (server >= 0)
		close(server);
	TURN_UNTIL(session() == NULL);
	put_out_of_force();
	end_serving();
}

/* What has come to the backend, as soon as it ends with `end`. */
static const char *hear(const char *end)
{
	static char text[2048];
	size_t n = 0, n_end = strlen(end);

	TURN_UNTIL(server >= 0 || (server = loop_accept_now(loop, backend_fd)) >= 0);
	for (int i = 0; i < 1000 && (n < n_end || strcmp(text + n - n_end, end) != 0); i++) {
		turn_all();
		ssize_t r = recv(server, text + n, sizeof(text) - 1 - n, MSG_DONTWAIT);
		ck_assert_int_ne(r, 0);
		n += r > 0 ? (size_t)r : 0;
		text[n] = '\0';
	}
	ck_assert_str_eq(text + n - n_end, end);
	return text;
}

static void assert_client_is(const char *want)
{
	char text[ADDR_TEXT_MAX];

	ck_assert_str_eq(addr_format(&session()->client, text), want);
}

/* The first piece leaves the session in PREAMBLE, with the address of its socket. */
START_TEST(a_header_in_pieces)
{
	begin_client(_i, "http, " FROM_LOOPBACK);
	for (const char *p = LINE; *p != '\0'; p++) {
		ck_assert_int_eq(session()->state, SESS_PREAMBLE);
		ck_assert_int_eq(memcmp(session()->client.v4, (uint8_t[]){ 127, 0, 0, 1 }, 4), 0);
		say(client, (char[]){ *p, '\0' });
		turn_all();
		turn_all();
	}
	TURN_UNTIL(session()->state == SESS_IDLE);
	assert_client_is("192.0.2.7:4711");
	ck_assert_ptr_null(session()->x->head[CLIENT]);
	say(client, GET);
	ck_assert_ptr_nonnull(strstr(hear("\r\n\r\n"), "X-Forwarded-For: 192.0.2.7\r\n"));
	end_client();
}
END_TEST

START_TEST(a_request_behind_the_header)
{
	begin_client(_i, "http, " FROM_LOOPBACK);
	say(client, LINE GET);
	ck_assert_ptr_nonnull(strstr(hear("\r\n\r\n"), "X-Forwarded-For: 192.0.2.7\r\n"));
	assert_client_is("192.0.2.7:4711");
	end_client();
}
END_TEST

START_TEST(a_tunnels_bytes_behind_the_header)
{
	begin_client(_i, "tcp, " FROM_LOOPBACK);
	say(client, LINE "bytes");
	ck_assert_str_eq(hear("bytes"), "bytes");
	assert_client_is("192.0.2.7:4711");
	ck_assert_int_eq(session()->state, SESS_TUNNEL);
	end_client();
}
END_TEST

START_TEST(unknown_keeps_the_sockets_address)
{
	begin_client(_i, "tcp, " FROM_LOOPBACK);
	struct addr own = session()->client;
	say(client, "PROXY UNKNOWN 1 2 3 4\r\nbytes");
	ck_assert_str_eq(hear("bytes"), "bytes");
	ck_assert(addr_eq(&session()->client, &own));
	end_client();
}
END_TEST

START_TEST(from_another_network_it_is_not_read)
{
	begin_client(_i, "tcp, proxy_protocol: {from: [10.0.0.0/8, '::/0']}");
	struct addr own = session()->client;
	say(client, LINE "bytes");
	ck_assert_str_eq(hear("bytes"), LINE "bytes");
	ck_assert(addr_eq(&session()->client, &own));
	end_client();
}
END_TEST

static const char *const no_headers[] = { "G", "PROXX", "\r\n\r\nx", "PROXY TCP4 1.2.3.4\r\n" };

/* The first byte that differs decides; what is in a line is judged at its end. */
START_TEST(what_is_no_header_ends_the_session)
{
	int row = _i / n_engines;

	begin_client(_i % n_engines, row % 2 == 0 ? "http, " FROM_LOOPBACK : "tcp, " FROM_LOOPBACK);
	say(client, no_headers[row]);
	TURN_UNTIL(session() == NULL);
	ck_assert_uint_eq(n_ends(SESS_END_BAD_PROXY), 1);
	ck_assert_int_lt(loop_accept_now(loop, backend_fd), 0);
	end_client();
}
END_TEST

START_TEST(silence_ends_the_session)
{
	begin_client(_i, "tcp, timeouts: {handshake: 5s}, " FROM_LOOPBACK);
	say(client, "PROXY ");
	turn_all();
	later(4900);
	turn_all();
	turn_all();
	ck_assert_ptr_nonnull(session());
	later(200);
	TURN_UNTIL(session() == NULL);
	ck_assert_uint_eq(n_ends(SESS_END_HANDSHAKE_TIMEOUT), 1);
	end_client();
}
END_TEST

START_TEST(a_client_that_leaves)
{
	begin_client(_i, "http, " FROM_LOOPBACK);
	say(client, "PROXY ");
	ck_assert_int_eq(shutdown(client, SHUT_WR), 0);
	TURN_UNTIL(session() == NULL);
	ck_assert_uint_eq(n_ends(SESS_END_CLIENT_CLOSED), 1);
	end_client();
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, a_header_in_pieces, 0, n_engines);
	tcase_add_loop_test(t, a_request_behind_the_header, 0, n_engines);
	tcase_add_loop_test(t, a_tunnels_bytes_behind_the_header, 0, n_engines);
	tcase_add_loop_test(t, unknown_keeps_the_sockets_address, 0, n_engines);
	tcase_add_loop_test(t, from_another_network_it_is_not_read, 0, n_engines);
	tcase_add_loop_test(t, what_is_no_header_ends_the_session, 0,
			    n_engines * (int)ARRAY_SIZE(no_headers));
	tcase_add_loop_test(t, silence_ends_the_session, 0, n_engines);
	tcase_add_loop_test(t, a_client_that_leaves, 0, n_engines);
}

int main(void)
{
	return run_on_engines("proxy/preamble", add_tests);
}
