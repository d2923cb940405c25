/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pipes of one loop, for splice(2).
 *
 * A pipe costs two descriptors and 256 KiB of the kernel's memory, so a flow has one only while its
 * bytes are spliced. pipe_get() gives a pipe from the list of idle ones. When none is idle, it
 * makes a pipe, as long as fewer than `max` are lent. pipe_put() takes an empty pipe back, and
 * keeps up to MAX_IDLE of them open; pipe_discard() closes a pipe that may hold bytes.
 *
 * Thread: the loop's.
 */
#include "net/pipe.h"

#include <stdlib.h>

#include "ev/loop.h"

#define MAX_IDLE 8 /* empty pipes that are kept open */

struct pipe_pool {
	struct loop *loop;
	struct pipe *idle; /* owns: the list of idle pipes */
	uint32_t n_idle, n_lent, max;
};

struct pipe_pool *pipe_pool_new(struct loop *l, uint32_t max)
{
	struct pipe_pool *p = calloc(1, sizeof(*p));

	if (p != NULL) {
		p->loop = l;
		p->max = max;
	}
	return p;
}

static void pipe_close(struct pipe_pool *p, struct pipe *pipe)
{
	loop_close(p->loop, pipe->read_fd);
	loop_close(p->loop, pipe->write_fd);
	free(pipe);
}

struct pipe_pool *pipe_pool_free(struct pipe_pool *p)
{
	if (p == NULL)
		return NULL;
	LB_ASSERT(p->n_lent == 0);
	while (p->idle != NULL) {
		struct pipe *pipe = p->idle;
		p->idle = pipe->next;
		p->n_idle--;
		pipe_close(p, pipe);
	}
	LB_ASSERT(p->n_idle == 0);
	free(p);
	return NULL;
}

struct pipe *pipe_get(struct pipe_pool *p)
{
	struct pipe *pipe = p->idle;

	LB_ASSERT((pipe != NULL) == (p->n_idle > 0));
	if (pipe != NULL) {
		LB_ASSERT(pipe->n_bytes == 0);
		p->idle = pipe->next;
		p->n_idle--;
		p->n_lent++;
		return pipe;
	}

	if (!pipe_is_available(p))
		return NULL;
	int fds[2];
	pipe = malloc(sizeof(*pipe));
	if (pipe == NULL || loop_pipe(p->loop, fds, PIPE_BYTES) < 0) {
		free(pipe);
		return NULL;
	}
	*pipe = (struct pipe){ .read_fd = fds[0], .write_fd = fds[1] };
	p->n_lent++;
	return pipe;
}

bool pipe_is_available(const struct pipe_pool *p)
{
	return p->idle != NULL || p->n_lent < p->max;
}

void pipe_discard(struct pipe_pool *p, struct pipe *pipe)
{
	LB_ASSERT(p->n_lent > 0);
	p->n_lent--;
	pipe_close(p, pipe);
}

void pipe_put(struct pipe_pool *p, struct pipe *pipe)
{
	LB_ASSERT(pipe->n_bytes == 0);
	if (p->n_idle == MAX_IDLE) {
		pipe_discard(p, pipe);
		return;
	}
	LB_ASSERT(p->n_lent > 0);
	p->n_lent--;
	pipe->next = p->idle;
	p->idle = pipe;
	p->n_idle++;
}
