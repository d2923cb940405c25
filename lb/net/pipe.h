/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Pipes for splice(2): pooled, lent to a flow while it is in bulk, given back when it falls quiet.
 *
 * Thread: the loop's. Layer: net.
 */

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct pipe_pool;

/* Measured: pipes of 64 KiB cost a third more per MB than these (design, section 3). */
#define PIPE_BYTES (256u << 10)

struct pipe {
	int read_fd, write_fd;
	uint32_t n_bytes; /* in it; kept by its user */

	/* private to pipe.c */
	struct pipe *next;
};

/*
 * Borrows `l`. At most `max` pipes are open at a time, two descriptors each; flows beyond that use
 * buffers. NULL when memory is short.
 */
struct pipe_pool *pipe_pool_new(struct loop *l, uint32_t max);

/* Closes the pipes; none may be lent. NULL is fine. Returns NULL. */
struct pipe_pool *pipe_pool_free(struct pipe_pool *p);

/* An empty pipe, or NULL when the kernel gives none: then bytes go through buffers. */
struct pipe *pipe_get(struct pipe_pool *p);

/* Whether pipe_get() may give one: not all are lent. */
bool pipe_is_available(const struct pipe_pool *p);

/* Takes back a pipe that is empty. */
void pipe_put(struct pipe_pool *p, struct pipe *pipe);

/* Takes back a pipe that may still hold bytes: it is closed, and the bytes are lost. */
void pipe_discard(struct pipe_pool *p, struct pipe *pipe);
