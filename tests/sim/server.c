/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backends. A host listens, stops and starts again. A visit is a connection to a host. The visit
 * finds out by the first bytes which conversation it belongs to, or that it is one of lb's health
 * checks; then it answers as the conversation's behaviour says; then the streams begin (peer.c).
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/accept_key.h"
#include "scenario.h"

#define TCP_GREETING 8 /* "TALK0001" */
#define REFUSAL_BYTES 1000

/* What a visit does next. */
enum visit_state {
	VISIT_READS,
	VISIT_GATHERS,
	VISIT_WAITS,
	VISIT_ANSWERS,
	VISIT_STREAMS,
	VISIT_ENDS
};

struct visit {
	struct host *host;
	int sock;
	enum visit_state state;
	struct conversation *conversation; /* NULL: a health check, or not known yet */
	char head[4096];
	size_t n_head;
	char answer[REFUSAL_BYTES + 600];
	size_t n_answer, n_sent;
	size_t head_len;   /* the bytes behind it are the conversation's */
	bool is_last_word; /* the host closes after the answer */
	bool has_eof;
	uint64_t deadline_ms;
};

static enum sim_step visit_over(struct visit *v)
{
	struct sim *w = v->host->t->w;

	if (v->sock >= 0)
		sim_close(w, v->sock);
	v->host->n_visits--;
	free(v);
	return SIM_DONE;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void say(struct visit *v, const char *fmt, ...) LB_PRINTF(2, 3);
static void say(struct visit *v, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(v->answer + v->n_answer, sizeof(v->answer) - v->n_answer, fmt, ap);
	va_end(ap);
	LB_ASSERT(n > 0 && (size_t)n < sizeof(v->answer) - v->n_answer);
	v->n_answer += (size_t)n;
}

static void say_101(struct visit *v, bool is_right)
{
	const char *at = strstr(v->head, "Sec-WebSocket-Key: ");
	char accept[ACCEPT_KEY_TEXT] = "x";

	if (at != NULL && is_right)
		LB_ASSERT(accept_key(at + strlen("Sec-WebSocket-Key: "), accept) == 0);
	say(v,
	    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	    "X-Town: yes\r\nSec-WebSocket-Accept: %s\r\n\r\n",
	    accept);
}

static void say_200(struct visit *v)
{
	const struct conversation *k = v->conversation;

	say(v, "HTTP/1.1 200 OK\r\nX-Town: yes\r\n");
	if (k->response == BY_LENGTH || k->response == NO_BODY)
		say(v, "Content-Length: %llu\r\n", (unsigned long long)k->server.total);
	else if (k->response == BY_CHUNKS)
		say(v, "Transfer-Encoding: chunked\r\n");
	else
		say(v, "Connection: close\r\n");
	say(v, "\r\n");
}

/* Writes the answer that the conversation's behaviour asks for. */
static void prepare_answer(struct visit *v)
{
	struct conversation *k = v->conversation;
	bool is_ws = k->kind == CONV_WS;

	v->state = VISIT_ANSWERS;
	switch (k->behaviour) {
	case BEHAVE_INTERIM: say(v, "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"); /* FALLTHRU */
	case BEHAVE_GOOD:
	case BEHAVE_AFTER:
	case BEHAVE_LATE:
		k->has_accepted = true;
		if (is_ws)
			say_101(v, true);
		else
			say_200(v);
		return;
	case BEHAVE_REFUSE:
		say(v, "HTTP/1.1 403 Forbidden\r\nX-Town: yes\r\nContent-Length: %d\r\n\r\n%0*d",
		    REFUSAL_BYTES, REFUSAL_BYTES, 0);
		break;
	case BEHAVE_BAD_ACCEPT: say_101(v, false); break;
	case BEHAVE_RUBBISH: say(v, "HTTP/1.1 2x0 \x01\r\nno colon here\r\n\r\n"); break;
	case BEHAVE_HALF: say(v, "HTTP/1.1 200 OK\r\nX-Half: "); break;
	case BEHAVE_CLOSE:
	case BEHAVE_RESET: v->state = VISIT_ENDS; break;
	case BEHAVE_NEVER: v->state = VISIT_WAITS; return;
	case N_BEHAVIOURS: LB_ASSERT(false);
	}
	v->is_last_word = true;
}

static void answer_check(struct visit *v)
{
	v->state = VISIT_ANSWERS;
	v->is_last_word = true;
	if (v->host->is_sick)
		say(v, "HTTP/1.1 500 Sick\r\nContent-Length: 0\r\n\r\n");
	else if (strstr(v->head, "Sec-WebSocket-Key: ") != NULL)
		say_101(v, true);
	else
		say(v, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

/* ---- which conversation it is ---------------------------------------------------------------- */

static void meet(struct visit *v, unsigned long id)
{
	struct scenario *t = v->host->t;

	SIM_CHECK(id < t->n_conversations, "a backend was asked for conversation %lu", id);
	struct conversation *k = &t->conversation[id];
	SIM_CHECK(!k->is_met, "conversation %lu reached two backends", id);
	SIM_CHECK(k->kind != CONV_BAD, "conversation %lu should have been refused", id);
	k->is_met = true;
	k->host = v->host->number;
	v->conversation = k;
	k->server.sock = v->sock;
	sim_watch(t->w, v->sock, &k->server.fate);
	sim_say(t->w, "backend %d meets conversation %lu on #%d", k->host, id, v->sock);
}

static void check_forwarded(const struct visit *v)
{
	static const char *const wanted[] = { "\r\nX-Forwarded-For: 127.0.0.1\r\n",
					      "\r\nX-Forwarded-Host: test\r\n",
					      "\r\nX-Forwarded-Proto: http\r\n" };

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		SIM_CHECK(strstr(v->head, wanted[i]) != NULL, "a head without %s", wanted[i] + 2);
}

/* The bytes behind the head are the first ones of the client's stream. */
static void open_streams(struct visit *v)
{
	struct conversation *k = v->conversation;

	k->server.n_before = v->n_answer;
	peer_begin(&k->server, &k->client);
	if (v->n_head > v->head_len)
		peer_take(&k->server, (uint8_t *)v->head + v->head_len, v->n_head - v->head_len);
}

/* Finds the visit's conversation by the first bytes. False: they are not enough. */
static bool find_out(struct visit *v)
{
	v->head[v->n_head] = '\0';
	if (v->n_head >= 4 && memcmp(v->head, "TALK", 4) == 0) {
		if (v->n_head < TCP_GREETING)
			return false;
		v->head_len = TCP_GREETING;
		char id[5] = { v->head[4], v->head[5], v->head[6], v->head[7] };
		meet(v, strtoul(id, NULL, 10));
		v->conversation->has_accepted = true;
		v->state = VISIT_ANSWERS; /* by no bytes at all */
		return true;
	}
	const char *end = memmem(v->head, v->n_head, "\r\n\r\n", 4);
	if (end == NULL)
		return false;
	v->head_len = (size_t)(end - v->head) + 4;
	const char *at = strstr(v->head, " /talk/");
	if (at == NULL) {
		answer_check(v);
		return true;
	}
	check_forwarded(v);
	meet(v, strtoul(at + strlen(" /talk/"), NULL, 10));
	if (v->conversation->behaviour == BEHAVE_LATE)
		sim_sleep_ms(v->host->t->w, 1 + sim_rand(v->host->t->w, 6000));
	prepare_answer(v);
	if (v->conversation->behaviour == BEHAVE_AFTER && v->conversation->kind == CONV_PLAIN) {
		v->state = VISIT_GATHERS;
		open_streams(v);
	}
	return true;
}

static enum sim_step visit_read(struct visit *v)
{
	struct sim *w = v->host->t->w;
	size_t room = sizeof(v->head) - 1 - v->n_head;

	SIM_CHECK(room > 0, "a backend got an endless head");
	ssize_t r = sim_recv(w, v->sock, v->head + v->n_head, 1 + sim_rand(w, room));
	if (r == -EAGAIN) {
		if (sim_now_ms(w) >= v->deadline_ms)
			return visit_over(v);
		sim_wake_at_ms(w, v->deadline_ms);
		return SIM_IDLE;
	}
	if (r <= 0)
		return visit_over(v); /* a health check of type tcp, or the client has left lb */
	v->n_head += (size_t)r;
	(void)find_out(v);
	return SIM_ACTED;
}

/* ---- answer and streams ---------------------------------------------------------------------- */

/* Reads the request to its end, then answers. */
static enum sim_step visit_gather(struct visit *v)
{
	struct peer *p = &v->conversation->server;
	const struct peer *c = &v->conversation->client;

	if (p->n_got == stream_size(c->form, c->key, c->total)) {
		v->state = VISIT_ANSWERS;
		return SIM_ACTED;
	}
	if (p->has_eof || peer_is_late(p)) {
		p->sock = -1;
		p->has_left = true;
		return visit_over(v);
	}
	sim_wake_at_ms(v->host->t->w, p->deadline_ms);
	return peer_receive(p) ? SIM_ACTED : SIM_IDLE;
}

/* From here on the connection is the conversation's server side (peer.c). */
static void begin_streams(struct visit *v)
{
	v->state = VISIT_STREAMS;
	if (v->conversation->server.n_before == 0 || v->conversation->behaviour != BEHAVE_AFTER ||
	    v->conversation->kind != CONV_PLAIN)
		open_streams(v);
}

static enum sim_step visit_answer(struct visit *v)
{
	struct sim *w = v->host->t->w;
	size_t n = v->n_answer - v->n_sent;

	if (n > 0) {
		if (sim_chance(w, 2))
			n = 1 + sim_rand(w, n);
		ssize_t r = sim_send(w, v->sock, v->answer + v->n_sent, n);
		if (r == -EAGAIN)
			return SIM_IDLE;
		if (r > 0) {
			v->n_sent += (size_t)r;
			return SIM_ACTED;
		}
		v->is_last_word = true;
	}
	if (v->is_last_word || v->conversation == NULL)
		v->state = VISIT_ENDS;
	else
		begin_streams(v);
	return SIM_ACTED;
}

/* The answer was the last bytes: closes, or waits until lb closes. */
static enum sim_step visit_end(struct visit *v)
{
	struct sim *w = v->host->t->w;
	char bytes[2048];

	if (v->conversation != NULL && v->conversation->behaviour == BEHAVE_RESET) {
		sim_reset(w, v->sock);
		v->sock = -1;
		return visit_over(v);
	}
	ssize_t r = sim_recv(w, v->sock, bytes,
			     sizeof(bytes)); /* closing with unread bytes would send a reset */
	if (r > 0)
		return SIM_ACTED;
	return visit_over(v);
}

static enum sim_step visit_wait(struct visit *v)
{
	struct sim *w = v->host->t->w;
	char bytes[2048];
	ssize_t r = sim_recv(w, v->sock, bytes, sizeof(bytes));

	if (r > 0)
		return SIM_ACTED;
	if (r != -EAGAIN || sim_now_ms(w) >= v->deadline_ms)
		return visit_over(v);
	sim_wake_at_ms(w, v->deadline_ms);
	return SIM_IDLE;
}

static enum sim_step visit_streams(struct visit *v)
{
	struct peer *p = &v->conversation->server;
	enum sim_step step = peer_step(p);

	/* The host has stopped, and its connections with it. */
	if (step != SIM_DONE && v->host->sock < 0 && sim_chance(v->host->t->w, 4)) {
		peer_leave(p, sim_chance(v->host->t->w, 2));
		step = SIM_DONE;
	}
	if (step != SIM_DONE)
		return step;
	v->sock = -1;
	return visit_over(v);
}

static enum sim_step visit_step(void *visit)
{
	struct visit *v = visit;

	switch (v->state) {
	case VISIT_READS: return visit_read(v);
	case VISIT_GATHERS: return visit_gather(v);
	case VISIT_WAITS: return visit_wait(v);
	case VISIT_ANSWERS: return visit_answer(v);
	case VISIT_STREAMS: return visit_streams(v);
	case VISIT_ENDS: return visit_end(v);
	}
	return SIM_DONE;
}

/* ---- hosts ----------------------------------------------------------------------------------- */

void host_open(struct host *h)
{
	h->sock = sim_listen(h->t->w, &h->addr);
}

static void welcome(struct host *h, int sock)
{
	struct visit *v = calloc(1, sizeof(*v));

	LB_ASSERT(v != NULL);
	v->host = h;
	v->sock = sock;
	v->deadline_ms = sim_now_ms(h->t->w) + PATIENCE_MS;
	h->n_visits++;
	sim_add_actor(h->t->w, visit_step, v);
}

/* Changes the host's state now and then. */
static void have_luck(struct host *h)
{
	struct sim *w = h->t->w;

	if (h->sock >= 0 && sim_chance(w, 5)) {
		sim_say(w, "backend %d dies", h->number);
		sim_close(w, h->sock);
		h->sock = -1;
	} else if (h->sock < 0) {
		sim_say(w, "backend %d is back", h->number);
		host_open(h);
	}
	h->is_sick = sim_chance(w, 6);
	h->is_hole = sim_chance(w, 6);
	sim_set_black_hole(w, &h->addr, h->is_hole);
}

enum sim_step host_step(void *host)
{
	struct host *h = host;
	struct sim *w = h->t->w;

	if (admin_actor_is_over(h->t)) {
		if (h->sock >= 0)
			sim_close(w, h->sock);
		h->sock = -1;
		return SIM_DONE;
	}
	if (h->sock >= 0) {
		int sock = sim_accept(w, h->sock);
		if (sock >= 0) {
			welcome(h, sock);
			return SIM_ACTED;
		}
	}
	if (!sim_chance(w, 8))
		return SIM_IDLE;
	sim_wake_at_ms(w, sim_now_ms(w) + 500);
	if (!sim_chance(w, 30))
		return SIM_IDLE;
	have_luck(h);
	return SIM_ACTED;
}
