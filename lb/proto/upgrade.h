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
	UPGRADE_WEBSOCKET, /* RFC 6455, version 13 */
	UPGRADE_OTHER,     /* other protocols, relayed unseen after the 101 */
	UPGRADE_BAD,       /* refused: see status */
};

struct upgrade {
	uint8_t kind;                    /* enum upgrade_kind */
	uint16_t status;                 /* UPGRADE_BAD: 400 or 426 */
	const char *why;                 /* UPGRADE_BAD: static text */
	char key[ACCEPT_KEY_NONCE_TEXT]; /* UPGRADE_WEBSOCKET: the key, with a NUL */
};

/*
 * upgrade_judge() - what a whole request head asks for
 *
 * An Upgrade is plain where Connection does not name it, in HTTP/1.0, and where nothing is left of
 * it without HTTP/2's tokens. Where `websocket` stands among others it is what is asked for; with a
 * body it is refused. An upgrade to another protocol may have one (docker exec does): it comes
 * first, and the tunnel behind it (RFC 9110, 7.8).
 */
void upgrade_judge(struct upgrade *u, const struct http1_head *h, const uint8_t *buf);

/*
 * upgrade_judge_101() - whether a 101 is the right answer to what was asked for
 *
 * `h` is a whole response head with status 101. Whatever it says of a body: a 101 has none and ends
 * with its head (RFC 9112, 6.3), so Content-Length and Transfer-Encoding mean nothing in it, and
 * forward_response() removes them. `req` is the request that asked, for only that may be switched
 * to which it has named; for a WebSocket it may be NULL. Returns NULL, or what is wrong with it
 * (static).
 */
const char *upgrade_judge_101(const struct upgrade *u, const struct http1_head *h,
			      const uint8_t *buf, const struct http1_head *req,
			      const uint8_t *req_buf) LB_MUST_CHECK;

/*
 * Whether an element of Upgrade is passed on: a protocol as RFC 9110, 7.8 has it (a token, perhaps
 * with a version behind a slash), and not HTTP/2's, which no relay could follow.
 */
bool upgrade_is_passed(struct slice element);
