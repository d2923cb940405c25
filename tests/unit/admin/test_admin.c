/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listeners and their clients, over TCP, on both engines. What the answers say is tested by the
 * other files.
 */
#include "../ev/later.h"
#include "../ev/loop_fixture.h"
#include "fake.h"

#include <sys/resource.h>

#include "admin/format.h"
#include "util/log.h"

/* A long answer: more bytes than sockets on both sides hold. */
#define N_MANY 4000
#define NAME_MANY 3000

static struct admin *admin;
static uint16_t socket_port, http_port;
static int n_logged;

static void on_log(void *arg, enum log_level level, const char *line, size_t n)
{
	(void)arg;
	(void)n;
	ck_assert_int_eq(level, LOG_LEVEL_WARN);
	ck_assert_ptr_nonnull(strstr(line, "admin cannot accept"));
	n_logged++;
}

static const struct log log_handle = { .max = LOG_LEVEL_DEBUG, .sink = on_log };

static void open_admin(int engine)
{
	begin(engine);
	later_follow(loop);
	fake = (struct fake){ 0 };
	n_logged = 0;
	admin = admin_new(&(struct admin_opts){
		.loop = loop,
		.log = &log_handle,
		.ops = &fake_ops,
		.arg = &fake,
		.class_id = CLASS_TEST,
	});
	ck_assert_ptr_nonnull(admin);
	admin_serve_socket(admin, listening(128, &socket_port));
	admin_serve_http(admin, listening(128, &http_port));
}

static void stop_admin(void)
{
	for (int i = 0; admin_close(admin); i++) {
		ck_assert_int_lt(i, 1000);
		ck_assert_int_eq(loop_turn(loop, 2), 0);
	}
	admin = admin_free(admin);
}

/* Everything is given back: the loop asserts its buffers, the admin its clients, end() the fds. */
static void close_admin(void)
{
	stop_admin();
	end();
}

static void say(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Adds what has come to `t`. Returns false at the end of the stream. */
static bool listen_to(int fd, struct text *t)
{
	static char buf[65536];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0)
		text_add(t, (struct slice){ .p = buf, .n = (size_t)n });
	ck_assert_msg(n == 0 || errno == EAGAIN, "%s", strerror(errno));
	return n != 0;
}

/* Turns until the peer has heard the end of the stream. */
static void listen_to_end(int fd, struct text *t)
{
	bool is_open = true;

	UNTIL(!(is_open = is_open && listen_to(fd, t)));
}

static bool ends_with(const struct text *t, const char *s)
{
	size_t n = strlen(s);

	return t->n >= n && memcmp(t->p + t->n - n, s, n) == 0;
}

static int n_answers(const struct text *t)
{
	int n = 0;

	for (const char *p = t->n > 0 ? t->p : ""; (p = strstr(p, "\n\n")) != NULL; p += 2)
		n++;
	return n;
}

/* Hears until so many answers are there in all. */
static void hear(int fd, struct text *t, int n)
{
	UNTIL((listen_to(fd, t), n_answers(t) >= n));
	ck_assert_int_eq(n_answers(t), n);
}

/* ---- lines ----------------------------------------------------------------------------------- */

START_TEST(commands_are_answered_in_order)
{
	_cleanup_(text_deinit) struct text t = TEXT_INIT;

	open_admin(_i);
	int fd = dial(socket_port);
	say(fd, "reload\n\n \nnonsense\r\ndrain chat/b2\nweight chat/b2 7"); /* no newline */
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	listen_to_end(fd, &t);
	ck_assert_str_eq(t.p, "ok: generation 3\n\n"
			      "error: unknown command \"nonsense\", try help\n\n"
			      "ok: chat/b2 is draining\n\n"
			      "ok: chat/b2 has weight 7\n\n");
	close(fd);
	close_admin();
}
END_TEST

START_TEST(a_command_may_come_in_pieces)
{
	_cleanup_(text_deinit) struct text t = TEXT_INIT;

	open_admin(_i);
	int fd = dial(socket_port);
	for (int round = 1; round <= 3; round++) { /* the connection stays open for more */
		for (const char *p = "reload json\n"; *p != '\0'; p++) {
			ck_assert_int_eq(send(fd, p, 1, 0), 1);
			ck_assert_int_eq(loop_turn(loop, 1), 0);
		}
		hear(fd, &t, round);
	}
	ck_assert_int_eq(fake.n_reload, 3);
	close(fd);
	close_admin();
}
END_TEST

/* More input than the buffer holds, and more answers than lines fit into it. */
START_TEST(many_commands_may_come_at_once)
{
	_cleanup_(text_deinit) struct text t = TEXT_INIT;

	open_admin(_i);
	int fd = dial(socket_port);
	for (int i = 0; i < 800; i++)
		say(fd, "reload\n");
	hear(fd, &t, 800);
	ck_assert_uint_eq(t.n, 800 * strlen("ok: generation 3\n\n"));
	close(fd);
	close_admin();
}
END_TEST

START_TEST(a_late_answer_keeps_its_place)
{
	_cleanup_(text_deinit) struct text t = TEXT_INIT;

	open_admin(_i);
	fake.answers_late = true;
	int fd = dial(socket_port);
	say(fd, "conns json\nreload\nready chat/b2\n");
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	UNTIL(fake.n_conns == 1);
	idle();
	ck_assert(listen_to(fd, &t));
	ck_assert_uint_eq(t.n, 0);
	ck_assert_int_eq(fake.n_reload, 0);

	fake.conns_done(fake.ctx, 0, &(struct admin_conn_list){ fake_conns, 1, 1 });
	UNTIL(fake.n_reload == 1);
	fake.reload_done(fake.ctx, -EINVAL, "a\nb");
	listen_to_end(fd, &t);
	ck_assert_int_eq(n_answers(&t), 3);
	ck_assert_int_eq(strncmp(t.p, "{\"conns\":[{\"id\":7,", 18), 0);
	ck_assert(ends_with(&t, "}],\"total\":1}\n\nerror: a; b\n\nok: chat/b2 is ready\n\n"));
	close(fd);
	close_admin();
}
END_TEST

/* Others are answered meanwhile. */
START_TEST(who_waits_holds_up_nobody)
{
	_cleanup_(text_deinit) struct text t = TEXT_INIT;

	open_admin(_i);
	fake.answers_late = true;
	int fd = dial(socket_port), other = dial(socket_port);
	say(fd, "reload\n");
	UNTIL(fake.n_reload == 1);
	say(other, "drain chat/b2\n");
	hear(other, &t, 1);
	fake.reload_done(fake.ctx, 0, "");
	text_clear(&t);
	hear(fd, &t, 1);
	close(fd);
	close(other);
	close_admin();
}
END_TEST

static void vanish_while_waiting(int engine, bool is_hard)
{
	_cleanup_(text_deinit) struct text t = TEXT_INIT;

	open_admin(engine);
	fake.answers_late = true;
	int fd = dial(socket_port);
	say(fd, "conns\nreload\n");
	UNTIL(fake.n_conns == 1);
	close_peer(fd, is_hard);
	idle();
	fake.conns_done(fake.ctx, 0, &fake_conn_list);
	idle();
	if (fake.n_reload == 1) /* it had only closed: what it said before is done */
		fake.reload_done(fake.ctx, 0, "");
	ck_assert_int_eq(fake.n_reload, !is_hard);

	int other = dial(socket_port);
	say(other, "drain chat/b2\n");
	hear(other, &t, 1);
	close(other);
	close_admin();
}

START_TEST(who_waits_may_be_reset)
{
	vanish_while_waiting(_i, true);
}
END_TEST

START_TEST(who_waits_may_close)
{
	_cleanup_(text_deinit) struct text t = TEXT_INIT;

	open_admin(_i);
	fake.answers_late = true;
	int fd = dial(socket_port);
	say(fd, "conns\n");
	UNTIL(fake.n_conns == 1);
	close(fd);
	idle();
	fake.conns_done(fake.ctx, 0, &fake_conn_list);
	idle();
	int other = dial(socket_port);
	say(other, "drain chat/b2\n");
	hear(other, &t, 1);
	close(other);
	close_admin();
}
END_TEST

/* A stop does not wait for answers; one that comes after all is told to nobody. */
START_TEST(an_answer_may_come_after_the_end)
{
	open_admin(_i);
	fake.answers_late = true;
	int fd = dial(socket_port);
	say(fd, "reload\n");
	UNTIL(fake.n_reload == 1);
	stop_admin();
	fake.reload_done(fake.ctx, 0, "");
	ck_assert_int_eq(fake.n_status, 0);
	close(fd);
	end();
}
END_TEST

static struct admin_conn many[N_MANY];
static const struct admin_conn_list many_list = { many, N_MANY, N_MANY };

static void answer_many(void)
{
	static char name[NAME_MANY + 1];

	memset(name, 'n', NAME_MANY);
	for (size_t i = 0; i < N_MANY; i++) {
		many[i] = fake_conns[0];
		many[i].id = i;
		many[i].pool = name;
	}
	fake.conns_done(fake.ctx, 0, &many_list);
}

/*
 * The client half-closes before it reads a long answer, as lbctl does, and lets lb wait: no byte is
 * missing, and the next answer follows.
 */
START_TEST(a_long_answer_comes_whole)
{
	_cleanup_(text_deinit) struct text t = TEXT_INIT;
	struct json want = JSON_INIT;

	open_admin(_i);
	fake.answers_late = true;
	int fd = dial(socket_port);
	say(fd, "conns json\ndrain chat/b2\n");
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	UNTIL(fake.n_conns == 1);
	answer_many();
	idle();
	ck_assert_int_eq(fake.n_backend, 0); /* not before the answer is out */
	listen_to_end(fd, &t);
	ck_assert(ends_with(&t, "}],\"total\":4000}\n\nok: chat/b2 is draining\n\n"));
	format_conns_json(&many_list, &want);
	ck_assert_uint_gt(want.out.n, (size_t)N_MANY * NAME_MANY);
	ck_assert_uint_lt(want.out.n, t.n);
	ck_assert(memcmp(t.p, want.out.p, want.out.n) == 0);
	json_deinit(&want);
	close(fd);
	close_admin();
}
END_TEST

START_TEST(who_does_not_read_may_leave)
{
	open_admin(_i);
	fake.answers_late = true;
	int fd = dial(socket_port);
	say(fd, "conns json\n");
	UNTIL(fake.n_conns == 1);
	answer_many();
	idle();
	close_peer(fd, true);
	idle();
	fd = dial(socket_port);
	stop_admin(); /* with a client that has said nothing yet */
	close(fd);
	end();
}
END_TEST

/* Half a minute, in which an answer waits to be taken: then its slot is others'. */
static void take_nothing(void)
{
	fake.answers_late = true;
	int fd = dial(socket_port);
	say(fd, "conns json\n");
	UNTIL(fake.n_conns == 1);
	later_stand_still(loop);
	answer_many();
	idle();
	int n_before = n_fds();
	for (int i = 0; i < 29; i++) {
		later(1000);
		idle();
	}
	ck_assert_int_eq(n_fds(), n_before);
	later(1500);
	UNTIL(n_fds() == n_before - 1);
	close(fd);
	close_admin();
}

START_TEST(who_does_not_read_is_closed)
{
	open_admin(_i);
	take_nothing();
}
END_TEST

static void refused_send(struct loop *l, int fd, const struct iovec *iov, int n,
			 enum send_mode mode, op_tag tag)
{
	(void)fd;
	(void)iov;
	(void)n;
	(void)mode;
	loop_post(l, &(struct completion){ .tag = tag, .res = -EAGAIN });
}

/* As io_uring may after a client's FIN: asking again and again gives it no more time. */
START_TEST(who_does_not_read_is_closed_where_sends_cannot_wait)
{
	open_admin(_i);
	later_ops.send = refused_send;
	take_nothing();
}
END_TEST

static int n_sends;
static void (*engine_send)(struct loop *l, int fd, const struct iovec *iov, int n,
			   enum send_mode mode, op_tag tag);

/* Refuses the first send. */
static void refuse_first_send(struct loop *l, int fd, const struct iovec *iov, int n,
			      enum send_mode mode, op_tag tag)
{
	if (n_sends++ == 0)
		refused_send(l, fd, iov, n, mode, tag);
	else
		engine_send(l, fd, iov, n, mode, tag);
}

/*
 * On io_uring the client's FIN lets lb repeat a refused send at once. The timer of the refused send
 * must not fire after that: there is nothing to send while the next answer is awaited, and
 * loop_send() asserts that there is. On epoll it is the timer that repeats the send.
 */
START_TEST(a_refused_send_is_repeated_once)
{
	_cleanup_(text_deinit) struct text t = TEXT_INIT;

	open_admin(_i);
	n_sends = 0;
	engine_send = later_ops.send;
	later_ops.send = refuse_first_send;
	later_stand_still(loop);
	fake.answers_late = true;
	int fd = dial(socket_port);
	say(fd, "drain chat/b2\nreload\n");
	UNTIL(n_sends == 1);
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	idle();
	later(10); /* on epoll, the timer fires and sends here */
	hear(fd, &t, 1);
	UNTIL(fake.n_reload == 1);
	later(10);
	idle();
	ck_assert_int_eq(n_sends, 2);
	fake.reload_done(fake.ctx, 0, "");
	listen_to_end(fd, &t);
	ck_assert_int_eq(n_answers(&t), 2);
	close(fd);
	close_admin();
}
END_TEST

/* Takes `n` bytes of an answer that is longer. */
static void sip(int fd, size_t n)
{
	static char buf[65536];

	for (time_t end = until_now_s() + UNTIL_S; n > 0;) {
		ssize_t got = recv(fd, buf, n < sizeof(buf) ? n : sizeof(buf), MSG_DONTWAIT);
		ck_assert_msg(got > 0 || (got < 0 && errno == EAGAIN), "it was closed");
		ck_assert_msg(until_now_s() <= end, "%zu bytes have not come", n);
		if (got > 0)
			n -= (size_t)got;
		else
			ck_assert_int_eq(loop_turn(loop, 2), 0);
	}
}

/* A piece that is taken is another half minute. */
START_TEST(who_reads_slowly_is_not_closed)
{
	open_admin(_i);
	fake.answers_late = true;
	int fd = dial(socket_port);
	say(fd, "conns json\n");
	UNTIL(fake.n_conns == 1);
	later_stand_still(loop);
	answer_many();
	int n_before = n_fds();
	for (int i = 0; i < 4; i++) {
		idle();
		later(29000);
		sip(fd, 2 << 20);
	}
	ck_assert_int_eq(n_fds(), n_before);
	close(fd);
	close_admin();
}
END_TEST

/* The error arrives, although much of what was sent is never read; then lb closes. */
START_TEST(a_line_may_be_too_long)
{
	static char line[20000];
	_cleanup_(text_deinit) struct text t = TEXT_INIT;

	open_admin(_i);
	int fd = dial(socket_port);
	memset(line, 'x', sizeof(line));
	ck_assert_int_eq(send(fd, line, sizeof(line), 0), sizeof(line));
	listen_to_end(fd, &t);
	ck_assert_str_eq(t.p, "error: the line is too long\n\n");
	close(fd);
	close_admin();
}
END_TEST

START_TEST(the_longest_line_is_read)
{
	char line[4097];
	_cleanup_(text_deinit) struct text t = TEXT_INIT;

	open_admin(_i);
	int fd = dial(socket_port);
	memset(line, ' ', sizeof(line));
	memcpy(line, "reload", 6);
	strcpy(line + 4095, "\n");
	say(fd, line);
	hear(fd, &t, 1);
	ck_assert_str_eq(t.p, "ok: generation 3\n\n");
	close(fd);
	close_admin();
}
END_TEST

/* ---- HTTP ------------------------------------------------------------------------------------ */

#define HOST " HTTP/1.1\r\nHost: x\r\n\r\n"

START_TEST(a_request_is_answered)
{
	_cleanup_(text_deinit) struct text t = TEXT_INIT;

	open_admin(_i);
	int fd = dial(http_port);
	for (const char *p = "GET /healthz" HOST; *p != '\0'; p++) { /* byte by byte */
		ck_assert_int_eq(send(fd, p, 1, 0), 1);
		ck_assert_int_eq(loop_turn(loop, 0), 0);
	}
	listen_to_end(fd, &t);
	ck_assert_int_eq(strncmp(t.p, "HTTP/1.1 200 OK\r\n", 17), 0);
	ck_assert(ends_with(&t, "\r\n\r\nok\n"));
	close(fd);
	close_admin();
}
END_TEST

/* Request and FIN are there before lb looks: the answer is not lost over it. */
START_TEST(a_client_may_half_close_at_once)
{
	open_admin(_i);
	for (int i = 0; i < 20; i++) {
		_cleanup_(text_deinit) struct text t = TEXT_INIT;
		int fd = dial(http_port);
		say(fd, "GET /metrics" HOST);
		ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
		listen_to_end(fd, &t);
		ck_assert(ends_with(&t, "lb_handshake_seconds_count{pool=\"chat\"} 4\n"));
		close(fd);
	}
	close_admin();
}
END_TEST

START_TEST(a_client_may_half_close_and_read_late)
{
	enum { N = 8 << 20 };
	_cleanup_(text_deinit) struct text t = TEXT_INIT;
	char *version = malloc(N + 1);

	open_admin(_i);
	memset(version, '9', N);
	version[N] = '\0';
	fake.version = version;
	int fd = dial(http_port);
	say(fd, "GET /stats" HOST);
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	idle();
	listen_to_end(fd, &t);
	ck_assert_uint_gt(t.n, N);
	ck_assert(ends_with(&t, "\"sum\":1.500000}}\n"));
	close(fd);
	close_admin();
	free(version);
}
END_TEST

/* The answer arrives whole, although the body of the request is never read. */
START_TEST(a_body_is_not_read)
{
	static char body[50000];
	_cleanup_(text_deinit) struct text t = TEXT_INIT;

	open_admin(_i);
	int fd = dial(http_port);
	say(fd, "POST /stats HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n");
	ck_assert_int_eq(send(fd, body, sizeof(body), 0), sizeof(body));
	listen_to_end(fd, &t);
	ck_assert_int_eq(strncmp(t.p, "HTTP/1.1 405 ", 13), 0);
	ck_assert(ends_with(&t, "only GET and HEAD\n"));
	close(fd);
	close_admin();
}
END_TEST

START_TEST(a_head_may_be_too_large)
{
	static char field[5000];
	_cleanup_(text_deinit) struct text t = TEXT_INIT;

	open_admin(_i);
	int fd = dial(http_port);
	memset(field, 'x', sizeof(field) - 1);
	say(fd, "GET /stats HTTP/1.1\r\nHost: x\r\nCookie: ");
	say(fd, field);
	listen_to_end(fd, &t);
	ck_assert_int_eq(strncmp(t.p, "HTTP/1.1 431 ", 13), 0);
	close(fd);
	close_admin();
}
END_TEST

START_TEST(a_request_may_be_cut_short)
{
	_cleanup_(text_deinit) struct text t = TEXT_INIT;

	open_admin(_i);
	int fd = dial(http_port);
	say(fd, "GET /stats HTTP/1.1\r\nHost");
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	listen_to_end(fd, &t);
	ck_assert_uint_eq(t.n, 0);
	close(fd);
	close_admin();
}
END_TEST

/* A head that does not come gives its slot back; a client of the socket may be silent for ever. */
START_TEST(silence_ends_with_http_only)
{
	_cleanup_(text_deinit) struct text t = TEXT_INIT;

	open_admin(_i);
	int fd = dial(http_port), line = dial(socket_port);
	say(fd, "GET /stats HTTP/1.1\r\n");
	idle();
	ck_assert(listen_to(fd, &t));
	later(5100);
	listen_to_end(fd, &t);
	ck_assert_uint_eq(t.n, 0);
	idle();
	ck_assert(listen_to(line, &t));
	close(fd);
	close(line);
	close_admin();
}
END_TEST

/* After the answer a client that does not close is waited for, not for ever. */
START_TEST(lingering_ends)
{
	_cleanup_(text_deinit) struct text t = TEXT_INIT;

	open_admin(_i);
	int fd = dial(http_port);
	say(fd, "GET /healthz" HOST);
	listen_to_end(fd, &t);
	idle();
	say(fd, "more"); /* is dropped, not reset */
	idle();
	ck_assert(!listen_to(fd, &t));
	int n_before = n_fds();
	later(2100);
	UNTIL(n_fds() == n_before - 1);
	close(fd);
	close_admin();
}
END_TEST

/* ---- limits ---------------------------------------------------------------------------------- */

/* Clients that await an answer keep their slots, and the next ones wait in the kernel's queue. */
START_TEST(clients_have_a_limit)
{
	enum { N = 66 };
	_cleanup_(text_deinit) struct text t = TEXT_INIT;
	int fds[N];
	void *asker[N];

	open_admin(_i);
	fake.answers_late = true;
	for (int i = 0; i < N; i++) {
		fds[i] = dial(socket_port);
		say(fds[i], "conns\n");
		if (i >= 64)
			continue;
		UNTIL(fake.n_conns == i + 1);
		asker[i] = fake.ctx;
	}
	idle();
	ck_assert_int_eq(fake.n_conns, 64);

	int http = dial(http_port); /* has slots of its own */
	say(http, "GET /healthz" HOST);
	listen_to_end(http, &t);
	close(http);

	for (int i = 0; i < 2; i++) { /* answered, it is idle and makes room */
		fake.conns_done(asker[i], 0, &fake_conn_list);
		UNTIL(fake.n_conns == 65 + i);
		asker[64 + i] = fake.ctx;
	}
	for (int i = 2; i < N; i++) /* who asks owns what it waits for until it is answered */
		fake.conns_done(asker[i], 0, &fake_conn_list);
	for (int i = 0; i < N; i++)
		close(fds[i]);
	close_admin();
}
END_TEST

static void dial_many(uint16_t port, const char *line, int *fds, int n)
{
	for (int i = 0; i < n; i++) {
		fds[i] = dial(port);
		say(fds[i], line);
	}
}

/* When all slots are taken, the client that has been idle longest is closed at once. */
START_TEST(the_idle_make_room)
{
	enum { N = 64 };
	int is_http = _i / n_engines, fds[N];
	_cleanup_(text_deinit) struct text t = TEXT_INIT, first = TEXT_INIT, second = TEXT_INIT;

	open_admin(_i % n_engines);
	int n_before = n_fds();
	dial_many(is_http ? http_port : socket_port, is_http ? "GET " : "reload\n", fds, N - 1);
	UNTIL(n_fds() == n_before + 2 * (N - 1));
	idle();
	ck_assert(listen_to(fds[0], &first)); /* one slot is left */

	dial_many(is_http ? http_port : socket_port, is_http ? "GET " : "reload\n", &fds[N - 1], 1);
	listen_to_end(fds[0], &first);
	int fd = dial(is_http ? http_port : socket_port);
	say(fd, is_http ? "GET /healthz" HOST : "drain chat/b2\n");
	UNTIL((listen_to(fd, &t), t.n > 0));
	idle();
	bool is_open = listen_to(fds[1], &second);
	ck_assert(!is_open || is_http); /* the HTTP client has left its slot with its answer */
	ck_assert(listen_to(fds[2], &second));
	ck_assert(listen_to(fds[N - 1], &second));
	close(fd);
	for (int i = 0; i < N; i++)
		close(fds[i]);
	close_admin();
}
END_TEST

/*
 * A thousand clients that say nothing delay nobody: whoever comes behind them is answered as soon
 * as they have been accepted. No timer is needed for it, so that the loop never waits here.
 */
START_TEST(a_thousand_idle_clients_delay_nobody)
{
	enum { N = 1000 };
	static int fds[N];
	int is_http = _i / n_engines, n_turns = 0;
	_cleanup_(text_deinit) struct text t = TEXT_INIT;

	open_admin(_i % n_engines);
	for (int i = 0; i < N; i++) {
		/* the kernel's queue holds 128 */
		dial_many(is_http ? http_port : socket_port, "", &fds[i], 1);
		if (i % 100 == 99)
			for (int k = 0; k < 4 * 100; k++)
				ck_assert_int_eq(loop_turn(loop, 0), 0);
	}
	int fd = dial(is_http ? http_port : socket_port);
	say(fd, is_http ? "GET /healthz" HOST : "drain chat/b2\n");
	for (; t.n == 0 && n_turns < 1000; n_turns++) {
		ck_assert_int_eq(loop_turn(loop, 0), 0);
		(void)listen_to(fd, &t);
	}
	ck_assert_uint_gt(t.n, 0);
	ck_assert_int_lt(n_turns, 500);
	close(fd);
	for (int i = 0; i < N; i++)
		close(fds[i]);
	close_admin();
}
END_TEST

/* A client that awaits an answer is not closed for another. */
START_TEST(who_waits_keeps_its_place)
{
	enum { N = 64 };
	int fds[N];
	void *asker[N];

	open_admin(_i);
	fake.answers_late = true;
	for (int i = 0; i < N; i++) {
		dial_many(socket_port, "conns\n", &fds[i], 1);
		UNTIL(fake.n_conns == i + 1);
		asker[i] = fake.ctx;
	}
	usleep(1100000);
	for (int i = 0; i < 200; i++) /* lb looks every 100 ms */
		ck_assert_int_eq(loop_turn(loop, 2), 0);
	for (int i = 0; i < N; i++) {
		_cleanup_(text_deinit) struct text t = TEXT_INIT;
		fake.conns_done(asker[i], 0, &fake_conn_list);
		hear(fds[i], &t, 1);
		close(fds[i]);
	}
	close_admin();
}
END_TEST

START_TEST(descriptors_may_run_out)
{
	struct rlimit old, none = { 0 };
	_cleanup_(text_deinit) struct text t = TEXT_INIT;

	open_admin(_i);
	int fd = dial(socket_port);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	none.rlim_max = old.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	say(fd, "reload\n");
	UNTIL(n_logged > 0);
	for (int i = 0; i < 150; i++) /* it tries again, and is quiet about it */
		ck_assert_int_eq(loop_turn(loop, 2), 0);
	ck_assert_int_le(n_logged, 2); /* io_uring fails at the door where nobody is, too */
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	hear(fd, &t, 1);
	close(fd);
	close_admin();
}
END_TEST

START_TEST(nothing_may_be_served)
{
	begin(_i);
	admin = admin_new(&(struct admin_opts){
		.loop = loop, .log = &log_handle, .ops = &fake_ops, .class_id = CLASS_TEST });
	ck_assert(!admin_close(admin));
	ck_assert_ptr_null(admin_free(admin));
	ck_assert_ptr_null(admin_free(NULL));
	end();
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, commands_are_answered_in_order, 0, n_engines);
	tcase_add_loop_test(t, a_command_may_come_in_pieces, 0, n_engines);
	tcase_add_loop_test(t, many_commands_may_come_at_once, 0, n_engines);
	tcase_add_loop_test(t, a_late_answer_keeps_its_place, 0, n_engines);
	tcase_add_loop_test(t, who_waits_holds_up_nobody, 0, n_engines);
	tcase_add_loop_test(t, who_waits_may_be_reset, 0, n_engines);
	tcase_add_loop_test(t, who_waits_may_close, 0, n_engines);
	tcase_add_loop_test(t, an_answer_may_come_after_the_end, 0, n_engines);
	tcase_add_loop_test(t, a_long_answer_comes_whole, 0, n_engines);
	tcase_add_loop_test(t, who_does_not_read_may_leave, 0, n_engines);
	tcase_add_loop_test(t, who_does_not_read_is_closed, 0, n_engines);
	tcase_add_loop_test(t, who_does_not_read_is_closed_where_sends_cannot_wait, 0, n_engines);
	tcase_add_loop_test(t, a_refused_send_is_repeated_once, 0, n_engines);
	tcase_add_loop_test(t, who_reads_slowly_is_not_closed, 0, n_engines);
	tcase_add_loop_test(t, a_line_may_be_too_long, 0, n_engines);
	tcase_add_loop_test(t, the_longest_line_is_read, 0, n_engines);
	tcase_add_loop_test(t, a_request_is_answered, 0, n_engines);
	tcase_add_loop_test(t, a_client_may_half_close_at_once, 0, n_engines);
	tcase_add_loop_test(t, a_client_may_half_close_and_read_late, 0, n_engines);
	tcase_add_loop_test(t, a_body_is_not_read, 0, n_engines);
	tcase_add_loop_test(t, a_head_may_be_too_large, 0, n_engines);
	tcase_add_loop_test(t, a_request_may_be_cut_short, 0, n_engines);
	tcase_add_loop_test(t, silence_ends_with_http_only, 0, n_engines);
	tcase_add_loop_test(t, lingering_ends, 0, n_engines);
	tcase_add_loop_test(t, clients_have_a_limit, 0, n_engines);
	tcase_add_loop_test(t, the_idle_make_room, 0, 2 * n_engines);
	tcase_add_loop_test(t, a_thousand_idle_clients_delay_nobody, 0, 2 * n_engines);
	tcase_add_loop_test(t, who_waits_keeps_its_place, 0, n_engines);
	tcase_add_loop_test(t, descriptors_may_run_out, 0, n_engines);
	tcase_add_loop_test(t, nothing_may_be_served, 0, n_engines);
}

int main(void)
{
	return run_on_engines("admin/admin", add_tests);
}
