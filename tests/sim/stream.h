/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A checkable stream: its bytes are a function of its key alone, so that whoever sends it and
 * whoever receives it make the same bytes, and a lost, doubled or moved one is seen at once.
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
	uint64_t left;    /* of `total`, or of the frames: the payload that is still to come */
	uint64_t part;    /* of the frame or chunk under way */
	uint64_t salt;    /* where in the pattern it begins */
	uint8_t head[32]; /* of a frame or chunk, or what ends one */
	uint32_t n_head, head_at;
	bool is_last;
};

/* `total` is about how many bytes of payload. */
void stream_init(struct stream *s, enum stream_form form, uint64_t key, uint64_t total);

/* Writes the next bytes, at most n; returns how many: 0 at the end. */
size_t stream_make(struct stream *s, uint8_t *out, size_t n);

/* Takes the next bytes and returns how many of them are right. */
size_t stream_check(struct stream *s, const uint8_t *in, size_t n);

/* How many bytes it has in all. */
uint64_t stream_size(enum stream_form form, uint64_t key, uint64_t total);
