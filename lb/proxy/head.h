/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A head being gathered: the parser needs the bytes of a request's or a response's head in one
 * piece.
 *
 * The first buffer that is received becomes the head. The bytes of later buffers are copied behind
 * its bytes; when they do not fit, all bytes are copied into a larger buffer. So a client that
 * sends nothing costs no buffer, and a client that sends a few bytes costs 4 KiB. Thread: owner
 * worker. Layer: proxy.
 */

#include "ev/buf.h"

/* The most bytes that are received for a head: 16 KiB, the longest head, and 4 KiB of what follows
 * it. */
#define HEAD_RECV_BYTES 20480u

/* Adds the bytes of `b` to the head, and takes over the reference to `b`. Returns 0, or -ENOMEM:
 * the head stays as it was. */
int head_add(struct buf **head, struct buf_pool *pool, struct buf *b) LB_MUST_CHECK;

/*
 * head_cut_rest() - move the bytes behind the first `n` bytes of a head to a buffer of their own
 *
 * Sets *ret to that buffer, or to NULL when there are no such bytes. Returns 0 or -ENOMEM.
 */
int head_cut_rest(struct buf *head, struct buf_pool *pool, uint32_t n,
		  struct buf **ret) LB_MUST_CHECK;

/* Returns a buffer for `n` bytes, or NULL when memory is short. May allocate memory, so it must not
 * be called for every byte that passes. */
struct buf *head_new(struct buf_pool *pool, uint32_t n);
