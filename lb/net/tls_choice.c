/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Callbacks of OpenSSL's in a server's handshake.
 *
 * A ClientHello is looked at before anything is decided by it: on_client_hello() gives the SSL
 * object the group of certificates that bear the client's name, before OpenSSL judges a ticket. A
 * ticket is made and read under the keys that all workers share at that moment.
 */
#include "net/tls_choice.h"

#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <string.h>

#include "net/tls_ctx_priv.h"
#include "net/tls_lib_priv.h"
#include "net/tls_ticket.h"

#define TICKET_IV_BYTES 16

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
	LB_ASSERT(p != NULL);
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
	LB_ASSERT(c->n_alpn > 0);
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

	LB_ASSERT(c != NULL && c->is_server && c->tickets != NULL);
	tls_tickets_get(c->tickets, &keys);
	if (is_new) {
		memcpy(name, keys.key[0].name, TLS_TICKET_NAME_BYTES);
		if (RAND_bytes_ex(c->lib->ossl, iv, TICKET_IV_BYTES, 0) == 1 &&
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

void tls_choice_install(struct tls_ctx *c, SSL_CTX *ssl_ctx)
{
	LB_ASSERT(c->is_server);
	SSL_CTX_set_app_data(ssl_ctx, c);
	SSL_CTX_set_client_hello_cb(ssl_ctx, on_client_hello, c);
	SSL_CTX_set_tlsext_servername_callback(ssl_ctx, on_server_name);
	SSL_CTX_set_tlsext_servername_arg(ssl_ctx, c);
	if (c->n_alpn > 0)
		SSL_CTX_set_alpn_select_cb(ssl_ctx, on_alpn, c);
	(void)SSL_CTX_set_num_tickets(ssl_ctx, c->tickets != NULL ? 1 : 0);
	if (c->tickets != NULL)
		SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl_ctx, on_ticket);
	else
		SSL_CTX_set_options(ssl_ctx, SSL_OP_NO_TICKET);
}
