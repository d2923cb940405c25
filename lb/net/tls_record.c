/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealing and opening records, and deriving their keys.
 *
 * A nonce has 12 bytes. In TLS 1.3, and in TLS 1.2 with ChaCha20 (RFC 7905), it is the iv with the
 * sequence number XORed into its last 8 bytes, and is not sent. In TLS 1.2 with AES-GCM (RFC 5288)
 * its first 4 bytes are secret and the other 8, the explicit nonce, are sent in each record. lb's
 * explicit nonces go on from the last one that OpenSSL has sent under the same key.
 *
 * What is authenticated beside the content: the header in TLS 1.3; sequence number, type, version
 * and length of the content in TLS 1.2.
 *
 * An EVP_CIPHER_CTX costs 1.1 KB. The loop has one per AEAD and direction and gives it the key of
 * the record's half each time, which costs 120 ns (docs/decisions).
 *
 * Thread: the loop's. Hot.
 */
#include "net/tls_record.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

#include "net/tls_lib_priv.h"

#define EXPLICIT_BYTES 8u
#define IMPLICIT_BYTES (TLS_IV_BYTES - EXPLICIT_BYTES)
#define AAD_1_2_BYTES (8u + TLS_HEAD_BYTES)

/* RFC 8446, 5.5: 2^24.5 full records under AES-GCM. TLS 1.2 has no such text: as many as a 32-bit
 * count has is what lb allows. */
#define LIMIT_AES_1_3 (UINT64_C(1) << 24)
#define LIMIT_1_2 (UINT64_C(1) << 32)

struct tls_crypto {
	EVP_CIPHER_CTX *seal[TLS_N_AEADS], *open[TLS_N_AEADS];
	EVP_KDF_CTX *expand, *prf;
};

/* ---- suites ---------------------------------------------------------------------------------- */

size_t tls_suite_key_bytes(struct tls_suite s)
{
	LB_ASSERT(s.aead < TLS_N_AEADS);
	return s.aead == TLS_AES_128_GCM ? 16 : 32;
}

static const char *hash_name(struct tls_suite s)
{
	return s.aead == TLS_AES_256_GCM ? "SHA384" : "SHA256";
}

size_t tls_suite_hash_bytes(struct tls_suite s)
{
	LB_ASSERT(s.aead < TLS_N_AEADS);
	return s.aead == TLS_AES_256_GCM ? 48 : 32;
}

static bool has_explicit_nonce(struct tls_suite s)
{
	return !s.is_tls_1_3 && s.aead != TLS_CHACHA20_POLY1305;
}

size_t tls_suite_overhead(struct tls_suite s)
{
	return TLS_HEAD_BYTES + (has_explicit_nonce(s) ? EXPLICIT_BYTES : 0) +
	       (s.is_tls_1_3 ? 1 : 0) + TLS_TAG_BYTES;
}

uint64_t tls_suite_record_limit(struct tls_suite s)
{
	if (!s.is_tls_1_3)
		return LIMIT_1_2;
	return s.aead == TLS_CHACHA20_POLY1305 ? UINT64_MAX : LIMIT_AES_1_3;
}

/* ---- EVP contexts ---------------------------------------------------------------------------- */

static EVP_CIPHER_CTX *cipher_ctx(EVP_CIPHER *aead, int is_sealing)
{
	EVP_CIPHER_CTX *x = EVP_CIPHER_CTX_new();

	if (x == NULL || EVP_CipherInit_ex(x, aead, NULL, NULL, NULL, is_sealing) != 1) {
		EVP_CIPHER_CTX_free(x);
		return NULL;
	}
	LB_ASSERT(EVP_CIPHER_CTX_get_iv_length(x) == TLS_IV_BYTES);
	return x;
}

struct tls_crypto *tls_crypto_new(struct tls_lib *l)
{
	struct tls_crypto *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	for (int i = 0; i < TLS_N_AEADS; i++) {
		c->seal[i] = cipher_ctx(l->aead[i], 1);
		c->open[i] = cipher_ctx(l->aead[i], 0);
		if (c->seal[i] == NULL || c->open[i] == NULL)
			goto fail;
	}
	c->expand = EVP_KDF_CTX_new(l->expand);
	c->prf = EVP_KDF_CTX_new(l->prf);
	if (c->expand != NULL && c->prf != NULL)
		return c;
fail:
	ERR_clear_error();
	return tls_crypto_free(c);
}

struct tls_crypto *tls_crypto_free(struct tls_crypto *c)
{
	if (c == NULL)
		return NULL;
	for (int i = 0; i < TLS_N_AEADS; i++) {
		EVP_CIPHER_CTX_free(c->seal[i]);
		EVP_CIPHER_CTX_free(c->open[i]);
	}
	EVP_KDF_CTX_free(c->expand);
	EVP_KDF_CTX_free(c->prf);
	free(c);
	return NULL;
}

/* ---- nonces and what is authenticated -------------------------------------------------------- */

static void put_u64(uint8_t p[8], uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		p[i] = (uint8_t)v;
}

static uint64_t get_u64(const uint8_t p[8])
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return v;
}

static void nonce_by_xor(const struct tls_half *half, uint64_t seq, uint8_t nonce[TLS_IV_BYTES])
{
	put_u64(nonce + IMPLICIT_BYTES, seq ^ get_u64(half->iv + IMPLICIT_BYTES));
	memcpy(nonce, half->iv, IMPLICIT_BYTES);
}

/* What is authenticated beside the content; returns its length. */
static int aad_of(struct tls_suite s, uint64_t seq, struct tls_head h, size_t n_content,
		  uint8_t aad[AAD_1_2_BYTES])
{
	LB_ASSERT(h.len <= TLS_CIPHERTEXT_MAX);
	if (s.is_tls_1_3) {
		tls_head_write(aad, TLS_TYPE_DATA, h.len);
		return TLS_HEAD_BYTES;
	}
	put_u64(aad, seq);
	tls_head_write(aad + 8, h.type, n_content);
	return AAD_1_2_BYTES;
}

/* ---- seal ------------------------------------------------------------------------------------ */

/* The sequence number of the next record to be sent: each is given out once. */
static uint64_t take_seq(struct tls_half *tx)
{
	LB_ASSERT(tx->seq < UINT64_MAX);
	return tx->seq++;
}

/* Encrypts the first `n` bytes of `iov` to `out`. */
static bool encrypt(EVP_CIPHER_CTX *x, const struct iovec *iov, size_t n, uint8_t *out)
{
	for (int done = 0; n > 0; iov++) {
		size_t part = iov->iov_len < n ? iov->iov_len : n;
		if (part > 0 && EVP_EncryptUpdate(x, out, &done, iov->iov_base, (int)part) != 1)
			return false;
		out += part;
		n -= part;
	}
	return true;
}

size_t tls_record_seal(struct tls_crypto *c, struct tls_suite s, struct tls_half *tx, uint8_t type,
		       const struct iovec *iov, size_t n, uint8_t *out)
{
	EVP_CIPHER_CTX *x = c->seal[s.aead];
	uint8_t nonce[TLS_IV_BYTES], aad[AAD_1_2_BYTES];
	uint8_t *p = out + TLS_HEAD_BYTES;
	size_t whole = n + tls_suite_overhead(s);
	int done = 0;

	LB_ASSERT(s.aead < TLS_N_AEADS && n <= TLS_CONTENT_MAX);
	uint64_t seq = take_seq(tx);
	struct tls_head h = { .type = s.is_tls_1_3 ? TLS_TYPE_DATA : type,
			      .len = (uint16_t)(whole - TLS_HEAD_BYTES) };
	tls_head_write(out, h.type, h.len);
	if (has_explicit_nonce(s)) {
		memcpy(nonce, tx->iv, IMPLICIT_BYTES);
		put_u64(nonce + IMPLICIT_BYTES, get_u64(tx->iv + IMPLICIT_BYTES) + seq);
		memcpy(p, nonce + IMPLICIT_BYTES, EXPLICIT_BYTES);
		p += EXPLICIT_BYTES;
	} else {
		nonce_by_xor(tx, seq, nonce);
	}
	if (EVP_EncryptInit_ex(x, NULL, NULL, tx->key, nonce) != 1 ||
	    EVP_EncryptUpdate(x, NULL, &done, aad, aad_of(s, seq, h, n, aad)) != 1 ||
	    !encrypt(x, iov, n, p))
		goto fail;
	p += n;
	if (s.is_tls_1_3 && EVP_EncryptUpdate(x, p++, &done, &type, 1) != 1)
		goto fail;
	if (EVP_EncryptFinal_ex(x, p, &done) != 1 ||
	    EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_AEAD_GET_TAG, TLS_TAG_BYTES, p) != 1)
		goto fail;
	LB_ASSERT(p + TLS_TAG_BYTES == out + whole);
	return whole;
fail:
	ERR_clear_error();
	return 0;
}

/* ---- open ------------------------------------------------------------------------------------ */

/* Decrypts `n` bytes in place and verifies the tag behind them. */
static bool decrypt(EVP_CIPHER_CTX *x, const struct tls_half *rx, const uint8_t *nonce,
		    const uint8_t *aad, int n_aad, uint8_t *p, size_t n)
{
	int done = 0;

	if (EVP_DecryptInit_ex(x, NULL, NULL, rx->key, nonce) == 1 &&
	    EVP_CIPHER_CTX_ctrl(x, EVP_CTRL_AEAD_SET_TAG, TLS_TAG_BYTES, p + n) == 1 &&
	    EVP_DecryptUpdate(x, NULL, &done, aad, n_aad) == 1 &&
	    (n == 0 || EVP_DecryptUpdate(x, p, &done, p, (int)n) == 1) &&
	    EVP_DecryptFinal_ex(x, p + n, &done) == 1)
		return true;
	ERR_clear_error();
	return false;
}

int tls_record_open(struct tls_crypto *c, struct tls_suite s, struct tls_half *rx, uint8_t *record,
		    struct tls_head h, struct tls_opened *ret)
{
	uint8_t nonce[TLS_IV_BYTES], aad[AAD_1_2_BYTES];
	uint8_t *p = record + TLS_HEAD_BYTES;
	size_t least = tls_suite_overhead(s) - TLS_HEAD_BYTES, n = h.len - TLS_TAG_BYTES;

	if (h.len > TLS_CIPHERTEXT_MAX)
		return TLS_ALERT_RECORD_OVERFLOW;
	if (h.len < least)
		return TLS_ALERT_BAD_RECORD_MAC;
	LB_ASSERT(rx->seq < UINT64_MAX);
	if (has_explicit_nonce(s)) {
		memcpy(nonce, rx->iv, IMPLICIT_BYTES);
		memcpy(nonce + IMPLICIT_BYTES, p, EXPLICIT_BYTES);
		p += EXPLICIT_BYTES;
		n -= EXPLICIT_BYTES;
	} else {
		nonce_by_xor(rx, rx->seq, nonce);
	}
	if (!decrypt(c->open[s.aead], rx, nonce, aad, aad_of(s, rx->seq, h, n, aad), p, n))
		return TLS_ALERT_BAD_RECORD_MAC;
	rx->seq++;

	uint8_t type = h.type;
	if (s.is_tls_1_3) {
		int content = tls_inner_len(p, n, &type);
		if (content < 0)
			return TLS_ALERT_UNEXPECTED_MESSAGE;
		n = (size_t)content;
	}
	if (n > TLS_CONTENT_MAX)
		return TLS_ALERT_RECORD_OVERFLOW;
	*ret = (struct tls_opened){ .content = p, .n = n, .type = type };
	return 0;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static OSSL_PARAM octets(const char *key, const void *p, size_t n)
{
	return OSSL_PARAM_construct_octet_string(key, tls_unconst(p), n);
}

static OSSL_PARAM hash_param(struct tls_suite s)
{
	return OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, tls_unconst(hash_name(s)),
						0);
}

/* HKDF-Expand-Label(secret, label, "", n) (RFC 8446, 7.1). */
static int expand(struct tls_crypto *c, struct tls_suite s, const uint8_t *secret,
		  const char *label, uint8_t *out, size_t n)
{
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
		hash_param(s),
		octets(OSSL_KDF_PARAM_KEY, secret, tls_suite_hash_bytes(s)),
		octets(OSSL_KDF_PARAM_PREFIX, "tls13 ", 6),
		octets(OSSL_KDF_PARAM_LABEL, label, strlen(label)),
		OSSL_PARAM_construct_end(),
	};

	LB_ASSERT(s.is_tls_1_3 && n <= tls_suite_hash_bytes(s)); /* one block of output */
	EVP_KDF_CTX_reset(c->expand);
	int r = EVP_KDF_derive(c->expand, out, n, params) == 1 ? 0 : -ENOMEM;
	EVP_KDF_CTX_reset(c->expand); /* no secret stays in it */
	ERR_clear_error();
	return r;
}

int tls_half_expand(struct tls_crypto *c, struct tls_suite s, struct tls_half *half)
{
	LB_ASSERT(s.is_tls_1_3);
	if (expand(c, s, half->secret, "key", half->key, tls_suite_key_bytes(s)) < 0 ||
	    expand(c, s, half->secret, "iv", half->iv, TLS_IV_BYTES) < 0)
		return -ENOMEM;
	half->seq = 0;
	return 0;
}

int tls_half_update(struct tls_crypto *c, struct tls_suite s, struct tls_half *half)
{
	struct tls_half next = { 0 };
	int r = expand(c, s, half->secret, "traffic upd", next.secret, tls_suite_hash_bytes(s));

	if (r == 0)
		r = tls_half_expand(c, s, &next);
	if (r == 0)
		*half = next;
	OPENSSL_cleanse(&next, sizeof(next));
	return r;
}

int tls_halves_expand(struct tls_crypto *c, struct tls_suite s, const struct tls_master *m,
		      struct tls_half *client, struct tls_half *server)
{
	size_t n_key = tls_suite_key_bytes(s);
	size_t n_iv = has_explicit_nonce(s) ? IMPLICIT_BYTES : TLS_IV_BYTES;
	uint8_t block[2 * (32 + TLS_IV_BYTES)], *p = block;
	OSSL_PARAM params[] = {
		hash_param(s),
		octets(OSSL_KDF_PARAM_SECRET, m->secret, sizeof(m->secret)),
		octets(OSSL_KDF_PARAM_SEED, "key expansion", 13),
		octets(OSSL_KDF_PARAM_SEED, m->server_random, sizeof(m->server_random)),
		octets(OSSL_KDF_PARAM_SEED, m->client_random, sizeof(m->client_random)),
		OSSL_PARAM_construct_end(),
	};

	LB_ASSERT(!s.is_tls_1_3 && 2 * (n_key + n_iv) <= sizeof(block));
	EVP_KDF_CTX_reset(c->prf);
	int r = EVP_KDF_derive(c->prf, block, 2 * (n_key + n_iv), params) == 1 ? 0 : -ENOMEM;
	EVP_KDF_CTX_reset(c->prf);
	ERR_clear_error();
	if (r < 0)
		return r;
	memset(client, 0, sizeof(*client));
	memset(server, 0, sizeof(*server));
	memcpy(client->key, p, n_key);
	memcpy(server->key, p += n_key, n_key);
	memcpy(client->iv, p += n_key, n_iv);
	memcpy(server->iv, p + n_iv, n_iv);
	OPENSSL_cleanse(block, sizeof(block));
	return 0;
}
