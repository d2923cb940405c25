/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer to a request: a 101 that begins a tunnel, or a plain answer.
 *
 * Terms. The head is the request's head; it is gathered in c->head_buf until it is whole. The plain
 * answer is a line "NAME METHOD PATH" and the request's body behind it, framed as the request was:
 * with its length, or with the request's own chunks.
 *
 * http_take() gets each piece of the head. collect() appends the piece to head_buf, and moves the
 * head into a large buffer when it outgrows a small one. When the parser has a verdict, answer() or
 * refuse() answers:
 *
 *   a WebSocket         open_tunnel()    101; the head is kept for "lb:headers"
 *   any other request   answer_plain()   200; a body follows in CONN_BODY
 *   a malformed head    refuse()         an error, and the connection lingers
 *
 * Bytes behind the head are returned, for the phase that follows. http_take_body() echoes the
 * pieces of a body until body_feed() says that the body is over.
 *
 * Relies on proto/ for parsing and judging, and on conn.c for queueing. Thread: the loop's.
 */
#include "backends/echo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/accept_key.h"
#include "proto/forward.h"
#include "proto/upgrade.h"
#include "util/text.h"

static void write_text(struct conn *c, struct text *t)
{
	if (t->failed)
		conn_end(c);
	else
		conn_write(c, t->p, t->n);
	text_deinit(t);
}

static void refuse(struct conn *c, int status, const char *why)
{
	uint8_t out[1024];
	char extra[256];

	(void)snprintf(extra, sizeof(extra), "X-Backend: " SLICE_FMT "\r\n",
		       SLICE_ARG(c->server->name));
	int n = forward_error(status, why, extra, FORWARD_BODY, out, sizeof(out));
	LB_ASSERT(n > 0);
	conn_write(c, out, (size_t)n);
	conn_linger(c);
}

static int status_of(enum http1_verdict v)
{
	switch (v) {
	case HTTP1_TOO_LARGE: return 431;
	case HTTP1_BAD_VERSION: return 505;
	case HTTP1_NOT_IMPLEMENTED: return 501;
	case HTTP1_MORE:
	case HTTP1_OK:
	case HTTP1_BAD: break;
	}
	return 400;
}

static void open_tunnel(struct conn *c, const struct upgrade *u, const uint8_t *buf)
{
	const struct http1_head *h = &c->server->head;
	char accept[ACCEPT_KEY_TEXT];
	struct text t = TEXT_INIT;

	c->head_text = malloc(h->head_len);
	if (c->head_text == NULL || accept_key(u->key, accept) < 0) {
		conn_end(c);
		return;
	}
	memcpy(c->head_text, buf, h->head_len);
	c->n_head_text = h->head_len;
	text_addf(&t,
		  "HTTP/1.1 101 Switching Protocols\r\n"
		  "Upgrade: websocket\r\n"
		  "Connection: Upgrade\r\n"
		  "Sec-WebSocket-Accept: %s\r\n"
		  "X-Backend: " SLICE_FMT "\r\n\r\n",
		  accept, SLICE_ARG(c->server->name));
	write_text(c, &t);
	c->phase = CONN_TUNNEL;
	loop_timer_stop(c->server->loop, &c->timer);
}

static void add_body_line(const struct conn *c, const uint8_t *buf, struct text *t)
{
	const struct http1_head *h = &c->server->head;

	if (slice_eq(http1_path(h, buf), SLICE("/health"))) {
		text_add(t, SLICE("ok"));
		return;
	}
	text_add(t, c->server->name);
	text_add(t, SLICE(" "));
	text_add(t, http1_slice(buf, h->method_text));
	text_add(t, SLICE(" "));
	text_add(t, http1_path(h, buf));
	text_add(t, SLICE("\n"));
}

static bool expects_continue(const struct http1_head *h, const uint8_t *buf)
{
	struct slice value;
	size_t iter = 0;

	return h->minor > 0 && http1_field(h, buf, SLICE("Expect"), &iter, &value) &&
	       slice_eq_nocase(value, SLICE("100-continue"));
}

static void answer_plain(struct conn *c, const uint8_t *buf)
{
	const struct http1_head *h = &c->server->head;
	struct text line = TEXT_INIT, t = TEXT_INIT;
	bool is_head = h->method == HTTP1_HEAD;

	body_init_request(&c->body, h);
	if (!body_is_done(&c->body) && expects_continue(h, buf))
		conn_write(c, "HTTP/1.1 100 Continue\r\n\r\n", 25);
	add_body_line(c, buf, &line);
	text_addf(&t, "HTTP/1.1 200 OK\r\nX-Backend: " SLICE_FMT "\r\nContent-Type: text/plain\r\n",
		  SLICE_ARG(c->server->name));
	if (h->is_chunked)
		text_addf(&t, "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
	else
		text_addf(&t, "Content-Length: %llu\r\nConnection: close\r\n\r\n",
			  (unsigned long long)line.n +
				  (h->content_length > 0 ? (unsigned long long)h->content_length
							 : 0));
	if (!is_head && h->is_chunked)
		text_addf(&t, "%zx\r\n", line.n);
	if (!is_head)
		text_add(&t, text_slice(&line));
	if (!is_head && h->is_chunked)
		text_add(&t, SLICE("\r\n"));
	t.failed = t.failed || line.failed;
	text_deinit(&line);
	write_text(c, &t);
	if (is_head || body_is_done(&c->body))
		conn_linger(c);
	else
		c->phase = CONN_BODY;
}

static void answer(struct conn *c, const uint8_t *buf)
{
	struct upgrade u;

	upgrade_judge(&u, &c->server->head, buf);
	switch ((enum upgrade_kind)u.kind) {
	case UPGRADE_BAD: refuse(c, u.status, u.why); break;
	case UPGRADE_WEBSOCKET: open_tunnel(c, &u, buf); break;
	case UPGRADE_NONE:
	case UPGRADE_OTHER: answer_plain(c, buf); break;
	}
}

/*
 * Appends `b` to the part of the head that has come. Takes over the reference of `b`. Returns false
 * when no buffer is free.
 */
static bool collect(struct conn *c, struct buf *b)
{
	struct buf_pool *pool = c->server->loop->bufs;
	struct buf *head = c->head_buf;

	if (head == NULL) {
		c->head_buf = b;
		return true;
	}
	if (head->cap - head->len < b->len) {
		struct buf *large = NULL;

		if (buf_reserve(pool, BUF_LARGE, 1) == 0)
			large = buf_get(pool, BUF_LARGE);
		if (large == NULL) {
			buf_put(pool, b);
			return false;
		}
		large->off = 0;
		large->len = head->len;
		memcpy(large->data, head->data, head->len);
		buf_put(pool, head);
		c->head_buf = head = large;
	}
	/* receive() has asked for no more bytes than fit */
	LB_ASSERT(head->cap - head->len >= b->len);
	memcpy(head->data + head->len, b->data + b->off, b->len);
	head->len += b->len;
	buf_put(pool, b);
	return true;
}

struct buf *http_take(struct conn *c, struct buf *b)
{
	struct http1_head *h = &c->server->head;

	if (!collect(c, b)) {
		conn_end(c);
		return NULL;
	}

	/*
	 * For each piece the head is parsed again from its beginning, so that no connection keeps a
	 * parser. For pieces of one byte the work is quadratic, but a head has at most 16 KiB.
	 */
	struct buf *head = c->head_buf;
	http1_init_request(h);
	enum http1_verdict v = http1_parse(h, head->data, head->len);
	if (v == HTTP1_MORE)
		return NULL;
	c->head_buf = NULL;
	if (v == HTTP1_OK)
		answer(c, head->data);
	else
		refuse(c, status_of(v), h->why);

	head->off = v == HTTP1_OK ? h->head_len : 0;
	head->len -= head->off;
	if (v == HTTP1_OK && head->len > 0 && !c->is_ended)
		return head;
	buf_put(c->server->loop->bufs, head);
	return NULL;
}

void http_take_body(struct conn *c, struct buf *b)
{
	struct body_fed fed;
	uint8_t owed[BODY_OWED_MAX];
	enum body_verdict v = body_feed(&c->body, b->data + b->off, b->len, &fed);
	uint32_t n_owed = v == BODY_DONE ? (uint32_t)body_take_owed(&c->body, owed) : 0;

	b->len = (uint32_t)fed.kept;
	if (v == BODY_BAD || n_owed > b->cap - b->off - b->len) {
		buf_put(c->server->loop->bufs, b);
		conn_end(c);
		return;
	}
	memcpy(b->data + b->off + b->len, owed, n_owed);
	b->len += n_owed;
	conn_pass(c, b);
	if (v == BODY_DONE)
		conn_linger(c);
}
