/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What is kept of a handshake of TLS for the access log and for the request's head, after the
 * record layer was chosen.
 *
 * Thread: owner worker. Layer: proxy.
 */

#include <stdbool.h>

#include "util/slice.h"

struct tls;

struct tls_note {
	const char *version, *cipher; /* static */
	const char *sni;              /* "": the client named none */
	struct slice alpn;            /* the protocol that was agreed on; empty: none */
	const char *subject;          /* of the client's certificate; "": it has shown none */
	bool has_cert;                /* it has shown one, now or in the session that it resumes */
	bool is_resumed;
	struct slice fields; /* X-Client-Cert-...: whole field lines; empty where not asked for */
	char text[];         /* what the members above point to */
};

/*
 * tls_note_new() - note what the handshake of `t` has found out
 *
 * To be called between TLS_DONE and tls_start(). Where the listener asks for certificates
 * (`wants_cert`), the fields say whether the client has shown one, and whose. Returns NULL when
 * memory is short. Allocates: not on the path of a byte.
 */
struct tls_note *tls_note_new(const struct tls *t, bool wants_cert);

/* NULL is fine. Returns NULL. */
struct tls_note *tls_note_free(struct tls_note *n);
