/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A TLS context from inside, for the TLS files of lb/net. */

#include <openssl/ssl.h>

#include "net/tls_ctx.h"
#include "net/tls_names.h"
#include "util/ref.h"

struct tls_ctx {
	struct ref ref;
	struct tls_lib *lib; /* borrows */
	/* One for each set of certificates that answers some name; [0] answers unknown names. A
	 * client's context has one. */
	SSL_CTX **group; /* owns */
	uint32_t n_groups;
	struct tls_names names;     /* values: indexes of `group` */
	struct tls_cert_info *cert; /* owns */
	uint32_t n_certs;
	bool is_server, is_compact, is_strict_sni, is_unverified;
	struct tls_tickets *tickets; /* counted */
	uint8_t *alpn;               /* owns; as on the wire: lengths and names */
	size_t n_alpn;               /* bytes */
	uint64_t id;                 /* of a client's: a session is good for the same one only */
};

/* A zeroed context with one reference and what `s` says of ALPN; NULL when memory is short, which
 * is reported. */
struct tls_ctx *tls_ctx_new(struct tls_lib *l, const struct tls_settings *s, bool is_server,
			    struct err *e);

/* An SSL_CTX under the settings, watched (net/tls_watch.h). NULL: reported in `e`. */
SSL_CTX *tls_ctx_make_ssl_ctx(struct tls_ctx *c, const struct tls_settings *s, struct err *e);

/* Makes room for one more group and appends `ssl_ctx`, which it takes over. */
int tls_ctx_add_group(struct tls_ctx *c, SSL_CTX *ssl_ctx) LB_MUST_CHECK;
