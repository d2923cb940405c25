/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated engine: struct loop_ops over a world's sockets.
 *
 * Operations wait in a list. Each turn looks at them in a random order, leaves some alone though
 * they could complete, and completes the others, a receive in several pieces perhaps. A cancelled
 * operation ends with -ECANCELED, or with what came first.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "ev/loop_priv.h"
#include "sim_priv.h"

#define MAX_OPS 4096

enum sim_op_kind { SIM_ACCEPT, SIM_CONNECT, SIM_RECV, SIM_SEND, SIM_POLL };

struct sim_op {
	enum sim_op_kind kind;
	int fd;
	op_tag tag;
	bool is_many, is_cancelled;
	uint32_t cap;
	enum buf_class class;
	struct iovec iov[LOOP_IOV_MAX];
	int n_iov;
	uint32_t events;
	struct addr to;
};

struct sim_engine {
	struct loop loop; /* first */
	struct sim *world;
	struct sim_op op[MAX_OPS];
	size_t n_ops;
};

static struct sim_engine *engine_of(struct loop *l)
{
	return (struct sim_engine *)l;
}

static struct sim_op *add_op(struct loop *l, enum sim_op_kind kind, int fd, op_tag tag)
{
	struct sim_engine *e = engine_of(l);

	LB_ASSERT(e->n_ops < MAX_OPS);
	for (size_t i = 0; i < e->n_ops; i++)
		LB_ASSERT(e->op[i].tag != tag); /* a tag names one operation in flight */
	struct sim_op *op = &e->op[e->n_ops++];
	*op = (struct sim_op){ .kind = kind, .fd = fd, .tag = tag };
	return op;
}

static void sim_op_accept(struct loop *l, int fd, bool many, op_tag tag)
{
	add_op(l, SIM_ACCEPT, fd, tag)->is_many = many;
}

static void sim_op_connect(struct loop *l, int fd, const struct sockaddr *sa, socklen_t len,
			   op_tag tag)
{
	(void)len;
	addr_from_sockaddr(sa, &add_op(l, SIM_CONNECT, fd, tag)->to);
}

static void sim_op_recv(struct loop *l, int fd, uint32_t cap, enum buf_class class, op_tag tag)
{
	struct sim_op *op = add_op(l, SIM_RECV, fd, tag);

	op->cap = cap;
	op->class = class;
}

static void sim_op_send(struct loop *l, int fd, const struct iovec *iov, int n, bool may_refuse,
			op_tag tag)
{
	struct sim_op *op = add_op(l, SIM_SEND, fd, tag);

	(void)may_refuse;
	memcpy(op->iov, iov, (size_t)n * sizeof(*iov));
	op->n_iov = n;
}

static void sim_op_poll(struct loop *l, int fd, uint32_t events, op_tag tag)
{
	add_op(l, SIM_POLL, fd, tag)->events = events;
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

static uint32_t poll_events(struct sim *w, int fd)
{
	struct sim_sock *s = sim_sock(w, fd);
	uint32_t events = 0;

	if (s->kind == SIM_LISTEN)
		return s->n_queue > 0 ? POLLIN : 0;
	if (s->error != 0 || s->is_broken)
		events |= POLLERR | POLLIN | POLLOUT;
	if (s->n_rx > 0)
		events |= POLLIN;
	if (s->is_eof)
		events |= POLLIN | POLLRDHUP;
	if (s->is_eof && s->is_write_shut)
		events |= POLLHUP;
	if (s->peer >= 0 && w->sock[s->peer].n_rx < w->window)
		events |= POLLOUT;
	return events;
}

static int try_send(struct sim *w, struct sim_op *op)
{
	int sent = 0;

	for (int i = 0; i < op->n_iov; i++) {
		ssize_t n = sim_send(w, op->fd, op->iov[i].iov_base, op->iov[i].iov_len);
		if (n < 0)
			return sent > 0 ? sent : (int)n;
		sent += (int)n;
		if ((size_t)n < op->iov[i].iov_len)
			break;
	}
	return sent;
}

/* Tries one receive; fills *c. False: nothing to be had now. */
static bool try_recv(struct sim_engine *e, struct sim_op *op, struct completion *c)
{
	struct sim *w = e->world;
	struct sim_sock *s = sim_sock(w, op->fd);
	struct buf *b = NULL;
	ssize_t n;

	if (s->n_rx == 0) {
		uint8_t none;
		n = sim_recv(w, op->fd, &none, 0);
		if (n == -EAGAIN)
			return false;
		c->res = (int32_t)n;
		return true;
	}
	b = buf_get(e->loop.bufs, op->class);
	if (b == NULL) {
		c->res = -ENOBUFS;
		return true;
	}
	n = sim_recv(w, op->fd, b->data, op->cap < b->cap ? op->cap : b->cap);
	LB_ASSERT(n > 0);
	b->len = (uint32_t)n;
	op->cap -= (uint32_t)n;
	c->res = (int32_t)n;
	c->buf = b;
	/* A kernel may end a receive early: whoever wants more arms it again. */
	c->more = op->cap > 0 && sim_rand(w, 8) != 0;
	return true;
}

/* Fills *c and returns true if the operation completes (or goes on with c->more). */
static bool try_op(struct sim_engine *e, struct sim_op *op, struct completion *c)
{
	struct sim *w = e->world;
	uint32_t events;

	*c = (struct completion){ .tag = op->tag };
	switch (op->kind) {
	case SIM_ACCEPT:
		c->res = sim_accept(w, op->fd);
		c->more = op->is_many;
		break;
	case SIM_CONNECT: c->res = sim_join(w, op->fd, &op->to); break;
	case SIM_RECV:
		if (try_recv(e, op, c))
			return true;
		c->res = -EAGAIN;
		break;
	case SIM_SEND: c->res = try_send(w, op); break;
	case SIM_POLL:
		events = poll_events(w, op->fd) & (op->events | POLLERR | POLLHUP);
		c->res = events != 0 ? (int32_t)events : -EAGAIN;
		break;
	}
	if (c->res != -EAGAIN)
		return true;
	if (!op->is_cancelled)
		return false;
	*c = (struct completion){ .tag = op->tag, .res = -ECANCELED };
	return true;
}

static int sim_wait(struct loop *l, uint64_t wait_ms)
{
	struct sim_engine *e = engine_of(l);
	struct sim *w = e->world;

	(void)wait_ms; /* the world decides about time */
	loop_tick(l);
	for (size_t tries = 2 * e->n_ops; tries > 0 && e->n_ops > 0; tries--) {
		size_t i = sim_rand(w, e->n_ops);
		struct sim_op op = e->op[i];
		struct completion c;

		if (sim_rand(w, 3) == 0)
			continue; /* late */
		if (op.is_cancelled && sim_rand(w, 2) == 0)
			c = (struct completion){ .tag = op.tag, .res = -ECANCELED };
		else if (!try_op(e, &op, &c))
			continue;
		if (c.more)
			e->op[i] = op;
		else
			e->op[i] = e->op[--e->n_ops];
		w->n_done++;
		loop_dispatch(l, &c);
	}
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
	(void)family;
	(void)type;
	return sim_open(engine_of(l)->world, SIM_STREAM);
}

static int sim_call_setsockopt(struct loop *l, int fd, int level, int name, const void *value,
			       socklen_t len)
{
	struct sim_sock *s = sim_sock(engine_of(l)->world, fd);

	(void)len;
	if (level == SOL_SOCKET && name == SO_LINGER)
		s->is_resetting = ((const struct linger *)value)->l_onoff != 0;
	return 0;
}

static int sim_call_getsockopt(struct loop *l, int fd, int level, int name, void *value,
			       socklen_t *len)
{
	(void)l;
	(void)fd;
	(void)level;
	(void)name;
	memset(value, 0, *len); /* no error; nothing unacknowledged */
	return 0;
}

static int sim_call_bind(struct loop *l, int fd, const struct sockaddr *sa, socklen_t len)
{
	(void)len;
	addr_from_sockaddr(sa, &sim_sock(engine_of(l)->world, fd)->local);
	return 0;
}

static int sim_call_listen(struct loop *l, int fd, int backlog)
{
	struct sim_sock *s = sim_sock(engine_of(l)->world, fd);

	(void)backlog;
	free(s->rx);
	s->rx = NULL;
	s->kind = SIM_LISTEN;
	return 0;
}

static int sim_call_sockname(struct loop *l, int fd, bool is_peer, struct sockaddr_storage *ret)
{
	struct sim_sock *s = sim_sock(engine_of(l)->world, fd);

	(void)addr_to_sockaddr(is_peer ? &s->remote : &s->local, ret);
	return 0;
}

static int sim_call_accept_now(struct loop *l, int fd)
{
	return sim_accept(engine_of(l)->world, fd);
}

static int sim_call_shutdown(struct loop *l, int fd, int how)
{
	if (how != SHUT_RD)
		sim_shutdown_write(engine_of(l)->world, fd);
	return 0;
}

static void sim_call_close(struct loop *l, int fd)
{
	struct sim_engine *e = engine_of(l);

	for (size_t i = 0; i < e->n_ops; i++)
		LB_ASSERT(e->op[i].fd != fd); /* nothing may be in flight on it */
	sim_close(e->world, fd);
}

static int sim_call_pipe(struct loop *l, int fds[2], size_t bytes)
{
	(void)l;
	(void)fds;
	(void)bytes;
	return -EMFILE; /* no pipes yet: bytes go through buffers */
}

static ssize_t sim_call_splice(struct loop *l, int from, int to, size_t n)
{
	(void)l;
	(void)from;
	(void)to;
	(void)n;
	return -EINVAL;
}

/* One table for all: a number is its own passage. */
static int sim_call_pass_fd(struct loop *l, int chan, int fd, uint64_t number)
{
	(void)l;
	(void)chan;
	(void)fd;
	(void)number;
	return -ENOSYS;
}

static int sim_call_take_fd(struct loop *l, int chan, uint64_t *ret_number)
{
	(void)l;
	(void)chan;
	(void)ret_number;
	return -ENOSYS;
}

static void sim_refill(struct loop *l)
{
	(void)buf_reserve(l->bufs, BUF_LARGE, 2);
}

static void sim_free_loop(struct loop *l)
{
	struct sim_engine *e = engine_of(l);
	struct sim *w = e->world;

	LB_ASSERT(e->n_ops == 0);
	for (size_t i = 0; i < w->n_loops; i++)
		if (w->loop[i] == l)
			w->loop[i] = w->loop[--w->n_loops];
	loop_deinit(l);
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
	.socket = sim_call_socket,
	.setsockopt = sim_call_setsockopt,
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

struct loop *sim_loop_new(struct sim *w, const struct loop_opts *o)
{
	struct sim_engine *e = calloc(1, sizeof(*e));

	LB_ASSERT(e != NULL && w->n_loops < SIM_MAX_LOOPS);
	e->world = w;
	int r = loop_init(&e->loop, &sim_ops, o);
	LB_ASSERT(r == 0);
	w->loop[w->n_loops++] = &e->loop;
	return &e->loop;
}
