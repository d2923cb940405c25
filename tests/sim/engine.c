/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated engine: struct loop_ops over a world's sockets.
 *
 * Operations wait in a list. Each turn looks at them from a random one on, leaves some alone though
 * they could complete, and completes the others, a receive perhaps in several pieces. A cancelled
 * operation ends with -ECANCELED, or with the result that came first. ev/loop.h says what an engine
 * may do; where io_uring and epoll differ, each loop of a world behaves like one of the two.
 */
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "sim_priv.h"

#define MAX_OPS 512
#define STATE_CLOSED 7 /* TCP_CLOSE */
#define MSS 1448

enum sim_op_kind { SIM_ACCEPT, SIM_CONNECT, SIM_RECV, SIM_SEND, SIM_POLL, SIM_ROOM };

struct sim_op {
	enum sim_op_kind kind;
	int fd;
	op_tag tag;
	bool is_many, is_cancelled, may_refuse;
	uint32_t cap;
	enum buf_class size_class;
	struct iovec iov[LOOP_IOV_MAX];
	int n_iov;
	uint32_t events;
	struct addr to;
};

struct sim_engine {
	struct loop loop; /* first member */
	struct sim *world;
	const char *name;
	bool is_ring;   /* as io_uring: polls report a FIN unasked, sends cannot wait after one */
	bool has_acted; /* something has happened in the last turn */
	struct sim_op op[MAX_OPS];
	size_t n_ops;
	int *table; /* owns: sockets by descriptor; -1: free */
	int max_fds, n_fds;
	uint32_t fail_fd_after, n_fds_refused;
	int *closing; /* owns: descriptors that are closed when the next turn waits */
	size_t n_closing;
};

static struct sim_engine *engine_of(struct loop *l)
{
	return (struct sim_engine *)l;
}

bool sim_loop_has_acted(const struct loop *l)
{
	return ((const struct sim_engine *)l)->has_acted;
}

void sim_fail_fd_after(struct loop *l, uint32_t n)
{
	engine_of(l)->fail_fd_after = n;
}

uint32_t sim_n_fds_refused(const struct loop *l)
{
	return ((const struct sim_engine *)l)->n_fds_refused;
}

/* ---- the table ------------------------------------------------------------------------------- */

/* Gives a socket the lowest free number, as the kernel does; -EMFILE when the table is full. */
static int table_add(struct sim_engine *e, int sock)
{
	for (int fd = SIM_FIRST_FD; fd < e->max_fds; fd++) {
		if (e->table[fd] >= 0)
			continue;
		e->table[fd] = sock;
		e->n_fds++;
		return fd;
	}
	e->n_fds_refused++;
	return -EMFILE;
}

static int sock_of(struct loop *l, int fd)
{
	struct sim_engine *e = engine_of(l);

	SIM_CHECK(fd >= SIM_FIRST_FD && fd < e->max_fds && e->table[fd] >= 0,
		  "%s: descriptor %d is not open", e->name, fd);
	return e->table[fd];
}

static bool has_room(struct sim_engine *e)
{
	bool is_failing = e->fail_fd_after > 0 && --e->fail_fd_after == 0;

	if (!is_failing && e->n_fds < e->max_fds - SIM_FIRST_FD)
		return true;
	e->n_fds_refused++;
	return false;
}

static void close_now(struct sim_engine *e, int fd)
{
	int sock = sock_of(&e->loop, fd);

	e->table[fd] = -1;
	e->n_fds--;
	sim_close(e->world, sock);
}

/* ---- starting -------------------------------------------------------------------------------- */

static struct sim_op *add_op(struct loop *l, enum sim_op_kind kind, int fd, op_tag tag)
{
	struct sim_engine *e = engine_of(l);

	(void)sock_of(l, fd);
	LB_ASSERT(e->n_ops < MAX_OPS);
	for (size_t i = 0; i < e->n_ops; i++) {
		SIM_CHECK(e->op[i].tag != tag, "%s: a second operation with one tag", e->name);
		SIM_CHECK(e->op[i].fd != fd || e->op[i].kind != kind || kind == SIM_POLL,
			  "%s: a second operation of one kind on descriptor %d", e->name, fd);
	}
	struct sim_op *op = &e->op[e->n_ops++];
	*op = (struct sim_op){ .kind = kind, .fd = fd, .tag = tag };
	return op;
}

static void sim_op_accept(struct loop *l, int fd, enum accept_mode mode, op_tag tag)
{
	add_op(l, SIM_ACCEPT, fd, tag)->is_many = mode == ACCEPT_MANY;
}

static void sim_op_connect(struct loop *l, int fd, const struct sockaddr *sa, socklen_t len,
			   op_tag tag)
{
	(void)len;
	addr_from_sockaddr(sa, &add_op(l, SIM_CONNECT, fd, tag)->to);
}

static void sim_op_recv(struct loop *l, int fd, uint32_t cap, enum buf_class size_class, op_tag tag)
{
	struct sim_op *op = add_op(l, SIM_RECV, fd, tag);

	op->cap = cap;
	op->size_class = size_class;
}

static void sim_op_send(struct loop *l, int fd, const struct iovec *iov, int n, enum send_mode mode,
			op_tag tag)
{
	struct sim_op *op = add_op(l, SIM_SEND, fd, tag);

	op->may_refuse = mode == SEND_TRY;
	memcpy(op->iov, iov, (size_t)n * sizeof(*iov));
	op->n_iov = n;
}

static void sim_op_poll(struct loop *l, int fd, uint32_t events, op_tag tag)
{
	add_op(l, SIM_POLL, fd, tag)->events = events;
}

static void sim_op_poll_room(struct loop *l, int fd, op_tag tag)
{
	add_op(l, SIM_ROOM, fd, tag)->events = POLLOUT;
}

static void sim_op_cancel(struct loop *l, int fd, op_tag tag)
{
	struct sim_engine *e = engine_of(l);

	for (size_t i = 0; i < e->n_ops; i++)
		if (e->op[i].tag == tag) {
			LB_ASSERT(e->op[i].fd == fd);
			e->op[i].is_cancelled = true;
		}
}

/* ---- completing ------------------------------------------------------------------------------ */

static int try_accept(struct sim_engine *e, struct sim_op *op)
{
	if (sim_sock(e->world, sock_of(&e->loop, op->fd))->n_queue == 0)
		return -EAGAIN;
	if (!has_room(e))
		return -EMFILE;
	int got = sim_accept(e->world, sock_of(&e->loop, op->fd));
	return got < 0 ? got : table_add(e, got);
}

static int try_send(struct sim_engine *e, struct sim_op *op)
{
	struct sim *w = e->world;
	int sock = sock_of(&e->loop, op->fd);
	int sent = 0;

	for (int i = 0; i < op->n_iov; i++) {
		ssize_t n = sim_send(w, sock, op->iov[i].iov_base, op->iov[i].iov_len);
		if (n < 0)
			return sent > 0 ? sent : (int)n;
		sent += (int)n;
		if ((size_t)n < op->iov[i].iov_len)
			break;
	}
	return sent;
}

/* Whether a send without room ends with -EAGAIN instead of waiting. */
static bool is_refused(struct sim_engine *e, const struct sim_op *op)
{
	const struct sim_sock *s = sim_sock(e->world, sock_of(&e->loop, op->fd));

	return e->is_ring && (op->may_refuse || s->is_eof);
}

/* Tries a receive and fills *c. False: there are no bytes and no end now. */
static bool try_recv(struct sim_engine *e, struct sim_op *op, struct completion *c)
{
	struct sim *w = e->world;
	int sock = sock_of(&e->loop, op->fd);

	if (sim_sock(w, sock)->rx.n == 0) {
		uint8_t none;
		c->res = (int32_t)sim_recv(w, sock, &none, 0);
		return c->res != -EAGAIN;
	}
	struct buf *b = buf_get(e->loop.bufs, op->size_class);
	if (b == NULL) {
		c->res = -ENOBUFS;
		return true;
	}
	ssize_t n = sim_recv(w, sock, b->data, op->cap < b->cap ? op->cap : b->cap);
	LB_ASSERT(n > 0);
	b->len = (uint32_t)n;
	op->cap -= (uint32_t)n;
	c->res = (int32_t)n;
	c->buf = b;
	/* A kernel may end a receive early. */
	c->more = op->cap > 0 && !op->is_cancelled && !sim_chance(w, 8);
	return true;
}

static int try_poll(struct sim_engine *e, const struct sim_op *op)
{
	bool tells_fin = e->is_ring && op->kind == SIM_POLL;
	uint32_t always = POLLERR | POLLHUP | (tells_fin ? POLLRDHUP : 0);
	uint32_t events = sim_poll_events(e->world, sock_of(&e->loop, op->fd));

	events &= op->events | always;
	return events != 0 ? (int)events : -EAGAIN;
}

/* Tries an operation. True: it has a completion, *c, and goes on when c->more. */
static bool try_op(struct sim_engine *e, struct sim_op *op, struct completion *c)
{
	*c = (struct completion){ .tag = op->tag };
	switch (op->kind) {
	case SIM_ACCEPT:
		c->res = try_accept(e, op);
		c->more = c->res >= 0 && op->is_many && !op->is_cancelled;
		break;
	case SIM_CONNECT: c->res = sim_join(e->world, sock_of(&e->loop, op->fd), &op->to); break;
	case SIM_RECV:
		if (!try_recv(e, op, c))
			c->res = -EAGAIN;
		break;
	case SIM_SEND:
		c->res = try_send(e, op);
		if (c->res == -EAGAIN && is_refused(e, op))
			return true;
		break;
	case SIM_POLL:
	case SIM_ROOM: c->res = try_poll(e, op); break;
	}
	if (c->res != -EAGAIN)
		return true;
	if (!op->is_cancelled)
		return false;
	c->res = -ECANCELED;
	return true;
}

static void close_all(struct sim_engine *e)
{
	size_t n = e->n_closing;

	e->n_closing = 0;
	for (size_t i = 0; i < n; i++)
		close_now(e, e->closing[i]);
	e->has_acted = n > 0;
}

/* Looks at an operation, and dispatches the completion that it has. */
static void look(struct sim_engine *e, size_t i)
{
	struct sim *w = e->world;
	struct sim_op op = e->op[i];
	struct completion c;

	if (op.is_cancelled && sim_chance(w, 2))
		c = (struct completion){ .tag = op.tag, .res = -ECANCELED };
	else if (!try_op(e, &op, &c))
		return;
	if (c.more)
		e->op[i] = op;
	else
		e->op[i] = e->op[--e->n_ops];
	w->n_done++;
	sim_say(w, "%-7s class=%u kind=%u object=%llu fd=%d res=%d%s", e->name, tag_class(op.tag),
		tag_kind(op.tag), (unsigned long long)(tag_handle(op.tag) & 0xffffffff), op.fd,
		c.res, c.more ? " more" : "");
	loop_dispatch(&e->loop, &c);
}

static int sim_wait(struct loop *l, uint64_t wait_ms)
{
	struct sim_engine *e = engine_of(l);
	struct sim *w = e->world;

	(void)wait_ms; /* sim.c lets time move on */
	close_all(e);
	e->has_acted = e->has_acted || l->n_posted > 0;
	loop_tick(l);
	if (e->n_ops == 0)
		return 0;
	/* Once through the list, beginning anywhere. Operations that handlers start meanwhile may
	 * be among those. */
	size_t first = sim_rand(w, e->n_ops);
	for (size_t k = 0, n = e->n_ops; k < n && e->n_ops > 0; k++)
		if (w->is_strict || !sim_chance(w, 3))
			look(e, (first + k) % e->n_ops);
	return 0;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static uint64_t sim_clock(struct loop *l)
{
	return engine_of(l)->world->now_ns;
}

static void sim_random(struct loop *l, void *out, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)out)[i] = (uint8_t)sim_rand(engine_of(l)->world, 256);
}

static int sim_call_socket(struct loop *l, int family, int type)
{
	struct sim_engine *e = engine_of(l);

	(void)family;
	(void)type;
	return has_room(e) ? table_add(e, sim_open(e->world, SIM_STREAM)) : -EMFILE;
}

static int sim_call_setsockopt(struct loop *l, int fd, int level, int name, const void *value,
			       socklen_t len)
{
	struct sim_sock *s = sim_sock(engine_of(l)->world, sock_of(l, fd));

	(void)len;
	if (level == SOL_SOCKET && name == SO_LINGER)
		s->is_resetting = ((const struct linger *)value)->l_onoff != 0;
	else if (level == SOL_SOCKET && name == SO_REUSEPORT)
		s->is_shared = true;
	else if (level == SOL_SOCKET && name == SO_ATTACH_FILTER)
		s->is_deaf = true;
	else if (level == SOL_SOCKET && name == SO_KEEPALIVE)
		s->has_keepalive = true;
	else if (level == IPPROTO_TCP && name == TCP_USER_TIMEOUT)
		s->user_ms = *(const uint32_t *)value;
	return 0;
}

static void sim_call_set_option(struct loop *l, int fd, int level, int name, const void *value,
				socklen_t len)
{
	(void)sim_call_setsockopt(l, fd, level, name, value, len);
}

static void fill_tcp_info(struct sim *w, int sock, struct tcp_info *ti)
{
	const struct sim_sock *s = sim_sock(w, sock);
	const struct sim_sock *peer = s->peer >= 0 ? sim_sock(w, s->peer) : NULL;
	uint64_t heard_ns = s->is_cut ? s->heard_ns : w->now_ns;

	ti->tcpi_state = s->error != 0 || s->is_broken ? STATE_CLOSED : 1;
	ti->tcpi_snd_mss = MSS;
	ti->tcpi_snd_wnd = peer != NULL && peer->rx_max > peer->rx.n
				   ? (uint32_t)(peer->rx_max - peer->rx.n)
				   : 0;
	ti->tcpi_unacked = s->tx.n > 0 && ti->tcpi_snd_wnd > 0;
	ti->tcpi_notsent_bytes = s->tx.n > 0 && ti->tcpi_snd_wnd == 0;
	ti->tcpi_bytes_acked = s->fate->n_delivered;
	ti->tcpi_last_data_sent = (uint32_t)((w->now_ns - s->stuck_ns) / 1000000);
	ti->tcpi_last_ack_recv = (uint32_t)((w->now_ns - heard_ns) / 1000000);
}

static int sim_call_getsockopt(struct loop *l, int fd, int level, int name, void *value,
			       socklen_t *len)
{
	struct sim *w = engine_of(l)->world;

	memset(value, 0, *len);
	if (level == IPPROTO_TCP && name == TCP_INFO)
		fill_tcp_info(w, sock_of(l, fd), value);
	return 0;
}

static int sim_call_bind(struct loop *l, int fd, const struct sockaddr *sa, socklen_t len)
{
	struct addr a;

	(void)len;
	addr_from_sockaddr(sa, &a);
	return sim_bind(engine_of(l)->world, sock_of(l, fd), &a);
}

static int sim_call_listen(struct loop *l, int fd, int backlog)
{
	(void)backlog;
	return sim_start_listening(engine_of(l)->world, sock_of(l, fd));
}

static int sim_call_sockname(struct loop *l, int fd, enum name_of whose,
			     struct sockaddr_storage *ret)
{
	struct sim_sock *s = sim_sock(engine_of(l)->world, sock_of(l, fd));

	if (whose == NAME_OF_PEER && s->peer < 0)
		return -ENOTCONN;
	(void)addr_to_sockaddr(whose == NAME_OF_PEER ? &s->remote : &s->local, ret);
	return 0;
}

static int sim_call_accept_now(struct loop *l, int fd)
{
	struct sim_op op = { .fd = fd };

	return try_accept(engine_of(l), &op);
}

static int sim_call_shutdown(struct loop *l, int fd, int how)
{
	if (how != SHUT_RD)
		sim_shutdown_write(engine_of(l)->world, sock_of(l, fd));
	return 0;
}

/* As io_uring: the number is free when the next turn waits; as epoll: at once. */
static void sim_call_close(struct loop *l, int fd)
{
	struct sim_engine *e = engine_of(l);

	(void)sock_of(l, fd);
	for (size_t i = 0; i < e->n_ops; i++)
		SIM_CHECK(e->op[i].fd != fd, "%s: descriptor %d is closed under an operation",
			  e->name, fd);
	for (size_t i = 0; i < e->n_closing; i++)
		SIM_CHECK(e->closing[i] != fd, "%s: descriptor %d is closed twice", e->name, fd);
	if (e->is_ring)
		e->closing[e->n_closing++] = fd;
	else
		close_now(e, fd);
}

static int sim_call_pipe(struct loop *l, int fds[2], size_t bytes)
{
	struct sim_engine *e = engine_of(l);
	int socks[2];

	if (e->n_fds + 2 > e->max_fds - SIM_FIRST_FD || sim_chance(e->world, 10))
		return -EMFILE;
	sim_pipe(e->world, socks, bytes);
	fds[0] = table_add(e, socks[0]);
	fds[1] = table_add(e, socks[1]);
	return (int)bytes;
}

static ssize_t sim_call_splice(struct loop *l, int from, int to, size_t n)
{
	struct sim *w = engine_of(l)->world;
	ssize_t r = sim_splice(w, sock_of(l, from), sock_of(l, to), n);

	sim_say(w, "%-7s splice fd=%d to fd=%d res=%zd", engine_of(l)->name, from, to, r);
	return r;
}

static int sim_call_pass_fd(struct loop *l, int chan, int fd, uint64_t number)
{
	struct sim *w = engine_of(l)->world;
	struct sim_channel *c = &w->channel[chan];

	if (c->n == ARRAY_SIZE(c->item))
		return -EAGAIN;
	c->item[c->n].sock = sock_of(l, fd);
	c->item[c->n++].number = number;
	sim_ref(w, sock_of(l, fd));
	sim_say(w, "%-7s pass fd=%d number=%llu", engine_of(l)->name, fd,
		(unsigned long long)number);
	return 0;
}

static int sim_call_take_fd(struct loop *l, int chan, uint64_t *ret_number)
{
	struct sim *w = engine_of(l)->world;
	struct sim_channel *c = &w->channel[chan];

	if (c->n == 0)
		return -EAGAIN;
	int sock = c->item[0].sock;
	*ret_number = c->item[0].number;
	memmove(c->item, c->item + 1, --c->n * sizeof(c->item[0]));
	int fd = table_add(engine_of(l), sock);
	sim_say(w, "%-7s take fd=%d number=%llu", engine_of(l)->name, fd,
		(unsigned long long)*ret_number);
	if (fd < 0) {
		c->n_refused++;
		sim_close(w, sock);
	}
	return fd;
}

static void sim_refill(struct loop *l)
{
	(void)buf_reserve(l->bufs, BUF_LARGE, 2);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void sim_free_loop(struct loop *l)
{
	struct sim_engine *e = engine_of(l);
	struct sim *w = e->world;

	close_all(e);
	SIM_CHECK(e->n_ops == 0, "%s: %zu operations are in flight at the end", e->name, e->n_ops);
	SIM_CHECK(e->n_fds == 0, "%s: %d descriptors are left", e->name, e->n_fds);
	for (size_t i = 0; i < w->n_loops; i++)
		if (w->loop[i] == l)
			w->loop[i] = w->loop[--w->n_loops];
	loop_deinit(l);
	free(e->table);
	free(e->closing);
	free(e);
}

static const struct loop_ops sim_ops = {
	.name = "simulated",
	.free = sim_free_loop,
	.refill = sim_refill,
	.wait = sim_wait,
	.clock_ns = sim_clock,
	.wall_ns = sim_clock,
	.random = sim_random,
	.accept = sim_op_accept,
	.connect = sim_op_connect,
	.recv = sim_op_recv,
	.send = sim_op_send,
	.poll = sim_op_poll,
	.cancel = sim_op_cancel,
	.poll_room = sim_op_poll_room,
	.cancel_room = sim_op_cancel,
	.socket = sim_call_socket,
	.setsockopt = sim_call_setsockopt,
	.set_option = sim_call_set_option,
	.getsockopt = sim_call_getsockopt,
	.bind = sim_call_bind,
	.listen = sim_call_listen,
	.sockname = sim_call_sockname,
	.accept_now = sim_call_accept_now,
	.shutdown = sim_call_shutdown,
	.close = sim_call_close,
	.pipe = sim_call_pipe,
	.splice = sim_call_splice,
	.pass_fd = sim_call_pass_fd,
	.take_fd = sim_call_take_fd,
};

struct loop *sim_loop_new(struct sim *w, const struct loop_opts *o, const char *name, int max_fds)
{
	struct sim_engine *e = calloc(1, sizeof(*e));

	LB_ASSERT(e != NULL && w->n_loops < SIM_MAX_LOOPS);
	e->world = w;
	e->name = name;
	e->max_fds = max_fds;
	e->is_ring = sim_chance(w, 2);
	e->table = malloc((size_t)max_fds * sizeof(*e->table));
	e->closing = malloc((size_t)max_fds * sizeof(*e->closing));
	LB_ASSERT(e->table != NULL && e->closing != NULL);
	memset(e->table, 0xff, (size_t)max_fds * sizeof(*e->table)); /* -1 */
	int r = loop_init(&e->loop, &sim_ops, o);
	LB_ASSERT(r == 0);
	w->loop[w->n_loops++] = &e->loop;
	return &e->loop;
}
