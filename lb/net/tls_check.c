/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server's and a client's end that talk to each other in memory.
 *
 * Every suite of both versions has a handshake under a certificate that is made here and known to
 * no one else. Then a message goes each way, and a second one, because the client's end leaves its
 * SSL object with the first. Both ends must be compact by then, and every byte must be right.
 */
#include "net/tls_check.h"

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "net/tls_priv.h"
#include "util/slab.h"

#define MESSAGE_BYTES 3000u
#define POOL_BYTES (1u << 20)
#define TURNS_MAX 20 /* of a handshake: far more than it has flights */
#define HOUR_S 3600

static const struct {
	const char *name;
	uint16_t version;
} suites[] = {
	{ "TLS_AES_128_GCM_SHA256", TLS_VERSION_1_3 },
	{ "TLS_AES_256_GCM_SHA384", TLS_VERSION_1_3 },
	{ "TLS_CHACHA20_POLY1305_SHA256", TLS_VERSION_1_3 },
	{ "ECDHE-ECDSA-AES128-GCM-SHA256", TLS_VERSION_1_2 },
	{ "ECDHE-ECDSA-AES256-GCM-SHA384", TLS_VERSION_1_2 },
	{ "ECDHE-ECDSA-CHACHA20-POLY1305", TLS_VERSION_1_2 },
};

struct check {
	struct tls_lib *lib;
	struct err *e;
	struct buf_pool *pool;
	struct tls_ends es;
	BIO *cert, *key; /* PEM */
	struct tls *server, *client;
};

/* ---- the certificate ------------------------------------------------------------------------- */

static bool write_pems(struct check *c, X509 *x, EVP_PKEY *key)
{
	return X509_set_version(x, 2) == 1 && ASN1_INTEGER_set(X509_get_serialNumber(x), 1) == 1 &&
	       X509_gmtime_adj(X509_getm_notBefore(x), -HOUR_S) != NULL &&
	       X509_gmtime_adj(X509_getm_notAfter(x), HOUR_S) != NULL &&
	       X509_set_pubkey(x, key) == 1 && X509_sign(x, key, EVP_sha256()) > 0 &&
	       PEM_write_bio_X509(c->cert, x) == 1 &&
	       PEM_write_bio_PrivateKey(c->key, key, NULL, NULL, 0, NULL, NULL) == 1;
}

static bool make_cert(struct check *c)
{
	X509 *x = X509_new();
	EVP_PKEY *key = EVP_PKEY_Q_keygen(c->lib->ossl, NULL, "EC", "P-256");

	c->cert = BIO_new(BIO_s_mem());
	c->key = BIO_new(BIO_s_secmem());
	bool is_ok = x != NULL && key != NULL && c->cert != NULL && c->key != NULL &&
		     write_pems(c, x, key);
	X509_free(x);
	EVP_PKEY_free(key);
	return is_ok;
}

static struct tls_pem pem_of(BIO *b, const char *name)
{
	char *p = NULL;
	long n = BIO_get_mem_data(b, &p);

	return (struct tls_pem){ .file = name, .text = { .p = p, .n = (size_t)n } };
}

/* ---- the conversation ------------------------------------------------------------------------ */

static void carry(struct check *c, struct tls *from, struct tls *to)
{
	struct buf *b;

	LB_ASSERT(from != to);
	while ((b = queue_pop(&from->sealed)) != NULL)
		tls_feed(&c->es, to, b);
}

/* One step of an end whose handshake is not over. */
static bool step(struct check *c, struct tls *t)
{
	if (!tls_wants_step(t))
		return true;
	enum tls_verdict v = tls_step(&c->es, t);
	if (v == TLS_DONE)
		tls_start(&c->es, t);
	return v == TLS_DONE || v == TLS_MORE;
}

static bool is_started(const struct tls *t)
{
	return t->state == TLS_IS_OPENSSL || t->state == TLS_IS_COMPACT;
}

static bool shake(struct check *c)
{
	for (int i = 0; i < TURNS_MAX; i++) {
		if (!step(c, c->client))
			return false;
		carry(c, c->client, c->server);
		if (!step(c, c->server))
			return false;
		carry(c, c->server, c->client);
		if (is_started(c->client) && is_started(c->server))
			return true;
	}
	return false;
}

/* A message from one end to the other. */
static bool say(struct check *c, struct tls *from, struct tls *to)
{
	struct queue in = { 0 }, out = { 0 };
	struct buf *b = buf_get(c->pool, BUF_SMALL);
	bool is_ok = b != NULL;

	if (b == NULL)
		return false;
	LB_ASSERT(b->cap >= MESSAGE_BYTES);
	for (b->len = 0; b->len < MESSAGE_BYTES; b->len++)
		b->data[b->len] = (uint8_t)(b->len * 7);
	queue_push(&in, c->pool, b);
	is_ok = tls_seal(&c->es, from, &in) == TLS_MORE && queue_is_empty(&in);
	carry(c, from, to);
	is_ok = is_ok && tls_open(&c->es, to, &out) == TLS_MORE && out.bytes == MESSAGE_BYTES;
	uint32_t at = 0;
	for (b = queue_head(&out); b != NULL; b = queue_next(&out, b))
		for (uint32_t i = 0; i < b->len; i++, at++)
			is_ok = is_ok && b->data[b->off + i] == (uint8_t)(at * 7);
	queue_clear(&in, c->pool);
	queue_clear(&out, c->pool);
	return is_ok;
}

static bool talk(struct check *c)
{
	for (int round = 0; round < 2; round++)
		if (!say(c, c->server, c->client) || !say(c, c->client, c->server))
			return false;
	return tls_is_compact(c->server) && tls_is_compact(c->client);
}

static int check_suite(struct check *c, const char *name, uint16_t version)
{
	struct tls_settings common = { .min_version = version,
				       .max_version = version,
				       .is_compact = true };
	struct tls_cert_files files = { .cert = pem_of(c->cert, "cert"),
					.key = pem_of(c->key, "key") };
	struct err ignored = ERR_INIT;
	struct tls_ctx *server = NULL, *client = NULL;

	LB_ASSERT(c->server == NULL && c->client == NULL);
	if (version == TLS_VERSION_1_3)
		common.ciphersuites = name;
	else
		common.ciphers = name;
	struct tls_server_settings s = { .common = common, .certs = &files, .n_certs = 1 };
	struct tls_client_settings cs = { .common = common, .is_unverified = true };
	int r = tls_ctx_new_server(c->lib, &s, &ignored, &server);
	if (r == 0)
		r = tls_ctx_new_client(c->lib, &cs, &ignored, &client);
	if (r == 0) {
		c->server = tls_new_server(&c->es, server);
		c->client = tls_new_client(&c->es, client, NULL, NULL);
		r = c->server == NULL || c->client == NULL ? -ENOMEM
		    : shake(c) && talk(c)                  ? 0
							   : -ENOTSUP;
		c->server = tls_free(&c->es, c->server);
		c->client = tls_free(&c->es, c->client);
	}
	tls_ctx_unref(server);
	tls_ctx_unref(client);
	err_deinit(&ignored);
	return r;
}

int tls_check_compact(struct tls_lib *l, struct err *e)
{
	struct check c = { .lib = l, .e = e, .pool = buf_pool_new(POOL_BYTES) };
	int r = -ENOMEM;

	if (c.pool == NULL || tls_ends_init(&c.es, l, c.pool, 2) < 0 ||
	    slab_reserve(c.es.slab, 2) < 0 || tls_reserve(&c.es) < 0 || !make_cert(&c)) {
		(void)err_add(e, -ENOMEM, "TLS: memory is short");
		goto out;
	}
	r = 0;
	for (size_t i = 0; i < ARRAY_SIZE(suites) && r == 0; i++) {
		r = check_suite(&c, suites[i].name, suites[i].version);
		if (r < 0)
			(void)err_add(
				e, r,
				"records: compact does not work with this machine's OpenSSL (%s, "
				"%s); use records: openssl",
				suites[i].name, OpenSSL_version(OPENSSL_VERSION_STRING));
	}
out:
	ERR_clear_error();
	BIO_free(c.cert);
	BIO_free(c.key);
	tls_ends_deinit(&c.es);
	buf_pool_free(c.pool);
	return r;
}
