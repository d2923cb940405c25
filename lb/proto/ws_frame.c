/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSocket frames: reading and writing a header, and following the frames of a stream.
 *
 * Terms. A frame is a header and a payload. A message is one data frame or several data frames. Of
 * several, all but the last have FIN clear, and all but the first have the opcode WS_CONTINUATION.
 * A control frame (Close, Ping, Pong) has FIN set and a short payload, and may stand between the
 * frames of a message. A client masks its payload: each byte is XORed with one of four bytes of the
 * header. A boundary is a place in the stream between two frames.
 *
 * The layout of a frame (RFC 6455, 5.2):
 *
 *   | FIN RSV1-3 opcode | MASK len7 | 0, 2 or 8 bytes of length | 0 or 4 bytes of mask | payload
 *
 * ws_head_parse() reads a header, ws_head_build() writes one, and ws_mask() masks payload.
 *
 * The tracker. lb relays the bytes of a tunnel as they are. A struct ws_track follows one
 * direction, so that lb can count frames, knows the status code of a Close frame, and knows where
 * the boundaries are. ws_track_feed() gets the bytes; ws_track_skip() only their number, where the
 * bytes go through a pipe. The tracker has two states: in the payload of a frame, `left` is how
 * many bytes of the payload are still to come; otherwise `left` is 0 and `head` holds the first
 * `n_head` bytes of a header that came in pieces. At the end of a header, take_head() changes to
 * the first state; at the end of the payload, take_payload() changes back.
 *
 * Payload is not read, but for the first two bytes of a Close frame's payload, which are its status
 * code. While a Close frame's payload is coming, `head` holds the mask and these bytes, because a
 * header is complete then.
 *
 * A header that breaks the RFC makes the tracker broken: from then on it counts nothing, and the
 * bytes are relayed all the same. The endpoints judge them.
 *
 * Thread: the owner's. Hot.
 */
#include "proto/ws_frame.h"

#include <string.h>

#define FIN 0x80u
#define RSV_SHIFT 4
#define RSV_MASK 0x7u
#define OPCODE_MASK 0x0fu
#define MASKED 0x80u
#define LEN_MASK 0x7fu
#define LEN_16 126u
#define LEN_64 127u

static uint64_t read_be(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

static void write_be(uint8_t *p, size_t n, uint64_t v)
{
	for (size_t i = n; i-- > 0; v >>= 8)
		p[i] = (uint8_t)v;
}

static bool is_opcode(uint8_t opcode)
{
	return opcode <= WS_BINARY || (opcode >= WS_CLOSE && opcode <= WS_PONG);
}

/* How many bytes of length follow the first two bytes of a header. */
static size_t length_bytes(uint8_t len7)
{
	return len7 == LEN_16 ? 2 : len7 == LEN_64 ? 8 : 0;
}

enum ws_parse ws_head_parse(const uint8_t *p, size_t n, struct ws_head *ret)
{
	if (n == 0)
		return WS_MORE;
	struct ws_head h = {
		.is_fin = p[0] & FIN,
		.rsv = p[0] >> RSV_SHIFT & RSV_MASK,
		.opcode = p[0] & OPCODE_MASK,
	};
	if (!is_opcode(h.opcode) || (ws_is_control(h.opcode) && !h.is_fin))
		return WS_BAD;
	if (n == 1)
		return WS_MORE;

	uint8_t len7 = p[1] & LEN_MASK;
	size_t n_len = length_bytes(len7);
	h.is_masked = p[1] & MASKED;
	if (ws_is_control(h.opcode) && len7 > WS_CONTROL_MAX)
		return WS_BAD;
	if (n < 2 + n_len)
		return WS_MORE;
	h.len = n_len == 0 ? len7 : read_be(p + 2, n_len);
	if ((n_len == 2 && h.len < LEN_16) ||
	    (n_len == 8 && (h.len <= UINT16_MAX || h.len > INT64_MAX)))
		return WS_BAD;

	h.head_len = (uint8_t)(2 + n_len + (h.is_masked ? sizeof(h.mask) : 0));
	if (n < h.head_len)
		return WS_MORE;
	if (h.is_masked)
		memcpy(h.mask, p + 2 + n_len, sizeof(h.mask));
	*ret = h;
	return WS_OK;
}

size_t ws_head_build(const struct ws_head *h, uint8_t out[WS_HEAD_MAX])
{
	uint8_t len7 = h->len < LEN_16 ? (uint8_t)h->len : h->len <= UINT16_MAX ? LEN_16 : LEN_64;
	size_t n_len = length_bytes(len7);
	size_t n = 2 + n_len;

	LB_ASSERT(h->len <= INT64_MAX && is_opcode(h->opcode));
	out[0] = (uint8_t)((h->is_fin ? FIN : 0) | (h->rsv & RSV_MASK) << RSV_SHIFT |
			   (h->opcode & OPCODE_MASK));
	out[1] = (uint8_t)((h->is_masked ? MASKED : 0) | len7);
	write_be(out + 2, n_len, h->len);
	if (h->is_masked) {
		memcpy(out + n, h->mask, sizeof(h->mask));
		n += sizeof(h->mask);
	}
	LB_ASSERT(n <= WS_HEAD_MAX);
	return n;
}

/*
 * Masks eight bytes at a time. `pad` has the key twice, rotated so that its first byte masks the
 * byte at `offset`.
 */
void ws_mask(uint8_t *p, size_t n, const uint8_t key[4], uint64_t offset)
{
	uint8_t turned[8];
	uint64_t word, pad;
	size_t i = 0;

	for (size_t k = 0; k < sizeof(turned); k++)
		turned[k] = key[(offset + k) & 3];
	memcpy(&pad, turned, sizeof(pad));
	for (; n - i >= sizeof(word); i += sizeof(word)) {
		memcpy(&word, p + i, sizeof(word));
		word ^= pad;
		memcpy(p + i, &word, sizeof(word));
	}
	for (; i < n; i++)
		p[i] ^= turned[i & 3];
}

/* ---- the tracker ----------------------------------------------------------------------------- */

void ws_track_init(struct ws_track *t, bool is_from_client)
{
	*t = (struct ws_track){ .is_to_be_masked = is_from_client };
}

/*
 * Whether a frame with the header `h` may come now. Judges what a header alone does not tell: which
 * side masks (RFC 6455, 5.1), and which frame may follow which (5.4).
 */
static bool may_come(const struct ws_track *t, const struct ws_head *h)
{
	if (h->is_masked != t->is_to_be_masked)
		return false;
	return ws_is_control(h->opcode) || (h->opcode == WS_CONTINUATION) == t->is_fragmented;
}

/*
 * While the payload of a Close frame is coming, head[] has two bytes of the mask, the two bytes of
 * the status code, and the number of bytes of the code that have come.
 */
enum { MASK_AT = 0, CODE_AT = 2, N_CODE_AT = 4, CODE_BYTES = 2 };
_Static_assert(N_CODE_AT < WS_HEAD_MAX - 1, "head[] has room for all of these");

static void begin_close(struct ws_track *t, const struct ws_head *h)
{
	for (size_t i = 0; i < CODE_BYTES; i++)
		t->head[MASK_AT + i] = h->is_masked ? h->mask[i] : 0;
	t->head[N_CODE_AT] = 0;
}

static void take_close(struct ws_track *t, const uint8_t *p, size_t n)
{
	LB_ASSERT(t->head[N_CODE_AT] <= CODE_BYTES);
	for (size_t i = 0; i < n && t->head[N_CODE_AT] < CODE_BYTES; i++) {
		uint8_t at = t->head[N_CODE_AT]++;
		t->head[CODE_AT + at] = p[i] ^ t->head[MASK_AT + at];
	}
}

static void end_close(struct ws_track *t)
{
	unsigned code = (unsigned)t->head[CODE_AT] << 8 | t->head[CODE_AT + 1];

	if (t->saw_close)
		return;
	if (t->head[N_CODE_AT] < CODE_BYTES || code < 1000 || code > 4999)
		code = 1005; /* stands for no code */
	t->close_code = (uint16_t)(code & 0x1fff);
	t->saw_close = true;
}

static void count_end(struct ws_track *t, struct ws_count *count)
{
	count->frames++;
	count->messages += t->is_message_end;
	if (t->is_close)
		end_close(t);
}

static void begin_frame(struct ws_track *t, const struct ws_head *h, struct ws_count *count)
{
	bool is_data = !ws_is_control(h->opcode);

	t->n_head = 0;
	if (!may_come(t, h)) {
		t->is_broken = true;
		return;
	}
	t->left = h->len;
	t->is_message_end = is_data && h->is_fin;
	t->is_close = h->opcode == WS_CLOSE;
	if (t->is_close)
		begin_close(t, h);
	if (is_data)
		t->is_fragmented = !h->is_fin;
	if (t->left == 0)
		count_end(t, count);
}

/*
 * Takes a header, or the part of it that has come. Returns how many of the `n` bytes it has taken.
 */
static size_t take_head(struct ws_track *t, const uint8_t *p, size_t n, struct ws_count *count)
{
	uint8_t buf[WS_HEAD_MAX];
	size_t had = t->n_head;
	size_t add = n < sizeof(buf) - had ? n : sizeof(buf) - had;
	struct ws_head h;

	LB_ASSERT(t->left == 0 && had < sizeof(buf));
	if (had != 0) {
		memcpy(buf, t->head, had);
		memcpy(buf + had, p, add);
		p = buf;
		n = had + add;
	}
	switch (ws_head_parse(p, n, &h)) {
	case WS_OK:
		LB_ASSERT(h.head_len > had && h.head_len <= n);
		begin_frame(t, &h, count);
		return h.head_len - had;
	case WS_BAD: t->is_broken = true; return 0;
	case WS_MORE: break;
	}
	LB_ASSERT(n <= sizeof(t->head)); /* with more bytes the header would be whole */
	memcpy(t->head + had, p + had, n - had);
	t->n_head = n & 0xf;
	return n - had;
}

static void take_payload(struct ws_track *t, uint64_t n, struct ws_count *count)
{
	LB_ASSERT(n <= t->left);
	t->left -= n;
	if (t->left == 0)
		count_end(t, count);
}

struct ws_count ws_track_skip(struct ws_track *t, uint64_t n)
{
	struct ws_count count = { 0 };

	LB_ASSERT(n <= t->left);
	if (n != 0)
		take_payload(t, n, &count);
	return count;
}

struct ws_count ws_track_feed(struct ws_track *t, const uint8_t *p, size_t n)
{
	struct ws_count count = { 0 };

	for (size_t i = 0; i < n && !t->is_broken;) {
		if (t->left == 0) {
			i += take_head(t, p + i, n - i, &count);
			continue;
		}
		size_t taken = n - i < t->left ? n - i : (size_t)t->left;
		if (t->is_close)
			take_close(t, p + i, taken);
		take_payload(t, taken, &count);
		i += taken;
	}
	LB_ASSERT(t->left == 0 || t->n_head == 0); /* the tracker is in a payload, or in a header */
	return count;
}
