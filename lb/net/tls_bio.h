/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Where an SSL object reads and writes: two queues of lent buffers.
 *
 * Reading takes bytes off the front of `raw`. Writing appends to `sealed`; when no buffer is left
 * it writes a part or asks to be repeated (SSL_ERROR_WANT_WRITE). What is written is watched, so
 * that the last record, and its explicit nonce, are known when the keys are taken out.
 *
 * Thread: the loop's. Layer: net.
 */

#include <openssl/bio.h>
#include <stdint.h>

#include "net/queue.h"
#include "proto/tls_frame.h"

#define TLS_BIO_WATCHED (TLS_HEAD_BYTES + 8u) /* a header and an explicit nonce */

struct tls_bio {
	struct queue *raw, *sealed; /* borrowed from the struct tls */
	struct buf_pool *pool;      /* borrows */
	/* The record that was written last, or is being written. */
	uint8_t last[TLS_BIO_WATCHED];
	uint32_t n_last; /* bytes of it that were written, its header included */
};

/* Bytes of the last record once its header is whole; 0 before. */
static inline uint32_t tls_bio_last_bytes(const struct tls_bio *b)
{
	if (b->n_last < TLS_HEAD_BYTES)
		return 0;
	return TLS_HEAD_BYTES + tls_head_read(b->last).len;
}

/* NULL when memory is short. Freed by BIO_meth_free(). */
BIO_METHOD *tls_bio_method(void);

/* `b` must outlive the BIO. NULL when memory is short. */
BIO *tls_bio_new(const BIO_METHOD *method, struct tls_bio *b);
