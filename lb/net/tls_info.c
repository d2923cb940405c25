/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_info.h"

#include <errno.h>
#include <stdlib.h>

#include "net/tls_priv.h"

static const SSL *ssl_of(const struct tls *t)
{
	LB_ASSERT(t->state == TLS_IS_READY);
	LB_ASSERT(SSL_is_init_finished(t->shake->ssl));
	return t->shake->ssl;
}

void tls_info_get(const struct tls *t, struct tls_info *ret)
{
	const SSL *ssl = ssl_of(t);
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	const unsigned char *alpn = NULL;
	unsigned n_alpn = 0;

	SSL_get0_alpn_selected(ssl, &alpn, &n_alpn);
	*ret = (struct tls_info){
		.server_name = slice_of(name != NULL ? name : ""),
		.alpn = { .p = (const char *)alpn, .n = n_alpn },
		.version = SSL_get_version(ssl),
		.cipher = SSL_CIPHER_standard_name(SSL_get_current_cipher(ssl)),
		.is_resumed = SSL_session_reused(ssl) == 1,
		.has_peer_cert = SSL_get0_peer_certificate(ssl) != NULL,
	};
}

static char *name_text(const X509_NAME *name)
{
	BIO *b = BIO_new(BIO_s_mem());
	char *p, *text = NULL;

	/* RFC 2253, but UTF-8 stays as it is: a header percent-encodes it. */
	if (b != NULL &&
	    X509_NAME_print_ex(b, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0) {
		long n = BIO_get_mem_data(b, &p);
		text = strndup(n > 0 ? p : "", (size_t)n);
	}
	BIO_free(b);
	return text;
}

static char *serial_text(const X509 *x)
{
	BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
	char *hex = n != NULL ? BN_bn2hex(n) : NULL, *text = NULL;

	if (hex != NULL)
		text = strdup(hex);
	OPENSSL_free(hex);
	BN_free(n);
	return text;
}

int tls_peer_get(const struct tls *t, struct tls_peer *ret)
{
	static const char digits[] = "0123456789abcdef";
	X509 *x = SSL_get0_peer_certificate(ssl_of(t));
	uint8_t hash[32];
	unsigned n = 0;

	if (x == NULL)
		return -ENOENT;
	struct tls_peer p = { .subject = name_text(X509_get_subject_name(x)),
			      .issuer = name_text(X509_get_issuer_name(x)),
			      .serial = serial_text(x) };
	if (p.subject == NULL || p.issuer == NULL || p.serial == NULL ||
	    X509_digest(x, EVP_sha256(), hash, &n) != 1) {
		ERR_clear_error();
		tls_peer_deinit(&p);
		return -ENOMEM;
	}
	LB_ASSERT(n == sizeof(hash));
	for (unsigned i = 0; i < n; i++) {
		p.sha256[2 * i] = digits[hash[i] >> 4];
		p.sha256[2 * i + 1] = digits[hash[i] & 15];
	}
	*ret = p;
	return 0;
}

void tls_peer_deinit(struct tls_peer *p)
{
	free(p->subject);
	free(p->issuer);
	free(p->serial);
	*p = (struct tls_peer){ 0 };
}
