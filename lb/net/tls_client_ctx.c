/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdatomic.h>

#include "net/tls_cert.h"
#include "net/tls_ctx_priv.h"
#include "net/tls_lib_priv.h"

/* Shows lb's own certificate to backends that ask. */
static int use_own(const struct tls_client_settings *s, struct tls_ctx *c, SSL_CTX *x,
		   struct err *e)
{
	struct tls_cert cert = { 0 };
	int r = tls_cert_load(c->lib, s->own.cert, s->own.key, s->common.now_s, e, &cert);

	if (r < 0)
		return r;
	if (SSL_CTX_use_cert_and_key(x, cert.leaf, cert.key, cert.chain, 1) != 1)
		r = err_at(e, (struct mark){ .file = cert.file },
			   "OpenSSL does not accept this certificate (%s)", tls_lib_error());
	tls_cert_deinit(&cert);
	return r;
}

static int verify_by(const struct tls_client_settings *s, struct tls_ctx *c, SSL_CTX *x,
		     struct err *e)
{
	X509_STORE *store = NULL;
	int r = tls_cert_load_store(c->lib, s->ca, s->crl, s->common.now_s, e, &store, NULL);

	if (r < 0)
		return r;
	SSL_CTX_set_cert_store(x, store);
	SSL_CTX_set_verify(x, SSL_VERIFY_PEER, NULL);
	return 0;
}

static int build(const struct tls_client_settings *s, struct tls_ctx *c, struct err *e)
{
	SSL_CTX *x = tls_ctx_make_ssl_ctx(c, &s->common, e);
	int r = 0, own = 0;

	LB_ASSERT(!c->is_server && c->n_groups == 0);
	if (x == NULL)
		return -EINVAL;
	if (!s->is_unverified)
		r = verify_by(s, c, x, e);
	if (s->own.cert.text.p != NULL)
		own = use_own(s, c, x, e);
	r = r < 0 ? r : own;
	if (c->n_alpn > 0 && SSL_CTX_set_alpn_protos(x, c->alpn, (unsigned)c->n_alpn) != 0)
		r = err_add(e, -ENOMEM, "TLS: memory is short");
	/* A client's sessions are given out by tls_take_session(), and not stored. */
	(void)SSL_CTX_set_session_cache_mode(x, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	if (tls_ctx_add_group(c, x) < 0)
		r = err_add(e, -ENOMEM, "TLS: memory is short");
	return r;
}

int tls_ctx_new_client(struct tls_lib *l, const struct tls_client_settings *s, struct err *e,
		       struct tls_ctx **ret)
{
	static atomic_uint_least64_t last_id;
	struct tls_ctx *c = tls_ctx_new(l, &s->common, false, e);

	if (c == NULL)
		return -ENOMEM;
	c->id = atomic_fetch_add_explicit(&last_id, 1, memory_order_relaxed) + 1;
	c->is_unverified = s->is_unverified;
	LB_ASSERT(c->id != 0);
	int r = build(s, c, e);
	ERR_clear_error();
	if (r < 0) {
		tls_ctx_unref(c);
		return r;
	}
	LB_ASSERT(c->n_groups == 1);
	*ret = c;
	return 0;
}
