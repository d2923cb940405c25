/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection's completions: received bytes go to the protocol of the connection's phase.
 *
 * dispatch_on_completion() finds the connection by the tag. Received bytes go to http_take(),
 * http_take_body() or ws_take() (take()), and a completed send to conn_sent(). Then conn_advance()
 * starts what the connection needs next.
 *
 * This file calls conn.c and the protocols, and none of them calls it: conn.c moves bytes without
 * knowing what they mean, and the protocols queue their answers by conn.c.
 *
 * Thread: the loop's.
 */
#include "backends/echo.h"

#include <errno.h>

#include "util/slab.h"

/* Gives received bytes to the phase that the connection is in. Takes over the reference of `b`. */
static void take(struct conn *c, struct buf *b)
{
	switch ((enum conn_phase)c->phase) {
	case CONN_HEAD: /* bytes behind the head belong to the next phase */
		b = http_take(c, b);
		LB_ASSERT(b == NULL || c->phase != CONN_HEAD);
		if (b != NULL)
			take(c, b);
		break;
	case CONN_BODY:
		loop_timer_start(c->server->loop, &c->timer, CONN_REQUEST_MS);
		http_take_body(c, b);
		break;
	case CONN_TUNNEL:
		loop_timer_stop(c->server->loop, &c->timer);
		ws_take(c, b);
		break;
	case CONN_LINGER: buf_put(c->server->loop->bufs, b); break;
	}
}

static void on_recv(struct conn *c, const struct completion *done)
{
	LB_ASSERT(c->is_receiving);
	c->is_receiving = done->more;
	if (c->is_ended) {
		if (done->buf != NULL)
			buf_put(c->server->loop->bufs, done->buf);
		return;
	}
	if (done->res > 0)
		take(c, done->buf);
	else if (done->res == 0)
		c->saw_eof = true;
	else if (done->res != -ENOBUFS)
		conn_end(c);
}

void dispatch_on_completion(void *arg, const struct completion *done)
{
	struct server *s = arg;
	struct conn *c = slab_find(s->conns, tag_handle(done->tag));

	LB_ASSERT(c != NULL);
	if (tag_kind(done->tag) == CONN_RECV)
		on_recv(c, done);
	else
		conn_sent(c, done);
	conn_advance(c);
	conn_free_if_quiet(c);
}
