/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Certificates, keys and revocation lists for tests, made by OpenSSL when a test begins.
 *
 * Texts are kept until certs_end().
 */

#include <check.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/tls_pem.h"

#define DAY 86400

struct made {
	X509 *x;
	EVP_PKEY *key;
	struct tls_pem cert_pem, key_pem;
};

static struct {
	char *text[256];
	int n;
	struct made made[64];
	int n_made;
	long serial;
} certs;

static inline struct tls_pem kept_text(const char *file, char *text)
{
	ck_assert_int_lt(certs.n, 256);
	ck_assert_ptr_nonnull(text);
	certs.text[certs.n++] = text;
	return (struct tls_pem){ .file = file, .text = slice_of(text) };
}

static inline char *bio_text(BIO *b)
{
	char *p;
	long n = BIO_get_mem_data(b, &p);
	char *text = strndup(p, (size_t)n);

	BIO_free(b);
	return text;
}

/* The texts of several files, one behind the other. */
static inline struct tls_pem joined(const char *file, int n, const struct tls_pem *pem)
{
	size_t all = 0;

	for (int i = 0; i < n; i++)
		all += pem[i].text.n;
	char *text = calloc(1, all + 1);
	for (int i = 0; i < n; i++)
		strncat(text, pem[i].text.p, pem[i].text.n);
	return kept_text(file, text);
}

static inline void add_ext(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX c;

	X509V3_set_ctx(&c, issuer, x, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &c, nid, value);
	ck_assert_msg(e != NULL, "%s", value);
	ck_assert_int_eq(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
}

/* What a certificate is to be. */
struct wish {
	const char *cn;
	const char *san;       /* "DNS:a.test,DNS:*.b.test"; NULL: none */
	const struct made *by; /* NULL: itself */
	bool is_ca, is_rsa, has_aia;
	int from_days, to_days; /* from now; 0, 0: -1 to 30 */
};

static inline const struct made *make_cert(struct wish w)
{
	ck_assert_int_lt(certs.n_made, 64);
	struct made *m = &certs.made[certs.n_made++];
	X509 *x = X509_new();

	m->x = x;
	m->key = w.is_rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
	ck_assert_ptr_nonnull(m->key);
	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), ++certs.serial);
	if (w.from_days == 0 && w.to_days == 0) {
		w.from_days = -1;
		w.to_days = 30;
	}
	X509_gmtime_adj(X509_getm_notBefore(x), (long)w.from_days * DAY);
	X509_gmtime_adj(X509_getm_notAfter(x), (long)w.to_days * DAY);
	X509_NAME *name = X509_get_subject_name(x);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)w.cn, -1, -1,
				   0);
	X509 *issuer = w.by != NULL ? w.by->x : x;
	X509_set_issuer_name(x, X509_get_subject_name(issuer));
	X509_set_pubkey(x, m->key);
	add_ext(x, issuer, NID_basic_constraints, w.is_ca ? "critical,CA:TRUE" : "CA:FALSE");
	add_ext(x, issuer, NID_subject_key_identifier, "hash");
	if (w.by != NULL)
		add_ext(x, issuer, NID_authority_key_identifier, "keyid");
	if (w.is_ca)
		add_ext(x, issuer, NID_key_usage, "critical,keyCertSign,cRLSign");
	if (w.san != NULL)
		add_ext(x, issuer, NID_subject_alt_name, w.san);
	if (w.has_aia)
		add_ext(x, issuer, NID_info_access, "caIssuers;URI:http://ca.test/ca.crt");
	ck_assert_int_gt(X509_sign(x, w.by != NULL ? w.by->key : m->key, EVP_sha256()), 0);

	BIO *b = BIO_new(BIO_s_mem());
	PEM_write_bio_X509(b, x);
	m->cert_pem = kept_text("cert.pem", bio_text(b));
	b = BIO_new(BIO_s_mem());
	PEM_write_bio_PrivateKey(b, m->key, NULL, NULL, 0, NULL, NULL);
	m->key_pem = kept_text("key.pem", bio_text(b));
	return m;
}

/* A revocation list of `by`, with `revoked` in it where that is not NULL. */
static inline struct tls_pem make_crl(const struct made *by, const struct made *revoked,
				      int to_days)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *at = X509_gmtime_adj(NULL, -DAY);

	X509_CRL_set_version(crl, 1);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(by->x));
	X509_CRL_set1_lastUpdate(crl, at);
	if (revoked != NULL) {
		X509_REVOKED *r = X509_REVOKED_new();
		X509_REVOKED_set_serialNumber(r, X509_get_serialNumber(revoked->x));
		X509_REVOKED_set_revocationDate(r, at);
		X509_CRL_add0_revoked(crl, r);
	}
	X509_gmtime_adj(at, (long)to_days * DAY);
	X509_CRL_set1_nextUpdate(crl, at);
	ASN1_TIME_free(at);
	ck_assert_int_gt(X509_CRL_sign(crl, by->key, EVP_sha256()), 0);
	BIO *b = BIO_new(BIO_s_mem());
	PEM_write_bio_X509_CRL(b, crl);
	X509_CRL_free(crl);
	return kept_text("crl.pem", bio_text(b));
}

static inline void certs_end(void)
{
	for (int i = 0; i < certs.n; i++)
		free(certs.text[i]);
	for (int i = 0; i < certs.n_made; i++) {
		X509_free(certs.made[i].x);
		EVP_PKEY_free(certs.made[i].key);
	}
	memset(&certs, 0, sizeof(certs));
}
