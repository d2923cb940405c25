/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a handshake has found out, for logs, routes and headers.
 *
 * To be asked for between TLS_DONE and tls_start(): behind that the SSL object may be gone.
 *
 * Thread: the loop's. Layer: net.
 */

#include <stdbool.h>

#include "util/assert.h"
#include "util/slice.h"

struct tls;

struct tls_info {
	struct slice
		server_name; /* the client's SNI; n is 0 without one; valid until tls_start() */
	struct slice alpn;   /* the protocol that was chosen; the same */
	const char *version; /* "TLSv1.3"; static */
	const char *cipher;  /* the suite in the RFC's words; static */
	bool is_resumed;
	bool has_peer_cert; /* the peer has shown a certificate, now or in the resumed session */
};

void tls_info_get(const struct tls *t, struct tls_info *ret);

#define TLS_SHA256_TEXT 65

/* The peer's certificate; texts are the caller's, until tls_peer_deinit(). */
struct tls_peer {
	char *subject, *issuer;       /* as in RFC 2253, in UTF-8 */
	char *serial;                 /* hexadecimal digits */
	char sha256[TLS_SHA256_TEXT]; /* of the certificate; hexadecimal digits */
};

/* Returns 0 and sets *ret, -ENOENT where the peer has shown none, or -ENOMEM. */
int tls_peer_get(const struct tls *t, struct tls_peer *ret) LB_MUST_CHECK;

/* A zeroed one is fine. */
void tls_peer_deinit(struct tls_peer *p);
