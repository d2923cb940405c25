/* SPDX-License-Identifier: Apache-2.0 */

/* The loop's contract (ev/loop.h): receives, sends and buffers. Both engines keep it. */

#include <stdio.h>

#include "loop_fixture.h"

/* ---- receive --------------------------------------------------------------------------------- */

/* clang-format off */
static const struct {
	const char *name;
	uint32_t cap, total;
	enum buf_class size_class;
} caps[] = {
	{ "one byte of many",         1,      100,     BUF_SMALL },
	{ "exactly what comes",       100,    100,     BUF_SMALL },
	{ "fewer come",               1000,   100,     BUF_SMALL },
	{ "a buffer",                 4096,   5000,    BUF_SMALL },
	{ "a buffer and a byte",      4097,   9000,    BUF_SMALL },
	{ "a byte short of two",      8191,   9000,    BUF_SMALL },
	{ "some buffers",             10000,  30000,   BUF_SMALL },
	{ "many buffers",             65536,  200000,  BUF_SMALL },
	{ "large, one byte",          1,      100,     BUF_LARGE },
	{ "large, in part",           10000,  30000,   BUF_LARGE },
	{ "large, and a byte",        65537,  200000,  BUF_LARGE },
	{ "large, many",              262144, 1000000, BUF_LARGE },
};
/* clang-format on */

/* Loop tests over the product of rows and engines. */
#define ROW(i) ((i) / n_engines)
#define ENGINE(i) ((i) % n_engines)

static struct {
	int fd;
	uint32_t cap;
	enum buf_class size_class;
} in;

/* Starts the receive again with what is left of the cap, because a receive may end before. */
static void receive_on(const struct completion *c)
{
	ck_assert_int_gt(c->res, 0);
	ck_assert_uint_le(ops[1].pos, in.cap);
	if (ops[1].pos == in.cap)
		ck_assert(!c->more);
	else if (!c->more)
		loop_recv(loop, in.fd, (uint32_t)(in.cap - ops[1].pos), in.size_class, tag(1));
}

START_TEST(receives_up_to_its_cap)
{
	uint32_t cap = caps[ROW(_i)].cap, total = caps[ROW(_i)].total;
	uint64_t fed = 0;
	int fds[2];

	begin(ENGINE(_i));
	tcp_pair(fds);
	in.fd = fds[0];
	in.cap = cap;
	in.size_class = caps[ROW(_i)].size_class;
	ops[1].fn = receive_on;
	loop_recv(loop, fds[0], cap, in.size_class, tag(1));
	for (size_t n = 1; n > 0; fed += n) { /* until it waits for us to read on, or all is sent */
		n = feed(fds[1], fed, total - fed);
		loop_turn(loop, 0);
	}
	UNTIL(ops[1].pos == (cap < total ? cap : total));
	idle();
	ck_assert_msg(ops[1].pos == (cap < total ? cap : total), "%s", caps[ROW(_i)].name);
	if (cap > total) {
		ops[1].fn = NULL;
		loop_cancel(loop, fds[0], tag(1));
		UNTIL(ops[1].res == -ECANCELED);
	}
	/* What is beyond the cap is still in the socket, in order. */
	while (ops[1].pos < total) {
		drain(fds[0], &ops[1]);
		fed += feed(fds[1], fed, total - fed);
	}
	close_pair(fds);
	end();
}
END_TEST

static int eof_fd;

static void close_at_eof(const struct completion *c)
{
	if (c->res == 0)
		loop_close(loop, eof_fd);
}

/* The handler of the last completion may close the descriptor. */
START_TEST(end_of_stream)
{
	int fds[2];

	begin(_i);
	tcp_pair(fds);
	eof_fd = fds[0];
	loop_recv(loop, fds[0], 1000, BUF_SMALL, tag(1));
	feed(fds[1], 0, 10);
	shutdown(fds[1], SHUT_WR);
	UNTIL(ops[1].pos == 10);
	if (ops[1].n_last > 0 && ops[1].res > 0)
		loop_recv(loop, fds[0], 1000, BUF_SMALL, tag(1));
	UNTIL(ops[1].res == 0);
	int n_last = ops[1].n_last;

	/* A receive that is started after the end ends again. */
	ops[1].fn = close_at_eof;
	loop_recv(loop, fds[0], 1000, BUF_SMALL, tag(1));
	UNTIL(ops[1].n_last == n_last + 1);
	ck_assert_int_eq(ops[1].res, 0);
	idle();
	ck_assert_int_eq(ops[1].n_last, n_last + 1);
	close(fds[1]);
	end();
}
END_TEST

START_TEST(reset_is_an_error)
{
	int fds[2];

	begin(_i);
	tcp_pair(fds);
	loop_recv(loop, fds[0], 1000, BUF_SMALL, tag(1));
	idle();
	close_peer(fds[1], true);
	UNTIL(ops[1].n > 0);
	ck_assert_int_eq(ops[1].res, -ECONNRESET);
	ck_assert_int_eq(ops[1].n_last, 1);
	loop_close(loop, fds[0]);
	end();
}
END_TEST

/* Cancelled again and again while bytes stream in: each is either delivered or still there. */
START_TEST(cancel_loses_no_byte)
{
	uint64_t fed = 0;
	int fds[2], n_cancelled = 0;

	begin(_i);
	tcp_pair(fds);
	for (int round = 1; round <= 400; round++) {
		loop_recv(loop, fds[0], 65536, round % 5 == 0 ? BUF_LARGE : BUF_SMALL, tag(1));
		for (int i = 0; i < round % 4; i++) {
			fed += feed(fds[1], fed, (size_t)(round * 37 % 9000) + 1);
			loop_turn(loop, 0);
		}
		loop_cancel(loop, fds[0], tag(1));
		fed += feed(fds[1], fed, 3000);
		int n_before = ops[1].n_last;
		UNTIL(ops[1].n_last == round);
		n_cancelled += n_before < round && ops[1].res == -ECANCELED;
		if (round % 3 == 0)
			drain(fds[0], &ops[1]);
	}
	ck_assert_int_gt(n_cancelled, 100);
	UNTIL(drain(fds[0], &ops[1]) == 0 && ops[1].pos == fed);
	close_pair(fds);
	end();
}
END_TEST

/* Each of many descriptors with much to read is served in turn; all bytes arrive in order. */
START_TEST(bulk_leaves_others_their_turn)
{
	enum { N = 8, ROUNDS = 50 };
	int fds[N][2];
	uint64_t fed[N] = { 0 };

	begin(_i);
	for (unsigned i = 0; i < N; i++) {
		tcp_pair(fds[i]);
		ops[i].n_last = 1; /* to be started below */
	}
	for (int round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < N; i++) {
			fed[i] += feed(fds[i][1], fed[i], i == 0 ? 100 : 65536);
			if (ops[i].n_last > 0)
				loop_recv(loop, fds[i][0], 65536, BUF_SMALL, tag(i));
			ops[i].n_last = 0;
		}
		loop_turn(loop, 1);
		loop_turn(loop, 1);
		loop_turn(loop, 1);
		/* The first rounds teach an engine how many buffers a turn takes. */
		if (round >= 5)
			ck_assert_uint_eq(ops[0].pos, fed[0]);
	}
	for (unsigned i = 0; i < N; i++) {
		if (ops[i].n_last == 0)
			loop_cancel(loop, fds[i][0], tag(i));
		UNTIL(ops[i].n_last > 0);
		UNTIL(drain(fds[i][0], &ops[i]) == 0 && ops[i].pos == fed[i]);
		close_pair(fds[i]);
	}
	end();
}
END_TEST

enum { N_BUSY = 200, BUSY_BYTES = 200000, PEERS_FROM = 1000 };

static int busy[N_BUSY][2];

/*
 * A receive may end when there is no buffer, or no free completion entry; then it is started again.
 */
static void go_on(const struct completion *c)
{
	unsigned op = (unsigned)tag_handle(c->tag);

	if (!c->more && c->res != -ECANCELED)
		loop_recv(loop, busy[op][0], BUSY_BYTES, BUF_SMALL, tag(op));
}

/*
 * Many descriptors have more to read than a turn gives them. Each is queued for the next turn while
 * the run list of this turn is still being worked off, and every byte arrives.
 */
START_TEST(all_have_more_than_a_turn)
{
	static const int room = BUSY_BYTES;
	uint64_t fed[N_BUSY] = { 0 };

	begin(_i);
	for (unsigned i = 0; i < N_BUSY; i++) {
		tcp_pair(busy[i]);
		/*
		 * The numbers move out of the way, because the loop's descriptors are to be all
		 * that its table holds.
		 */
		int peer = busy[i][1];
		busy[i][1] = fcntl(peer, F_DUPFD_CLOEXEC, PEERS_FROM);
		ck_assert_int_ge(busy[i][1], PEERS_FROM);
		close(peer);
		(void)setsockopt(busy[i][1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
		for (size_t n = 1; n > 0 && fed[i] < BUSY_BYTES; fed[i] += n)
			n = feed(busy[i][1], fed[i], 65536);
		ops[i].fn = go_on;
	}
	for (unsigned i = 0; i < N_BUSY; i++)
		loop_recv(loop, busy[i][0], BUSY_BYTES, BUF_SMALL, tag(i));
	for (unsigned i = 0; i < N_BUSY; i++)
		UNTIL(ops[i].pos == fed[i]);
	for (unsigned i = 0; i < N_BUSY; i++) {
		loop_cancel(loop, busy[i][0], tag(i));
		UNTIL(ops[i].res == -ECANCELED);
		close_pair(busy[i]);
	}
	end();
}
END_TEST

/* ---- buffers run out ------------------------------------------------------------------------- */

#define N_HUNGRY 8
#define N_BUFS 4

static int hungry[N_HUNGRY]; /* descriptors */
static int refused[N_HUNGRY], n_refused;
static int served[N_HUNGRY], n_served;

/* A receive that has found no buffer is started again at once. */
static void serve_in_order(const struct completion *c)
{
	unsigned op = (unsigned)tag_handle(c->tag);

	if (c->res > 0) {
		served[n_served++] = (int)op;
		return;
	}
	ck_assert_int_eq(c->res, -ENOBUFS);
	ck_assert(!c->more);
	if (ops[op].n == 1)
		refused[n_refused++] = (int)op;
	loop_recv(loop, hungry[op], 100, BUF_LARGE, tag(op));
}

/*
 * There are four large buffers, and eight receives want one. A receive that gets none ends so, is
 * started again, and waits in order.
 */
START_TEST(receives_wait_for_buffers_in_order)
{
	int fds[N_HUNGRY][2];

	begin_with(&(struct loop_opts){
		.engine = engines[_i],
		.buf_soft_bytes = N_BUFS / 2 * BUF_LARGE_BYTES,
		.n_ring_bufs = N_BUFS,
	});
	for (unsigned i = 0; i < N_HUNGRY; i++) {
		tcp_pair(fds[i]);
		hungry[i] = fds[i][0];
		ops[i].is_kept = true;
		ops[i].fn = serve_in_order;
		loop_recv(loop, hungry[i], 100, BUF_LARGE, tag(i));
	}
	for (unsigned i = 0; i < N_HUNGRY; i++)
		feed(fds[i][1], 0, 100);
	UNTIL(n_served == N_BUFS && n_refused == N_HUNGRY - N_BUFS);
	ck_assert(buf_is_tight(loop->bufs));
	idle();
	ck_assert_int_eq(n_served, N_BUFS);
	for (int i = 0; i < n_refused; i++)
		ck_assert_int_eq(ops[refused[i]].n, 1); /* they wait, they do not spin */

	/* A waiting receive that was cancelled is passed over. */
	ops[refused[1]].fn = NULL;
	loop_cancel(loop, hungry[refused[1]], tag((unsigned)refused[1]));
	UNTIL(ops[refused[1]].res == -ECANCELED);
	refused[1] = -1;

	/* Each buffer that comes back serves the next. */
	for (int i = 0, next = 0; next < n_refused; next++) {
		if (refused[next] < 0)
			continue;
		buf_put(loop->bufs, ops[served[i]].kept);
		ops[served[i]].kept = NULL;
		i++;
		UNTIL(n_served == N_BUFS + i);
		idle();
		ck_assert_int_eq(n_served, N_BUFS + i);
		ck_assert_int_eq(served[N_BUFS + i - 1], refused[next]);
	}
	for (unsigned i = 0; i < N_HUNGRY; i++) {
		if (ops[i].kept != NULL)
			buf_put(loop->bufs, ops[i].kept);
		close_pair(fds[i]);
	}
	end();
}
END_TEST

static int starved[200]; /* descriptors by operation */

/* A receive that has ended with -ENOBUFS is started again, and waits. */
static void ask_again(const struct completion *c)
{
	unsigned op = (unsigned)tag_handle(c->tag);

	if (c->res == -ENOBUFS)
		loop_recv(loop, starved[op], 100, op % 2 == 0 ? BUF_SMALL : BUF_LARGE, c->tag);
}

/*
 * There is no more memory, and all buffers are held: receives wait, and receives into large buffers
 * take small ones; all go on when some buffers have come back.
 */
START_TEST(receives_wait_for_memory)
{
	enum { N = ARRAY_SIZE(starved) };
	static struct buf *taken[10000];
	static int fds[N][2];
	size_t n = 0;
	int n_early = 0, n_late = 0;

	begin(_i);
	for (unsigned i = 0; i < N; i++) {
		tcp_pair(fds[i]);
		feed(fds[i][1], 0, 100);
		starved[i] = fds[i][0];
		ops[i].is_kept = true;
		ops[i].fn = ask_again;
	}
	idle();
	buf_fail_maps(loop->bufs, true);
	while (n < ARRAY_SIZE(taken) && (taken[n] = buf_get(loop->bufs, BUF_SMALL)) != NULL)
		n++;
	ck_assert_uint_lt(n, ARRAY_SIZE(taken));
	ck_assert_int_eq(buf_reserve(loop->bufs, BUF_SMALL, 1), -ENOMEM);
	ck_assert(buf_is_tight(loop->bufs)); /* a receive whose buffers are held takes no more */

	for (unsigned i = 0; i < N; i++)
		loop_recv(loop, fds[i][0], 100, i % 2 == 0 ? BUF_SMALL : BUF_LARGE, tag(i));
	idle();
	for (unsigned i = 0; i < N; i++)
		n_early += ops[i].pos > 0;
	ck_assert_int_lt(n_early, N); /* what was laid out, no more */

	while (n > 0)
		buf_put(loop->bufs, taken[--n]);
	ck_assert(!buf_is_tight(loop->bufs));
	idle();
	for (unsigned i = 0; i < N; i++)
		n_late += ops[i].pos > 0;
	ck_assert_int_gt(n_late, n_early);

	buf_fail_maps(loop->bufs, false);
	for (unsigned i = 0; i < N; i++) {
		UNTIL(ops[i].pos == 100);
		buf_put(loop->bufs, ops[i].kept);
	}
	for (unsigned i = 0; i < N; i++)
		close_pair(fds[i]);
	end();
}
END_TEST

/* ---- send ------------------------------------------------------------------------------------ */

static struct {
	int fd;
	uint64_t pos, total;
	uint32_t piece; /* bytes of each, but the last */
	uint8_t *data;
} out;

/* Sends on from out.pos, in as many pieces as are allowed. */
static void send_on(void)
{
	struct iovec iov[LOOP_IOV_MAX];
	uint64_t pos = out.pos;
	int n = 0;

	while (n < LOOP_IOV_MAX && pos < out.total) {
		uint64_t len = out.total - pos < out.piece ? out.total - pos : out.piece;
		iov[n++] = (struct iovec){ .iov_base = out.data + pos, .iov_len = (size_t)len };
		pos += len;
	}
	loop_send(loop, out.fd, iov, n, SEND_WAIT, tag(1));
	memset(iov, 0, sizeof(iov)); /* they were copied */
}

static void on_sent(const struct completion *c)
{
	ck_assert_int_gt(c->res, 0);
	ck_assert(!c->more);
	out.pos += (uint64_t)c->res;
	ck_assert_uint_le(out.pos, out.total);
	if (out.pos < out.total)
		send_on();
}

static void send_all(int fd, uint64_t total, uint32_t piece)
{
	out.fd = fd;
	out.pos = 0;
	out.total = total;
	out.piece = piece;
	out.data = malloc(total);
	for (uint64_t i = 0; i < total; i++)
		out.data[i] = pattern(i);
	ops[1].fn = on_sent;
	send_on();
	ck_assert_int_eq(ops[1].n, 0);
}

/* clang-format off */
static const struct {
	const char *name;
	uint64_t total;
	uint32_t piece;
} sends[] = {
	{ "one byte",                       1,        1 },
	{ "one piece",                      5000,     5000 },
	{ "pieces",                         5000,     1000 },
	{ "small pieces, far too many",     50000,    7 },
	{ "more than a full socket takes",  20000000, 300000 },
};
/* clang-format on */

START_TEST(sends_to_a_slow_reader)
{
	uint64_t total = sends[ROW(_i)].total;
	int fds[2], n = -1;

	begin(ENGINE(_i));
	tcp_pair(fds);
	send_all(fds[0], total, sends[ROW(_i)].piece);
	/*
	 * The peer does not read: sends go on while the kernel takes bytes, and then the last one
	 * waits.
	 */
	while (n != ops[1].n) {
		n = ops[1].n;
		idle();
	}
	if (total > 10000000)
		ck_assert_uint_lt(out.pos, total);
	else
		ck_assert_uint_eq(out.pos, total);

	while (ops[2].pos < total) {
		drain(fds[1], &ops[2]);
		loop_turn(loop, 1);
	}
	UNTIL(out.pos == total);
	idle();
	ck_assert_msg(drain(fds[1], &ops[2]) == 0, "%s", sends[ROW(_i)].name);
	free(out.data);
	close_pair(fds);
	end();
}
END_TEST

/*
 * When a waiting send is cancelled, its completion says how much was sent, and nothing more goes
 * out.
 */
START_TEST(waiting_send_is_cancelled)
{
	int fds[2], n = -1;

	begin(_i);
	tcp_pair(fds);
	send_all(fds[0], 20000000, 100000);
	while (n != ops[1].n) {
		n = ops[1].n;
		idle();
	}
	ops[1].fn = NULL;
	loop_cancel(loop, fds[0], tag(1));
	UNTIL(ops[1].n > n);
	idle();
	ck_assert_int_eq(ops[1].n, n + 1);
	if (ops[1].res > 0)
		out.pos += (uint64_t)ops[1].res; /* some of it had been taken */
	else
		ck_assert_int_eq(ops[1].res, -ECANCELED);
	while (ops[2].pos < out.pos)
		drain(fds[1], &ops[2]);
	idle();
	ck_assert_uint_eq(drain(fds[1], &ops[2]), 0);
	ck_assert_uint_eq(ops[2].pos, out.pos);
	free(out.data);
	close_pair(fds);
	end();
}
END_TEST

/* A SIGPIPE would end this test. */
START_TEST(send_to_who_is_gone_is_an_error)
{
	struct iovec iov[2] = { { "abc", 3 }, { "def", 3 } };
	int fds[2];

	begin(_i);
	tcp_pair(fds);
	close_peer(fds[1], true);
	for (int n = 1; n <= 4; n++) {
		loop_send(loop, fds[0], iov, n % 2 + 1, SEND_WAIT, tag(1));
		UNTIL(ops[1].n == n);
		ck_assert_int_eq(ops[1].n_last, n);
		ck_assert(ops[1].res == -EPIPE || (n == 1 && ops[1].res == -ECONNRESET));
	}
	loop_close(loop, fds[0]);
	end();
}
END_TEST

/* A waiting send ends when the peer resets the connection. */
START_TEST(waiting_send_hears_of_a_reset)
{
	int fds[2], n = -1;

	begin(_i);
	tcp_pair(fds);
	send_all(fds[0], 20000000, 100000);
	while (n != ops[1].n) {
		n = ops[1].n;
		idle();
	}
	ops[1].fn = NULL;
	close_peer(fds[1], true);
	UNTIL(ops[1].n > n);
	/* When some bytes had been taken, the completion says so first. */
	if (ops[1].res > 0) {
		send_on();
		UNTIL(ops[1].n > n + 1);
	}
	ck_assert(ops[1].res == -ECONNRESET || ops[1].res == -EPIPE);
	free(out.data);
	loop_close(loop, fds[0]);
	end();
}
END_TEST

/* ---- both ways ------------------------------------------------------------------------------- */

static int echo_fd;
static struct buf *echo_first, *echo_last; /* what waits to be sent back, or is being sent */

static void echo_on(void)
{
	if (echo_first == NULL)
		return;
	struct iovec iov = {
		.iov_base = echo_first->data + echo_first->off,
		.iov_len = echo_first->len,
	};
	loop_send(loop, echo_fd, &iov, 1, SEND_WAIT, tag(2));
}

static void on_echo_sent(const struct completion *c)
{
	struct buf *b = echo_first;

	ck_assert_int_gt(c->res, 0);
	b->off += (uint32_t)c->res;
	b->len -= (uint32_t)c->res;
	if (b->len == 0) {
		echo_first = b->next;
		buf_put(loop->bufs, b);
	}
	echo_on();
}

static void on_echo_recv(const struct completion *c)
{
	struct buf *b = ops[1].kept;
	bool is_idle = echo_first == NULL;

	ck_assert_uint_eq(b->len, (uint32_t)c->res);
	if (is_idle)
		echo_first = b;
	else
		echo_last->next = b;
	echo_last = b;
	if (is_idle)
		echo_on();
	if (!c->more)
		loop_recv(loop, echo_fd, 65536, BUF_SMALL, tag(1));
}

/* A received buffer is sent back as it is, while the receive goes on. */
START_TEST(echoes_message_by_message)
{
	int fds[2];

	begin(_i);
	tcp_pair(fds);
	echo_fd = fds[0];
	ops[1].is_kept = true;
	ops[1].fn = on_echo_recv;
	ops[2].fn = on_echo_sent;
	loop_recv(loop, fds[0], 65536, BUF_SMALL, tag(1));
	for (uint64_t n = 1, fed = 0; n <= 200; n++) {
		size_t len = n * 20;
		ck_assert_uint_eq(feed(fds[1], fed, len), len);
		fed += len;
		UNTIL(drain(fds[1], &ops[3]) == 0 && ops[3].pos == fed);
	}
	loop_cancel(loop, fds[0], tag(1));
	ops[1].fn = NULL;
	UNTIL(ops[1].res == -ECANCELED);
	close_pair(fds);
	end();
}
END_TEST

/*
 * More is started in one turn than a submission queue holds, so the queue is submitted in between;
 * wherever that falls, the pieces of two sends are not confused.
 */
START_TEST(sends_are_not_mixed_when_the_queue_is_full)
{
	enum { N = 4, QUEUE = 1024 };
	static const char *const halves[N][2] = {
		{ "aa", "AA" }, { "bb", "BB" }, { "cc", "CC" }, { "dd", "DD" }
	};
	int fds[N][2];

	begin(_i);
	for (int i = 0; i < N; i++)
		tcp_pair(fds[i]);
	for (int n_before = QUEUE - N - 1; n_before <= QUEUE + 1; n_before++) {
		/* Cancelling what is not in flight does nothing, but takes an entry. */
		for (int i = 0; i < n_before; i++)
			loop_cancel(loop, fds[0][0], tag(N_OPS - 1));
		for (unsigned i = 0; i < N; i++) {
			struct iovec iov[2];
			for (int k = 0; k < 2; k++)
				iov[k] =
					(struct iovec){ .iov_base = (void *)(uintptr_t)halves[i][k],
							.iov_len = 2 };
			ops[i].n = 0;
			loop_send(loop, fds[i][0], iov, 2, SEND_WAIT, tag(i));
		}
		UNTIL(ops[0].n == 1 && ops[1].n == 1 && ops[2].n == 1 && ops[3].n == 1);
		for (int i = 0; i < N; i++) {
			char got[5] = "", want[5];
			ck_assert_int_eq(ops[i].res, 4);
			ck_assert_int_eq(recv(fds[i][1], got, 4, MSG_WAITALL), 4);
			(void)snprintf(want, sizeof(want), "%s%s", halves[i][0], halves[i][1]);
			ck_assert_str_eq(got, want);
		}
	}
	for (int i = 0; i < N; i++)
		close_pair(fds[i]);
	end();
}
END_TEST

static void add_tests(TCase *t)
{
	int n_caps = (int)ARRAY_SIZE(caps) * n_engines;
	int n_sends = (int)ARRAY_SIZE(sends) * n_engines;

	tcase_add_loop_test(t, receives_up_to_its_cap, 0, n_caps);
	tcase_add_loop_test(t, end_of_stream, 0, n_engines);
	tcase_add_loop_test(t, reset_is_an_error, 0, n_engines);
	tcase_add_loop_test(t, cancel_loses_no_byte, 0, n_engines);
	tcase_add_loop_test(t, bulk_leaves_others_their_turn, 0, n_engines);
	tcase_add_loop_test(t, all_have_more_than_a_turn, 0, n_engines);
	tcase_add_loop_test(t, receives_wait_for_buffers_in_order, 0, n_engines);
	tcase_add_loop_test(t, receives_wait_for_memory, 0, n_engines);
	tcase_add_loop_test(t, sends_to_a_slow_reader, 0, n_sends);
	tcase_add_loop_test(t, sends_are_not_mixed_when_the_queue_is_full, 0, n_engines);
	tcase_add_loop_test(t, waiting_send_is_cancelled, 0, n_engines);
	tcase_add_loop_test(t, send_to_who_is_gone_is_an_error, 0, n_engines);
	tcase_add_loop_test(t, waiting_send_hears_of_a_reset, 0, n_engines);
	tcase_add_loop_test(t, echoes_message_by_message, 0, n_engines);
}

int main(void)
{
	return run_on_engines("ev/loop_bytes", add_tests);
}
