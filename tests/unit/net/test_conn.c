/* SPDX-License-Identifier: Apache-2.0 */
/* A connection's end: the moves of its two directions, its operations, and its owner. */
#include <signal.h>
#include <sys/wait.h>

#include "../ev/loop_fixture.h"
#include "net/conn.h"
#include "util/slab.h"

#define CLASS_CONN 3u

/* An owner of conns, with the completions that it has got. */
struct owner {
	int n_done;
	unsigned op;
	uint8_t role;
	int32_t res;
	char byte;
};

static struct conns conns;

static void on_conn(void *arg, const struct completion *done)
{
	const struct conn *c = conn_find(arg, done);
	struct owner *o = c->owner;

	o->n_done++;
	o->op = tag_kind(done->tag);
	o->role = c->role;
	o->res = done->res;
	if (done->buf != NULL) {
		o->byte = (char)done->buf->data[0];
		buf_put(loop->bufs, done->buf);
	}
}

static void begin_conns(int engine)
{
	begin(engine);
	ck_assert_int_eq(conns_init(&conns, loop, CLASS_CONN, 8), 0);
	ck_assert_int_eq(slab_reserve(conns.slab, 8), 0);
	loop_set_handler(loop, CLASS_CONN, on_conn, &conns);
}

static void end_conns(void)
{
	conns_deinit(&conns); /* which asserts that no conn is left */
	end();
}

/* A conn on one end of a connection; *ret_peer is the other. */
static struct conn *connected(struct owner *o, uint8_t role, int *ret_peer)
{
	struct conn *c = conn_new(&conns, o, role);
	int fds[2];

	tcp_pair(fds);
	conn_open(c, fds[0]);
	*ret_peer = fds[1];
	return c;
}

static void end_conn(struct conn *c, int peer)
{
	conn_close(&conns, c);
	ck_assert_ptr_null(conn_free(&conns, c));
	close(peer);
}

/* ---- the tables ------------------------------------------------------------------------------ */

static const struct {
	const char *name;
	int from, to;
	bool is_legal;
} rx_moves[] = {
	{ "an end is announced", RX_OPEN, RX_ENDING, true },
	{ "a send finds a reset", RX_OPEN, RX_BROKEN, true },
	{ "a FIN", RX_OPEN, RX_EOF, true },
	{ "a reset", RX_OPEN, RX_RESET, true },
	{ "the announced end is a FIN", RX_ENDING, RX_EOF, true },
	{ "the announced end is a reset", RX_ENDING, RX_RESET, true },
	{ "a send finds which", RX_ENDING, RX_BROKEN, true },
	{ "what is broken ends in a reset", RX_BROKEN, RX_RESET, true },
	{ "what is broken has no FIN", RX_BROKEN, RX_EOF, false },
	{ "no end is taken back", RX_ENDING, RX_OPEN, false },
	{ "no FIN is taken back", RX_EOF, RX_OPEN, false },
	{ "a FIN is the last", RX_EOF, RX_RESET, false },
	{ "a reset is the last", RX_RESET, RX_EOF, false },
	{ "a state is no move", RX_EOF, RX_EOF, false },
}, tx_moves[] = {
	{ "our FIN", TX_OPEN, TX_SHUT, true },
	{ "the peer takes no more", TX_OPEN, TX_CLOSED, true },
	{ "the peer took our FIN, and takes no more", TX_SHUT, TX_CLOSED, true },
	{ "no FIN is taken back", TX_SHUT, TX_OPEN, false },
	{ "no FIN behind the end", TX_CLOSED, TX_SHUT, false },
	{ "one FIN", TX_SHUT, TX_SHUT, false },
};

/* Whether a child that makes the move survives. */
static bool survives(int rx_from, int rx_to, int tx_from, int tx_to)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct conn c = { .fd = -1,
				  .rx = (uint8_t)(rx_from & 7),
				  .tx = (uint8_t)(tx_from & 3) };
		(void)close(STDERR_FILENO);
		if (rx_to >= 0)
			conn_set_rx(&c, (enum conn_rx)rx_to);
		if (tx_to >= 0)
			conn_set_tx(&c, (enum conn_tx)tx_to);
		_exit(c.rx == (rx_to >= 0 ? rx_to : rx_from) &&
				      c.tx == (tx_to >= 0 ? tx_to : tx_from)
			      ? 0
			      : 1);
	}
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status) ? WTERMSIG(status) == SIGABRT : WEXITSTATUS(status) == 0);
	return WIFEXITED(status);
}

START_TEST(receiving_moves_as_the_table_says)
{
	ck_assert_msg(survives(rx_moves[_i].from, rx_moves[_i].to, TX_OPEN, -1) ==
			      rx_moves[_i].is_legal,
		      "%s", rx_moves[_i].name);
}
END_TEST

START_TEST(sending_moves_as_the_table_says)
{
	ck_assert_msg(survives(RX_OPEN, -1, tx_moves[_i].from, tx_moves[_i].to) ==
			      tx_moves[_i].is_legal,
		      "%s", tx_moves[_i].name);
}
END_TEST

static const struct {
	const char *name;
	enum conn_rx before, after;
	int error;
} ends[] = {
	{ "a FIN", RX_OPEN, RX_EOF, 0 },
	{ "a reset", RX_OPEN, RX_RESET, -ECONNRESET },
	{ "an announced FIN", RX_ENDING, RX_EOF, 0 },
	{ "a FIN that is none", RX_BROKEN, RX_RESET, 0 },
	{ "a time-out", RX_ENDING, RX_RESET, -ETIMEDOUT },
};

START_TEST(an_end_is_told_from_a_reset)
{
	struct conn c = { .fd = -1, .rx = ends[_i].before & 7 };

	conn_ended(&c, ends[_i].error);
	ck_assert_msg(c.rx == ends[_i].after, "%s", ends[_i].name);
}
END_TEST

/* ---- operations ------------------------------------------------------------------------------ */

START_TEST(a_completion_finds_its_conn)
{
	struct owner first = { 0 }, second = { 0 };
	int peers[2];

	begin_conns(_i);
	struct conn *a = connected(&first, 0, &peers[0]), *b = connected(&second, 1, &peers[1]);
	conn_recv(&conns, a, 1, BUF_SMALL);
	conn_recv(&conns, b, 1, BUF_SMALL);
	ck_assert(conn_is_in_flight(a, CONN_RECV) && !conn_is_in_flight(a, CONN_SEND));
	ck_assert_int_eq(write(peers[1], "b", 1), 1);
	UNTIL(second.n_done == 1);
	ck_assert_int_eq(first.n_done, 0);
	ck_assert(second.op == CONN_RECV && second.role == 1 && second.res == 1 &&
		  second.byte == 'b');
	ck_assert(!conn_is_in_flight(b, CONN_RECV));
	conn_cancel_all(&conns, a);
	UNTIL(first.n_done == 1);
	ck_assert_int_eq(first.res, -ECANCELED);
	ck_assert_int_eq(a->in_flight, 0);
	end_conn(a, peers[0]);
	end_conn(b, peers[1]);
	end_conns();
}
END_TEST

/* With some engines a receive goes on, with others it ends with each completion. */
static void arm(struct conn *c)
{
	if (!conn_is_in_flight(c, CONN_RECV))
		conn_recv(&conns, c, 4096, BUF_SMALL);
}

/* As when a backend's connection is pooled, and taken by another session. */
START_TEST(an_armed_receive_goes_to_the_next_owner)
{
	struct owner first = { 0 }, second = { 0 };
	int peer;

	begin_conns(_i);
	struct conn *c = connected(&first, 1, &peer);
	conn_recv(&conns, c, 4096, BUF_SMALL);
	ck_assert_int_eq(write(peer, "1", 1), 1);
	UNTIL(first.n_done == 1);
	arm(c);
	conn_set_owner(c, &second, 7);
	idle();
	ck_assert_int_eq(write(peer, "2", 1), 1);
	UNTIL(second.n_done == 1);
	ck_assert(second.byte == '2' && second.role == 7 && second.op == CONN_RECV);
	arm(c);
	close(peer);
	UNTIL(!conn_is_in_flight(c, CONN_RECV));
	ck_assert_int_eq(second.res, 0);
	ck_assert_int_eq(first.n_done, 1);
	conn_close(&conns, c);
	conn_free(&conns, c);
	end_conns();
}
END_TEST

START_TEST(bytes_and_a_fin_go_out)
{
	struct owner o = { 0 };
	struct iovec iov = { .iov_base = (char[]){ 'x' }, .iov_len = 1 };
	char got;
	int peer;

	begin_conns(_i);
	struct conn *c = connected(&o, 0, &peer);
	conn_send(&conns, c, &iov, 1, SEND_WAIT);
	UNTIL(o.n_done == 1);
	ck_assert(o.op == CONN_SEND && o.res == 1);
	conn_shutdown(&conns, c);
	ck_assert_uint_eq(c->tx, TX_SHUT);
	ck_assert_int_eq(recv(peer, &got, 1, 0), 1);
	ck_assert_int_eq(recv(peer, &got, 1, 0), 0);
	end_conn(c, peer);
	end_conns();
}
END_TEST

START_TEST(a_conn_may_be_opened_again)
{
	struct owner o = { 0 };
	int peers[2], fds[2];
	char byte;

	begin_conns(_i);
	struct conn *c = connected(&o, 0, &peers[0]);
	conn_ended(c, -ECONNRESET);
	conn_set_tx(c, TX_CLOSED);
	conn_reset(&conns, c);
	ck_assert(!conn_is_open(c) && c->rx == RX_RESET && c->tx == TX_CLOSED);
	ck_assert_int_eq(loop_turn(loop, 0), 0);
	ck_assert_int_eq(recv(peers[0], &byte, 1, 0), -1);
	ck_assert_int_eq(errno, ECONNRESET);
	tcp_pair(fds);
	conn_open(c, fds[0]);
	ck_assert(conn_is_open(c) && c->rx == RX_OPEN && c->tx == TX_OPEN);
	close(peers[0]);
	end_conn(c, fds[1]);
	end_conns();
}
END_TEST

/* ---- mistakes of an owner -------------------------------------------------------------------- */

START_TEST(a_second_receive_aborts)
{
	struct owner o = { 0 };
	int peer;

	begin_conns(0);
	struct conn *c = connected(&o, 0, &peer);
	conn_recv(&conns, c, 1, BUF_SMALL);
	conn_recv(&conns, c, 1, BUF_SMALL);
}
END_TEST

START_TEST(a_close_with_a_receive_in_flight_aborts)
{
	struct owner o = { 0 };
	int peer;

	begin_conns(0);
	struct conn *c = connected(&o, 0, &peer);
	conn_recv(&conns, c, 1, BUF_SMALL);
	conn_close(&conns, c);
}
END_TEST

START_TEST(a_receive_behind_the_end_aborts)
{
	struct owner o = { 0 };
	int peer;

	begin_conns(0);
	struct conn *c = connected(&o, 0, &peer);
	conn_ended(c, 0);
	conn_recv(&conns, c, 1, BUF_SMALL);
}
END_TEST

START_TEST(a_send_behind_our_fin_aborts)
{
	struct owner o = { 0 };
	struct iovec iov = { .iov_base = "x", .iov_len = 1 };
	int peer;

	begin_conns(0);
	struct conn *c = connected(&o, 0, &peer);
	conn_shutdown(&conns, c);
	conn_send(&conns, c, &iov, 1, SEND_TRY);
}
END_TEST

START_TEST(freeing_an_open_conn_aborts)
{
	struct owner o = { 0 };
	int peer;

	begin_conns(0);
	conn_free(&conns, connected(&o, 0, &peer));
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, receiving_moves_as_the_table_says, 0, (int)ARRAY_SIZE(rx_moves));
	tcase_add_loop_test(t, sending_moves_as_the_table_says, 0, (int)ARRAY_SIZE(tx_moves));
	tcase_add_loop_test(t, an_end_is_told_from_a_reset, 0, (int)ARRAY_SIZE(ends));
	tcase_add_loop_test(t, a_completion_finds_its_conn, 0, n_engines);
	tcase_add_loop_test(t, an_armed_receive_goes_to_the_next_owner, 0, n_engines);
	tcase_add_loop_test(t, bytes_and_a_fin_go_out, 0, n_engines);
	tcase_add_loop_test(t, a_conn_may_be_opened_again, 0, n_engines);
	tcase_add_test_raise_signal(t, a_second_receive_aborts, SIGABRT);
	tcase_add_test_raise_signal(t, a_close_with_a_receive_in_flight_aborts, SIGABRT);
	tcase_add_test_raise_signal(t, a_receive_behind_the_end_aborts, SIGABRT);
	tcase_add_test_raise_signal(t, a_send_behind_our_fin_aborts, SIGABRT);
	tcase_add_test_raise_signal(t, freeing_an_open_conn_aborts, SIGABRT);
}

int main(void)
{
	return run_on_engines("net/conn", add_tests);
}
