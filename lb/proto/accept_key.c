/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of a WebSocket handshake. accept_key() is base64(SHA-1(key + GUID)), RFC 6455, 4.2.2, by
 * libcrypto. accept_key_check() computes the RFC's example when lb starts, because a policy of the
 * machine may have switched off SHA-1 in libcrypto. accept_key_encode_nonce() makes the key of a
 * client: lb's health checks.
 *
 * Thread: any.
 */
#include "proto/accept_key.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

/* The constant of RFC 6455, 1.3. */
#define GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define GUID_LEN (sizeof(GUID) - 1)
#define SHA1_LEN 20

int accept_key(const char key[ACCEPT_KEY_NONCE_LEN], char out[ACCEPT_KEY_TEXT])
{
	char text[ACCEPT_KEY_NONCE_LEN + GUID_LEN];
	uint8_t digest[SHA1_LEN];
	unsigned n = 0;

	memcpy(text, key, ACCEPT_KEY_NONCE_LEN);
	memcpy(text + ACCEPT_KEY_NONCE_LEN, GUID, GUID_LEN);
	if (EVP_Digest(text, sizeof(text), digest, &n, EVP_sha1(), NULL) != 1)
		return -ENOMEM;
	LB_ASSERT(n == SHA1_LEN);
	int len = EVP_EncodeBlock((unsigned char *)out, digest, SHA1_LEN);
	LB_ASSERT(len == ACCEPT_KEY_LEN);
	return 0;
}

int accept_key_check(void)
{
	char out[ACCEPT_KEY_TEXT];

	/* The example of RFC 6455, 1.3. */
	if (accept_key("dGhlIHNhbXBsZSBub25jZQ==", out) < 0)
		return -ENOTSUP;
	return strcmp(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=") == 0 ? 0 : -ENOTSUP;
}

void accept_key_encode_nonce(const uint8_t nonce[16], char out[ACCEPT_KEY_NONCE_TEXT])
{
	int len = EVP_EncodeBlock((unsigned char *)out, nonce, 16);

	LB_ASSERT(len == ACCEPT_KEY_NONCE_LEN);
}
