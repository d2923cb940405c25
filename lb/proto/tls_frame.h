/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * TLS records (RFC 8446, 5; RFC 5246, 6.2): headers to numbers and back, the end of a record's
 * content, and the messages of the handshake protocol that may come after the handshake.
 *
 * Nothing here encrypts: that is net/tls_record.h. Thread: any (pure functions). Layer: proto. Hot.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/assert.h"

#define TLS_HEAD_BYTES 5u

/* A record's content, and what follows the header on the wire. TLS 1.2 allows 18,432 of the latter;
 * its AEAD suites, the only ones that lb has, need 16,408. */
#define TLS_CONTENT_MAX 16384u
#define TLS_CIPHERTEXT_MAX 16640u

/* Records in a row that carry nothing: more of them are an attack, or a fault (as in OpenSSL). */
#define TLS_IDLE_RECORDS_MAX 32u

#define TLS_VERSION_1_2 0x0303u
#define TLS_VERSION_1_3 0x0304u

enum tls_type {
	TLS_TYPE_CCS = 20,
	TLS_TYPE_ALERT = 21,
	TLS_TYPE_HANDSHAKE = 22,
	TLS_TYPE_DATA = 23,
};

/* The alerts that lb sends or tells apart (RFC 8446, 6). */
enum tls_alert {
	TLS_ALERT_CLOSE_NOTIFY = 0,
	TLS_ALERT_UNEXPECTED_MESSAGE = 10,
	TLS_ALERT_BAD_RECORD_MAC = 20,
	TLS_ALERT_RECORD_OVERFLOW = 22,
	TLS_ALERT_ILLEGAL_PARAMETER = 47,
	TLS_ALERT_DECODE_ERROR = 50,
	TLS_ALERT_PROTOCOL_VERSION = 70,
	TLS_ALERT_INTERNAL_ERROR = 80,
	TLS_ALERT_USER_CANCELED = 90,
	TLS_ALERT_NO_RENEGOTIATION = 100,
};

#define TLS_ALERT_LEVEL_WARNING 1
#define TLS_ALERT_LEVEL_FATAL 2

/* The name of an alert in the RFC, or "unknown alert". */
const char *tls_alert_name(uint8_t alert);

struct tls_head {
	uint8_t type;     /* enum tls_type; anything */
	uint16_t version; /* of the record layer: 0x0303, in a first ClientHello also 0x0301 */
	uint16_t len;     /* bytes that follow the header */
};

static inline struct tls_head tls_head_read(const uint8_t p[TLS_HEAD_BYTES])
{
	return (struct tls_head){
		.type = p[0],
		.version = (uint16_t)(p[1] << 8 | p[2]),
		.len = (uint16_t)(p[3] << 8 | p[4]),
	};
}

/* A header with version 0x0303. */
static inline void tls_head_write(uint8_t p[TLS_HEAD_BYTES], uint8_t type, size_t len)
{
	LB_DASSERT(len <= TLS_CIPHERTEXT_MAX);
	p[0] = type;
	p[1] = TLS_VERSION_1_2 >> 8;
	p[2] = TLS_VERSION_1_2 & 0xff;
	p[3] = (uint8_t)(len >> 8);
	p[4] = (uint8_t)len;
}

/*
 * tls_inner_len() - the content of a TLSInnerPlaintext (RFC 8446, 5.2)
 *
 * The padding of zeros and the type behind the content are not counted. Sets *ret_type and returns
 * the bytes of content, or returns -1 where all `n` bytes are zeros.
 */
int tls_inner_len(const uint8_t *p, size_t n, uint8_t *ret_type);

/* What the messages of a record of type handshake ask for. */
enum tls_message {
	TLS_MSG_NONE,             /* a part of a message, or tickets, which are skipped */
	TLS_MSG_UPDATE,           /* KeyUpdate: the next record has the peer's next key */
	TLS_MSG_UPDATE_REQUESTED, /* the same, and the peer asks for a KeyUpdate of ours */
	TLS_MSG_UNEXPECTED,       /* answered by unexpected_message */
	TLS_MSG_MALFORMED,        /* answered by decode_error */
	TLS_MSG_ILLEGAL,          /* answered by illegal_parameter */
};

/* Where in a message the next record of type handshake goes on. Zeroed: between two messages. */
struct tls_messages {
	/* private to tls_frame.c */
	uint32_t left;  /* bytes of the message still to come, once its header is whole */
	uint8_t n_head; /* bytes of the header that have come; 4: in the body */
	uint8_t type;
};

/* Whether a message has begun and is not over: no record of another type may come then. */
static inline bool tls_messages_is_within(const struct tls_messages *m)
{
	return m->n_head > 0;
}

/*
 * tls_messages_feed() - read the content of one more record of type handshake
 *
 * For TLS 1.3, after the handshake. A KeyUpdate may come in pieces, and must end its record. At the
 * client's end a NewSessionTicket is skipped; at the server's it is unexpected, like every other
 * message.
 */
enum tls_message tls_messages_feed(struct tls_messages *m, bool is_client, const uint8_t *p,
				   size_t n);

/* Writes a KeyUpdate message. */
#define TLS_KEY_UPDATE_BYTES 5u
void tls_key_update_write(uint8_t p[TLS_KEY_UPDATE_BYTES], bool is_requested);
