/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls that both kernel engines make alike: the plain calls of struct loop_ops.
 *
 * Each sys_...() is one call of the loop's interface (ev/loop.h) for one system call or two. It
 * returns what the kernel gave, or a negative errno, and never waits. sys_pass_fd() and
 * sys_take_fd() carry a descriptor from one thread's table to another's, with a number beside it
 * (SCM_RIGHTS).
 *
 * Thread: the loop's.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "ev/loop_priv.h"

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	(void)clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t sys_clock_ns(struct loop *l)
{
	(void)l;
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t sys_wall_ns(struct loop *l)
{
	(void)l;
	return clock_ns(CLOCK_REALTIME);
}

void sys_random(struct loop *l, void *out, size_t n)
{
	(void)l;
	/* Asks for at most 256 bytes at a time: the kernel gives so many in one call, once its
	 * generator is seeded. */
	for (size_t done = 0; done < n;) {
		size_t part = n - done < 256 ? n - done : 256;
		ssize_t got = getrandom((uint8_t *)out + done, part, 0);
		LB_ASSERT(got == (ssize_t)part || (got < 0 && errno == EINTR));
		done += got > 0 ? part : 0;
	}
}

int sys_socket(struct loop *l, int family, int type)
{
	(void)l;
	int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

int sys_setsockopt(struct loop *l, int fd, int level, int name, const void *value, socklen_t len)
{
	(void)l;
	return setsockopt(fd, level, name, value, len) < 0 ? -errno : 0;
}

void sys_set_option(struct loop *l, int fd, int level, int name, const void *value, socklen_t len)
{
	(void)sys_setsockopt(l, fd, level, name, value, len);
}

int sys_getsockopt(struct loop *l, int fd, int level, int name, void *value, socklen_t *len)
{
	(void)l;
	return getsockopt(fd, level, name, value, len) < 0 ? -errno : 0;
}

int sys_bind(struct loop *l, int fd, const struct sockaddr *sa, socklen_t len)
{
	(void)l;
	return bind(fd, sa, len) < 0 ? -errno : 0;
}

int sys_listen(struct loop *l, int fd, int backlog)
{
	(void)l;
	return listen(fd, backlog) < 0 ? -errno : 0;
}

int sys_sockname(struct loop *l, int fd, enum name_of whose, struct sockaddr_storage *ret)
{
	(void)l;
	struct sockaddr_storage addr = { 0 };
	struct sockaddr *sa = (struct sockaddr *)&addr;
	socklen_t len = sizeof(addr);

	int r = whose == NAME_OF_PEER ? getpeername(fd, sa, &len) : getsockname(fd, sa, &len);

	if (r < 0)
		return -errno;
	*ret = addr;
	return 0;
}

int sys_accept_now(struct loop *l, int fd)
{
	(void)l;
	int r;

	do /* tries again when a connection has ended before accept4(2) */
		r = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	while (r < 0 && (errno == ECONNABORTED || errno == EINTR));
	return r < 0 ? -errno : r;
}

int sys_shutdown(struct loop *l, int fd, int how)
{
	(void)l;
	return shutdown(fd, how) < 0 ? -errno : 0;
}

int sys_pipe(struct loop *l, int fds[2], size_t bytes)
{
	(void)l;
	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0)
		return -errno;
	int got = fcntl(fds[1], F_SETPIPE_SZ, (int)bytes);
	if (got < 0) /* more than the user's limit allows: the pipe keeps its size */
		got = fcntl(fds[1], F_GETPIPE_SZ);
	LB_ASSERT(got > 0); /* F_GETPIPE_SZ of a pipe cannot fail */
	return got;
}

ssize_t sys_splice(struct loop *l, int from, int to, size_t n)
{
	(void)l;
	ssize_t r = splice(from, NULL, to, NULL, n, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	return r < 0 ? -errno : r;
}

/* The control message for one descriptor. The number that goes with the descriptor is the data of
 * the message. */
union fd_control {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

int sys_pass_fd(struct loop *l, int chan, int fd, uint64_t number)
{
	(void)l;
	union fd_control control = { 0 };
	struct iovec iov = { .iov_base = &number, .iov_len = sizeof(number) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(chan, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

int sys_take_fd(struct loop *l, int chan, uint64_t *ret_number)
{
	(void)l;
	union fd_control control;
	uint64_t number;
	struct iovec iov = { .iov_base = &number, .iov_len = sizeof(number) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = CMSG_LEN(sizeof(int)), /* one descriptor at most */
	};
	ssize_t n = recvmsg(chan, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

	if (n < 0)
		return -errno;
	if (n == 0)
		return -EPIPE;
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
	if (msg.msg_flags & MSG_CTRUNC || c == NULL || c->cmsg_type != SCM_RIGHTS)
		/* This thread's table is full, so the kernel has closed the descriptor. */
		return -EMFILE;

	int fd;
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	if (n != sizeof(number)) { /* the message is not from loop_pass_fd() */
		(void)close(fd);
		return -EPROTO;
	}
	*ret_number = number;
	return fd;
}
