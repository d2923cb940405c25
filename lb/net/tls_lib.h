/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * OpenSSL as lb uses it: a library context of lb's own, with the algorithms fetched once, and
 * OpenSSL's words for what went wrong.
 *
 * A library context has locks that every handshake takes, so each worker has one of its own. It is
 * constant after it is made. No configuration file of OpenSSL's is read, so that what lb offers is
 * what its own configuration says.
 *
 * Thread: any, one at a time for tls_lib_free(). Layer: net.
 */

#include "util/assert.h"

struct tls_lib;

/* NULL when memory is short or libcrypto lacks an algorithm. Costs some 100 KB. */
struct tls_lib *tls_lib_new(void);

/* Everything that was made from it must be gone. NULL is fine. Returns NULL. */
struct tls_lib *tls_lib_free(struct tls_lib *l);

/* OpenSSL's word for the newest error of this thread (static text), whose errors are forgotten. */
const char *tls_lib_error(void);
