/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A head being gathered: the bytes of a request's or response's head, contiguous for the parser.
 *
 * The first buffer that is received becomes the gathering one; more is copied behind it, and into
 * one for whole heads when it overflows. So a client that sends nothing holds nothing, and one that
 * sends a little holds 4 KiB. Thread: owner worker. Layer: proxy.
 */

#include "ev/buf.h"

/* Most bytes that a head with what is glued to it may take: 16 KiB (design, section 7) and a
 * receive. */
#define HEAD_RECV_BYTES 20480u

/* Adds `b`, whose reference it takes over. Returns 0 or -ENOMEM (the head stays as it was). */
int head_add(struct buf **head, struct buf_pool *pool, struct buf *b) LB_MUST_CHECK;

/*
 * head_cut_rest() - what stands behind the first `n` bytes, in a buffer of its own
 *
 * Sets *ret to it, or to NULL when there is nothing; the head keeps its first `n` bytes. Returns 0
 * or -ENOMEM.
 */
int head_cut_rest(struct buf *head, struct buf_pool *pool, uint32_t n,
		  struct buf **ret) LB_MUST_CHECK;

/* A buffer for `n` bytes, reserved if need be; not on the path of a byte. NULL when memory is
 * short. */
struct buf *head_new(struct buf_pool *pool, uint32_t n);
