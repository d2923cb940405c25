/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The epoll engine: completions made of readiness.
 *
 * Each descriptor is registered once, edge-triggered, at its first operation, and has a record in a
 * table by its number: what is known of its readiness, and the operations in flight. A send is
 * tried when it is started (its completion is posted for the next turn); a receive or accept when
 * its descriptor is known to be ready. So a message costs a recv(2), a send(2) and its part of an
 * epoll_wait(2).
 *
 *   edge -> ready_in -> run list -> recv(2) ... until short or EAGAIN -> not ready, wait for an
 * edge
 *
 * Thread: the loop's.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "ev/loop_priv.h"

#define MAX_EVENTS 512
#define TURN_BUFS 16    /* buffers one receive may fill in a turn, then others have theirs */
#define TURN_ACCEPTS 64 /* connections one accept may take in a turn */
#define MAX_POLLS 3

enum op_kind { OP_NONE, OP_ACCEPT, OP_RECV, OP_CONNECT, OP_SEND };

struct in_op {
	op_tag tag;
	uint8_t kind; /* OP_NONE, OP_ACCEPT, OP_RECV */
	bool is_many;
	uint8_t class;
	uint32_t cap;
};

/* A send that has to wait keeps its pieces here. */
struct send_wait {
	int n;
	int flags;
	struct iovec iov[LOOP_IOV_MAX];
};

struct out_op {
	op_tag tag;
	uint8_t kind;           /* OP_NONE, OP_CONNECT, OP_SEND */
	struct send_wait *wait; /* owns */
};

struct poll_op {
	op_tag tag; /* 0: none */
	uint32_t events;
};

struct record {
	uint32_t generation; /* raised at close: events of a former owner are told by it */
	bool is_registered;
	bool is_ready_in;
	bool is_ending; /* a hang-up or error was seen: short receives say nothing */
	bool is_queued; /* in the run list */
	struct in_op in;
	struct out_op out;
	struct poll_op poll[MAX_POLLS];
};

struct epoll {
	struct loop loop; /* first */
	int fd;
	struct record *table; /* owns: by descriptor */
	size_t table_len;
	int *run; /* owns: descriptors whose "in" operation is to be tried */
	size_t n_run, run_cap;
	struct epoll_event events[MAX_EVENTS];
};

static struct epoll *epoll_of(struct loop *l)
{
	return (struct epoll *)l;
}

/* ---- records --------------------------------------------------------------------------------- */

/* The record of a descriptor; the table grows when a number is seen for the first time. */
static struct record *record_of(struct epoll *e, int fd)
{
	size_t i = (size_t)fd;

	if (i >= e->table_len) {
		size_t len = e->table_len ? e->table_len : 64;
		while (len <= i)
			len *= 2;
		struct record *grown = reallocarray(e->table, len, sizeof(*grown));
		/* No record, no operation: without it a completion would be lost. */
		LB_ASSERT(grown != NULL);
		memset(grown + e->table_len, 0, (len - e->table_len) * sizeof(*grown));
		e->table = grown;
		e->table_len = len;
	}
	return &e->table[i];
}

static void queue_run(struct epoll *e, int fd, struct record *r)
{
	if (r->is_queued)
		return;
	if (e->n_run == e->run_cap) {
		size_t cap = e->run_cap ? 2 * e->run_cap : 256;
		int *grown = reallocarray(e->run, cap, sizeof(*grown));
		LB_ASSERT(grown != NULL);
		e->run = grown;
		e->run_cap = cap;
	}
	e->run[e->n_run++] = fd;
	r->is_queued = true;
}

/* The registration reports what is ready already as its first edge. */
static struct record *registered(struct epoll *e, int fd)
{
	struct record *r = record_of(e, fd);

	if (r->is_registered)
		return r;
	struct epoll_event ev = {
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
		.data.u64 = (uint64_t)r->generation << 32 | (uint32_t)fd,
	};
	int rc = epoll_ctl(e->fd, EPOLL_CTL_ADD, fd, &ev);
	LB_ASSERT(rc == 0 || errno == ENOSPC || errno == ENOMEM);
	r->is_registered = rc == 0;
	return r;
}

static void post(struct loop *l, op_tag tag, int res)
{
	loop_post(l, &(struct completion){ .tag = tag, .res = res });
}

/* ---- starting -------------------------------------------------------------------------------- */

static void start_in(struct loop *l, int fd, const struct in_op *op)
{
	struct epoll *e = epoll_of(l);
	struct record *r = registered(e, fd);

	LB_ASSERT(r->in.kind == OP_NONE);
	if (!r->is_registered) {
		post(l, op->tag, -ENOMEM);
		return;
	}
	r->in = *op;
	if (r->is_ready_in)
		queue_run(e, fd, r);
}

static void epoll_accept(struct loop *l, int fd, bool many, op_tag tag)
{
	start_in(l, fd, &(struct in_op){ .tag = tag, .kind = OP_ACCEPT, .is_many = many });
}

static void epoll_recv(struct loop *l, int fd, uint32_t cap, enum buf_class class, op_tag tag)
{
	start_in(l, fd,
		 &(struct in_op){
			 .tag = tag, .kind = OP_RECV, .class = (uint8_t) class, .cap = cap });
}

static void epoll_connect(struct loop *l, int fd, const struct sockaddr *sa, socklen_t len,
			  op_tag tag)
{
	struct epoll *e = epoll_of(l);
	int rc = connect(fd, sa, len) < 0 ? -errno : 0;

	if (rc != -EINPROGRESS) {
		post(l, tag, rc);
		return;
	}
	struct record *r = registered(e, fd);
	LB_ASSERT(r->out.kind == OP_NONE);
	if (!r->is_registered)
		post(l, tag, -ENOMEM);
	else
		r->out = (struct out_op){ .tag = tag, .kind = OP_CONNECT };
}

static ssize_t try_send(int fd, const struct iovec *iov, int n, int flags)
{
	struct iovec copy[LOOP_IOV_MAX];
	struct msghdr msg = { .msg_iov = copy, .msg_iovlen = (size_t)n };

	memcpy(copy, iov, (size_t)n * sizeof(*iov));
	ssize_t sent = n == 1 ? send(fd, iov[0].iov_base, iov[0].iov_len, flags)
			      : sendmsg(fd, &msg, flags);
	return sent < 0 ? -errno : sent;
}

static void epoll_send(struct loop *l, int fd, const struct iovec *iov, int n, bool is_more,
		       op_tag tag)
{
	struct epoll *e = epoll_of(l);
	int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (is_more ? MSG_MORE : 0);
	ssize_t sent = try_send(fd, iov, n, flags);

	if (sent != -EAGAIN) {
		post(l, tag, (int)sent);
		return;
	}
	struct record *r = registered(e, fd);
	struct send_wait *w = malloc(sizeof(*w)); /* only for who has to wait */
	LB_ASSERT(r->out.kind == OP_NONE);
	if (!r->is_registered || w == NULL) {
		free(w);
		post(l, tag, -ENOMEM);
		return;
	}
	w->n = n;
	w->flags = flags;
	memcpy(w->iov, iov, (size_t)n * sizeof(*iov));
	r->out = (struct out_op){ .tag = tag, .kind = OP_SEND, .wait = w };
}

static void epoll_poll(struct loop *l, int fd, uint32_t events, op_tag tag)
{
	struct epoll *e = epoll_of(l);
	struct pollfd now = { .fd = fd, .events = (short)events };
	struct record *r = registered(e, fd);

	/* Level-triggered, as poll(2): what is there already counts. */
	int n = poll(&now, 1, 0);
	if (n != 0 || !r->is_registered) {
		post(l, tag, n > 0 ? now.revents : -ENOMEM);
		return;
	}
	for (int i = 0; i < MAX_POLLS; i++) {
		if (r->poll[i].tag != 0)
			continue;
		r->poll[i] = (struct poll_op){ .tag = tag, .events = events };
		return;
	}
	LB_ASSERT(false);
}

static void clear_out(struct record *r)
{
	free(r->out.wait);
	r->out = (struct out_op){ 0 };
}

static void epoll_cancel(struct loop *l, int fd, op_tag tag)
{
	struct record *r = record_of(epoll_of(l), fd);

	if (r->in.kind != OP_NONE && r->in.tag == tag) {
		r->in.kind = OP_NONE;
		post(l, tag, -ECANCELED);
	} else if (r->out.kind != OP_NONE && r->out.tag == tag) {
		clear_out(r);
		post(l, tag, -ECANCELED);
	}
	for (int i = 0; i < MAX_POLLS; i++) {
		if (r->poll[i].tag != tag)
			continue;
		r->poll[i].tag = 0;
		post(l, tag, -ECANCELED);
	}
}

static void epoll_close(struct loop *l, int fd)
{
	struct record *r = record_of(epoll_of(l), fd);

	LB_ASSERT(r->in.kind == OP_NONE && r->out.kind == OP_NONE);
	for (int i = 0; i < MAX_POLLS; i++)
		LB_ASSERT(r->poll[i].tag == 0);
	/* A listening socket's copy may be open elsewhere: closing this one would not unregister
	 * it. */
	if (r->is_registered)
		(void)epoll_ctl(epoll_of(l)->fd, EPOLL_CTL_DEL, fd, NULL);
	*r = (struct record){ .generation = r->generation + 1, .is_queued = r->is_queued };
	(void)close(fd);
}

/* ---- completing ------------------------------------------------------------------------------ */

/* Gives a completion to its handler, who may close the descriptor. The record, if it is still it.
 */
static struct record *dispatched(struct epoll *e, int fd, uint32_t generation,
				 const struct completion *c)
{
	loop_dispatch(&e->loop, c);
	struct record *r = &e->table[fd]; /* the table may have moved */
	return r->generation == generation ? r : NULL;
}

static void run_accept(struct epoll *e, int fd, struct record *r)
{
	uint32_t generation = r->generation;
	op_tag tag = r->in.tag;

	for (int n = 0; r != NULL && r->in.kind == OP_ACCEPT && r->in.tag == tag; n++) {
		if (n == TURN_ACCEPTS) {
			queue_run(e, fd, r);
			return;
		}
		int got = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (got < 0 && errno == EAGAIN) {
			r->is_ready_in = false;
			return;
		}
		if (got < 0 && (errno == ECONNABORTED || errno == EINTR))
			continue;
		bool is_more = got >= 0 && r->in.is_many;
		if (!is_more)
			r->in.kind = OP_NONE;
		r = dispatched(e, fd, generation,
			       &(struct completion){ .tag = tag,
						     .res = got < 0 ? -errno : got,
						     .more = is_more });
	}
}

static void run_recv(struct epoll *e, int fd, struct record *r)
{
	uint32_t generation = r->generation;
	op_tag tag = r->in.tag;

	for (int n = 0; r != NULL && r->in.kind == OP_RECV && r->in.tag == tag && r->is_ready_in;
	     n++) {
		if (n == TURN_BUFS) {
			queue_run(e, fd, r);
			return;
		}
		struct completion c = { .tag = tag, .res = -ENOBUFS };
		struct buf *b = buf_get(e->loop.bufs, r->in.class);
		uint32_t most = 0;
		if (b != NULL) {
			most = r->in.cap < b->cap ? r->in.cap : b->cap;
			ssize_t got = recv(fd, b->data, most, MSG_DONTWAIT);
			c.res = got < 0 ? -errno : (int)got;
		}
		if (c.res == -EAGAIN || c.res == -EINTR) {
			buf_put(e->loop.bufs, b);
			r->is_ready_in = c.res == -EINTR;
			continue;
		}
		if (c.res > 0) {
			b->len = (uint32_t)c.res;
			c.buf = b;
			r->in.cap -= (uint32_t)c.res;
			c.more = r->in.cap > 0;
			/* Less than asked for: the queue is empty, the next bytes make an edge. */
			if ((uint32_t)c.res < most && !r->is_ending)
				r->is_ready_in = false;
		} else if (b != NULL) {
			buf_put(e->loop.bufs, b);
		}
		if (!c.more)
			r->in.kind = OP_NONE;
		r = dispatched(e, fd, generation, &c);
	}
}

static void run_one(struct epoll *e, int fd)
{
	struct record *r = &e->table[fd];

	r->is_queued = false;
	if (!r->is_ready_in)
		return;
	if (r->in.kind == OP_ACCEPT)
		run_accept(e, fd, r);
	else if (r->in.kind == OP_RECV)
		run_recv(e, fd, r);
}

/* What is queued meanwhile waits for the next turn. */
static void run_queue(struct epoll *e)
{
	size_t n = e->n_run;

	for (size_t i = 0; i < n; i++)
		run_one(e, e->run[i]);
	e->n_run -= n;
	memmove(e->run, e->run + n, e->n_run * sizeof(*e->run));
}

static struct record *complete_polls(struct epoll *e, int fd, struct record *r, uint32_t events)
{
	uint32_t generation = r->generation;

	for (int i = 0; i < MAX_POLLS && r != NULL; i++) {
		uint32_t hit = events & (r->poll[i].events | POLLERR | POLLHUP);
		if (r->poll[i].tag == 0 || hit == 0)
			continue;
		struct completion c = { .tag = r->poll[i].tag, .res = (int)hit };
		r->poll[i].tag = 0;
		r = dispatched(e, fd, generation, &c);
	}
	return r;
}

static struct record *complete_out(struct epoll *e, int fd, struct record *r)
{
	struct completion c = { .tag = r->out.tag };

	if (r->out.kind == OP_CONNECT) {
		socklen_t len = sizeof(c.res);
		int error = 0;
		(void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
		c.res = -error;
	} else {
		c.res = (int)try_send(fd, r->out.wait->iov, r->out.wait->n, r->out.wait->flags);
		if (c.res == -EAGAIN)
			return r;
	}
	clear_out(r);
	return dispatched(e, fd, r->generation, &c);
}

static void on_event(struct epoll *e, const struct epoll_event *ev)
{
	int fd = (int)(uint32_t)ev->data.u64;
	struct record *r = &e->table[fd];

	if (r->generation != (uint32_t)(ev->data.u64 >> 32) || !r->is_registered)
		return; /* of a descriptor that was closed in this turn */
	if (ev->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		r->is_ready_in = true;
	if (ev->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		r->is_ending = true;
	/* A connect is over when it can be written to, or has failed. */
	if (r->out.kind != OP_NONE && ev->events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		r = complete_out(e, fd, r);
	if (r != NULL)
		r = complete_polls(e, fd, r, ev->events);
	if (r != NULL && r->is_ready_in && r->in.kind != OP_NONE)
		queue_run(e, fd, r);
}

static int epoll_wait_turn(struct loop *l, uint64_t wait_ms)
{
	struct epoll *e = epoll_of(l);
	int timeout = wait_ms > INT32_MAX ? -1 : (int)wait_ms;

	if (e->n_run > 0)
		timeout = 0;
	int n = epoll_wait(e->fd, e->events, MAX_EVENTS, timeout);
	loop_tick(l);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	for (int i = 0; i < n; i++)
		on_event(e, &e->events[i]);
	run_queue(e);
	return 0;
}

/* Buffers are taken when there is something to receive. */
static void epoll_refill(struct loop *l)
{
	(void)buf_reserve(l->bufs, BUF_LARGE, 1);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void epoll_free(struct loop *l)
{
	struct epoll *e = epoll_of(l);

	for (size_t i = 0; i < e->table_len; i++)
		free(e->table[i].out.wait);
	if (e->fd >= 0)
		(void)close(e->fd);
	free(e->table);
	free(e->run);
	loop_deinit(l);
	free(e);
}

static const struct loop_ops epoll_ops = {
	.name = "epoll",
	.free = epoll_free,
	.refill = epoll_refill,
	.wait = epoll_wait_turn,
	.clock_ns = sys_clock_ns,
	.wall_ns = sys_wall_ns,
	.random = sys_random,
	.accept = epoll_accept,
	.connect = epoll_connect,
	.recv = epoll_recv,
	.send = epoll_send,
	.poll = epoll_poll,
	.cancel = epoll_cancel,
	.socket = sys_socket,
	.setsockopt = sys_setsockopt,
	.getsockopt = sys_getsockopt,
	.bind = sys_bind,
	.listen = sys_listen,
	.sockname = sys_sockname,
	.accept_now = sys_accept_now,
	.shutdown = sys_shutdown,
	.close = epoll_close,
	.pipe = sys_pipe,
	.splice = sys_splice,
	.pass_fd = sys_pass_fd,
	.take_fd = sys_take_fd,
};

int loop_epoll_new(const struct loop_opts *o, struct err *err, struct loop **ret)
{
	struct epoll *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return err_add(err, -ENOMEM, "epoll: out of memory");
	e->fd = epoll_create1(EPOLL_CLOEXEC);
	int r = e->fd < 0 ? -errno : loop_init(&e->loop, &epoll_ops, o);
	if (r < 0) {
		if (e->fd >= 0)
			(void)close(e->fd);
		free(e);
		return err_add(err, r, "epoll: %s", strerror(-r));
	}
	*ret = &e->loop;
	return 0;
}
