/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Names of certificates, and which of them a client's server name (SNI, RFC 6066, 3) means.
 *
 * An exact name comes before a wildcard, and a wildcard stands for one whole label:
 * *.example.com is a.example.com, and neither a.b.example.com nor example.com (RFC 6125, 6.4.3).
 *
 * Thread: any, once it is sorted. Layer: net.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/assert.h"
#include "util/slice.h"

#define TLS_NAME_MAX 253u /* bytes of a DNS name, without a dot at its end */
#define TLS_NAMES_NONE UINT32_MAX

struct tls_name {
	char *name;     /* owns; in lower case */
	uint32_t value; /* the caller's */
};

struct tls_names {
	struct tls_name *row; /* owns; sorted by name, then by value */
	uint32_t n, cap;
	bool is_sorted;
};

/* Whether it is a host name, or a wildcard and a host name. Case does not matter. */
bool tls_name_is_valid(struct slice name);

/* Adds a valid name. Returns 0 or -ENOMEM. */
int tls_names_add(struct tls_names *t, struct slice name, uint32_t value) LB_MUST_CHECK;

/* To be called when all are added, before the first tls_names_find(). */
void tls_names_sort(struct tls_names *t);

/* The value of the first row that fits, or TLS_NAMES_NONE. A dot at the end of `sni` is ignored. */
uint32_t tls_names_find(const struct tls_names *t, struct slice sni);

/* Frees the rows; a zeroed table is fine. */
void tls_names_deinit(struct tls_names *t);
