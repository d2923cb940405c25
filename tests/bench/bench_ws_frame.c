/* SPDX-License-Identifier: Apache-2.0 */
/* Keeping count of WebSocket frames in a relayed stream: ns a frame. */
#include "micro.h"

#include "proto/ws_frame.h"

#define N_FRAMES 1000u
#define BUF_MAX (N_FRAMES * (WS_HEAD_MAX + 1024u))

struct stream {
	uint8_t *bytes; /* N_FRAMES whole frames */
	size_t n, frame;
	size_t piece; /* bytes given at a time */
};

static void build(struct stream *s, uint64_t len)
{
	struct ws_head h = { .len = len, .opcode = WS_BINARY, .is_fin = true, .is_masked = true };

	s->n = 0;
	for (unsigned i = 0; i < N_FRAMES; i++) {
		s->n += ws_head_build(&h, s->bytes + s->n);
		memset(s->bytes + s->n, 0x55, len);
		s->n += len;
	}
	s->frame = s->n / N_FRAMES;
}

static void feed(void *arg, unsigned n)
{
	const struct stream *s = arg;
	struct ws_track t;
	uint64_t n_messages = 0;

	ws_track_init(&t, true);
	for (unsigned k = 0; k < n; k += N_FRAMES) {
		for (size_t at = 0; at < s->n; at += s->piece) {
			size_t left = s->n - at;

			n_messages +=
				ws_track_feed(&t, s->bytes + at, left < s->piece ? left : s->piece)
					.messages;
		}
	}
	MICRO_CHECK(n_messages == n && ws_track_is_at_boundary(&t));
}

int main(int argc, char **argv)
{
	static uint8_t bytes[BUF_MAX];
	struct stream s = { .bytes = bytes };

	build(&s, 64);
	s.piece = s.frame;
	micro_run("frame of 64 B, one in a buffer", feed, &s, N_FRAMES, argc, argv);
	s.piece = 4096;
	micro_run("frame of 64 B, buffers of 4 KiB", feed, &s, N_FRAMES, argc, argv);
	build(&s, 1000);
	s.piece = s.frame;
	micro_run("frame of 1,000 B, one in a buffer", feed, &s, N_FRAMES, argc, argv);
	build(&s, 0);
	s.piece = 1;
	micro_run("empty frame, a byte at a time", feed, &s, N_FRAMES, argc, argv);
	return 0;
}
