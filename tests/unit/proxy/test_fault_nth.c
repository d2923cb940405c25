/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers and what main makes for them where malloc or the kernel refuses: nothing half-made is
 * left behind, whoever is refused says so, and the next try works.
 */
#include "../fault_nth.h"
#include "worker_fixture.h"

/* Of a test that is run on each engine, and in each manner. */
static int engine_of(int i)
{
	return i % n_engines;
}

static enum fault_manner manner_of(int i)
{
	return (enum fault_manner)(i / n_engines);
}

/* ---- what main makes ------------------------------------------------------------------------- */

static const struct addr somewhere = { .family = AF_INET, .port = 80, .v4 = { 127, 0, 0, 1 } };

START_TEST(a_listener_is_made_whole_or_not_at_all)
{
	FOR_EVERY_N((enum fault_manner)_i)
	{
		struct listener *l;

		WITH_FAULT(l = listener_new(7, &somewhere, "l", N_WORKERS));
		ck_assert_int_eq(l == NULL, fault.n_refused > 0);
		if (l != NULL)
			ck_assert_str_eq(l->text, "127.0.0.1:80");
		listener_unref(l);
	}
}
END_TEST

START_TEST(a_name_is_kept_or_not)
{
	FOR_EVERY_N((enum fault_manner)_i)
	{
		const char *first = NULL, *second = NULL;
		struct names *n;

		WITH_FAULT(n = names_new());
		if (n == NULL)
			continue;
		WITH_FAULT(first = names_intern(n, "a"); second = names_intern(n, "b"));
		ck_assert_int_eq(first == NULL || second == NULL, fault.n_refused > 0);
		/* One that was refused is kept at the next attempt, the other one is the same. */
		const char *again = names_intern(n, "a");
		ck_assert_str_eq(again, "a");
		ck_assert(first == NULL || first == again);
		ck_assert_str_eq(names_intern(n, "b"), "b");
		names_free(n);
	}
}
END_TEST

START_TEST(a_snapshot_is_made_whole_or_not_at_all)
{
	conf = written("listeners:\n"
		       "  - {name: web, bind: '127.0.0.1:81', pool: b, routes: [\n"
		       "     {name: chat, path: /ws/*, pool: a}, {host: x.example, pool: b}]}\n"
		       "  - {name: raw, bind: '127.0.0.1:83', mode: tcp, pool: a}\n"
		       "pools: [{name: a, backends: ['127.0.0.1:1']}, {name: b, backends: "
		       "['127.0.0.1:2']}]\n");
	struct pool *pools[2] = { pool_new(&conf->pools[0], 0), pool_new(&conf->pools[1], 1) };

	FOR_EVERY_N((enum fault_manner)_i)
	{
		names = names_new();
		WITH_FAULT(snapshot = snapshot_new(conf, pools, names));
		ck_assert_int_eq(snapshot == NULL, fault.n_refused > 0);
		snapshot_unref(snapshot);
		ck_assert_uint_eq(ref_count(&pools[0]->refs), 1);
		ck_assert_uint_eq(ref_count(&pools[1]->refs), 1);
		ck_assert_uint_eq(ref_count(&conf->refs), 1);
		names_free(names);
	}
	pool_unref(pools[0]);
	pool_unref(pools[1]);
	conf_unref(conf);
}
END_TEST

/* ---- a worker's birth ------------------------------------------------------------------------ */

START_TEST(a_worker_is_born_whole_or_not_at_all)
{
	FOR_EVERY_N(manner_of(_i))
	{
		struct worker *w = NULL;
		struct worker_opts o = { .proxy = &proxy, .max_sessions = 100, .max_pipes = 4 };
		int r;

		begin(engine_of(_i));
		o.loop = loop;
		WITH_FAULT(r = proxy_init(&proxy, 1));
		if (r == 0)
			WITH_FAULT(r = worker_new(&o, &w));
		ck_assert_int_eq(r, fault.n_refused > 0 ? -ENOMEM : 0);
		ck_assert_int_eq(r == 0, w != NULL);
		ck_assert_ptr_null(worker_free(w));
		proxy_deinit(&proxy);
		loop = loop_free(loop); /* without another turn: it would name the worker */
	}
}
END_TEST

/* ---- messages -------------------------------------------------------------------------------- */

/* As ask() does for the first worker, whose part is refused the n-th time; its result. */
static int ask_with_fault(struct message *m)
{
	int want = n_replies + 1;

	m->done = on_reply;
	WITH_FAULT(m->mail.run(&m->mail, rigs[0].w));
	for (int i = 0; i < 100 && !list_is_empty(&rigs[0].w->walks); i++)
		WITH_FAULT((void)loop_turn(rigs[0].loop, 0));
	TURN_UNTIL(n_replies == want);
	ck_assert_ptr_eq(reply, m);
	return m->result;
}

START_TEST(a_socket_that_cannot_be_adopted_has_a_reply)
{
	FOR_EVERY_N(manner_of(_i))
	{
		begin_serving(engine_of(_i));
		pass_socket(0, 1, NULL);
		int r = ask_with_fault(adopt_of(0, listener));
		ck_assert_int_eq(r<0, fault.n_refused> 0);
		ck_assert_int_eq(list_is_empty(&rigs[0].w->listen), r < 0);
		turn_all();
		/* It may be tried again. */
		if (r < 0) {
			uint64_t number;
			int fd = loop_take_fd(rigs[0].loop, rigs[0].channel[1], &number);
			if (fd >= 0) /* it had not left the channel */
				loop_close(rigs[0].loop, fd);
			pass_socket(0, 1, NULL);
			ck_assert_int_eq(ask_adopt(0), 0);
		}
		ck_assert_int_eq(ask(message_abort_new(0)), 0);
		free_reply();
		end_serving();
	}
}
END_TEST

/* Workers take a new configuration over without asking for anything. */
START_TEST(nothing_of_an_apply_is_refused)
{
	begin_serving(engine_of(_i));
	listen_parked();
	fault_begin(FAULT_REST);
	ck_assert(fault_next()); /* everything is refused from here on */
	struct message *m = &apply_of(0, snapshot, members, true)->base;
	m->done = on_reply;
	WITH_FAULT(m->mail.run(&m->mail, rigs[0].w));
	ck_assert_ptr_eq(worker_members(rigs[0].w, pool), members);
	ck_assert_ptr_eq(rigs[0].w->snapshot, snapshot);
	TURN_UNTIL(reply == m);
	ck_assert_int_eq(m->result, 0);
	ck_assert_int_eq(ask_apply(1, true), 0);
	open_clients(10);
	close_clients();
	put_out_of_force();
	end_serving();
}
END_TEST

/* A row more may not be had: those before it are listed, and the list says that it is short. */
START_TEST(a_list_without_memory_says_so)
{
	enum { N = 200 }; /* both workers' arrays grow in between */
	int n_short = 0;

	FOR_EVERY_N(manner_of(_i))
	{
		begin_serving(engine_of(_i));
		put_in_force();
		open_clients(N);
		uint32_t n_first = rigs[0].w->n_sessions;
		int r = ask_with_fault(&conns_of(0, 1000)->base);
		ck_assert(r == 0 || (r == -ENOMEM && fault.n_refused > 0));
		ck_assert(r == 0 ? listed()->n_rows == n_first : listed()->n_rows < n_first);
		n_short += r < 0;
		free_reply();
		close_clients();
		put_out_of_force();
		end_serving();
	}
	ck_assert_int_ge(n_short, 2);
}
END_TEST

/* ---- a session ------------------------------------------------------------------------------- */

/* A plain request and its answer, by hand: heads that outgrow a small buffer, an interim answer. */
static struct {
	int client, backend; /* sockets, or -1 */
	int n_said;          /* parts of the request that the client has sent */
	int n_answered;      /* parts of the answer that the backend has sent */
	bool is_over;        /* the client has seen the end */
	char got[16384];     /* by the client */
	size_t n_got;
} talk;

static const char padding[3001] = { [0 ... 2999] = 'p' };

static void say(int fd, const char *before, const char *after)
{
	char text[4096];
	int n = snprintf(text, sizeof(text), "%s%s%s", before, padding, after);

	/* Whom nobody listens to any more hears of it by his own end. */
	ck_assert(send(fd, text, (size_t)n, MSG_NOSIGNAL) == n || errno == EPIPE ||
		  errno == ECONNRESET);
}

static void play_client(void)
{
	if (talk.n_said == 0)
		say(talk.client, "GET / HTTP/1.1\r\nHost: h\r\nA: ", "");
	else if (talk.n_said == 1)
		say(talk.client, "\r\nB: ", "\r\n\r\n");
	talk.n_said++;
	ssize_t n = recv(talk.client, talk.got + talk.n_got, sizeof(talk.got) - 1 - talk.n_got,
			 MSG_DONTWAIT);
	if (n > 0)
		talk.n_got += (size_t)n;
	else
		talk.is_over = n == 0 || errno != EAGAIN;
}

static void play_backend(void)
{
	char sink[16384];

	if (talk.backend < 0)
		talk.backend = accept4(backend_fd, NULL, NULL, SOCK_CLOEXEC);
	if (talk.backend < 0)
		return;
	ssize_t n = recv(talk.backend, sink, sizeof(sink), MSG_DONTWAIT);
	bool is_asked = n > 0 && memmem(sink, (size_t)n, "\r\n\r\n", 4) != NULL;
	if (talk.n_answered == 0 && !is_asked)
		return;
	if (talk.n_answered == 0)
		say(talk.backend,
		    "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nA: ", "");
	else if (talk.n_answered == 1)
		say(talk.backend, "\r\nB: ", "\r\nContent-Length: 5\r\n\r\nhello");
	talk.n_answered++;
}

static void turn_with_fault(void)
{
	for (int i = 0; i < N_WORKERS; i++)
		WITH_FAULT((void)loop_turn(rigs[i].loop, 0));
	mailbox_drain(&main_mail);
}

/* What the client has got in the end: a status, or 0 where it was reset without a word. */
static int talked(void)
{
	uint64_t until_ms = loop_now_ms(loop) + 5000;
	uint64_t n_accepted = 0, n_ended = 0;

	memset(&talk, 0, sizeof(talk));
	talk.backend = -1;
	talk.client = dial(listener->addr.port);
	while (!talk.is_over && loop_now_ms(loop) < until_ms) {
		for (int i = 0; i < 4; i++)
			turn_with_fault();
		play_client();
		play_backend();
	}
	ck_assert_msg(talk.is_over, "%s refused at %u: the client waits for ever: %.200s",
		      fault.refused, fault.n, talk.got);
	close(talk.client);
	if (talk.backend >= 0)
		close(talk.backend);
	TURN_UNTIL(rigs[0].w->n_sessions + rigs[1].w->n_sessions == 0);
	for (int i = 0; i < N_WORKERS; i++) {
		n_accepted += counter_read(&rigs[i].w->stats->accepted);
		for (int e = 0; e < SESS_N_ENDS; e++)
			n_ended += counter_read(&rigs[i].w->stats->ends[e]);
	}
	ck_assert_uint_eq(n_accepted, n_ended);

	const char *final = strstr(talk.got, "HTTP/1.1 103") != NULL
				    ? strstr(talk.got, "\r\n\r\n") + 4
				    : talk.got;
	if (talk.n_got == 0 || *final == '\0')
		return 0;
	ck_assert_msg(strncmp(final, "HTTP/1.1 ", 9) == 0, "%.200s", final);
	return atoi(final + 9);
}

static bool is_whole(void)
{
	return talk.n_got > 6000 && strcmp(talk.got + talk.n_got - 9, "\r\n\r\nhello") == 0;
}

static void begin_talk(int engine)
{
	mode = "http";
	begin_serving(engine);
	put_in_force();
}

static void end_talk(void)
{
	put_out_of_force();
	for (int fd; (fd = accept4(backend_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
		close(fd);
	end_serving();
}

/* It has its answer, or is told that it will have none; in the end everything is given back. */
START_TEST(a_session_lives_or_ends_whatever_is_refused)
{
	int n_lived = 0, n_told = 0, n_cut = 0;

	fault.spares_io = true;
	FOR_EVERY_N(FAULT_ONE)
	{
		begin_talk(engine_of(_i));
		int status = talked();
		ck_assert_msg(status == 0 || status == 200 || status >= 500, "%d, %s refused",
			      status, fault.refused);
		ck_assert_msg(status != 200 || is_whole(), "%s refused", fault.refused);
		ck_assert(status == 200 || fault.n_refused > 0);
		n_lived += status == 200;
		n_told += status >= 500;
		n_cut += status == 0;
		end_talk();
	}
	ck_assert_int_ge(n_lived, 3);
	ck_assert_int_ge(n_told, 2);
	ck_assert_int_ge(n_cut, 3);
}
END_TEST

/* The same where it is a buffer that cannot be lent. */
START_TEST(a_session_lives_or_ends_without_a_buffer)
{
	enum { MOST = 60 }; /* gets of a whole talk, and some more */
	int n_lived = 0, n_not = 0, last = 0;

	for (uint32_t k = 1; k <= MOST; k++) {
		begin_talk(engine_of(_i));
		for (int i = 0; i < N_WORKERS; i++)
			buf_fail_after(rigs[i].loop->bufs, k);
		last = talked();
		ck_assert_msg(last == 0 || last == 200 || last >= 500, "%d at %u", last, k);
		ck_assert_msg(last != 200 || is_whole(), "at %u", k);
		n_lived += last == 200;
		n_not += last != 200;
		end_talk();
	}
	ck_assert_int_eq(last, 200);
	ck_assert_int_ge(n_lived, 5);
	ck_assert_int_ge(n_not, 3);
}
END_TEST

static void add_tests(TCase *t)
{
	const int n_each = n_engines * FAULT_N_MANNERS;

	tcase_set_timeout(t, 60); /* each is run for every n, slowly under sanitizers */
	tcase_add_loop_test(t, a_listener_is_made_whole_or_not_at_all, 0, FAULT_N_MANNERS);
	tcase_add_loop_test(t, a_name_is_kept_or_not, 0, FAULT_N_MANNERS);
	tcase_add_loop_test(t, a_snapshot_is_made_whole_or_not_at_all, 0, FAULT_N_MANNERS);
	tcase_add_loop_test(t, a_worker_is_born_whole_or_not_at_all, 0, n_each);
	tcase_add_loop_test(t, a_socket_that_cannot_be_adopted_has_a_reply, 0, n_each);
	tcase_add_loop_test(t, nothing_of_an_apply_is_refused, 0, n_engines);
	tcase_add_loop_test(t, a_list_without_memory_says_so, 0, n_each);
	tcase_add_loop_test(t, a_session_lives_or_ends_whatever_is_refused, 0, n_engines);
	tcase_add_loop_test(t, a_session_lives_or_ends_without_a_buffer, 0, n_engines);
}

int main(void)
{
	return run_on_engines("proxy/fault_nth", add_tests);
}
