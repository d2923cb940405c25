/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What contexts of servers and of clients have in common.
 *
 * Suites and groups. All suites are AEADs, because the others have a history of attacks, and
 * because lb's own record layer knows only these. A handshake's longest step is 0.4 ms with X25519
 * or P-256; P-384 takes 2 to 3 ms and ffdhe8192, which OpenSSL offers by itself, 118 ms, so they
 * are there on request only.
 *
 * Renegotiation (TLS 1.2) is refused. Read-ahead is off, so that OpenSSL takes no byte that is
 * behind the record it reads: what is glued to the handshake's end stays in lb's own buffers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls_ctx_priv.h"
#include "net/tls_lib_priv.h"
#include "net/tls_ticket.h"
#include "net/tls_watch.h"
#include "proto/tls_frame.h"

#define CIPHERS \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:" \
	"ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:" \
	"ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define CIPHERSUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:P-256"

#define ALPN_NAME_MAX 255u

/* Writes the names as on the wire. Returns 0, -EINVAL or -ENOMEM; reported. */
static int set_alpn(struct tls_ctx *c, const struct tls_settings *s, struct err *e)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_alpn; i++) {
		size_t len = strlen(s->alpn[i]);
		if (len == 0 || len > ALPN_NAME_MAX)
			return err_at(e, s->at, "alpn: \"%s\" has %zu bytes; allowed are 1 to %u",
				      s->alpn[i], len, ALPN_NAME_MAX);
		n += 1 + len;
	}
	if (n == 0)
		return 0;
	c->alpn = malloc(n);
	if (c->alpn == NULL)
		return err_add(e, -ENOMEM, "TLS: memory is short");
	for (size_t i = 0; i < s->n_alpn; i++) {
		size_t len = strlen(s->alpn[i]);
		c->alpn[c->n_alpn] = (uint8_t)len;
		memcpy(c->alpn + c->n_alpn + 1, s->alpn[i], len);
		c->n_alpn += 1 + len;
	}
	LB_ASSERT(c->n_alpn == n);
	return 0;
}

struct tls_ctx *tls_ctx_new(struct tls_lib *l, const struct tls_settings *s, bool is_server,
			    struct err *e)
{
	struct tls_ctx *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		(void)err_add(e, -ENOMEM, "TLS: memory is short");
		return NULL;
	}
	ref_init(&c->ref);
	c->lib = l;
	c->is_server = is_server;
	c->is_compact = s->is_compact;
	if (set_alpn(c, s, e) < 0)
		return tls_ctx_unref(c);
	return c;
}

/* One setting in OpenSSL's words. */
static int apply(int is_ok, const struct tls_settings *s, const char *key, const char *value,
		 struct err *e)
{
	if (is_ok == 1)
		return 0;
	return err_at(e, s->at, "%s: OpenSSL does not accept \"%s\" (%s)", key, value,
		      tls_lib_error());
}

SSL_CTX *tls_ctx_make_ssl_ctx(struct tls_ctx *c, const struct tls_settings *s, struct err *e)
{
	const char *ciphers = s->ciphers != NULL ? s->ciphers : CIPHERS;
	const char *suites = s->ciphersuites != NULL ? s->ciphersuites : CIPHERSUITES;
	const char *groups = s->groups != NULL ? s->groups : GROUPS;
	SSL_CTX *x = SSL_CTX_new_ex(c->lib->ossl, NULL,
				    c->is_server ? TLS_server_method() : TLS_client_method());
	int r = 0;

	if (x == NULL) {
		(void)err_add(e, -ENOMEM, "TLS: %s", tls_lib_error());
		return NULL;
	}
	int min = s->min_version != 0 ? s->min_version : TLS_VERSION_1_2;
	int max = s->max_version != 0 ? s->max_version : TLS_VERSION_1_3;
	LB_ASSERT(min >= (int)TLS_VERSION_1_2 && max <= (int)TLS_VERSION_1_3 && min <= max);
	(void)SSL_CTX_set_min_proto_version(x, min);
	(void)SSL_CTX_set_max_proto_version(x, max);
	r |= apply(SSL_CTX_set_cipher_list(x, ciphers), s, "ciphers", ciphers, e);
	r |= apply(SSL_CTX_set_ciphersuites(x, suites), s, "ciphersuites", suites, e);
	r |= apply((int)SSL_CTX_set1_groups_list(x, tls_unconst(groups)), s, "groups", groups, e);
	if (r != 0) {
		SSL_CTX_free(x);
		return NULL;
	}
	(void)SSL_CTX_set_options(x, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
					     SSL_OP_PRIORITIZE_CHACHA | SSL_OP_NO_COMPRESSION);
	(void)SSL_CTX_set_mode(x, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
					  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
					  SSL_MODE_NO_AUTO_CHAIN);
	SSL_CTX_set_read_ahead(x, 0);
	(void)SSL_CTX_set_session_cache_mode(x, SSL_SESS_CACHE_OFF);
	tls_watch_ctx(x);
	return x;
}

int tls_ctx_add_group(struct tls_ctx *c, SSL_CTX *ssl_ctx)
{
	SSL_CTX **grown = reallocarray(c->group, c->n_groups + 1, sizeof(SSL_CTX *));

	LB_ASSERT(ssl_ctx != NULL && c->n_groups < TLS_NAMES_NONE);
	if (grown == NULL) {
		SSL_CTX_free(ssl_ctx);
		return -ENOMEM;
	}
	c->group = grown;
	c->group[c->n_groups++] = ssl_ctx;
	return 0;
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *c)
{
	LB_ASSERT(c->n_groups > 0);
	ref_get(&c->ref);
	return c;
}

struct tls_ctx *tls_ctx_unref(struct tls_ctx *c)
{
	if (c == NULL || !ref_put(&c->ref))
		return NULL;
	for (uint32_t i = 0; i < c->n_groups; i++)
		SSL_CTX_free(c->group[i]);
	free(c->group);
	for (uint32_t i = 0; i < c->n_certs; i++)
		free(c->cert[i].file);
	free(c->cert);
	tls_names_deinit(&c->names);
	c->tickets = tls_tickets_unref(c->tickets);
	free(c->alpn);
	free(c);
	return NULL;
}

size_t tls_ctx_n_certs(const struct tls_ctx *c)
{
	return c->n_certs;
}

const struct tls_cert_info *tls_ctx_cert(const struct tls_ctx *c, size_t i)
{
	LB_ASSERT(i < c->n_certs);
	return &c->cert[i];
}

bool tls_ctx_has_name(const struct tls_ctx *c, struct slice name)
{
	LB_ASSERT(c->is_server);
	return tls_names_find(&c->names, name) != TLS_NAMES_NONE;
}
