/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A socket address, IPv4 or IPv6, in 20 bytes: small enough to sit in every session.
 *
 * Thread: any (pure functions).
 *
 * Layer: util.
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "util/assert.h"
#include "util/slice.h"

struct addr {
	uint8_t family; /* AF_INET or AF_INET6; 0: no address */
	uint8_t pad;
	uint16_t port; /* host byte order */
	union {
		uint8_t v4[4];
		uint8_t v6[16];
	};
};

/* Bytes for the longest text of addr_format(), "[IPv6 address]:65535", with its NUL. */
#define ADDR_TEXT_MAX 56

/*
 * addr_parse() - read an address with its port, "1.2.3.4:80" or "[::1]:80"
 *
 * Only numeric addresses, no leading or trailing space. Port 0 to 65535. Returns 0 and sets *ret,
 * or -EINVAL and leaves *ret alone.
 */
int addr_parse(struct slice text, struct addr *ret) LB_MUST_CHECK;

/* Reads an address without a port, "1.2.3.4" or "::1" (no brackets). Returns as addr_parse() does;
 * the port is 0. */
int addr_parse_host(struct slice text, struct addr *ret) LB_MUST_CHECK;

/* Writes "1.2.3.4:80" or "[::1]:80" and a NUL; returns `out`. */
char *addr_format(const struct addr *a, char out[ADDR_TEXT_MAX]);

/* Writes the address without brackets and port, and a NUL; returns `out`. */
char *addr_format_host(const struct addr *a, char out[ADDR_TEXT_MAX]);

/* Whether addresses and ports are equal. */
bool addr_eq(const struct addr *a, const struct addr *b);

/*
 * Whether `a` and `b` overlap: a socket that listens at `a` keeps every other socket from listening
 * at `b`, unless both set SO_REUSEPORT. `a` and `b` overlap when they have the same family and
 * port, and the addresses are equal or one of them stands for all addresses (0.0.0.0, ::). Port 0
 * stands for any free port, so it overlaps with no port.
 */
bool addr_overlaps(const struct addr *a, const struct addr *b);

/* Orders addresses with their ports, for sorting. Returns as memcmp(3) does. */
int addr_compare(const struct addr *a, const struct addr *b);

/* Converts the kernel's form of an address. When it is neither IPv4 nor IPv6, the family in *ret is
 * 0. */
void addr_from_sockaddr(const struct sockaddr *sa, struct addr *ret);

/* Converts to the kernel's form. Returns its length for bind(2) and connect(2). */
socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *ret);

/* Whether `a` is a loopback address (127.0.0.0/8, ::1), so that packets to `a` never leave this
 * machine. */
bool addr_is_loopback(const struct addr *a);

/* A network in CIDR notation. An address without a length is a network of one address. */
struct cidr {
	struct addr net;
	uint8_t bits;
};

/* Reads a network. Returns 0 and sets *ret, or returns -EINVAL. */
int cidr_parse(struct slice text, struct cidr *ret) LB_MUST_CHECK;
bool cidr_contains(const struct cidr *c, const struct addr *a);
