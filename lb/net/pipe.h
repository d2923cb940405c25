/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Pipes for splice(2), in a pool. A flow borrows a pipe while it is in bulk, and gives the pipe
 * back when few bytes come.
 *
 * Thread: the loop's. Layer: net.
 */

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct pipe_pool;

/* Measured: with pipes of 64 KiB, a megabyte costs a third more CPU. */
#define PIPE_BYTES (256u << 10)

struct pipe {
	int read_fd, write_fd;
	uint32_t n_bytes; /* bytes in the pipe; counted by the user of the pipe */

	/* private to pipe.c */
	struct pipe *next;
};

/*
 * Makes a pool that borrows `l`. At most `max` pipes are open at a time, with two descriptors each;
 * further flows use buffers. Returns NULL when memory is short.
 */
struct pipe_pool *pipe_pool_new(struct loop *l, uint32_t max);

/* Frees the pool and closes its pipes. No pipe may be lent. NULL is fine. Returns NULL. */
struct pipe_pool *pipe_pool_free(struct pipe_pool *p);

/* An empty pipe. NULL when `max` pipes are lent or the kernel gives none: then bytes go through
 * buffers. */
struct pipe *pipe_get(struct pipe_pool *p);

/* Whether a pipe is idle or fewer than `max` are lent. pipe_get() may still return NULL. */
bool pipe_is_available(const struct pipe_pool *p);

/* Takes back a pipe that is empty. */
void pipe_put(struct pipe_pool *p, struct pipe *pipe);

/* Takes back a pipe that may still hold bytes: it is closed, and the bytes are lost. */
void pipe_discard(struct pipe_pool *p, struct pipe *pipe);
