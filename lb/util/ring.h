/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Ring: records of bytes from one writer to one reader, without a lock.
 *
 * A full ring drops the record and counts it. Thread: one writer, one reader.
 *
 * Layer: util.
 */

#include <stddef.h>
#include <stdint.h>

#include "util/assert.h"

struct ring;

/* Makes an empty ring of `bytes`, rounded up to a power of two. Returns NULL when memory is
 * short. */
struct ring *ring_new(size_t bytes);

/* Frees the ring; NULL is fine. Returns NULL. */
struct ring *ring_free(struct ring *r);

/*
 * ring_write() - copy one record into the ring
 *
 * `n` is at least 1 and at most half of the ring's bytes. Returns 0. When the record does not fit,
 * counts a drop and returns -ENOSPC. For the writer only. Hot.
 */
int ring_write(struct ring *r, const void *rec, size_t n);

/*
 * ring_read() - take the oldest record, and copy it to `out`
 *
 * Returns the number of bytes copied, or 0 when the ring is empty. A record longer than `max` is
 * cut. For the reader only.
 */
size_t ring_read(struct ring *r, void *out, size_t max);

/* Records dropped since the ring was made. Thread: any. */
uint64_t ring_n_dropped(const struct ring *r);
