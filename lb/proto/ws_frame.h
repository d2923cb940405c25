/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * WebSocket frames (RFC 6455, 5.2): reading and writing headers, and a tracker, which finds the
 * boundaries of frames in a byte stream that is relayed as it is.
 *
 * Thread: the owner's. Layer: proto. Includes util/ only. Hot: payloads are skipped, not read.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/assert.h"

#define WS_HEAD_MAX 14u     /* bytes of the longest header */
#define WS_CONTROL_MAX 125u /* most payload bytes of a control frame */

enum ws_parse {
	WS_MORE, /* the header is not whole yet, and nothing is wrong so far */
	WS_OK,
	WS_BAD, /* the header breaks RFC 6455 */
};

enum ws_opcode {
	WS_CONTINUATION = 0x0,
	WS_TEXT = 0x1,
	WS_BINARY = 0x2,
	WS_CLOSE = 0x8,
	WS_PING = 0x9,
	WS_PONG = 0xa,
};

struct ws_head {
	uint64_t len;     /* payload bytes */
	uint8_t opcode;   /* enum ws_opcode */
	uint8_t rsv;      /* RSV1 to RSV3 as bits 2 to 0; lb does not judge them */
	uint8_t head_len; /* bytes of the header itself; set by ws_head_parse() only */
	bool is_fin;
	bool is_masked;
	uint8_t mask[4]; /* valid when is_masked */
};

/* Whether `opcode` is that of a control frame: Close, Ping or Pong. */
static inline bool ws_is_control(uint8_t opcode)
{
	return (opcode & 0x8) != 0;
}

/*
 * ws_head_parse() - read the header at the start of `n` bytes
 *
 * Sets *ret only with WS_OK. Reserved opcodes, lengths that are not the shortest form or above 2^63
 * - 1, and control frames that are longer than WS_CONTROL_MAX or have FIN clear are WS_BAD. RSV
 * bits are not judged.
 */
enum ws_parse ws_head_parse(const uint8_t *p, size_t n, struct ws_head *ret) LB_MUST_CHECK;

/* Writes the header in its shortest form; returns its length, at most WS_HEAD_MAX. */
size_t ws_head_build(const struct ws_head *h, uint8_t out[WS_HEAD_MAX]);

/* Masks or unmasks `n` bytes that begin at byte `offset` of a payload. */
void ws_mask(uint8_t *p, size_t n, const uint8_t key[4], uint64_t offset);

/* How many frames and messages have ended. */
struct ws_count {
	uint32_t frames;   /* frames of any kind */
	uint32_t messages; /* data frames with FIN */
};

/*
 * What the tracker knows of one direction of a tunnel: above all, where in a frame the next byte
 * belongs.
 */
struct ws_track {
	/* private to ws_frame.c */
	uint64_t left; /* how many payload bytes of the current frame are still to come */
	/*
	 * The part of a header that has come. For its use in the payload of a Close frame see
	 * ws_frame.c.
	 */
	uint8_t head[WS_HEAD_MAX - 1];
	uint8_t n_head : 4;       /* how many bytes of a header `head` holds */
	bool is_to_be_masked : 1; /* from client to backend: frames have to be masked */
	bool is_broken : 1;
	bool saw_close : 1;
	bool is_message_end : 1;  /* the current frame ends a message */
	uint16_t close_code : 13; /* status code of the first Close frame; 0: none has come */
	bool is_close : 1;        /* the current frame is a Close */
	bool is_fragmented : 1;   /* a message has begun and goes on in another frame */
	/* this direction's Close frame came before the other direction's */
	bool was_first : 1;
};

_Static_assert(sizeof(struct ws_track) <= 24, "two of them are in every session");

/* When `is_from_client` is true, all frames have to be masked. Otherwise no frame may be masked. */
void ws_track_init(struct ws_track *t, bool is_from_client);

/*
 * ws_track_feed() - follow the next `n` bytes of the stream
 *
 * Returns how many frames and messages end in them. A header that breaks RFC 6455 makes the tracker
 * broken: from then on it counts nothing.
 */
struct ws_count ws_track_feed(struct ws_track *t, const uint8_t *p, size_t n);

/*
 * Does the same as ws_track_feed() for `n` bytes of payload that lb has not read. `n` is at most
 * ws_track_payload_left().
 */
struct ws_count ws_track_skip(struct ws_track *t, uint64_t n);

/* How many payload bytes of the current frame are still to come; 0 in a header, at a boundary, and
 * when the tracker is broken. */
static inline uint64_t ws_track_payload_left(const struct ws_track *t)
{
	return t->left;
}

/* Whether the stream is at a boundary, where a frame could be inserted. */
static inline bool ws_track_is_at_boundary(const struct ws_track *t)
{
	return !t->is_broken && t->left == 0 && t->n_head == 0;
}

static inline bool ws_track_is_broken(const struct ws_track *t)
{
	return t->is_broken;
}

/*
 * The status code of the first Close frame (RFC 6455, 7.4): 1005 when the frame has no code, or a
 * code that may not be sent (outside of 1000 to 4999); 0 when no whole Close frame has come.
 */
static inline uint16_t ws_track_close_code(const struct ws_track *t)
{
	return t->saw_close ? t->close_code : 0;
}

/* Notes that this direction's Close frame came before the other direction's. */
static inline void ws_track_set_first(struct ws_track *t)
{
	LB_ASSERT(t->saw_close);
	t->was_first = true;
}

static inline bool ws_track_was_first(const struct ws_track *t)
{
	return t->was_first;
}

/* Whether a whole Close frame has come. */
static inline bool ws_track_saw_close(const struct ws_track *t)
{
	return t->saw_close;
}
