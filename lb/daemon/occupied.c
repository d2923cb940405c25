/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's list of listening sockets, by sock_diag(7) over a netlink socket.
 *
 * occupied_by_others() asks for the list of one address family at a time (search_family(): ask(),
 * read_all()). For each socket of the list read_one() decides whether the socket would take a
 * connection to the new address (conflicts()) and, if so, whether the socket is lb's (the caller's
 * is_own()). An IPv6 socket at [::] without IPV6_V6ONLY takes IPv4 connections, too. So a new IPv4
 * address is compared with both lists.
 *
 * Thread: main.
 */
#include "daemon/occupied.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* The kernel's number of the state TCP_LISTEN. */
#define STATE_LISTEN 10

/* The kernel puts at most this many bytes of the list into one answer. */
#define ANSWER_BYTES 32768

struct search {
	const struct addr *addr;
	bool (*is_own)(void *arg, uint32_t inode);
	void *arg;
	bool is_found; /* a socket that is in the way and not lb's was found */
	bool is_over;  /* the list has been read to its end */
	int error;
};

uint32_t occupied_inode(int fd)
{
	struct stat st;

	/* The kernel's list has the lower 32 bits of the inode's number. */
	return fstat(fd, &st) == 0 ? (uint32_t)st.st_ino : 0;
}

static bool is_zero(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

static const uint8_t *bytes_of(const struct addr *a, size_t *n)
{
	*n = a->family == AF_INET ? sizeof(a->v4) : sizeof(a->v6);
	return a->family == AF_INET ? a->v4 : a->v6;
}

/* Whether two addresses of one family are equal, or one of them is the wildcard address (0.0.0.0 or
 * ::). */
static bool overlap(const uint8_t *a, const uint8_t *b, size_t n)
{
	return is_zero(a, n) || is_zero(b, n) || memcmp(a, b, n) == 0;
}

/* Whether the listed IPv6 socket has IPV6_V6ONLY and so takes no IPv4 connections. */
static bool is_v6_only(const struct inet_diag_msg *m, size_t len)
{
	const char *p = (const char *)(m + 1);
	size_t left = len > sizeof(*m) ? len - sizeof(*m) : 0;

	while (left >= sizeof(struct nlattr)) {
		struct nlattr a;
		memcpy(&a, p, sizeof(a));
		size_t step = NLA_ALIGN(a.nla_len);
		if (a.nla_len < sizeof(a) || step > left)
			break;
		if (a.nla_type == INET_DIAG_SKV6ONLY && a.nla_len > sizeof(a))
			return p[sizeof(a)] != 0;
		p += step;
		left -= step;
	}
	return false;
}

/* Whether the listed socket would take a connection to the new address. */
static bool conflicts(const struct addr *new, const struct inet_diag_msg *m, size_t len)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	uint8_t other[16];
	size_t n;
	const uint8_t *bytes = bytes_of(new, &n);

	memcpy(other, m->id.idiag_src, sizeof(other));
	if (m->idiag_family == new->family)
		return overlap(bytes, other, n);
	if (new->family == AF_INET6)
		return false; /* lb's IPv6 sockets have IPV6_V6ONLY */
	if (is_zero(other, sizeof(other)))
		return !is_v6_only(m, len);
	return memcmp(other, mapped, sizeof(mapped)) == 0 &&
	       overlap(bytes, other + sizeof(mapped), n);
}

/* Looks at one message of the kernel's answer. `h` is not const, because the macros of netlink.h
 * would drop the const. */
static void read_one(struct search *s, struct nlmsghdr *h)
{
	if (h->nlmsg_type == NLMSG_DONE) {
		s->is_over = true;
	} else if (h->nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *e = NLMSG_DATA(h);
		s->error = h->nlmsg_len >= NLMSG_LENGTH(sizeof(*e)) ? e->error : -EIO;
		s->is_over = true;
	} else if (h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct inet_diag_msg))) {
		const struct inet_diag_msg *m = NLMSG_DATA(h);
		if (conflicts(s->addr, m, h->nlmsg_len - NLMSG_LENGTH(0)) &&
		    !s->is_own(s->arg, m->idiag_inode))
			s->is_found = true;
	}
}

/* Reads the kernel's list to its end. Returns 0 or a negative errno. */
static int read_all(struct search *s, int fd)
{
	static _Alignas(struct nlmsghdr) char answer[ANSWER_BYTES]; /* used by main only */

	while (!s->is_over) {
		ssize_t n = recv(fd, answer, sizeof(answer), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		size_t left = (size_t)n;
		for (struct nlmsghdr *h = (void *)answer; NLMSG_OK(h, left);
		     h = NLMSG_NEXT(h, left))
			read_one(s, h);
	}
	return s->error;
}

/* Asks the kernel for all sockets of a family that listen on the port. */
static int ask(int fd, uint8_t family, uint16_t port)
{
	struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 r;
	} request = {
		.header = { .nlmsg_len = sizeof(request),
			    .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			    .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
		.r = { .sdiag_family = family,
		       .sdiag_protocol = IPPROTO_TCP,
		       .idiag_states = 1u << STATE_LISTEN,
		       .id = { .idiag_sport = htons(port) } },
	};

	return send(fd, &request, sizeof(request), 0) < 0 ? -errno : 0;
}

static int search_family(struct search *s, uint8_t family)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (fd < 0)
		return -errno;

	s->is_over = false;
	s->error = 0;
	int r = ask(fd, family, s->addr->port);
	if (r == 0)
		r = read_all(s, fd);
	(void)close(fd);
	return r;
}

int occupied_by_others(const struct addr *a, bool (*is_own)(void *arg, uint32_t inode), void *arg)
{
	LB_ASSERT(a->port != 0 && is_own != NULL);
	struct search s = { .addr = a, .is_own = is_own, .arg = arg };
	int r = search_family(&s, AF_INET6);

	if (r == -ENOENT && a->family == AF_INET)
		r = 0; /* the kernel has no IPv6, so no IPv6 socket is in the way */
	if (r == 0 && a->family == AF_INET)
		r = search_family(&s, AF_INET);
	return r == 0 && s.is_found ? -EADDRINUSE : r;
}
