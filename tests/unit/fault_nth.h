/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Faults: the n-th request for memory or for an object of the kernel's is refused, for every n.
 *
 *	FOR_EVERY_N(manner) {
 *		WITH_FAULT(r = thing_new(&t));
 *		ck_assert_int_eq(r, t != NULL ? 0 : -ENOMEM);
 *		thing_free(t);
 *	}
 *
 * The body runs with the first request inside of WITH_FAULT() refused, with the second one, and so
 * on until none was left to refuse. Each run must give back what it took: allocations, mappings and
 * descriptors are counted. WITH_FAULT() holds calls of lb and no assertions, because an assertion
 * takes memory, too.
 *
 * The linker puts the functions below in the place of those that they are named for
 * (tests/meson.build: --wrap), in the test and in lb/, not within shared libraries.
 *
 * Thread: only requests of the test's thread are refused. Other threads may run beside it, and have
 * ended when a run ends.
 */

#include <check.h>
#include <errno.h>
#include <search.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "suite.h"

/* What is refused behind the n-th. */
enum fault_manner {
	FAULT_ONE,  /* nothing */
	FAULT_REST, /* everything, until WITH_FAULT() ends */
	FAULT_N_MANNERS
};

static struct {
	enum fault_manner manner;
	int accept_error, wait_error; /* or 0: EMFILE and EINTR */
	bool spares_io;  /* waits and sends are not refused: a test that turns a loop at will wants
			    it */
	bool no_submits; /* io_uring takes no entry, as when the kernel has no memory for requests
			  */
	unsigned n, n_asked, n_refused;
	const char *refused;                /* the first one's function */
	_Atomic long n_allocated, n_mapped; /* blocks, bytes: without those given back */
	long allocated_before, mapped_before;
	int fds_before;
} fault;

static _Thread_local bool fault_is_on;

/* Whether this request is refused; errno is set. */
static inline bool fault_refuses(const char *who, int error)
{
	if (!fault_is_on)
		return false;
	fault.n_asked++;
	if (fault.n_asked < fault.n || (fault.n_asked > fault.n && fault.manner == FAULT_ONE))
		return false;
	if (fault.n_refused++ == 0)
		fault.refused = who;
	errno = error;
	return true;
}

static inline void fault_begin(enum fault_manner manner)
{
	fault.manner = manner;
	fault.n = 0;
}

/* Ends one run and begins the next; false: nothing was refused any more. */
static inline bool fault_next(void)
{
	if (fault.n > 0) {
		const char *who = fault.n_refused > 0 ? fault.refused : "none";
		long blocks = fault.n_allocated - fault.allocated_before;
		long bytes = fault.n_mapped - fault.mapped_before;
		int fds = n_fds() - fault.fds_before;

		ck_assert_msg(fault.n_asked > 0, "nothing was asked for");
		ck_assert_msg(blocks == 0 && bytes == 0 && fds == 0,
			      "refused at %u, %s: %ld blocks, %ld bytes mapped, %d descriptors",
			      fault.n, who, blocks, bytes, fds);
		if (fault.n_refused == 0)
			return false;
	}
	fault.n++;
	fault.n_asked = fault.n_refused = 0;
	fault.allocated_before = fault.n_allocated;
	fault.mapped_before = fault.n_mapped;
	fault.fds_before = n_fds();
	return true;
}

#define FOR_EVERY_N(manner) for (fault_begin(manner); fault_next();)

#define WITH_FAULT(what) \
	do { \
		fault_is_on = true; \
		what; \
		fault_is_on = false; \
	} while (0)

/* ---- memory ---------------------------------------------------------------------------------- */

/* WRAP(type, name, (parameters)) declares a function's stand-in and what it stands for. */
#define WRAP(type, name, params) \
	type __real_##name params __attribute__((weak)); \
	type __wrap_##name params; \
	type __wrap_##name params

static inline void *fault_counted(void *p)
{
	fault.n_allocated += p != NULL;
	return p;
}

WRAP(void *, malloc, (size_t size))
{
	return fault_refuses("malloc", ENOMEM) ? NULL : fault_counted(__real_malloc(size));
}

WRAP(void *, calloc, (size_t n, size_t size))
{
	return fault_refuses("calloc", ENOMEM) ? NULL : fault_counted(__real_calloc(n, size));
}

WRAP(void *, realloc, (void *old, size_t size))
{
	if (fault_refuses("realloc", ENOMEM))
		return NULL;
	return old == NULL ? fault_counted(__real_realloc(old, size)) : __real_realloc(old, size);
}

WRAP(void *, reallocarray, (void *old, size_t n, size_t size))
{
	if (fault_refuses("reallocarray", ENOMEM))
		return NULL;
	return old == NULL ? fault_counted(__real_reallocarray(old, n, size))
			   : __real_reallocarray(old, n, size);
}

WRAP(void *, aligned_alloc, (size_t align, size_t size))
{
	return fault_refuses("aligned_alloc", ENOMEM)
		       ? NULL
		       : fault_counted(__real_aligned_alloc(align, size));
}

WRAP(int, posix_memalign, (void **ret, size_t align, size_t size))
{
	if (fault_refuses("posix_memalign", ENOMEM))
		return ENOMEM;
	int r = __real_posix_memalign(ret, align, size);
	fault.n_allocated += r == 0;
	return r;
}

WRAP(char *, strdup, (const char *s))
{
	return fault_refuses("strdup", ENOMEM) ? NULL : fault_counted(__real_strdup(s));
}

WRAP(char *, strndup, (const char *s, size_t n))
{
	return fault_refuses("strndup", ENOMEM) ? NULL : fault_counted(__real_strndup(s, n));
}

WRAP(char *, realpath, (const char *path, char *out))
{
	if (out != NULL)
		return __real_realpath(path, out);
	return fault_refuses("realpath", ENOMEM) ? NULL
						 : fault_counted(__real_realpath(path, NULL));
}

WRAP(void, free, (void *p))
{
	fault.n_allocated -= p != NULL;
	__real_free(p);
}

/* Its nodes are the C library's own affair. */
WRAP(void *, tsearch, (const void *key, void **root, int (*compare)(const void *, const void *)))
{
	return fault_refuses("tsearch", ENOMEM) ? NULL : __real_tsearch(key, root, compare);
}

WRAP(void *, mmap64, (void *at, size_t n, int prot, int flags, int fd, off_t off))
{
	if (fault_refuses("mmap64", ENOMEM))
		return MAP_FAILED;
	void *p = __real_mmap64(at, n, prot, flags, fd, off);
	if (p != MAP_FAILED)
		fault.n_mapped += (long)n;
	return p;
}

/* One that shrinks is never refused, nor is it by the kernel. */
WRAP(void *, mremap, (void *old, size_t old_n, size_t n, int flags, ...))
{
	if (n > old_n && fault_refuses("mremap", ENOMEM))
		return MAP_FAILED;
	void *p = __real_mremap(old, old_n, n, flags);
	if (p != MAP_FAILED)
		fault.n_mapped += (long)n - (long)old_n;
	return p;
}

WRAP(int, munmap, (void *p, size_t n))
{
	fault.n_mapped -= (long)n;
	return __real_munmap(p, n);
}

/* ---- descriptors and the kernel's own memory ------------------------------------------------- */

WRAP(int, socket, (int family, int type, int protocol))
{
	return fault_refuses("socket", EMFILE) ? -1 : __real_socket(family, type, protocol);
}

WRAP(int, socketpair, (int family, int type, int protocol, int fds[2]))
{
	return fault_refuses("socketpair", EMFILE) ? -1
						   : __real_socketpair(family, type, protocol, fds);
}

WRAP(int, accept4, (int fd, struct sockaddr *sa, socklen_t *len, int flags))
{
	int error = fault.accept_error != 0 ? fault.accept_error : EMFILE;

	return fault_refuses("accept4", error) ? -1 : __real_accept4(fd, sa, len, flags);
}

WRAP(int, pipe2, (int fds[2], int flags))
{
	return fault_refuses("pipe2", EMFILE) ? -1 : __real_pipe2(fds, flags);
}

WRAP(int, eventfd, (unsigned n, int flags))
{
	return fault_refuses("eventfd", EMFILE) ? -1 : __real_eventfd(n, flags);
}

WRAP(int, signalfd, (int fd, const sigset_t *set, int flags))
{
	return fault_refuses("signalfd", EMFILE) ? -1 : __real_signalfd(fd, set, flags);
}

WRAP(int, epoll_create1, (int flags))
{
	return fault_refuses("epoll_create1", EMFILE) ? -1 : __real_epoll_create1(flags);
}

/* To take a descriptor out needs no memory. */
WRAP(int, epoll_ctl, (int epfd, int op, int fd, struct epoll_event *ev))
{
	if (op == EPOLL_CTL_ADD && fault_refuses("epoll_ctl", ENOSPC))
		return -1;
	return __real_epoll_ctl(epfd, op, fd, ev);
}

static inline bool fault_refuses_wait(const char *who)
{
	if (fault.spares_io)
		return false;
	return fault_refuses(who, fault.wait_error != 0 ? fault.wait_error : EINTR);
}

WRAP(int, epoll_wait, (int epfd, struct epoll_event *ev, int n, int timeout))
{
	return fault_refuses_wait("epoll_wait") ? -1 : __real_epoll_wait(epfd, ev, n, timeout);
}

WRAP(ssize_t, send, (int fd, const void *data, size_t n, int flags))
{
	return !fault.spares_io && fault_refuses("send", ENOBUFS) ? -1
								  : __real_send(fd, data, n, flags);
}

WRAP(ssize_t, recvmsg, (int fd, struct msghdr *msg, int flags))
{
	return fault_refuses("recvmsg", ENOBUFS) ? -1 : __real_recvmsg(fd, msg, flags);
}

WRAP(ssize_t, sendmsg, (int fd, const struct msghdr *msg, int flags))
{
	return !fault.spares_io && fault_refuses("sendmsg", ENOBUFS)
		       ? -1
		       : __real_sendmsg(fd, msg, flags);
}

/* ---- io_uring: weak, for builds without ------------------------------------------------------ */

struct io_uring;
struct io_uring_params;
struct io_uring_buf_reg;
struct io_uring_cqe;
struct __kernel_timespec;

WRAP(int, io_uring_queue_init_params,
     (unsigned entries, struct io_uring *ring, struct io_uring_params *p))
{
	return fault_refuses("io_uring_queue_init_params", ENOMEM)
		       ? -errno
		       : __real_io_uring_queue_init_params(entries, ring, p);
}

WRAP(int, io_uring_register_ring_fd, (struct io_uring * ring))
{
	return fault_refuses("io_uring_register_ring_fd", ENOMEM)
		       ? -errno
		       : __real_io_uring_register_ring_fd(ring);
}

WRAP(int, io_uring_register_buf_ring,
     (struct io_uring * ring, struct io_uring_buf_reg *reg, unsigned flags))
{
	return fault_refuses("io_uring_register_buf_ring", ENOMEM)
		       ? -errno
		       : __real_io_uring_register_buf_ring(ring, reg, flags);
}

WRAP(int, io_uring_submit, (struct io_uring * ring))
{
	return fault.no_submits ? -EAGAIN : __real_io_uring_submit(ring);
}

/* Refused, or broken off by a signal behind the submission: it does not say so then. */
WRAP(int, io_uring_submit_and_wait, (struct io_uring * ring, unsigned n))
{
	if (fault.no_submits)
		return -EAGAIN;
	if (fault_refuses_wait("io_uring_submit_and_wait"))
		return -errno;
	if (fault_refuses_wait("the wait of io_uring_submit_and_wait"))
		n = 0;
	return __real_io_uring_submit_and_wait(ring, n);
}

WRAP(int, io_uring_submit_and_get_events, (struct io_uring * ring))
{
	if (fault.no_submits)
		return -EAGAIN;
	return fault_refuses_wait("io_uring_submit_and_get_events")
		       ? -errno
		       : __real_io_uring_submit_and_get_events(ring);
}

WRAP(int, io_uring_submit_and_wait_timeout,
     (struct io_uring * ring, struct io_uring_cqe **ret, unsigned n, struct __kernel_timespec *ts,
      sigset_t *mask))
{
	if (fault.no_submits)
		return -EAGAIN;
	return fault_refuses_wait("io_uring_submit_and_wait_timeout")
		       ? -errno
		       : __real_io_uring_submit_and_wait_timeout(ring, ret, n, ts, mask);
}
