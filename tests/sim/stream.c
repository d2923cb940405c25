/* SPDX-License-Identifier: Apache-2.0 */
#include "stream.h"

#include <stdio.h>
#include <string.h>

static uint64_t mixed(uint64_t z)
{
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static uint64_t chance(struct stream *s, uint64_t n)
{
	return mixed(s->rng += 0x9e3779b97f4a7c15u) % n;
}

/*
 * A payload byte is the byte of a pattern that the stream's `salt` and the byte's position choose:
 * that is cheap, and bytes around a position look like no others within a million.
 */
#define PATTERN_BYTES (1u << 20)
static uint8_t pattern[PATTERN_BYTES];
static bool has_pattern;

static void make_pattern(void)
{
	has_pattern = true;
	for (size_t i = 0; i < PATTERN_BYTES; i += sizeof(uint64_t)) {
		uint64_t word = mixed(i + 1);
		memcpy(pattern + i, &word, sizeof(word));
	}
}

void stream_init(struct stream *s, enum stream_form form, uint64_t key, uint64_t total)
{
	*s = (struct stream){ .form = form, .rng = mixed(key + 1), .left = total };
	s->salt = mixed(key + 2);
	if (!has_pattern)
		make_pattern();
	if (form == STREAM_RAW)
		s->part = total;
}

/* A frame's payload length, in one of the three forms of RFC 6455, 5.2; most are small. */
static uint64_t frame_len(struct stream *s)
{
	switch (chance(s, 12)) {
	case 0: return 0;
	case 1: return 125 + chance(s, 3);
	case 2: return 65534 + chance(s, 4);
	case 3: return chance(s, 200000);
	case 4:
	case 5: return chance(s, 5000);
	default: return chance(s, 120);
	}
}

static void put_head(struct stream *s, const void *p, size_t n)
{
	memcpy(s->head + s->n_head, p, n);
	s->n_head += (uint32_t)n;
}

static void begin_frame(struct stream *s)
{
	uint64_t len = frame_len(s);
	uint8_t opcode = 2;
	uint8_t mask_bit = s->form == STREAM_MASKED ? 0x80 : 0;

	if (len > s->left)
		len = s->left;
	if (s->left == 0) { /* Close, with a code */
		opcode = 8;
		len = 2;
		s->is_last = true;
	} else if (len < 126 && chance(s, 8) == 0) {
		opcode = 9 + (uint8_t)chance(s, 2); /* Ping, Pong */
	}
	s->left -= s->is_last ? 0 : len;
	uint8_t head[14] = { 0x80 | opcode };
	size_t n = 2;

	if (len < 126) {
		head[1] = (uint8_t)len;
	} else if (len < 65536) {
		head[1] = 126;
		head[n++] = (uint8_t)(len >> 8);
		head[n++] = (uint8_t)len;
	} else {
		head[1] = 127;
		for (int shift = 56; shift >= 0; shift -= 8)
			head[n++] = (uint8_t)(len >> shift);
	}
	head[1] |= mask_bit;
	for (int i = 0; mask_bit != 0 && i < 4; i++)
		head[n++] = (uint8_t)chance(s, 256);
	put_head(s, head, n);
	s->part = len;
}

static void begin_chunk(struct stream *s)
{
	char line[24];
	uint64_t len = chance(s, 4) == 0 ? 1 + chance(s, 70000) : 1 + chance(s, 300);

	if (len > s->left)
		len = s->left;
	if (s->n_made > 0)
		put_head(s, "\r\n", 2); /* behind the chunk before */
	int n = snprintf(line, sizeof(line), "%llx\r\n", (unsigned long long)len);
	put_head(s, line, (size_t)n);
	if (len == 0) {
		put_head(s, "\r\n", 2);
		s->is_last = true;
	}
	s->left -= len;
	s->part = len;
}

/* Begins the next frame or chunk. False: the stream is over. */
static bool begin_part(struct stream *s)
{
	s->n_head = s->head_at = 0;
	if (s->is_last || s->form == STREAM_RAW)
		return false;
	if (s->form == STREAM_CHUNKED)
		begin_chunk(s);
	else
		begin_frame(s);
	return true;
}

static void make_payload(const struct stream *s, uint8_t *out, size_t n)
{
	size_t at = (s->salt + s->n_made) % PATTERN_BYTES;

	while (n > 0) {
		size_t k = n < PATTERN_BYTES - at ? n : PATTERN_BYTES - at;
		memcpy(out, pattern + at, k);
		out += k;
		n -= k;
		at = 0;
	}
}

size_t stream_make(struct stream *s, uint8_t *out, size_t n)
{
	size_t made = 0;

	while (made < n) {
		size_t k;
		if (s->head_at < s->n_head) {
			k = s->n_head - s->head_at < n - made ? s->n_head - s->head_at : n - made;
			memcpy(out + made, s->head + s->head_at, k);
			s->head_at += (uint32_t)k;
		} else if (s->part > 0) {
			k = s->part < n - made ? (size_t)s->part : n - made;
			make_payload(s, out + made, k);
			s->part -= k;
		} else if (begin_part(s)) {
			continue;
		} else {
			break;
		}
		s->n_made += k;
		made += k;
	}
	return made;
}

size_t stream_check(struct stream *s, const uint8_t *in, size_t n)
{
	uint8_t want[4096];
	size_t right = 0;

	while (right < n) {
		size_t k = n - right < sizeof(want) ? n - right : sizeof(want);
		k = stream_make(s, want, k);
		if (k == 0)
			break;
		if (memcmp(want, in + right, k) != 0) {
			for (size_t i = 0; want[i] == in[right]; i++)
				right++;
			break;
		}
		right += k;
	}
	return right;
}

uint64_t stream_size(enum stream_form form, uint64_t key, uint64_t total)
{
	struct stream s;
	uint8_t bytes[4096];

	stream_init(&s, form, key, total);
	while (stream_make(&s, bytes, sizeof(bytes)) > 0)
		;
	return s.n_made;
}
