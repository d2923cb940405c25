/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Body: where the body of a plain message ends (RFC 9112, 6.3 and 7.1).
 *
 * The bytes pass unchanged, chunk framing and trailers included; a body only tells how many of them
 * belong to it. Chunk framing is judged strictly: what another parser could read differently is
 * BODY_BAD.
 *
 * Thread: the owner's. Layer: proto. Includes util/ only. Hot: payload is skipped, not read.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/http1.h"
#include "util/assert.h"

#define BODY_EXTENSION_MAX 1024u /* bytes of extensions on one chunk's line; a guess */
#define BODY_TRAILERS_MAX 8192u  /* bytes of trailers; a guess: half of a head */

enum body_mode {
	BODY_MODE_NONE,
	BODY_MODE_LENGTH,
	BODY_MODE_CHUNKED,
	BODY_MODE_UNTIL_CLOSE, /* ends with the connection */
};

enum body_verdict {
	BODY_MORE, /* all bytes belong to the body, and it goes on */
	BODY_DONE, /* it is over */
	BODY_BAD,  /* its framing is malformed; stays so */
};

struct body {
	/* private to body.c */
	uint64_t left;   /* payload bytes to come: of the body, or of the chunk */
	uint16_t n_text; /* bytes of the size, extension or trailers so far */
	uint8_t mode;    /* enum body_mode */
	uint8_t state;   /* BODY_MODE_CHUNKED */
};

/* From whole heads. */
void body_init_request(struct body *b, const struct http1_head *h);
void body_init_response(struct body *b, const struct http1_head *h, enum http1_method asked);

/*
 * body_check_response() - whether the framing of a whole response can be read in one way only
 *
 * Content-Length beside Transfer-Encoding is harmless where no body can follow (RFC 9112, 6.3,
 * first rule), and ambiguous where one does. Returns NULL, or what is wrong (static text).
 */
const char *body_check_response(const struct http1_head *h, enum http1_method asked) LB_MUST_CHECK;

/*
 * body_feed() - take the next bytes of the connection
 *
 * Sets *ret_used to how many of them belong to the body: all with BODY_MORE; up to its end with
 * BODY_DONE (0 when it was over before: with n of 0 this asks whether it is); up to the offending
 * byte with BODY_BAD.
 */
enum body_verdict body_feed(struct body *b, const uint8_t *p, size_t n,
			    size_t *ret_used) LB_MUST_CHECK;

/* Whether only the end of the connection ends it (a response without a length). */
static inline bool body_is_until_close(const struct body *b)
{
	return b->mode == BODY_MODE_UNTIL_CLOSE;
}

static inline bool body_is_done(const struct body *b)
{
	return b->mode == BODY_MODE_NONE;
}
