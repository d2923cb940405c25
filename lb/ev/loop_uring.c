/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The io_uring engine.
 *
 * Terms. The ring is the pair of queues that this thread shares with the kernel: an entry (SQE) in
 * the submission queue starts an operation, an entry (CQE) in the completion queue tells its
 * result. A buffer ring is a third queue, one per size class: it names free buffers, out of which
 * the kernel picks one for each receive. To lay a buffer out is to put it into the buffer ring; its
 * id (bid) is its place in buf_ring.slot. Scratch is memory for what an entry points to (addresses,
 * msghdr).
 *
 * Submission. An operation of the loop becomes one entry, or two linked ones for a send that waits.
 * uring_wait() submits all entries of a turn and waits, with one io_uring_enter(2). When the
 * submission queue or the scratch memory is full before the end of a turn, make_space() submits
 * what there is. The kernel copies what an entry points to when it takes the entry, so scratch
 * memory is free again as soon as the submission queue is empty.
 *
 * Late entries. When the kernel has no memory to take entries (-EAGAIN) in the middle of a turn,
 * all later entries of the turn go into an array, `late`. From the next wait on they are submitted,
 * in their order, as many as the kernel takes. A wait in which the kernel takes no entry at all is
 * short (wait_refused()). So the thread never blocks outside of its wait, never turns without a
 * pause, and goes on dispatching completions, which give memory back.
 *
 * Completion. The ring is made with SINGLE_ISSUER and DEFER_TASKRUN: only this thread uses it, and
 * the kernel makes completions only while this thread is inside io_uring_enter(2). So a handler is
 * never run at the same time as the kernel changes what the handler looks at. user_data of an entry
 * is the operation's tag; an entry whose user_data is 0 has no completion that anything waits for.
 *
 * Receives. A receive is multishot: one entry gives a completion for every piece that arrives. The
 * way of a buffer:
 *
 *   buffer pool --buf_ring_refill()--> slot[bid] --kernel fills it--> completion --> handler
 *        ^                                                                              |
 *        +------------------------------- buf_put() ------------------------------------+
 *
 * Between turns buf_ring_refill() puts free buffers into vacant slots. buf_ring_adapt() follows how
 * many the turns need, because each buffer that is laid out is memory in use.
 *
 * Operations that the kernel would hand to a thread of its own (splice, shutdown) are not given to
 * the ring, because such a thread would share this thread's descriptor table. They are plain calls
 * (sys.c).
 *
 * Thread: the loop's. Hot.
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

#define SQ_ENTRIES 1024 /* entries; a turn that starts more operations submits early */
#define CQ_ENTRIES 8192
#define DEFAULT_SMALL_BUFS 256
#define LARGE_BUFS 8
/* At least 1 / LEAST_PART of the buffers that a buffer ring can hold are laid out, and at least
 * LEAST_LAID buffers. When a turn takes more than half of them, more are laid out. Guesses. */
#define LEAST_PART 8
#define LEAST_LAID 4
/* When QUIET_TURNS turns in a row took at most an eighth of n_wanted each, n_wanted is halved. A
 * guess. */
#define QUIET_TURNS 1024
/* A completion names a buffer's id but not its buffer ring, so the ids of large buffers carry this
 * bit. */
#define BID_LARGE 0x8000u
/* The field of struct io_uring_sqe that newer headers name optlen. It is the length of an option
 * and, since Linux 6.17, a cap on the bytes of all completions of a multishot receive. */
#define SQE_OPTLEN(sqe) ((sqe)->file_index)
/* setsockopt(2) as a command of the ring, since Linux 6.7; liburing 2.3 does not name it. */
#define CMD_SETSOCKOPT 3

/* The tag of the poll on room_fd, and the most events of room_fd that are dispatched after one
 * completion of this poll. */
#define TAG_ROOM tag_make(LOOP_CLASS_OWN, 1, 0)
#define TURN_ROOMS 256

#define SUBMIT_TRIES 1000 /* so many failed tries are taken for a bug */
#define LATE_WAIT_MS 1    /* longest wait while the kernel refuses entries; a guess */
#define LATE_MAX 65536u   /* late entries; a guess: 4 MiB of addresses */

/* Scratch memory: copies that must live until the next submission (msghdr, iovec, addresses). */
#define SCRATCH_SOFT_BYTES (64u << 10) /* when more is in use, make_space() submits */
#define SCRATCH_BYTES (4u << 20)       /* all may be used while entries are late */

struct buf_ring {
	struct io_uring_buf_ring *ring; /* owns */
	struct buf **slot;              /* owns: by id, the buffer that is laid out, or NULL */
	uint16_t *vacant;               /* owns: ids whose slot is NULL */
	uint32_t n_vacant, n_entries;
	/* The number of buffers to lay out (buf_ring_adapt()); 0 until a receive wants this size
	 * class. */
	uint32_t n_wanted;
	uint32_t n_laid;  /* how many buffers were laid out when the last refill ended */
	uint32_t n_quiet; /* turns in a row that took at most an eighth of n_wanted */
	bool is_warm;     /* bytes were received since the last trim */
};

struct uring {
	struct loop loop; /* must be first, because uring_of() casts */
	struct io_uring ring;
	struct buf_ring bufs[BUF_N_CLASSES];
	bool has_recv_cap; /* the kernel caps the bytes of a multishot receive */
	bool has_options;  /* the kernel knows CMD_SETSOCKOPT */
	int room_fd;       /* an epoll instance with the sockets of loop_poll_room() */
	uint32_t n_rooms;  /* sockets in room_fd whose event has not come yet */
	bool is_room_polled;
	uint32_t scratch_used;
	uint8_t *scratch; /* owns: SCRATCH_BYTES, mapped */
	bool is_late;     /* entries go to `late` until the next wait */
	uint32_t n_late;
	struct io_uring_sqe *late; /* owns: LATE_MAX, mapped */
};

static struct uring *uring_of(struct loop *l)
{
	return (struct uring *)l;
}

/* ---- submission ------------------------------------------------------------------------------ */

/* Frees the scratch memory when the kernel has taken every entry, so that no entry points to it. */
static void scratch_reset(struct uring *u)
{
	if (io_uring_sq_ready(&u->ring) == 0 && u->n_late == 0)
		u->scratch_used = 0;
}

/* Submits what is in the submission queue. Returns 0, or -EAGAIN when the kernel has no memory for
 * an entry. */
static int submit(struct uring *u)
{
	/*
	 * When the kernel takes only some entries or answers -EBUSY, submit again, after the kernel
	 * has moved completions to the completion queue.
	 */
	for (int i = 0; i < SUBMIT_TRIES && io_uring_sq_ready(&u->ring) > 0; i++) {
		int r = i == 0 ? io_uring_submit(&u->ring)
			       : io_uring_submit_and_get_events(&u->ring);
		LB_ASSERT(r >= 0 || r == -EBUSY || r == -EAGAIN || r == -EINTR);
		if (r == -EAGAIN && i > 0)
			return r;
	}
	LB_ASSERT(io_uring_sq_ready(&u->ring) == 0);
	scratch_reset(u);
	return 0;
}

/*
 * Moves late entries to the submission queue and submits them, as many as the kernel takes. Linked
 * entries are moved together, because a submission ends a chain of links.
 */
static LB_COLD void submit_late(struct uring *u)
{
	uint32_t at = 0;
	int r = 0;

	while (r == 0 && at < u->n_late) {
		uint32_t space = io_uring_sq_space_left(&u->ring);
		uint32_t n = space < u->n_late - at ? space : u->n_late - at;
		if (n > 0 && u->late[at + n - 1].flags & IOSQE_IO_LINK)
			n--;
		for (uint32_t i = 0; i < n; i++) {
			struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
			LB_ASSERT(sqe != NULL);
			*sqe = u->late[at++];
		}
		r = submit(u);
	}
	LB_ASSERT(at <= u->n_late);
	u->n_late -= at;
	memmove(u->late, u->late + at, u->n_late * sizeof(*u->late));
	scratch_reset(u);
}

static size_t scratch_size(size_t n)
{
	return (n + 15) & ~(size_t)15;
}

/* make_space() while entries are late. When the array or the scratch memory is full, the kernel has
 * to take some of the late entries now. */
static LB_COLD void make_late_space(struct uring *u, unsigned n_entries, size_t n)
{
	for (int i = 0; i < SUBMIT_TRIES && (u->n_late + n_entries > LATE_MAX ||
					     u->scratch_used + scratch_size(n) > SCRATCH_BYTES);
	     i++)
		submit_late(u);
	LB_ASSERT(u->n_late + n_entries <= LATE_MAX);
}

/*
 * Makes space for `n_entries` more entries and for `n` bytes of scratch memory. The caller then
 * takes both without a submission in between: a submission would free the scratch memory before the
 * entry that points to it is submitted.
 */
static void make_space(struct uring *u, unsigned n_entries, size_t n)
{
	if (!u->is_late && (io_uring_sq_space_left(&u->ring) < n_entries ||
			    u->scratch_used + scratch_size(n) > SCRATCH_SOFT_BYTES))
		u->is_late = submit(u) < 0;
	if (u->is_late)
		make_late_space(u, n_entries, n);
}

/* Gives an entry for the caller to fill in. After make_space() for this entry, get_sqe() submits
 * nothing. */
static struct io_uring_sqe *get_sqe(struct uring *u)
{
	if (u->is_late || io_uring_sq_space_left(&u->ring) == 0)
		make_space(u, 1, 0);
	if (u->is_late) {
		LB_ASSERT(u->n_late < LATE_MAX);
		return &u->late[u->n_late++];
	}
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
	LB_ASSERT(sqe != NULL);
	return sqe;
}

/* Gives `n` bytes of scratch memory, which stay as they are until the next entry is submitted. To
 * be called after make_space(). */
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

	make_space(u, 1, len);
	struct sockaddr *copy = scratch(u, len);
	memcpy(copy, sa, len);
	struct io_uring_sqe *sqe = get_sqe(u);
	io_uring_prep_connect(sqe, fd, copy, len);
	io_uring_sqe_set_data64(sqe, tag);
}

static uint32_t buf_ring_least(const struct buf_ring *b);
static void buf_ring_refill(struct uring *u, enum buf_class size_class);

/*
 * A multishot receive goes on while fewer bytes than its cap have come, so its last buffer may
 * exceed the cap by almost a buffer. Therefore the kernel is told a cap that is lower by the size
 * of a buffer less one byte. When `cap` is at most a buffer, or the kernel does not cap multishot
 * receives, uring_recv() starts a receive for one completion, of at most `cap` bytes.
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
 * A send that may wait is a poll for POLLOUT, linked to a send that does not wait. If the send
 * itself waited in the kernel, then after the peer's FIN the kernel would try it 128 times and then
 * hand it to a thread of its own, which blocks (docs/decisions, 0014). Both entries have the
 * operation's tag and one of them completes: the send, or the poll when the operation is cancelled.
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

	make_space(u, 2, n == 1 ? 0 : sizeof(*copy));
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

/* Fills in an entry that sets an option. *value must stay as it is until the entry is submitted. */
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
	make_space(u, 1, len);
	void *copy = scratch(u, len);
	memcpy(copy, value, len);
	struct io_uring_sqe *sqe = get_sqe(u);
	prep_option(sqe, fd, level, name, copy, len);
	io_uring_sqe_set_data64(sqe, 0);
	sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

/* ---- room where the peer has sent its FIN ---------------------------------------------------- */

/*
 * A poll of the ring always asks for POLLRDHUP, too, so after the peer's FIN every poll completes
 * at once. epoll reports POLLRDHUP only when asked for it. Therefore loop_poll_room() adds the
 * socket to an epoll instance, room_fd, for one EPOLLOUT, and the ring polls room_fd:
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

	/* epoll_ctl() fails when room_fd does not have `fd`: the wait was cancelled before, or
	 * could not begin. */
	if (epoll_ctl(u->room_fd, EPOLL_CTL_DEL, fd, NULL) < 0)
		return;
	LB_ASSERT(u->n_rooms > 0);
	u->n_rooms--;
	loop_post(l, &(struct completion){ .tag = tag, .res = -ECANCELED });
}

/* Dispatches the events of room_fd. Takes one event at a time, because a handler may cancel the
 * wait whose event would come next. */
static void room_ready(struct uring *u)
{
	struct epoll_event ev;

	LB_ASSERT(u->is_room_polled);
	u->is_room_polled = false;
	for (int i = 0; i < TURN_ROOMS && epoll_wait(u->room_fd, &ev, 1, 0) == 1; i++) {
		struct completion c = { .tag = ev.data.u64, .res = (int)ev.events };
		LB_ASSERT(u->n_rooms > 0);
		u->n_rooms--;
		loop_dispatch(&u->loop, &c);
	}
	poll_rooms(u);
}

/* ---- buffer rings ---------------------------------------------------------------------------- */

static uint32_t buf_ring_laid(const struct buf_ring *b)
{
	LB_ASSERT(b->n_vacant <= b->n_entries);
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
 * Makes n_wanted follow the number of buffers that a turn takes. The kernel takes the buffers of a
 * ring one after the other, so every buffer that is laid out is written to sooner or later, however
 * little is received, and then occupies memory and cache lines. Therefore no more buffers are laid
 * out than busy turns need.
 */
static void buf_ring_adapt(struct buf_ring *b)
{
	LB_ASSERT(buf_ring_laid(b) <= b->n_laid);
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

/* Lays free buffers out in vacant slots until n_wanted are laid out. When the pool has too few free
 * buffers, the pool maps more first. */
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
		LB_ASSERT(b->n_vacant > 0);
		uint16_t bid = b->vacant[--b->n_vacant];
		LB_ASSERT(bid < b->n_entries && b->slot[bid] == NULL);
		b->slot[bid] = buf;
		io_uring_buf_ring_add(b->ring, buf->data, buf->cap, (uint16_t)(bid | id_bits), mask,
				      n++);
	}
	if (n > 0)
		io_uring_buf_ring_advance(b->ring, n);
	b->n_laid = buf_ring_laid(b);
	LB_ASSERT(b->n_wanted <= b->n_entries);
}

static struct buf *buf_ring_take(struct uring *u, unsigned bid, uint32_t len)
{
	struct buf_ring *b = &u->bufs[bid & BID_LARGE ? BUF_LARGE : BUF_SMALL];

	bid &= BID_LARGE - 1;
	LB_ASSERT(bid < b->n_entries && b->slot[bid] != NULL);
	struct buf *buf = b->slot[bid];
	LB_ASSERT(b->n_vacant < b->n_entries && len <= buf->cap);
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
	if (u->n_late == 0)
		(void)madvise(u->late, LATE_MAX * sizeof(*u->late), MADV_DONTNEED);
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
		if (len == 0) { /* some kernels give a buffer with an end or an error, too */
			buf_put(u->loop.bufs, c.buf);
			c.buf = NULL;
		}
	}
	loop_dispatch(&u->loop, &c);
}

static struct __kernel_timespec timespec_of(uint64_t ms)
{
	return (struct __kernel_timespec){
		.tv_sec = (long long)(ms / 1000),
		.tv_nsec = (long long)(ms % 1000) * 1000000,
	};
}

/* Submits what is in the submission queue and waits for a completion, with one system call. */
static int submit_and_wait(struct uring *u, uint64_t wait_ms)
{
	if (wait_ms == 0)
		return io_uring_submit_and_get_events(&u->ring);
	if (wait_ms == UINT64_MAX)
		return io_uring_submit_and_wait(&u->ring, 1);
	struct __kernel_timespec ts = timespec_of(wait_ms);
	struct io_uring_cqe *cqe;
	return io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &ts, NULL);
}

/*
 * Waits after the kernel has refused every entry. The refused call returned without a wait, so the
 * loop would call again and again while memory is short. This wait submits nothing, so it needs no
 * memory; the entries stay in the submission queue for the next turn.
 */
static LB_COLD int wait_refused(struct uring *u, uint64_t wait_ms)
{
	struct __kernel_timespec ts = timespec_of(wait_ms < LATE_WAIT_MS ? wait_ms : LATE_WAIT_MS);
	struct io_uring_cqe *cqe;

	return io_uring_wait_cqes(&u->ring, &cqe, 1, &ts, NULL);
}

static int uring_wait(struct loop *l, uint64_t wait_ms)
{
	struct uring *u = uring_of(l);
	struct io_uring_cqe *cqe;

	if (u->is_late) {
		submit_late(u);
		u->is_late = u->n_late > 0;
		wait_ms = u->is_late && wait_ms > LATE_WAIT_MS ? LATE_WAIT_MS : wait_ms;
	}
	int r = submit_and_wait(u, wait_ms);
	if (r == -EAGAIN && wait_ms > 0)
		r = wait_refused(u, wait_ms);
	scratch_reset(u);
	loop_tick(l);
	if (r < 0 && r != -ETIME && r != -EINTR && r != -EBUSY && r != -EAGAIN)
		return r;

	/*
	 * An operation that a handler starts may be submitted early and complete at once. Such
	 * completions are dispatched in this turn, too, but at most CQ_ENTRIES in all, so that
	 * timers fire in time.
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

/* Maps `bytes` without reserving memory: a page costs memory once it is written to. Returns NULL
 * when the mapping fails. */
static void *map(size_t bytes)
{
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void unmap(void *p, size_t bytes)
{
	if (p != NULL)
		(void)munmap(p, bytes);
}

static void uring_free(struct loop *l)
{
	struct uring *u = uring_of(l);

	for (int size_class = 0; size_class < BUF_N_CLASSES; size_class++)
		buf_ring_close(u, size_class);
	io_uring_queue_exit(&u->ring);
	if (u->room_fd >= 0)
		(void)close(u->room_fd);
	loop_deinit(l);
	unmap(u->scratch, SCRATCH_BYTES);
	unmap(u->late, LATE_MAX * sizeof(*u->late));
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

/* Submits the only entry in the submission queue and takes its completion. */
static int answer_of(struct uring *u, struct io_uring_cqe *ret)
{
	struct io_uring_cqe *cqe;
	int r;

	do /* again when a signal or a tracer has interrupted the wait: the completion will come */
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

/* Finds out whether the kernel caps a multishot receive: starts one with a cap of one byte, on a
 * socket that holds one byte. */
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
	/* When the kernel ignores the cap, the receive is still armed, and shutdown(2) ends it. */
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

/* Finds out what this kernel can do by trying it. The version would not tell, because distributions
 * add features to old versions. */
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

/* Reports an error of io_uring_setup(2) in words that tell what to change. */
static int explain_setup(struct err *e, int r)
{
	if (r == -ENOSYS)
		return err_add(e, r, "io_uring: this kernel does not support io_uring");
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
	/* This saves the kernel a look-up in each call. When it fails, nothing else changes. */
	(void)io_uring_register_ring_fd(&u->ring);

	u->bufs[BUF_SMALL].n_entries = o->n_ring_bufs ? o->n_ring_bufs : DEFAULT_SMALL_BUFS;
	u->bufs[BUF_LARGE].n_entries = LARGE_BUFS;
	u->scratch = map(SCRATCH_BYTES);
	u->late = map(LATE_MAX * sizeof(*u->late));
	u->room_fd = epoll_create1(EPOLL_CLOEXEC);
	int room_error = u->room_fd < 0 ? -errno : 0;
	r = u->scratch == NULL || u->late == NULL ? -ENOMEM : loop_init(&u->loop, &uring_ops, o);
	if (r == 0)
		r = room_error;
	if (r == 0)
		r = buf_ring_open(u, BUF_SMALL);
	if (r == 0)
		r = buf_ring_open(u, BUF_LARGE); /* now, because later memory may be short */
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
