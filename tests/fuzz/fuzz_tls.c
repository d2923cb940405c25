/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records under `records: compact`: whatever a peer that knows the keys sends, and whatever becomes
 *of it on the way, what comes out is what was sealed, in order, up to the first record that is
 *wrong.
 *
 * The input: a byte of choices (suite, side, size of the pieces), then records:
 *
 *	type, length, what is done to it, content
 *
 * What is done: 0 to 199 nothing; from 200 on one byte of the sealed record is changed.
 */
#include "fuzz.h"

#include <string.h>

#include "net/tls.h"
#include "net/tls_export.h"
#include "net/tls_lib.h"
#include "util/slab.h"

#define PLAIN_MAX (1u << 20)
#define SPOILT 200

static struct {
	struct tls_lib *lib;
	struct buf_pool *pool;
	struct tls_ends es;
} g;

static void begin(void)
{
	g.lib = tls_lib_new();
	g.pool = buf_pool_new(4u << 20);
	LB_ASSERT(g.lib != NULL && g.pool != NULL);
	LB_ASSERT(tls_ends_init(&g.es, g.lib, g.pool, 1) == 0);
}

/* What the end under test is held to. */
struct fuzz_run {
	struct tls *t;
	struct queue plain;
	uint8_t want[PLAIN_MAX]; /* content that was sealed before anything wrong */
	uint32_t n_want;
	bool is_wrong; /* a record was spoilt: nothing behind it may come out */
	bool is_over;  /* the verdict was final */
};

static void judge(struct fuzz_run *r, enum tls_verdict v)
{
	LB_ASSERT(v != TLS_DONE && v != TLS_NO_BUFS);
	LB_ASSERT(r->plain.bytes <= r->n_want);
	if (v == TLS_MORE) {
		LB_ASSERT(r->t->raw.bytes < TLS_RECORD_MAX && !r->is_over);
	} else {
		LB_ASSERT(queue_is_empty(&r->t->raw));
		r->is_over = true;
	}
	LB_ASSERT(v != TLS_RESET || queue_is_empty(&r->t->sealed));
}

static void feed(struct fuzz_run *r, const uint8_t *p, size_t n, size_t piece)
{
	while (n > 0 && !r->is_over) {
		LB_ASSERT(buf_reserve(g.pool, BUF_SMALL, 16) == 0);
		LB_ASSERT(tls_reserve(&g.es) == 0);
		struct buf *b = buf_get(g.pool, BUF_SMALL);
		LB_ASSERT(b != NULL);
		b->len = (uint32_t)(n < piece ? n : piece);
		memcpy(b->data, p, b->len);
		p += b->len;
		n -= b->len;
		tls_feed(&g.es, r->t, b);
		judge(r, tls_open(&g.es, r->t, &r->plain));
		if (tls_wants_seal(r->t)) { /* as at a turn's end; the peer reads all */
			struct queue none = { 0 };
			LB_ASSERT(tls_seal(&g.es, r->t, &none) == TLS_MORE);
			queue_clear(&r->t->sealed, g.pool);
		}
	}
}

/* A KeyUpdate that is whole in its record, as an honest peer sends it. */
static bool is_key_update(const uint8_t *p, size_t n)
{
	static const uint8_t head[] = { 24, 0, 0, 1 };

	return n == 5 && memcmp(p, head, 4) == 0 && p[4] <= 1;
}

/* How much of a record is content of type DATA. A type of 0 is padding in TLS 1.3, and the type
 * stands before it. */
static size_t content_of(struct tls_suite s, uint8_t type, const uint8_t *p, size_t n)
{
	while (s.is_tls_1_3 && type == 0 && n > 0)
		type = p[--n];
	return type == TLS_TYPE_DATA ? n : 0;
}

static void expect_plain(const struct fuzz_run *r)
{
	uint32_t at = 0;

	for (const struct buf *b = queue_head(&r->plain); b != NULL; b = queue_next(&r->plain, b)) {
		LB_ASSERT(memcmp(b->data + b->off, r->want + at, b->len) == 0);
		at += b->len;
	}
	LB_ASSERT(at == r->plain.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static struct fuzz_run r;
	struct tls_crypto *crypto;
	uint8_t record[TLS_HEAD_BYTES + 256 + TLS_OVERHEAD_MAX];

	if (n < 1)
		return 0;
	if (g.lib == NULL)
		begin();
	crypto = g.es.crypto;
	uint8_t choice = *p++;
	n--;
	struct tls_export e = { .suite = { .aead = choice % 3, .is_tls_1_3 = choice & 4 },
				.is_client = choice & 8 };
	size_t piece = choice & 16 ? 1 + choice / 32 * 5u : BUF_SMALL_BYTES;
	memset(e.rx.secret, 1, sizeof(e.rx.secret));
	memset(e.tx.secret, 2, sizeof(e.tx.secret));
	memset(e.rx.key, 3, sizeof(e.rx.key));
	memset(e.tx.key, 4, sizeof(e.tx.key));
	struct tls_half peer = e.rx;

	memset(&r, 0, offsetof(struct fuzz_run, want));
	r.n_want = 0;
	r.is_wrong = r.is_over = false;
	LB_ASSERT(slab_reserve(g.es.slab, 1) == 0);
	r.t = tls_import(&g.es, &e);
	LB_ASSERT(r.t != NULL);
	while (n >= 3 && !r.is_over && r.n_want + 256 < PLAIN_MAX) {
		uint8_t type = p[0], done = p[2];
		size_t len = p[1] < n - 3 ? p[1] : n - 3;
		struct iovec iov = { .iov_base = r.want + r.n_want, .iov_len = len };

		memcpy(r.want + r.n_want, p + 3, len);
		size_t sealed = tls_record_seal(crypto, e.suite, &peer, type, &iov, len, record);
		LB_ASSERT(sealed == len + tls_suite_overhead(e.suite));
		if (done >= SPOILT) {
			record[(done * 7u + len) % sealed] ^= (uint8_t)(1 + done % 255);
			r.is_wrong = true;
		} else if (!r.is_wrong) {
			r.n_want += (uint32_t)content_of(e.suite, type, p + 3, len);
		}
		if (e.suite.is_tls_1_3 && type == TLS_TYPE_HANDSHAKE && is_key_update(p + 3, len))
			LB_ASSERT(tls_half_update(crypto, e.suite, &peer) == 0);
		feed(&r, record, sealed, piece);
		p += 3 + len;
		n -= 3 + len;
	}
	expect_plain(&r);
	queue_clear(&r.plain, g.pool);
	r.t = tls_free(&g.es, r.t);
	LB_ASSERT(buf_bytes_used(g.pool) == 0);
	return 0;
}
