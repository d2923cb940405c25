/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Forward: the heads that lb sends, made from the heads that it received; and lb's own answers.
 *
 * Hop-by-hop fields are removed, and with them the fields that Connection names. lb's X-Forwarded-*
 * fields replace those of the client, and so do X-Client-Cert-* fields, which are removed from
 * every request, also when a `_` stands in place of a `-`. All other fields pass in their order,
 * with names and values as they came. White space around a value, and the way a length is written,
 * is the same in every head.
 *
 * Each function writes a head to `out`, without a NUL, and returns its length, or -ENOSPC where
 * `cap` is too small. A head becomes longer by at most FORWARD_GROWTH bytes (one space for each
 * field, and lb's own fields) plus twice the length of its authority, plus the length of `extra`.
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
	const struct addr *client; /* borrowed: the client's address, for X-Forwarded-For */
	/* borrowed: the backend's address, for Host when the client has sent none */
	const struct addr *backend;
	const struct upgrade *upgrade; /* borrowed: from upgrade_judge(); not UPGRADE_BAD */
	bool is_tls;                   /* the client's connection is TLS */
	struct slice extra; /* whole field lines that are added (X-Client-Cert-...), or empty */
};

/*
 * forward_check() - whether the fields that Connection names may be removed
 *
 * The rules are the same for requests (the answer is 400) and responses (502). Connection must not
 * name Host, a field that frames the message, or a field of the handshake, because a head without
 * them means something else. It must not name more than 100 fields.
 *
 * Returns NULL, or what is wrong (static text).
 */
const char *forward_check(const struct http1_head *h, const uint8_t *buf) LB_MUST_CHECK;

/*
 * forward_request() - a request's head for the backend
 *
 * `h` has to be whole, and forward_check() has to have found nothing. The head says HTTP/1.1,
 * whatever version the client has sent (RFC 9110, 2.5), because lb can read any response to
 * HTTP/1.1. A request of HTTP/1.0 may come without Host, which HTTP/1.1 requires (RFC 9112, 3.2):
 * then Host is the backend's address. Expect is removed from a request of HTTP/1.0, which does not
 * know Expect (RFC 9110, 10.1.1). A plain request says `Connection: close`.
 */
int forward_request(const struct http1_head *h, const uint8_t *buf, const struct forward *f,
		    uint8_t *out, size_t cap) LB_MUST_CHECK;

/*
 * forward_response() - a response's head for the client, whatever its status
 *
 * `h` has to be whole, and forward_check() has to have found nothing. A 101 and a 426 keep Upgrade.
 * Every final response says `Connection: close`. From 1xx and 204, which have no body,
 * Content-Length and Transfer-Encoding are removed. From other responses Content-Length is removed
 * when they have Transfer-Encoding, too (see body_check_response()). A client of HTTP/1.0
 * (`is_1_0`) gets no field about chunks and trailers: to such a client the caller has to send the
 * payload alone (body_unframe()), and no 1xx.
 */
int forward_response(const struct http1_head *h, const uint8_t *buf, bool is_1_0, uint8_t *out,
		     size_t cap) LB_MUST_CHECK;

/*
 * forward_error() - lb's own answer, whole: head and a line of text
 *
 * `extra` is "" or whole field lines ("Retry-After: 2\r\n"). Connection in the answer is close. In
 * a 426, whose Sec-WebSocket-Version names the version that lb speaks, Connection names Upgrade,
 * too.
 *
 * Returns the length of the answer, or -ENOSPC when `cap` is too small.
 */
enum forward_body {
	FORWARD_BODY, /* the line of text follows the head */
	/* The line of text is left out, as in any answer to HEAD; Content-Length counts it. */
	FORWARD_NO_BODY,
};
int forward_error(int status, const char *why, const char *extra, enum forward_body body,
		  uint8_t *out, size_t cap) LB_MUST_CHECK;
