/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Scarcity: the n-th request for memory or for an object of the kernel's is refused, for every n.
 *
 *	FOR_EVERY_N(manner) {
 *		SCARCELY(r = thing_new(&t));
 *		ck_assert_int_eq(r, t != NULL ? 0 : -ENOMEM);
 *		thing_free(t);
 *	}
 *
 * The body runs with the first request inside of SCARCELY() refused, with the second one, and so on
 * until none was left to refuse. Each run must give back what it took: allocations, mappings and
 * descriptors are counted. SCARCELY() holds calls of lb and no assertions: those take memory, too.
 *
 * The linker puts the functions below in the place of those that they are named for
 * (tests/meson.build: --wrap), in the test and in lb/, not within shared libraries. Thread: the
 * test's is refused; others may run beside it, and have ended when a run ends.
 */

#include <check.h>
#include <dirent.h>
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

/* What is refused behind the n-th. */
enum scarce_manner {
	SCARCE_ONE,  /* nothing */
	SCARCE_REST, /* everything, until SCARCELY() ends */
	SCARCE_N_MANNERS
};

static struct {
	enum scarce_manner manner;
	int accept_error, wait_error; /* or 0: EMFILE and EINTR */
	bool spares_io; /* waits, for who turns as often as he likes, and sends: TCP's just wait */
	unsigned n, n_asked, n_refused;
	const char *refused;                /* the first one's function */
	_Atomic long n_allocated, n_mapped; /* blocks, bytes: without those given back */
	long allocated_before, mapped_before;
	int fds_before;
} scarce;

static _Thread_local bool scarce_is_on;

/* Whether this request is refused; errno is set. */
static inline bool scarce_refuses(const char *who, int error)
{
	if (!scarce_is_on)
		return false;
	scarce.n_asked++;
	if (scarce.n_asked < scarce.n || (scarce.n_asked > scarce.n && scarce.manner == SCARCE_ONE))
		return false;
	if (scarce.n_refused++ == 0)
		scarce.refused = who;
	errno = error;
	return true;
}

static inline int scarce_n_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d) != NULL)
		n++;
	(void)closedir(d);
	return n;
}

static inline void scarce_begin(enum scarce_manner manner)
{
	scarce.manner = manner;
	scarce.n = 0;
}

/* Ends one run and begins the next; false: nothing was refused any more. */
static inline bool scarce_next(void)
{
	if (scarce.n > 0) {
		const char *who = scarce.n_refused > 0 ? scarce.refused : "none";
		long blocks = scarce.n_allocated - scarce.allocated_before;
		long bytes = scarce.n_mapped - scarce.mapped_before;
		int fds = scarce_n_fds() - scarce.fds_before;

		ck_assert_msg(scarce.n_asked > 0, "nothing was asked for");
		ck_assert_msg(blocks == 0 && bytes == 0 && fds == 0,
			      "refused at %u, %s: %ld blocks, %ld bytes mapped, %d descriptors",
			      scarce.n, who, blocks, bytes, fds);
		if (scarce.n_refused == 0)
			return false;
	}
	scarce.n++;
	scarce.n_asked = scarce.n_refused = 0;
	scarce.allocated_before = scarce.n_allocated;
	scarce.mapped_before = scarce.n_mapped;
	scarce.fds_before = scarce_n_fds();
	return true;
}

#define FOR_EVERY_N(manner) for (scarce_begin(manner); scarce_next();)

#define SCARCELY(what) \
	do { \
		scarce_is_on = true; \
		what; \
		scarce_is_on = false; \
	} while (0)

/* ---- memory ---------------------------------------------------------------------------------- */

/* WRAP(type, name, (parameters)) declares a function's stand-in and what it stands for. */
#define WRAP(type, name, params) \
	type __real_##name params __attribute__((weak)); \
	type __wrap_##name params; \
	type __wrap_##name params

static inline void *scarce_counted(void *p)
{
	scarce.n_allocated += p != NULL;
	return p;
}

WRAP(void *, malloc, (size_t size))
{
	return scarce_refuses("malloc", ENOMEM) ? NULL : scarce_counted(__real_malloc(size));
}

WRAP(void *, calloc, (size_t n, size_t size))
{
	return scarce_refuses("calloc", ENOMEM) ? NULL : scarce_counted(__real_calloc(n, size));
}

WRAP(void *, realloc, (void *old, size_t size))
{
	if (scarce_refuses("realloc", ENOMEM))
		return NULL;
	return old == NULL ? scarce_counted(__real_realloc(old, size)) : __real_realloc(old, size);
}

WRAP(void *, reallocarray, (void *old, size_t n, size_t size))
{
	if (scarce_refuses("reallocarray", ENOMEM))
		return NULL;
	return old == NULL ? scarce_counted(__real_reallocarray(old, n, size))
			   : __real_reallocarray(old, n, size);
}

WRAP(void *, aligned_alloc, (size_t align, size_t size))
{
	return scarce_refuses("aligned_alloc", ENOMEM)
		       ? NULL
		       : scarce_counted(__real_aligned_alloc(align, size));
}

WRAP(int, posix_memalign, (void **ret, size_t align, size_t size))
{
	if (scarce_refuses("posix_memalign", ENOMEM))
		return ENOMEM;
	int r = __real_posix_memalign(ret, align, size);
	scarce.n_allocated += r == 0;
	return r;
}

WRAP(char *, strdup, (const char *s))
{
	return scarce_refuses("strdup", ENOMEM) ? NULL : scarce_counted(__real_strdup(s));
}

WRAP(char *, strndup, (const char *s, size_t n))
{
	return scarce_refuses("strndup", ENOMEM) ? NULL : scarce_counted(__real_strndup(s, n));
}

WRAP(char *, realpath, (const char *path, char *out))
{
	if (out != NULL)
		return __real_realpath(path, out);
	return scarce_refuses("realpath", ENOMEM) ? NULL
						  : scarce_counted(__real_realpath(path, NULL));
}

WRAP(void, free, (void *p))
{
	scarce.n_allocated -= p != NULL;
	__real_free(p);
}

/* Its nodes are the C library's own affair. */
WRAP(void *, tsearch, (const void *key, void **root, int (*compare)(const void *, const void *)))
{
	return scarce_refuses("tsearch", ENOMEM) ? NULL : __real_tsearch(key, root, compare);
}

WRAP(void *, mmap64, (void *at, size_t n, int prot, int flags, int fd, off_t off))
{
	if (scarce_refuses("mmap64", ENOMEM))
		return MAP_FAILED;
	void *p = __real_mmap64(at, n, prot, flags, fd, off);
	if (p != MAP_FAILED)
		scarce.n_mapped += (long)n;
	return p;
}

/* One that shrinks is never refused, nor is it by the kernel. */
WRAP(void *, mremap, (void *old, size_t old_n, size_t n, int flags, ...))
{
	if (n > old_n && scarce_refuses("mremap", ENOMEM))
		return MAP_FAILED;
	void *p = __real_mremap(old, old_n, n, flags);
	if (p != MAP_FAILED)
		scarce.n_mapped += (long)n - (long)old_n;
	return p;
}

WRAP(int, munmap, (void *p, size_t n))
{
	scarce.n_mapped -= (long)n;
	return __real_munmap(p, n);
}

/* ---- descriptors and the kernel's own memory ------------------------------------------------- */

WRAP(int, socket, (int family, int type, int protocol))
{
	return scarce_refuses("socket", EMFILE) ? -1 : __real_socket(family, type, protocol);
}

WRAP(int, socketpair, (int family, int type, int protocol, int fds[2]))
{
	return scarce_refuses("socketpair", EMFILE)
		       ? -1
		       : __real_socketpair(family, type, protocol, fds);
}

WRAP(int, accept4, (int fd, struct sockaddr *sa, socklen_t *len, int flags))
{
	int error = scarce.accept_error != 0 ? scarce.accept_error : EMFILE;

	return scarce_refuses("accept4", error) ? -1 : __real_accept4(fd, sa, len, flags);
}

WRAP(int, pipe2, (int fds[2], int flags))
{
	return scarce_refuses("pipe2", EMFILE) ? -1 : __real_pipe2(fds, flags);
}

WRAP(int, eventfd, (unsigned n, int flags))
{
	return scarce_refuses("eventfd", EMFILE) ? -1 : __real_eventfd(n, flags);
}

WRAP(int, signalfd, (int fd, const sigset_t *set, int flags))
{
	return scarce_refuses("signalfd", EMFILE) ? -1 : __real_signalfd(fd, set, flags);
}

WRAP(int, epoll_create1, (int flags))
{
	return scarce_refuses("epoll_create1", EMFILE) ? -1 : __real_epoll_create1(flags);
}

/* To take a descriptor out needs no memory. */
WRAP(int, epoll_ctl, (int epfd, int op, int fd, struct epoll_event *ev))
{
	if (op == EPOLL_CTL_ADD && scarce_refuses("epoll_ctl", ENOSPC))
		return -1;
	return __real_epoll_ctl(epfd, op, fd, ev);
}

static inline bool scarce_refuses_wait(const char *who)
{
	if (scarce.spares_io)
		return false;
	return scarce_refuses(who, scarce.wait_error != 0 ? scarce.wait_error : EINTR);
}

WRAP(int, epoll_wait, (int epfd, struct epoll_event *ev, int n, int timeout))
{
	return scarce_refuses_wait("epoll_wait") ? -1 : __real_epoll_wait(epfd, ev, n, timeout);
}

WRAP(ssize_t, send, (int fd, const void *data, size_t n, int flags))
{
	return !scarce.spares_io && scarce_refuses("send", ENOBUFS)
		       ? -1
		       : __real_send(fd, data, n, flags);
}

WRAP(ssize_t, recvmsg, (int fd, struct msghdr *msg, int flags))
{
	return scarce_refuses("recvmsg", ENOBUFS) ? -1 : __real_recvmsg(fd, msg, flags);
}

WRAP(ssize_t, sendmsg, (int fd, const struct msghdr *msg, int flags))
{
	return !scarce.spares_io && scarce_refuses("sendmsg", ENOBUFS)
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
	return scarce_refuses("io_uring_queue_init_params", ENOMEM)
		       ? -errno
		       : __real_io_uring_queue_init_params(entries, ring, p);
}

WRAP(int, io_uring_register_ring_fd, (struct io_uring * ring))
{
	return scarce_refuses("io_uring_register_ring_fd", ENOMEM)
		       ? -errno
		       : __real_io_uring_register_ring_fd(ring);
}

WRAP(int, io_uring_register_buf_ring,
     (struct io_uring * ring, struct io_uring_buf_reg *reg, unsigned flags))
{
	return scarce_refuses("io_uring_register_buf_ring", ENOMEM)
		       ? -errno
		       : __real_io_uring_register_buf_ring(ring, reg, flags);
}

/* Refused, or broken off by a signal behind the submission: it does not say so then. */
WRAP(int, io_uring_submit_and_wait, (struct io_uring * ring, unsigned n))
{
	if (scarce_refuses_wait("io_uring_submit_and_wait"))
		return -errno;
	if (scarce_refuses_wait("the wait of io_uring_submit_and_wait"))
		n = 0;
	return __real_io_uring_submit_and_wait(ring, n);
}

WRAP(int, io_uring_submit_and_get_events, (struct io_uring * ring))
{
	return scarce_refuses_wait("io_uring_submit_and_get_events")
		       ? -errno
		       : __real_io_uring_submit_and_get_events(ring);
}

WRAP(int, io_uring_submit_and_wait_timeout,
     (struct io_uring * ring, struct io_uring_cqe **ret, unsigned n, struct __kernel_timespec *ts,
      sigset_t *mask))
{
	return scarce_refuses_wait("io_uring_submit_and_wait_timeout")
		       ? -errno
		       : __real_io_uring_submit_and_wait_timeout(ring, ret, n, ts, mask);
}
