/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What is seen of an SSL object from outside: how many records it has sent and received since its
 * keys changed, its traffic secrets, messages behind its handshake, and sessions for a client.
 *
 * The sequence number of a record is never computed ("a server has sent one ticket"): records are
 * counted, because a ticket with a large client certificate has several, and a Finished may come in
 * pieces.
 *
 * Thread: the loop's. Layer: net. Includes OpenSSL: for the TLS files of lb/net only.
 */

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "net/tls_record.h"

struct tls_watch {
	uint64_t n_rx, n_tx; /* records since the direction's keys changed */
	struct {
		uint8_t bytes[TLS_SECRET_MAX];
		uint8_t n;    /* 0: none seen, as always in TLS 1.2 */
	} rx, tx;             /* the first traffic secrets of TLS 1.3 */
	SSL_SESSION *session; /* owns; the newest one that a client was given, or NULL */
	uint8_t n_idle;       /* KeyUpdates in a row; the owner sets 0 when content has come */
	bool is_established;  /* written by the owner: the handshake is over */
	bool saw_update;      /* a KeyUpdate has come or was sent: the secrets are old */
	bool saw_renegotiation;
};

/* Has every SSL of `ctx` watched; tls_watch_start() says by what. */
void tls_watch_ctx(SSL_CTX *ctx);

/* `w` is zeroed and outlives the SSL. Returns 0 or -ENOMEM. */
int tls_watch_start(struct tls_watch *w, SSL *ssl) LB_MUST_CHECK;

/* Wipes the secrets of an end that stays with its SSL object. */
void tls_watch_forget(struct tls_watch *w);

/* The same, and frees the session. */
void tls_watch_end(struct tls_watch *w);
