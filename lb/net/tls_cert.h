/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A certificate with its chain and its key, as two PEM files have them.
 *
 * Thread: main's. Layer: net. Includes OpenSSL: for the TLS files of lb/net only.
 */

#include <openssl/x509.h>
#include <stdint.h>

#include "net/tls_pem.h"

struct tls_lib;

struct tls_cert {
	X509 *leaf;             /* owns, and all below */
	STACK_OF(X509) * chain; /* the intermediates, from the leaf's issuer upwards */
	EVP_PKEY *key;
	const char *file;                  /* of the certificate; borrowed */
	int64_t not_before_s, not_after_s; /* of the leaf; seconds since 1970 */
};

/*
 * tls_cert_load() - read a certificate, its chain and its key
 *
 * `now_s`, in seconds since 1970, judges the dates. Returns 0 and sets *ret, or -EINVAL or -ENOMEM
 * and reports in `e`. A warning, and no error: what is expired or not yet valid, an intermediate
 * that is missing, a chain whose order is wrong (it is sorted).
 */
int tls_cert_load(struct tls_lib *l, struct tls_pem cert, struct tls_pem key, int64_t now_s,
		  struct err *e, struct tls_cert *ret) LB_MUST_CHECK;

/* A zeroed one is fine. */
void tls_cert_deinit(struct tls_cert *c);

/*
 * tls_cert_each_name() - the DNS names that a certificate bears
 *
 * Those of subjectAltName, or the common name where it has no such extension. Calls `fn` for each
 * until it returns a negative errno, which is returned; -ENOMEM when memory is short.
 */
typedef int (*tls_cert_name_fn)(void *arg, struct slice name);
int tls_cert_each_name(const X509 *leaf, tls_cert_name_fn fn, void *arg) LB_MUST_CHECK;

/*
 * tls_cert_load_store() - what peers' certificates are verified by
 *
 * `ca` has one certificate or more; `crl` has revocation lists or is empty. Then every peer's
 * certificate needs a list of its issuer's that does not name it; a CA above it is looked up where
 * there is a list. Sets *ret_store and, where it is not NULL, *ret_names (the names of the CAs);
 * both are the caller's. Returns 0, -EINVAL or -ENOMEM, and reports in `e`.
 */
int tls_cert_load_store(struct tls_lib *l, struct tls_pem ca, struct tls_pem crl, int64_t now_s,
			struct err *e, X509_STORE **ret_store,
			STACK_OF(X509_NAME) * *ret_names) LB_MUST_CHECK;
