/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Upgrade: what a request asks to switch to, and whether a 101 answers just that.
 *
 * Thread: any (pure functions). Layer: proto. Includes util/ only.
 */

#include <stdbool.h>
#include <stdint.h>

#include "proto/accept_key.h"
#include "proto/http1.h"

enum upgrade_kind {
	UPGRADE_NONE,      /* a plain request */
	UPGRADE_WEBSOCKET, /* a WebSocket (RFC 6455, version 13) */
	/* another protocol, whose bytes lb relays after the 101 without reading them */
	UPGRADE_OTHER,
	UPGRADE_BAD, /* lb refuses the request with `status` */
};

struct upgrade {
	uint8_t kind;                    /* enum upgrade_kind */
	uint16_t status;                 /* UPGRADE_BAD: 400 or 426 */
	const char *why;                 /* UPGRADE_BAD: the reason (static text) */
	char key[ACCEPT_KEY_NONCE_TEXT]; /* UPGRADE_WEBSOCKET: the key, with a NUL */
};

/*
 * upgrade_judge() - what a whole request head asks for
 *
 * The request is a plain one when it is of HTTP/1.0, when Connection does not name Upgrade, or when
 * lb passes no element of Upgrade on (upgrade_is_passed()). When one of the elements is
 * `websocket`, the request asks for a WebSocket, and lb refuses it when it has a body. An upgrade
 * to another protocol may have a body (docker exec's has): the tunnel begins behind it (RFC 9110,
 * 7.8).
 */
void upgrade_judge(struct upgrade *u, const struct http1_head *h, const uint8_t *buf);

/*
 * upgrade_judge_101() - whether a 101 is the right answer to what was asked for
 *
 * `h` is a whole response head with status 101. A 101 has no body, whatever its fields say (RFC
 * 9112, 6.3): Content-Length and Transfer-Encoding mean nothing in it, and forward_response()
 * removes them. `req` is the head of the request, because a 101 may only name protocols that the
 * request named; for a WebSocket it may be NULL. Returns NULL, or what is wrong (static text).
 */
const char *upgrade_judge_101(const struct upgrade *u, const struct http1_head *h,
			      const uint8_t *buf, const struct http1_head *req,
			      const uint8_t *req_buf) LB_MUST_CHECK;

/*
 * Whether lb passes an element of Upgrade on: the element must have the form of RFC 9110, 7.8 (a
 * token, perhaps with a slash and a version), and must not be HTTP/2, whose connection preface lb
 * cannot relay.
 */
bool upgrade_is_passed(struct slice element);
