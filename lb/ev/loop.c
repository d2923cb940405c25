/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the loop that all engines share.
 *
 * Terms. A turn is one pass of loop_turn(): submit, wait, dispatch. An operation is something that
 * was started with a tag and is answered by completions with that tag. To dispatch a completion is
 * to call the handler of its tag's class. A posted completion is one that no kernel made: an
 * engine, or this file, answers an operation itself. A waiting receive is one that found no free
 * buffer.
 *
 * The turn. ev/loop.h lists its steps; loop_turn() is that list in code. Handlers run only inside
 * of loop_turn(), never inside of the call that started the operation. That is why loop_post() puts
 * a completion into an array, and run_posted() dispatches it in the next turn.
 *
 * Waiting receives. When no buffer is free, loop_recv() puts the receive into the queue `waits`,
 * and every receive that is started later goes behind it. As buffers come back, run_waits() arms
 * the receives in the queue's order. So no connection waits for ever while others receive.
 *
 * Arrays. `posted` and `waits` hold n_ops elements each. loop_reserve() maps them without
 * reserving memory, so an element that was never used costs an address and no page. A caller
 * reserves for as many operations as it can have in flight; therefore neither array can be full.
 *
 * Memory of a peak. Buffers, arrays and the owner's slabs grow in a peak. When the loop is busy,
 * settle() gives back, once a second, what the last two seconds did not need. When no completion
 * has come for TRIM_IDLE_MS, trim() gives back the rest, a part in each turn.
 *
 * Clock. loop_tick() reads it once a turn. When a wait took OVERSLEPT_MS longer than asked for, the
 * machine or the process was suspended: then the engine is asked for completions again before
 * timers fire, because what has arrived meanwhile comes before its time-out.
 *
 * Thread: the one that made the loop; loop_assert_owner() checks it. Hot.
 */
#include "ev/loop_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define DEFAULT_BUF_SOFT_BYTES (16u << 20) /* a guess: 256 connections with a full 64 KiB queue */
#define TRIM_IDLE_MS 1000                  /* a guess, never tuned */
#define TRIM_AGAIN_MS 1
#define SETTLE_MS 1000   /* the period of settle() */
#define OVERSLEPT_MS 100 /* a guess, never tuned */
#define TURN_BUFS 64     /* small buffers kept free for the next turn */

_Thread_local char loop_thread_id;

/* A receive to be armed when a buffer of its class is free. */
struct recv_wait {
	op_tag tag;
	int fd;
	uint32_t cap;
	enum buf_class size_class;
};

int loop_init(struct loop *l, const struct loop_ops *ops, const struct loop_opts *o)
{
	l->ops = ops;
	l->owner = &loop_thread_id;
	l->bufs = buf_pool_new(o->buf_soft_bytes ? o->buf_soft_bytes : DEFAULT_BUF_SOFT_BYTES);
	if (l->bufs == NULL)
		return -ENOMEM;

	if (loop_reserve(l, LOOP_OPS_MIN) < 0) {
		loop_deinit(l);
		return -ENOMEM;
	}
	l->now_ns = ops->clock_ns(l);
	timer_wheel_init(&l->timers, l->now_ns / 1000000, NULL);
	return 0;
}

void loop_deinit(struct loop *l)
{
	if (l->posted != NULL)
		(void)munmap(l->posted, l->n_ops * sizeof(*l->posted));
	if (l->waits != NULL)
		(void)munmap(l->waits, l->n_ops * sizeof(*l->waits));
	l->bufs = buf_pool_free(l->bufs);
}

/* Changes the mapping of an array from `n` to `wanted` elements of `size` bytes. An element takes
 * addresses, and memory only once it is written to. */
static int remap(void **array, size_t n, size_t wanted, size_t size)
{
	const int prot = PROT_READ | PROT_WRITE;
	const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	void *p = *array == NULL ? mmap(NULL, wanted * size, prot, flags, -1, 0)
				 : mremap(*array, n * size, wanted * size, MREMAP_MAYMOVE);

	if (p == MAP_FAILED)
		return -ENOMEM;
	*array = p;
	return 0;
}

int loop_reserve(struct loop *l, size_t n)
{
	void *posted = l->posted, *waits = l->waits;

	if (n <= l->n_ops)
		return 0;
	int r = remap(&posted, l->n_ops, n, sizeof(*l->posted));
	l->posted = posted;
	if (r < 0)
		return r;
	r = remap(&waits, l->n_ops, n, sizeof(*l->waits));
	l->waits = waits;
	if (r == 0) {
		l->n_ops = n;
	} else if (l->n_ops > 0) { /* shrinking a mapping cannot fail */
		(void)remap(&posted, n, l->n_ops, sizeof(*l->posted));
		l->posted = posted;
	} else {
		(void)munmap(posted, n * sizeof(*l->posted));
		l->posted = NULL;
	}
	return r;
}

struct loop *loop_free(struct loop *l)
{
	if (l != NULL) {
		LB_ASSERT(!l->is_turning);
		l->ops->free(l);
	}
	return NULL;
}

const char *loop_engine_name(const struct loop *l)
{
	return l->ops->name;
}

void loop_set_handler(struct loop *l, unsigned class_id, loop_fn fn, void *arg)
{
	LB_ASSERT(class_id > LOOP_CLASS_OWN && class_id < LOOP_N_CLASSES);
	l->handler[class_id].fn = fn;
	l->handler[class_id].arg = arg;
}

void loop_set_turn_end(struct loop *l, void (*fn)(void *arg), void *arg)
{
	l->on_turn_end = fn;
	l->turn_arg = arg;
}

void loop_set_upkeep(struct loop *l, const struct loop_upkeep *u, void *arg)
{
	l->upkeep = u;
	l->upkeep_arg = arg;
}

void loop_tick(struct loop *l)
{
	l->now_ns = l->ops->clock_ns(l);
	l->timers.clock_ms = l->now_ns / 1000000;
}

void loop_dispatch(struct loop *l, const struct completion *c)
{
	unsigned class_id = tag_class(c->tag);

	LB_ASSERT(l->is_turning);
	LB_ASSERT(c->buf == NULL || (c->res > 0 && (uint32_t)c->res <= c->buf->cap));
	if (class_id == LOOP_CLASS_OWN)
		return;
	LB_ASSERT(class_id < LOOP_N_CLASSES && l->handler[class_id].fn != NULL);
	l->n_dispatched++;
	l->handler[class_id].fn(l->handler[class_id].arg, c);
}

void loop_post(struct loop *l, const struct completion *c)
{
	loop_assert_owner(l);
	LB_ASSERT(c->buf == NULL);         /* the buffer would leak when the loop ends first */
	LB_ASSERT(l->n_posted < l->n_ops); /* n_ops covers all operations in flight */
	l->posted[l->n_posted++] = *c;
	l->is_worn = true;
}

/* ---- the turn -------------------------------------------------------------------------------- */

/* Dispatches the completions that were posted before this turn. What a handler posts is dispatched
 * in the next turn. */
static void run_posted(struct loop *l)
{
	size_t n = l->n_posted;

	for (size_t i = 0; i < n; i++) {
		struct completion c = l->posted[i]; /* a copy: loop_reserve() may move the array */
		loop_dispatch(l, &c);
	}
	if (n > 0) {
		LB_ASSERT(l->n_posted >= n);
		l->n_posted -= n;
		memmove(l->posted, l->posted + n, l->n_posted * sizeof(*l->posted));
	}
}

/* The number of receives that would find a buffer if they were armed now. */
static uint32_t n_bufs(const struct loop *l, enum buf_class size_class)
{
	if (l->ops->n_bufs != NULL)
		return l->ops->n_bufs(l, size_class);
	return buf_is_available(l->bufs, size_class) ? UINT32_MAX : 0;
}

/*
 * Arms waiting receives, those of each size class in order. run_waits() arms no more receives than
 * there are buffers, because one more would complete with -ENOBUFS and wait again, in every turn.
 * Returns whether run_waits() armed some receives and left others waiting.
 */
static bool run_waits(struct loop *l)
{
	bool is_known[BUF_N_CLASSES] = { false };
	uint32_t n_left[BUF_N_CLASSES];
	size_t n_kept = 0;

	for (size_t i = 0; i < l->n_waits; i++) {
		struct recv_wait w = l->waits[i];

		LB_ASSERT(w.cap > 0 && w.size_class < BUF_N_CLASSES);
		if (!is_known[w.size_class]) {
			(void)buf_reserve(l->bufs, w.size_class, 1);
			n_left[w.size_class] = n_bufs(l, w.size_class);
			is_known[w.size_class] = true;
		}
		if (n_left[w.size_class] == 0) {
			l->waits[n_kept++] = w;
			continue;
		}
		n_left[w.size_class]--;
		l->ops->recv(l, w.fd, w.cap, w.size_class, w.tag);
	}
	LB_ASSERT(l->n_waits <= l->n_ops);
	bool is_torn = n_kept > 0 && n_kept < l->n_waits;
	l->n_waits = n_kept;
	return is_torn;
}

/* The ms until trim() may run if no completion comes: at first what is left of TRIM_IDLE_MS, then
 * TRIM_AGAIN_MS between two parts. */
static uint64_t trim_wait_ms(const struct loop *l)
{
	uint64_t quiet_ms = loop_now_ms(l) - l->active_ms;

	return quiet_ms < TRIM_IDLE_MS ? TRIM_IDLE_MS - quiet_ms : TRIM_AGAIN_MS;
}

static bool has_upkeep_spare(const struct loop *l)
{
	return l->upkeep != NULL && l->upkeep->has_spare(l->upkeep_arg);
}

static bool has_spare(const struct loop *l)
{
	return buf_has_spare(l->bufs) || (l->is_worn && l->n_posted == 0 && l->n_waits == 0) ||
	       (l->ops->has_spare != NULL && l->ops->has_spare(l)) || has_upkeep_spare(l);
}

static void trim(struct loop *l)
{
	if (l->is_worn && l->n_posted == 0 && l->n_waits == 0) {
		(void)madvise(l->posted, l->n_ops * sizeof(*l->posted), MADV_DONTNEED);
		(void)madvise(l->waits, l->n_ops * sizeof(*l->waits), MADV_DONTNEED);
		l->is_worn = false;
	}
	if (has_upkeep_spare(l))
		l->upkeep->trim(l->upkeep_arg);
	if (l->ops->trim != NULL)
		l->ops->trim(l);
	buf_trim(l->bufs);
}

static void settle(struct loop *l)
{
	uint64_t now_ms = loop_now_ms(l);

	if (now_ms >= l->settle_ms)
		l->settle_ms = now_ms + (buf_settle(l->bufs) ? SETTLE_MS : TRIM_AGAIN_MS);
	if (l->upkeep != NULL && now_ms >= l->upkeep_ms)
		l->upkeep_ms =
			now_ms + (l->upkeep->settle(l->upkeep_arg) ? SETTLE_MS : TRIM_AGAIN_MS);
}

int loop_turn(struct loop *l, uint64_t max_wait_ms)
{
	loop_assert_owner(l);
	LB_ASSERT(!l->is_turning); /* a handler may not call loop_turn() */
	l->is_turning = true;
	settle(l);
	/* When memory is short, fewer buffers are reserved, and receives wait for a buffer. That is
	 * no error. */
	(void)buf_reserve(l->bufs, BUF_SMALL, TURN_BUFS);
	l->ops->refill(l);
	bool is_behind = l->n_waits > 0 && run_waits(l);

	uint64_t wait_ms = timer_wheel_wait_ms(&l->timers);
	if (wait_ms > max_wait_ms)
		wait_ms = max_wait_ms;
	if (has_spare(l) && wait_ms > trim_wait_ms(l))
		wait_ms = trim_wait_ms(l);
	if (l->n_posted > 0 || l->should_stop || is_behind)
		wait_ms = 0;

	size_t n_posted = l->n_posted;
	uint64_t n_before = l->n_dispatched;
	uint64_t start_ms = loop_now_ms(l);
	int r = l->ops->wait(l, wait_ms);
	/* The machine or this process was suspended (see "Clock" above). */
	if (r == 0 && wait_ms != UINT64_MAX && loop_now_ms(l) - start_ms > wait_ms + OVERSLEPT_MS)
		r = l->ops->wait(l, 0);
	if (n_posted > 0)
		run_posted(l);
	if (l->n_dispatched != n_before)
		l->active_ms = loop_now_ms(l);
	else if (has_spare(l) && loop_now_ms(l) - l->active_ms >= TRIM_IDLE_MS)
		trim(l);
	timer_wheel_advance(&l->timers, loop_now_ms(l));
	if (l->on_turn_end != NULL)
		l->on_turn_end(l->turn_arg);
	l->is_turning = false;
	return r;
}

int loop_run(struct loop *l)
{
	l->should_stop = false;
	while (!l->should_stop) {
		int r = loop_turn(l, UINT64_MAX);
		if (r < 0)
			return r;
	}
	return 0;
}

void loop_stop(struct loop *l)
{
	l->should_stop = true;
}

/* ---- operations ------------------------------------------------------------------------------ */

void loop_accept(struct loop *l, int fd, enum accept_mode mode, op_tag tag)
{
	loop_assert_owner(l);
	LB_ASSERT(fd >= 0);
	l->ops->accept(l, fd, mode, tag);
}

void loop_connect(struct loop *l, int fd, const struct sockaddr *sa, socklen_t len, op_tag tag)
{
	loop_assert_owner(l);
	LB_ASSERT(fd >= 0 && len > 0 && len <= sizeof(struct sockaddr_storage));
	l->ops->connect(l, fd, sa, len, tag);
}

void loop_recv(struct loop *l, int fd, uint32_t cap, enum buf_class size_class, op_tag tag)
{
	loop_assert_owner(l);
	LB_ASSERT(fd >= 0 && cap > 0 && size_class < BUF_N_CLASSES);
	/* When memory is short, bulk receives into small buffers, because other connections give
	 * small buffers back. */
	if (size_class != BUF_SMALL && buf_reserve(l->bufs, size_class, 1) == -ENOMEM)
		size_class = BUF_SMALL;
	if (l->n_waits == 0 && n_bufs(l, size_class) > 0) {
		l->ops->recv(l, fd, cap, size_class, tag);
		return;
	}
	LB_ASSERT(l->n_waits < l->n_ops);
	l->is_worn = true;
	l->waits[l->n_waits++] =
		(struct recv_wait){ .tag = tag, .fd = fd, .cap = cap, .size_class = size_class };
}

void loop_send(struct loop *l, int fd, const struct iovec *iov, int n, enum send_mode mode,
	       op_tag tag)
{
	loop_assert_owner(l);
	LB_ASSERT(fd >= 0 && n > 0 && n <= LOOP_IOV_MAX && iov[0].iov_len > 0);
	l->ops->send(l, fd, iov, n, mode, tag);
}

void loop_poll(struct loop *l, int fd, uint32_t events, op_tag tag)
{
	loop_assert_owner(l);
	LB_ASSERT(fd >= 0);
	l->ops->poll(l, fd, events, tag);
}

void loop_poll_room(struct loop *l, int fd, op_tag tag)
{
	loop_assert_owner(l);
	LB_ASSERT(fd >= 0);
	l->ops->poll_room(l, fd, tag);
}

void loop_cancel_room(struct loop *l, int fd, op_tag tag)
{
	loop_assert_owner(l);
	l->ops->cancel_room(l, fd, tag);
}

/* Takes a receive out of the queue of waiting receives. Returns whether it was there. */
static bool cancel_wait(struct loop *l, op_tag tag)
{
	for (size_t i = 0; i < l->n_waits; i++) {
		if (l->waits[i].tag != tag)
			continue;
		l->n_waits--;
		memmove(l->waits + i, l->waits + i + 1, (l->n_waits - i) * sizeof(*l->waits));
		loop_post(l, &(struct completion){ .tag = tag, .res = -ECANCELED });
		return true;
	}
	return false;
}

void loop_cancel(struct loop *l, int fd, op_tag tag)
{
	loop_assert_owner(l);
	if (l->n_waits > 0 && cancel_wait(l, tag))
		return;
	l->ops->cancel(l, fd, tag);
}

/* ---- calls ----------------------------------------------------------------------------------- */

int loop_adopt(struct loop *l, int fd)
{
	loop_assert_owner(l);
	return l->ops->adopt == NULL ? 0 : l->ops->adopt(l, fd);
}

int loop_socket(struct loop *l, int family, int type)
{
	loop_assert_owner(l);
	return l->ops->socket(l, family, type);
}

int loop_setsockopt(struct loop *l, int fd, int level, int name, const void *value, socklen_t len)
{
	loop_assert_owner(l);
	return l->ops->setsockopt(l, fd, level, name, value, len);
}

void loop_set_option(struct loop *l, int fd, int level, int name, const void *value, socklen_t len)
{
	loop_assert_owner(l);
	l->ops->set_option(l, fd, level, name, value, len);
}

int loop_getsockopt(struct loop *l, int fd, int level, int name, void *value, socklen_t *len)
{
	loop_assert_owner(l);
	return l->ops->getsockopt(l, fd, level, name, value, len);
}

int loop_bind(struct loop *l, int fd, const struct sockaddr *sa, socklen_t len)
{
	loop_assert_owner(l);
	return l->ops->bind(l, fd, sa, len);
}

int loop_listen(struct loop *l, int fd, int backlog)
{
	loop_assert_owner(l);
	return l->ops->listen(l, fd, backlog);
}

int loop_sockname(struct loop *l, int fd, struct sockaddr_storage *ret)
{
	loop_assert_owner(l);
	return l->ops->sockname(l, fd, NAME_OF_SELF, ret);
}

int loop_peername(struct loop *l, int fd, struct sockaddr_storage *ret)
{
	loop_assert_owner(l);
	return l->ops->sockname(l, fd, NAME_OF_PEER, ret);
}

int loop_accept_now(struct loop *l, int fd)
{
	loop_assert_owner(l);
	return l->ops->accept_now(l, fd);
}

int loop_shutdown(struct loop *l, int fd, int how)
{
	loop_assert_owner(l);
	return l->ops->shutdown(l, fd, how);
}

void loop_close(struct loop *l, int fd)
{
	loop_assert_owner(l);
	LB_ASSERT(fd >= 0);
	l->ops->close(l, fd);
}

int loop_pipe(struct loop *l, int fds[2], size_t bytes)
{
	loop_assert_owner(l);
	return l->ops->pipe(l, fds, bytes);
}

ssize_t loop_splice(struct loop *l, int from, int to, size_t n)
{
	loop_assert_owner(l);
	return l->ops->splice(l, from, to, n);
}

int loop_pass_fd(struct loop *l, int chan, int fd, uint64_t number)
{
	loop_assert_owner(l);
	return l->ops->pass_fd(l, chan, fd, number);
}

int loop_take_fd(struct loop *l, int chan, uint64_t *ret_number)
{
	loop_assert_owner(l);
	return l->ops->take_fd(l, chan, ret_number);
}

void loop_random(struct loop *l, void *out, size_t n)
{
	loop_assert_owner(l);
	LB_ASSERT(n <= sizeof(l->random));
	if (l->n_random < n) {
		l->ops->random(l, l->random, sizeof(l->random));
		l->n_random = sizeof(l->random);
	}
	l->n_random -= (uint32_t)n;
	memcpy(out, l->random + l->n_random, n);
	explicit_bzero(l->random + l->n_random, n); /* no other caller gets the same bytes */
}

uint64_t loop_wall_ns(struct loop *l)
{
	return l->ops->wall_ns(l);
}
