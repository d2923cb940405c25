/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client: it waits until its conversation is to begin, connects, sends its head in pieces and
 * reads the head of the answer; then the streams begin (peer.c).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/accept_key.h"
#include "scenario.h"

#define HEAD_MS 60000 /* how long a client waits for an answer */

static const struct addr front_http = { .family = AF_INET, .port = 8080, .v4 = { 127, 0, 0, 1 } };
static const struct addr front_tcp = { .family = AF_INET, .port = 8081, .v4 = { 127, 0, 0, 1 } };

static enum sim_step over(struct conversation *k)
{
	k->client.is_over = true;
	k->t->n_open_clients--;
	return SIM_DONE;
}

static enum sim_step connect_to_lb(struct conversation *k)
{
	struct sim *w = k->t->w;
	int sock = sim_connect(w, k->kind == CONV_TCP ? &front_tcp : &front_http);

	if (sock == -EAGAIN) {
		sim_sleep_ms(w, 20);
		return SIM_ACTED;
	}
	if (sock < 0) {
		SIM_CHECK(admin_actor_has_stopped(k->t),
			  "conversation %u: lb refused the connection", k->id);
		return over(k);
	}
	k->client.sock = sock;
	k->port = sim_local(w, sock).port;
	k->client.deadline_ms = sim_now_ms(w) + HEAD_MS;
	sim_watch(w, sock, &k->client.fate);
	sim_say(w, "client  conversation %u begins on #%d, port %u", k->id, sock, k->port);
	if (k->is_eager && k->kind != CONV_BAD)
		peer_begin(&k->client, &k->server);
	return SIM_ACTED;
}

/* Sends a piece of the head. Returns whether it did anything. */
static bool send_head(struct conversation *k)
{
	struct sim *w = k->t->w;
	size_t n = k->n_head - k->head_sent;

	if (sim_chance(w, 2))
		n = 1 + sim_rand(w, n);
	ssize_t r = sim_send(w, k->client.sock, k->head + k->head_sent, n);
	if (r > 0)
		k->head_sent += (size_t)r;
	else if (r != -EAGAIN)
		k->client.error = (int)r;
	if (k->client.pause_ms > 0 && sim_chance(w, 3))
		sim_sleep_ms(w, 1 + sim_rand(w, k->client.pause_ms));
	return r != -EAGAIN;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static bool has_line(const struct conversation *k, size_t head_len, const char *name,
		     const char *value)
{
	char line[200];

	(void)snprintf(line, sizeof(line), "\r\n%s: %s\r\n", name, value);
	return memmem(k->answer, head_len, line, strlen(line)) != NULL;
}

static void check_101(const struct conversation *k, size_t head_len)
{
	const char *at = strstr(k->head, "Sec-WebSocket-Key: ");
	char accept[ACCEPT_KEY_TEXT];

	SIM_CHECK(k->kind == CONV_WS && at != NULL,
		  "conversation %u: a 101 without a request for it", k->id);
	LB_ASSERT(accept_key(at + strlen("Sec-WebSocket-Key: "), accept) == 0);
	SIM_CHECK(has_line(k, head_len, "Sec-WebSocket-Accept", accept),
		  "conversation %u: a 101 that does not fit", k->id);
}

/* A final head has come. The bytes behind it are the backend's stream, if the backend made the
 * head.
 */
static void on_head(struct conversation *k, size_t head_len)
{
	struct peer *p = &k->client;

	k->is_answered = true;
	k->is_known = has_line(k, head_len, "X-Town", "yes");
	sim_say(k->t->w, "client  conversation %u is answered %d%s", k->id, k->status,
		k->is_known ? "" : " by lb");
	if (k->status == 101)
		check_101(k, head_len);
	SIM_CHECK(k->kind != CONV_BAD || !k->is_known, "conversation %u: a bad request passed",
		  k->id);
	if (k->status == 403)
		p->gets = (struct stream){ 0 }; /* the body is not the stream (server.c) */
	else if (k->is_known && !k->is_eager)
		peer_begin(p, &k->server);
	p->deadline_ms = sim_now_ms(k->t->w) + PATIENCE_MS;
	if (k->is_known && k->status != 403 && k->n_answer > head_len)
		peer_take(p, (const uint8_t *)k->answer + head_len, k->n_answer - head_len);
}

/* Looks for the end of a head in the bytes that have come. Returns whether a final head is there.
 */
static bool find_head(struct conversation *k)
{
	for (;;) {
		const char *end = memmem(k->answer, k->n_answer, "\r\n\r\n", 4);
		if (end == NULL)
			return false;
		size_t head_len = (size_t)(end - k->answer) + 4;
		SIM_CHECK(memcmp(k->answer, "HTTP/1.1 ", 9) == 0, "conversation %u: no status line",
			  k->id);
		k->status = atoi(k->answer + 9);
		if (k->status >= 200 || k->status == 101) {
			on_head(k, head_len);
			return true;
		}
		k->n_answer -= head_len; /* an interim response */
		memmove(k->answer, k->answer + head_len, k->n_answer);
	}
}

static bool read_head(struct conversation *k)
{
	size_t room = sizeof(k->answer) - k->n_answer;

	SIM_CHECK(room > 0, "conversation %u: an endless head", k->id);
	ssize_t r = sim_recv(k->t->w, k->client.sock, k->answer + k->n_answer, room);
	if (r == -EAGAIN)
		return false;
	if (r <= 0) {
		k->client.has_eof = true;
		k->client.error = (int)r;
		return true;
	}
	k->n_answer += (size_t)r;
	(void)find_head(k);
	return true;
}

/* Waits for the answer; the client may leave meanwhile. */
static enum sim_step wait_for_answer(struct conversation *k)
{
	struct peer *p = &k->client;
	bool has_acted = false;

	if (k->head_sent < k->n_head && p->error == 0)
		has_acted = send_head(k);
	else if (k->is_eager && k->kind != CONV_BAD)
		has_acted = peer_send(p);
	if (!p->has_eof)
		has_acted = read_head(k) || has_acted;

	bool wants_out = p->leaving == LEAVE_RESET || p->leaving == LEAVE_EARLY;
	bool is_quitting = wants_out && p->leaves_at < 50 && sim_chance(k->t->w, 10);
	if (!k->is_answered && (p->has_eof || peer_is_late(p) || is_quitting)) {
		peer_leave(p, p->leaving == LEAVE_RESET);
		return over(k);
	}
	sim_wake_at_ms(k->t->w, p->deadline_ms);
	return has_acted ? SIM_ACTED : SIM_IDLE;
}

/* Reads lb's own answer, or a backend's refusal, to its end. */
static enum sim_step read_rest(struct conversation *k)
{
	char bytes[4096];
	ssize_t r = sim_recv(k->t->w, k->client.sock, bytes, sizeof(bytes));

	if (r == -EAGAIN && !peer_is_late(&k->client)) {
		sim_wake_at_ms(k->t->w, k->client.deadline_ms);
		return SIM_IDLE;
	}
	if (r > 0)
		return SIM_ACTED;
	k->client.has_eof = r == 0;
	k->client.error = r < 0 ? (int)r : 0;
	/* lb reads as much of what still comes before it closes (proxy/closing.c). */
	bool was_quick = k->client.pause_ms == 0 && k->client.n_sent < 60000;
	SIM_CHECK(r != -ECONNRESET || k->is_known || !was_quick || k->t->is_faulty,
		  "conversation %u: lb's own answer %d ended in a reset", k->id, k->status);
	peer_leave(&k->client, false);
	return over(k);
}

static enum sim_step converse(struct conversation *k)
{
	enum sim_step step = peer_step(&k->client);

	return step == SIM_DONE ? over(k) : step;
}

enum sim_step client_step(void *conversation)
{
	struct conversation *k = conversation;
	struct peer *p = &k->client;

	if (sim_now_ms(k->t->w) < k->start_ms) {
		sim_sleep_ms(k->t->w, k->start_ms - sim_now_ms(k->t->w));
		return SIM_IDLE;
	}
	if (p->sock < 0 && !p->has_left)
		return connect_to_lb(k);
	if (k->kind == CONV_TCP && k->head_sent == k->n_head)
		return converse(k);
	if (!k->is_answered)
		return wait_for_answer(k);
	if (k->is_known && k->status != 403)
		return converse(k);
	return read_rest(k);
}
