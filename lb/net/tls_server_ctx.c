/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listener's context: certificates and their names, clients' certificates, tickets.
 *
 * Groups. Certificates of different kinds of keys (RSA, ECDSA) may bear one name; then the client's
 * offer decides. OpenSSL chooses among the certificates of one SSL_CTX, so there is an SSL_CTX for
 * each different set of certificates that some name has: a group. The table of names has the group
 * of each name.
 *
 * When a ClientHello has come, on_client_hello() gives the SSL object its group before OpenSSL
 * judges a ticket. All groups have the same session id context, a hash of whatever decides which
 * clients are let in; with another CA or revocation list a ticket of before is no longer good.
 */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls_cert.h"
#include "net/tls_ctx_priv.h"
#include "net/tls_lib_priv.h"
#include "net/tls_ticket.h"

#define TICKET_SECONDS 86400u
#define CERTS_PER_GROUP 4u /* RSA, RSA-PSS, ECDSA, EdDSA */

/* What is built, and thrown away half-built when something is wrong. */
struct build {
	struct tls_ctx *ctx;
	const struct tls_server_settings *s;
	struct err *e;
	struct tls_cert *cert; /* owns */
	uint32_t n_certs;
	X509_STORE *store;           /* owns; NULL: clients show no certificate */
	STACK_OF(X509_NAME) * names; /* owns; of the CAs */
	uint8_t sid[32];
	uint32_t i; /* the certificate whose names are being added */
};

/* ---- callbacks of a handshake ---------------------------------------------------------------- */

/* The host name of a server_name extension (RFC 6066, 3); n is 0 where there is none. What is
 * malformed is left to OpenSSL. */
static struct slice host_name_of(SSL *ssl)
{
	const unsigned char *p;
	size_t n;
	struct slice none = { 0 };

	/* A list's length, a name's type (0), a name's length, the name. */
	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &n) != 1 || n < 5 ||
	    p[2] != TLSEXT_NAMETYPE_host_name)
		return none;
	size_t len = (size_t)p[3] << 8 | p[4];
	if (len > n - 5)
		return none;
	return (struct slice){ .p = (const char *)p + 5, .n = len };
}

static int on_client_hello(SSL *ssl, int *ret_alert, void *arg)
{
	const struct tls_ctx *c = arg;
	struct slice name = host_name_of(ssl);
	uint32_t i = name.n > 0 ? tls_names_find(&c->names, name) : TLS_NAMES_NONE;

	if (i == TLS_NAMES_NONE && name.n > 0 && c->is_strict_sni) {
		*ret_alert = SSL_AD_UNRECOGNIZED_NAME;
		return SSL_CLIENT_HELLO_ERROR;
	}
	LB_ASSERT(i == TLS_NAMES_NONE || i < c->n_groups);
	if (i != TLS_NAMES_NONE && i != 0 && SSL_set_SSL_CTX(ssl, c->group[i]) == NULL) {
		*ret_alert = SSL_AD_INTERNAL_ERROR;
		return SSL_CLIENT_HELLO_ERROR;
	}
	return SSL_CLIENT_HELLO_SUCCESS;
}

/* Tells the client that its name was used. */
static int on_server_name(SSL *ssl, int *ret_alert, void *arg)
{
	const struct tls_ctx *c = arg;
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	(void)ret_alert;
	return name != NULL && tls_ctx_has_name(c, slice_of(name)) ? SSL_TLSEXT_ERR_OK
								   : SSL_TLSEXT_ERR_NOACK;
}

static int on_alpn(SSL *ssl, const unsigned char **ret, unsigned char *ret_n,
		   const unsigned char *in, unsigned n, void *arg)
{
	const struct tls_ctx *c = arg;
	unsigned char *chosen;

	(void)ssl;
	if (SSL_select_next_proto(&chosen, ret_n, c->alpn, (unsigned)c->n_alpn, in, n) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL; /* no_application_protocol */
	*ret = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static bool start_ticket(const struct tls_ctx *c, const struct tls_ticket_key *key,
			 const unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
			 int is_new)
{
	char hash[] = "SHA256";
	uint8_t hmac[sizeof(key->hmac)];
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, hmac, sizeof(hmac)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, hash, 0),
		OSSL_PARAM_construct_end(),
	};

	memcpy(hmac, key->hmac, sizeof(hmac));
	bool is_ok =
		EVP_CipherInit_ex(cipher, c->lib->ticket_cipher, NULL, key->aes, iv, is_new) == 1 &&
		EVP_MAC_CTX_set_params(mac, params) == 1;
	OPENSSL_cleanse(hmac, sizeof(hmac));
	return is_ok;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3): negative: failed; 0: no ticket, or an unknown key; 1:
 * good; 2: good, and the client gets a new one. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
		     EVP_MAC_CTX *mac, int is_new)
{
	const struct tls_ctx *c = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	struct tls_ticket_keys keys;
	uint32_t i = 0;
	int r = 0;

	tls_tickets_get(c->tickets, &keys);
	if (is_new) {
		memcpy(name, keys.key[0].name, TLS_TICKET_NAME_BYTES);
		if (RAND_bytes_ex(c->lib->ossl, iv, 16, 0) == 1 &&
		    start_ticket(c, &keys.key[0], iv, cipher, mac, 1))
			r = 1;
		else
			r = -1;
	} else {
		while (i < keys.n && memcmp(name, keys.key[i].name, TLS_TICKET_NAME_BYTES) != 0)
			i++;
		/* In TLS 1.3 only a 2 gives a client that resumes its next ticket. */
		if (i < keys.n)
			r = !start_ticket(c, &keys.key[i], iv, cipher, mac, 0)  ? -1
			    : i > 0 || SSL_version(ssl) >= (int)TLS_VERSION_1_3 ? 2
										: 1;
	}
	OPENSSL_cleanse(&keys, sizeof(keys));
	return r;
}

/* ---- building -------------------------------------------------------------------------------- */

static int no_memory(struct err *e)
{
	return err_add(e, -ENOMEM, "TLS: memory is short");
}

static int load_certs(struct build *b)
{
	const struct tls_server_settings *s = b->s;
	int r = 0;

	LB_ASSERT(s->n_certs > 0 && s->n_certs < TLS_NAMES_NONE);
	b->cert = calloc(s->n_certs, sizeof(*b->cert));
	b->ctx->cert = calloc(s->n_certs, sizeof(*b->ctx->cert));
	if (b->cert == NULL || b->ctx->cert == NULL)
		return no_memory(b->e);
	/* All files are looked at, so that one run names every mistake. */
	for (size_t i = 0; i < s->n_certs; i++) {
		struct tls_cert *cert = &b->cert[b->n_certs];
		int one = tls_cert_load(b->ctx->lib, s->certs[i].cert, s->certs[i].key,
					s->common.now_s, b->e, cert);
		if (one < 0) {
			r = r < 0 ? r : one;
			continue;
		}
		struct tls_cert_info *info = &b->ctx->cert[b->n_certs++];
		info->file = strdup(cert->file);
		info->not_before_s = cert->not_before_s;
		info->not_after_s = cert->not_after_s;
		b->ctx->n_certs = b->n_certs;
		if (info->file == NULL)
			return no_memory(b->e);
	}
	return r;
}

static int add_name(void *arg, struct slice name)
{
	struct build *b = arg;

	if (!tls_name_is_valid(name))
		return err_at(
			b->e, (struct mark){ .file = b->cert[b->i].file },
			"the certificate bears the name \"" SLICE_FMT
			"\", which is no host name; a * stands for one whole label, the first "
			"one",
			SLICE_ARG(name));
	int r = tls_names_add(&b->ctx->names, name, b->i);
	return r < 0 ? no_memory(b->e) : 0;
}

static int add_names(struct build *b)
{
	for (b->i = 0; b->i < b->n_certs; b->i++) {
		uint32_t before = b->ctx->names.n;
		int r = tls_cert_each_name(b->cert[b->i].leaf, add_name, b);

		if (r < 0)
			return r;
		if (b->ctx->names.n == before && b->i > 0)
			err_warn_at(
				b->e, (struct mark){ .file = b->cert[b->i].file },
				"the certificate bears no name, so no client is answered by it");
	}
	tls_names_sort(&b->ctx->names);
	return 0;
}

/* An SSL_CTX with these certificates. */
static SSL_CTX *make_group(struct build *b, const uint32_t *certs, uint32_t n)
{
	struct tls_ctx *c = b->ctx;
	const struct tls_server_settings *s = b->s;
	SSL_CTX *x = tls_ctx_make_ssl_ctx(c, &s->common, b->e);

	if (x == NULL)
		return NULL;
	for (uint32_t i = 0; i < n; i++) {
		const struct tls_cert *cert = &b->cert[certs[i]];
		if (SSL_CTX_use_cert_and_key(x, cert->leaf, cert->key, cert->chain, 1) != 1) {
			(void)err_at(b->e, (struct mark){ .file = cert->file },
				     "OpenSSL does not accept this certificate (%s)",
				     tls_lib_error());
			SSL_CTX_free(x);
			return NULL;
		}
	}
	SSL_CTX_set_app_data(x, c);
	SSL_CTX_set_client_hello_cb(x, on_client_hello, c);
	SSL_CTX_set_tlsext_servername_callback(x, on_server_name);
	SSL_CTX_set_tlsext_servername_arg(x, c);
	if (c->n_alpn > 0)
		SSL_CTX_set_alpn_select_cb(x, on_alpn, c);
	SSL_CTX_set_session_id_context(x, b->sid, sizeof(b->sid));
	SSL_CTX_set_timeout(x, s->ticket_seconds != 0 ? (long)s->ticket_seconds : TICKET_SECONDS);
	(void)SSL_CTX_set_num_tickets(x, c->tickets != NULL ? 1 : 0);
	if (c->tickets != NULL)
		SSL_CTX_set_tlsext_ticket_key_evp_cb(x, on_ticket);
	else
		SSL_CTX_set_options(x, SSL_OP_NO_TICKET);
	if (b->store == NULL)
		return x;

	int mode = SSL_VERIFY_PEER;
	if (s->verify == TLS_VERIFY_REQUIRED)
		mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	SSL_CTX_set_verify(x, mode, NULL);
	SSL_CTX_set1_cert_store(x, b->store);
	STACK_OF(X509_NAME) *names = SSL_dup_CA_list(b->names);
	if (names == NULL) {
		(void)no_memory(b->e);
		SSL_CTX_free(x);
		return NULL;
	}
	SSL_CTX_set_client_CA_list(x, names);
	return x;
}

/* The certificates of rows [from, to), which have one name: the first one of each kind of key. */
static uint32_t certs_of(const struct build *b, uint32_t from, uint32_t to,
			 uint32_t certs[CERTS_PER_GROUP])
{
	const struct tls_name *row = b->ctx->names.row;
	uint32_t n = 0;

	for (uint32_t i = from; i < to; i++) {
		int kind = EVP_PKEY_get_base_id(b->cert[row[i].value].key);
		uint32_t k = 0;
		while (k < n && EVP_PKEY_get_base_id(b->cert[certs[k]].key) != kind)
			k++;
		if (k == n && n < CERTS_PER_GROUP)
			certs[n++] = row[i].value;
	}
	return n;
}

/* Warns of the certificates of rows [from, to) that are not among those that answer the name. */
static void warn_of_unused(const struct build *b, uint32_t from, uint32_t to, const uint32_t *certs,
			   uint32_t n)
{
	const struct tls_name *row = b->ctx->names.row;

	for (uint32_t i = from, k = 0; i < to; i++) {
		while (k + 1 < n && certs[k] < row[i].value)
			k++;
		if (certs[k] != row[i].value)
			err_warn_at(b->e, (struct mark){ .file = b->cert[row[i].value].file },
				    "another certificate comes first for the name \"%s\": %s",
				    row[i].name, b->cert[certs[0]].file);
	}
}

/* The sets of certificates so far, one for each group. */
struct sets {
	uint32_t (*certs)[CERTS_PER_GROUP];
	uint32_t *n;
};

/* The group that has just these certificates; made where there is none. Returns its index or a
 * negative errno. */
static int group_of(struct build *b, struct sets *sets, const uint32_t *certs, uint32_t n)
{
	struct tls_ctx *c = b->ctx;

	for (uint32_t i = 0; i < c->n_groups; i++)
		if (sets->n[i] == n && memcmp(sets->certs[i], certs, n * sizeof(*certs)) == 0)
			return (int)i;
	SSL_CTX *x = make_group(b, certs, n);
	if (x == NULL)
		return -EINVAL;
	memcpy(sets->certs[c->n_groups], certs, n * sizeof(*certs));
	sets->n[c->n_groups] = n;
	if (tls_ctx_add_group(c, x) < 0)
		return no_memory(b->e);
	return (int)c->n_groups - 1;
}

/* Where the rows of the name of row `from` end. */
static uint32_t run_end(const struct tls_names *t, uint32_t from)
{
	uint32_t to = from + 1;

	while (to < t->n && strcmp(t->row[to].name, t->row[from].name) == 0)
		to++;
	return to;
}

static int keep_first(void *arg, struct slice name)
{
	struct slice *first = arg;

	if (first->p == NULL && name.n <= TLS_NAME_MAX) {
		/* The name dies with the list that it is from. */
		char *copy = strndup(name.p, name.n);
		if (copy == NULL)
			return -ENOMEM;
		*first = (struct slice){ .p = copy, .n = name.n };
	}
	return 0;
}

/* Makes the group that answers unknown names: the first certificate, with those of other kinds that
 * bear its first name, too. */
static int make_default_group(struct build *b, struct sets *sets)
{
	struct tls_names *t = &b->ctx->names;
	uint32_t certs[CERTS_PER_GROUP] = { 0 }, n = 1;
	struct slice first = { 0 };
	int r = tls_cert_each_name(b->cert[0].leaf, keep_first, &first);

	if (r < 0)
		return no_memory(b->e);
	for (uint32_t from = 0, to; from < t->n; from = to) {
		to = run_end(t, from);
		if (first.p != NULL && slice_eq_nocase(slice_of(t->row[from].name), first))
			n = certs_of(b, from, to, certs);
	}
	LB_ASSERT(certs[0] == 0);
	char *copy = NULL;
	memcpy(&copy, &first.p, sizeof(copy));
	free(copy);
	r = group_of(b, sets, certs, n);
	LB_ASSERT(r <= 0);
	return r;
}

/* Gives every name its group. */
static int make_groups(struct build *b)
{
	struct tls_names *t = &b->ctx->names;
	struct sets sets = {
		.certs = calloc((size_t)t->n + 1, sizeof(*sets.certs)),
		.n = calloc((size_t)t->n + 1, sizeof(*sets.n)),
	};
	int r = sets.certs == NULL || sets.n == NULL ? no_memory(b->e)
						     : make_default_group(b, &sets);

	for (uint32_t from = 0, to; from < t->n && r >= 0; from = to) {
		uint32_t certs[CERTS_PER_GROUP] = { 0 };
		to = run_end(t, from);
		uint32_t n = certs_of(b, from, to, certs);
		warn_of_unused(b, from, to, certs, n);
		r = group_of(b, &sets, certs, n);
		for (uint32_t i = from; i < to && r >= 0; i++)
			t->row[i].value = (uint32_t)r;
	}
	free(sets.certs);
	free(sets.n);
	return r < 0 ? r : 0;
}

static bool add_to_hash(EVP_MD_CTX *h, struct slice s)
{
	uint64_t n = s.n;

	return EVP_DigestUpdate(h, &n, sizeof(n)) == 1 &&
	       (n == 0 || EVP_DigestUpdate(h, s.p, s.n) == 1);
}

/* The session id context: whatever decides which clients are let in. */
static int hash_policy(struct build *b)
{
	const struct tls_server_settings *s = b->s;
	struct slice id = slice_of(s->id != NULL ? s->id : "");
	char verify = (char)s->verify;
	EVP_MD_CTX *h = EVP_MD_CTX_new();
	bool is_ok = h != NULL && EVP_DigestInit_ex(h, EVP_sha256(), NULL) == 1 &&
		     add_to_hash(h, id) && add_to_hash(h, (struct slice){ &verify, 1 }) &&
		     add_to_hash(h, s->ca.text) && add_to_hash(h, s->crl.text) &&
		     EVP_DigestFinal_ex(h, b->sid, NULL) == 1;

	EVP_MD_CTX_free(h);
	return is_ok ? 0 : no_memory(b->e);
}

static int build(struct build *b)
{
	const struct tls_server_settings *s = b->s;
	int r = load_certs(b);

	/* A mistake in one file does not hide those in another. */
	if (s->verify != TLS_VERIFY_NONE && r != -ENOMEM) {
		int ca = tls_cert_load_store(b->ctx->lib, s->ca, s->crl, s->common.now_s, b->e,
					     &b->store, &b->names);
		r = r < 0 ? r : ca;
	}
	if (r == 0)
		r = add_names(b);
	if (r == 0)
		r = hash_policy(b);
	if (r == 0)
		r = make_groups(b);
	return r;
}

int tls_ctx_new_server(struct tls_lib *l, const struct tls_server_settings *s, struct err *e,
		       struct tls_ctx **ret)
{
	struct build b = { .s = s, .e = e, .ctx = tls_ctx_new(l, &s->common, true, e) };
	int r = -ENOMEM;

	if (b.ctx != NULL) {
		b.ctx->is_strict_sni = s->is_strict_sni;
		b.ctx->tickets = s->tickets != NULL ? tls_tickets_ref(s->tickets) : NULL;
		r = build(&b);
	}
	for (uint32_t i = 0; i < b.n_certs; i++)
		tls_cert_deinit(&b.cert[i]);
	free(b.cert);
	X509_STORE_free(b.store);
	sk_X509_NAME_pop_free(b.names, X509_NAME_free);
	ERR_clear_error();
	if (r < 0) {
		tls_ctx_unref(b.ctx);
		return r;
	}
	*ret = b.ctx;
	return 0;
}
