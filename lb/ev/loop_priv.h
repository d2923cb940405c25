/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What an engine provides, and what loop.c gives it. Included by ev/ and by simulated engines only.
 *
 * An engine embeds a struct loop as its first member. An engine calls handlers only through
 * loop_dispatch(), from within its wait().
 */

#include "ev/loop.h"

/* Whose address loop_ops.sockname tells: the socket's own, or that of the socket's peer. */
enum name_of { NAME_OF_SELF, NAME_OF_PEER };

struct loop_ops {
	const char *name;

	/* Frees what the engine owns, and the struct that embeds the loop. */
	void (*free)(struct loop *l);

	/* Lays free buffers out for the kernel. Does nothing when the engine takes buffers from the
	 * pool itself. */
	void (*refill)(struct loop *l);

	/*
	 * has_spare() tells whether buffers that are laid out hold memory that an idle loop does
	 * not need. trim() gives that memory back. Both are NULL when the engine lays nothing out.
	 */
	bool (*has_spare)(const struct loop *l);
	void (*trim)(struct loop *l);

	/*
	 * The number of receives that would find a buffer if they were armed now. NULL when a
	 * receive takes a buffer from the pool at the time when bytes are there.
	 */
	uint32_t (*n_bufs)(const struct loop *l, enum buf_class size_class);

	/*
	 * Submits the operations, waits at most `wait_ms` for a completion (0: not at all,
	 * UINT64_MAX: for ever), calls loop_tick() once, and dispatches the completions. Returns 0
	 * or a negative errno.
	 */
	int (*wait)(struct loop *l, uint64_t wait_ms);

	uint64_t (*clock_ns)(struct loop *l);
	uint64_t (*wall_ns)(struct loop *l);
	void (*random)(struct loop *l, void *out, size_t n);

	void (*accept)(struct loop *l, int fd, enum accept_mode mode, op_tag tag);
	void (*connect)(struct loop *l, int fd, const struct sockaddr *sa, socklen_t len,
			op_tag tag);
	void (*recv)(struct loop *l, int fd, uint32_t cap, enum buf_class size_class, op_tag tag);
	void (*send)(struct loop *l, int fd, const struct iovec *iov, int n, enum send_mode mode,
		     op_tag tag);
	void (*poll)(struct loop *l, int fd, uint32_t events, op_tag tag);
	void (*cancel)(struct loop *l, int fd, op_tag tag);
	void (*poll_room)(struct loop *l, int fd, op_tag tag);
	void (*cancel_room)(struct loop *l, int fd, op_tag tag);

	/* Prepares for operations on a descriptor that was made elsewhere. NULL when the engine
	 * need not prepare. */
	int (*adopt)(struct loop *l, int fd);

	int (*socket)(struct loop *l, int family, int type);
	int (*setsockopt)(struct loop *l, int fd, int level, int name, const void *value,
			  socklen_t len);
	void (*set_option)(struct loop *l, int fd, int level, int name, const void *value,
			   socklen_t len);
	int (*getsockopt)(struct loop *l, int fd, int level, int name, void *value, socklen_t *len);
	int (*bind)(struct loop *l, int fd, const struct sockaddr *sa, socklen_t len);
	int (*listen)(struct loop *l, int fd, int backlog);
	int (*sockname)(struct loop *l, int fd, enum name_of whose, struct sockaddr_storage *ret);
	int (*accept_now)(struct loop *l, int fd);
	int (*shutdown)(struct loop *l, int fd, int how);
	void (*close)(struct loop *l, int fd);
	int (*pipe)(struct loop *l, int fds[2], size_t bytes);
	ssize_t (*splice)(struct loop *l, int from, int to, size_t n);
	int (*pass_fd)(struct loop *l, int chan, int fd, uint64_t number);
	int (*take_fd)(struct loop *l, int chan, uint64_t *ret_number);
};

/* Fills in the common part of a loop, whose engine has the functions `ops`. Returns 0 or
 * -ENOMEM. */
int loop_init(struct loop *l, const struct loop_ops *ops, const struct loop_opts *o) LB_MUST_CHECK;

/* Frees what loop_init() has made. */
void loop_deinit(struct loop *l);

/* Reads the clock for this turn, into the loop and its timers. */
void loop_tick(struct loop *l);

/* Gives one completion to its handler. A completion of the loop's own class has no handler. Hot. */
void loop_dispatch(struct loop *l, const struct completion *c);

/* Queues a completion to be dispatched in the next turn. */
void loop_post(struct loop *l, const struct completion *c);

/* The functions of struct loop_ops that both kernel engines share (sys.c). */
uint64_t sys_clock_ns(struct loop *l);
uint64_t sys_wall_ns(struct loop *l);
void sys_random(struct loop *l, void *out, size_t n);
int sys_socket(struct loop *l, int family, int type);
int sys_setsockopt(struct loop *l, int fd, int level, int name, const void *value, socklen_t len);
void sys_set_option(struct loop *l, int fd, int level, int name, const void *value, socklen_t len);
int sys_getsockopt(struct loop *l, int fd, int level, int name, void *value, socklen_t *len);
int sys_bind(struct loop *l, int fd, const struct sockaddr *sa, socklen_t len);
int sys_listen(struct loop *l, int fd, int backlog);
int sys_sockname(struct loop *l, int fd, enum name_of whose, struct sockaddr_storage *ret);
int sys_accept_now(struct loop *l, int fd);
int sys_shutdown(struct loop *l, int fd, int how);
int sys_pipe(struct loop *l, int fds[2], size_t bytes);
ssize_t sys_splice(struct loop *l, int from, int to, size_t n);
int sys_pass_fd(struct loop *l, int chan, int fd, uint64_t number);
int sys_take_fd(struct loop *l, int chan, uint64_t *ret_number);

/* The engines. Each returns 0 and sets *ret, or a negative errno with a reason in `e`. */
int loop_uring_new(const struct loop_opts *o, struct err *e, struct loop **ret) LB_MUST_CHECK;
int loop_epoll_new(const struct loop_opts *o, struct err *e, struct loop **ret) LB_MUST_CHECK;
