/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a server's handshake chooses: a certificate by the client's name (SNI), a protocol (ALPN),
 * and the key of a ticket.
 *
 * Thread: the loop's, within tls_step(). Layer: net. Includes OpenSSL: for the TLS files of lb/net
 * only.
 */

#include <openssl/ssl.h>

struct tls_ctx;

/* Has the handshakes of `ssl_ctx`, one of the groups of `c`, choose by `c`, which must outlive it.
 */
void tls_choice_install(struct tls_ctx *c, SSL_CTX *ssl_ctx);
