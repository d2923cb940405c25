/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conns that change their owner, as a backend's connection does that goes to a pool and is taken
 * from it by another session.
 *
 *   peer --- a checkable stream ---> conn --- completions ---> the holder that owns the conn
 *   peer <-- another one ----------- conn <-- sends ---------- the same holder
 *
 * A "line" is one conn with its peer, which is an actor: it sends a stream, receives another one,
 * and ends by a FIN, a close, a reset, or a cut cable. A "holder" is an owner of conns. The mover,
 * an actor too, gives conns from one holder to another: while a connect, a receive or a send is in
 * flight, while bytes or an end are in the network, and between two completions of one receive (out
 * of the handler of the first one). It also cancels receives, opens lines, and lets buffers, conns
 * and descriptors fail.
 *
 * The oracle has a ledger of its own: line->holder and line->role say who the owner is, and the
 * code under test does not see them. It holds every completion against the ledger, and every byte
 * against its place in the line's stream, whichever holders have got the bytes before it. So no
 * byte is lost, doubled or handed to the wrong owner.
 *
 * Thread: the simulation's.
 */
#include "owner_change.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>

#include "net/conn.h"
#include "stream.h"
#include "util/slab.h"

#define CLASS_LINE 2u /* of tags */
#define MAX_LINES 8
#define MAX_CONNS 4 /* less than lines, so that a line gets the conn that another one had */
#define MAX_HOLDERS 3
#define MAX_FDS 32
#define MAX_ROUNDS 100000
#define USER_TIMEOUT_MS 60000u /* a cut line ends by it, or by the kernel's keepalive */

/* How a peer ends its line. */
enum farewell { FAREWELL_FIN, FAREWELL_CLOSE, FAREWELL_RESET, FAREWELL_CUT, N_FAREWELLS };

/* An owner of conns. */
struct holder {
	uint32_t number;
	uint64_t n_got; /* bytes of all lines that were handed to it */
};

/* One direction of a line, as its sender makes it. */
struct outgoing {
	struct stream stream;
	uint8_t made[4096]; /* not yet taken by the kernel: n_made bytes from made_at on */
	size_t made_at, n_made;
	uint64_t n_sent;
	bool is_all_made;
};

/* The other side of a line: an actor. */
struct far_end {
	int listener, sock; /* -1: none (any more) */
	struct outgoing out;
	struct stream gets;
	uint64_t n_got;
	enum farewell farewell;
	uint64_t leaves_at; /* bytes sent and got; of no use for FAREWELL_FIN */
	bool is_shut, has_eof, has_error, is_over;
};

struct line {
	struct owner_world *o;
	uint32_t id;
	struct far_end peer;

	/* the ledger */
	struct holder *holder;
	uint8_t role;

	struct conn *conn; /* NULL: not opened yet, or over */
	struct outgoing out;
	struct stream gets;
	uint64_t n_got;
	bool is_connected, is_resting, is_closing, is_over;
	enum conn_rx ended_by; /* what its rx was when it was closed */
};

struct owner_world {
	struct sim *w;
	struct loop *loop;
	struct conns conns;
	struct holder holder[MAX_HOLDERS];
	uint32_t n_lines, n_opened, n_over, n_armed_changes;
	struct line line[MAX_LINES];
};

/* ---- streams --------------------------------------------------------------------------------- */

/* Whether there are bytes to send, after the next ones were made where none were left. */
static bool has_bytes(struct sim *w, struct outgoing *out)
{
	if (out->n_made > 0)
		return true;
	out->made_at = 0;
	out->n_made = stream_make(&out->stream, out->made, 1 + sim_rand(w, sizeof(out->made)));
	out->is_all_made = out->n_made == 0;
	return out->n_made > 0;
}

static void were_sent(struct outgoing *out, size_t n)
{
	LB_ASSERT(n <= out->n_made);
	out->made_at += n;
	out->n_made -= n;
	out->n_sent += n;
}

static void check_bytes(const struct line *line, struct stream *gets, uint64_t n_before,
			const uint8_t *bytes, size_t n, const char *receiver)
{
	size_t right = stream_check(gets, bytes, n);

	SIM_CHECK(right == n, "line %u: the %s got a wrong byte at %llu of its stream", line->id,
		  receiver, (unsigned long long)(n_before + right));
}

/* ---- the peer -------------------------------------------------------------------------------- */

static void peer_close(struct line *line, bool is_reset)
{
	struct far_end *p = &line->peer;

	if (is_reset)
		sim_reset(line->o->w, p->sock);
	else
		sim_close(line->o->w, p->sock);
	p->sock = -1;
	p->is_over = true;
}

static bool peer_sends(struct line *line)
{
	struct far_end *p = &line->peer;

	if (p->has_error || p->is_shut)
		return false;
	if (!has_bytes(line->o->w, &p->out)) {
		if (p->farewell != FAREWELL_FIN)
			return false; /* it leaves when it has got its bytes */
		sim_shutdown_write(line->o->w, p->sock);
		p->is_shut = true;
		return true;
	}
	ssize_t n = sim_send(line->o->w, p->sock, p->out.made + p->out.made_at, p->out.n_made);
	if (n > 0)
		were_sent(&p->out, (size_t)n);
	else if (n != -EAGAIN)
		p->has_error = true;
	return n != -EAGAIN;
}

static bool peer_receives(struct line *line)
{
	struct far_end *p = &line->peer;
	uint8_t bytes[4096];

	if (p->has_eof || p->has_error)
		return false;
	ssize_t n = sim_recv(line->o->w, p->sock, bytes, sizeof(bytes));
	if (n == -EAGAIN)
		return false;
	if (n > 0) {
		check_bytes(line, &p->gets, p->n_got, bytes, (size_t)n, "peer");
		p->n_got += (size_t)n;
	} else if (n == 0) {
		p->has_eof = true;
	} else {
		p->has_error = true;
	}
	return true;
}

/* Whether the peer has ended the line. */
static bool peer_leaves(struct line *line)
{
	struct far_end *p = &line->peer;

	if (p->has_error || (p->has_eof && (p->is_shut || p->farewell != FAREWELL_FIN))) {
		peer_close(line, false);
		return true;
	}
	if (p->farewell == FAREWELL_FIN || p->out.n_sent + p->n_got < p->leaves_at)
		return false;
	if (p->farewell == FAREWELL_CUT)
		sim_cut(line->o->w, p->sock);
	peer_close(line, p->farewell == FAREWELL_RESET);
	return true;
}

static enum sim_step peer_step(void *arg)
{
	struct line *line = arg;
	struct far_end *p = &line->peer;

	if (p->sock < 0) {
		if (line->is_over) { /* it never stood */
			p->is_over = true;
			return SIM_DONE;
		}
		p->sock = sim_accept(line->o->w, p->listener);
		return p->sock >= 0 ? SIM_ACTED : SIM_IDLE;
	}
	bool has_acted = peer_sends(line);
	has_acted = peer_receives(line) || has_acted;
	if (peer_leaves(line))
		return SIM_DONE;
	if (sim_chance(line->o->w, 20)) /* its bytes come in bursts: conns are idle between them */
		sim_sleep_ms(line->o->w, sim_rand(line->o->w, 50));
	return has_acted ? SIM_ACTED : SIM_IDLE;
}

/* ---- the holders' side ----------------------------------------------------------------------- */

static struct line *line_of(struct owner_world *o, const struct conn *c)
{
	for (uint32_t i = 0; i < o->n_opened; i++)
		if (o->line[i].conn == c)
			return &o->line[i];
	sim_fail(__FILE__, __LINE__, "an operation completes on a conn of no line");
}

/* Gives a line's conn to any holder, whatever is in flight on it. */
static void change_owner(struct line *line)
{
	struct owner_world *o = line->o;

	line->holder = &o->holder[sim_rand(o->w, MAX_HOLDERS)];
	line->role = (uint8_t)sim_rand(o->w, 256);
	o->n_armed_changes += conn_is_in_flight(line->conn, CONN_RECV);
	sim_say(o->w, "mover   line %u goes to holder %u, in flight %#x", line->id,
		line->holder->number, line->conn->in_flight);
	conn_set_owner(line->conn, line->holder, line->role);
}

static void close_line(struct line *line)
{
	struct conn *c = line->conn;

	if (c->in_flight != 0)
		return;
	line->ended_by = c->rx;
	conn_close(&line->o->conns, c);
	line->conn = conn_free(&line->o->conns, c);
	line->is_over = true;
	line->o->n_over++;
	sim_say(line->o->w, "mover   line %u is over, got %llu sent %llu", line->id,
		(unsigned long long)line->n_got, (unsigned long long)line->out.n_sent);
}

static void start_receive(struct line *line)
{
	struct owner_world *o = line->o;
	uint32_t cap = 1 + (uint32_t)sim_rand(o->w, 20000);

	conn_recv(&o->conns, line->conn, cap, BUF_SMALL);
}

static void start_send(struct line *line)
{
	struct owner_world *o = line->o;
	struct conn *c = line->conn;

	if (!has_bytes(o->w, &line->out)) {
		conn_shutdown(&o->conns, c);
		return;
	}
	struct iovec iov = { .iov_base = line->out.made + line->out.made_at,
			     .iov_len = line->out.n_made };
	conn_send(&o->conns, c, &iov, 1, sim_chance(o->w, 2) ? SEND_WAIT : SEND_TRY);
}

/* Starts what can be started; closes what has ended in both directions. */
static void go_on(struct line *line)
{
	struct conn *c = line->conn;

	if (c == NULL || !line->is_connected)
		return;
	if (!line->is_closing && c->rx >= RX_EOF && c->tx != TX_OPEN) {
		line->is_closing = true;
		conn_cancel_all(&line->o->conns, c);
	}
	if (line->is_closing) {
		close_line(line);
		return;
	}
	if (c->rx < RX_EOF && !line->is_resting && !conn_is_in_flight(c, CONN_RECV))
		start_receive(line);
	if (c->tx == TX_OPEN && !conn_is_in_flight(c, CONN_SEND) &&
	    !conn_is_in_flight(c, CONN_ROOM))
		start_send(line);
}

static void on_connect(struct line *line, const struct completion *done)
{
	SIM_CHECK(done->res == 0, "line %u: the connect ends with %d", line->id, done->res);
	line->is_connected = true;
}

static void on_receive(struct line *line, struct holder *h, const struct completion *done)
{
	struct owner_world *o = line->o;

	if (done->res > 0) {
		check_bytes(line, &line->gets, line->n_got, done->buf->data, (size_t)done->res,
			    "holder");
		line->n_got += (uint64_t)done->res;
		h->n_got += (uint64_t)done->res;
		buf_put(o->loop->bufs, done->buf);
	} else if (done->res != -ECANCELED && done->res != -ENOBUFS) {
		conn_ended(line->conn, done->res);
	}
	line->is_resting = !done->more && sim_chance(o->w, 4); /* until the mover wakes it */
}

static void on_sent(struct line *line, const struct completion *done)
{
	struct conn *c = line->conn;

	if (done->res > 0) {
		were_sent(&line->out, (size_t)done->res);
	} else if (done->res == -EAGAIN) {
		conn_poll_room(&line->o->conns, c);
	} else if (done->res != -ECANCELED) { /* a reset: the read that follows will find it, too */
		conn_set_tx(c, TX_CLOSED);
		if (c->rx < RX_BROKEN)
			conn_set_rx(c, RX_BROKEN);
	}
}

static void on_completion(void *arg, const struct completion *done)
{
	struct owner_world *o = arg;
	struct conn *c = conn_find(&o->conns, done);
	struct line *line = line_of(o, c);
	struct holder *h = c->owner;

	SIM_CHECK(h == line->holder, "line %u: bytes or news of holder %u's conn go to holder %u",
		  line->id, line->holder->number, h->number);
	SIM_CHECK(c->role == line->role, "line %u: its role is %u, not %u", line->id, c->role,
		  line->role);
	switch ((enum conn_op)tag_kind(done->tag)) {
	case CONN_CONNECT: on_connect(line, done); break;
	case CONN_RECV: on_receive(line, h, done); break;
	case CONN_SEND: on_sent(line, done); break;
	case CONN_ROOM: break;
	case CONN_ERR:
	case CONN_READABLE:
	case CONN_WRITABLE:
	case CONN_N_OPS: LB_ASSERT(false);
	}
	if (sim_chance(o->w, 4)) /* the receive may go on: its next bytes are for the new owner */
		change_owner(line);
	go_on(line);
}

/* ---- the mover ------------------------------------------------------------------------------- */

static struct addr addr_of(const struct line *line)
{
	return (struct addr){ .family = AF_INET,
			      .port = (uint16_t)(7001 + line->id),
			      .v4 = { 127, 0, 0, 1 } };
}

/* Begins to connect a line; when there is no descriptor or no conn, the mover tries again. */
static bool open_line(struct owner_world *o)
{
	struct line *line = &o->line[o->n_opened];
	const uint32_t user_ms = USER_TIMEOUT_MS;
	const int on = 1;
	struct sockaddr_storage sa;
	struct addr a = addr_of(line);

	int fd = loop_socket(o->loop, AF_INET, SOCK_STREAM);
	if (fd < 0)
		return false;
	line->holder = &o->holder[sim_rand(o->w, MAX_HOLDERS)];
	line->role = (uint8_t)sim_rand(o->w, 256);
	struct conn *c = conn_new(&o->conns, line->holder, line->role);
	if (c == NULL) {
		loop_close(o->loop, fd);
		return false;
	}
	(void)loop_setsockopt(o->loop, fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)loop_setsockopt(o->loop, fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_ms,
			      sizeof(user_ms));
	line->conn = c;
	o->n_opened++;
	conn_open(c, fd);
	conn_connect(&o->conns, c, (struct sockaddr *)&sa, addr_to_sockaddr(&a, &sa));
	return true;
}

static void sabotage(struct owner_world *o)
{
	uint32_t nth = 1 + (uint32_t)sim_rand(o->w, 5);

	switch (sim_rand(o->w, 3)) {
	case 0: buf_fail_after(o->loop->bufs, nth); break;
	case 1: slab_fail_after(o->conns.slab, 1); break;
	case 2: sim_fail_fd_after(o->loop, 1); break;
	}
}

static enum sim_step mover_step(void *arg)
{
	struct owner_world *o = arg;

	if (o->n_over == o->n_lines)
		return SIM_DONE;
	if (o->n_opened < o->n_lines && slab_n_used(o->conns.slab) < MAX_CONNS &&
	    sim_chance(o->w, 4))
		(void)open_line(o);
	if (o->n_opened > 0) {
		struct line *line = &o->line[sim_rand(o->w, o->n_opened)];
		if (line->conn != NULL && sim_chance(o->w, 10)) /* its end is the new owner's */
			conn_cancel(&o->conns, line->conn, CONN_RECV);
		if (line->conn != NULL)
			change_owner(line);
		line->is_resting = false;
		go_on(line);
	}
	if (sim_chance(o->w, 20))
		sabotage(o);
	if (sim_chance(o->w, 3))
		sim_sleep_ms(o->w, 1 + sim_rand(o->w, 40));
	else
		sim_wake_at_ms(o->w, sim_now_ms(o->w) + 1);
	return SIM_IDLE;
}

/* ---- the world ------------------------------------------------------------------------------- */

static void plan(struct owner_world *o, struct line *line, uint32_t id)
{
	static const uint64_t sizes[] = { 0, 1, 3000, 20000, 100000 };
	struct sim *w = o->w;
	uint64_t there = sim_rand(w, 1u << 30), back = there + 1; /* keys */
	uint64_t n_there = sim_rand(w, 1 + sizes[sim_rand(w, ARRAY_SIZE(sizes))]);
	uint64_t n_back = sim_rand(w, 1 + sizes[sim_rand(w, ARRAY_SIZE(sizes))]);

	*line = (struct line){ .o = o, .id = id };
	struct addr a = addr_of(line);
	line->peer = (struct far_end){ .listener = sim_listen(w, &a), .sock = -1 };
	line->peer.farewell =
		sim_chance(w, 2) ? FAREWELL_FIN : (enum farewell)sim_rand(w, N_FAREWELLS);
	line->peer.leaves_at = sim_rand(w, n_there + n_back + 1);
	stream_init(&line->out.stream, STREAM_RAW, there, n_there);
	stream_init(&line->peer.gets, STREAM_RAW, there, n_there);
	stream_init(&line->peer.out.stream, STREAM_RAW, back, n_back);
	stream_init(&line->gets, STREAM_RAW, back, n_back);
	sim_add_actor(w, peer_step, line);
}

static bool is_over(void *world)
{
	const struct owner_world *o = world;

	for (uint32_t i = 0; i < o->n_lines; i++)
		if (!o->line[i].peer.is_over)
			return false;
	return o->n_over == o->n_lines;
}

/* A direction that has ended with a FIN is whole; one that was cut short is a beginning. */
static void check_lines(const struct owner_world *o)
{
	uint64_t n_lines_got = 0, n_holders_got = 0;

	for (uint32_t i = 0; i < o->n_lines; i++) {
		const struct line *line = &o->line[i];
		const struct far_end *p = &line->peer;
		n_lines_got += line->n_got;
		SIM_CHECK(line->n_got == p->out.n_sent ||
				  (line->ended_by != RX_EOF && line->n_got < p->out.n_sent),
			  "line %u: of %llu bytes the holders got %llu", i,
			  (unsigned long long)p->out.n_sent, (unsigned long long)line->n_got);
		SIM_CHECK(p->n_got == line->out.n_sent ||
				  (!p->has_eof && p->n_got < line->out.n_sent),
			  "line %u: of %llu bytes the peer got %llu", i,
			  (unsigned long long)line->out.n_sent, (unsigned long long)p->n_got);
	}
	for (uint32_t i = 0; i < MAX_HOLDERS; i++)
		n_holders_got += o->holder[i].n_got;
	SIM_CHECK(n_holders_got == n_lines_got, "the holders got %llu bytes of %llu",
		  (unsigned long long)n_holders_got, (unsigned long long)n_lines_got);
}

struct owner_change_result owner_change_run(const struct sim_opts *opts)
{
	struct owner_world *o = calloc(1, sizeof(*o));

	LB_ASSERT(o != NULL);
	o->w = sim_new(opts);
	o->loop = sim_loop_new(o->w, &(struct loop_opts){ 0 }, "holders", MAX_FDS);
	int r = conns_init(&o->conns, o->loop, CLASS_LINE, MAX_CONNS);
	LB_ASSERT(r == 0);
	r = slab_reserve(o->conns.slab, MAX_CONNS);
	LB_ASSERT(r == 0);
	loop_set_handler(o->loop, CLASS_LINE, on_completion, o);
	for (uint32_t i = 0; i < MAX_HOLDERS; i++)
		o->holder[i].number = i;
	o->n_lines = 1 + (uint32_t)sim_rand(o->w, MAX_LINES);
	for (uint32_t i = 0; i < o->n_lines; i++)
		plan(o, &o->line[i], i);
	sim_add_actor(o->w, mover_step, o);
	SIM_CHECK(sim_run(o->w, is_over, o, MAX_ROUNDS), "stuck: %u of %u lines are over",
		  o->n_over, o->n_lines);

	check_lines(o);
	SIM_CHECK(buf_bytes_used(o->loop->bufs) == 0, "holders: buffers are left");
	struct owner_change_result result = {
		.n_completions = sim_n_completions(o->w),
		.n_armed_changes = o->n_armed_changes,
	};
	for (uint32_t i = 0; i < o->n_lines; i++)
		sim_close(o->w, o->line[i].peer.listener);
	conns_deinit(&o->conns);
	loop_free(o->loop);
	sim_free(o->w);
	free(o);
	return result;
}
