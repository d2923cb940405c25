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
	uint8_t family; /* AF_INET, AF_INET6; 0 is no address */
	uint8_t pad;
	uint16_t port; /* host byte order */
	union {
		uint8_t v4[4];
		uint8_t v6[16];
	};
};

/* Longest text of addr_format(): "[v6]:65535" and the NUL. */
#define ADDR_TEXT_MAX 56

/*
 * addr_parse() - read an address with its port, "1.2.3.4:80" or "[::1]:80"
 *
 * Only numeric addresses, no leading or trailing space. Port 0 to 65535. Returns 0 and sets *ret,
 * or -EINVAL and leaves *ret alone.
 */
int addr_parse(struct slice text, struct addr *ret) LB_MUST_CHECK;

/* Reads an address alone, "1.2.3.4" or "::1" without brackets. Returns as addr_parse(); port 0. */
int addr_parse_host(struct slice text, struct addr *ret) LB_MUST_CHECK;

/* Writes "1.2.3.4:80" or "[::1]:80" and a NUL; returns `out`. */
char *addr_format(const struct addr *a, char out[ADDR_TEXT_MAX]);

/* The same without brackets and port. */
char *addr_format_host(const struct addr *a, char out[ADDR_TEXT_MAX]);

/* Address and port. */
bool addr_eq(const struct addr *a, const struct addr *b);

/*
 * Whether two sockets cannot be bound at a time, each to one of the addresses alone: these have the
 * same family and port, and are equal, or one of them stands for all addresses (0.0.0.0, ::). Port
 * 0, any free port, overlaps with none.
 */
bool addr_overlaps(const struct addr *a, const struct addr *b);

/* Compares addresses with their ports as memcmp(3) does, for sorting. */
int addr_compare(const struct addr *a, const struct addr *b);

/* From the kernel's form; any other family gives family 0. */
void addr_from_sockaddr(const struct sockaddr *sa, struct addr *ret);

/* To the kernel's form; returns the length for bind(2) and connect(2). */
socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *ret);

/* Whether packets to this address never leave the machine: 127.0.0.0/8, ::1. */
bool addr_is_loopback(const struct addr *a);

/* A network in CIDR notation; an address alone is a network of one. */
struct cidr {
	struct addr net;
	uint8_t bits;
};

/* Returns 0 and sets *ret, or -EINVAL. */
int cidr_parse(struct slice text, struct cidr *ret) LB_MUST_CHECK;
bool cidr_contains(const struct cidr *c, const struct addr *a);
