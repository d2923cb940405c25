/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of a session and of its request, as `conns` lists them, and what no state may follow.
 * One client and one backend, which are plain sockets.
 */
#include <signal.h>

#include "../ev/later.h"
#include "worker_fixture.h"

#include "proxy/exchange.h"
#include "util/slab.h"

static int client = -1, server = -1; /* the ends of the test */

/* The one session, on whichever worker. */
static struct session *session(void)
{
	struct session *s = NULL;
	uint32_t cursor;

	for (int i = 0; i < N_WORKERS && s == NULL; i++) {
		cursor = 0;
		s = slab_next(rigs[i].w->sessions, &cursor);
	}
	return s;
}

/* Turns until the session is listed with these words. */
static void await(const char *conn_state, const char *request_state, const char *state)
{
	const struct conn_filter f = { .limit = 10 };
	bool is_there = false;

	TURN_UNTIL(session() != NULL);
	int worker = (int)session()->worker->id;
	for (int i = 0; i < 1000 && !is_there; i++) {
		const struct conn_list *l = list_conns(worker, &f);
		is_there = l->n_rows == 1 && strcmp(l->rows[0].conn_state, conn_state) == 0 &&
			   strcmp(l->rows[0].request_state, request_state) == 0;
		ck_assert_msg(!is_there || strcmp(l->rows[0].state, state) == 0, "%s %s is \"%s\"",
			      conn_state, request_state, l->rows[0].state);
	}
	free_reply();
	ck_assert_msg(is_there, "the session is never %s %s, but %s %s", conn_state, request_state,
		      session_state_word(session()),
		      session()->x != NULL ? exchange_state_word(session()->x) : "-");
}

static void say(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void begin_client(int engine, const char *with_mode)
{
	mode = with_mode;
	begin_serving(engine);
	put_in_force();
	client = dial(listener->addr.port);
}

static void accept_server(void)
{
	TURN_UNTIL(server >= 0 || (server = loop_accept_now(loop, backend_fd)) >= 0);
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

START_TEST(a_plain_request_goes_through_its_states)
{
	begin_client(_i, "http");
	await("idle", "", "hello");
	say(client, "POST / HTTP/1.1\r\n");
	await("busy", "head", "hello");
	say(client, "Host: x\r\nContent-Length: 4\r\n\r\n");
	accept_server();
	await("busy", "send", "upgrade");
	say(client, "body");
	await("busy", "await", "upgrade");
	say(server, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
	await("busy", "body", "relay");
	say(server, "body");
	await("closing", "", "drain");
	ck_assert_int_eq(session()->x->state, EXCHANGE_DONE);
	ck_assert_int_eq(session()->x->outcome, OUTCOME_COMPLETED);
	end_client();
}
END_TEST

START_TEST(an_upgrade_becomes_a_tunnel)
{
	begin_client(_i, "http");
	say(client, "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
	accept_server();
	await("busy", "await", "upgrade");
	say(server, "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
	await("tunnel", "", "relay");
	ck_assert_ptr_null(session()->x);
	end_client();
}
END_TEST

START_TEST(mode_tcp_is_a_tunnel_at_once)
{
	begin_client(_i, "tcp");
	accept_server();
	await("tunnel", "", "relay");
	end_client();
}
END_TEST

START_TEST(a_full_backend_is_waited_for)
{
	begin_client(_i, "http");
	for (int i = 0; i < N_WORKERS; i++)
		later_follow(rigs[i].loop);
	later_stand_still(loop);
	backend_set_max_conns(backend, 1);
	ck_assert(backend_reserve(backend)); /* as another worker does */
	say(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	await("busy", "wait", "pick");
	backend_release(backend);
	later(WAIT_LOOK_MS);
	accept_server();
	await("busy", "await", "upgrade");
	end_client();
}
END_TEST

/* A request that lb refuses has its outcome while its client is still read. */
START_TEST(a_refusal_is_an_outcome)
{
	begin_client(_i, "http");
	say(client, "BAD\r\n\r\n");
	await("closing", "", "drain");
	ck_assert_int_eq(session()->x->outcome, OUTCOME_BAD_REQUEST);
	ck_assert_int_eq(session()->end, SESS_END_BAD_REQUEST);
	end_client();
}
END_TEST

/* ---- what must not be ------------------------------------------------------------------------ */

static struct session *idle_session(void)
{
	begin_client(0, "http");
	await("idle", "", "hello");
	return session();
}

START_TEST(a_session_never_goes_back)
{
	struct session *s = idle_session();

	session_set_state(s, SESS_BUSY);
	session_set_state(s, SESS_IDLE);
}
END_TEST

START_TEST(a_request_leaves_out_no_state)
{
	exchange_set_state(idle_session()->x, EXCHANGE_SEND);
}
END_TEST

START_TEST(a_request_is_not_over_without_an_outcome)
{
	exchange_set_state(idle_session()->x, EXCHANGE_DONE);
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, a_plain_request_goes_through_its_states, 0, n_engines);
	tcase_add_loop_test(t, an_upgrade_becomes_a_tunnel, 0, n_engines);
	tcase_add_loop_test(t, mode_tcp_is_a_tunnel_at_once, 0, n_engines);
	tcase_add_loop_test(t, a_full_backend_is_waited_for, 0, n_engines);
	tcase_add_loop_test(t, a_refusal_is_an_outcome, 0, n_engines);
	tcase_add_test_raise_signal(t, a_session_never_goes_back, SIGABRT);
	tcase_add_test_raise_signal(t, a_request_leaves_out_no_state, SIGABRT);
	tcase_add_test_raise_signal(t, a_request_is_not_over_without_an_outcome, SIGABRT);
}

int main(void)
{
	return run_on_engines("proxy/state", add_tests);
}
