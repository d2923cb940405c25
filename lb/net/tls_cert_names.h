/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The names of a certificate, for `stats`: what a context has does not tell which certificate bears
 * which name.
 *
 * Thread: main's. Layer: net.
 */

#include "net/tls_ctx.h"
#include "util/slice.h"

/* A negative errno ends the walk. */
typedef int (*tls_cert_names_fn)(void *arg, struct slice name);

/*
 * tls_cert_names() - call `fn` for each DNS name of the certificate that belongs to the key
 *
 * `now_s` is since 1970. The names are those of subjectAltName, or the common name where there is
 * no such extension. Returns 0, what `fn` has returned, -EINVAL where the files are not usable (as
 * tls_ctx_new_server() reports), or -ENOMEM.
 */
int tls_cert_names(struct tls_lib *l, const struct tls_cert_files *files, int64_t now_s,
		   tls_cert_names_fn fn, void *arg) LB_MUST_CHECK;
