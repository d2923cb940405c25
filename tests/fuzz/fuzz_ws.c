/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSocket frames: a header is read in one way and written back as it was; the tracker counts the
 * same frames however their bytes come, and the same as a walk from header to header. The input's
 * first byte says who sends, the rest is the stream.
 */
#include "fuzz.h"

#include "proto/ws_frame.h"

/* ---- one header ------------------------------------------------------------------------------ */

static void check_head(const uint8_t *p, size_t n)
{
	struct ws_head h = { .head_len = 0 };
	uint8_t out[WS_HEAD_MAX];

	if (ws_head_parse(p, n, &h) != WS_OK) {
		LB_ASSERT(h.head_len == 0); /* untouched */
		return;
	}
	LB_ASSERT(h.head_len >= 2 && h.head_len <= WS_HEAD_MAX && h.head_len <= n);
	LB_ASSERT(h.len <= INT64_MAX);
	LB_ASSERT(!ws_is_control(h.opcode) || (h.is_fin && h.len <= WS_CONTROL_MAX));
	LB_ASSERT(ws_head_build(&h, out) == h.head_len && memcmp(out, p, h.head_len) == 0);
	for (size_t i = 0; i < h.head_len; i++) {
		struct ws_head part;
		uint8_t *copy = fuzz_copy(p, i);

		LB_ASSERT(ws_head_parse(copy, i, &part) == WS_MORE);
		free(copy);
	}
}

/* ---- the tracker ----------------------------------------------------------------------------- */

/* What is known of a stream once it was seen. */
struct seen {
	uint64_t frames, messages, left;
	bool is_broken, is_at_boundary, saw_close;
};

static struct seen seen_of(const struct ws_track *t, uint64_t frames, uint64_t messages)
{
	return (struct seen){
		.frames = frames,
		.messages = messages,
		.left = ws_track_payload_left(t),
		.is_broken = ws_track_is_broken(t),
		.is_at_boundary = ws_track_is_at_boundary(t),
		.saw_close = ws_track_saw_close(t),
	};
}

static bool is_same(const struct seen *a, const struct seen *b)
{
	return a->frames == b->frames && a->messages == b->messages && a->left == b->left &&
	       a->is_broken == b->is_broken && a->is_at_boundary == b->is_at_boundary &&
	       a->saw_close == b->saw_close;
}

static struct seen track_whole(bool is_from_client, const uint8_t *p, size_t n)
{
	struct ws_track t;

	ws_track_init(&t, is_from_client);
	struct ws_count c = ws_track_feed(&t, p, n);
	return seen_of(&t, c.frames, c.messages);
}

/* In pieces; of payload some pieces are only told of, as when it is spliced. */
static struct seen track_pieces(bool is_from_client, const uint8_t *p, size_t n)
{
	struct fuzz_chance chance = fuzz_chance_of(p, n);
	struct ws_track t;
	uint64_t frames = 0, messages = 0;

	ws_track_init(&t, is_from_client);
	for (size_t at = 0; at < n;) {
		size_t len = fuzz_piece(&chance, n - at);
		uint64_t left = ws_track_payload_left(&t);
		struct ws_count c;

		if (left != 0 && fuzz_below(&chance, 2) != 0) {
			if (len > left)
				len = (size_t)left;
			c = ws_track_skip(&t, len);
		} else {
			uint8_t *piece = fuzz_copy(p + at, len);
			c = ws_track_feed(&t, piece, len);
			free(piece);
		}
		frames += c.frames;
		messages += c.messages;
		at += len;
	}
	return seen_of(&t, frames, messages);
}

/* Whether RFC 6455 lets the frame come here: 5.1 on masks, 5.4 on fragments. */
static bool may_come(const struct ws_head *h, bool is_from_client, bool is_in_message)
{
	if (h->is_masked != is_from_client)
		return false;
	if (ws_is_control(h->opcode))
		return true;
	return is_in_message ? h->opcode == WS_CONTINUATION : h->opcode != WS_CONTINUATION;
}

/* The same from header to header, with nothing kept but where the next one begins. */
static struct seen walk(bool is_from_client, const uint8_t *p, size_t n)
{
	struct seen s = { .is_at_boundary = true };
	bool is_in_message = false;

	for (size_t at = 0; at < n;) {
		struct ws_head h;
		enum ws_parse v = ws_head_parse(p + at, n - at, &h);

		s.is_at_boundary = false;
		if (v == WS_MORE)
			break;
		if (v == WS_BAD || !may_come(&h, is_from_client, is_in_message)) {
			s.is_broken = true;
			break;
		}
		if (!ws_is_control(h.opcode))
			is_in_message = !h.is_fin;
		at += h.head_len;
		if (h.len > n - at) {
			s.left = h.len - (n - at);
			break;
		}
		at += (size_t)h.len;
		s.frames++;
		s.messages += !ws_is_control(h.opcode) && h.is_fin;
		s.saw_close |= h.opcode == WS_CLOSE;
		s.is_at_boundary = true;
	}
	return s;
}

/* ---- masks ----------------------------------------------------------------------------------- */

/* In pieces as in one; twice is nothing. */
static void check_mask(const uint8_t *p, size_t n)
{
	static const uint8_t key[4] = { 0x37, 0xfa, 0x21, 0x3d };
	struct fuzz_chance chance = fuzz_chance_of(p, n);
	uint8_t *whole = fuzz_copy(p, n), *pieces = fuzz_copy(p, n);

	ws_mask(whole, n, key, 0);
	for (size_t i = 0; i < n; i++)
		LB_ASSERT(whole[i] == (p[i] ^ key[i % 4]));
	for (size_t at = 0; at < n;) {
		size_t len = fuzz_piece(&chance, n - at);

		ws_mask(pieces + at, len, key, at);
		at += len;
	}
	LB_ASSERT(n == 0 || memcmp(whole, pieces, n) == 0);
	ws_mask(whole, n, key, 0);
	LB_ASSERT(n == 0 || memcmp(whole, p, n) == 0);
	free(whole);
	free(pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;

	bool is_from_client = data[0] & 1;
	const uint8_t *p = data + 1;
	size_t n = size - 1;

	check_head(p, n);
	struct seen whole = track_whole(is_from_client, p, n);
	struct seen pieces = track_pieces(is_from_client, p, n);
	struct seen walked = walk(is_from_client, p, n);
	LB_ASSERT(is_same(&whole, &walked));
	LB_ASSERT(is_same(&pieces, &walked));
	check_mask(p, n);
	return 0;
}
