/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A TLS context: what all connections of a listener, or to a pool's backends, have in common.
 *
 * It is made from texts that main has read, and constant afterwards: a reload makes a new one, and
 * connections keep the one that they began with. A context belongs to a library context; each
 * worker's contexts are made from the worker's own (net/tls_lib.h), so that workers share no locks.
 *
 * Thread: main makes it; any thread may hold and release it. Layer: net.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/tls_pem.h"
#include "util/assert.h"
#include "util/err.h"
#include "util/slice.h"

struct tls_ctx;
struct tls_lib;
struct tls_tickets;

/* The clients' certificates that a listener wants. */
enum tls_verify {
	TLS_VERIFY_NONE,
	TLS_VERIFY_OPTIONAL, /* one that is sent must be good */
	TLS_VERIFY_REQUIRED,
};

struct tls_cert_files {
	struct tls_pem cert; /* with the intermediates behind it */
	struct tls_pem key;  /* may be the same file */
};

/* What listeners and pools have in common. Unset members are lb's own values. All is borrowed for
 * the call. */
struct tls_settings {
	struct mark at;           /* where the user has written them; for errors */
	uint16_t min_version;     /* TLS_VERSION_1_2 or _1_3 (proto/tls_frame.h); 0: 1.2 */
	uint16_t max_version;     /* 0: 1.3; lower in tests */
	const char *ciphers;      /* of TLS 1.2, in OpenSSL's words */
	const char *ciphersuites; /* of TLS 1.3 */
	const char *groups;
	const char *const *alpn; /* in the order of preference */
	size_t n_alpn;           /* 0: none is offered or chosen */
	bool is_compact;         /* records: compact (docs/decisions) */
	int64_t now_s;           /* seconds since 1970: judges certificates */
};

struct tls_server_settings {
	struct tls_settings common;
	const struct tls_cert_files *certs; /* the first one answers unknown and missing names */
	size_t n_certs;                     /* at least 1 */
	bool is_strict_sni;                 /* a name that no certificate bears is refused */
	enum tls_verify verify;
	struct tls_pem ca, crl;      /* for TLS_VERIFY_OPTIONAL and _REQUIRED; crl may be empty */
	struct tls_tickets *tickets; /* the context takes a reference; NULL: no resumption */
	uint32_t ticket_seconds;     /* how long a ticket is good; 0: a day */
	const char *id;              /* of the listener: tickets are good for the same one only */
};

struct tls_client_settings {
	struct tls_settings common;
	bool is_unverified;        /* the backend's certificate is not looked at */
	struct tls_pem ca;         /* required unless is_unverified */
	struct tls_pem crl;        /* may be empty */
	struct tls_cert_files own; /* shown to a backend that asks; may be empty */
};

/*
 * tls_ctx_new_server() - for a listener
 *
 * Returns 0 and sets *ret to a context with one reference, or -EINVAL or -ENOMEM and reports every
 * mistake in `e`. What only deserves a warning is reported as one. `l` must outlive the context.
 */
int tls_ctx_new_server(struct tls_lib *l, const struct tls_server_settings *s, struct err *e,
		       struct tls_ctx **ret) LB_MUST_CHECK;

/* The same for a pool's backends. */
int tls_ctx_new_client(struct tls_lib *l, const struct tls_client_settings *s, struct err *e,
		       struct tls_ctx **ret) LB_MUST_CHECK;

struct tls_ctx *tls_ctx_ref(struct tls_ctx *c);

/* NULL is fine. Returns NULL. */
struct tls_ctx *tls_ctx_unref(struct tls_ctx *c);

/* One of its certificates, for `stats` and for warnings about its end. */
struct tls_cert_info {
	char *file;                        /* owned by the context */
	int64_t not_before_s, not_after_s; /* seconds since 1970 */
};

size_t tls_ctx_n_certs(const struct tls_ctx *c);
const struct tls_cert_info *tls_ctx_cert(const struct tls_ctx *c, size_t i);

/* Whether a server would answer this name with a certificate that bears it. */
bool tls_ctx_has_name(const struct tls_ctx *c, struct slice name);
