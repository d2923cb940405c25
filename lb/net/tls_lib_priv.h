/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the TLS files of lb/net share of OpenSSL's. No other folder includes this. */

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/ssl.h>

#include "net/tls_lib.h"
#include "net/tls_record.h"

/* For calls of OpenSSL's that only read what their parameters do not promise to leave alone. */
static inline void *tls_unconst(const void *p)
{
	union {
		const void *constant;
		void *plain;
	} u = { .constant = p };

	return u.plain;
}

struct tls_lib {
	OSSL_LIB_CTX *ossl;
	EVP_CIPHER *aead[TLS_N_AEADS];
	EVP_CIPHER *ticket_cipher; /* AES-256-CBC */
	EVP_KDF *expand;           /* HKDF-Expand-Label of TLS 1.3 */
	EVP_KDF *prf;              /* of TLS 1.2 */
	BIO_METHOD *bio;           /* net/tls_bio.c */
};
