/* SPDX-License-Identifier: Apache-2.0 */
#include "../suite.h"
#include "proto/ws_frame.h"

#include <check.h>
#include <string.h>

static const struct {
	const char *name;
	size_t n;
	uint8_t in[WS_HEAD_MAX];
	enum ws_parse want;
	uint64_t len;
} heads[] = {
	{ "empty text frame", 2, { 0x81, 0x00 }, WS_OK, 0 },
	{ "continuation", 2, { 0x00, 0x05 }, WS_OK, 5 },
	{ "masked", 6, { 0x82, 0x85, 1, 2, 3, 4 }, WS_OK, 5 },
	{ "longest of 7 bits", 2, { 0x82, 0x7d }, WS_OK, 125 },
	{ "shortest of 16 bits", 4, { 0x82, 0x7e, 0x00, 0x7e }, WS_OK, 126 },
	{ "longest of 16 bits", 8, { 0x82, 0xfe, 0xff, 0xff, 9, 8, 7, 6 }, WS_OK, 65535 },
	{ "shortest of 64 bits", 10, { 0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0 }, WS_OK, 65536 },
	{ "longest of 64 bits",
	  14,
	  { 0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4 },
	  WS_OK,
	  INT64_MAX },
	{ "RSV1: permessage-deflate", 2, { 0xc1, 0x00 }, WS_OK, 0 },
	{ "RSV on a control frame", 2, { 0xf9, 0x00 }, WS_OK, 0 },
	{ "close", 2, { 0x88, 0x02 }, WS_OK, 2 },
	{ "longest pong", 2, { 0x8a, 0x7d }, WS_OK, 125 },
	{ "reserved data opcode", 1, { 0x83 }, WS_BAD, 0 },
	{ "reserved data opcode 7", 1, { 0x87 }, WS_BAD, 0 },
	{ "reserved control opcode", 1, { 0x8b }, WS_BAD, 0 },
	{ "reserved control opcode 15", 1, { 0x8f }, WS_BAD, 0 },
	{ "fragmented ping", 1, { 0x09 }, WS_BAD, 0 },
	{ "ping of 16 bits", 2, { 0x89, 0x7e }, WS_BAD, 0 },
	{ "close of 64 bits", 2, { 0x88, 0xff }, WS_BAD, 0 },
	{ "16 bits not minimal", 4, { 0x82, 0x7e, 0x00, 0x7d }, WS_BAD, 0 },
	{ "64 bits not minimal", 10, { 0x82, 0x7f, 0, 0, 0, 0, 0, 0, 0xff, 0xff }, WS_BAD, 0 },
	{ "64th bit", 10, { 0x82, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0 }, WS_BAD, 0 },
};

/* RFC 6455, 5.2: every row, whole. */
START_TEST(head_is_judged_right)
{
	struct ws_head h = { .len = UINT64_MAX };

	ck_assert_msg(ws_head_parse(heads[_i].in, heads[_i].n, &h) == heads[_i].want, "%s",
		      heads[_i].name);
	if (heads[_i].want == WS_OK) {
		ck_assert_uint_eq(h.len, heads[_i].len);
		ck_assert_uint_eq(h.head_len, heads[_i].n);
		ck_assert_int_eq(h.is_fin, heads[_i].in[0] >> 7);
		ck_assert_int_eq(h.rsv, heads[_i].in[0] >> 4 & 7);
		ck_assert_int_eq(h.opcode, heads[_i].in[0] & 15);
		ck_assert_int_eq(h.is_masked, heads[_i].in[1] >> 7);
		if (h.is_masked)
			ck_assert_mem_eq(h.mask, heads[_i].in + heads[_i].n - 4, 4);
	} else {
		ck_assert_uint_eq(h.len, UINT64_MAX); /* untouched on failure */
	}
}
END_TEST

/* Rows end with the byte that decides, so before it there is nothing but WS_MORE. */
START_TEST(head_may_come_in_pieces)
{
	struct ws_head h;

	for (size_t n = 0; n < heads[_i].n; n++)
		ck_assert_msg(ws_head_parse(heads[_i].in, n, &h) == WS_MORE, "%s", heads[_i].name);
}
END_TEST

START_TEST(head_is_built_as_it_was)
{
	uint8_t out[WS_HEAD_MAX];
	struct ws_head h;

	if (heads[_i].want != WS_OK)
		return;
	ck_assert_int_eq(ws_head_parse(heads[_i].in, heads[_i].n, &h), WS_OK);
	ck_assert_uint_eq(ws_head_build(&h, out), heads[_i].n);
	ck_assert_mem_eq(out, heads[_i].in, heads[_i].n);
}
END_TEST

/*
 * Compared with the definition of RFC 6455, 5.3, for every phase, and for lengths around the size
 * of a word.
 */
START_TEST(mask_is_the_definition)
{
	const uint8_t key[4] = { 0x12, 0xa4, 0x00, 0xff };
	uint8_t got[40], want[40];

	for (size_t n = 0; n <= sizeof(got); n++) {
		for (uint64_t offset = 0; offset < 9; offset++) {
			for (size_t i = 0; i < n; i++) {
				got[i] = (uint8_t)(i * 7);
				want[i] = got[i] ^ key[(offset + i) % 4];
			}
			ws_mask(got, n, key, offset);
			if (n != 0)
				ck_assert_mem_eq(got, want, n);
		}
	}
}
END_TEST

/* ---- the tracker ----------------------------------------------------------------------------- */

static const struct {
	const char *name;
	bool is_from_client;
	size_t n;
	uint8_t in[32];
	uint32_t frames, messages;
	bool is_boundary, is_broken, saw_close;
	uint64_t left;
} streams[] = {
	{ "nothing", false, 0, { 0 }, 0, 0, true, false, false, 0 },
	{ "one message", false, 5, { 0x81, 3, 'a', 'b', 'c' }, 1, 1, true, false, false, 0 },
	{ "two messages", false, 5, { 0x81, 1, 'a', 0x82, 0 }, 2, 2, true, false, false, 0 },
	{ "in the payload", false, 3, { 0x81, 3, 'a' }, 0, 0, false, false, false, 2 },
	{ "in a header", false, 4, { 0x81, 0, 0x82, 0x7e }, 1, 1, false, false, false, 0 },
	{ "masked, from a client",
	  true,
	  7,
	  { 0x81, 0x81, 1, 2, 3, 4, 'a' },
	  1,
	  1,
	  true,
	  false,
	  false,
	  0 },
	{ "not masked, from a client", true, 3, { 0x81, 1, 'a' }, 0, 0, false, true, false, 0 },
	{ "masked, from a server",
	  false,
	  7,
	  { 0x81, 0x81, 1, 2, 3, 4, 'a' },
	  0,
	  0,
	  false,
	  true,
	  false,
	  0 },
	{ "fragments with a ping between",
	  false,
	  8,
	  { 0x01, 1, 'a', 0x89, 0, 0x80, 1, 'b' },
	  3,
	  1,
	  true,
	  false,
	  false,
	  0 },
	{ "a message goes on", false, 3, { 0x01, 1, 'a' }, 1, 0, true, false, false, 0 },
	{ "continuation of nothing", false, 4, { 0x81, 0, 0x80, 0 }, 1, 1, false, true, false, 0 },
	{ "a message within another", false, 4, { 0x01, 0, 0x81, 0 }, 1, 0, false, true, false, 0 },
	{ "close", false, 4, { 0x88, 2, 3, 0xe8 }, 1, 0, true, false, true, 0 },
	{ "close, its payload not whole", false, 3, { 0x88, 2, 3 }, 0, 0, false, false, false, 1 },
	{ "reserved opcode", false, 6, { 0x81, 0, 0x83, 0, 0x81, 0 }, 1, 1, false, true, false, 0 },
	{ "length not minimal",
	  false,
	  6,
	  { 0x82, 0x7e, 0, 1, 0x81, 0 },
	  0,
	  0,
	  false,
	  true,
	  false,
	  0 },
	{ "64-bit length, masked",
	  true,
	  14,
	  { 0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4 },
	  0,
	  0,
	  false,
	  false,
	  false,
	  65536 },
};

static void assert_state(int i, const struct ws_track *t, struct ws_count count)
{
	const char *name = streams[i].name;

	ck_assert_msg(count.frames == streams[i].frames, "%s: %u frames", name, count.frames);
	ck_assert_msg(count.messages == streams[i].messages, "%s: %u messages", name,
		      count.messages);
	ck_assert_msg(ws_track_is_at_boundary(t) == streams[i].is_boundary, "%s", name);
	ck_assert_msg(ws_track_is_broken(t) == streams[i].is_broken, "%s", name);
	ck_assert_msg(ws_track_saw_close(t) == streams[i].saw_close, "%s", name);
	ck_assert_msg(ws_track_payload_left(t) == streams[i].left, "%s", name);
}

START_TEST(stream_is_followed)
{
	struct ws_track t;

	ws_track_init(&t, streams[_i].is_from_client);
	assert_state(_i, &t, ws_track_feed(&t, streams[_i].in, streams[_i].n));
}
END_TEST

/*
 * The stream is cut in three at every two positions; the result is the same as for the whole
 * stream.
 */
START_TEST(stream_may_come_in_pieces)
{
	const uint8_t *p = streams[_i].in;

	for (size_t a = 0; a <= streams[_i].n; a++) {
		for (size_t b = a; b <= streams[_i].n; b++) {
			struct ws_track t;
			ws_track_init(&t, streams[_i].is_from_client);
			struct ws_count x = ws_track_feed(&t, p, a);
			struct ws_count y = ws_track_feed(&t, p + a, b - a);
			struct ws_count z = ws_track_feed(&t, p + b, streams[_i].n - b);
			struct ws_count sum = { .frames = x.frames + y.frames + z.frames,
						.messages = x.messages + y.messages + z.messages };
			assert_state(_i, &t, sum);
		}
	}
}
END_TEST

START_TEST(stream_may_come_byte_by_byte)
{
	struct ws_track t;
	struct ws_count sum = { 0 };

	ws_track_init(&t, streams[_i].is_from_client);
	for (size_t i = 0; i < streams[_i].n; i++) {
		struct ws_count c = ws_track_feed(&t, streams[_i].in + i, 1);
		sum.frames += c.frames;
		sum.messages += c.messages;
	}
	assert_state(_i, &t, sum);
}
END_TEST

/* Close frames behind a Ping, from a server and, masked, from a client. */
static const struct {
	const char *name;
	uint8_t n, payload[6];
	uint16_t code;
} closes[] = {
	{ "normal", 2, { 0x03, 0xe8 }, 1000 },
	{ "going away, with a reason", 6, { 0x03, 0xe9, 'b', 'y', 'e', '!' }, 1001 },
	{ "of an application", 2, { 0x13, 0x87 }, 4999 },
	{ "without a code", 0, { 0 }, 1005 },
	{ "half a code", 1, { 0x03 }, 1005 },
	{ "below all codes", 2, { 0x03, 0xe7 }, 1005 },
	{ "above all codes", 2, { 0x13, 0x88 }, 1005 },
	{ "far above", 2, { 0xff, 0xff }, 1005 },
};

START_TEST(the_close_code_is_seen)
{
	const size_t row = (size_t)_i / 2;
	const bool is_masked = _i % 2 != 0;
	uint8_t in[64] = { 0x89, 0x02, 'h', 'i' };
	struct ws_head h = { .len = closes[row].n,
			     .opcode = WS_CLOSE,
			     .is_fin = true,
			     .is_masked = is_masked,
			     .mask = { 0xa1, 0xb2, 0xc3, 0xd4 } };
	size_t n = is_masked ? 0 : 4;

	n += ws_head_build(&h, in + n);
	memcpy(in + n, closes[row].payload, closes[row].n);
	if (is_masked)
		ws_mask(in + n, closes[row].n, h.mask, 0);
	n += closes[row].n;
	size_t whole = n;
	/* A second one changes nothing. */
	n += ws_head_build(&h, in + n);
	for (size_t i = 0; i < closes[row].n; i++)
		in[n++] = 0x55;

	for (size_t a = 0; a <= whole; a++) { /* in two pieces, wherever it is cut */
		struct ws_track t;
		ws_track_init(&t, is_masked);
		(void)ws_track_feed(&t, in, a);
		if (a < whole)
			ck_assert_uint_eq(ws_track_close_code(&t), 0);
		(void)ws_track_feed(&t, in + a, whole - a);
		ck_assert_msg(ws_track_close_code(&t) == closes[row].code, "%s: %u",
			      closes[row].name, ws_track_close_code(&t));
		(void)ws_track_feed(&t, in + whole, n - whole);
		ck_assert_uint_eq(ws_track_close_code(&t), closes[row].code);
	}
	struct ws_track t; /* a byte at a time */
	ws_track_init(&t, is_masked);
	for (size_t i = 0; i < n; i++)
		(void)ws_track_feed(&t, in + i, 1);
	ck_assert_uint_eq(ws_track_close_code(&t), closes[row].code);
	ck_assert(!ws_track_is_broken(&t) && ws_track_is_at_boundary(&t));
}
END_TEST

START_TEST(payload_may_pass_unseen)
{
	const uint8_t head[] = { 0x82, 0x7f, 0, 0, 0, 1, 0, 0, 0, 0, 'x' };
	const uint8_t next[] = { 0x81, 0 };
	struct ws_track t;
	struct ws_count c;

	ws_track_init(&t, false);
	c = ws_track_feed(&t, head, sizeof(head));
	ck_assert_uint_eq(c.frames, 0);
	ck_assert_uint_eq(ws_track_payload_left(&t), UINT32_MAX);

	c = ws_track_skip(&t, UINT32_MAX - 1);
	ck_assert_uint_eq(c.frames, 0);
	ck_assert_uint_eq(ws_track_payload_left(&t), 1);
	c = ws_track_skip(&t, 0);
	ck_assert_uint_eq(c.frames, 0);
	c = ws_track_skip(&t, 1);
	ck_assert_uint_eq(c.frames, 1);
	ck_assert_uint_eq(c.messages, 1);
	ck_assert(ws_track_is_at_boundary(&t));
	c = ws_track_skip(&t, 0);
	ck_assert_uint_eq(c.frames, 0);

	c = ws_track_feed(&t, next, sizeof(next));
	ck_assert_uint_eq(c.messages, 1);
}
END_TEST

#define N(rows) ((int)(sizeof(rows) / sizeof((rows)[0])))

static void add_tests(TCase *t)
{
	tcase_add_loop_test(t, head_is_judged_right, 0, N(heads));
	tcase_add_loop_test(t, head_may_come_in_pieces, 0, N(heads));
	tcase_add_loop_test(t, head_is_built_as_it_was, 0, N(heads));
	tcase_add_test(t, mask_is_the_definition);
	tcase_add_loop_test(t, stream_is_followed, 0, N(streams));
	tcase_add_loop_test(t, stream_may_come_in_pieces, 0, N(streams));
	tcase_add_loop_test(t, stream_may_come_byte_by_byte, 0, N(streams));
	tcase_add_loop_test(t, the_close_code_is_seen, 0, 2 * (int)ARRAY_SIZE(closes));
	tcase_add_test(t, payload_may_pass_unseen);
}

int main(void)
{
	return run_suite("proto/ws_frame", add_tests);
}
