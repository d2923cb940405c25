/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Body: where the body of a plain message ends (RFC 9112, 6.3 and 7.1).
 *
 * Payload passes unchanged. Chunk framing is rewritten into one spelling: a size without leading
 * zeros, in lower case, without extensions (RFC 9112, 7.1.1 allows to remove them), then CRLF.
 * Trailers pass line by line, except those that would change the meaning of the message for a
 * receiver that merges trailers into the fields of the head (RFC 9110, 6.5.1). Framing that another
 * parser could read differently is BODY_BAD.
 *
 * The rewriting is done in place, because the result is never longer than what has come:
 *
 *     came     [3;ext\r\nabc\r\n0;x\r\nHost: a\r\n\r\n]  `used` bytes; bytes behind are left alone
 *     goes on  [3\r\nabc\r\n0\r\n\r\n]                   `kept` bytes, at the same place
 *
 * Some bytes cannot be judged before later ones have come: a zero may be the size of the last chunk
 * or a leading zero, and a trailer's name may have to be dropped. Such bytes are owed: they go on
 * in front of the bytes of a later body_feed().
 *
 * Thread: the owner's. Layer: proto. Includes util/ only. Hot: payload is skipped, not read, and
 * moved only behind framing that was shortened.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/http1.h"
#include "util/assert.h"

#define BODY_EXTENSION_MAX 1024u /* most bytes of extensions on one chunk's line; a guess */
#define BODY_TRAILERS_MAX 8192u  /* most bytes of trailers; a guess: half of a head */
/* most bytes of a trailer's name; a trailer with a longer name is dropped; a guess */
#define BODY_NAME_MAX 64u
#define BODY_OWED_MAX (BODY_NAME_MAX + 8u)

enum body_mode {
	BODY_MODE_NONE,
	BODY_MODE_LENGTH,
	BODY_MODE_CHUNKED,
	BODY_MODE_UNTIL_CLOSE, /* the body ends with the connection */
};

enum body_verdict {
	BODY_MORE, /* all bytes fed belong to the body, and more are to come */
	BODY_DONE, /* the body is over */
	BODY_BAD,  /* the framing is malformed; this verdict is final */
};

struct body {
	/* private to body.c */
	uint64_t left;   /* payload bytes to come, of the body or of the current chunk */
	uint16_t n_text; /* bytes of the size, extension or trailers so far */
	uint8_t mode;    /* enum body_mode */
	uint8_t state;   /* the place in chunk framing; for BODY_MODE_CHUNKED */
	/* bytes of the trailer's name so far; BODY_NAME_MAX + 1 when it is too long */
	uint8_t n_name;
	uint8_t n_owed;
	bool is_response : 1;
	bool is_unframed : 1;        /* only payload goes on, no chunk framing */
	uint8_t underscores : 2;     /* enum body_underscores */
	bool is_dropped : 1;         /* the trailer that is being read does not go on */
	char name[BODY_NAME_MAX];    /* the name of the trailer that is being read */
	uint8_t owed[BODY_OWED_MAX]; /* bytes that go on in front of later bytes */
};

/* The result of body_feed(). */
struct body_fed {
	size_t used; /* how many of the bytes fed belong to the body */
	size_t kept; /* how many bytes, from p[0] on, go on; at most `used` */
};

/*
 * What becomes of trailers with an underscore in their names. (CGI and WSGI take an underscore for
 * a hyphen.)
 */
enum body_underscores {
	BODY_UNDERSCORES_PASS,
	BODY_UNDERSCORES_DROP,
	BODY_UNDERSCORES_REFUSE, /* a trailer with such a name is BODY_BAD */
};

/* `h` is a whole head. Trailers with an underscore pass, unless the caller sets b->underscores. */
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
 * body_feed() - take the next bytes of the connection, and rewrite them into what goes on
 *
 * ret->used tells how many of the `n` bytes belong to the body. With BODY_MORE all of them do. With
 * BODY_DONE these are the bytes up to the end of the body; when the body was over before the call,
 * ret->used is 0. (So a call with `n` of 0 asks whether the body is over.) With BODY_BAD these are
 * the bytes in front of the offending byte.
 *
 * The bytes from p[0] to p[ret->kept - 1] go on. With BODY_DONE, the bytes of body_take_owed() go
 * on behind them. The bytes from p[ret->used] on are unchanged.
 */
enum body_verdict body_feed(struct body *b, uint8_t *p, size_t n,
			    struct body_fed *ret) LB_MUST_CHECK;

/*
 * body_take_owed() - take the bytes that are still owed when the body is over
 *
 * Returns how many bytes were written to `out`, mostly none.
 */
size_t body_take_owed(struct body *b, uint8_t out[BODY_OWED_MAX]);

/*
 * Lets only the payload of a body go on, without chunk framing and trailers, for a client of
 * HTTP/1.0. The end of the connection then tells where the body ends, and only a reset tells that
 * the body is not whole.
 */
void body_unframe(struct body *b);

/* Whether the receiver can tell the end of the body only by the end of the connection. */
static inline bool body_is_unframed(const struct body *b)
{
	return b->mode == BODY_MODE_CHUNKED && b->is_unframed;
}

/* Whether only the end of the connection ends the body (of a response without a length). */
static inline bool body_is_until_close(const struct body *b)
{
	return b->mode == BODY_MODE_UNTIL_CLOSE;
}

static inline bool body_is_done(const struct body *b)
{
	return b->mode == BODY_MODE_NONE;
}
