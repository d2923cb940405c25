/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The loop: one per thread, written in completions.
 *
 * The loop makes every call that touches a descriptor, reads the clock or gets random bytes. The
 * folders above use the loop's calls and make no system call of their own, so that a simulated
 * engine can stand in for the kernel. Behind it is an engine, chosen at run time: io_uring
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
 * Thread: each loop belongs to the thread that made it; only mailbox_post() crosses. Layer: ev.
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
#define LOOP_CLASS_MAIL 1u /* of the mailbox, where one is attached */

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
	int32_t res; /* what the call gave, or a negative errno; -ECANCELED after loop_cancel() */
	bool more;   /* the operation goes on: another completion with this tag will come */
	/* Of a receive with res > 0: data[0] to data[res - 1]. The handler owns this reference. */
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
	size_t buf_soft_bytes; /* ceiling of lent buffers; 0: 16 MiB */
	uint32_t n_ring_bufs;  /* small buffers laid out for the kernel; a power of two; 0: 256 */
};

/* Memory that the loop's owner gives back after a peak. Each call does a bounded part. */
struct loop_upkeep {
	/* Called once a second, also in a busy loop: gives back what the period did not need.
	 * Returns false when there is more to do: then it is called again soon. */
	bool (*settle)(void *arg);
	/* Called when no completion has come for a second, as long as has_spare() says true. */
	void (*trim)(void *arg);
	bool (*has_spare)(void *arg);
};

struct loop {
	const struct loop_ops *ops;
	const char *owner; /* &loop_thread_id of the thread that made it */
	bool is_turning;   /* within loop_turn() */
	uint64_t now_ns;   /* CLOCK_MONOTONIC, read once per turn */
	struct timer_wheel timers;
	struct buf_pool *bufs; /* owns */
	bool should_stop;
	uint64_t active_ms;  /* when a completion last came */
	uint64_t settle_ms;  /* when buffers of a peak next go back */
	uint8_t random[256]; /* from the kernel, handed out from the end */
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
	uint64_t upkeep_ms; /* when it is next to settle */

	/*
	 * private to loop.c: posted completions, and receives that wait for a buffer. Both arrays
	 * hold n_ops elements (loop_reserve()).
	 */
	struct completion *posted; /* owns */
	struct recv_wait *waits;   /* owns: a queue in an array */
	size_t n_posted, n_waits, n_ops;
	bool is_worn; /* one of the arrays was written to since the last trim */
};

/*
 * loop_new() - make a loop for this thread
 *
 * LOOP_AUTO takes io_uring where the kernel allows it, else epoll (loop_probe_uring() says why). A
 * named engine that cannot run is an error, explained in `e`. Returns 0 and sets *ret, or a
 * negative errno.
 */
int loop_new(const struct loop_opts *o, struct err *e, struct loop **ret) LB_MUST_CHECK;

/*
 * loop_reserve() - prepare for `n` operations in flight, so that none fails for want of memory
 *
 * A new loop is prepared for LOOP_OPS_MIN. What is not used costs addresses, not memory. Returns 0,
 * or -ENOMEM, and then the loop is prepared for as many as before.
 */
int loop_reserve(struct loop *l, size_t n) LB_MUST_CHECK;
#define LOOP_OPS_MIN 4096u

/* Whether the kernel would run io_uring as lb needs it: 0, or a negative errno and a text in `e`.
 */
int loop_probe_uring(struct err *e);

/* No operation may be in flight but the mailbox's poll. NULL is fine. Returns NULL. */
struct loop *loop_free(struct loop *l);

/* "io_uring", "epoll" or "simulated". */
const char *loop_engine_name(const struct loop *l);

/* Completions whose tag is of class `class_id` (1 to LOOP_N_CLASSES - 1) go to fn(arg). */
void loop_set_handler(struct loop *l, unsigned class_id, loop_fn fn, void *arg);

/* Called at the end of each turn. */
void loop_set_turn_end(struct loop *l, void (*fn)(void *arg), void *arg);

/*
 * loop_set_upkeep() - have the owner's memory given back after a peak, together with the loop's
 *
 * `u` and `arg` are borrowed.
 */
void loop_set_upkeep(struct loop *l, const struct loop_upkeep *u, void *arg);

/* Turns until loop_stop(). Returns 0, or a negative errno when the engine itself failed. */
int loop_run(struct loop *l);

/* One turn, waiting at most `max_wait_ms`. For tests and small tools. */
int loop_turn(struct loop *l, uint64_t max_wait_ms);

/* Lets loop_run() return after this turn. */
void loop_stop(struct loop *l);

/* A variable of each thread, of which only the address is used: it differs from thread to thread.
 */
extern _Thread_local char loop_thread_id;

/* The calling thread is the one that made the loop. */
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
 * res > 0: so many bytes in `buf`. res 0: end of the stream. Negative: an errno; -ENOBUFS says that
 * no buffer was free; a receive that is started again then waits for a buffer in its turn. A
 * completion with res > 0 may be followed by another one; any other is the last. A receive whose
 * cap is used up ends with its last bytes (more false). The total never exceeds `cap`. `size_class`
 * is that of the buffers that are lent.
 */
void loop_recv(struct loop *l, int fd, uint32_t cap, enum buf_class size_class, op_tag tag);

/*
 * loop_send() - send `n` pieces, at most LOOP_IOV_MAX
 *
 * `iov` is copied; the bytes that it names must stay as they are until the completion. res is the
 * number of bytes the kernel took (perhaps fewer than all) or a negative errno. Never raises
 * SIGPIPE. One send in flight on a descriptor at a time.
 *
 * -EAGAIN: the socket's send buffer has no room. An engine answers so only with SEND_TRY, or where
 * the peer has sent its FIN (io_uring's polls then fire at once and for ever: docs/decisions,
 * 0006); then loop_poll_room() waits.
 */
#define LOOP_IOV_MAX 16
enum send_mode {
	SEND_WAIT, /* where there is no room, the operation waits for it */
	SEND_TRY,  /* where there is no room, an engine may answer -EAGAIN instead of waiting */
};
void loop_send(struct loop *l, int fd, const struct iovec *iov, int n, enum send_mode mode,
	       op_tag tag);

/*
 * Waits once for poll(2) events; POLLERR and POLLHUP always count, and with some engines POLLRDHUP.
 * res: the events, or a negative errno.
 */
void loop_poll(struct loop *l, int fd, uint32_t events, op_tag tag);

/*
 * loop_poll_room() - wait once until a socket takes bytes again, though its peer has sent its FIN
 *
 * After the peer's FIN, loop_poll() for POLLOUT completes at once with some engines
 * (docs/decisions, 0020); this wait does not. It costs two more system calls, so it is for such
 * sockets only. res: the events, POLLOUT, POLLERR or POLLHUP, or a negative errno when the wait
 * could not begin. One on a descriptor at a time. loop_cancel_room() cancels it, and only while it
 * is in flight.
 */
void loop_poll_room(struct loop *l, int fd, op_tag tag);
void loop_cancel_room(struct loop *l, int fd, op_tag tag);

/*
 * loop_cancel() - ask the operation `tag` on `fd` to end
 *
 * Its own last completion tells when and how: -ECANCELED, or what came first. Cancelling what is
 * not in flight does nothing.
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

/* socket(2), non-blocking and close-on-exec. Returns a descriptor or a negative errno, as all calls
 * below do. */
int loop_socket(struct loop *l, int family, int type) LB_MUST_CHECK;
int loop_setsockopt(struct loop *l, int fd, int level, int name, const void *value, socklen_t len);

/*
 * loop_set_option() - setsockopt(2) without an answer
 *
 * The engine may submit it with the next operations: the option holds for every operation that is
 * started on `fd` afterwards (a loop_connect() for example), but perhaps not yet for a call. An
 * error is not reported.
 */
void loop_set_option(struct loop *l, int fd, int level, int name, const void *value, socklen_t len);
int loop_getsockopt(struct loop *l, int fd, int level, int name, void *value, socklen_t *len);
int loop_bind(struct loop *l, int fd, const struct sockaddr *sa, socklen_t len) LB_MUST_CHECK;
int loop_listen(struct loop *l, int fd, int backlog) LB_MUST_CHECK;
int loop_sockname(struct loop *l, int fd, struct sockaddr_storage *ret);
int loop_peername(struct loop *l, int fd, struct sockaddr_storage *ret);
/* accept4(2) at once: a descriptor, or -EAGAIN when nothing is queued. */
int loop_accept_now(struct loop *l, int fd) LB_MUST_CHECK;
int loop_shutdown(struct loop *l, int fd, int how);

/* Closes `fd`, at the latest when the next turn waits. No operation may be in flight on it. */
void loop_close(struct loop *l, int fd);

/* Makes a non-blocking pipe of `bytes`; fds[0] reads. Returns the pipe's size, or -errno. */
int loop_pipe(struct loop *l, int fds[2], size_t bytes) LB_MUST_CHECK;

/* splice(2), never waits: bytes moved, 0 at the end of the stream, or a negative errno (-EAGAIN).
 */
ssize_t loop_splice(struct loop *l, int from, int to, size_t n);

/* Passes `fd` with a number along a Unix socket to another table; 0 or a negative errno. */
int loop_pass_fd(struct loop *l, int chan, int fd, uint64_t number) LB_MUST_CHECK;

/* Takes a descriptor that was passed. -EAGAIN: none is there; -EMFILE: this table was full, and the
 * descriptor is lost. */
int loop_take_fd(struct loop *l, int chan, uint64_t *ret_number) LB_MUST_CHECK;

/* Unpredictable bytes, up to 256; the kernel is asked for many at a time. */
void loop_random(struct loop *l, void *out, size_t n);

/* CLOCK_REALTIME in ns since 1970, for logs. */
uint64_t loop_wall_ns(struct loop *l);
