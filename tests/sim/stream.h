/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A checkable stream: its bytes are a function of its key alone. So the sender and the receiver
 * make the same bytes, and the receiver sees at once that a byte was lost, doubled or moved.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum stream_form {
	STREAM_RAW,     /* `total` bytes */
	STREAM_WS,      /* WebSocket frames, then a Close */
	STREAM_MASKED,  /* the same, as a client sends them */
	STREAM_CHUNKED, /* `total` bytes in chunks of HTTP/1.1, with the last chunk */
};

struct stream {
	enum stream_form form;
	uint64_t rng;
	uint64_t n_made;  /* bytes so far */
	uint64_t left;    /* payload bytes of all frames that are still to be begun */
	uint64_t part;    /* payload bytes left of the frame or chunk that is being made */
	uint64_t salt;    /* where in the pattern the payload begins */
	uint8_t head[32]; /* of a frame or chunk, or the bytes that end one */
	uint32_t n_head, head_at;
	bool is_last;
};

/* A stream of about `total` bytes of payload. */
void stream_init(struct stream *s, enum stream_form form, uint64_t key, uint64_t total);

/* Writes the next bytes, at most n; returns how many: 0 at the end. */
size_t stream_make(struct stream *s, uint8_t *out, size_t n);

/* Compares `n` bytes with the next ones of the stream; returns how many are right. */
size_t stream_check(struct stream *s, const uint8_t *in, size_t n);

/* How many bytes such a stream has in all. */
uint64_t stream_size(enum stream_form form, uint64_t key, uint64_t total);
