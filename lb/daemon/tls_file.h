/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A file that a TLS listener names, read as a whole: certificates, keys, lists.
 *
 * Its bytes are wiped when it is given back, since it may hold a key.
 *
 * Thread: main. Layer: daemon.
 */

#include <stddef.h>

#include "net/tls_pem.h"
#include "util/assert.h"
#include "util/err.h"

/* Of a file: a guess; large revocation lists have some MiB. */
#define TLS_FILE_MAX (64u << 20)

struct tls_file {
	const char *path; /* borrows */
	char *text;       /* owns; NULL: it is not read */
	size_t n;
};

/*
 * tls_file_read() - read a file, whose path is named at `at` in lb.yaml
 *
 * `path` must live as long as the file. Returns 0 and sets *ret, or -EINVAL with the reason in `e`,
 * which names the user that cannot read it.
 */
int tls_file_read(const char *path, struct mark at, struct err *e,
		  struct tls_file *ret) LB_MUST_CHECK;

/* The same for a file of secrets, which users outside of its owner and group must not read. */
int tls_file_read_secret(const char *path, struct mark at, struct err *e,
			 struct tls_file *ret) LB_MUST_CHECK;

/* For the functions of net/; borrows. Of a file that is not read: no text. */
static inline struct tls_pem tls_file_pem(const struct tls_file *f)
{
	return (struct tls_pem){ .file = f->path, .text = { .p = f->text, .n = f->n } };
}

/* Wipes and frees. A zeroed one is fine. */
void tls_file_deinit(struct tls_file *f);
