/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Forward: the heads that lb sends, made from the heads that it received; and lb's own answers.
 *
 * Hop-by-hop fields are removed, and with them the fields that Connection names. lb's X-Forwarded-*
 * fields replace those of the client. All other fields pass in their order, with names and values
 * as they came. White space around a value, and the way a length is written, is the same in every
 * head.
 *
 * Each function writes a head to `out`, without a NUL, and returns its length, or -ENOSPC where
 * `cap` is too small. A head grows by at most FORWARD_GROWTH bytes (a space for each field and lb's
 * own fields) and the length of its authority twice.
 *
 * Thread: any (pure functions). Layer: proto. Includes util/ only.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/http1.h"
#include "proto/upgrade.h"
#include "util/sockaddr.h"

#define FORWARD_GROWTH (256u + HTTP1_FIELDS_MAX)

/* What forward_request() needs beside the request. */
struct forward {
	const struct addr *client;  /* borrowed: whose address X-Forwarded-For gives */
	const struct addr *backend; /* borrowed: whose address is Host where the client has none */
	const struct upgrade *upgrade; /* borrowed: as judged; not UPGRADE_BAD */
	bool is_tls;                   /* the client came by TLS */
};

/*
 * forward_check() - whether what Connection names may be removed
 *
 * For requests (400) and responses (502) alike: Host, what frames a message and the handshake's
 * fields may not be named (a head without them means something else); nor more than 100 names.
 *
 * Returns NULL, or what is wrong (static text).
 */
const char *forward_check(const struct http1_head *h, const uint8_t *buf) LB_MUST_CHECK;

/*
 * forward_request() - a request's head for the backend
 *
 * `h` is whole and forward_check() found nothing. The head says HTTP/1.1, whatever version the
 * client spoke (RFC 9110, 2.5), because lb can read any answer to that. A request of HTTP/1.0 may
 * come without Host, which HTTP/1.1 requires (RFC 9112, 3.2): then Host is the backend's address.
 * Expect is removed from a request of HTTP/1.0, which does not know it (RFC 9110, 10.1.1). A plain
 * request says `Connection: close`.
 */
int forward_request(const struct http1_head *h, const uint8_t *buf, const struct forward *f,
		    uint8_t *out, size_t cap) LB_MUST_CHECK;

/*
 * forward_response() - a response's head for the client, whatever its status
 *
 * `h` is whole and forward_check() found nothing. A 101 keeps its Upgrade, a 426 too; other final
 * responses say `Connection: close`. Of 1xx and 204, which have no body, Content-Length and
 * Transfer-Encoding are removed; of others Content-Length where Transfer-Encoding is there, too
 * (see body_check_response()). A client of HTTP/1.0 (`is_1_0`) is told nothing of chunks and
 * trailers: the caller passes the payload alone (body_unframe()), and drops a 1xx.
 */
int forward_response(const struct http1_head *h, const uint8_t *buf, bool is_1_0, uint8_t *out,
		     size_t cap) LB_MUST_CHECK;

/*
 * forward_error() - lb's own answer, whole: head and a line of text
 *
 * `extra` is "" or whole field lines ("Retry-After: 2\r\n"). Connection in the answer is
 * close. In a 426, whose Sec-WebSocket-Version names the version that lb speaks, Connection names
 * Upgrade, too.
 *
 * Returns its length, or -ENOSPC where `cap` is too little.
 */
enum forward_body {
	FORWARD_BODY,    /* the line of text follows the head */
	FORWARD_NO_BODY, /* it is left out, as in any answer to HEAD; Content-Length counts the text
			  */
};
int forward_error(int status, const char *why, const char *extra, enum forward_body body,
		  uint8_t *out, size_t cap) LB_MUST_CHECK;
