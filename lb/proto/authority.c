/* SPDX-License-Identifier: Apache-2.0 */
/*
 * authority_parse(): the host and the port of a Host field or of an absolute target, judged by RFC
 * 3986, 3.2, and zone identifiers by RFC 6874.
 *
 * An authority that begins with '[' is an IPv6 address (parse_ipv6()), perhaps with a zone. Any
 * other authority is a name or an IPv4 address (is_reg_name()). A port may follow (is_port()). The
 * form IPvFuture of RFC 3986 is refused: it is not in use, and another parser might read it
 * differently.
 *
 * Thread: any.
 */
#include "proto/authority.h"

#include <arpa/inet.h>
#include <stdint.h>

#include "proto/octet.h"
#include "util/parse.h"

/*
 * Whether `s` is what may follow a host: "", ":" or a port as in ":8080". RFC 3986 lets the port be
 * empty.
 */
static bool is_port(struct slice s)
{
	uint64_t port;

	if (s.n == 0)
		return true;
	if (s.p[0] != ':')
		return false;
	s = (struct slice){ .p = s.p + 1, .n = s.n - 1 };
	return s.n == 0 || (parse_uint(s, &port) == 0 && port <= UINT16_MAX);
}

/* Whether `s` consists of letters, digits, marks, and '%' in front of two hexadecimal digits. */
static bool is_reg_name(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		uint8_t c = (uint8_t)s.p[i];

		if (!octet_is(c, OCTET_HOST) || c == '[' || c == ']')
			return false;
		if (c == '%' && (s.n - i < 3 || !octet_is((uint8_t)s.p[i + 1], OCTET_HEX) ||
				 !octet_is((uint8_t)s.p[i + 2], OCTET_HEX)))
			return false;
	}
	return s.n != 0;
}

/* Whether `s` is an IPv6 address. IPv4-mapped addresses are IPv6 addresses, too. */
static bool is_ipv6(struct slice s)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr a;

	if (s.n >= sizeof(text))
		return false;
	memcpy(text, s.p, s.n);
	text[s.n] = '\0';
	return inet_pton(AF_INET6, text, &a) == 1;
}

/* Whether `s` is a zone: unreserved characters and percent-escapes (RFC 6874, 2). */
static bool is_zone(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (memchr("!$&'()*+,;=:", s.p[i], 12) != NULL)
			return false;
	return is_reg_name(s);
}

/* Whether `s` is an IPv6 address, perhaps with "%25" and a zone behind it. */
static bool is_ipv6_with_zone(struct slice s)
{
	const char *percent = memchr(s.p, '%', s.n);

	if (percent == NULL)
		return is_ipv6(s);
	struct slice addr = { .p = s.p, .n = (size_t)(percent - s.p) };
	struct slice behind = { .p = percent, .n = s.n - addr.n };
	return behind.n > 3 && memcmp(percent, "%25", 3) == 0 && is_ipv6(addr) &&
	       is_zone((struct slice){ .p = percent + 3, .n = behind.n - 3 });
}

/* Does what authority_parse() does when `s` begins with '['. */
static bool parse_ipv6(struct slice s, struct slice *ret_host)
{
	const char *end = memchr(s.p, ']', s.n);

	LB_ASSERT(s.n > 0 && s.p[0] == '[');
	if (end == NULL)
		return false;
	size_t n = (size_t)(end - s.p);
	if (!is_ipv6_with_zone((struct slice){ .p = s.p + 1, .n = n - 1 }))
		return false;
	if (!is_port((struct slice){ .p = end + 1, .n = s.n - n - 1 }))
		return false;
	*ret_host = (struct slice){ .p = s.p, .n = n + 1 };
	return true;
}

bool authority_parse(struct slice s, struct slice *ret_host)
{
	if (s.n == 0)
		return false;
	if (s.p[0] == '[')
		return parse_ipv6(s, ret_host);

	const char *colon = memchr(s.p, ':', s.n);
	struct slice host = { .p = s.p, .n = colon != NULL ? (size_t)(colon - s.p) : s.n };
	if (!is_port((struct slice){ .p = s.p + host.n, .n = s.n - host.n }) || !is_reg_name(host))
		return false;
	if (host.p[host.n - 1] == '.')
		host.n--;
	if (host.n == 0)
		return false;
	LB_ASSERT(host.n <= s.n);
	*ret_host = host;
	return true;
}
