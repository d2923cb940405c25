/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/core_names.h>
#include <stdlib.h>

#include "net/tls_bio.h"
#include "net/tls_lib_priv.h"

static const char *const aead_names[TLS_N_AEADS] = {
	[TLS_AES_128_GCM] = "AES-128-GCM",
	[TLS_AES_256_GCM] = "AES-256-GCM",
	[TLS_CHACHA20_POLY1305] = "ChaCha20-Poly1305",
};

static bool fetch(struct tls_lib *l)
{
	for (int i = 0; i < TLS_N_AEADS; i++) {
		l->aead[i] = EVP_CIPHER_fetch(l->ossl, aead_names[i], NULL);
		if (l->aead[i] == NULL)
			return false;
	}
	l->ticket_cipher = EVP_CIPHER_fetch(l->ossl, "AES-256-CBC", NULL);
	l->expand = EVP_KDF_fetch(l->ossl, OSSL_KDF_NAME_TLS1_3_KDF, NULL);
	l->prf = EVP_KDF_fetch(l->ossl, OSSL_KDF_NAME_TLS1_PRF, NULL);
	return l->ticket_cipher != NULL && l->expand != NULL && l->prf != NULL;
}

struct tls_lib *tls_lib_new(void)
{
	struct tls_lib *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	(void)OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
	l->ossl = OSSL_LIB_CTX_new();
	l->bio = tls_bio_method();
	if (l->ossl == NULL || l->bio == NULL || !fetch(l))
		l = tls_lib_free(l);
	ERR_clear_error();
	return l;
}

struct tls_lib *tls_lib_free(struct tls_lib *l)
{
	if (l == NULL)
		return NULL;
	for (int i = 0; i < TLS_N_AEADS; i++)
		EVP_CIPHER_free(l->aead[i]);
	EVP_CIPHER_free(l->ticket_cipher);
	EVP_KDF_free(l->expand);
	EVP_KDF_free(l->prf);
	BIO_meth_free(l->bio);
	OSSL_LIB_CTX_free(l->ossl);
	free(l);
	return NULL;
}

const char *tls_lib_error(void)
{
	unsigned long e = ERR_peek_last_error();
	const char *word = ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE ? "memory is short"
								     : ERR_reason_error_string(e);

	ERR_clear_error();
	return word != NULL ? word : "unknown error";
}
