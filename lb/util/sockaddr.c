/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Socket addresses: from text and to text, from the kernel's form and to it, and comparisons.
 *
 * Terms. A host is an address without a port. A mapped address is an IPv6 address that stands for
 * an IPv4 one (::ffff:1.2.3.4). A network is an address and the number of its leading bits that
 * count.
 *
 * Reading. addr_parse() cuts the port off at the last colon, and the brackets of an IPv6 address,
 * and gives the rest to host_parse(), which leaves the work to inet_pton(3). addr_parse_host()
 * reads a host alone. cidr_parse() reads a network. All are strict: each address has one spelling
 * of its numbers, and names are not resolved. A mapped address is refused, because lb's IPv6
 * sockets are IPV6_V6ONLY.
 *
 * Writing. addr_format() and addr_format_host() write what the parsers read.
 *
 * Comparing. addr_eq() and addr_compare() compare address and port. addr_overlaps() tells whether
 * two listeners would share an address. cidr_contains() compares leading bits (prefix_eq()).
 *
 * A struct addr of family 0 is no address: two of them are equal, and it can be neither written as
 * text nor given to the kernel.
 *
 * Thread: any (pure functions).
 */
#include "util/sockaddr.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const uint8_t v4_mapped[12] = { [10] = 0xff, [11] = 0xff };

/*
 * Reads a numeric address of one family. inet_pton(3) is strict (four decimal parts without leading
 * zeros, no zone id), but needs a NUL behind the text, so the text is copied.
 */
static int host_parse(struct slice text, uint8_t family, struct addr *ret)
{
	char host[INET6_ADDRSTRLEN];
	struct addr a = { .family = family };

	if (text.n == 0 || text.n >= sizeof(host) || memchr(text.p, '\0', text.n) != NULL)
		return -EINVAL;
	memcpy(host, text.p, text.n);
	host[text.n] = '\0';

	void *to = family == AF_INET ? (void *)a.v4 : (void *)a.v6;
	if (inet_pton(family, host, to) != 1)
		return -EINVAL;
	if (family == AF_INET6 && memcmp(a.v6, v4_mapped, sizeof(v4_mapped)) == 0)
		return -EINVAL;
	*ret = a;
	return 0;
}

/* Reads a decimal number of at most `max`, without leading zeros. */
static int number_parse(struct slice text, unsigned max, unsigned *ret)
{
	unsigned v = 0;

	if (text.n == 0 || text.n > 5 || (text.n > 1 && text.p[0] == '0'))
		return -EINVAL;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return -EINVAL;
		v = v * 10 + (unsigned)(text.p[i] - '0');
	}
	if (v > max)
		return -EINVAL;
	*ret = v;
	return 0;
}

/* Cuts *text at its last `c`: *text keeps what is before, *behind gets what is behind. Returns
 * false, and changes nothing, when *text has no `c`. */
static bool cut_last(struct slice *text, char c, struct slice *behind)
{
	const char *at = text->n == 0 ? NULL : memrchr(text->p, c, text->n);
	if (at == NULL)
		return false;

	size_t n = (size_t)(at - text->p);
	*behind = (struct slice){ .p = at + 1, .n = text->n - n - 1 };
	text->n = n;
	return true;
}

int addr_parse_host(struct slice text, struct addr *ret)
{
	bool is_v6 = text.n != 0 && memchr(text.p, ':', text.n) != NULL;

	return host_parse(text, is_v6 ? AF_INET6 : AF_INET, ret);
}

int addr_parse(struct slice text, struct addr *ret)
{
	struct slice port_text;
	struct addr a;
	unsigned port;

	if (!cut_last(&text, ':', &port_text) || number_parse(port_text, UINT16_MAX, &port) < 0)
		return -EINVAL;

	uint8_t family = AF_INET;
	if (text.n >= 2 && text.p[0] == '[' && text.p[text.n - 1] == ']') {
		family = AF_INET6;
		text = (struct slice){ .p = text.p + 1, .n = text.n - 2 };
	}
	if (host_parse(text, family, &a) < 0)
		return -EINVAL;
	a.port = (uint16_t)port;
	*ret = a;
	return 0;
}

/* Writes the address alone to `to`, which holds INET6_ADDRSTRLEN bytes; returns its length. */
static size_t host_format(const struct addr *a, char *to)
{
	LB_ASSERT(a->family == AF_INET || a->family == AF_INET6);

	const void *from = a->family == AF_INET ? (const void *)a->v4 : (const void *)a->v6;
	const char *text = inet_ntop(a->family, from, to, INET6_ADDRSTRLEN);
	LB_ASSERT(text != NULL); /* inet_ntop(3) fails only when the text does not fit */
	return strlen(text);
}

char *addr_format_host(const struct addr *a, char out[ADDR_TEXT_MAX])
{
	(void)host_format(a, out);
	return out;
}

/* The 8 bytes are two brackets, a colon and five digits; INET6_ADDRSTRLEN counts the NUL. */
static_assert(ADDR_TEXT_MAX >= INET6_ADDRSTRLEN + 8, "an address with its port fits");

char *addr_format(const struct addr *a, char out[ADDR_TEXT_MAX])
{
	char *at = out;

	if (a->family == AF_INET6)
		*at++ = '[';
	at += host_format(a, at);
	if (a->family == AF_INET6)
		*at++ = ']';
	LB_ASSERT(at - out <= INET6_ADDRSTRLEN + 1);
	(void)snprintf(at, ADDR_TEXT_MAX - (size_t)(at - out), ":%u", (unsigned)a->port);
	return out;
}

static bool host_eq(const struct addr *a, const struct addr *b)
{
	switch (a->family) {
	case AF_INET: return memcmp(a->v4, b->v4, sizeof(a->v4)) == 0;
	case AF_INET6: return memcmp(a->v6, b->v6, sizeof(a->v6)) == 0;
	default: return true; /* two addresses of family 0 are equal */
	}
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
	return a->family == b->family && a->port == b->port && host_eq(a, b);
}

void addr_from_sockaddr(const struct sockaddr *sa, struct addr *ret)
{
	struct addr a = { 0 };

	if (sa->sa_family == AF_INET) {
		struct sockaddr_in sin;
		memcpy(&sin, sa, sizeof(sin));
		a.family = AF_INET;
		a.port = ntohs(sin.sin_port);
		memcpy(a.v4, &sin.sin_addr, sizeof(a.v4));
	} else if (sa->sa_family == AF_INET6) {
		struct sockaddr_in6 sin6;
		memcpy(&sin6, sa, sizeof(sin6));
		a.family = AF_INET6;
		a.port = ntohs(sin6.sin6_port);
		memcpy(a.v6, &sin6.sin6_addr, sizeof(a.v6));
	}
	*ret = a;
}

socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *ret)
{
	LB_ASSERT(a->family == AF_INET || a->family == AF_INET6);

	memset(ret, 0, sizeof(*ret));
	if (a->family == AF_INET) {
		struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(a->port) };
		memcpy(&sin.sin_addr, a->v4, sizeof(a->v4));
		memcpy(ret, &sin, sizeof(sin));
		return sizeof(sin);
	}

	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6, .sin6_port = htons(a->port) };
	memcpy(&sin6.sin6_addr, a->v6, sizeof(a->v6));
	memcpy(ret, &sin6, sizeof(sin6));
	return sizeof(sin6);
}

/* Whether the first `bits` bits of `a` and `b` are the same. */
static bool prefix_eq(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;

	if (memcmp(a, b, bytes) != 0)
		return false;
	return rest == 0 || ((a[bytes] ^ b[bytes]) >> (8 - rest)) == 0;
}

static bool is_any(const struct addr *a)
{
	static const uint8_t zero[sizeof(a->v6)];

	return memcmp(a->v6, zero, a->family == AF_INET ? sizeof(a->v4) : sizeof(a->v6)) == 0;
}

bool addr_overlaps(const struct addr *a, const struct addr *b)
{
	if (a->family != b->family || a->port != b->port || a->port == 0)
		return false;
	return is_any(a) || is_any(b) || addr_eq(a, b);
}

int addr_compare(const struct addr *a, const struct addr *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	if (a->port != b->port)
		return a->port < b->port ? -1 : 1;
	return a->family == AF_INET ? memcmp(a->v4, b->v4, sizeof(a->v4))
				    : memcmp(a->v6, b->v6, sizeof(a->v6));
}

bool addr_is_loopback(const struct addr *a)
{
	static const uint8_t one[16] = { [15] = 1 };

	return a->family == AF_INET ? a->v4[0] == 127
				    : a->family == AF_INET6 && memcmp(a->v6, one, 16) == 0;
}

int cidr_parse(struct slice text, struct cidr *ret)
{
	struct slice bits_text = { 0 };
	struct cidr c;

	bool has_bits = cut_last(&text, '/', &bits_text);
	if (addr_parse_host(text, &c.net) < 0)
		return -EINVAL;

	unsigned max = c.net.family == AF_INET ? 32 : 128, bits = max;
	if (has_bits && number_parse(bits_text, max, &bits) < 0)
		return -EINVAL;
	c.bits = (uint8_t)bits;
	*ret = c;
	return 0;
}

bool cidr_contains(const struct cidr *c, const struct addr *a)
{
	if (c->net.family != a->family)
		return false;
	LB_ASSERT(c->bits <= (a->family == AF_INET ? 32 : 128));
	switch (a->family) {
	case AF_INET: return prefix_eq(c->net.v4, a->v4, c->bits);
	case AF_INET6: return prefix_eq(c->net.v6, a->v6, c->bits);
	default: return false;
	}
}
