/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans of conversations: of which kind they are, how much each side sends, and how each side ends.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/accept_key.h"
#include "scenario.h"

/* The largest ones fill what a flow in bulk may hold, and more. */
static uint64_t size_of_stream(struct sim *w)
{
	switch (sim_rand(w, 10)) {
	case 0: return 0;
	case 1: return sim_rand(w, sim_chance(w, 8) ? 2000000 : 300000);
	case 2:
	case 3: return sim_rand(w, 60000);
	default: return sim_rand(w, 3000);
	}
}

/* Most conversations end orderly; the others end in the middle, at any byte. */
static enum leaving leaving_of(struct sim *w)
{
	switch (sim_rand(w, 12)) {
	case 0: return LEAVE_RESET;
	case 1: return LEAVE_EARLY;
	case 2: return LEAVE_CUT;
	case 3: return LEAVE_NEVER;
	case 4:
	case 5: return LEAVE_LAST;
	default: return LEAVE_DONE;
	}
}

static void plan_peer(struct peer *p, struct conversation *k, bool is_client)
{
	struct sim *w = k->t->w;

	*p = (struct peer){ .t = k->t, .conversation = k, .sock = -1, .is_client = is_client };
	p->name = is_client ? "client" : "backend";
	p->key = (uint64_t)k->id * 2 + is_client;
	p->total = size_of_stream(w);
	p->leaving = leaving_of(w);
	p->leaves_at = sim_rand(w, p->total + 100);
	p->reads_most = sim_chance(w, 12) ? sim_rand(w, 20000) : UINT64_MAX;
	p->pause_ms =
		sim_chance(w, 3) ? (uint32_t)(1 + sim_rand(w, sim_chance(w, 4) ? 20000 : 50)) : 0;
	p->max_read = sim_chance(w, 4) ? 40 + (uint32_t)sim_rand(w, 500) : 16384;
	p->deadline_ms = UINT64_MAX;
}

/* ---- request heads --------------------------------------------------------------------------- */

static void add_line(struct conversation *k, const char *fmt, ...) LB_PRINTF(2, 3);
static void add_line(struct conversation *k, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(k->head + k->n_head, sizeof(k->head) - k->n_head, fmt, ap);
	va_end(ap);
	LB_ASSERT(n > 0 && (size_t)n < sizeof(k->head) - k->n_head);
	k->n_head += (size_t)n;
}

static void add_key(struct conversation *k)
{
	uint8_t nonce[16];
	char key[ACCEPT_KEY_NONCE_TEXT];

	for (size_t i = 0; i < sizeof(nonce); i++)
		nonce[i] = (uint8_t)sim_rand(k->t->w, 256);
	accept_key_encode_nonce(nonce, key);
	add_line(k, "Sec-WebSocket-Key: %s\r\n", key);
}

static void plan_websocket(struct conversation *k)
{
	add_line(k, "GET /talk/%u HTTP/1.1\r\nHost: test\r\n", k->id);
	add_line(k, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
	add_key(k);
	k->client.form = STREAM_MASKED;
	k->server.form = STREAM_WS;
}

static void plan_plain(struct conversation *k)
{
	struct sim *w = k->t->w;

	k->request = sim_chance(w, 3) ? BY_LENGTH : sim_chance(w, 3) ? BY_CHUNKS : NO_BODY;
	k->response = sim_rand(w, 4);
	add_line(k, "%s /talk/%u HTTP/1.1\r\nHost: test\r\n",
		 k->request == NO_BODY ? "GET" : "POST", k->id);
	if (k->request == NO_BODY)
		k->client.total = 0;
	else if (k->request == BY_LENGTH)
		add_line(k, "Content-Length: %llu\r\n", (unsigned long long)k->client.total);
	else
		add_line(k, "Transfer-Encoding: chunked\r\n");
	k->client.form = k->request == BY_CHUNKS ? STREAM_CHUNKED : STREAM_RAW;
	if (k->response == NO_BODY)
		k->server.total = 0;
	k->server.form = k->response == BY_CHUNKS ? STREAM_CHUNKED : STREAM_RAW;
	if (k->response == BY_CLOSE && k->server.leaving != LEAVE_EARLY)
		k->server.leaving = LEAVE_DONE;
}

/* Heads that lb refuses, for a reason each. */
static void plan_bad(struct conversation *k)
{
	static const char *const bad[] = {
		"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
		"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
		"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
		"GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
	};

	add_line(k, "%s", bad[sim_rand(k->t->w, ARRAY_SIZE(bad))]);
}

static void add_padding(struct conversation *k)
{
	if (sim_chance(k->t->w, 3))
		add_line(k, "X-Padding: %0*d\r\n", (int)(1 + sim_rand(k->t->w, 600)), 7);
}

static enum behaviour behaviour_of(struct sim *w)
{
	return sim_chance(w, 3) ? (enum behaviour)sim_rand(w, N_BEHAVIOURS) : BEHAVE_GOOD;
}

void conversation_plan(struct conversation *k, struct scenario *t, uint32_t id)
{
	struct sim *w = t->w;

	*k = (struct conversation){ .t = t, .id = id, .host = -1 };
	k->kind = (enum conversation_kind)(t->is_small ? id % 3 : sim_rand(w, 3));
	if (!t->is_small && sim_chance(w, 16))
		k->kind = CONV_BAD;
	k->behaviour = k->kind == CONV_TCP ? BEHAVE_GOOD : behaviour_of(w);
	k->start_ms = sim_now_ms(w) + sim_rand(w, sim_chance(w, 2) ? 100 : 8000);
	k->is_eager = sim_chance(w, 4);
	plan_peer(&k->client, k, true);
	plan_peer(&k->server, k, false);
	switch (k->kind) {
	case CONV_TCP: add_line(k, "TALK%04u", id); break;
	case CONV_WS: plan_websocket(k); break;
	case CONV_PLAIN: plan_plain(k); break;
	case CONV_BAD: plan_bad(k); break;
	}
	if (k->kind == CONV_WS || k->kind == CONV_PLAIN) {
		add_padding(k);
		add_line(k, "\r\n");
	}
	/* The body of a request, and a stream of mode tcp, do not wait for an answer. */
	if (k->kind == CONV_PLAIN || k->kind == CONV_TCP)
		k->is_eager = true;
	if (k->kind == CONV_BAD)
		k->client.total = 0;
	k->client.n_before = k->n_head;
}

struct conversation *conversation_of_port(struct scenario *t, uint16_t port)
{
	for (size_t i = 0; i < t->n_conversations; i++)
		if (t->conversation[i].port == port)
			return &t->conversation[i];
	return NULL;
}
