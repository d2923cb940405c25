/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The keys of a WebSocket handshake (RFC 6455, 4.2.2).
 *
 * Thread: any. Layer: proto. Includes util/ only.
 */

#include <stdint.h>

#include "util/assert.h"

#define ACCEPT_KEY_NONCE_LEN 24 /* characters: 16 bytes in base64 */
/* bytes of a Sec-WebSocket-Key, with its NUL */
#define ACCEPT_KEY_NONCE_TEXT (ACCEPT_KEY_NONCE_LEN + 1)
#define ACCEPT_KEY_LEN 28 /* characters: 20 bytes in base64 */
/* bytes of a Sec-WebSocket-Accept, with its NUL */
#define ACCEPT_KEY_TEXT (ACCEPT_KEY_LEN + 1)

/*
 * accept_key() - the Sec-WebSocket-Accept that answers a Sec-WebSocket-Key
 *
 * Writes ACCEPT_KEY_LEN characters and a NUL. Returns 0, or -ENOMEM when libcrypto is out of
 * memory; `out` must not be used then.
 */
int accept_key(const char key[ACCEPT_KEY_NONCE_LEN], char out[ACCEPT_KEY_TEXT]) LB_MUST_CHECK;

/*
 * Checks that libcrypto can compute accept_key(): a policy of the machine may have switched off
 * SHA-1. Returns 0 or -ENOTSUP.
 */
int accept_key_check(void) LB_MUST_CHECK;

/* Writes a client's Sec-WebSocket-Key for 16 random bytes: 24 characters and a NUL. */
void accept_key_encode_nonce(const uint8_t nonce[16], char out[ACCEPT_KEY_NONCE_TEXT]);
