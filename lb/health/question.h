/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What a check of type http or websocket sends, and how the answer is judged.
 *
 * Pure: bytes in, bytes out. check.c has the connection.
 *
 * Thread: main. Layer: health.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "ev/buf.h"
#include "health/spec.h"
#include "proto/http1.h"
#include "proto/upgrade.h"
#include "proto/ws_frame.h"
#include "util/assert.h"

#define QUESTION_NONCE_BYTES 16u /* random bytes for Sec-WebSocket-Key (RFC 6455, 4.1) */
#define QUESTION_REQUEST_MAX 1024u
/*
 * Room for the answer. A head that is not whole has at most HTTP1_HEAD_MAX bytes, and the next
 * receive adds at most BUF_SMALL_BYTES.
 */
#define QUESTION_ANSWER_MAX (HTTP1_HEAD_MAX + BUF_SMALL_BYTES)

struct question {
	size_t n_request;
	char request[QUESTION_REQUEST_MAX];

	/* private to question.c */
	enum conf_check type;
	uint16_t status_min, status_max; /* for type http: the range of good statuses */
	struct upgrade upgrade;          /* for type websocket: the handshake that is asked for */
	struct http1_head head;
	size_t n_answer;
	uint8_t answer[QUESTION_ANSWER_MAX];
};

enum answer_kind {
	ANSWER_MORE,   /* the head is not whole yet */
	ANSWER_GOOD,   /* `status` is what the spec asks for */
	ANSWER_STATUS, /* `status` is not what the spec asks for */
	ANSWER_WRONG,  /* not an HTTP response, or a wrong handshake: see `what` and `why` */
};

struct answer {
	enum answer_kind kind;
	unsigned status;
	const char *what,
		*why;    /* ANSWER_WRONG: "handshake", "Sec-WebSocket-Accept does not match" */
	bool is_tunnel;  /* the connection speaks WebSocket from here on */
	size_t n_behind; /* bytes that came behind the head */
};

/*
 * question_init() - write the request that `spec` asks for
 *
 * `nonce` is 16 unpredictable bytes; only type websocket uses them. Returns 0, or -EMSGSIZE when
 * path and host are too long for a request.
 */
int question_init(struct question *q, const struct check_spec *spec,
		  const uint8_t nonce[QUESTION_NONCE_BYTES]) LB_MUST_CHECK;

/*
 * question_feed() - judge the answer with `n` more bytes of it, at most BUF_SMALL_BYTES
 *
 * When question_feed() has returned an answer other than ANSWER_MORE, it must not be called again.
 */
struct answer question_feed(struct question *q, const uint8_t *p, size_t n);

/* The longest Close frame of a check: a header and a status code. */
#define QUESTION_CLOSE_MAX (WS_HEAD_MAX + 2)

/* Writes a masked Close frame of status 1000 (RFC 6455, 5.5.1); returns its length. */
size_t question_close_frame(const uint8_t mask[4], uint8_t out[QUESTION_CLOSE_MAX]);
