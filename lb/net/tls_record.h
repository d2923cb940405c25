/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Records of TLS 1.2 and 1.3 under AEAD suites, sealed and opened by EVP without an SSL object:
 * what `records: compact` is made of.
 *
 * A half is one direction's keys. tls_record_seal() is the only function that reads and raises the
 * sequence number of a sending half: a nonce that is used twice would give the key away.
 *
 * Thread: the loop's. Layer: net. Hot.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "proto/tls_frame.h"

struct tls_lib;

enum tls_aead { TLS_AES_128_GCM, TLS_AES_256_GCM, TLS_CHACHA20_POLY1305, TLS_N_AEADS };

struct tls_suite {
	uint8_t aead;    /* enum tls_aead */
	bool is_tls_1_3; /* else 1.2 */
};

#define TLS_IV_BYTES 12u
#define TLS_TAG_BYTES 16u
#define TLS_SECRET_MAX 48u

struct tls_half {
	uint64_t seq; /* records since the last change of keys */
	uint8_t key[32];
	/* TLS 1.2 with AES-GCM: 4 bytes that are never sent, then, in a half that sends, a number
	 * n: the explicit part of a nonce is n + seq. */
	uint8_t iv[TLS_IV_BYTES];
	uint8_t secret[TLS_SECRET_MAX]; /* TLS 1.3: of this generation of keys */
};

/* The most that sealing adds to content: header, explicit nonce or inner type, tag. */
#define TLS_OVERHEAD_MAX (TLS_HEAD_BYTES + 8 + TLS_TAG_BYTES)
#define TLS_RECORD_MAX (TLS_HEAD_BYTES + TLS_CIPHERTEXT_MAX)

size_t tls_suite_key_bytes(struct tls_suite s);

/* Bytes of the suite's hash, and so of a secret of TLS 1.3. */
size_t tls_suite_hash_bytes(struct tls_suite s);

/* What sealing adds to content under this suite. */
size_t tls_suite_overhead(struct tls_suite s);

/* Records that one key may seal (RFC 8446, 5.5, and 2^32 where TLS 1.2 cannot change it). */
uint64_t tls_suite_record_limit(struct tls_suite s);

/* The EVP contexts of a loop: one per AEAD and direction, re-keyed for each record. */
struct tls_crypto;

/* NULL when memory is short. `l` must outlive it. */
struct tls_crypto *tls_crypto_new(struct tls_lib *l);

/* NULL is fine. Returns NULL. */
struct tls_crypto *tls_crypto_free(struct tls_crypto *c);

/*
 * tls_record_seal() - write one record
 *
 * Its content is the first `n` bytes of `iov`, which has at least as many; `out` takes n +
 * tls_suite_overhead() bytes and does not overlap. Returns the bytes written, or 0 when libcrypto
 * fails: then the half may not be used again.
 */
size_t tls_record_seal(struct tls_crypto *c, struct tls_suite s, struct tls_half *tx, uint8_t type,
		       const struct iovec *iov, size_t n, uint8_t *out) LB_MUST_CHECK;

/* What tls_record_open() found. */
struct tls_opened {
	uint8_t *content; /* in the record; decrypted in place */
	size_t n;
	uint8_t type; /* the inner one */
};

/*
 * tls_record_open() - verify and decrypt one record in place
 *
 * `record` is the whole record: its header, of `h`, and h.len bytes. Returns 0 and sets *ret, or
 * the alert that answers it (enum tls_alert) and sets nothing: no byte may be used then.
 */
int tls_record_open(struct tls_crypto *c, struct tls_suite s, struct tls_half *rx, uint8_t *record,
		    struct tls_head h, struct tls_opened *ret) LB_MUST_CHECK;

/* Derives key and iv from half->secret (TLS 1.3) and begins at record 0. Returns 0 or -ENOMEM. */
int tls_half_expand(struct tls_crypto *c, struct tls_suite s, struct tls_half *half) LB_MUST_CHECK;

/* Goes on to the next secret, as a KeyUpdate says. Returns 0 or -ENOMEM, and changes nothing then.
 */
int tls_half_update(struct tls_crypto *c, struct tls_suite s, struct tls_half *half) LB_MUST_CHECK;

/* What TLS 1.2 derives its keys from (RFC 5246, 6.3). */
struct tls_master {
	uint8_t secret[48];
	uint8_t client_random[32], server_random[32];
};

/* Derives both halves of the client's and the server's; seq and the explicit nonce are 0. Returns 0
 * or -ENOMEM. */
int tls_halves_expand(struct tls_crypto *c, struct tls_suite s, const struct tls_master *m,
		      struct tls_half *client, struct tls_half *server) LB_MUST_CHECK;
