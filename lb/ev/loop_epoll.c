/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The epoll engine: it makes completions out of readiness.
 *
 * Terms. epoll tells when a descriptor becomes ready (an edge); it does no I/O itself. A record is
 * what this engine knows of one descriptor: its readiness, and the operations in flight on it. Each
 * number of a descriptor has one record, which never moves in memory. The run list holds
 * descriptors whose receive or accept is to be tried. A generation is a number in the record that
 * each close raises.
 *
 * Registration. A descriptor is registered with epoll at its first operation, once, edge-triggered,
 * for reading and writing. When the descriptor is ready already, epoll reports that after the
 * registration.
 *
 * A receive or an accept. An edge sets is_ready_in and puts the descriptor on the run list.
 * run_queue() tries the call at the end of the wait (run_recv(), run_accept()), until the kernel
 * has nothing more; then is_ready_in is cleared, and the next edge is waited for. A descriptor that
 * has more than TURN_BUFS or TURN_ACCEPTS goes on in the next turn, so that others are served
 * meanwhile:
 *
 *   edge -> is_ready_in -> run list -> recv(2) ... until short or EAGAIN -> not ready: next edge
 *
 * A send or a connect. The call is tried when the operation is started, and its completion is
 * posted for the next turn. When the socket has no room, the operation is kept in the record, and
 * complete_out() tries it again at the next edge for writing.
 *
 * Cost. A message costs one recv(2), one send(2) and a part of an epoll_wait(2). A turn with posted
 * completions to dispatch makes no epoll_wait(2), unless the turn before made none either.
 *
 * Handlers run in the middle of these steps, and may start, cancel and close anything. After each
 * handler, the record's generation tells whether the record is still that of the same descriptor
 * (dispatched()). epoll's events carry the generation, too: events of a descriptor that was closed
 * are ignored.
 *
 * Thread: the loop's. Hot.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "ev/loop_priv.h"

#define MAX_EVENTS 512
#define TURN_BUFS 4     /* the most buffers that one receive fills in a turn */
#define TURN_ACCEPTS 64 /* the most connections that one accept takes in a turn */
#define MAX_POLLS 3     /* polls on one descriptor: for errors, and for each end of a splice */
#define RECORDS_PER_PAGE 64u

enum op_kind { OP_NONE, OP_ACCEPT, OP_RECV, OP_CONNECT, OP_SEND };

/* What the engine knows of one descriptor. An idle session has two descriptors, so a record is kept
 * small. */
struct record {
	uint32_t generation; /* raised each time a descriptor of this number is closed */
	bool is_registered : 1;
	bool is_ready_in : 1; /* may be ready for reading; cleared when a call finds nothing */
	/* A hang-up or an error was seen: after a short receive, the end is still to be read. */
	bool is_ending : 1;
	bool is_queued : 1; /* the descriptor is on the run list */
	bool is_sole : 1;   /* the socket has no other descriptor, so close(2) unregisters it */
	bool is_many : 1;   /* the accept is ACCEPT_MANY */
	uint8_t in_kind;    /* operation for reading: OP_NONE, OP_ACCEPT, OP_RECV */
	uint8_t out_kind;   /* operation for writing: OP_NONE, OP_CONNECT, OP_SEND */
	uint8_t size_class; /* of a receive's buffers */

	op_tag in_tag, out_tag;
	uint32_t cap;      /* of a receive: how many bytes may still come */
	uint32_t send_len; /* of a send that waits: the length of the piece that is kept */
	const void *send_data;

	/* The tags of the polls; 0: no poll. The bits of a tag from POLL_SHIFT on, which no class
	 * uses, hold the events that the poll waits for. */
	op_tag poll[MAX_POLLS];
};
_Static_assert(sizeof(struct record) == 64, "user memory of every connection");

/* Bits of a poll for the events that it waits for. POLLERR and POLLHUP need no bit, because they
 * complete every poll. */
#define POLL_SHIFT 60
#define POLL_IN 1u
#define POLL_OUT 2u
#define POLL_RDHUP 4u
_Static_assert(LOOP_N_CLASSES <= 1 << (POLL_SHIFT - 56), "a tag leaves four bits");

static op_tag poll_make(op_tag tag, uint32_t events)
{
	uint64_t bits = (events & POLLIN ? POLL_IN : 0) | (events & POLLOUT ? POLL_OUT : 0) |
			(events & POLLRDHUP ? POLL_RDHUP : 0);

	LB_ASSERT((events & ~(uint32_t)(POLLIN | POLLOUT | POLLRDHUP | POLLERR | POLLHUP)) == 0);
	return tag | bits << POLL_SHIFT;
}

static op_tag poll_tag(op_tag poll)
{
	return poll & ((UINT64_C(1) << POLL_SHIFT) - 1);
}

static uint32_t poll_events(op_tag poll)
{
	unsigned bits = (unsigned)(poll >> POLL_SHIFT);

	return (bits & POLL_IN ? POLLIN : 0) | (bits & POLL_OUT ? POLLOUT : 0) |
	       (bits & POLL_RDHUP ? POLLRDHUP : 0);
}

struct epoll {
	struct loop loop; /* must be first, because epoll_of() casts */
	int fd;
	bool has_skipped;      /* the last turn made no epoll_wait(2) */
	struct record **pages; /* owns: pages of records, by descriptor number */
	size_t n_pages;
	int *run; /* owns: the run list */
	size_t n_run;
	struct epoll_event events[MAX_EVENTS];
};

static struct epoll *epoll_of(struct loop *l)
{
	return (struct epoll *)l;
}

/* ---- records --------------------------------------------------------------------------------- */

static struct record *record_at(const struct epoll *e, int fd)
{
	return &e->pages[(unsigned)fd / RECORDS_PER_PAGE][(unsigned)fd % RECORDS_PER_PAGE];
}

static bool has_record(const struct epoll *e, int fd)
{
	size_t page = (unsigned)fd / RECORDS_PER_PAGE;

	return page < e->n_pages && e->pages[page] != NULL;
}

/* Allocates the page of records `page`, and makes the run list long enough for its descriptors. */
static LB_COLD int page_add(struct epoll *e, size_t page)
{
	if (page >= e->n_pages) {
		size_t n = page + 1 > 2 * e->n_pages ? page + 1 : 2 * e->n_pages;
		int *run = reallocarray(e->run, 2 * n, RECORDS_PER_PAGE * sizeof(*run));
		if (run == NULL)
			return -ENOMEM;
		e->run = run;
		struct record **grown = reallocarray(e->pages, n, sizeof(struct record *));
		if (grown == NULL)
			return -ENOMEM;
		memset(grown + e->n_pages, 0, (n - e->n_pages) * sizeof(struct record *));
		e->pages = grown;
		e->n_pages = n;
	}
	e->pages[page] = calloc(RECORDS_PER_PAGE, sizeof(struct record));
	return e->pages[page] != NULL ? 0 : -ENOMEM;
}

/*
 * Gives a new descriptor a record, so that no operation on the descriptor can fail later for want
 * of memory. When memory is short, closes the descriptor and returns -ENOMEM. Otherwise returns
 * `fd`, also when `fd` is a negative errno.
 */
static int admit(struct epoll *e, int fd)
{
	if (fd < 0 || has_record(e, fd))
		return fd;
	int r = page_add(e, (unsigned)fd / RECORDS_PER_PAGE);
	if (r == 0)
		return fd;
	(void)close(fd);
	return r;
}

/* The record of a descriptor that this loop has made or adopted. */
static struct record *record_of(struct epoll *e, int fd)
{
	LB_ASSERT(fd >= 0 && has_record(e, fd));
	return record_at(e, fd);
}

static void queue_run(struct epoll *e, int fd, struct record *r)
{
	if (r->is_queued)
		return;
	/* A descriptor is on the run list at most once, or twice while run_queue() goes through the
	 * list. */
	LB_ASSERT(e->n_run < 2 * e->n_pages * RECORDS_PER_PAGE);
	e->run[e->n_run++] = fd;
	r->is_queued = true;
}

/* Registers a descriptor with epoll unless it is registered already. Returns 0 or a negative
 * errno. */
static int ensure_registered(struct epoll *e, int fd, struct record *r)
{
	if (r->is_registered)
		return 0;
	struct epoll_event ev = {
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
		.data.u64 = (uint64_t)r->generation << 32 | (uint32_t)fd,
	};
	if (epoll_ctl(e->fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		/* Any other errno means that the descriptor was closed without loop_close(). */
		LB_ASSERT(errno == ENOSPC || errno == ENOMEM);
		return -errno;
	}
	r->is_registered = true;
	return 0;
}

static void post(struct loop *l, op_tag tag, int res)
{
	loop_post(l, &(struct completion){ .tag = tag, .res = res });
}

/* ---- starting -------------------------------------------------------------------------------- */

static void start_in(struct epoll *e, int fd, struct record *r, enum op_kind kind, op_tag tag)
{
	LB_ASSERT(r->in_kind == OP_NONE);
	int rc = ensure_registered(e, fd, r);
	if (rc < 0) {
		post(&e->loop, tag, rc);
		return;
	}
	r->in_kind = (uint8_t)kind;
	r->in_tag = tag;
	if (r->is_ready_in)
		queue_run(e, fd, r);
}

static void epoll_accept(struct loop *l, int fd, enum accept_mode mode, op_tag tag)
{
	struct record *r = record_of(epoll_of(l), fd);

	r->is_many = mode == ACCEPT_MANY;
	start_in(epoll_of(l), fd, r, OP_ACCEPT, tag);
}

static void epoll_recv(struct loop *l, int fd, uint32_t cap, enum buf_class size_class, op_tag tag)
{
	struct record *r = record_of(epoll_of(l), fd);

	r->cap = cap;
	r->size_class = (uint8_t)size_class;
	r->is_sole = true;
	start_in(epoll_of(l), fd, r, OP_RECV, tag);
}

/* When a connect or a send could not be done at once, keeps it in the record until the descriptor
 * is writable. */
static void start_out(struct epoll *e, int fd, struct record *r, enum op_kind kind, op_tag tag)
{
	LB_ASSERT(r->out_kind == OP_NONE);
	int rc = ensure_registered(e, fd, r);
	if (rc < 0) {
		post(&e->loop, tag, rc);
		return;
	}
	r->out_kind = (uint8_t)kind;
	r->out_tag = tag;
}

static void epoll_connect(struct loop *l, int fd, const struct sockaddr *sa, socklen_t len,
			  op_tag tag)
{
	struct record *r = record_of(epoll_of(l), fd);
	int rc = connect(fd, sa, len) < 0 ? -errno : 0;

	r->is_sole = true;
	if (rc == -EINPROGRESS)
		start_out(epoll_of(l), fd, r, OP_CONNECT, tag);
	else
		post(l, tag, rc);
}

/* sendmsg(2) does not change the pieces, but struct msghdr has no const for them; hence the
 * union. */
static ssize_t try_send(int fd, const struct iovec *iov, int n)
{
	const int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
	union {
		const struct iovec *in;
		struct iovec *out;
	} pieces = { .in = iov };
	struct msghdr msg = { .msg_iov = pieces.out, .msg_iovlen = (size_t)n };

	ssize_t sent = n == 1 ? send(fd, iov[0].iov_base, iov[0].iov_len, flags)
			      : sendmsg(fd, &msg, flags);
	return sent < 0 ? -errno : sent;
}

static void epoll_send(struct loop *l, int fd, const struct iovec *iov, int n, enum send_mode mode,
		       op_tag tag)
{
	ssize_t sent = try_send(fd, iov, n);

	(void)mode; /* SEND_TRY waits, too: with epoll that costs no more than trying again */
	if (sent != -EAGAIN) {
		post(l, tag, (int)sent);
		return;
	}
	/* Only the first piece is kept, so that a record is small. A send may take fewer bytes than
	 * all. */
	struct record *r = record_of(epoll_of(l), fd);
	start_out(epoll_of(l), fd, r, OP_SEND, tag);
	LB_ASSERT(iov[0].iov_len <= UINT32_MAX);
	r->send_data = iov[0].iov_base;
	r->send_len = (uint32_t)iov[0].iov_len;
}

static void epoll_poll(struct loop *l, int fd, uint32_t events, op_tag tag)
{
	struct record *r = record_of(epoll_of(l), fd);
	struct pollfd now = { .fd = fd, .events = (short)events };
	int rc = ensure_registered(epoll_of(l), fd, r);

	/* As with poll(2), an event that is already there completes the poll. */
	if (rc == 0 && poll(&now, 1, 0) > 0)
		rc = now.revents;
	if (rc != 0) {
		post(l, tag, rc);
		return;
	}
	int i = 0;
	while (i < MAX_POLLS && r->poll[i] != 0)
		i++;
	LB_ASSERT(i < MAX_POLLS);
	r->poll[i] = poll_make(tag, events);
}

static void epoll_cancel(struct loop *l, int fd, op_tag tag)
{
	struct record *r = record_of(epoll_of(l), fd);
	bool was_in_flight = false;

	if (r->in_kind != OP_NONE && r->in_tag == tag) {
		r->in_kind = OP_NONE;
		was_in_flight = true;
	} else if (r->out_kind != OP_NONE && r->out_tag == tag) {
		r->out_kind = OP_NONE;
		was_in_flight = true;
	}
	for (int i = 0; i < MAX_POLLS && !was_in_flight; i++) {
		if (r->poll[i] == 0 || poll_tag(r->poll[i]) != tag)
			continue;
		r->poll[i] = 0;
		was_in_flight = true;
	}
	if (was_in_flight)
		post(l, tag, -ECANCELED);
}

/* With epoll a poll for POLLOUT waits for room, because epoll reports POLLRDHUP only when asked for
 * it. */
static void epoll_poll_room(struct loop *l, int fd, op_tag tag)
{
	epoll_poll(l, fd, POLLOUT, tag);
}

static void epoll_close(struct loop *l, int fd)
{
	struct record *r = record_of(epoll_of(l), fd);

	LB_ASSERT(r->in_kind == OP_NONE && r->out_kind == OP_NONE);
	for (int i = 0; i < MAX_POLLS; i++)
		LB_ASSERT(r->poll[i] == 0);
	/* A listening socket may have another descriptor in another table. Then close(2) does not
	 * unregister this one. */
	if (r->is_registered && !r->is_sole)
		(void)epoll_ctl(epoll_of(l)->fd, EPOLL_CTL_DEL, fd, NULL);
	*r = (struct record){ .generation = r->generation + 1, .is_queued = r->is_queued };
	(void)close(fd);
}

/* ---- calls that make or take a descriptor ---------------------------------------------------- */

static int epoll_adopt(struct loop *l, int fd)
{
	struct epoll *e = epoll_of(l);
	int r = has_record(e, fd) ? 0 : page_add(e, (unsigned)fd / RECORDS_PER_PAGE);

	return r < 0 ? r : ensure_registered(e, fd, record_at(e, fd));
}

static int epoll_socket(struct loop *l, int family, int type)
{
	return admit(epoll_of(l), sys_socket(l, family, type));
}

static int epoll_accept_now(struct loop *l, int fd)
{
	return admit(epoll_of(l), sys_accept_now(l, fd));
}

static int epoll_take_fd(struct loop *l, int chan, uint64_t *ret_number)
{
	return admit(epoll_of(l), sys_take_fd(l, chan, ret_number));
}

static int epoll_pipe(struct loop *l, int fds[2], size_t bytes)
{
	int r = sys_pipe(l, fds, bytes);

	for (int i = 0; r >= 0 && i < 2; i++) {
		int fd = admit(epoll_of(l), fds[i]);
		if (fd < 0) {
			(void)close(fds[1 - i]);
			r = fd;
		}
	}
	return r;
}

static int epoll_pass_fd(struct loop *l, int chan, int fd, uint64_t number)
{
	record_of(epoll_of(l), fd)->is_sole = false;
	return sys_pass_fd(l, chan, fd, number);
}

/* ---- completing ------------------------------------------------------------------------------ */

/* Dispatches a completion. Returns the record, or NULL when the handler has closed the descriptor.
 */
static struct record *dispatched(struct epoll *e, struct record *r, const struct completion *c)
{
	uint32_t generation = r->generation;

	loop_dispatch(&e->loop, c);
	return r->generation == generation ? r : NULL;
}

static bool is_transient(int error)
{
	return error == ECONNABORTED || error == EINTR;
}

static void run_accept(struct epoll *e, int fd, struct record *r)
{
	for (int n = 0; r != NULL && r->in_kind == OP_ACCEPT && !r->is_queued; n++) {
		if (n == TURN_ACCEPTS) {
			queue_run(e, fd, r);
			return;
		}
		int got = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (got < 0 && errno == EAGAIN) {
			r->is_ready_in = false;
			return;
		}
		if (got < 0 && is_transient(errno))
			continue;
		struct completion c = {
			.tag = r->in_tag,
			.res = got < 0 ? -errno : admit(e, got),
		};
		c.more = c.res >= 0 && r->is_many;
		if (!c.more)
			r->in_kind = OP_NONE;
		r = dispatched(e, r, &c);
	}
}

/* Tries recv(2) into a buffer and fills in the completion. Returns false when nothing has arrived,
 * so that there is no completion. */
static bool receive(struct epoll *e, int fd, struct record *r, struct completion *c)
{
	LB_ASSERT(r->cap > 0);
	struct buf *b = buf_get(e->loop.bufs, r->size_class);

	*c = (struct completion){ .tag = r->in_tag, .res = -ENOBUFS };
	if (b == NULL)
		return true;

	uint32_t most = r->cap < b->cap ? r->cap : b->cap;
	ssize_t got = recv(fd, b->data, most, MSG_DONTWAIT);
	c->res = got < 0 ? -errno : (int)got;
	if (got <= 0) {
		buf_put(e->loop.bufs, b);
		r->is_ready_in = c->res != -EAGAIN;
		return r->is_ready_in;
	}
	LB_ASSERT((size_t)got <= most);
	b->len = (uint32_t)got;
	c->buf = b;
	r->cap -= (uint32_t)got;
	c->more = r->cap > 0;
	/* After fewer bytes than asked for, the socket is empty, and the next bytes make an
	 * edge. */
	if ((uint32_t)got < most && !r->is_ending)
		r->is_ready_in = false;
	return true;
}

static void run_recv(struct epoll *e, int fd, struct record *r)
{
	struct completion c;

	for (int n = 0; r != NULL && r->in_kind == OP_RECV && r->is_ready_in && !r->is_queued;
	     n++) {
		if (n == TURN_BUFS) {
			queue_run(e, fd, r);
			return;
		}
		if (!receive(e, fd, r, &c))
			return;
		if (!c.more)
			r->in_kind = OP_NONE;
		r = dispatched(e, r, &c);
	}
}

/* Tries the operations of the descriptors on the run list. What handlers add to the list is for the
 * next turn. */
static void run_queue(struct epoll *e)
{
	size_t n = e->n_run;

	if (n == 0)
		return;
	for (size_t i = 0; i < n; i++) {
		int fd = e->run[i];
		struct record *r = record_at(e, fd);
		LB_ASSERT(r->is_queued);
		r->is_queued = false;
		if (r->in_kind == OP_ACCEPT && r->is_ready_in)
			run_accept(e, fd, r);
		else if (r->in_kind == OP_RECV)
			run_recv(e, fd, r);
	}
	LB_ASSERT(e->n_run >= n);
	e->n_run -= n;
	memmove(e->run, e->run + n, e->n_run * sizeof(*e->run));
}

static void complete_polls(struct epoll *e, struct record *r, uint32_t events)
{
	for (int i = 0; i < MAX_POLLS && r != NULL; i++) {
		uint32_t hit = events & (poll_events(r->poll[i]) | POLLERR | POLLHUP);
		if (r->poll[i] == 0 || hit == 0)
			continue;
		struct completion c = { .tag = poll_tag(r->poll[i]), .res = (int)hit };
		r->poll[i] = 0;
		r = dispatched(e, r, &c);
	}
}

static struct record *complete_out(struct epoll *e, int fd, struct record *r)
{
	struct completion c = { .tag = r->out_tag };

	if (r->out_kind == OP_CONNECT) {
		int error = 0;
		socklen_t len = sizeof(error);
		(void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
		c.res = -error;
	} else {
		ssize_t sent = send(fd, r->send_data, r->send_len, MSG_NOSIGNAL | MSG_DONTWAIT);
		c.res = sent < 0 ? -errno : (int)sent;
		if (c.res == -EAGAIN)
			return r;
	}
	r->out_kind = OP_NONE;
	return dispatched(e, r, &c);
}

static void on_event(struct epoll *e, const struct epoll_event *ev)
{
	int fd = (int)(uint32_t)ev->data.u64;
	LB_ASSERT(has_record(e, fd)); /* each registered descriptor has a record */
	struct record *r = record_at(e, fd);

	if (r->generation != (uint32_t)(ev->data.u64 >> 32))
		return; /* the descriptor of this event was closed */
	if (ev->events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		r->is_ready_in = true;
	if (ev->events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		r->is_ending = true;
	if (r->is_ready_in && r->in_kind != OP_NONE)
		queue_run(e, fd, r);
	/* A connect is over when the socket is writable or has an error. */
	if (r->out_kind != OP_NONE && ev->events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		r = complete_out(e, fd, r);
	if (r != NULL)
		complete_polls(e, r, ev->events);
}

static int epoll_wait_turn(struct loop *l, uint64_t wait_ms)
{
	struct epoll *e = epoll_of(l);
	int timeout = wait_ms == UINT64_MAX ? -1 : wait_ms > INT32_MAX ? INT32_MAX : (int)wait_ms;
	int n = 0;

	if (e->n_run > 0)
		timeout = 0;
	e->has_skipped = l->n_posted > 0 && !e->has_skipped;
	if (!e->has_skipped)
		n = epoll_wait(e->fd, e->events, MAX_EVENTS, timeout);
	loop_tick(l);
	if (n < 0)
		return errno == EINTR ? 0 : -errno;

	/* Reserves a small buffer for each descriptor that may receive. When memory is short, a
	 * receive without a buffer completes with -ENOBUFS. */
	(void)buf_reserve(l->bufs, BUF_SMALL, (uint32_t)n + (uint32_t)e->n_run);
	for (int i = 0; i < n; i++)
		on_event(e, &e->events[i]);
	run_queue(e);
	return 0;
}

/* Lays no buffers out, because a receive takes a buffer from the pool when bytes are there. Large
 * buffers are reserved for such receives. */
static void epoll_refill(struct loop *l)
{
	(void)buf_reserve(l->bufs, BUF_LARGE, TURN_BUFS);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void epoll_free(struct loop *l)
{
	struct epoll *e = epoll_of(l);

	for (size_t i = 0; i < e->n_pages; i++)
		free(e->pages[i]);
	free(e->pages);
	free(e->run);
	(void)close(e->fd);
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
	.poll_room = epoll_poll_room,
	.cancel_room = epoll_cancel,
	.adopt = epoll_adopt,
	.socket = epoll_socket,
	.setsockopt = sys_setsockopt,
	.set_option = sys_set_option,
	.getsockopt = sys_getsockopt,
	.bind = sys_bind,
	.listen = sys_listen,
	.sockname = sys_sockname,
	.accept_now = epoll_accept_now,
	.shutdown = sys_shutdown,
	.close = epoll_close,
	.pipe = epoll_pipe,
	.splice = sys_splice,
	.pass_fd = epoll_pass_fd,
	.take_fd = epoll_take_fd,
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
