/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop when malloc or the kernel refuses: each call fails completely, leaves nothing behind,
 * and works when there is memory again.
 */
#include "../fault_nth.h"
#include "ev/loop_priv.h"
#include "ev/mailbox.h"
#include "ev/signals.h"
#include "loop_fixture.h"

/* Of a test that is run on each engine, and in each manner. */
static int engine_of(int i)
{
	return i % n_engines;
}

static enum fault_manner manner_of(int i)
{
	return (enum fault_manner)(i / n_engines);
}

/* Notes as loop_fixture.h does, but asserts nothing: for turns inside of WITH_FAULT(). */
static void note(void *arg, const struct completion *c)
{
	struct noted *o = &ops[tag_handle(c->tag)];

	(void)arg;
	o->n++;
	o->n_last += !c->more;
	o->res = c->res;
	if (o->fn != NULL)
		o->fn(c);
}

/* ---- birth ----------------------------------------------------------------------------------- */

static void check_born(struct loop *l)
{
	ck_assert_int_eq(loop_turn(l, 0), 0);
	int fd = loop_socket(l, AF_INET, SOCK_STREAM);
	ck_assert_int_ge(fd, 0);
	loop_close(l, fd);
	ck_assert_int_eq(loop_turn(l, 0), 0);
	ck_assert_ptr_null(loop_free(l));
}

START_TEST(a_loop_is_born_whole_or_not_at_all)
{
	struct loop_opts o = { .engine = engines[engine_of(_i)] };
	unsigned n_not = 0;

	/* A wait that is interrupted once is no reason to fail. */
	fault.wait_error = manner_of(_i) == FAULT_ONE ? EINTR : ENOMEM;
	FOR_EVERY_N(manner_of(_i))
	{
		struct err e = ERR_INIT;
		struct loop *l = NULL;
		int r;

		WITH_FAULT(r = loop_new(&o, &e, &l));
		ck_assert_int_eq(r == 0, l != NULL);
		ck_assert_int_eq(r == 0, e.n == 0);
		ck_assert_int_ne(r, -EINTR);
		ck_assert_int_ne(r, -EAGAIN);
		n_not += r < 0;
		if (r == 0)
			check_born(l);
		err_deinit(&e);
	}
	ck_assert_uint_ge(n_not, 5);
}
END_TEST

/* When the kernel refuses something to io_uring, epoll may still work. */
START_TEST(auto_takes_what_there_is)
{
	struct loop_opts o = { .engine = LOOP_AUTO };
	int n_epoll = 0;

	FOR_EVERY_N(FAULT_ONE)
	{
		struct err e = ERR_INIT;
		struct loop *l = NULL;
		int r;

		WITH_FAULT(r = loop_new(&o, &e, &l));
		ck_assert_int_eq(r == 0, l != NULL);
		if (r == 0) {
			n_epoll += strcmp(loop_engine_name(l), "epoll") == 0;
			check_born(l);
		}
		err_deinit(&e);
	}
	ck_assert_int_ge(n_epoll, 5);
}
END_TEST

START_TEST(a_simulated_engine_is_nobodys_choice)
{
	struct err e = ERR_INIT;
	struct loop *l = NULL;

	ck_assert_int_eq(loop_new(&(struct loop_opts){ .engine = LOOP_SIM }, &e, &l), -EINVAL);
	ck_assert_ptr_null(l);
	ck_assert_uint_eq(e.n, 1);
	err_deinit(&e);
}
END_TEST

/* ---- growth ---------------------------------------------------------------------------------- */

/* When a growth fails, no operation in flight is lost or moved. */
START_TEST(room_that_is_refused_leaves_the_old_one)
{
	FOR_EVERY_N(manner_of(_i))
	{
		int fds[2], r;

		begin(engine_of(_i));
		tcp_pair(fds);
		size_t before = loop->n_ops;
		struct iovec iov = { .iov_base = "x", .iov_len = 1 };
		loop_send(loop, fds[0], &iov, 1, SEND_WAIT, tag(1));
		WITH_FAULT(r = loop_reserve(loop, 3 * before));
		ck_assert_int_eq(r, fault.n_refused > 0 ? -ENOMEM : 0);
		ck_assert_uint_eq(loop->n_ops, r == 0 ? 3 * before : before);
		UNTIL(ops[1].n == 1);
		ck_assert_int_eq(ops[1].res, 1);
		ck_assert_int_eq(loop_reserve(loop, 4 * before), 0);
		ck_assert_uint_eq(loop->n_ops, 4 * before);
		close_pair(fds);
		end();
	}
}
END_TEST

/* ---- descriptors ----------------------------------------------------------------------------- */

/* A new loop has a record of no number yet, so each call below has to make one. */

START_TEST(a_socket_is_made_whole_or_not_at_all)
{
	FOR_EVERY_N(manner_of(_i))
	{
		int fd;

		begin(engine_of(_i));
		WITH_FAULT(fd = loop_socket(loop, AF_INET, SOCK_STREAM));
		ck_assert_int_eq(fd<0, fault.n_refused> 0);
		if (fd < 0)
			fd = loop_socket(loop, AF_INET, SOCK_STREAM);
		ck_assert_int_ge(fd, 0);
		loop_close(loop, fd);
		end();
	}
}
END_TEST

static int filled[256], n_filled;

/* Takes all numbers below `fd`, so that it is the next to be given. */
static void fill_table(int fd)
{
	n_filled = 0;
	do {
		filled[n_filled++] = dup(0);
		ck_assert_int_ge(filled[n_filled - 1], 0);
	} while (filled[n_filled - 1] < fd - 1);
}

static void empty_table(void)
{
	while (n_filled > 0)
		close(filled[--n_filled]);
}

/* The pipe's two ends have their records on two pages, and either page may be refused. */
START_TEST(a_pipe_is_made_whole_or_not_at_all)
{
	enum { BYTES = 4096 };

	FOR_EVERY_N(manner_of(_i))
	{
		int fds[2], r;

		begin(engine_of(_i));
		fill_table(63);
		WITH_FAULT(r = loop_pipe(loop, fds, BYTES));
		ck_assert_int_eq(r<0, fault.n_refused> 0);
		if (r < 0)
			r = loop_pipe(loop, fds, BYTES);
		ck_assert_int_ge(r, BYTES);
		ck_assert_int_eq(fds[0] / 64 + 1, fds[1] / 64);
		loop_close(loop, fds[0]);
		loop_close(loop, fds[1]);
		empty_table();
		end();
	}
}
END_TEST

START_TEST(an_accepted_one_is_taken_whole_or_waits)
{
	FOR_EVERY_N(manner_of(_i))
	{
		uint16_t port;
		int fd;

		begin(engine_of(_i));
		int l = listening(4, &port);
		fill_table(130);
		int peers[2] = { dial(port), dial(port) };
		WITH_FAULT(fd = loop_accept_now(loop, l));
		ck_assert_int_eq(fd<0, fault.n_refused> 0);
		if (fd < 0) /* the first descriptor may be lost with its number, the second one has
			       to come */
			fd = loop_accept_now(loop, l);
		ck_assert_int_ge(fd, 0);
		loop_close(loop, fd);
		close(peers[0]);
		close(peers[1]);
		loop_close(loop, l);
		empty_table();
		end();
	}
}
END_TEST

/* A connection that has ended before the accept is passed over, and the next one is accepted. */
START_TEST(a_connection_that_is_gone_is_passed_over)
{
	static const int errors[] = { ECONNABORTED, EINTR };

	fault.accept_error = errors[_i / n_engines];
	FOR_EVERY_N(FAULT_ONE)
	{
		uint16_t port;
		int fd, peer;

		begin(engine_of(_i));
		int l = listening(4, &port);
		peer = dial(port);
		WITH_FAULT(fd = loop_accept_now(loop, l));
		ck_assert_int_ge(fd, 0);
		loop_close(loop, fd);
		close(peer);

		/* The same for an accept that waits for connections. */
		loop_set_handler(loop, CLASS_TEST, note, NULL);
		int r = 0;
		peer = dial(port);
		loop_accept(loop, l, ACCEPT_MANY, tag(1));
		for (int i = 0; i < 1000 && ops[1].n == 0 && r == 0; i++)
			WITH_FAULT(r = loop_turn(loop, 2));
		ck_assert_int_eq(r, 0);
		ck_assert_int_ge(ops[1].res, 0);
		ck_assert_int_eq(ops[1].n_last, 0);
		loop_close(loop, ops[1].res);
		loop_cancel(loop, l, tag(1));
		UNTIL(ops[1].n_last == 1);
		loop_close(loop, l);
		close(peer);
		end();
	}
}
END_TEST

START_TEST(a_passed_one_is_taken_whole_or_lost)
{
	FOR_EVERY_N(manner_of(_i))
	{
		uint64_t number = 0;
		int chan[2], fd;

		begin(engine_of(_i));
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, chan), 0);
		int passed = loop_socket(loop, AF_INET, SOCK_STREAM);
		fill_table(130);
		for (uint64_t i = 1; i <= 2; i++)
			ck_assert_int_eq(loop_pass_fd(loop, chan[0], passed, i), 0);
		WITH_FAULT(fd = loop_take_fd(loop, chan[1], &number));
		ck_assert_int_eq(fd<0, fault.n_refused> 0);
		if (fd < 0)
			fd = loop_take_fd(loop, chan[1], &number);
		ck_assert_int_ge(fd, 0);
		loop_close(loop, fd);
		loop_close(loop, passed);
		close(chan[0]);
		close(chan[1]);
		empty_table();
		end();
	}
}
END_TEST

/* ---- operations ------------------------------------------------------------------------------ */

enum kind { ACCEPT, RECV, CONNECT, SEND, POLL, N_KINDS };

static struct iovec one_byte = { .iov_base = "x", .iov_len = 1 };

static void start(enum kind kind, int fd, uint16_t port)
{
	struct sockaddr_in to = loopback(port);

	switch (kind) {
	case ACCEPT: loop_accept(loop, fd, ACCEPT_ONE, tag(1)); break;
	case RECV: loop_recv(loop, fd, 1, BUF_SMALL, tag(1)); break;
	case CONNECT: loop_connect(loop, fd, (struct sockaddr *)&to, sizeof(to), tag(1)); break;
	case SEND: loop_send(loop, fd, &one_byte, 1, SEND_WAIT, tag(1)); break;
	case POLL: loop_poll(loop, fd, POLLOUT, tag(1)); break;
	case N_KINDS: ck_abort();
	}
}

/* A descriptor on which the operation has to wait. */
static int descriptor_for(enum kind kind, int *ret_peer, uint16_t *ret_port)
{
	int fds[2];

	if (kind == ACCEPT || kind == CONNECT) {
		int l = listening(4, ret_port);
		*ret_peer = kind == ACCEPT ? -1 : l;
		return kind == ACCEPT ? l : loop_socket(loop, AF_INET, SOCK_STREAM);
	}
	tcp_pair(fds);
	*ret_peer = fds[1];
	if (kind == SEND || kind == POLL)
		for (uint64_t n = 0, more; (more = feed(fds[0], n, 65536)) > 0;)
			n += more;
	return fds[0];
}

/* Lets the event happen that the operation waits for. */
static void let_go_on(enum kind kind, int *peer, uint16_t port)
{
	static uint8_t sink[65536];

	if (kind == ACCEPT)
		*peer = dial(port);
	else if (kind == RECV)
		feed(*peer, 0, 1);
	else if (kind == SEND || kind == POLL)
		while (recv(*peer, sink, sizeof(sink), MSG_DONTWAIT) > 0)
			;
}

/*
 * When epoll cannot watch one more descriptor, the operation ends with that error, and the next one
 * may succeed.
 */
START_TEST(an_operation_that_is_refused_says_so)
{
	enum kind kind = (enum kind)(_i / FAULT_N_MANNERS);

	FOR_EVERY_N((enum fault_manner)(_i % FAULT_N_MANNERS))
	{
		uint16_t port = 0;
		int peer, n = 0;

		begin(0);
		ck_assert_str_eq(loop_engine_name(loop), "epoll");
		ck_assert_int_eq(loop_turn(loop, 0), 0); /* so that there are buffers */
		int fd = descriptor_for(kind, &peer, &port);
		WITH_FAULT(start(kind, fd, port));
		if (fault.n_refused > 0) {
			UNTIL(ops[1].n_last == 1);
			bool is_sent = strcmp(fault.refused, "send") == 0;
			ck_assert_int_eq(ops[1].res, is_sent ? -ENOBUFS : -ENOSPC);
			start(kind, fd, port);
			n = 1;
		}
		let_go_on(kind, &peer, port);
		UNTIL(ops[1].n_last == n + 1);
		ck_assert_int_ge(ops[1].res, 0);
		if (kind == ACCEPT)
			loop_close(loop, ops[1].res);
		loop_close(loop, fd);
		close(peer);
		end();
	}
}
END_TEST

static const struct {
	const char *name;
	int error, want;
} waits[] = {
	{ "a signal", EINTR, 0 },
	{ "the descriptor is gone", EBADF, -EBADF },
};

static int n_turns, n_polls, polled;

static void poll_again(const struct completion *c)
{
	(void)c;
	n_polls++;
	loop_poll(loop, polled, POLLOUT, tag(1));
}

static void on_turn(void *arg)
{
	if (++n_turns == 3)
		loop_stop(arg);
}

/* When the engine's wait fails, loop_run() ends with the error of that turn. */
START_TEST(running_ends_with_the_engine)
{
	int row = _i / n_engines, n_failed = 0;

	fault.wait_error = waits[row].error;
	FOR_EVERY_N(FAULT_ONE)
	{
		int fds[2], r;

		begin(engine_of(_i));
		tcp_pair(fds);
		polled = fds[0];
		n_turns = n_polls = 0;
		loop_set_handler(loop, CLASS_TEST, note, NULL);
		ops[1].fn = poll_again;
		poll_again(NULL); /* there is always a completion, so that no turn waits long */
		loop_set_turn_end(loop, on_turn, loop);
		WITH_FAULT(r = loop_run(loop));
		ck_assert_msg(r == 0 ? n_turns == 3 : r == waits[row].want, "%s: %d",
			      waits[row].name, r);
		n_failed += r < 0;
		ops[1].fn = NULL;
		loop_cancel(loop, polled, tag(1));
		UNTIL(ops[1].n_last == n_polls);
		close_pair(fds);
		end();
	}
	ck_assert_int_eq(n_failed > 0, waits[row].want < 0);
}
END_TEST

/* ---- mailboxes and signals ------------------------------------------------------------------- */

static void on_letter(struct mail *m, void *arg)
{
	(void)m;
	++*(int *)arg;
}

/* When a mailbox was opened and attached, its messages arrive; otherwise the call fails at once. */
START_TEST(a_mailbox_is_opened_or_not)
{
	FOR_EVERY_N(manner_of(_i))
	{
		struct mail letter = { .run = on_letter };
		struct mailbox mb = { .wake_fd = -1 };
		int n_read = 0, r;

		begin(engine_of(_i));
		WITH_FAULT(r = mailbox_open(&mb, &n_read));
		ck_assert_int_eq(r == 0, mb.wake_fd >= 0);
		if (r < 0)
			ck_assert_int_eq(mailbox_open(&mb, &n_read), 0);
		WITH_FAULT(r = mailbox_attach(&mb, loop));
		if (r < 0)
			ck_assert_int_eq(mailbox_attach(&mb, loop), 0);
		mailbox_post(&mb, &letter);
		UNTIL(n_read == 1);
		mailbox_close(&mb);
		end();
	}
}
END_TEST

static void on_signal(void *arg, int signo)
{
	*(int *)arg += signo == SIGHUP;
}

START_TEST(signals_are_opened_or_not)
{
	static const int wanted[] = { SIGHUP };

	FOR_EVERY_N(manner_of(_i))
	{
		struct signals *s = NULL;
		int n_heard = 0, r;

		begin(engine_of(_i));
		WITH_FAULT(
			r = signals_open(loop, CLASS_TEST + 1, wanted, 1, on_signal, &n_heard, &s));
		ck_assert_int_eq(r == 0, s != NULL);
		if (r < 0)
			r = signals_open(loop, CLASS_TEST + 1, wanted, 1, on_signal, &n_heard, &s);
		ck_assert_int_eq(r, 0);
		kill(getpid(), SIGHUP);
		UNTIL(n_heard == 1);
		ck_assert_ptr_null(signals_close(s));
		end();
	}
}
END_TEST

/* ---- a kernel without memory for requests ---------------------------------------------------- */

/*
 * Entries that are started before the send, so that the send's two linked entries lie on both sides
 * of the end of the submission queue (1,024 entries): of the first queue, of the second, and of the
 * fifth.
 */
static const int n_entries_before[] = { 10, 1022, 1023, 1024, 2046, 2047, 2048, 5000 };

static void fill(int fd)
{
	static const char bytes[65536];

	while (send(fd, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		;
}

/* Operations that are started while the kernel takes no entry are done later, in their order. */
START_TEST(late_entries_are_submitted_in_order)
{
	char first[] = "a", second[] = "b", got[65536];
	struct iovec iov[] = { { .iov_base = first, .iov_len = 1 },
			       { .iov_base = second, .iov_len = 1 } };
	int fds[2];

	begin(1);
	ck_assert_str_eq(loop_engine_name(loop), "io_uring");
	tcp_pair(fds);
	fill(fds[0]);
	fault.no_submits = true;
	for (int i = 0; i < n_entries_before[_i]; i++)
		loop_cancel(loop, fds[0], tag(9)); /* of what is not in flight: does nothing */
	loop_send(loop, fds[0], iov, 2, SEND_WAIT, tag(1));
	for (int i = 0; i < 100; i++)
		loop_cancel(loop, fds[0], tag(9));
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(loop_turn(loop, 1), 0);
	ck_assert_int_eq(ops[1].n, 0);
	fault.no_submits = false;
	ck_assert_int_eq(loop_turn(loop, 5), 0);
	ck_assert_int_eq(ops[1].n, 0); /* the send waits for room */
	while (recv(fds[1], got, sizeof(got), MSG_DONTWAIT) > 0 || ops[1].n == 0)
		ck_assert_int_eq(loop_turn(loop, 1), 0);
	ck_assert_int_eq(ops[1].n, 1);
	ck_assert_int_eq(ops[1].res, 2);
	loop_recv(loop, fds[0], 10, BUF_SMALL, tag(2));
	ck_assert_int_eq(send(fds[1], "\0", 1, MSG_NOSIGNAL), 1);
	UNTIL(ops[2].n == 1);
	loop_cancel(loop, fds[0], tag(2));
	UNTIL(ops[2].n_last == 1);
	close_pair(fds);
	end();
}
END_TEST

static void count_turn(void *arg)
{
	(void)arg;
	n_turns++;
}

static void stop_loop(struct timer *t, void *arg)
{
	(void)t;
	(void)arg;
	loop_stop(loop);
}

/* Entries that the kernel refuses: none but the receive's; what the submission queue (1,024) holds;
 * more, so that some of them are late. */
static const int n_refused_more[] = { 0, 1023, 3000 };

/*
 * While the kernel takes no entry, a turn waits for at least a millisecond and does not come back
 * at once. So the turns until a timer of 40 ms fires are at most 40, however slow the machine is;
 * two more for the first turn and the last.
 */
START_TEST(a_turn_waits_while_entries_are_refused)
{
	struct timer t;
	int fds[2];

	begin(1);
	tcp_pair(fds);
	n_turns = 0;
	loop_set_turn_end(loop, count_turn, NULL);
	ck_assert_int_eq(loop_turn(loop, 0), 0); /* so that there are buffers */
	fault.no_submits = true;
	loop_recv(loop, fds[0], 10, BUF_SMALL, tag(1));
	for (int i = 0; i < n_refused_more[_i]; i++)
		loop_cancel(loop, fds[0], tag(9));
	timer_init(&t, stop_loop);
	loop_timer_start(loop, &t, 40);
	ck_assert_int_eq(loop_run(loop), 0);
	ck_assert_int_le(n_turns, 42);
	fault.no_submits = false;
	ck_assert_int_eq(feed(fds[1], 0, 1), 1);
	UNTIL(ops[1].n == 1);
	loop_cancel(loop, fds[0], tag(1));
	UNTIL(ops[1].n_last == 1);
	close_pair(fds);
	end();
}
END_TEST

static void add_tests(TCase *t)
{
	const int n_each = n_engines * FAULT_N_MANNERS;

	tcase_set_timeout(t, 60); /* some hundreds of loops are made, slowly under sanitizers */
	tcase_add_loop_test(t, a_loop_is_born_whole_or_not_at_all, 0, n_each);
	if (n_engines > 1)
		tcase_add_test(t, auto_takes_what_there_is);
	tcase_add_test(t, a_simulated_engine_is_nobodys_choice);
	tcase_add_loop_test(t, room_that_is_refused_leaves_the_old_one, 0, n_each);
	tcase_add_loop_test(t, a_socket_is_made_whole_or_not_at_all, 0, n_each);
	tcase_add_loop_test(t, a_pipe_is_made_whole_or_not_at_all, 0, n_each);
	tcase_add_loop_test(t, an_accepted_one_is_taken_whole_or_waits, 0, n_each);
	tcase_add_loop_test(t, a_connection_that_is_gone_is_passed_over, 0, 2 * n_engines);
	tcase_add_loop_test(t, a_passed_one_is_taken_whole_or_lost, 0, n_each);
	tcase_add_loop_test(t, an_operation_that_is_refused_says_so, 0, N_KINDS * FAULT_N_MANNERS);
	tcase_add_loop_test(t, running_ends_with_the_engine, 0, n_engines * (int)ARRAY_SIZE(waits));
	tcase_add_loop_test(t, a_mailbox_is_opened_or_not, 0, n_each);
	tcase_add_loop_test(t, signals_are_opened_or_not, 0, n_each);
	if (n_engines > 1)
		tcase_add_loop_test(t, late_entries_are_submitted_in_order, 0,
				    ARRAY_SIZE(n_entries_before));
	if (n_engines > 1)
		tcase_add_loop_test(t, a_turn_waits_while_entries_are_refused, 0,
				    ARRAY_SIZE(n_refused_more));
}

int main(void)
{
	return run_on_engines("ev/fault_nth", add_tests);
}
