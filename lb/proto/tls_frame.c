/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of TLS, as bytes.
 *
 * A record of TLS 1.3 is outside always of type 23; its true type stands behind the content:
 *
 *   | 23 | 03 03 | len |  content ...  | type | 0 0 0 (padding) |  tag  |
 *   '---- header ------'-------------- encrypted ---------------'
 *
 * In TLS 1.2 the header has the true type. Messages of the handshake protocol are a stream of their
 * own over the records of type 22: a message may span records, and a record may have several
 * messages.
 *
 *   | type (1) | length (3) | body |
 */
#include "proto/tls_frame.h"

#define MSG_NEW_SESSION_TICKET 4
#define MSG_KEY_UPDATE 24
#define MSG_HEAD_BYTES 4
#define KEY_UPDATE_BODY_BYTES 1u

/* A ticket has at most 65,535 bytes, and so have its extensions (RFC 8446, 4.6.1). */
#define TICKET_BODY_MAX (4u + 4 + 1 + 255 + 2 + 65535 + 2 + 65534)

const char *tls_alert_name(uint8_t alert)
{
	static const struct {
		uint8_t alert;
		const char *name;
	} names[] = {
		{ 0, "close_notify" },
		{ 10, "unexpected_message" },
		{ 20, "bad_record_mac" },
		{ 22, "record_overflow" },
		{ 40, "handshake_failure" },
		{ 42, "bad_certificate" },
		{ 43, "unsupported_certificate" },
		{ 44, "certificate_revoked" },
		{ 45, "certificate_expired" },
		{ 46, "certificate_unknown" },
		{ 47, "illegal_parameter" },
		{ 48, "unknown_ca" },
		{ 49, "access_denied" },
		{ 50, "decode_error" },
		{ 51, "decrypt_error" },
		{ 70, "protocol_version" },
		{ 71, "insufficient_security" },
		{ 80, "internal_error" },
		{ 86, "inappropriate_fallback" },
		{ 90, "user_canceled" },
		{ 100, "no_renegotiation" },
		{ 109, "missing_extension" },
		{ 110, "unsupported_extension" },
		{ 112, "unrecognized_name" },
		{ 113, "bad_certificate_status_response" },
		{ 115, "unknown_psk_identity" },
		{ 116, "certificate_required" },
		{ 120, "no_application_protocol" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].alert == alert)
			return names[i].name;
	return "unknown alert";
}

int tls_inner_len(const uint8_t *p, size_t n, uint8_t *ret_type)
{
	LB_ASSERT(n <= TLS_CIPHERTEXT_MAX);
	while (n > 0 && p[n - 1] == 0)
		n--;
	if (n == 0)
		return -1;
	*ret_type = p[n - 1];
	return (int)(n - 1);
}

/* Judges a message whose header is whole. Returns TLS_MSG_NONE where its body may come. */
static enum tls_message judge_head(const struct tls_messages *m, bool is_client)
{
	if (m->type == MSG_KEY_UPDATE)
		return m->left == KEY_UPDATE_BODY_BYTES ? TLS_MSG_NONE : TLS_MSG_MALFORMED;
	if (m->type != MSG_NEW_SESSION_TICKET || !is_client)
		return TLS_MSG_UNEXPECTED;
	return m->left > 0 && m->left <= TICKET_BODY_MAX ? TLS_MSG_NONE : TLS_MSG_MALFORMED;
}

static enum tls_message judge_key_update(uint8_t request, size_t n_behind)
{
	if (request > 1)
		return TLS_MSG_ILLEGAL; /* RFC 8446, 4.6.3 */
	if (n_behind > 0)
		return TLS_MSG_UNEXPECTED;
	return request == 1 ? TLS_MSG_UPDATE_REQUESTED : TLS_MSG_UPDATE;
}

enum tls_message tls_messages_feed(struct tls_messages *m, bool is_client, const uint8_t *p,
				   size_t n)
{
	LB_ASSERT(m->n_head <= MSG_HEAD_BYTES && n <= TLS_CONTENT_MAX);
	if (n == 0)
		return TLS_MSG_UNEXPECTED; /* RFC 8446, 5.1: no fragment of length 0 */

	while (n > 0) {
		if (m->n_head < MSG_HEAD_BYTES) {
			if (m->n_head == 0)
				*m = (struct tls_messages){ .type = *p };
			else
				m->left = m->left << 8 | *p;
			m->n_head++;
			p++;
			n--;
			if (m->n_head < MSG_HEAD_BYTES)
				continue;
			enum tls_message verdict = judge_head(m, is_client);
			if (verdict != TLS_MSG_NONE)
				return verdict;
			continue;
		}
		LB_ASSERT(m->left > 0);
		if (m->type == MSG_KEY_UPDATE) {
			*m = (struct tls_messages){ 0 };
			return judge_key_update(*p, n - 1);
		}
		size_t part = n < m->left ? n : m->left;
		m->left -= (uint32_t)part;
		p += part;
		n -= part;
		if (m->left == 0)
			*m = (struct tls_messages){ 0 };
	}
	return TLS_MSG_NONE;
}

void tls_key_update_write(uint8_t p[TLS_KEY_UPDATE_BYTES], bool is_requested)
{
	p[0] = MSG_KEY_UPDATE;
	p[1] = p[2] = 0;
	p[3] = KEY_UPDATE_BODY_BYTES;
	p[4] = is_requested;
}
