/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets with lb's options: for listeners, and for connections to backends.
 *
 * Terms. To tune a socket is to set the options that every TCP socket of lb has (tune()):
 * TCP_NODELAY, TCP_USER_TIMEOUT, and, unless its address is a loopback address, keepalive. The
 * options find a peer that has vanished; net/sock.h has the times, docs/decisions/0011 the reasons.
 * A shared socket is one of a SO_REUSEPORT group: each worker has one for the same address.
 *
 * A listener. Main calls sock_probe_free() to find whether the address is free, and
 * sock_bind_shared() for each worker's socket. Accepted sockets inherit the options.
 * sock_spread_keepalive() changes the time of the first keepalive probe now and then, so that the
 * probes of many connections do not fall together. Before a listening socket is closed,
 * sock_drop_new() attaches a filter that drops new SYNs, and sock_serve_old() takes the filter off
 * each connection that was accepted after that.
 *
 * A connection to a backend. sock_for_connect() makes the socket, tunes it, and binds it to a
 * source address; the caller connects. The options go through loop_set_option(), because nothing
 * depends on their results, so that io_uring can submit the options with the connect.
 *
 * An end. sock_reset_on_close() makes the close a reset; sock_error() reads the pending error.
 *
 * Thread: the loop's.
 */
#include "net/sock.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <time.h>

#include "util/sockaddr.h"

/* Seconds without traffic until keepalive begins: a random number between the two, for each
 * socket. */
#define KEEPALIVE_IDLE_MIN_S 40
#define KEEPALIVE_IDLE_MAX_S 60
#define KEEPALIVE_TIMES 30

/* A congestion control that does not pace. Every kernel has it, and every process may choose it. */
static const char unpaced[] = "reno";

#ifndef IPV6_MINHOPCOUNT
#define IPV6_MINHOPCOUNT 73
#endif
#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

static int set_int(struct loop *l, int fd, int level, int name, int value)
{
	return loop_setsockopt(l, fd, level, name, &value, sizeof(value));
}

typedef void set_fn(struct loop *l, int fd, int level, int name, const void *value, socklen_t len);

static void set_now(struct loop *l, int fd, int level, int name, const void *value, socklen_t len)
{
	(void)loop_setsockopt(l, fd, level, name, value, len);
}

struct option {
	int level, name, value;
};

static void set_all(struct loop *l, int fd, const struct option *o, size_t n, set_fn *set)
{
	for (size_t i = 0; i < n; i++)
		set(l, fd, o[i].level, o[i].name, &o[i].value, sizeof(o[i].value));
}

static int keepalive_idle_s(struct loop *l)
{
	uint8_t random;

	loop_random(l, &random, sizeof(random));
	return KEEPALIVE_IDLE_MIN_S + random % (KEEPALIVE_IDLE_MAX_S - KEEPALIVE_IDLE_MIN_S + 1);
}

void sock_spread_keepalive(struct loop *l, int fd)
{
	(void)set_int(l, fd, IPPROTO_TCP, TCP_KEEPIDLE, keepalive_idle_s(l));
}

/*
 * The seconds between two keepalive probes. The kernel rounds timers of a minute to steps of 512
 * ticks at 250 Hz, and of 4,096 ticks at 1,000 Hz, so all sockets of a step send their first probe
 * at once. When probes of a step are lost, the next ones must not be due together with another
 * step. Therefore the time between two probes, with the kernel's rounding, is no multiple of half a
 * step: 504 ticks at 250 Hz (2 s), 3,008 ticks at 1,000 Hz (3 s).
 */
static int keepalive_every_s(void)
{
	struct timespec tick;

	return clock_getres(CLOCK_MONOTONIC_COARSE, &tick) == 0 && tick.tv_nsec <= 1000000 ? 3 : 2;
}

/*
 * Sets options that no kernel refuses on a TCP socket. When setting one fails all the same, only a
 * safeguard is lost. A peer at a loopback address needs no keepalive, because the kernel of this
 * machine reports the peer's end. Its connection needs no pacing (BBR) either: pacing would only
 * cost timers (docs/decisions, 0013).
 */
static void tune(struct loop *l, int fd, const struct addr *at, uint32_t user_ms, set_fn *set)
{
	const struct option always[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, (int)user_ms },
	};

	set_all(l, fd, always, ARRAY_SIZE(always), set);
	if (addr_is_loopback(at)) {
		set(l, fd, IPPROTO_TCP, TCP_CONGESTION, unpaced, sizeof(unpaced) - 1);
		return;
	}
	const struct option far[] = {
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, keepalive_idle_s(l) },
		{ IPPROTO_TCP, TCP_KEEPINTVL, keepalive_every_s() },
		{ IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_TIMES },
	};
	set_all(l, fd, far, ARRAY_SIZE(far), set);
}

static int bind_addr(struct loop *l, int fd, const struct addr *a)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(a, &sa);

	return loop_bind(l, fd, (struct sockaddr *)&sa, len);
}

/* Whether other sockets may be bound to the same address: SO_REUSEPORT. */
enum share { BIND_ALONE, BIND_SHARED };

/* Makes a TCP socket bound to `addr`. Returns the descriptor or a negative errno. */
static int bound(struct loop *l, const struct addr *addr, enum share share)
{
	int fd = loop_socket(l, addr->family, SOCK_STREAM);
	if (fd < 0)
		return fd;

	int r = set_int(l, fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (r == 0 && share == BIND_SHARED)
		r = set_int(l, fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (r == 0 && addr->family == AF_INET6)
		r = set_int(l, fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	if (r == 0)
		r = bind_addr(l, fd, addr);
	if (r < 0) {
		loop_close(l, fd);
		return r;
	}
	tune(l, fd, addr, SOCK_USER_MS, set_now);
	return fd;
}

int sock_probe_free(struct loop *l, const struct addr *addr, uint16_t *ret_port)
{
	struct sockaddr_storage sa;
	struct addr got;
	int fd = bound(l, addr, BIND_ALONE);

	if (fd < 0)
		return fd;
	/* Two sockets with SO_REUSEADDR may both be bound to an address. Only listen(2) fails when
	 * another socket listens there. */
	int r = loop_listen(l, fd, 1);
	if (r == 0)
		r = loop_sockname(l, fd, &sa);
	if (r == 0) {
		addr_from_sockaddr((struct sockaddr *)&sa, &got);
		*ret_port = got.port;
	}
	(void)loop_shutdown(l, fd, SHUT_RDWR);
	loop_close(l, fd);
	return r;
}

int sock_bind_shared(struct loop *l, const struct addr *addr)
{
	return bound(l, addr, BIND_SHARED);
}

int sock_bind_alone(struct loop *l, const struct addr *addr)
{
	return bound(l, addr, BIND_ALONE);
}

/*
 * Lets the socket drop packets whose TTL is lower than `ttl`, except an ACK that completes a
 * handshake. A `ttl` of 255 drops the SYNs of all peers but neighbours in the same network. It
 * replaces the filter of sock_drop_new() on kernels that allow the filter only with a privilege,
 * which lb gives up when `user` is set.
 */
static void set_least_ttl(struct loop *l, int fd, int ttl)
{
	(void)set_int(l, fd, IPPROTO_IP, IP_MINTTL, ttl);
	(void)set_int(l, fd, IPPROTO_IPV6, IPV6_MINHOPCOUNT, ttl);
}

void sock_drop_new(struct loop *l, int fd)
{
	/* A socket filter sees a segment from its TCP header on, so byte 13 has the flags. */
	enum { SYN = 0x02, ACK = 0x10, FLAGS_AT = 13 };
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS_AT),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SYN | ACK),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYN, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	};
	struct sock_fprog program = { .len = ARRAY_SIZE(code), .filter = code };

	if (loop_setsockopt(l, fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0)
		set_least_ttl(l, fd, 255);
}

void sock_serve_old(struct loop *l, int fd)
{
	int none = 0;

	(void)loop_setsockopt(l, fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof(none));
	set_least_ttl(l, fd, 0);
}

int sock_for_connect(struct loop *l, const struct addr *to, const struct addr *from,
		     uint32_t user_ms)
{
	LB_ASSERT(from == NULL || from->family == to->family);
	int fd = loop_socket(l, to->family, SOCK_STREAM);
	if (fd < 0)
		return fd;

	tune(l, fd, to, user_ms, loop_set_option);
	if (from != NULL) {
		(void)set_int(l, fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
		int r = bind_addr(l, fd, from);
		if (r < 0) {
			loop_close(l, fd);
			return r;
		}
	}
	return fd;
}

int sock_try_source(struct loop *l, const struct addr *from)
{
	int fd = sock_for_connect(l, from, from, SOCK_USER_MS);

	if (fd < 0)
		return fd;
	loop_close(l, fd);
	return 0;
}

void sock_set_user_timeout(struct loop *l, int fd, uint32_t user_ms)
{
	(void)loop_setsockopt(l, fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_ms, sizeof(user_ms));
}

void sock_reset_on_close(struct loop *l, int fd)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	(void)loop_setsockopt(l, fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

int sock_error(struct loop *l, int fd)
{
	int error = 0;
	socklen_t len = sizeof(error);

	(void)loop_getsockopt(l, fd, SOL_SOCKET, SO_ERROR, &error, &len);
	return error;
}
