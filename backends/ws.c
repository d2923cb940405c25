/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The echo: sends a client's frames back, unmasked.
 *
 * Terms. A frame is a header and a payload. To gather is to put bytes into a buffer on the stack
 * (struct gather), so that headers and short payloads are queued together. A payload is collected
 * when it is kept in w->small until it is whole: the payload of a control frame, and text that is
 * short enough to be a command ("lb:...").
 *
 * ws_take() gets the bytes of a tunnel, and takes headers (take_head()) and payloads
 * (take_payload()) in turn. begin_payload() decides whether the payload is collected; if not,
 * lb-echo sends the frame's header at once, and the payload as it comes. When a buffer holds only
 * payload, and at least PASS_MIN bytes of it, the buffer itself is queued. Frames of a fragmented
 * message are sent back one by one.
 *
 * end_payload_if_whole() answers a collected payload (answer_collected()): a Ping gets a Pong, a
 * Close a Close, a command its answer (answer_text()), and other text its echo. A frame that breaks
 * RFC 6455 gets a Close frame with code 1002 (add_close()).
 *
 * Relies on proto/ws_frame.h for headers and masks, and on conn.c for queueing. Thread: the loop's.
 */
#include "backends/echo.h"

#include <string.h>

#include "net/sock.h"

/* Payload of fewer bytes is copied into the queue; the same bound as in net/queue.c. */
#define PASS_MIN 1024u

/* Bytes that are gathered before they are queued. */
struct gather {
	struct conn *c;
	size_t n;
	uint8_t bytes[BUF_SMALL_BYTES];
};

static void gather_flush(struct gather *g)
{
	conn_write(g->c, g->bytes, g->n);
	g->n = 0;
}

static void gather_add(struct gather *g, const void *p, size_t n)
{
	if (n > sizeof(g->bytes) - g->n)
		gather_flush(g);
	if (n > sizeof(g->bytes)) {
		conn_write(g->c, p, n);
		return;
	}
	memcpy(g->bytes + g->n, p, n);
	g->n += n;
}

static void add_head(struct gather *g, const struct ws_head *like, uint64_t len)
{
	uint8_t out[WS_HEAD_MAX];
	const struct ws_head h = {
		.len = len,
		.opcode = like->opcode,
		.rsv = like->rsv,
		.is_fin = like->is_fin,
	};

	size_t n = ws_head_build(&h, out);

	gather_add(g, out, n);
}

static void add_frame(struct gather *g, uint8_t opcode, const void *p, size_t n)
{
	add_head(g, &(struct ws_head){ .opcode = opcode, .is_fin = true }, n);
	gather_add(g, p, n);
}

/* Adds a Close frame, which is the last frame of the connection. */
static void add_close(struct gather *g, uint16_t code)
{
	const uint8_t payload[2] = { (uint8_t)(code >> 8), (uint8_t)code };

	add_frame(g, WS_CLOSE, payload, sizeof(payload));
	conn_linger(g->c);
}

/* ---- whole frames ---------------------------------------------------------------------------- */

static void answer_text(struct gather *g, struct slice text)
{
	struct conn *c = g->c;

	if (slice_eq(text, SLICE("lb:name"))) {
		add_frame(g, WS_TEXT, c->server->name.p, c->server->name.n);
	} else if (slice_eq(text, SLICE("lb:headers"))) {
		add_frame(g, WS_TEXT, c->head_text, c->n_head_text);
	} else if (slice_eq(text, SLICE("lb:close"))) {
		add_close(g, 1000);
	} else if (slice_eq(text, SLICE("lb:reset"))) {
		sock_reset_on_close(c->server->loop, c->fd);
		conn_end(c);
	} else {
		add_head(g, &c->ws.frame, text.n);
		gather_add(g, text.p, text.n);
	}
}

static void answer_collected(struct gather *g)
{
	struct ws_in *w = &g->c->ws;
	size_t n = (size_t)w->frame.len;

	LB_ASSERT(n <= sizeof(w->small) && w->at == n);
	if (w->frame.opcode == WS_PING) {
		add_frame(g, WS_PONG, w->small, n);
	} else if (w->frame.opcode == WS_CLOSE) {
		add_frame(g, WS_CLOSE, w->small, n);
		conn_linger(g->c);
	} else if (w->frame.opcode == WS_TEXT) {
		answer_text(g, (struct slice){ .p = (const char *)w->small, .n = n });
	}
}

/* ---- the stream ------------------------------------------------------------------------------ */

/*
 * Follows which frames belong to one message. Returns false when w->frame may not come after the
 * frames before it (RFC 6455, 5.4).
 */
static bool follow_message(struct ws_in *w)
{
	const struct ws_head *f = &w->frame;

	if (ws_is_control(f->opcode))
		return true;
	if ((f->opcode == WS_CONTINUATION) != w->is_fragmented)
		return false;
	w->is_fragmented = !f->is_fin;
	return true;
}

static void begin_payload(struct gather *g)
{
	struct ws_in *w = &g->c->ws;

	w->at = 0;
	w->is_in_payload = true;
	w->is_collected =
		ws_is_control(w->frame.opcode) ||
		(w->frame.opcode == WS_TEXT && w->frame.is_fin && w->frame.len <= ECHO_COMMAND_MAX);
	if (!w->is_collected)
		add_head(g, &w->frame, w->frame.len);
}

static void end_payload_if_whole(struct gather *g)
{
	struct ws_in *w = &g->c->ws;

	if (w->at < w->frame.len)
		return;
	w->is_in_payload = false;
	if (w->is_collected)
		answer_collected(g);
}

/* Takes a header, or the part of it that has come. Returns how many bytes it has taken. */
static size_t take_head(struct gather *g, const uint8_t *p, size_t n)
{
	struct ws_in *w = &g->c->ws;
	LB_ASSERT(w->n_head < WS_HEAD_MAX);
	size_t part = n < WS_HEAD_MAX - w->n_head ? n : WS_HEAD_MAX - w->n_head;

	memcpy(w->head + w->n_head, p, part);
	enum ws_parse r = ws_head_parse(w->head, w->n_head + part, &w->frame);
	if (r == WS_MORE) {
		w->n_head += (uint8_t)part;
		return part;
	}
	if (r == WS_BAD || !w->frame.is_masked || !follow_message(w)) {
		add_close(g, 1002);
		return n;
	}
	part = w->frame.head_len - w->n_head;
	w->n_head = 0;
	begin_payload(g);
	end_payload_if_whole(g);
	return part;
}

/*
 * Takes the payload at b->off. When that payload is long and nothing is behind it in the buffer,
 * queues the buffer itself.
 */
static size_t take_payload(struct gather *g, struct buf *b, bool *ret_passed)
{
	struct ws_in *w = &g->c->ws;
	LB_ASSERT(w->at < w->frame.len);
	uint64_t left = w->frame.len - w->at;
	uint32_t n = left < b->len ? (uint32_t)left : b->len;
	uint8_t *p = b->data + b->off;

	ws_mask(p, n, w->frame.mask, w->at);
	if (w->is_collected) {
		LB_ASSERT(w->at + n <= sizeof(w->small));
		memcpy(w->small + w->at, p, n);
	} else if (n == b->len && n >= PASS_MIN) {
		gather_flush(g);
		conn_pass(g->c, b);
		*ret_passed = true;
	} else {
		gather_add(g, p, n);
	}
	w->at += n;
	end_payload_if_whole(g);
	return n;
}

void ws_take(struct conn *c, struct buf *b)
{
	struct gather g;
	bool is_passed = false;

	g.c = c;
	g.n = 0;
	while (!is_passed && b->len > 0 && c->phase == CONN_TUNNEL && !c->is_ended) {
		size_t used = c->ws.is_in_payload ? take_payload(&g, b, &is_passed)
						  : take_head(&g, b->data + b->off, b->len);
		if (is_passed)
			break;
		b->off += (uint32_t)used;
		b->len -= (uint32_t)used;
	}
	if (!is_passed)
		buf_put(c->server->loop->bufs, b);
	gather_flush(&g);
}
