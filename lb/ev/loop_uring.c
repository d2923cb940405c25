/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The io_uring engine.
 *
 * One io_uring_enter(2) per turn submits all that was started and waits. The ring is private to its
 * thread (SINGLE_ISSUER, DEFER_TASKRUN): completions are made only inside that call. Receives are
 * multishot and pick their buffers from a ring per class that is laid out here:
 *
 *   buffer pool --refill()--> [slot: bid -> buf] --kernel fills--> completion --> handler
 *        ^                                                                          |
 *        +---------------------------- buf_put() -----------------------------------+
 *
 * Nothing is given to the ring that the kernel would hand to a thread of its own (splice,
 * shutdown): that thread would share this thread's descriptor table. Those are plain calls (sys.c).
 *
 * Thread: the loop's. user_data is the operation's tag; 0 marks what nobody waits for.
 */
#include "ev/loop_priv.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#define SQ_ENTRIES 1024 /* a turn that starts more submits early */
#define CQ_ENTRIES 8192
#define DEFAULT_SMALL_BUFS 256
#define LARGE_BUFS 8
/* Of a ring's entries a part is laid out, as long as a turn takes fewer than half of it: one of
 * LEAST_PART, but LEAST_LAID. Guesses. */
#define LEAST_PART 8
#define LEAST_LAID 4
#define QUIET_TURNS 1024 /* that took next to nothing, until it is halved; a guess */
/* A completion names a buffer but not its ring: ids of large buffers carry this bit. */
#define BID_LARGE 0x8000u
/* What struct io_uring_sqe calls optlen since Linux 6.17: a cap over all a multishot receives. */
#define SQE_OPTLEN(sqe) ((sqe)->file_index)
/* setsockopt(2) as a command of the ring, since Linux 6.7; liburing 2.3 does not name it. */
#define CMD_SETSOCKOPT 3

/* The tag of the poll on room_fd, and what one such completion may bring; then others have theirs.
 */
#define TAG_ROOM tag_make(LOOP_CLASS_OWN, 1, 0)
#define TURN_ROOMS 256

#define SUBMIT_TRIES 1000 /* a kernel that takes nothing after so many has failed */

/* Copies that must live until the next submission: msghdr, iovec, addresses. */
#define SCRATCH_BYTES (64u << 10)

struct buf_ring {
	struct io_uring_buf_ring *ring; /* owns */
	struct buf **slot;              /* owns: by buffer id; the ring's reference, or NULL */
	uint16_t *vacant;               /* owns: ids whose slot is NULL */
	uint32_t n_vacant, n_entries;
	uint32_t n_wanted; /* to be laid out: none at first, then follows what a turn takes */
	uint32_t n_laid;   /* after the last refill */
	uint32_t n_quiet;  /* turns since that took more than next to nothing */
	bool is_warm;      /* something was received since the last trim */
};

struct uring {
	struct loop loop; /* first */
	struct io_uring ring;
	struct buf_ring bufs[BUF_N_CLASSES];
	bool has_recv_cap; /* the kernel bounds a multishot receive */
	bool has_options;  /* it knows CMD_SETSOCKOPT */
	int room_fd;       /* an epoll instance: sockets that loop_poll_room() waits for */
	uint32_t n_rooms;  /* of them */
	bool is_room_polled;
	uint32_t scratch_used;
	uint8_t *scratch; /* owns */
};

static struct uring *uring_of(struct loop *l)
{
	return (struct uring *)l;
}

/* ---- submission ------------------------------------------------------------------------------ */

/* The copies are the kernel's until every entry that may name one has been taken. */
static void scratch_reset(struct uring *u)
{
	if (io_uring_sq_ready(&u->ring) == 0)
		u->scratch_used = 0;
}

static void submit_early(struct uring *u)
{
	/*
	 * It may take a part, or say that it is busy: then again, with what has completed moved on.
	 * EAGAIN is a kernel without memory for requests, which needs a moment.
	 */
	for (int i = 0; i < SUBMIT_TRIES && io_uring_sq_ready(&u->ring) > 0; i++) {
		int r = i == 0 ? io_uring_submit(&u->ring)
			       : io_uring_submit_and_get_events(&u->ring);
		LB_ASSERT(r >= 0 || r == -EBUSY || r == -EAGAIN || r == -EINTR);
		if (r == -EAGAIN)
			(void)poll(NULL, 0, 1);
	}
	LB_ASSERT(io_uring_sq_ready(&u->ring) == 0);
	scratch_reset(u);
}

static size_t scratch_size(size_t n)
{
	return (n + 15) & ~(size_t)15;
}

/*
 * Makes room for that many more entries and for `n` bytes of copies. Nothing is submitted between
 * the two, or what the copy is for would be submitted after its memory was given to another.
 */
static void make_room(struct uring *u, unsigned n_entries, size_t n)
{
	if (io_uring_sq_space_left(&u->ring) < n_entries ||
	    u->scratch_used + scratch_size(n) > SCRATCH_BYTES)
		submit_early(u);
}

static struct io_uring_sqe *get_sqe(struct uring *u)
{
	make_room(u, 1, 0);
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
	LB_ASSERT(sqe != NULL);
	return sqe;
}

/* Memory that stays as it is until the entry got next is submitted. Call make_room() before. */
static void *scratch(struct uring *u, size_t n)
{
	void *p = u->scratch + u->scratch_used;

	u->scratch_used += (uint32_t)scratch_size(n);
	LB_ASSERT(u->scratch_used <= SCRATCH_BYTES);
	return p;
}

static void uring_accept(struct loop *l, int fd, enum accept_mode mode, op_tag tag)
{
	struct io_uring_sqe *sqe = get_sqe(uring_of(l));

	if (mode == ACCEPT_MANY)
		io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	else
		io_uring_prep_accept(sqe, fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	io_uring_sqe_set_data64(sqe, tag);
}

static void uring_connect(struct loop *l, int fd, const struct sockaddr *sa, socklen_t len,
			  op_tag tag)
{
	struct uring *u = uring_of(l);

	make_room(u, 1, len);
	struct sockaddr *copy = scratch(u, len);
	memcpy(copy, sa, len);
	struct io_uring_sqe *sqe = get_sqe(u);
	io_uring_prep_connect(sqe, fd, copy, len);
	io_uring_sqe_set_data64(sqe, tag);
}

static uint32_t buf_ring_least(const struct buf_ring *b);
static void buf_ring_refill(struct uring *u, enum buf_class size_class);

/*
 * A multishot receive goes on while less than its cap has come, so its last buffer may overshoot by
 * almost a buffer: it is armed with that much less. Near the cap, and on kernels that cannot bound
 * a multishot, a single receive takes no more than there is room for.
 */
static void uring_recv(struct loop *l, int fd, uint32_t cap, enum buf_class size_class, op_tag tag)
{
	struct uring *u = uring_of(l);
	uint32_t buf_bytes = size_class == BUF_SMALL ? BUF_SMALL_BYTES : BUF_LARGE_BYTES;

	if (u->bufs[size_class].n_wanted == 0) {
		u->bufs[size_class].n_wanted = buf_ring_least(&u->bufs[size_class]);
		buf_ring_refill(u, size_class);
	}

	struct io_uring_sqe *sqe = get_sqe(u);
	if (u->has_recv_cap && cap > buf_bytes) {
		io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
		SQE_OPTLEN(sqe) = cap - buf_bytes + 1;
	} else {
		io_uring_prep_recv(sqe, fd, NULL, cap < buf_bytes ? cap : buf_bytes, 0);
	}
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = (uint16_t)size_class;
	io_uring_sqe_set_data64(sqe, tag);
}

/*
 * A send that may wait is a poll for room, then a send that does not wait: were it to wait in the
 * kernel, the peer's FIN would have it tried again 128 times, and then by a thread of the kernel's
 * own, which stands still with it (docs/decisions, 0014). Both have the tag, one completes: the
 * send, or the poll where it is cancelled.
 */
static void prep_wait(struct uring *u, int fd, op_tag tag)
{
	struct io_uring_sqe *sqe = get_sqe(u);

	io_uring_prep_poll_add(sqe, fd, POLLOUT);
	io_uring_sqe_set_data64(sqe, tag);
	sqe->flags |= IOSQE_IO_LINK | IOSQE_CQE_SKIP_SUCCESS;
}

static void uring_send(struct loop *l, int fd, const struct iovec *iov, int n, enum send_mode mode,
		       op_tag tag)
{
	const unsigned flags = MSG_NOSIGNAL | MSG_DONTWAIT;
	struct uring *u = uring_of(l);
	struct {
		struct msghdr msg;
		struct iovec iov[LOOP_IOV_MAX];
	} *copy = NULL;

	make_room(u, 2, n == 1 ? 0 : sizeof(*copy));
	if (mode == SEND_WAIT)
		prep_wait(u, fd, tag);
	if (n == 1) {
		struct io_uring_sqe *sqe = get_sqe(u);
		io_uring_prep_send(sqe, fd, iov[0].iov_base, iov[0].iov_len, (int)flags);
		io_uring_sqe_set_data64(sqe, tag);
		return;
	}

	copy = scratch(u, sizeof(*copy));
	copy->msg = (struct msghdr){ .msg_iov = copy->iov, .msg_iovlen = (size_t)n };
	memcpy(copy->iov, iov, (size_t)n * sizeof(*iov));

	struct io_uring_sqe *sqe = get_sqe(u);
	io_uring_prep_sendmsg(sqe, fd, &copy->msg, flags);
	io_uring_sqe_set_data64(sqe, tag);
}

static void uring_poll(struct loop *l, int fd, uint32_t events, op_tag tag)
{
	struct io_uring_sqe *sqe = get_sqe(uring_of(l));

	io_uring_prep_poll_add(sqe, fd, events);
	io_uring_sqe_set_data64(sqe, tag);
}

static void uring_cancel(struct loop *l, int fd, op_tag tag)
{
	struct io_uring_sqe *sqe = get_sqe(uring_of(l));

	(void)fd;
	io_uring_prep_cancel64(sqe, tag, 0);
	io_uring_sqe_set_data64(sqe, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

static void uring_close(struct loop *l, int fd)
{
	struct io_uring_sqe *sqe = get_sqe(uring_of(l));

	io_uring_prep_close(sqe, fd);
	io_uring_sqe_set_data64(sqe, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

/* `value` stays where it is until the entry is submitted. */
static void prep_option(struct io_uring_sqe *sqe, int fd, int level, int name, const void *value,
			socklen_t len)
{
	uint32_t what[2] = { (uint32_t)level, (uint32_t)name };

	io_uring_prep_rw(IORING_OP_URING_CMD, sqe, fd, NULL, 0, 0);
	sqe->cmd_op = CMD_SETSOCKOPT;
	memcpy(&sqe->addr, what, sizeof(what));
	sqe->addr3 = (uint64_t)(uintptr_t)value;
	SQE_OPTLEN(sqe) = len;
}

static void uring_set_option(struct loop *l, int fd, int level, int name, const void *value,
			     socklen_t len)
{
	struct uring *u = uring_of(l);

	if (!u->has_options) {
		sys_set_option(l, fd, level, name, value, len);
		return;
	}
	make_room(u, 1, len);
	void *copy = scratch(u, len);
	memcpy(copy, value, len);
	struct io_uring_sqe *sqe = get_sqe(u);
	prep_option(sqe, fd, level, name, copy, len);
	io_uring_sqe_set_data64(sqe, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

/* ---- room where the peer has sent its FIN ---------------------------------------------------- */

/*
 * A poll of the ring's always asks for POLLRDHUP, too, and so fires at once and for ever where the
 * peer has sent its FIN. epoll asks for what it is told. The ring polls the epoll instance, each of
 * whose sockets is there for one event:
 *
 *   socket --EPOLLOUT, once--> room_fd --POLLIN--> the ring: room_ready()
 */
static void poll_rooms(struct uring *u)
{
	if (u->is_room_polled || u->n_rooms == 0)
		return;
	struct io_uring_sqe *sqe = get_sqe(u);
	io_uring_prep_poll_add(sqe, u->room_fd, POLLIN);
	io_uring_sqe_set_data64(sqe, TAG_ROOM);
	u->is_room_polled = true;
}

static void uring_poll_room(struct loop *l, int fd, op_tag tag)
{
	struct uring *u = uring_of(l);
	struct epoll_event ev = { .events = EPOLLOUT | EPOLLONESHOT, .data.u64 = tag };
	int r = epoll_ctl(u->room_fd, EPOLL_CTL_MOD, fd, &ev);

	if (r < 0 && errno == ENOENT)
		r = epoll_ctl(u->room_fd, EPOLL_CTL_ADD, fd, &ev);
	if (r < 0) {
		loop_post(l, &(struct completion){ .tag = tag, .res = -errno });
		return;
	}
	u->n_rooms++;
	poll_rooms(u);
}

static void uring_cancel_room(struct loop *l, int fd, op_tag tag)
{
	struct uring *u = uring_of(l);

	/* It is not there where it was cancelled before, or could not be added. */
	if (epoll_ctl(u->room_fd, EPOLL_CTL_DEL, fd, NULL) < 0)
		return;
	u->n_rooms--;
	loop_post(l, &(struct completion){ .tag = tag, .res = -ECANCELED });
}

/* One event at a time, so that none is in hand when a handler cancels its wait. */
static void room_ready(struct uring *u)
{
	struct epoll_event ev;

	u->is_room_polled = false;
	for (int i = 0; i < TURN_ROOMS && epoll_wait(u->room_fd, &ev, 1, 0) == 1; i++) {
		struct completion c = { .tag = ev.data.u64, .res = (int)ev.events };
		u->n_rooms--;
		loop_dispatch(&u->loop, &c);
	}
	poll_rooms(u);
}

/* ---- buffer rings ---------------------------------------------------------------------------- */

static uint32_t buf_ring_laid(const struct buf_ring *b)
{
	return b->n_entries - b->n_vacant;
}

static uint32_t buf_ring_least(const struct buf_ring *b)
{
	uint32_t n = b->n_entries / LEAST_PART;

	return n > LEAST_LAID ? n : LEAST_LAID < b->n_entries ? LEAST_LAID : b->n_entries;
}

static int buf_ring_open(struct uring *u, enum buf_class size_class)
{
	struct buf_ring *b = &u->bufs[size_class];
	size_t bytes = b->n_entries * sizeof(struct io_uring_buf);
	void *mem = NULL;

	b->slot = calloc(b->n_entries, sizeof(*b->slot));
	b->vacant = calloc(b->n_entries, sizeof(*b->vacant));
	if (b->slot == NULL || b->vacant == NULL || posix_memalign(&mem, 4096, bytes) != 0)
		return -ENOMEM;
	memset(mem, 0, bytes);

	struct io_uring_buf_reg reg = {
		.ring_addr = (uint64_t)(uintptr_t)mem,
		.ring_entries = b->n_entries,
		.bgid = (uint16_t)size_class,
	};
	int r = io_uring_register_buf_ring(&u->ring, &reg, 0);
	if (r < 0) {
		free(mem);
		return r;
	}
	b->ring = mem;
	io_uring_buf_ring_init(b->ring);
	for (uint32_t i = 0; i < b->n_entries; i++)
		b->vacant[b->n_vacant++] = (uint16_t)(b->n_entries - 1 - i);
	return 0;
}

/*
 * The kernel takes the buffers in turn, so whatever is laid out is memory in use and lines in the
 * cache, however little is received: no more is laid out than busy turns need.
 */
static void buf_ring_adapt(struct buf_ring *b)
{
	uint32_t n_taken = b->n_laid - buf_ring_laid(b);

	if (n_taken * 2 > b->n_wanted && b->n_wanted < b->n_entries)
		b->n_wanted *= 2;
	if (n_taken * 8 > b->n_wanted) {
		b->n_quiet = 0;
	} else if (++b->n_quiet == QUIET_TURNS) {
		b->n_quiet = 0;
		if (b->n_wanted > buf_ring_least(b))
			b->n_wanted /= 2;
	}
}

/* Lays free buffers into vacant slots; more are reserved from the pool where it has too few. */
static void buf_ring_refill(struct uring *u, enum buf_class size_class)
{
	struct buf_ring *b = &u->bufs[size_class];
	unsigned id_bits = size_class == BUF_LARGE ? BID_LARGE : 0;
	int mask = io_uring_buf_ring_mask(b->n_entries);
	int n = 0;

	buf_ring_adapt(b);
	if (buf_ring_laid(b) < b->n_wanted)
		(void)buf_reserve(u->loop.bufs, size_class, b->n_wanted - buf_ring_laid(b));
	while (buf_ring_laid(b) < b->n_wanted) {
		struct buf *buf = buf_get(u->loop.bufs, size_class);
		if (buf == NULL)
			break;
		uint16_t bid = b->vacant[--b->n_vacant];
		b->slot[bid] = buf;
		io_uring_buf_ring_add(b->ring, buf->data, buf->cap, (uint16_t)(bid | id_bits), mask,
				      n++);
	}
	if (n > 0)
		io_uring_buf_ring_advance(b->ring, n);
	b->n_laid = buf_ring_laid(b);
}

static struct buf *buf_ring_take(struct uring *u, unsigned bid, uint32_t len)
{
	struct buf_ring *b = &u->bufs[bid & BID_LARGE ? BUF_LARGE : BUF_SMALL];

	bid &= BID_LARGE - 1;
	LB_ASSERT(bid < b->n_entries && b->slot[bid] != NULL);
	struct buf *buf = b->slot[bid];
	b->slot[bid] = NULL;
	b->vacant[b->n_vacant++] = (uint16_t)bid;
	b->is_warm = true;
	buf->off = 0;
	buf->len = len;
	return buf;
}

static void buf_ring_close(struct uring *u, enum buf_class size_class)
{
	struct buf_ring *b = &u->bufs[size_class];

	if (b->ring != NULL) {
		(void)io_uring_unregister_buf_ring(&u->ring, size_class);
		for (uint32_t i = 0; i < b->n_entries; i++)
			if (b->slot[i] != NULL)
				buf_put(u->loop.bufs, b->slot[i]);
	}
	free(b->ring);
	free(b->slot);
	free(b->vacant);
}

static void uring_refill(struct loop *l)
{
	struct uring *u = uring_of(l);

	for (int size_class = 0; size_class < BUF_N_CLASSES; size_class++)
		if (u->bufs[size_class].ring != NULL)
			buf_ring_refill(u, size_class);
}

static bool uring_has_spare(const struct loop *l)
{
	const struct uring *u = (const struct uring *)l;

	return u->bufs[BUF_SMALL].is_warm || u->bufs[BUF_LARGE].is_warm;
}

static void uring_trim(struct loop *l)
{
	struct uring *u = uring_of(l);

	for (int size_class = 0; size_class < BUF_N_CLASSES; size_class++) {
		struct buf_ring *b = &u->bufs[size_class];
		if (!b->is_warm)
			continue;
		for (uint32_t i = 0; i < b->n_entries; i++)
			if (b->slot[i] != NULL)
				buf_cool(b->slot[i]);
		b->n_wanted = buf_ring_least(b);
		b->is_warm = false;
	}
	if (u->scratch_used == 0)
		(void)madvise(u->scratch, SCRATCH_BYTES, MADV_DONTNEED);
}

static uint32_t uring_n_bufs(const struct loop *l, enum buf_class size_class)
{
	const struct buf_ring *b = &((const struct uring *)l)->bufs[size_class];

	if (b->n_wanted > 0)
		return buf_ring_laid(b);
	return buf_is_available(l->bufs, size_class) ? buf_ring_least(b) : 0;
}

/* ---- completion ------------------------------------------------------------------------------ */

static void dispatch_cqe(struct uring *u, const struct io_uring_cqe *cqe)
{
	struct completion c = {
		.tag = cqe->user_data,
		.res = cqe->res,
		.more = cqe->flags & IORING_CQE_F_MORE,
	};

	if (cqe->flags & IORING_CQE_F_BUFFER) {
		unsigned bid = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
		uint32_t len = cqe->res > 0 ? (uint32_t)cqe->res : 0;
		c.buf = buf_ring_take(u, bid, len);
		if (len == 0) { /* some kernels give one to an end or an error, too */
			buf_put(u->loop.bufs, c.buf);
			c.buf = NULL;
		}
	}
	loop_dispatch(&u->loop, &c);
}

static int uring_wait(struct loop *l, uint64_t wait_ms)
{
	struct uring *u = uring_of(l);
	struct io_uring_cqe *cqe;
	int r;

	if (wait_ms == 0) {
		r = io_uring_submit_and_get_events(&u->ring);
	} else if (wait_ms == UINT64_MAX) {
		r = io_uring_submit_and_wait(&u->ring, 1);
	} else {
		struct __kernel_timespec ts = {
			.tv_sec = (long long)(wait_ms / 1000),
			.tv_nsec = (long long)(wait_ms % 1000) * 1000000,
		};
		r = io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &ts, NULL);
	}
	scratch_reset(u);
	loop_tick(l);
	if (r < 0 && r != -ETIME && r != -EINTR && r != -EBUSY && r != -EAGAIN)
		return r;

	/*
	 * What a handler starts may be submitted early and complete at once; such completions are
	 * still of this turn, but no more than a ring of them, so that timers get their turn.
	 */
	for (unsigned n = 0; n < CQ_ENTRIES && io_uring_peek_cqe(&u->ring, &cqe) == 0; n++) {
		struct io_uring_cqe copy = *cqe;
		io_uring_cqe_seen(&u->ring, cqe);
		if (copy.user_data == TAG_ROOM)
			room_ready(u);
		else if (copy.user_data != 0)
			dispatch_cqe(u, &copy);
	}
	return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void uring_free(struct loop *l)
{
	struct uring *u = uring_of(l);

	for (int size_class = 0; size_class < BUF_N_CLASSES; size_class++)
		buf_ring_close(u, size_class);
	io_uring_queue_exit(&u->ring);
	if (u->room_fd >= 0)
		(void)close(u->room_fd);
	loop_deinit(l);
	free(u->scratch);
	free(u);
}

static const struct loop_ops uring_ops = {
	.name = "io_uring",
	.free = uring_free,
	.refill = uring_refill,
	.has_spare = uring_has_spare,
	.trim = uring_trim,
	.n_bufs = uring_n_bufs,
	.wait = uring_wait,
	.clock_ns = sys_clock_ns,
	.wall_ns = sys_wall_ns,
	.random = sys_random,
	.accept = uring_accept,
	.connect = uring_connect,
	.recv = uring_recv,
	.send = uring_send,
	.poll = uring_poll,
	.cancel = uring_cancel,
	.poll_room = uring_poll_room,
	.cancel_room = uring_cancel_room,
	.socket = sys_socket,
	.setsockopt = sys_setsockopt,
	.set_option = uring_set_option,
	.getsockopt = sys_getsockopt,
	.bind = sys_bind,
	.listen = sys_listen,
	.sockname = sys_sockname,
	.accept_now = sys_accept_now,
	.shutdown = sys_shutdown,
	.close = uring_close,
	.pipe = sys_pipe,
	.splice = sys_splice,
	.pass_fd = sys_pass_fd,
	.take_fd = sys_take_fd,
};

/* Submits the one entry that was prepared and takes its answer. */
static int answer_of(struct uring *u, struct io_uring_cqe *ret)
{
	struct io_uring_cqe *cqe;
	int r;

	do /* again where a stop or a tracer has broken the wait off: the answer comes */
		r = io_uring_submit_and_wait(&u->ring, 1);
	while (r == -EINTR || (r >= 0 && io_uring_cq_ready(&u->ring) == 0));
	if (r < 0)
		return r;
	r = io_uring_peek_cqe(&u->ring, &cqe);
	LB_ASSERT(r == 0);
	*ret = *cqe;
	io_uring_cqe_seen(&u->ring, cqe);
	return 0;
}

/* Runs one multishot receive, capped at a byte, on a socket that holds one. */
static int probe_recv_cap(struct uring *u, const int fds[2])
{
	struct io_uring_cqe cqe;

	if (send(fds[0], "x", 1, MSG_NOSIGNAL) != 1)
		return -errno;
	struct io_uring_sqe *sqe = get_sqe(u);
	io_uring_prep_recv_multishot(sqe, fds[1], NULL, 0, 0);
	SQE_OPTLEN(sqe) = 1;
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = BUF_SMALL;
	io_uring_sqe_set_data64(sqe, 1);
	int r = answer_of(u, &cqe);
	if (r < 0)
		return r;

	u->has_recv_cap = cqe.res == 1 && !(cqe.flags & IORING_CQE_F_MORE);
	if (cqe.flags & IORING_CQE_F_BUFFER)
		buf_put(u->loop.bufs, buf_ring_take(u, cqe.flags >> IORING_CQE_BUFFER_SHIFT, 0));
	/* A kernel that took the byte but not the cap: the operation is still armed, end it. */
	if (cqe.flags & IORING_CQE_F_MORE)
		(void)shutdown(fds[1], SHUT_RDWR);
	return 0;
}

static int probe_options(struct uring *u, int fd)
{
	static const int on = 1;
	struct io_uring_cqe cqe;
	struct io_uring_sqe *sqe = get_sqe(u);

	prep_option(sqe, fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	io_uring_sqe_set_data64(sqe, 1);
	int r = answer_of(u, &cqe);
	u->has_options = r == 0 && cqe.res == 0;
	return r;
}

/* What this kernel can do that others cannot is tried, not asked for by its version. */
static int probe(struct uring *u)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -errno;
	int r = probe_options(u, fds[0]);
	if (r == 0)
		r = probe_recv_cap(u, fds);
	(void)close(fds[0]);
	(void)close(fds[1]);
	return r;
}

/* What the kernel's answer to io_uring_setup(2) means to the person who asked for io_uring. */
static int explain_setup(struct err *e, int r)
{
	if (r == -ENOSYS)
		return err_add(e, r, "io_uring: this kernel has none");
	if (r == -EPERM || r == -EACCES)
		return err_add(e, r,
			       "io_uring: not allowed here (kernel.io_uring_disabled, "
			       "or a container's seccomp profile)");
	if (r == -EINVAL)
		return err_add(e, r, "io_uring: this kernel is too old, Linux 6.1 is needed");
	return err_add(e, r, "io_uring: %s", strerror(-r));
}

int loop_uring_new(const struct loop_opts *o, struct err *e, struct loop **ret)
{
	struct uring *u = calloc(1, sizeof(*u));
	if (u == NULL)
		return err_add(e, -ENOMEM, "io_uring: out of memory");

	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
			 IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
		.cq_entries = CQ_ENTRIES,
	};
	int r = io_uring_queue_init_params(SQ_ENTRIES, &u->ring, &params);
	if (r < 0) {
		free(u);
		return explain_setup(e, r);
	}
	(void)io_uring_register_ring_fd(&u->ring); /* spares a look-up; may fail */

	u->bufs[BUF_SMALL].n_entries = o->n_ring_bufs ? o->n_ring_bufs : DEFAULT_SMALL_BUFS;
	u->bufs[BUF_LARGE].n_entries = LARGE_BUFS;
	u->scratch = aligned_alloc(4096, SCRATCH_BYTES); /* pages of its own, to be given back */
	u->room_fd = epoll_create1(EPOLL_CLOEXEC);
	int room_error = u->room_fd < 0 ? -errno : 0;
	r = u->scratch == NULL ? -ENOMEM : loop_init(&u->loop, &uring_ops, o);
	if (r == 0)
		r = room_error;
	if (r == 0)
		r = buf_ring_open(u, BUF_SMALL);
	if (r == 0)
		r = buf_ring_open(u, BUF_LARGE); /* now: later there may be no memory */
	if (r == 0) {
		u->bufs[BUF_SMALL].n_wanted = buf_ring_least(&u->bufs[BUF_SMALL]);
		buf_ring_refill(u, BUF_SMALL);
		r = probe(u);
	}
	if (r < 0) {
		uring_free(&u->loop);
		return err_add(e, r, "io_uring: %s", strerror(-r));
	}
	*ret = &u->loop;
	return 0;
}
