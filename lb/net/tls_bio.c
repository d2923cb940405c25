/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tls_bio.h"

#include <string.h>

static int bio_read(BIO *bio, char *out, int n)
{
	struct tls_bio *b = BIO_get_data(bio);
	int done = 0;

	LB_ASSERT(b != NULL);
	BIO_clear_retry_flags(bio);
	while (done < n && !queue_is_empty(b->raw)) {
		const struct buf *head = queue_head(b->raw);
		uint32_t part = (uint32_t)(n - done) < head->len ? (uint32_t)(n - done) : head->len;
		memcpy(out + done, head->data + head->off, part);
		done += (int)part;
		queue_consume(b->raw, b->pool, part);
	}
	if (done > 0 || n <= 0)
		return done;
	BIO_set_retry_read(bio);
	return -1;
}

/* Follows the records in what is written. */
static void watch(struct tls_bio *b, const uint8_t *p, uint32_t n)
{
	while (n > 0) {
		uint32_t whole = tls_bio_last_bytes(b);
		if (whole > 0 && b->n_last == whole)
			b->n_last = whole = 0;
		/* A header byte at a time; then the whole rest that has come. */
		uint32_t part = whole == 0 || n < whole - b->n_last ? n : whole - b->n_last;
		if (whole == 0)
			part = 1;
		for (uint32_t i = 0; i < part && b->n_last + i < TLS_BIO_WATCHED; i++)
			b->last[b->n_last + i] = p[i];
		b->n_last += part;
		LB_ASSERT(whole == 0 || b->n_last <= whole);
		p += part;
		n -= part;
	}
}

static struct buf *buf_for(struct buf_pool *pool, uint32_t n)
{
	struct buf *b = n > BUF_SMALL_BYTES ? buf_get(pool, BUF_HEAD) : NULL;

	return b != NULL ? b : buf_get(pool, BUF_SMALL);
}

static int bio_write(BIO *bio, const char *in, int n)
{
	struct tls_bio *b = BIO_get_data(bio);
	int done = 0;

	LB_ASSERT(b != NULL);
	BIO_clear_retry_flags(bio);
	while (done < n) {
		struct buf *out = buf_for(b->pool, (uint32_t)(n - done));
		if (out == NULL)
			break;
		uint32_t part = (uint32_t)(n - done) < out->cap ? (uint32_t)(n - done) : out->cap;
		memcpy(out->data, in + done, part);
		watch(b, out->data, part);
		out->len = part;
		queue_push(b->sealed, b->pool, out);
		done += (int)part;
	}
	if (done > 0 || n <= 0)
		return done;
	BIO_set_retry_write(bio);
	return -1;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	const struct tls_bio *b = BIO_get_data(bio);

	(void)num;
	(void)ptr;
	if (cmd == BIO_CTRL_FLUSH)
		return 1;
	return cmd == BIO_CTRL_PENDING ? (long)b->raw->bytes : 0;
}

BIO_METHOD *tls_bio_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "lb");

	if (m == NULL)
		return NULL;
	if (BIO_meth_set_read(m, bio_read) != 1 || BIO_meth_set_write(m, bio_write) != 1 ||
	    BIO_meth_set_ctrl(m, bio_ctrl) != 1) {
		BIO_meth_free(m);
		return NULL;
	}
	return m;
}

BIO *tls_bio_new(const BIO_METHOD *method, struct tls_bio *b)
{
	BIO *bio = BIO_new(method);

	LB_ASSERT(b->raw != NULL && b->sealed != NULL && b->pool != NULL);
	if (bio == NULL)
		return NULL;
	BIO_set_data(bio, b);
	BIO_set_init(bio, 1);
	return bio;
}
