/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection: a real Upgrade whose Sec-WebSocket-Accept is checked, masked frames out, and
 * every byte that comes back held against what was sent.
 *
 * A message is a window of one random pattern; where it begins follows from the connection and the
 * message's number, so an echo that is another's, or late, or out of order, is found.
 */
#include "load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/accept_key.h"
#include "proto/http1.h"

#define SOURCES 64u /* local addresses of one process */

static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t state = a << 32 ^ b;

	return load_random(&state);
}

static const uint8_t *message(const struct crew *w, const struct client *c, uint32_t seq)
{
	return w->pattern + mix(c->id, seq) % LOAD_OFFSETS;
}

/* ---- handshake ------------------------------------------------------------------------------- */

static void key_of(const struct client *c, char key[ACCEPT_KEY_NONCE_TEXT])
{
	uint64_t nonce[2] = { mix(c->id, c->n_tries), mix(c->n_tries, c->id) };

	accept_key_encode_nonce((const uint8_t *)nonce, key);
}

static void poll_for(struct crew *w, struct client *c, uint32_t events, int op)
{
	struct epoll_event e = { .events = events, .data.ptr = c };

	if (epoll_ctl(w->epoll, op, c->fd, &e) < 0)
		crew_on_failure(w, c, "epoll_ctl");
}

/* An address of this process in 127.0.0.0/8: each has a port range of its own. */
static int bind_source(const struct crew *w, const struct client *c)
{
	const int one = 1;
	uint32_t host = (c->id + c->n_tries) % SOURCES + 1;
	struct sockaddr_in a = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(0x7f010000u + (w->index << 16) + host),
	};

	if (setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one)) < 0)
		return -1;
	return bind(c->fd, (const struct sockaddr *)&a, sizeof(a));
}

void client_connect(struct crew *w, struct client *c)
{
	const struct sockaddr_in *to = &w->conf->target;
	const int one = 1;
	uint32_t id = c->id, n_tries = c->n_tries + 1;

	*c = (struct client){ .id = id, .n_tries = n_tries, .phase = CLIENT_CONNECTING };
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0) {
		crew_on_failure(w, c, "socket");
		return;
	}
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (bind_source(w, c) < 0 ||
	    (connect(c->fd, (const struct sockaddr *)to, sizeof(*to)) < 0 &&
	     errno != EINPROGRESS)) {
		crew_on_failure(w, c, "connect");
		return;
	}
	poll_for(w, c, EPOLLOUT, EPOLL_CTL_ADD);
}

static void upgrade(struct crew *w, struct client *c)
{
	char key[ACCEPT_KEY_NONCE_TEXT], text[256];
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error != 0) {
		errno = error;
		crew_on_failure(w, c, "connect");
		return;
	}
	key_of(c, key);
	int n = snprintf(text, sizeof(text),
			 "GET /ws HTTP/1.1\r\nHost: bench.example\r\nUpgrade: websocket\r\n"
			 "Connection: Upgrade\r\nSec-WebSocket-Key: %s\r\n"
			 "Sec-WebSocket-Version: 13\r\n\r\n",
			 key);
	if (send(c->fd, text, (size_t)n, MSG_NOSIGNAL) != n) {
		crew_on_failure(w, c, "send of the request");
		return;
	}
	c->head = malloc(LOAD_HEAD_MAX);
	if (c->head == NULL) {
		crew_on_failure(w, c, "malloc");
		return;
	}
	c->phase = CLIENT_UPGRADING;
	poll_for(w, c, EPOLLIN, EPOLL_CTL_MOD);
}

static bool is_accepted(const struct client *c, const struct http1_head *h)
{
	char key[ACCEPT_KEY_NONCE_TEXT], want[ACCEPT_KEY_TEXT];
	struct slice got;
	size_t iter = 0;

	key_of(c, key);
	return h->status == 101 && accept_key(key, want) == 0 &&
	       http1_known_field(h, (const uint8_t *)c->head, HTTP1_FIELD_SEC_WEBSOCKET_ACCEPT,
				 &iter, &got) &&
	       slice_eq(got, slice_of(want));
}

static void on_response(struct crew *w, struct client *c)
{
	struct http1_head h;
	ssize_t n = recv(c->fd, c->head + c->n_head, LOAD_HEAD_MAX - c->n_head, 0);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		crew_on_failure(w, c, n == 0 ? "closed in the handshake" : "recv of the response");
		return;
	}
	c->n_head += (size_t)n;
	http1_init_response(&h);
	enum http1_verdict v = http1_parse(&h, (const uint8_t *)c->head, c->n_head);
	if (v == HTTP1_MORE && c->n_head < LOAD_HEAD_MAX)
		return;
	/* The server has been sent nothing yet, so behind the head there is nothing. */
	if (v != HTTP1_OK || h.head_len != c->n_head || !is_accepted(c, &h)) {
		crew_on_failure(w, c, "the response is no right 101");
		return;
	}
	free(c->head);
	c->head = NULL;
	c->phase = CLIENT_OPEN;
	crew_on_open(w, c);
}

/* ---- sending --------------------------------------------------------------------------------- */

/* Bytes of the frame from tx_at on, as many as fit. */
static size_t fill(const struct crew *w, const struct client *c, uint8_t *to, size_t room)
{
	uint64_t mask = mix(~c->id, c->tx_seq);
	struct ws_head h = {
		.len = w->conf->size, .opcode = WS_BINARY, .is_fin = true, .is_masked = true
	};
	uint8_t head[WS_HEAD_MAX];
	size_t n = 0;

	memcpy(h.mask, &mask, sizeof(h.mask));
	size_t n_head = ws_head_build(&h, head);
	if (c->tx_at < n_head) {
		n = n_head - c->tx_at; /* room for a header there always is */
		memcpy(to, head + c->tx_at, n);
	}
	uint64_t at = c->tx_at + n - n_head;
	size_t n_payload = c->tx_len - n_head - at;
	if (n_payload > room - n)
		n_payload = room - n;
	memcpy(to + n, message(w, c, c->tx_seq) + at, n_payload);
	ws_mask(to + n, n_payload, h.mask, at);
	return n + n_payload;
}

static void push(struct crew *w, struct client *c)
{
	while (c->tx_at < c->tx_len) {
		size_t n = fill(w, c, w->scratch, LOAD_SCRATCH);
		ssize_t sent = send(c->fd, w->scratch, n, MSG_NOSIGNAL);

		if (sent < 0 && errno == EAGAIN) {
			if (!c->is_polling_out)
				poll_for(w, c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
			c->is_polling_out = true;
			return;
		}
		if (sent < 0) {
			crew_on_failure(w, c, "send");
			return;
		}
		c->tx_at += (uint64_t)sent;
	}
	c->tx_seq++;
	c->tx_at = c->tx_len = 0;
	if (c->is_polling_out)
		poll_for(w, c, EPOLLIN, EPOLL_CTL_MOD);
	c->is_polling_out = false;
}

bool client_send(struct crew *w, struct client *c, uint64_t due_ns)
{
	const struct ws_head h = { .len = w->conf->size, .is_masked = true };
	uint8_t head[WS_HEAD_MAX];

	if (c->tx_len != 0 || c->tx_seq - c->rx_seq >= LOAD_DUE_MAX)
		return false;
	c->due[c->tx_seq % LOAD_DUE_MAX] = due_ns;
	c->tx_len = ws_head_build(&h, head) + w->conf->size;
	w->n_under_way++;
	push(w, c);
	return true;
}

/* ---- receiving ------------------------------------------------------------------------------- */

static void on_message(struct crew *w, struct client *c)
{
	uint64_t now = load_now_ns(), due = c->due[c->rx_seq % LOAD_DUE_MAX];

	c->rx_seq++;
	c->rx_at = 0;
	w->n_under_way--;
	tally_add(&w->tally->messages, 1);
	hist_add(&w->tally->latency, now - due);
	crew_on_message(w, c);
}

/* A header, perhaps in pieces. Returns the bytes taken, or -1. */
static int take_head(struct client *c, const uint8_t *p, size_t n)
{
	struct ws_head h;

	for (size_t i = 0; i < n && c->n_rx_head < WS_HEAD_MAX; i++) {
		c->rx_head[c->n_rx_head++] = p[i];
		switch (ws_head_parse(c->rx_head, c->n_rx_head, &h)) {
		case WS_MORE: break;
		case WS_BAD: return -1;
		case WS_OK:
			if (h.is_masked || h.rsv != 0 ||
			    h.opcode != (c->rx_at == 0 ? WS_BINARY : WS_CONTINUATION))
				return -1;
			c->n_rx_head = 0;
			c->rx_left = h.len;
			c->is_rx_fin = h.is_fin;
			return (int)i + 1;
		}
	}
	return (int)n;
}

/* Payload. Returns the bytes taken, or -1. */
static int take_payload(struct crew *w, struct client *c, const uint8_t *p, size_t n)
{
	if (n > c->rx_left)
		n = c->rx_left;
	if (n > w->conf->size - c->rx_at || memcmp(p, message(w, c, c->rx_seq) + c->rx_at, n) != 0)
		return -1;
	c->rx_left -= n;
	c->rx_at += n;
	if (c->rx_left > 0 || !c->is_rx_fin)
		return (int)n;
	if (c->rx_at != w->conf->size)
		return -1;
	on_message(w, c);
	return (int)n;
}

static void on_bytes(struct crew *w, struct client *c)
{
	const uint8_t *p = w->received;
	ssize_t left = recv(c->fd, w->received, LOAD_SCRATCH, 0);

	if (left < 0 && errno == EAGAIN)
		return;
	if (left <= 0) {
		crew_on_failure(w, c, left == 0 ? "closed by the other end" : "recv");
		return;
	}
	while (left > 0 && c->phase == CLIENT_OPEN) {
		bool is_asked_for = c->rx_seq != c->tx_seq || c->tx_len != 0;
		int n = !is_asked_for    ? -1
			: c->rx_left > 0 ? take_payload(w, c, p, (size_t)left)
					 : take_head(c, p, (size_t)left);

		if (n < 0) {
			tally_add(&w->tally->wrong, 1);
			crew_on_failure(w, c, "a wrong echo");
			return;
		}
		p += n;
		left -= n;
	}
}

/* ---- events ---------------------------------------------------------------------------------- */

void client_close(struct client *c)
{
	if (c->phase == CLIENT_NONE)
		return;
	free(c->head);
	c->head = NULL;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->phase = CLIENT_NONE;
}

void client_on_event(struct crew *w, struct client *c, uint32_t events)
{
	switch (c->phase) {
	case CLIENT_NONE: return;
	case CLIENT_CONNECTING: upgrade(w, c); return;
	case CLIENT_UPGRADING: on_response(w, c); return;
	case CLIENT_OPEN:
		if (events & EPOLLOUT)
			push(w, c);
		if (c->phase == CLIENT_OPEN && (events & ~(uint32_t)EPOLLOUT))
			on_bytes(w, c);
		return;
	}
}
