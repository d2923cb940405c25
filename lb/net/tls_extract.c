/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an SSL object to a compact end: the keys are taken out, and the object is freed.
 *
 * TLS 1.3: the traffic secrets that the keylog callback has noted; keys and ivs are derived from
 * them as OpenSSL has done. TLS 1.2: the master secret and both randoms. Sequence numbers are the
 * records that were counted since the keys changed (net/tls_watch.h).
 *
 * Both sides of a nonce. Under AES-GCM in TLS 1.2 our next explicit nonce is the one of the last
 * record that OpenSSL has written, and one more: OpenSSL's begin at random. What the peer's are is
 * read in its records.
 *
 * Self-check. The last record that OpenSSL has written under these keys (a ticket, or a Finished)
 * is mostly still in `sealed`; then it is opened with the keys that were taken out. An end whose
 * keys do not open it stays with its SSL object.
 */
#include <string.h>

#include "net/tls_priv.h"

/* The suite in lb's terms. Returns false where lb does not know it. */
static bool suite_of(const SSL *ssl, struct tls_suite *ret)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
	int version = SSL_version(ssl);

	if (cipher == NULL || (version != (int)TLS_VERSION_1_2 && version != (int)TLS_VERSION_1_3))
		return false;
	ret->is_tls_1_3 = version == (int)TLS_VERSION_1_3;
	switch (SSL_CIPHER_get_cipher_nid(cipher)) {
	case NID_aes_128_gcm: ret->aead = TLS_AES_128_GCM; break;
	case NID_aes_256_gcm: ret->aead = TLS_AES_256_GCM; break;
	case NID_chacha20_poly1305: ret->aead = TLS_CHACHA20_POLY1305; break;
	default: return false;
	}
	return true;
}

/* Whether OpenSSL holds no byte that it has read and not given out. */
static bool has_read_nothing_ahead(const SSL *ssl)
{
	/* "RH": the next byte that it reads is a header's. */
	return SSL_has_pending(ssl) == 0 && SSL_pending(ssl) == 0 &&
	       strcmp(SSL_rstate_string(ssl), "RH") == 0;
}

bool tls_is_between_records(const struct tls *t)
{
	return has_read_nothing_ahead(t->shake->ssl) && !t->shake->is_writing;
}

static bool take_1_3(struct tls_ends *es, const struct tls_watch *w, struct tls_suite s,
		     struct tls_half *rx, struct tls_half *tx)
{
	size_t n = tls_suite_hash_bytes(s);

	LB_ASSERT(s.is_tls_1_3 && w->rx.n <= TLS_SECRET_MAX && w->tx.n <= TLS_SECRET_MAX);
	if (w->rx.n != n || w->tx.n != n || w->saw_update)
		return false;
	memcpy(rx->secret, w->rx.bytes, n);
	memcpy(tx->secret, w->tx.bytes, n);
	return tls_half_expand(es->crypto, s, rx) == 0 && tls_half_expand(es->crypto, s, tx) == 0;
}

/* A number n so that n + seq is the explicit nonce behind the last one that OpenSSL has sent. */
static bool take_explicit_nonce(const struct tls_shake *sh, struct tls_half *tx)
{
	uint64_t last = 0;

	LB_ASSERT(sh->bio.n_last <= TLS_RECORD_MAX);
	/* Our Finished was sent under these keys, so there is one. */
	if (sh->watch.n_tx == 0 || tls_bio_last_bytes(&sh->bio) != sh->bio.n_last ||
	    sh->bio.n_last < TLS_BIO_WATCHED)
		return false;
	for (uint32_t i = TLS_HEAD_BYTES; i < TLS_BIO_WATCHED; i++)
		last = last << 8 | sh->bio.last[i];
	uint64_t base = last - (sh->watch.n_tx - 1);
	for (int i = TLS_IV_BYTES - 1; i >= 4; i--, base >>= 8)
		tx->iv[i] = (uint8_t)base;
	return true;
}

static bool take_1_2(struct tls_ends *es, const struct tls_shake *sh, struct tls_suite s,
		     bool is_client, struct tls_half *rx, struct tls_half *tx)
{
	struct tls_master m;
	const SSL_SESSION *session = SSL_get_session(sh->ssl);
	bool is_ok =
		session != NULL &&
		SSL_SESSION_get_master_key(session, m.secret, sizeof(m.secret)) ==
			sizeof(m.secret) &&
		SSL_get_client_random(sh->ssl, m.client_random, 32) == 32 &&
		SSL_get_server_random(sh->ssl, m.server_random, 32) == 32 &&
		tls_halves_expand(es->crypto, s, &m, is_client ? tx : rx, is_client ? rx : tx) == 0;

	OPENSSL_cleanse(&m, sizeof(m));
	return is_ok && (s.aead == TLS_CHACHA20_POLY1305 || take_explicit_nonce(sh, tx));
}

/* Copies the last `n` bytes of the queue. */
static void copy_tail(const struct queue *q, uint32_t n, uint8_t *out)
{
	uint32_t skip = q->bytes - n;

	LB_ASSERT(n <= q->bytes && n <= TLS_RECORD_MAX);
	for (const struct buf *b = queue_head(q); b != NULL; b = queue_next(q, b)) {
		uint32_t from = skip < b->len ? skip : b->len;
		memcpy(out, b->data + b->off + from, b->len - from);
		out += b->len - from;
		skip -= from;
	}
}

/* Whether the last record that was written, if it is still here, opens with the keys of `tx`. */
static bool opens_own_record(struct tls_ends *es, struct tls *t, struct tls_suite s,
			     const struct tls_half *tx)
{
	const struct tls_bio *bio = &t->shake->bio;
	uint32_t n = tls_bio_last_bytes(bio);
	struct tls_half half = *tx;
	struct tls_opened opened;

	if (tx->seq == 0 || n == 0 || n != bio->n_last || n > t->sealed.bytes ||
	    n > TLS_CONTENT_MAX)
		return true;
	copy_tail(&t->sealed, n, es->scratch);
	half.seq--;
	/* To open reads the iv as a receiver does: the explicit nonce is in the record. */
	bool is_ok = tls_record_open(es->crypto, s, &half, es->scratch, tls_head_read(es->scratch),
				     &opened) == 0;
	OPENSSL_cleanse(&half, sizeof(half));
	return is_ok;
}

bool tls_extract(struct tls_ends *es, struct tls *t)
{
	const struct tls_shake *sh = t->shake;
	const struct tls_watch *w = &sh->watch;
	struct tls_half rx = { 0 }, tx = { 0 };
	struct tls_suite s = { 0 };
	bool is_ok = suite_of(sh->ssl, &s) && tls_is_between_records(t) &&
		     SSL_is_init_finished(sh->ssl) && !w->saw_renegotiation;

	LB_ASSERT(t->state == TLS_IS_READY || t->state == TLS_IS_OPENSSL);
	/* A server has read no record behind the Finished. */
	is_ok = is_ok && (t->is_client || !s.is_tls_1_3 || w->n_rx == 0);
	if (is_ok)
		is_ok = s.is_tls_1_3 ? take_1_3(es, w, s, &rx, &tx)
				     : take_1_2(es, sh, s, t->is_client, &rx, &tx);
	rx.seq = w->n_rx;
	tx.seq = w->n_tx;
	is_ok = is_ok && opens_own_record(es, t, s, &tx);
	if (is_ok) {
		tls_shake_free(t);
		t->rx = rx;
		t->tx = tx;
		t->suite = s;
		t->messages = (struct tls_messages){ 0 };
		t->wants_compact = false;
		tls_set_state(t, TLS_IS_COMPACT);
	}
	OPENSSL_cleanse(&rx, sizeof(rx));
	OPENSSL_cleanse(&tx, sizeof(tx));
	ERR_clear_error();
	return is_ok;
}
