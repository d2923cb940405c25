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
#include <stdlib.h>
#include <string.h>

#include "net/tls_cert.h"
#include "net/tls_choice.h"
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
	tls_choice_install(c, x);
	SSL_CTX_set_session_id_context(x, b->sid, sizeof(b->sid));
	SSL_CTX_set_timeout(x, s->ticket_seconds != 0 ? (long)s->ticket_seconds : TICKET_SECONDS);
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

	LB_ASSERT(from < to && to <= b->ctx->names.n);
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

	LB_ASSERT(n > 0);
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

	LB_ASSERT(n > 0 && n <= CERTS_PER_GROUP && c->n_groups <= c->names.n + 1);
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
	free(tls_unconst(first.p));
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
