/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The loop: the event loop of one thread, which reports the completion of operations.
 *
 * The loop makes every call that touches a descriptor, reads the clock or gets random bytes. The
 * folders above use the loop's calls and make no system call of their own, so that a simulated
 * engine can stand in for the kernel. Behind the loop is an engine, chosen at run time: io_uring
 * (loop_uring.c), epoll (loop_epoll.c), or the simulation of the tests.
 *
 * An operation is started with a tag and answered by completions with that tag, always from within
 * loop_run(), never from within the call that started it. The last completion of an operation has
 * `more` false; until then the kernel may use whatever was given to the operation. A tag names one
 * operation in flight at a time.
 *
 * A turn of the loop:
 *   1. free buffers are laid out for the engine; receives that waited for one are armed, in order
 *   2. the engine submits every operation started since, and waits, at most until the next timer
 *   3. the clock is read, once; when it has jumped, the engine looks for completions again
 *   4. each completion is given to the handler of its tag's class
 *   5. timers that are due fire
 *   6. the turn-end hook runs (the owner frees there what has ended in this turn)
 *
 * Thread: each loop belongs to the thread that made it. Other threads reach it through
 * mailbox_post() only. Layer: ev.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "ev/buf.h"
#include "ev/timer.h"
#include "util/assert.h"
#include "util/err.h"

/* ---- tags ------------------------------------------------------------------------------------ */

/*
 *  63      56 55      48 47                                0
 * +----------+----------+-----------------------------------+
 * |  class   |   kind   |  handle of the object (util/slab) |
 * +----------+----------+-----------------------------------+
 * Class 0 is the loop's own. The handler of a class says what its kinds mean.
 */
typedef uint64_t op_tag;

#define LOOP_N_CLASSES 16
#define LOOP_CLASS_OWN 0u
#define LOOP_CLASS_MAIL 1u /* the class of the mailbox's poll (mailbox_attach()) */

static inline op_tag tag_make(unsigned class_id, unsigned kind, uint64_t handle)
{
	LB_DASSERT(class_id < LOOP_N_CLASSES && kind < 256 && handle >> 48 == 0);
	return (uint64_t)class_id << 56 | (uint64_t)kind << 48 | handle;
}

static inline unsigned tag_class(op_tag t)
{
	return (unsigned)(t >> 56);
}

static inline unsigned tag_kind(op_tag t)
{
	return (unsigned)(t >> 48) & 0xff;
}

static inline uint64_t tag_handle(op_tag t)
{
	return t & 0xffffffffffffull;
}

/* ---- completions ----------------------------------------------------------------------------- */

struct completion {
	op_tag tag;
	int32_t res; /* the call's result or a negative errno; -ECANCELED after loop_cancel() */
	bool more;   /* the operation goes on: another completion with this tag will come */
	/* When a receive has res > 0: the received bytes, data[0] to data[res - 1]; else NULL. The
	 * handler owns this reference. */
	struct buf *buf;
};

/* Called on the loop's thread. */
typedef void (*loop_fn)(void *arg, const struct completion *c);

/* ---- the loop -------------------------------------------------------------------------------- */

enum loop_engine { LOOP_AUTO, LOOP_URING, LOOP_EPOLL, LOOP_SIM };

struct loop_ops;
struct recv_wait;

struct loop_opts {
	enum loop_engine engine;
	size_t buf_soft_bytes; /* ceiling of lent buffers, in bytes; 0: 16 MiB */
	uint32_t n_ring_bufs;  /* small buffers laid out at most; a power of two; 0: 256 */
};

/* How the loop lets its owner give back memory after a peak. Each call gives back a bounded
 * part. */
struct loop_upkeep {
	/* Called once a second, also in a busy loop: gives back memory that the period did not
	 * need. Returns false when there is more to give back; settle() is then called again
	 * soon. */
	bool (*settle)(void *arg);
	/* Called when no completion has come for a second, and again as long as has_spare() returns
	 * true. */
	void (*trim)(void *arg);
	bool (*has_spare)(void *arg);
};

struct loop {
	const struct loop_ops *ops;
	const char *owner; /* &loop_thread_id of the thread that made the loop */
	bool is_turning;   /* loop_turn() is running */
	uint64_t now_ns;   /* CLOCK_MONOTONIC, read once per turn */
	struct timer_wheel timers;
	struct buf_pool *bufs; /* owns */
	bool should_stop;
	uint64_t active_ms;  /* time of the last completion */
	uint64_t settle_ms;  /* time of the next buf_settle() */
	uint8_t random[256]; /* the kernel's random bytes, used from the end */
	uint32_t n_random;
	uint64_t n_dispatched; /* completions given to handlers */

	struct {
		loop_fn fn;
		void *arg;
	} handler[LOOP_N_CLASSES];
	void (*on_turn_end)(void *arg);
	void *turn_arg;
	const struct loop_upkeep *upkeep; /* borrows; NULL: none */
	void *upkeep_arg;
	uint64_t upkeep_ms; /* time of the next upkeep->settle() */

	/*
	 * private to loop.c: posted completions, and receives that wait for a buffer. Each array
	 * has n_ops elements (loop_reserve()).
	 */
	struct completion *posted; /* owns */
	struct recv_wait *waits;   /* owns: a queue, the oldest first */
	size_t n_posted, n_waits, n_ops;
	bool is_worn; /* an array was written to since the last trim */
};

/*
 * loop_new() - make a loop for this thread
 *
 * LOOP_AUTO takes io_uring when the kernel allows it, else epoll (loop_probe_uring() tells why). A
 * named engine that cannot run is an error, and `e` gets the reason. Returns 0 and sets *ret, or a
 * negative errno.
 */
int loop_new(const struct loop_opts *o, struct err *e, struct loop **ret) LB_MUST_CHECK;

/*
 * loop_reserve() - prepare for `n` operations in flight, so that none fails for want of memory
 *
 * A new loop is prepared for LOOP_OPS_MIN. Room for operations that is not used costs addresses,
 * not memory. Returns 0. When memory is short, returns -ENOMEM, and the loop stays prepared for as
 * many operations as before.
 */
int loop_reserve(struct loop *l, size_t n) LB_MUST_CHECK;
#define LOOP_OPS_MIN 4096u

/* Tells whether the kernel can run io_uring as lb needs it. Returns 0, or a negative errno with the
 * reason in `e`. */
int loop_probe_uring(struct err *e);

/* Frees the loop. No operation may be in flight but the mailbox's poll. NULL is fine. Returns
 * NULL. */
struct loop *loop_free(struct loop *l);

/* The name of the engine: "io_uring", "epoll" or "simulated". */
const char *loop_engine_name(const struct loop *l);

/* Lets fn(arg) handle the completions whose tag is of class `class_id` (1 to LOOP_N_CLASSES -
 * 1). */
void loop_set_handler(struct loop *l, unsigned class_id, loop_fn fn, void *arg);

/* Lets the loop call fn(arg) at the end of each turn. */
void loop_set_turn_end(struct loop *l, void (*fn)(void *arg), void *arg);

/*
 * loop_set_upkeep() - have the owner's memory given back after a peak, together with the loop's
 *
 * `u` and `arg` are borrowed.
 */
void loop_set_upkeep(struct loop *l, const struct loop_upkeep *u, void *arg);

/* Makes turns until loop_stop() is called. Returns 0, or a negative errno when the engine itself
 * failed. */
int loop_run(struct loop *l);

/* Makes one turn, which waits at most `max_wait_ms`. For tests and small tools. */
int loop_turn(struct loop *l, uint64_t max_wait_ms);

/* Makes loop_run() return at the end of this turn. */
void loop_stop(struct loop *l);

/* Only the address of this variable is used. The address differs from thread to thread, so it names
 * a thread. */
extern _Thread_local char loop_thread_id;

/* Asserts that the calling thread is the one that made the loop. */
static inline void loop_assert_owner(const struct loop *l)
{
	LB_ASSERT(l->owner == &loop_thread_id);
}

static inline uint64_t loop_now_ns(const struct loop *l)
{
	return l->now_ns;
}

static inline uint64_t loop_now_ms(const struct loop *l)
{
	return l->now_ns / 1000000;
}

static inline void loop_timer_start(struct loop *l, struct timer *t, uint64_t in_ms)
{
	timer_start(&l->timers, t, in_ms);
}

static inline void loop_timer_stop(struct loop *l, struct timer *t)
{
	timer_stop(&l->timers, t);
}

/* ---- operations: answered by completions ------------------------------------------------------
 */

/*
 * loop_accept() - take connections from a listening socket
 *
 * Each completion's res is a descriptor (non-blocking, close-on-exec) or a negative errno.
 */
enum accept_mode {
	ACCEPT_ONE,  /* the operation ends with its first completion */
	ACCEPT_MANY, /* the operation goes on until it fails or is cancelled */
};
void loop_accept(struct loop *l, int fd, enum accept_mode mode, op_tag tag);

/* Connects; res is 0 or a negative errno. `sa` is copied. */
void loop_connect(struct loop *l, int fd, const struct sockaddr *sa, socklen_t len, op_tag tag);

/*
 * loop_recv() - receive up to `cap` bytes in all, in as many completions as come
 *
 * When res is positive, `buf` has res bytes. When res is 0, the stream has ended. A negative res is
 * an errno. -ENOBUFS says that no buffer was free; when the receive is then started again, it waits
 * until a buffer is free.
 *
 * After a completion with res > 0, `more` says whether another one comes; any other completion is
 * the last one. When `cap` bytes have come, the completion of the last of them has `more` false.
 * `size_class` is that of the buffers that the bytes come in.
 */
void loop_recv(struct loop *l, int fd, uint32_t cap, enum buf_class size_class, op_tag tag);

/*
 * loop_send() - send `n` pieces, at most LOOP_IOV_MAX
 *
 * `iov` is copied; the bytes that it names must stay as they are until the completion. res is the
 * number of bytes the kernel took (perhaps fewer than all) or a negative errno. Never raises
 * SIGPIPE. One send may be in flight on a descriptor at a time.
 *
 * -EAGAIN says that the socket's send buffer has no room. An engine gives -EAGAIN only with
 * SEND_TRY, or after the peer's FIN, because from then on every poll of io_uring completes at once
 * (docs/decisions, 0006). After -EAGAIN, loop_poll_room() waits for room.
 */
#define LOOP_IOV_MAX 16
enum send_mode {
	SEND_WAIT, /* when there is no room, the operation waits for room */
	SEND_TRY,  /* when there is no room, an engine may answer -EAGAIN instead of waiting */
};
void loop_send(struct loop *l, int fd, const struct iovec *iov, int n, enum send_mode mode,
	       op_tag tag);

/*
 * Waits once for the poll(2) events in `events`. POLLERR and POLLHUP complete the wait, too, and
 * with some engines so does POLLRDHUP. res: the events that have come, or a negative errno.
 */
void loop_poll(struct loop *l, int fd, uint32_t events, op_tag tag);

/*
 * loop_poll_room() - wait once until a socket takes bytes again, though its peer has sent its FIN
 *
 * After the peer's FIN, loop_poll() for POLLOUT completes at once with some engines
 * (docs/decisions, 0020); loop_poll_room() does not. It costs two more system calls, so it is only
 * for sockets whose peer has sent its FIN. res: the events, POLLOUT, POLLERR or POLLHUP, or a
 * negative errno when the wait could not begin. One such wait may be in flight on a descriptor.
 * loop_cancel_room() cancels the wait, and may be called only while it is in flight.
 */
void loop_poll_room(struct loop *l, int fd, op_tag tag);
void loop_cancel_room(struct loop *l, int fd, op_tag tag);

/*
 * loop_cancel() - ask the operation `tag` on `fd` to end
 *
 * The operation's own last completion tells that it has ended: with -ECANCELED, or with a result
 * that came first. When the operation is not in flight, loop_cancel() does nothing.
 */
void loop_cancel(struct loop *l, int fd, op_tag tag);

/* ---- calls: done at once ------------------------------------------------------------------------
 */

/*
 * loop_adopt() - let operations be started on a descriptor that this loop did not make
 *
 * To be called before the first operation on `fd`. Returns 0, or a negative errno when memory or a
 * limit of the kernel does not allow it; `fd` stays the caller's.
 */
int loop_adopt(struct loop *l, int fd) LB_MUST_CHECK;

/* socket(2), non-blocking and close-on-exec. Returns a descriptor or a negative errno, as all
 * functions below do. */
int loop_socket(struct loop *l, int family, int type) LB_MUST_CHECK;
int loop_setsockopt(struct loop *l, int fd, int level, int name, const void *value, socklen_t len);

/*
 * loop_set_option() - setsockopt(2) whose result is not reported
 *
 * The engine may submit the call together with the next operations. So the option is set before any
 * operation that is started on `fd` afterwards (a loop_connect() for example), but perhaps not
 * before a function that acts at once (a loop_bind()).
 */
void loop_set_option(struct loop *l, int fd, int level, int name, const void *value, socklen_t len);
int loop_getsockopt(struct loop *l, int fd, int level, int name, void *value, socklen_t *len);
int loop_bind(struct loop *l, int fd, const struct sockaddr *sa, socklen_t len) LB_MUST_CHECK;
int loop_listen(struct loop *l, int fd, int backlog) LB_MUST_CHECK;
int loop_sockname(struct loop *l, int fd, struct sockaddr_storage *ret);
int loop_peername(struct loop *l, int fd, struct sockaddr_storage *ret);
/* accept4(2), which never waits. Returns a descriptor, or -EAGAIN when no connection is queued. */
int loop_accept_now(struct loop *l, int fd) LB_MUST_CHECK;
int loop_shutdown(struct loop *l, int fd, int how);

/* Closes `fd`, before the next turn waits at the latest. No operation may be in flight on `fd`. */
void loop_close(struct loop *l, int fd);

/* Makes a non-blocking pipe of `bytes`; fds[0] is the end to read. Returns the pipe's size in
 * bytes, or a negative errno. */
int loop_pipe(struct loop *l, int fds[2], size_t bytes) LB_MUST_CHECK;

/* splice(2), which never waits. Returns the bytes moved, 0 at the end of the stream, or a negative
 * errno (-EAGAIN when nothing can be moved now). */
ssize_t loop_splice(struct loop *l, int from, int to, size_t n);

/* Sends `fd` and a number through the Unix socket `chan`, to a thread that may have another
 * descriptor table. Returns 0 or a negative errno. */
int loop_pass_fd(struct loop *l, int chan, int fd, uint64_t number) LB_MUST_CHECK;

/* Receives from the Unix socket `chan` a descriptor and a number that loop_pass_fd() has sent.
 * Returns the descriptor; -EAGAIN when none has come; -EMFILE when this thread's table is full, and
 * then the descriptor is lost. */
int loop_take_fd(struct loop *l, int chan, uint64_t *ret_number) LB_MUST_CHECK;

/* Writes `n` unpredictable bytes, at most 256. The loop gets many from the kernel at a time. */
void loop_random(struct loop *l, void *out, size_t n);

/* CLOCK_REALTIME in ns since 1970, for logs. */
uint64_t loop_wall_ns(struct loop *l);
