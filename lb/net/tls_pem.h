/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The blocks of a PEM file (RFC 7468), with the line that each begins in: so that an error can name
 * the place. What is in a block is decoded by OpenSSL.
 *
 * Thread: any. Layer: net.
 */

#include <stdint.h>

#include "util/assert.h"
#include "util/err.h"
#include "util/slice.h"

/* A file that the caller has read. */
struct tls_pem {
	const char *file;  /* for messages; borrowed */
	struct slice text; /* borrowed; {NULL, 0}: there is none */
};

struct tls_pem_block {
	struct slice label; /* between "-----BEGIN " and "-----" */
	struct slice text;  /* from the first line to the last one */
	struct mark at;     /* of the first line */
};

struct tls_pem_reader {
	/* private to tls_pem.c */
	struct tls_pem pem;
	size_t off;
	uint32_t line;
};

#define TLS_PEM_READER(pem_) ((struct tls_pem_reader){ .pem = (pem_), .line = 1 })

/* The next block: 1. 0: there is none. -EINVAL: a block has no end; reported in `e`. */
int tls_pem_next(struct tls_pem_reader *r, struct err *e, struct tls_pem_block *ret) LB_MUST_CHECK;
