/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A probe on the loop under test, against a backend that the test plays by hand on plain sockets in
 * the same thread: nothing moves but in UNTIL() and idle().
 */
#include <stdio.h>
#include <sys/resource.h>

#include "../ev/later.h"
#include "../ev/loop_fixture.h"
#include "ev/loop_priv.h"
#include "health/probes.h"
#include "proto/accept_key.h"
#include "proto/http1.h"
#include "proto/ws_frame.h"

#define CLASS_PROBE 5u
#define LONG_MS 3600000u /* the next check does not come within the test */

static struct probes *probes;
static int backend = -1; /* its listening socket */
static uint16_t port;

/* What was reported. */
static struct {
	int n_ok, n_bad, n_none, n_up, n_down, n_first;
	char text[128];
	void *target;
	bool removes; /* a result takes all targets away */
} seen;

static void on_result(void *arg, void *target, bool is_ok, const char *text)
{
	ck_assert_ptr_eq(arg, &seen);
	seen.n_ok += is_ok;
	seen.n_bad += !is_ok;
	seen.target = target;
	snprintf(seen.text, sizeof(seen.text), "%s", text);
	if (seen.removes)
		ck_assert_int_eq(probes_set(probes, NULL, 0), 0);
}

static void on_none(void *arg, void *target, const char *text)
{
	ck_assert_ptr_eq(arg, &seen);
	seen.n_none++;
	seen.target = target;
	snprintf(seen.text, sizeof(seen.text), "%s", text);
	if (seen.removes)
		ck_assert_int_eq(probes_set(probes, NULL, 0), 0);
}

/* Comes right behind its result. */
static void on_verdict(void *arg, void *target, bool is_up, bool is_first, const char *text)
{
	ck_assert_ptr_eq(arg, &seen);
	ck_assert_ptr_eq(target, seen.target);
	ck_assert_str_eq(text, seen.text);
	seen.n_up += is_up;
	seen.n_down += !is_up;
	seen.n_first += is_first;
}

static const struct probe_ops notes = {
	.on_result = on_result,
	.on_none = on_none,
	.on_verdict = on_verdict,
};

static void begin_probes(int engine)
{
	begin(engine);
	memset(&seen, 0, sizeof(seen));
	backend = listening(16, &port);
	probes = probes_new(loop, CLASS_PROBE, &notes, &seen);
	ck_assert_ptr_nonnull(probes);
}

/* Whatever is under way ends in a few turns, and says nothing more. */
static void end_probes(void)
{
	int n = seen.n_ok + seen.n_bad;

	UNTIL(!probes_close(probes));
	ck_assert_int_eq(seen.n_ok + seen.n_bad, n);
	ck_assert_ptr_null(probes_free(probes));
	if (backend >= 0)
		close(backend);
	end();
}

/* ---- targets --------------------------------------------------------------------------------- */

static char root_path[] = "/health";

static struct conf_health conf_of(enum conf_check type)
{
	return (struct conf_health){
		.type = type,
		.path = root_path,
		.status_min = 200,
		.status_max = 399,
		.interval_ms = LONG_MS,
		.timeout_ms = 5000,
		.rise = 2,
		.fall = 3,
	};
}

static struct probe_target target_of(const struct conf_health *conf)
{
	static int who;

	return (struct probe_target){
		.arg = &who,
		.addr = { .family = AF_INET, .port = port, .v4 = { 127, 0, 0, 1 } },
		.conf = conf,
	};
}

static void check_by(const struct conf_health *conf)
{
	struct probe_target t = target_of(conf);

	ck_assert_int_eq(probes_set(probes, &t, 1), 0);
}

/* ---- the backend's part ---------------------------------------------------------------------- */

static bool is_readable(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

static bool is_asked(void)
{
	return is_readable(backend);
}

static int take_conn(void)
{
	UNTIL(is_asked());
	int fd = accept4(backend, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

/* A whole request head. */
static const char *hear(int fd)
{
	static char text[2048];
	size_t n = 0;

	for (int i = 0; i < 1000 && (n < 4 || strcmp(text + n - 4, "\r\n\r\n") != 0); i++) {
		ck_assert_int_eq(loop_turn(loop, 2), 0);
		ssize_t r = recv(fd, text + n, sizeof(text) - 1 - n, 0);
		ck_assert_int_ne(r, 0);
		n += r > 0 ? (size_t)r : 0;
		text[n] = '\0';
	}
	ck_assert_uint_ge(n, 4);
	return text;
}

static void say(int fd, const char *text)
{
	ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* The probe closes: a clean end, not a reset. */
static void await_fin(int fd)
{
	char rest[64];
	ssize_t n;

	do {
		UNTIL(is_readable(fd));
		n = recv(fd, rest, sizeof(rest), 0);
	} while (n > 0);
	ck_assert_msg(n == 0, "%s", strerror(errno));
	close(fd);
}

static void await_reset(int fd)
{
	char rest[64];
	ssize_t n;

	do {
		UNTIL(is_readable(fd));
		n = recv(fd, rest, sizeof(rest), 0);
	} while (n > 0);
	ck_assert(n < 0 && errno == ECONNRESET);
	close(fd);
}

static bool is_open(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_PEEK) < 0 && errno == EAGAIN;
}

/* The backend closes first, and the probe then does. */
static void part(int fd)
{
	idle();
	ck_assert(is_open(fd));
	shutdown(fd, SHUT_WR);
	await_fin(fd);
}

/* The answer to a handshake request. */
static const char *answer_of(const char *request)
{
	static char out[256];
	char accept[ACCEPT_KEY_TEXT];
	const char *key = strstr(request, "\r\nSec-WebSocket-Key: ");

	ck_assert_ptr_nonnull(key);
	ck_assert_int_eq(accept_key(key + 21, accept), 0);
	snprintf(out, sizeof(out),
		 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
		 "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		 accept);
	return out;
}

/* The probe's goodbye: a masked Close frame, status 1000. */
static void hear_close(int fd)
{
	uint8_t frame[8];

	UNTIL(recv(fd, frame, sizeof(frame), MSG_PEEK) == sizeof(frame));
	ck_assert_int_eq(recv(fd, frame, sizeof(frame), 0), sizeof(frame));
	ck_assert_uint_eq(frame[0], 0x88);
	ck_assert_uint_eq(frame[1], 0x82);
	ws_mask(frame + 6, 2, frame + 2, 0);
	ck_assert_uint_eq(frame[6] << 8 | frame[7], 1000);
}

#define CLOSE_FRAME "\x88\x02\x03\xe8"

/* ---- single checks --------------------------------------------------------------------------- */

START_TEST(tcp_is_up_when_it_accepts)
{
	struct conf_health conf = conf_of(CONF_CHECK_TCP);

	begin_probes(_i);
	check_by(&conf);
	int fd = take_conn();
	await_reset(fd); /* no TIME_WAIT on either side */
	ck_assert_int_eq(seen.n_ok, 1);
	ck_assert_int_eq(strncmp(seen.text, "connected in ", 13), 0);
	ck_assert(seen.n_up == 1 && seen.n_first == 1 && seen.n_bad == 0);
	ck_assert_ptr_eq(seen.target, target_of(&conf).arg);
	end_probes();
}
END_TEST

static const struct {
	const char *name;
	enum conf_proxy proxy;
	const char *bytes;
	size_t n;
} greetings[] = {
	{ "version 1", CONF_PROXY_V1, "PROXY UNKNOWN\r\n", 15 },
	{ "version 2: LOCAL", CONF_PROXY_V2, "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", 16 },
};

static void hear_greeting(int fd, int row)
{
	char text[32];

	UNTIL(recv(fd, text, greetings[row].n, MSG_PEEK) == (ssize_t)greetings[row].n);
	ck_assert_int_eq(recv(fd, text, greetings[row].n, 0), (ssize_t)greetings[row].n);
	ck_assert_msg(memcmp(text, greetings[row].bytes, greetings[row].n) == 0, "%s",
		      greetings[row].name);
}

/* The PROXY header of a check comes before all else, and alone where nothing is asked. */
START_TEST(a_proxy_header_comes_first)
{
	int row = _i / n_engines;

	for (int i = 0; i < 2; i++) {
		struct conf_health conf = conf_of(i == 0 ? CONF_CHECK_TCP : CONF_CHECK_HTTP);

		begin_probes(_i % n_engines);
		struct probe_target t = target_of(&conf);
		t.proxy = greetings[row].proxy;
		ck_assert_int_eq(probes_set(probes, &t, 1), 0);
		int fd = take_conn();
		hear_greeting(fd, row);
		if (conf.type == CONF_CHECK_TCP) {
			await_reset(fd);
		} else {
			ck_assert_int_eq(strncmp(hear(fd), "GET /health ", 12), 0);
			say(fd, "HTTP/1.1 200 OK\r\n\r\n");
			close(fd);
			UNTIL(seen.n_ok == 1);
		}
		ck_assert(seen.n_ok == 1 && seen.n_bad == 0);
		end_probes();
	}
}
END_TEST

/* The first result decides at once, whatever `fall` says. */
START_TEST(a_refusal_is_down)
{
	static const enum conf_check types[] = { CONF_CHECK_TCP, CONF_CHECK_HTTP,
						 CONF_CHECK_WEBSOCKET };

	for (int i = 0; i < 3; i++) {
		struct conf_health conf = conf_of(types[i]);

		begin_probes(_i);
		close(backend);
		backend = -1;
		check_by(&conf);
		UNTIL(seen.n_bad == 1);
		ck_assert_str_eq(seen.text, "connect: Connection refused");
		ck_assert(seen.n_down == 1 && seen.n_first == 1 && seen.n_ok == 0);
		end_probes();
	}
}
END_TEST

START_TEST(an_http_request_is_exact)
{
	static char host[] = "chat.example.com";
	struct conf_health conf = conf_of(CONF_CHECK_HTTP);
	char want[256];

	for (int i = 0; i < 2; i++) {
		begin_probes(_i);
		conf.host = i != 0 ? host : NULL;
		check_by(&conf);
		int fd = take_conn();
		snprintf(want, sizeof(want), "127.0.0.1:%u", port);
		char *name = strdup(i != 0 ? host : want);
		snprintf(want, sizeof(want),
			 "GET /health HTTP/1.1\r\nHost: %s\r\nUser-Agent: lb-health/%s\r\n"
			 "Connection: close\r\n\r\n",
			 name, LB_VERSION);
		ck_assert_str_eq(hear(fd), want);
		free(name);
		close(fd);
		end_probes();
	}
}
END_TEST

static const struct {
	const char *name;
	const char *answer;
	uint16_t min, max;
	bool is_ok;
	const char *text; /* what the result begins with */
} answers[] = {
	{ "plain", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, 399, true, "200 in " },
	{ "the last good one", "HTTP/1.1 399 x\r\n\r\n", 200, 399, true, "399 in " },
	{ "above", "HTTP/1.1 400 x\r\n\r\n", 200, 399, false, "status 400 in " },
	{ "below", "HTTP/1.1 200 OK\r\n\r\n", 204, 204, false, "status 200 in " },
	{ "just that one", "HTTP/1.0 204 x\r\n\r\n", 204, 204, true, "204 in " },
	{ "an error that is asked for", "HTTP/1.1 503 x\r\n\r\n", 503, 503, true, "503 in " },
	{ "no HTTP", "SSH-2.0-OpenSSH_9.2\r\n", 200, 399, false, "response: " },
	{ "nothing", "", 200, 399, false, "response: closed" },
	{ "half a head", "HTTP/1.1 200 OK\r\nServ", 200, 399, false, "response: closed" },
};
#define N_ANSWERS ((int)(sizeof(answers) / sizeof(answers[0])))

/* All at once, and a byte at a time. */
START_TEST(http_answers_are_judged)
{
	int row = _i / n_engines;
	struct conf_health conf = conf_of(CONF_CHECK_HTTP);

	conf.status_min = answers[row].min;
	conf.status_max = answers[row].max;
	for (int is_slow = 0; is_slow < 2; is_slow++) {
		begin_probes(_i % n_engines);
		check_by(&conf);
		int fd = take_conn();
		(void)hear(fd);
		for (const char *p = answers[row].answer; is_slow && *p != '\0'; p++) {
			/* What is decided may be closed at once. */
			(void)send(fd, p, 1, MSG_NOSIGNAL);
			ck_assert_int_eq(loop_turn(loop, 0), 0);
		}
		if (!is_slow)
			say(fd, answers[row].answer);
		shutdown(fd, SHUT_WR);
		UNTIL(seen.n_ok + seen.n_bad == 1);
		ck_assert_msg(seen.n_ok == answers[row].is_ok, "%s", answers[row].name);
		ck_assert_msg(strncmp(seen.text, answers[row].text, strlen(answers[row].text)) == 0,
			      "%s: %s", answers[row].name, seen.text);
		ck_assert_int_eq(seen.n_up, answers[row].is_ok);
		ck_assert_int_eq(seen.n_down, !answers[row].is_ok);
		close(fd);
		end_probes();
	}
}
END_TEST

/* As large a head as a client's response may have. */
START_TEST(a_large_head_is_read)
{
	static char head[HTTP1_HEAD_MAX + 1];
	struct conf_health conf = conf_of(_i % 2 != 0 ? CONF_CHECK_HTTP : CONF_CHECK_WEBSOCKET);

	begin_probes(_i / 2);
	check_by(&conf);
	int fd = take_conn();
	const char *request = hear(fd);
	const char *start = _i % 2 != 0 ? "HTTP/1.1 200 OK\r\n\r\n" : answer_of(request);
	size_t n = strlen(start) - 2;
	memcpy(head, start, n);
	memset(head + n, 'x', HTTP1_HEAD_MAX - n - 4);
	memcpy(head + n, "X-Filler: ", 10);
	strcpy(head + HTTP1_HEAD_MAX - 4, "\r\n\r\n");
	for (size_t at = 0; at < HTTP1_HEAD_MAX; at += 1024) {
		ck_assert_int_eq(send(fd, head + at, 1024, MSG_NOSIGNAL), 1024);
		ck_assert_int_eq(loop_turn(loop, 2), 0);
	}
	UNTIL(seen.n_ok + seen.n_bad == 1);
	ck_assert_msg(seen.n_ok == 1, "%s", seen.text);
	if (conf.type == CONF_CHECK_WEBSOCKET) {
		hear_close(fd);
		say(fd, CLOSE_FRAME);
	}
	part(fd);
	end_probes();
}
END_TEST

/* Interim responses are no verdict (RFC 9110, 15.2), however many, and in whatever pieces. */
START_TEST(interim_responses_are_skipped)
{
	static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n"
				      "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
	struct conf_health conf = conf_of(_i % 2 != 0 ? CONF_CHECK_HTTP : CONF_CHECK_WEBSOCKET);
	char all[512];

	for (int is_slow = 0; is_slow < 2; is_slow++) {
		begin_probes(_i / 2);
		check_by(&conf);
		int fd = take_conn();
		const char *request = hear(fd);
		snprintf(all, sizeof(all), "%s%s", interim,
			 _i % 2 != 0 ? "HTTP/1.1 204 x\r\n\r\n" : answer_of(request));
		for (const char *p = all; is_slow && *p != '\0'; p++) {
			ck_assert_int_eq(send(fd, p, 1, MSG_NOSIGNAL), 1);
			ck_assert_int_eq(loop_turn(loop, 0), 0);
		}
		if (!is_slow)
			say(fd, all);
		UNTIL(seen.n_ok + seen.n_bad == 1);
		ck_assert_msg(seen.n_ok == 1, "%s", seen.text);
		ck_assert_int_eq(strncmp(seen.text, _i % 2 != 0 ? "204 in " : "101 in ", 7), 0);
		close(fd);
		end_probes();
	}
}
END_TEST

START_TEST(interim_responses_alone_are_down)
{
	struct conf_health conf = conf_of(CONF_CHECK_HTTP);

	begin_probes(_i);
	check_by(&conf);
	int fd = take_conn();
	(void)hear(fd);
	say(fd, "HTTP/1.1 100 Continue\r\n\r\n");
	idle();
	ck_assert_int_eq(seen.n_ok + seen.n_bad, 0);
	close(fd);
	UNTIL(seen.n_bad == 1);
	ck_assert_str_eq(seen.text, "response: closed");
	end_probes();
}
END_TEST

/* A head larger than a client's response may have is no answer. */
START_TEST(an_endless_head_is_down)
{
	struct conf_health conf = conf_of(CONF_CHECK_HTTP);

	begin_probes(_i);
	check_by(&conf);
	int fd = take_conn();
	(void)hear(fd);
	say(fd, "HTTP/1.1 200 OK\r\n");
	for (int i = 0; i < 400 && seen.n_bad == 0; i++) {
		(void)send(fd, "X-Filler: 0123456789012345678901234567890123456789\r\n", 52,
			   MSG_NOSIGNAL);
		ck_assert_int_eq(loop_turn(loop, 0), 0);
	}
	UNTIL(seen.n_bad == 1);
	ck_assert_int_eq(strncmp(seen.text, "response: ", 10), 0);
	close(fd);
	end_probes();
}
END_TEST

START_TEST(a_path_that_is_too_long_is_told)
{
	static char path[2000];
	struct conf_health conf = conf_of(_i % 2 != 0 ? CONF_CHECK_HTTP : CONF_CHECK_WEBSOCKET);

	memset(path, 'a', sizeof(path) - 1);
	path[0] = '/';
	conf.path = path;
	begin_probes(_i / 2);
	check_by(&conf);
	int fd = take_conn();
	UNTIL(seen.n_bad == 1);
	ck_assert_str_eq(seen.text, "request: path and host are too long");
	await_fin(fd);
	end_probes();
}
END_TEST

START_TEST(a_websocket_is_opened_and_closed)
{
	struct conf_health conf = conf_of(CONF_CHECK_WEBSOCKET);
	char want[400], key[ACCEPT_KEY_NONCE_TEXT];

	begin_probes(_i);
	check_by(&conf);
	int fd = take_conn();
	const char *request = hear(fd);
	snprintf(key, sizeof(key), "%s", strstr(request, "-Key: ") + 6);
	snprintf(want, sizeof(want),
		 "GET /health HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nUser-Agent: lb-health/%s\r\n"
		 "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
		 "Sec-WebSocket-Key: %s\r\n\r\n",
		 port, LB_VERSION, key);
	ck_assert_str_eq(request, want);
	say(fd, answer_of(request));
	hear_close(fd);
	ck_assert(seen.n_ok == 1 && seen.n_up == 1 && seen.n_first == 1);
	ck_assert_int_eq(strncmp(seen.text, "101 in ", 7), 0);
	say(fd, CLOSE_FRAME);
	part(fd);
	ck_assert(seen.n_ok == 1 && seen.n_bad == 0);
	end_probes();
}
END_TEST

/* Keys are chance. */
START_TEST(no_two_keys_are_the_same)
{
	struct conf_health conf = conf_of(CONF_CHECK_WEBSOCKET);
	char key[2][ACCEPT_KEY_NONCE_TEXT];

	conf.interval_ms = 20;
	begin_probes(_i);
	check_by(&conf);
	for (int i = 0; i < 2; i++) {
		int fd = take_conn();
		snprintf(key[i], sizeof(key[i]), "%s", strstr(hear(fd), "-Key: ") + 6);
		close(fd);
	}
	ck_assert_str_ne(key[0], key[1]);
	end_probes();
}
END_TEST

/*
 * A backend that greets, in the packet of its 101 and later, has its greeting read: it is not reset
 * in the middle of its own goodbye.
 */
START_TEST(a_greeting_is_let_pass)
{
	struct conf_health conf = conf_of(CONF_CHECK_WEBSOCKET);
	char answer[512];

	begin_probes(_i);
	check_by(&conf);
	int fd = take_conn();
	snprintf(answer, sizeof(answer), "%s\x81\x05hello\x81\x05wo", answer_of(hear(fd)));
	say(fd, answer);
	hear_close(fd);
	say(fd, "rld\x81\x01!");
	idle();
	ck_assert(is_open(fd));
	say(fd, CLOSE_FRAME);
	part(fd);
	ck_assert(seen.n_ok == 1 && seen.n_bad == 0);
	end_probes();
}
END_TEST

/* Who is up but never says goodbye is waited for until the time of the check is over, and is up. */
START_TEST(a_missing_goodbye_is_forgiven)
{
	struct conf_health conf = conf_of(CONF_CHECK_WEBSOCKET);

	conf.timeout_ms = 200;
	begin_probes(_i / 2);
	check_by(&conf);
	int fd = take_conn();
	say(fd, answer_of(hear(fd)));
	hear_close(fd);
	if (_i % 2 != 0)
		say(fd, CLOSE_FRAME);
	await_reset(fd);
	ck_assert(seen.n_ok == 1 && seen.n_bad == 0 && seen.n_up == 1);
	end_probes();
}
END_TEST

/* So is who closes, or resets, where it should say goodbye. */
START_TEST(an_end_is_goodbye_enough)
{
	struct conf_health conf = conf_of(CONF_CHECK_WEBSOCKET);

	begin_probes(_i / 2);
	check_by(&conf);
	int fd = take_conn();
	say(fd, answer_of(hear(fd)));
	hear_close(fd);
	if (_i % 2 != 0) {
		close_peer(fd, true);
	} else {
		shutdown(fd, SHUT_WR);
		await_fin(fd);
	}
	idle();
	ck_assert(seen.n_ok == 1 && seen.n_bad == 0 && seen.n_up == 1);
	end_probes();
}
END_TEST

static const struct {
	const char *name, *answer, *text;
} refusals[] = {
	{ "a plain answer", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "status 200 in " },
	{ "another key's accept",
	  "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
	  "handshake: " },
	{ "no accept", "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
	  "handshake: " },
};
#define N_REFUSALS ((int)(sizeof(refusals) / sizeof(refusals[0])))

START_TEST(a_wrong_handshake_is_down)
{
	int row = _i / n_engines;
	struct conf_health conf = conf_of(CONF_CHECK_WEBSOCKET);

	begin_probes(_i % n_engines);
	check_by(&conf);
	int fd = take_conn();
	(void)hear(fd);
	say(fd, refusals[row].answer);
	part(fd);
	ck_assert_msg(seen.n_bad == 1 && seen.n_down == 1, "%s", refusals[row].name);
	ck_assert_msg(strncmp(seen.text, refusals[row].text, strlen(refusals[row].text)) == 0,
		      "%s: %s", refusals[row].name, seen.text);
	end_probes();
}
END_TEST

/* ---- the end of a connection ------------------------------------------------------------------
 */

/* Sends `n` bytes, and turns the loop meanwhile. False: the connection was reset. */
static bool pour(int fd, size_t n)
{
	static const char page[4096];

	while (n > 0) {
		ssize_t r = send(fd, page, n < sizeof(page) ? n : sizeof(page), MSG_NOSIGNAL);
		if (r < 0 && errno != EAGAIN)
			return false;
		n -= r > 0 ? (size_t)r : 0;
		ck_assert_int_eq(loop_turn(loop, r > 0 ? 0 : 2), 0);
	}
	return true;
}

/* Answers whose verdict falls at the head, and from which on the backend is to close. */
static const struct {
	const char *name;
	enum conf_check type;
	const char *answer; /* NULL: the right one to a handshake */
	bool is_ok;
} endings[] = {
	{ "a page", CONF_CHECK_HTTP, "HTTP/1.1 200 OK\r\nContent-Length: 102400\r\n\r\n", true },
	{ "an error page", CONF_CHECK_HTTP, "HTTP/1.1 500 x\r\n\r\n", false },
	{ "no HTTP", CONF_CHECK_HTTP, "SSH-2.0-OpenSSH_9.2\r\n", false },
	{ "a handshake", CONF_CHECK_WEBSOCKET, NULL, true },
	{ "no handshake", CONF_CHECK_WEBSOCKET, "HTTP/1.1 404 x\r\n\r\n", false },
};
#define N_ENDINGS ((int)(sizeof(endings) / sizeof(endings[0])))

static int answer_one(int row, uint32_t timeout_ms)
{
	struct conf_health conf = conf_of(endings[row].type);

	conf.timeout_ms = timeout_ms;
	check_by(&conf);
	int fd = take_conn();
	const char *request = hear(fd);
	say(fd, endings[row].answer != NULL ? endings[row].answer : answer_of(request));
	UNTIL(seen.n_ok + seen.n_bad == 1);
	ck_assert_msg(seen.n_ok == endings[row].is_ok, "%s", endings[row].name);
	return fd;
}

/* What comes behind the head is read until the backend closes: 100 KB and no reset. */
START_TEST(a_page_is_read_to_its_end)
{
	begin_probes(_i % n_engines);
	int fd = answer_one(_i / n_engines, 8000);
	ck_assert(pour(fd, 102400));
	shutdown(fd, SHUT_WR);
	await_fin(fd);
	ck_assert_int_eq(seen.n_ok + seen.n_bad, 1);
	end_probes();
}
END_TEST

/* But not without end. */
START_TEST(an_endless_page_is_reset)
{
	begin_probes(_i % n_engines);
	int fd = answer_one(_i / n_engines, 8000);
	ck_assert(!pour(fd, 64u << 20));
	close(fd);
	ck_assert_int_eq(seen.n_ok + seen.n_bad, 1);
	end_probes();
}
END_TEST

/* And not beyond the time of the check; the verdict stays. */
START_TEST(a_backend_that_stays_open_is_reset)
{
	begin_probes(_i % n_engines);
	int fd = answer_one(_i / n_engines, 400);
	idle();
	await_reset(fd);
	ck_assert_int_eq(seen.n_ok + seen.n_bad, 1);
	end_probes();
}
END_TEST

/* A reload without the target, a pause and other settings end what lingers. */
START_TEST(what_lingers_ends_with_its_target)
{
	for (int how = 0; how < 3; how++) {
		struct conf_health conf = conf_of(CONF_CHECK_HTTP);
		struct probe_target t;

		begin_probes(_i);
		int fd = answer_one(0, 8000);
		conf.rise += how == 2;
		conf.status_max += how == 2;
		t = target_of(&conf);
		t.is_paused = how == 1;
		ck_assert_int_eq(probes_set(probes, &t, how > 0), 0);
		await_fin(fd);
		end_probes();
	}
}
END_TEST

/* The next check comes at its time, though none of those before has ended; they are few. */
START_TEST(what_lingers_delays_no_check)
{
	enum { N = 12, MOST = 4 };
	struct conf_health conf = conf_of(CONF_CHECK_HTTP);
	int fd[N];

	conf.interval_ms = 10;
	begin_probes(_i);
	check_by(&conf);
	for (int i = 0; i < N; i++) {
		fd[i] = take_conn();
		(void)hear(fd[i]);
		say(fd[i], "HTTP/1.1 200 x\r\n\r\n");
		UNTIL(seen.n_ok == i + 1);
		if (i >= MOST)
			await_reset(fd[i - MOST]);
	}
	for (int i = N - MOST; i < N; i++)
		close(fd[i]);
	end_probes();
}
END_TEST

/* The time covers the whole check, however often a byte comes. */
START_TEST(a_silent_backend_is_down)
{
	struct conf_health conf = conf_of(CONF_CHECK_HTTP);

	conf.timeout_ms = 60;
	begin_probes(_i);
	check_by(&conf);
	int fd = take_conn();
	(void)hear(fd);
	for (const char *p = "HTTP/1.1 200 OK\r\nA-long-name-of-a-field: and its"; *p != '\0';
	     p++) {
		(void)send(fd, p, 1, MSG_NOSIGNAL);
		ck_assert_int_eq(loop_turn(loop, 2), 0);
	}
	UNTIL(seen.n_bad == 1);
	ck_assert_str_eq(seen.text, "timeout after 60ms");
	ck_assert_int_eq(seen.n_down, 1);
	close(fd);
	end_probes();
}
END_TEST

/* No descriptor for a check: told as what it is, and no verdict on the backend. */
START_TEST(no_socket_is_told)
{
	struct conf_health conf = conf_of(CONF_CHECK_TCP);
	struct rlimit old, low;

	begin_probes(_i / 2);
	seen.removes = _i % 2 != 0;
	check_by(&conf);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = 0;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	for (int i = 0; i < 100 && seen.n_none == 0; i++)
		(void)loop_turn(loop, 2);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	ck_assert_str_eq(seen.text, "no check: Too many open files");
	ck_assert(seen.n_bad == 0 && seen.n_down == 0);
	end_probes();
}
END_TEST

/* ---- an engine that is not at its best ------------------------------------------------------- */

/* The engine's calls, but for what a test bends. */
static struct loop_ops bent_ops;
static const struct loop_ops *real_ops;
static struct {
	int n_sends;
	int failing;       /* this send fails, counted from 1; 0: none */
	size_t most;       /* no send takes more */
	bool is_kept_back; /* the first send is done, and told later */
	op_tag kept_tag;   /* of it, until then */
	int kept_res;
	int n_no_buf; /* so many receives find no buffer */
} bent;

static void bent_send(struct loop *l, int fd, const struct iovec *iov, int n, enum send_mode mode,
		      op_tag tag)
{
	struct iovec part = { .iov_base = iov[0].iov_base, .iov_len = iov[0].iov_len };

	ck_assert_int_eq(n, 1);
	if (part.iov_len > bent.most)
		part.iov_len = bent.most;
	if (++bent.n_sends == bent.failing) {
		loop_post(l, &(struct completion){ .tag = tag, .res = -EPIPE });
	} else if (bent.is_kept_back && bent.n_sends == 1) {
		bent.kept_tag = tag;
		bent.kept_res = (int)send(fd, part.iov_base, part.iov_len, MSG_NOSIGNAL);
	} else {
		real_ops->send(l, fd, &part, 1, mode, tag);
	}
}

static void bent_recv(struct loop *l, int fd, uint32_t cap, enum buf_class size_class, op_tag tag)
{
	if (bent.n_no_buf > 0) {
		bent.n_no_buf--;
		loop_post(l, &(struct completion){ .tag = tag, .res = -ENOBUFS });
	} else {
		real_ops->recv(l, fd, cap, size_class, tag);
	}
}

static void begin_bent(int engine)
{
	begin_probes(engine);
	memset(&bent, 0, sizeof(bent));
	bent.most = SIZE_MAX;
	real_ops = loop->ops;
	bent_ops = *real_ops;
	bent_ops.send = bent_send;
	bent_ops.recv = bent_recv;
	loop->ops = &bent_ops;
}

START_TEST(a_failed_send_is_down)
{
	struct conf_health conf = conf_of(_i % 2 != 0 ? CONF_CHECK_HTTP : CONF_CHECK_WEBSOCKET);

	begin_bent(_i / 2);
	bent.failing = 1;
	check_by(&conf);
	int fd = take_conn();
	UNTIL(seen.n_bad == 1);
	ck_assert_str_eq(seen.text, "send: Broken pipe");
	ck_assert(seen.n_down == 1 && seen.n_ok == 0);
	await_fin(fd);
	end_probes();
}
END_TEST

/* Who is up, and gone before it is said goodbye to, is up. */
START_TEST(a_failed_goodbye_is_forgiven)
{
	struct conf_health conf = conf_of(CONF_CHECK_WEBSOCKET);

	begin_bent(_i);
	bent.failing = 2;
	check_by(&conf);
	int fd = take_conn();
	say(fd, answer_of(hear(fd)));
	await_fin(fd);
	ck_assert_int_eq(bent.n_sends, 2);
	ck_assert(seen.n_ok == 1 && seen.n_bad == 0 && seen.n_up == 1);
	end_probes();
}
END_TEST

/* The answer may be there before it is known that the request is out: one send at a time. */
START_TEST(a_goodbye_waits_for_the_request)
{
	struct conf_health conf = conf_of(CONF_CHECK_WEBSOCKET);
	char c;

	begin_bent(_i);
	bent.is_kept_back = true;
	check_by(&conf);
	int fd = take_conn();
	say(fd, answer_of(hear(fd)));
	UNTIL(seen.n_ok == 1);
	idle();
	ck_assert_int_eq(bent.n_sends, 1);
	ck_assert_int_lt(recv(fd, &c, 1, 0), 0);
	ck_assert_int_eq(errno, EAGAIN);
	loop_post(loop, &(struct completion){ .tag = bent.kept_tag, .res = bent.kept_res });
	hear_close(fd);
	say(fd, CLOSE_FRAME);
	part(fd);
	ck_assert(seen.n_ok == 1 && seen.n_bad == 0);
	end_probes();
}
END_TEST

/* Few bytes at a time are taken of the request and of the goodbye: each arrives whole. */
START_TEST(sends_may_be_short)
{
	struct conf_health conf = conf_of(CONF_CHECK_WEBSOCKET);

	begin_bent(_i);
	bent.most = 7;
	check_by(&conf);
	int fd = take_conn();
	const char *request = hear(fd);
	ck_assert_int_eq(strncmp(request, "GET /health HTTP/1.1\r\n", 22), 0);
	ck_assert_int_gt(bent.n_sends, 20);
	say(fd, answer_of(request));
	hear_close(fd);
	say(fd, CLOSE_FRAME);
	part(fd);
	ck_assert(seen.n_ok == 1 && seen.n_bad == 0);
	end_probes();
}
END_TEST

/* A receive that finds no buffer is tried again, for the answer and for the goodbye. */
START_TEST(buffers_may_be_short)
{
	struct conf_health conf = conf_of(CONF_CHECK_WEBSOCKET);

	begin_bent(_i);
	bent.n_no_buf = 3;
	check_by(&conf);
	int fd = take_conn();
	const char *request = hear(fd);
	UNTIL(bent.n_no_buf == 0);
	bent.n_no_buf = 3; /* behind the answer */
	say(fd, answer_of(request));
	hear_close(fd);
	UNTIL(bent.n_no_buf == 0);
	say(fd, CLOSE_FRAME);
	part(fd);
	ck_assert(seen.n_ok == 1 && seen.n_bad == 0);
	end_probes();
}
END_TEST

/* ---- one check after another ----------------------------------------------------------------- */

START_TEST(verdicts_follow_rise_and_fall)
{
	static const struct {
		bool is_good;
		int n_up, n_down; /* verdicts so far */
	} steps[] = {
		{ true, 1, 0 },  { false, 1, 0 }, { false, 1, 0 }, { true, 1, 0 },
		{ false, 1, 0 }, { false, 1, 0 }, { false, 1, 1 }, { true, 1, 1 },
		{ false, 1, 1 }, { true, 1, 1 },  { true, 2, 1 },
	};
	struct conf_health conf = conf_of(CONF_CHECK_HTTP);

	conf.interval_ms = 10;
	begin_probes(_i);
	check_by(&conf);
	for (int i = 0; i < (int)(sizeof(steps) / sizeof(steps[0])); i++) {
		int fd = take_conn();
		(void)hear(fd);
		say(fd, steps[i].is_good ? "HTTP/1.1 200 x\r\n\r\n" : "HTTP/1.1 500 x\r\n\r\n");
		UNTIL(seen.n_ok + seen.n_bad == i + 1);
		ck_assert_msg(seen.n_up == steps[i].n_up && seen.n_down == steps[i].n_down,
			      "step %d: %d up, %d down", i, seen.n_up, seen.n_down);
		close(fd);
	}
	ck_assert_int_eq(seen.n_first, 1);
	end_probes();
}
END_TEST

/* Checks of one target never overlap, and none comes before its interval is over. */
START_TEST(checks_keep_their_distance)
{
	struct conf_health conf = conf_of(CONF_CHECK_HTTP);

	conf.interval_ms = 40;
	begin_probes(_i);
	later_follow(loop);
	later_stand_still(loop);
	check_by(&conf);
	int fd = take_conn();
	(void)hear(fd);
	for (int i = 0; i < 3; i++) { /* some intervals long */
		later(conf.interval_ms);
		idle();
		ck_assert(!is_asked());
	}
	say(fd, "HTTP/1.1 200 x\r\n\r\n");
	UNTIL(seen.n_ok == 1);
	close(fd);
	for (int i = 0; i < 3; i++) {
		later(conf.interval_ms - 1);
		idle();
		ck_assert_msg(!is_asked(), "%d: too early", i);
		later(2);
		close(take_conn());
		UNTIL(seen.n_bad == i + 1);
	}
	end_probes();
}
END_TEST

/* ---- the set --------------------------------------------------------------------------------- */

/* A reload that says nothing new leaves even a check that is under way alone. */
START_TEST(the_same_target_goes_on)
{
	struct conf_health conf = conf_of(CONF_CHECK_HTTP);
	char path[] = "/health"; /* equal, elsewhere, and gone after the call */

	begin_probes(_i);
	check_by(&conf);
	int fd = take_conn();
	conf.path = path;
	conf.rise = 9;
	check_by(&conf);
	memset(path, 'x', sizeof(path) - 1);
	(void)hear(fd);
	say(fd, "HTTP/1.1 200 x\r\n\r\n");
	UNTIL(seen.n_ok == 1);
	idle();
	ck_assert(!is_asked());
	close(fd);
	end_probes();
}
END_TEST

static char other_path[] = "/other";

/* What was begun under old settings has no result; the new ones count at once. */
START_TEST(a_changed_check_begins_anew)
{
	struct conf_health conf = conf_of(CONF_CHECK_HTTP);

	begin_probes(_i);
	check_by(&conf);
	int fd = take_conn();
	(void)hear(fd);
	say(fd, "HTTP/1.1 500 x\r\n\r\n"); /* on its way when the settings change */
	conf.path = other_path;
	check_by(&conf);
	int next = take_conn();
	const char *request = hear(next);
	ck_assert_int_eq(strncmp(request, "GET /other HTTP/1.1\r\n", 21), 0);
	ck_assert_int_eq(seen.n_bad, 0);
	say(next, "HTTP/1.1 200 x\r\n\r\n");
	UNTIL(seen.n_ok == 1);
	close(fd);

	/* Another kind of check: the verdict stays what it was. */
	conf.type = CONF_CHECK_TCP;
	check_by(&conf);
	close(next);
	close(take_conn());
	UNTIL(seen.n_ok == 2);
	ck_assert_int_eq(seen.n_up, 1);

	/* A shorter interval does not wait for the end of the longer one. */
	conf.interval_ms = 10;
	check_by(&conf);
	for (int i = 0; i < 3; i++)
		close(take_conn());
	end_probes();
}
END_TEST

/* In every phase of a check: the connection ends, and nothing is heard of it. */
START_TEST(a_removed_target_is_silent)
{
	struct conf_health conf = conf_of(CONF_CHECK_WEBSOCKET);

	for (int phase = 0; phase < 4; phase++) {
		begin_probes(_i);
		check_by(&conf);
		int fd = -1, n = phase == 3 ? 1 : 0;
		if (phase >= 1)
			fd = take_conn();
		if (phase >= 2) {
			const char *request = hear(fd);
			if (phase == 3) {
				say(fd, answer_of(request));
				hear_close(fd);
			}
		}
		ck_assert_int_eq(probes_set(probes, NULL, 0), 0);
		idle();
		ck_assert_int_eq(seen.n_ok, n);
		ck_assert_int_eq(seen.n_bad, 0);
		if (phase >= 2)
			await_fin(fd);
		else if (phase == 1)
			close(fd);
		else
			ck_assert(!is_asked());
		end_probes();
	}
}
END_TEST

/* Who hears a result may take the target away there and then. */
START_TEST(a_result_may_remove_its_target)
{
	static const enum conf_check types[] = { CONF_CHECK_TCP, CONF_CHECK_HTTP,
						 CONF_CHECK_WEBSOCKET };

	for (int i = 0; i < 6; i++) {
		struct conf_health conf = conf_of(types[i / 2]);

		begin_probes(_i);
		seen.removes = true;
		check_by(&conf);
		int fd = take_conn();
		if (conf.type == CONF_CHECK_WEBSOCKET)
			say(fd, i % 2 != 0 ? answer_of(hear(fd)) : "HTTP/1.1 500 x\r\n\r\n");
		else if (conf.type == CONF_CHECK_HTTP)
			say(fd, i % 2 != 0 ? "HTTP/1.1 200 x\r\n\r\n" : "nonsense\r\n\r\n");
		UNTIL(seen.n_ok + seen.n_bad == 1);
		idle();
		ck_assert_int_eq(seen.n_ok + seen.n_bad, 1);
		close(fd);
		end_probes();
	}
}
END_TEST

/*
 * No more connections than the limit says, however many targets there are; those that wait have
 * their turns in order. One that is taken out or paused while it waits is not checked.
 */
START_TEST(checks_under_way_are_bounded)
{
	enum { N = 12, MAX = 3 };
	static struct probe_target t[N];
	static int who[N];
	struct conf_health conf = conf_of(CONF_CHECK_HTTP);
	int fd[MAX], n_answered = 0;

	begin_probes(_i);
	probes_limit(probes, MAX);
	for (int i = 0; i < N; i++) {
		t[i] = target_of(&conf);
		t[i].arg = &who[i];
	}
	ck_assert_int_eq(probes_set(probes, t, N), 0);
	for (int i = 0; i < MAX; i++)
		fd[i] = take_conn();
	/* All first checks are due within a second. */
	for (uint64_t end_ms = loop_now_ms(loop) + 1200; loop_now_ms(loop) < end_ms;)
		ck_assert_int_eq(loop_turn(loop, 20), 0);
	ck_assert(!is_asked());
	t[N - 2].is_paused = true;
	ck_assert_int_eq(probes_set(probes, t, N - 1), 0);
	while (n_answered < N - 2) {
		int i = n_answered++ % MAX;
		(void)hear(fd[i]);
		say(fd[i], "HTTP/1.1 200 x\r\n\r\n");
		close(fd[i]);
		ck_assert(!is_asked());
		if (n_answered + MAX <= N - 2)
			fd[i] = take_conn();
	}
	UNTIL(seen.n_ok == N - 2);
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(loop_turn(loop, 2), 0);
	ck_assert(!is_asked());
	ck_assert_int_eq(seen.n_ok, N - 2);
	ck_assert_int_eq(seen.n_bad, 0);
	end_probes();
}
END_TEST

/* Pauses the one target that there is, alone or as one of all targets. */
static void pause_by(const struct conf_health *conf, bool is_alone, bool is_paused)
{
	struct probe_target t = target_of(conf);

	t.is_paused = is_paused;
	if (is_alone)
		probes_pause(probes, t.arg, is_paused);
	else
		ck_assert_int_eq(probes_set(probes, &t, 1), 0);
}

/* Maintenance: a check under way is dropped, none comes, then they come again. */
START_TEST(a_paused_target_is_left_alone)
{
	struct conf_health conf = conf_of(CONF_CHECK_HTTP);
	bool is_alone = _i / n_engines != 0;

	conf.interval_ms = 10;
	begin_probes(_i % n_engines);
	check_by(&conf);
	int fd = take_conn();
	(void)hear(fd);
	pause_by(&conf, is_alone, true);
	await_fin(fd);
	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(loop_turn(loop, 2), 0);
	ck_assert(!is_asked());
	ck_assert_int_eq(seen.n_ok + seen.n_bad, 0);

	pause_by(&conf, is_alone, false);
	fd = take_conn();
	(void)hear(fd);
	say(fd, "HTTP/1.1 200 x\r\n\r\n");
	UNTIL(seen.n_ok == 1);
	close(fd);
	probes_pause(probes, &seen, true); /* this is no target */
	end_probes();
}
END_TEST

/* Many at once: every one is checked, those taken out are not, and the others do not notice. */
START_TEST(many_targets_are_checked)
{
	enum { N = 100 };
	static struct probe_target t[N];
	static int who[N];
	struct conf_health conf = conf_of(CONF_CHECK_TCP);

	conf.interval_ms = 100; /* the first checks are spread over it */
	begin_probes(_i);
	for (int i = 0; i < N; i++) {
		t[i] = target_of(&conf);
		t[i].arg = &who[i];
	}
	ck_assert_int_eq(probes_set(probes, t, N), 0);
	/* On a busy machine second checks come before the last first ones: all are answered. */
	for (int i = 0; i < 5000 && seen.n_first < N; i++) {
		while (is_asked())
			close(take_conn());
		ck_assert_int_eq(loop_turn(loop, 2), 0);
	}
	ck_assert_int_eq(seen.n_first, N);
	ck_assert_int_eq(seen.n_up, N);
	ck_assert_int_eq(probes_set(probes, t + N - 1, 1), 0);
	for (int i = 0; i < 30 || is_asked(); i++) {
		while (is_asked())
			close(take_conn());
		ck_assert_int_eq(loop_turn(loop, 2), 0);
	}
	seen.target = NULL;
	for (int n = 0; n < 2; n++) {
		int before = seen.n_ok;
		close(take_conn());
		UNTIL(seen.n_ok > before);
		ck_assert_ptr_eq(seen.target, &who[N - 1]);
	}
	end_probes();
}
END_TEST

static void add_tests(TCase *t)
{
	tcase_set_timeout(t, 20);
	tcase_add_loop_test(t, tcp_is_up_when_it_accepts, 0, n_engines);
	tcase_add_loop_test(t, a_proxy_header_comes_first, 0,
			    n_engines * (int)ARRAY_SIZE(greetings));
	tcase_add_loop_test(t, a_refusal_is_down, 0, n_engines);
	tcase_add_loop_test(t, an_http_request_is_exact, 0, n_engines);
	tcase_add_loop_test(t, http_answers_are_judged, 0, n_engines * N_ANSWERS);
	tcase_add_loop_test(t, an_endless_head_is_down, 0, n_engines);
	tcase_add_loop_test(t, a_large_head_is_read, 0, 2 * n_engines);
	tcase_add_loop_test(t, interim_responses_are_skipped, 0, 2 * n_engines);
	tcase_add_loop_test(t, interim_responses_alone_are_down, 0, n_engines);
	tcase_add_loop_test(t, a_path_that_is_too_long_is_told, 0, n_engines * 2);
	tcase_add_loop_test(t, a_websocket_is_opened_and_closed, 0, n_engines);
	tcase_add_loop_test(t, no_two_keys_are_the_same, 0, n_engines);
	tcase_add_loop_test(t, a_greeting_is_let_pass, 0, n_engines);
	tcase_add_loop_test(t, a_missing_goodbye_is_forgiven, 0, n_engines * 2);
	tcase_add_loop_test(t, an_end_is_goodbye_enough, 0, n_engines * 2);
	tcase_add_loop_test(t, a_wrong_handshake_is_down, 0, n_engines * N_REFUSALS);
	tcase_add_loop_test(t, a_page_is_read_to_its_end, 0, n_engines * N_ENDINGS);
	tcase_add_loop_test(t, an_endless_page_is_reset, 0, n_engines * N_ENDINGS);
	tcase_add_loop_test(t, a_backend_that_stays_open_is_reset, 0, n_engines * N_ENDINGS);
	tcase_add_loop_test(t, what_lingers_ends_with_its_target, 0, n_engines);
	tcase_add_loop_test(t, what_lingers_delays_no_check, 0, n_engines);
	tcase_add_loop_test(t, a_silent_backend_is_down, 0, n_engines);
	tcase_add_loop_test(t, no_socket_is_told, 0, n_engines * 2);
	tcase_add_loop_test(t, a_failed_send_is_down, 0, n_engines * 2);
	tcase_add_loop_test(t, a_failed_goodbye_is_forgiven, 0, n_engines);
	tcase_add_loop_test(t, a_goodbye_waits_for_the_request, 0, n_engines);
	tcase_add_loop_test(t, sends_may_be_short, 0, n_engines);
	tcase_add_loop_test(t, buffers_may_be_short, 0, n_engines);
	tcase_add_loop_test(t, verdicts_follow_rise_and_fall, 0, n_engines);
	tcase_add_loop_test(t, checks_keep_their_distance, 0, n_engines);
	tcase_add_loop_test(t, the_same_target_goes_on, 0, n_engines);
	tcase_add_loop_test(t, a_changed_check_begins_anew, 0, n_engines);
	tcase_add_loop_test(t, a_removed_target_is_silent, 0, n_engines);
	tcase_add_loop_test(t, a_result_may_remove_its_target, 0, n_engines);
	tcase_add_loop_test(t, checks_under_way_are_bounded, 0, n_engines);
	tcase_add_loop_test(t, a_paused_target_is_left_alone, 0, 2 * n_engines);
	tcase_add_loop_test(t, many_targets_are_checked, 0, n_engines);
}

int main(void)
{
	return run_on_engines("health/probes", add_tests);
}
