/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A head being gathered: the bytes of a request's or response's head, contiguous for the parser.
 *
 * The first buffer that is received is the head so far. The bytes of later buffers are copied
 * behind it; when it is full, all go into a buffer for whole heads. So a client that sends nothing
 * costs no buffer, and one that sends a little costs 4 KiB. Thread: owner worker. Layer: proxy.
 */

#include "ev/buf.h"

/* The most bytes of a head and of what came with it: 16 KiB (design, section 7) and a receive. */
#define HEAD_RECV_BYTES 20480u

/* Adds `b`, whose reference it takes over. Returns 0 or -ENOMEM (the head stays as it was). */
int head_add(struct buf **head, struct buf_pool *pool, struct buf *b) LB_MUST_CHECK;

/*
 * head_cut_rest() - move the bytes behind the first `n` bytes of a head to a buffer of their own
 *
 * Sets *ret to that buffer, or to NULL when there are no such bytes. Returns 0 or -ENOMEM.
 */
int head_cut_rest(struct buf *head, struct buf_pool *pool, uint32_t n,
		  struct buf **ret) LB_MUST_CHECK;

/* A buffer for `n` bytes, or NULL when memory is short. May allocate: not on the path of a byte. */
struct buf *head_new(struct buf_pool *pool, uint32_t n);
