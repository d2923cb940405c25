/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates, keys and revocation lists from PEM texts.
 *
 * What makes a file unusable is an error with the line where the block begins; what a client may
 * still accept is a warning, because one expired certificate of fifty must not stop a restart.
 */
#include "net/tls_cert.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <time.h>

#include "net/tls_lib_priv.h"

#define SUBJECT_MAX 200

/* A memory BIO over one block; NULL when memory is short. */
static BIO *block_bio(const struct tls_pem_block *b)
{
	LB_ASSERT(b->text.n > 0 && b->text.n <= INT32_MAX);
	return BIO_new_mem_buf(b->text.p, (int)b->text.n);
}

static bool is_certificate(struct slice label)
{
	return slice_eq(label, SLICE("CERTIFICATE")) ||
	       slice_eq(label, SLICE("X509 CERTIFICATE")) ||
	       slice_eq(label, SLICE("TRUSTED CERTIFICATE"));
}

static bool is_key(struct slice label)
{
	struct slice end = SLICE("PRIVATE KEY");

	return label.n >= end.n &&
	       slice_eq((struct slice){ .p = label.p + label.n - end.n, .n = end.n }, end);
}

static X509 *decode_cert(struct tls_lib *l, const struct tls_pem_block *b)
{
	BIO *bio = block_bio(b);
	X509 *x = X509_new_ex(l->ossl, NULL);

	if (bio == NULL || x == NULL || PEM_read_bio_X509(bio, &x, NULL, NULL) == NULL) {
		X509_free(x);
		x = NULL;
	}
	BIO_free(bio);
	return x;
}

/* The subject in one line, for messages. */
static const char *subject_of(const X509 *x, char text[SUBJECT_MAX])
{
	text[0] = '\0';
	(void)X509_NAME_oneline(X509_get_subject_name(x), text, SUBJECT_MAX);
	return text;
}

static int64_t seconds_of(const ASN1_TIME *t)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(t, &tm) != 1)
		return 0;
	return (int64_t)timegm(&tm);
}

/* ---- certificates ---------------------------------------------------------------------------- */

/* Appends every certificate of the file to `to`. Returns how many, or a negative errno. */
static int load_certs(struct tls_lib *l, struct tls_pem pem, struct err *e, STACK_OF(X509) * to)
{
	struct tls_pem_reader reader = TLS_PEM_READER(pem);
	struct tls_pem_block b;
	int r, n = 0;

	while ((r = tls_pem_next(&reader, e, &b)) > 0) {
		if (!is_certificate(b.label))
			continue;
		X509 *x = decode_cert(l, &b);
		if (x == NULL)
			return err_at(e, b.at, "this certificate cannot be read (%s)",
				      tls_lib_error());
		if (sk_X509_push(to, x) == 0) {
			X509_free(x);
			return err_add(e, -ENOMEM, "%s: memory is short", pem.file);
		}
		n++;
	}
	return r < 0 ? r : n;
}

static int no_passphrase(char *buf, int size, int is_writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)is_writing;
	*(bool *)arg = true;
	return -1;
}

static int load_key(struct tls_lib *l, struct tls_pem pem, struct err *e, EVP_PKEY **ret)
{
	struct tls_pem_reader reader = TLS_PEM_READER(pem);
	struct tls_pem_block b;
	bool is_encrypted = false;
	int r;

	while ((r = tls_pem_next(&reader, e, &b)) > 0 && !is_key(b.label))
		;
	if (r < 0)
		return r;
	if (r == 0)
		return err_at(e, (struct mark){ .file = pem.file },
			      "no private key is in this file (\"-----BEGIN PRIVATE KEY-----\")");

	BIO *bio = block_bio(&b);
	EVP_PKEY *key = NULL;
	if (bio != NULL)
		key = PEM_read_bio_PrivateKey_ex(bio, NULL, no_passphrase, &is_encrypted, l->ossl,
						 NULL);
	BIO_free(bio);
	if (key == NULL && is_encrypted) {
		ERR_clear_error();
		return err_at(e, b.at,
			      "this key is encrypted, and lb has no passphrase; \"openssl pkey -in "
			      "FILE -out FILE\" decrypts it");
	}
	if (key == NULL)
		return err_at(e, b.at, "this private key cannot be read (%s)", tls_lib_error());
	*ret = key;
	return 0;
}

/* Takes the certificate of the key out of `all`; NULL: none is there. */
static X509 *take_leaf(STACK_OF(X509) * all, const EVP_PKEY *key, bool *ret_is_first)
{
	for (int i = 0; i < sk_X509_num(all); i++) {
		if (X509_check_private_key(sk_X509_value(all, i), key) == 1) {
			*ret_is_first = i == 0;
			return sk_X509_delete(all, i);
		}
	}
	ERR_clear_error();
	return NULL;
}

/* Takes what has issued `x` out of `all`. NULL: it is not there. */
static X509 *take_issuer(STACK_OF(X509) * all, X509 *x, bool *ret_is_first)
{
	for (int i = 0; i < sk_X509_num(all); i++) {
		if (X509_check_issued(sk_X509_value(all, i), x) == X509_V_OK) {
			*ret_is_first = i == 0;
			return sk_X509_delete(all, i);
		}
	}
	ERR_clear_error();
	return NULL;
}

static bool is_self_signed(X509 *x)
{
	return X509_check_issued(x, x) == X509_V_OK;
}

/* Moves the leaf's chain from `all` to c->chain, in its order; warns of what was out of order. */
static int sort_chain(struct tls_cert *c, STACK_OF(X509) * all, bool is_in_order, struct err *e)
{
	struct mark at = { .file = c->file };
	char subject[SUBJECT_MAX];
	X509 *last = c->leaf;

	LB_ASSERT(last != NULL && sk_X509_num(c->chain) == 0);
	while (!is_self_signed(last)) {
		bool is_first = true;
		X509 *issuer = take_issuer(all, last, &is_first);
		if (issuer == NULL)
			break;
		is_in_order = is_in_order && is_first;
		if (sk_X509_push(c->chain, issuer) == 0) {
			X509_free(issuer);
			return err_add(e, -ENOMEM, "%s: memory is short", c->file);
		}
		last = issuer;
	}
	if (!is_in_order)
		err_warn_at(
			e, at,
			"the certificates are not in their order (the server's first, then each "
			"one's issuer); lb sends them in order");
	for (int i = 0; i < sk_X509_num(all); i++)
		err_warn_at(e, at,
			    "a certificate has issued none of the others and is not sent: %s",
			    subject_of(sk_X509_value(all, i), subject));
	return 0;
}

/* A leaf of a public CA says where its issuer's certificate is; a private root's may be alone. */
static void warn_of_gaps(const struct tls_cert *c, struct err *e)
{
	AUTHORITY_INFO_ACCESS *aia = X509_get_ext_d2i(c->leaf, NID_info_access, NULL, NULL);
	bool has_issuer = false;

	for (int i = 0; aia != NULL && i < sk_ACCESS_DESCRIPTION_num(aia); i++)
		has_issuer =
			has_issuer || OBJ_obj2nid(sk_ACCESS_DESCRIPTION_value(aia, i)->method) ==
					      NID_ad_ca_issuers;
	AUTHORITY_INFO_ACCESS_free(aia);
	if (has_issuer && sk_X509_num(c->chain) == 0 && !is_self_signed(c->leaf))
		err_warn_at(
			e, (struct mark){ .file = c->file },
			"the intermediate certificate is missing: many clients will refuse this "
			"one; add the issuer's certificate behind it (\"fullchain.pem\")");
}

static void warn_of_dates(const struct tls_cert *c, int64_t now_s, struct err *e)
{
	struct mark at = { .file = c->file };

	if (now_s > c->not_after_s)
		err_warn_at(e, at, "the certificate has expired %lld days ago",
			    (long long)(now_s - c->not_after_s) / 86400);
	else if (now_s < c->not_before_s)
		err_warn_at(e, at, "the certificate is not valid before %lld days from now",
			    (long long)(c->not_before_s - now_s + 86399) / 86400);
}

int tls_cert_load(struct tls_lib *l, struct tls_pem cert, struct tls_pem key, int64_t now_s,
		  struct err *e, struct tls_cert *ret)
{
	struct tls_cert c = { .file = cert.file, .chain = sk_X509_new_null() };
	STACK_OF(X509) *all = sk_X509_new_null();
	bool is_first = true;
	int r = -ENOMEM;

	LB_ASSERT(cert.file != NULL && key.file != NULL);
	if (all == NULL || c.chain == NULL) {
		r = err_add(e, -ENOMEM, "%s: memory is short", cert.file);
		goto out;
	}
	r = load_certs(l, cert, e, all);
	if (r == 0)
		r = err_at(e, (struct mark){ .file = cert.file },
			   "no certificate is in this file (\"-----BEGIN CERTIFICATE-----\")");
	if (r > 0)
		r = load_key(l, key, e, &c.key);
	if (r < 0)
		goto out;
	c.leaf = take_leaf(all, c.key, &is_first);
	if (c.leaf == NULL) {
		r = err_at(e, (struct mark){ .file = cert.file },
			   "the key of %s fits none of the certificates in this file", key.file);
		goto out;
	}
	c.not_before_s = seconds_of(X509_get0_notBefore(c.leaf));
	c.not_after_s = seconds_of(X509_get0_notAfter(c.leaf));
	r = sort_chain(&c, all, is_first, e);
	if (r < 0)
		goto out;
	warn_of_gaps(&c, e);
	warn_of_dates(&c, now_s, e);
	*ret = c;
	c = (struct tls_cert){ 0 };
out:
	ERR_clear_error();
	sk_X509_pop_free(all, X509_free);
	tls_cert_deinit(&c);
	return r;
}

void tls_cert_deinit(struct tls_cert *c)
{
	X509_free(c->leaf);
	sk_X509_pop_free(c->chain, X509_free);
	EVP_PKEY_free(c->key);
	*c = (struct tls_cert){ 0 };
}

/* ---- names ----------------------------------------------------------------------------------- */

static struct slice slice_of_string(const ASN1_STRING *s)
{
	return (struct slice){ .p = (const char *)ASN1_STRING_get0_data(s),
			       .n = (size_t)ASN1_STRING_length(s) };
}

int tls_cert_each_name(const X509 *leaf, tls_cert_name_fn fn, void *arg)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
	const X509_NAME *subject = X509_get_subject_name(leaf);
	int r = 0;

	if (names == NULL) {
		int i = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
		if (i < 0)
			return 0;
		return fn(arg, slice_of_string(
				       X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i))));
	}
	for (int i = 0; i < sk_GENERAL_NAME_num(names) && r >= 0; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		if (name->type == GEN_DNS)
			r = fn(arg, slice_of_string(name->d.dNSName));
	}
	GENERAL_NAMES_free(names);
	return r < 0 ? r : 0;
}

/* ---- what peers are verified by -------------------------------------------------------------- */

/* A CA above the peer's needs no revocation list; where there is one, it counts. */
static int on_verify(int is_ok, X509_STORE_CTX *x)
{
	if (is_ok || X509_STORE_CTX_get_error(x) != X509_V_ERR_UNABLE_TO_GET_CRL ||
	    X509_STORE_CTX_get_error_depth(x) == 0)
		return is_ok;
	X509_STORE_CTX_set_error(x, X509_V_OK);
	return 1;
}

/* Adds the revocation lists of the file. Returns how many, or a negative errno. */
static int load_crls(struct tls_lib *l, struct tls_pem pem, int64_t now_s, struct err *e,
		     X509_STORE *store)
{
	struct tls_pem_reader reader = TLS_PEM_READER(pem);
	struct tls_pem_block b;
	int r, n = 0;

	while ((r = tls_pem_next(&reader, e, &b)) > 0) {
		if (!slice_eq(b.label, SLICE("X509 CRL")))
			continue;
		BIO *bio = block_bio(&b);
		X509_CRL *crl = X509_CRL_new_ex(l->ossl, NULL);
		if (bio == NULL || crl == NULL ||
		    PEM_read_bio_X509_CRL(bio, &crl, NULL, NULL) == NULL ||
		    X509_STORE_add_crl(store, crl) != 1) {
			r = err_at(e, b.at, "this revocation list cannot be read (%s)",
				   tls_lib_error());
		} else {
			const ASN1_TIME *next = X509_CRL_get0_nextUpdate(crl);
			if (next != NULL && seconds_of(next) < now_s)
				err_warn_at(
					e, b.at,
					"this revocation list is out of date: every certificate "
					"of its issuer will be refused");
			n++;
		}
		X509_CRL_free(crl);
		BIO_free(bio);
		if (r < 0)
			return r;
	}
	if (r == 0 && n == 0)
		r = err_at(e, (struct mark){ .file = pem.file },
			   "no revocation list is in this file (\"-----BEGIN X509 CRL-----\")");
	return r < 0 ? r : n;
}

static int add_names(STACK_OF(X509) * all, STACK_OF(X509_NAME) * names)
{
	for (int i = 0; i < sk_X509_num(all); i++) {
		X509_NAME *name = X509_NAME_dup(X509_get_subject_name(sk_X509_value(all, i)));
		if (name == NULL || sk_X509_NAME_push(names, name) == 0) {
			X509_NAME_free(name);
			return -ENOMEM;
		}
	}
	return 0;
}

static int fill_store(struct tls_lib *l, struct tls_pem ca, STACK_OF(X509) * all, struct err *e,
		      X509_STORE *store)
{
	int r = load_certs(l, ca, e, all);

	if (r == 0)
		return err_at(e, (struct mark){ .file = ca.file },
			      "no certificate is in this file (\"-----BEGIN CERTIFICATE-----\")");
	for (int i = 0; r > 0 && i < sk_X509_num(all); i++)
		if (X509_STORE_add_cert(store, sk_X509_value(all, i)) != 1)
			r = err_add(e, -ENOMEM, "%s: %s", ca.file, tls_lib_error());
	return r < 0 ? r : 0;
}

int tls_cert_load_store(struct tls_lib *l, struct tls_pem ca, struct tls_pem crl, int64_t now_s,
			struct err *e, X509_STORE **ret_store, STACK_OF(X509_NAME) * *ret_names)
{
	STACK_OF(X509) *all = sk_X509_new_null();
	STACK_OF(X509_NAME) *names = sk_X509_NAME_new_null();
	X509_STORE *store = X509_STORE_new();
	int r = -ENOMEM;

	LB_ASSERT(ret_store != NULL && *ret_store == NULL);
	if (all == NULL || names == NULL || store == NULL)
		r = err_add(e, -ENOMEM, "%s: memory is short", ca.file);
	else
		r = fill_store(l, ca, all, e, store);
	if (r == 0 && crl.text.p != NULL) {
		r = load_crls(l, crl, now_s, e, store);
		X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
		X509_STORE_set_verify_cb(store, on_verify);
	}
	if (r >= 0 && add_names(all, names) < 0)
		r = err_add(e, -ENOMEM, "%s: memory is short", ca.file);
	if (r >= 0) {
		*ret_store = take_ptr(store);
		if (ret_names != NULL)
			*ret_names = take_ptr(names);
		r = 0;
	}
	ERR_clear_error();
	sk_X509_pop_free(all, X509_free);
	sk_X509_NAME_pop_free(names, X509_NAME_free);
	X509_STORE_free(store);
	return r;
}
