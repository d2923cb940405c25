/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets and the network between them, as TCP behaves: bytes wait in the sender's kernel until
 * they are delivered, and a FIN arrives behind them. A reset overtakes and drops them; bytes that
 * were delivered before can still be read. A socket that is closed with unread bytes sends a reset,
 * and so does a closed socket that gets bytes.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "sim_priv.h"

/* Linux's, with what lb sets (net/sock.c). */
#define KEEPALIVE_NS (120ull * 1000000000)

/* ---- bytes ----------------------------------------------------------------------------------- */

static void bytes_add(struct sim_bytes *b, const void *p, size_t n)
{
	if (b->head + b->n + n > b->cap) {
		if (b->head > 0)
			memmove(b->data, b->data + b->head, b->n);
		b->head = 0;
		if (b->n + n > b->cap) {
			b->cap = 2 * (b->n + n);
			b->data = realloc(b->data, b->cap);
			LB_ASSERT(b->data != NULL);
		}
	}
	memcpy(b->data + b->head + b->n, p, n);
	b->n += n;
}

static void bytes_drop(struct sim_bytes *b, size_t n)
{
	b->head += n;
	b->n -= n;
	if (b->n == 0)
		b->head = 0;
}

static const uint8_t *bytes_at(const struct sim_bytes *b)
{
	return b->data + b->head;
}

/* `n`, or a part of it: the seed decides. */
static size_t part_of(struct sim *w, size_t n)
{
	return n > 1 && sim_chance(w, 4) ? 1 + sim_rand(w, n) : n;
}

/* ---- life ------------------------------------------------------------------------------------ */

struct sim_sock *sim_sock(struct sim *w, int sock)
{
	LB_ASSERT(sock >= 0 && (size_t)sock < w->n_socks && w->sock[sock] != NULL);
	return w->sock[sock];
}

int sim_open(struct sim *w, enum sim_kind kind)
{
	static const size_t sizes[] = { 600, 4096, 16384, 65536, 200000 };
	struct sim_sock *s = calloc(1, sizeof(*s));
	size_t i = 0;

	LB_ASSERT(s != NULL);
	*s = (struct sim_sock){ .kind = kind, .refs = 1, .peer = -1 };
	s->fate = &s->own_fate;
	s->tx_max = sizes[sim_rand(w, ARRAY_SIZE(sizes))];
	s->rx_max = sizes[sim_rand(w, ARRAY_SIZE(sizes))];
	s->heard_ns = w->now_ns;
	while (i < w->n_socks && w->sock[i] != NULL)
		i++;
	if (i == w->n_socks) {
		w->sock = reallocarray(w->sock, ++w->n_socks, sizeof(*w->sock));
		LB_ASSERT(w->sock != NULL);
	}
	w->sock[i] = s;
	return (int)i;
}

void sim_ref(struct sim *w, int sock)
{
	sim_sock(w, sock)->refs++;
}

static void forget(struct sim *w, int sock)
{
	struct sim_sock *s = sim_sock(w, sock);

	free(s->tx.data);
	free(s->rx.data);
	free(s);
	w->sock[sock] = NULL;
}

static void part(struct sim *w, int sock)
{
	struct sim_sock *s = sim_sock(w, sock);

	if (s->peer >= 0)
		sim_sock(w, s->peer)->peer = -1;
	s->peer = -1;
}

/* A reset has arrived, or the kernel gives up: bytes that were delivered stay, others are gone. */
static void break_off(struct sim *w, int sock, int error)
{
	struct sim_sock *s = sim_sock(w, sock);

	s->fate->was_reset = true;
	s->tx.n = 0;
	part(w, sock);
	if (s->is_closed) {
		forget(w, sock);
		return;
	}
	/* As in Linux: a socket that has got a FIN before finds EPIPE. */
	if (!s->is_broken)
		s->error = error == -ECONNRESET && s->is_eof ? -EPIPE : error;
}

/* Sends a reset to the peer, if there is one and it can be reached. */
static void reset_peer(struct sim *w, int sock)
{
	struct sim_sock *s = sim_sock(w, sock);
	int peer = s->peer;

	if (peer < 0)
		return;
	part(w, sock);
	if (!s->is_cut)
		break_off(w, peer, -ECONNRESET);
}

static void close_stream(struct sim *w, int sock)
{
	struct sim_sock *s = sim_sock(w, sock);

	if (s->is_resetting || s->rx.n > 0) {
		if (s->peer >= 0)
			s->fate->has_reset = true;
		reset_peer(w, sock);
		forget(w, sock);
		return;
	}
	s->is_write_shut = true;
	s->is_closed = true;
	if (s->peer < 0)
		forget(w, sock);
}

/* Resets the connections of the queue. */
static void stop_listening(struct sim *w, int sock)
{
	struct sim_sock *s = sim_sock(w, sock);

	for (size_t i = 0; i < s->n_queue; i++) {
		sim_sock(w, s->queue[i])->is_resetting = true;
		sim_close(w, s->queue[i]);
	}
	s->n_queue = 0;
	s->kind = SIM_STREAM;
}

void sim_close(struct sim *w, int sock)
{
	struct sim_sock *s = sim_sock(w, sock);

	LB_ASSERT(s->refs > 0);
	if (--s->refs > 0)
		return;
	sim_say(w, "net     #%d %s", sock, s->is_resetting ? "reset" : "close");
	switch (s->kind) {
	case SIM_STREAM: close_stream(w, sock); break;
	case SIM_LISTEN:
		stop_listening(w, sock);
		forget(w, sock);
		break;
	case SIM_PIPE_READ:
	case SIM_PIPE_WRITE:
		part(w, sock);
		forget(w, sock);
		break;
	case SIM_FREE: LB_ASSERT(false);
	}
}

void sim_reset(struct sim *w, int sock)
{
	sim_sock(w, sock)->is_resetting = true;
	sim_close(w, sock);
}

void sim_cut(struct sim *w, int sock)
{
	struct sim_sock *s = sim_sock(w, sock);

	s->is_cut = true;
	if (s->peer >= 0) {
		struct sim_sock *peer = sim_sock(w, s->peer);
		peer->is_cut = true;
		peer->heard_ns = w->now_ns;
	}
	sim_say(w, "net     #%d is cut off", sock);
}

void sim_watch(struct sim *w, int sock, struct sim_fate *fate)
{
	sim_sock(w, sock)->fate = fate;
}

struct addr sim_local(struct sim *w, int sock)
{
	return sim_sock(w, sock)->local;
}

struct addr sim_remote(struct sim *w, int sock)
{
	return sim_sock(w, sock)->remote;
}

/* ---- listening and connecting ---------------------------------------------------------------- */

int sim_bind(struct sim *w, int sock, const struct addr *a)
{
	struct sim_sock *s = sim_sock(w, sock);

	s->local = *a;
	if (a->port == 0)
		s->local.port = w->next_port++;
	s->is_bound = true;
	return 0;
}

/* 0.0.0.0 with the port of `a`. */
static struct addr any_of(const struct addr *a)
{
	return (struct addr){ .family = AF_INET, .port = a->port };
}

static bool overlap(const struct addr *a, const struct addr *b)
{
	struct addr any = any_of(a);

	return addr_eq(a, b) || (a->port == b->port && (addr_eq(a, &any) || addr_eq(b, &any)));
}

bool sim_is_listening(const struct sim *w, const struct addr *a)
{
	for (size_t i = 0; i < w->n_socks; i++)
		if (w->sock[i] != NULL && w->sock[i]->kind == SIM_LISTEN &&
		    addr_eq(&w->sock[i]->local, a))
			return true;
	return false;
}

/* As in Linux: two sockets may be bound to one address with SO_REUSEADDR, but both can listen only
 * if both have SO_REUSEPORT. */
int sim_start_listening(struct sim *w, int sock)
{
	struct sim_sock *s = sim_sock(w, sock);

	for (size_t i = 0; i < w->n_socks; i++) {
		const struct sim_sock *o = w->sock[i];
		if (o != NULL && o != s && o->kind == SIM_LISTEN && overlap(&o->local, &s->local) &&
		    !(o->is_shared && s->is_shared))
			return -EADDRINUSE;
	}
	s->kind = SIM_LISTEN;
	return 0;
}

int sim_listen(struct sim *w, const struct addr *a)
{
	int sock = sim_open(w, SIM_STREAM);

	(void)sim_bind(w, sock, a);
	int r = sim_start_listening(w, sock);
	LB_ASSERT(r == 0);
	return sock;
}

/* One of the sockets that listen on `a`, by chance, as the kernel's hash chooses. */
static int find_in_group(struct sim *w, const struct addr *a)
{
	int found = -ECONNREFUSED;
	size_t n = 0;

	for (size_t i = 0; i < w->n_socks; i++) {
		const struct sim_sock *s = w->sock[i];
		if (s == NULL || s->kind != SIM_LISTEN || !addr_eq(&s->local, a))
			continue;
		if (sim_rand(w, ++n) == 0)
			found = s->is_deaf || s->n_queue == SIM_BACKLOG ? -EAGAIN : (int)i;
	}
	return found;
}

/* A socket that listens on the address itself goes before one that listens on 0.0.0.0. */
static int find_listener(struct sim *w, const struct addr *a)
{
	struct addr any = any_of(a);

	for (size_t i = 0; i < w->n_holes; i++)
		if (addr_eq(&w->hole[i], a))
			return -EAGAIN;
	int found = find_in_group(w, a);
	return found == -ECONNREFUSED ? find_in_group(w, &any) : found;
}

void sim_set_black_hole(struct sim *w, const struct addr *a, bool is_on)
{
	for (size_t i = 0; i < w->n_holes; i++)
		if (addr_eq(&w->hole[i], a))
			w->hole[i] = w->hole[--w->n_holes];
	if (is_on) {
		LB_ASSERT(w->n_holes < SIM_MAX_HOLES);
		w->hole[w->n_holes++] = *a;
	}
}

/* Copies to an accepted socket the options that it has from its listener. */
static void inherit(struct sim_sock *s, const struct sim_sock *listener)
{
	s->has_keepalive = listener->has_keepalive;
	s->user_ms = listener->user_ms;
}

int sim_join(struct sim *w, int sock, const struct addr *to)
{
	int l = find_listener(w, to);
	if (l < 0)
		return l;

	int other = sim_open(w, SIM_STREAM);
	struct sim_sock *a = sim_sock(w, sock), *b = sim_sock(w, other), *ls = sim_sock(w, l);
	inherit(b, ls);
	a->peer = other;
	b->peer = sock;
	if (!a->is_bound)
		a->local = (struct addr){ .family = AF_INET, .v4 = { 127, 0, 0, 1 } };
	if (a->local.port == 0)
		a->local.port = w->next_port++;
	a->remote = *to;
	b->local = *to;
	b->remote = a->local;
	ls->queue[ls->n_queue++] = other;
	sim_say(w, "net     #%d connected to #%d, port %u to %u", sock, other, a->local.port,
		to->port);
	return 0;
}

int sim_connect(struct sim *w, const struct addr *to)
{
	int sock = sim_open(w, SIM_STREAM);
	int r = sim_join(w, sock, to);

	if (r < 0) {
		forget(w, sock);
		return r;
	}
	return sock;
}

int sim_accept(struct sim *w, int sock)
{
	struct sim_sock *ls = sim_sock(w, sock);

	LB_ASSERT(ls->kind == SIM_LISTEN);
	if (ls->n_queue == 0)
		return -EAGAIN;
	int got = ls->queue[0];
	memmove(ls->queue, ls->queue + 1, --ls->n_queue * sizeof(ls->queue[0]));
	return got;
}

/* ---- sending and receiving ------------------------------------------------------------------- */

/* Takes the error that waits: a call finds it once. */
static int take_error(struct sim_sock *s)
{
	int error = s->error;

	s->error = 0;
	s->is_broken = true;
	return error;
}

static bool is_unconnected(const struct sim_sock *s)
{
	return s->peer < 0 && s->remote.family == 0;
}

ssize_t sim_send(struct sim *w, int sock, const void *p, size_t n)
{
	struct sim_sock *s = sim_sock(w, sock);

	LB_ASSERT(s->kind == SIM_STREAM && !is_unconnected(s));
	if (s->error != 0)
		return take_error(s);
	if (s->is_write_shut || s->is_broken)
		return -EPIPE;
	size_t room = s->tx_max > s->tx.n ? s->tx_max - s->tx.n : 0;
	if (room == 0)
		return -EAGAIN;
	n = part_of(w, n < room ? n : room);
	if (s->tx.n == 0)
		s->stuck_ns = w->now_ns;
	bytes_add(&s->tx, p, n);
	sim_say(w, "net     #%d send %zu", sock, n);
	return (ssize_t)n;
}

ssize_t sim_recv(struct sim *w, int sock, void *p, size_t n)
{
	struct sim_sock *s = sim_sock(w, sock);

	LB_ASSERT(s->kind == SIM_STREAM);
	if (s->rx.n > 0) {
		n = part_of(w, n < s->rx.n ? n : s->rx.n);
		memcpy(p, bytes_at(&s->rx), n);
		bytes_drop(&s->rx, n);
		sim_say(w, "net     #%d recv %zu", sock, n);
		return (ssize_t)n;
	}
	if (s->is_eof)
		return 0;
	if (s->error != 0)
		return take_error(s);
	return s->is_broken ? 0 : -EAGAIN;
}

void sim_shutdown_write(struct sim *w, int sock)
{
	struct sim_sock *s = sim_sock(w, sock);

	if (s->kind == SIM_LISTEN)
		stop_listening(w, sock);
	if (s->kind != SIM_STREAM || s->is_write_shut)
		return;
	s->is_write_shut = true;
	if (s->tx.n == 0)
		s->stuck_ns = w->now_ns;
	sim_say(w, "net     #%d fin", sock);
}

uint32_t sim_poll_events(struct sim *w, int sock)
{
	const struct sim_sock *s = sim_sock(w, sock);
	uint32_t events = 0;

	if (s->kind == SIM_LISTEN)
		return s->n_queue > 0 ? POLLIN : 0;
	if (s->error != 0)
		events |= POLLERR | POLLIN | POLLOUT;
	if (s->error != 0 || s->is_broken)
		events |= POLLHUP | POLLIN | POLLOUT | POLLRDHUP;
	if (s->rx.n > 0)
		events |= POLLIN;
	if (s->is_eof)
		events |= POLLIN | POLLRDHUP;
	if (s->is_eof && s->is_write_shut)
		events |= POLLHUP;
	if (s->tx.n < s->tx_max)
		events |= POLLOUT;
	return events;
}

/* ---- pipes ----------------------------------------------------------------------------------- */

void sim_pipe(struct sim *w, int socks[2], size_t max)
{
	socks[0] = sim_open(w, SIM_PIPE_READ);
	socks[1] = sim_open(w, SIM_PIPE_WRITE);
	struct sim_sock *r = sim_sock(w, socks[0]), *wr = sim_sock(w, socks[1]);
	r->peer = socks[1];
	wr->peer = socks[0];
	r->rx_max = max;
}

static ssize_t splice_in(struct sim *w, int from, int to, size_t n)
{
	uint8_t bytes[16384];
	struct sim_sock *pipe = sim_sock(w, sim_sock(w, to)->peer);
	size_t room = pipe->rx_max - pipe->rx.n;

	if (room == 0)
		return -EAGAIN;
	if (n > room)
		n = room;
	ssize_t got = sim_recv(w, from, bytes, n < sizeof(bytes) ? n : sizeof(bytes));
	if (got > 0)
		bytes_add(&pipe->rx, bytes, (size_t)got);
	return got;
}

static ssize_t splice_out(struct sim *w, int from, int to, size_t n)
{
	struct sim_sock *pipe = sim_sock(w, from);

	if (pipe->rx.n == 0)
		return -EAGAIN;
	ssize_t sent = sim_send(w, to, bytes_at(&pipe->rx), n < pipe->rx.n ? n : pipe->rx.n);
	if (sent > 0)
		bytes_drop(&pipe->rx, (size_t)sent);
	return sent;
}

ssize_t sim_splice(struct sim *w, int from, int to, size_t n)
{
	return sim_sock(w, to)->kind == SIM_PIPE_WRITE ? splice_in(w, from, to, n)
						       : splice_out(w, from, to, n);
}

/* ---- the network ----------------------------------------------------------------------------- */

/* Delivers the FIN. A socket whose owner has closed it is freed then. */
static void deliver_fin(struct sim *w, int sock)
{
	struct sim_sock *s = sim_sock(w, sock);
	struct sim_sock *peer = sim_sock(w, s->peer);

	s->is_fin_sent = true;
	s->fate->is_fin_delivered = true;
	peer->is_eof = true;
	sim_say(w, "net     #%d fin delivered", sock);
	if (s->is_closed) {
		part(w, sock);
		forget(w, sock);
	}
}

/* Delivers some of a socket's bytes, or its FIN. Returns whether anything happened. */
static bool deliver(struct sim *w, int sock)
{
	struct sim_sock *s = sim_sock(w, sock);
	bool has_fin = s->is_write_shut && !s->is_fin_sent;

	if (s->kind != SIM_STREAM || s->is_cut || (s->tx.n == 0 && !has_fin))
		return false;
	if (s->peer < 0) { /* the peer is gone */
		if (s->tx.n > 0) {
			sim_say(w, "net     #%d sent to a peer that is gone", sock);
			break_off(w, sock, -ECONNRESET);
			return true;
		}
		s->is_fin_sent = true;
		return false;
	}
	struct sim_sock *peer = sim_sock(w, s->peer);
	s->heard_ns = w->now_ns;
	if (s->tx.n == 0) {
		deliver_fin(w, sock);
		return true;
	}
	if (peer->is_closed) { /* its kernel answers with a reset, and drops the bytes of its tx */
		int gone = s->peer;
		sim_say(w, "net     #%d sent to the closed #%d", sock, gone);
		break_off(w, sock, -ECONNRESET);
		sim_sock(w, gone)->fate->has_reset = true;
		forget(w, gone);
		return true;
	}
	size_t room = peer->rx_max > peer->rx.n ? peer->rx_max - peer->rx.n : 0;
	if (room == 0)
		return false;
	size_t n = part_of(w, s->tx.n < room ? s->tx.n : room);
	bytes_add(&peer->rx, bytes_at(&s->tx), n);
	bytes_drop(&s->tx, n);
	s->fate->n_delivered += n;
	s->stuck_ns = w->now_ns;
	sim_say(w, "net     #%d delivered %zu", sock, n);
	return true;
}

bool sim_net_turn(struct sim *w)
{
	bool has_moved = false;

	for (size_t i = 0; i < w->n_socks; i++) {
		if (w->sock[i] == NULL || (!w->is_strict && sim_chance(w, 3)))
			continue;
		has_moved = deliver(w, (int)i) || has_moved;
	}
	return has_moved;
}

static uint64_t due_ns(const struct sim_sock *s)
{
	uint64_t due = UINT64_MAX;

	/* When a cut peer has closed, this side's kernel does not know and still times out. */
	bool has_peer = s->peer >= 0 || s->is_cut;
	if (s->kind != SIM_STREAM || !has_peer || s->error != 0 || s->is_broken)
		return due;
	bool is_waiting = s->tx.n > 0 || (s->is_write_shut && !s->is_fin_sent);
	if (is_waiting && s->user_ms != 0)
		due = s->stuck_ns + (uint64_t)s->user_ms * 1000000;
	if (s->is_cut && s->has_keepalive && s->heard_ns + KEEPALIVE_NS < due)
		due = s->heard_ns + KEEPALIVE_NS;
	return due;
}

uint64_t sim_net_due_ns(struct sim *w)
{
	uint64_t due = UINT64_MAX;

	for (size_t i = 0; i < w->n_socks; i++)
		if (w->sock[i] != NULL && due_ns(w->sock[i]) < due)
			due = due_ns(w->sock[i]);
	return due;
}

void sim_net_expire(struct sim *w)
{
	for (size_t i = 0; i < w->n_socks; i++) {
		if (w->sock[i] == NULL || due_ns(w->sock[i]) > w->now_ns)
			continue;
		sim_say(w, "net     #%zu timed out", i);
		int peer = w->sock[i]->peer;
		bool is_cut = w->sock[i]->is_cut;
		break_off(w, (int)i, -ETIMEDOUT);
		if (!is_cut)
			break_off(w, peer, -ECONNRESET);
	}
}

void sim_net_free(struct sim *w)
{
	for (size_t i = 0; i < w->n_socks; i++) {
		if (w->sock[i] == NULL)
			continue;
		SIM_CHECK(w->sock[i]->is_closed, "socket #%zu is still open", i);
		forget(w, (int)i);
	}
	free(w->sock);
}
