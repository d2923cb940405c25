/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection's bytes: receiving, queueing and sending, and its end. What the bytes mean is the
 * business of the protocols; dispatch.c gives the bytes to them.
 *
 * Terms. The queue, `out`, holds the bytes to be sent. A connection is quiet when it has no
 * operation in flight. To linger is to send what is queued, then a FIN, and to drop what still
 * comes.
 *
 * conn_start() makes a connection of an accepted socket and arms a receive. After each completion
 * dispatch.c calls conn_advance(), which starts what is due: a send of the queue (send_queued()),
 * the FIN of a connection that lingers, and a receive (receive()). conn_write() and conn_pass()
 * queue bytes; conn_sent() drops those that the kernel has taken.
 *
 * Bounds. A receive is armed when at most QUEUE_MAX / 2 bytes are queued, and it takes at most as
 * many bytes as are missing to QUEUE_MAX. Answers to commands may be longer than the commands, so a
 * connection with more than REPLY_MAX bytes queued is ended.
 *
 * The end. conn_end() cancels the operations in flight. When the last one has completed,
 * conn_free_if_quiet() puts the connection into a list, and conn_bury() frees it at the end of the
 * turn. So no function frees a connection that its caller still works on.
 *
 * Relies on net/queue.h for the queue. Thread: the loop's.
 */
#include "backends/echo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/sock.h"
#include "util/slab.h"

/* Received bytes fill the queue up to this number of bytes. A guess, never tuned. */
#define QUEUE_MAX (256u << 10)
/*
 * With more bytes in the queue the connection is ended. The queue may exceed QUEUE_MAX, because
 * answers to commands are longer than the commands.
 */
#define REPLY_MAX (1u << 20)
/* When more bytes of a frame's payload are still to come, they are received into large buffers. */
#define BULK_MIN (32u << 10)
#define LINGER_MS 2000u

static op_tag tag_of(const struct conn *c, enum conn_kind kind)
{
	return tag_make(ECHO_CLASS_CONN, kind, slab_handle_of(c->server->conns, c));
}

static bool is_quiet(const struct conn *c)
{
	return !c->is_receiving && !c->is_sending;
}

static void on_timer(struct timer *t, void *arg)
{
	(void)arg;
	conn_end(container_of(t, struct conn, timer));
}

/* ---- in and out ------------------------------------------------------------------------------ */

static void receive(struct conn *c)
{
	uint32_t cap = QUEUE_MAX - c->out.bytes;
	enum buf_class size_class = BUF_SMALL;

	if (c->is_receiving || c->saw_eof || c->out.bytes > QUEUE_MAX / 2)
		return;
	/*
	 * While a head is coming, its bytes and those of the next receive fit into one large buffer
	 * (collect() in http.c).
	 */
	LB_ASSERT(c->head_buf == NULL || c->head_buf->len < BUF_LARGE_BYTES);
	if (c->phase == CONN_HEAD)
		cap = BUF_LARGE_BYTES - (c->head_buf == NULL ? 0 : c->head_buf->len);
	if (c->phase == CONN_TUNNEL && c->ws.is_in_payload && c->ws.frame.len - c->ws.at > BULK_MIN)
		size_class = BUF_LARGE;
	c->is_receiving = true;
	loop_recv(c->server->loop, c->fd, cap, size_class, tag_of(c, CONN_RECV));
}

static void send_queued(struct conn *c)
{
	struct iovec iov[LOOP_IOV_MAX];

	if (c->is_sending || queue_is_empty(&c->out))
		return;
	c->is_sending = true;
	int n = queue_iov(&c->out, iov);
	/*
	 * To wait for room costs io_uring a poll, so a send waits only when the send before it has
	 * found no room.
	 */
	loop_send(c->server->loop, c->fd, iov, n, c->must_wait ? SEND_WAIT : SEND_TRY,
		  tag_of(c, CONN_SEND));
}

void conn_advance(struct conn *c)
{
	if (c->is_ended)
		return;
	if (c->out.bytes > REPLY_MAX) {
		conn_end(c);
		return;
	}
	if (c->saw_eof)
		conn_linger(c);
	send_queued(c);
	if (c->phase == CONN_LINGER && !c->is_sending) {
		if (c->saw_eof) {
			conn_end(c);
			return;
		}
		if (!c->is_shut)
			(void)loop_shutdown(c->server->loop, c->fd, SHUT_WR);
		c->is_shut = true;
	}
	receive(c);
}

void conn_write(struct conn *c, const void *p, size_t n)
{
	struct buf_pool *pool = c->server->loop->bufs;
	const char *from = p;

	while (n > 0 && !c->is_ended) {
		uint32_t part = n < BUF_SMALL_BYTES ? (uint32_t)n : BUF_SMALL_BYTES;
		struct buf *b = NULL;

		if (buf_reserve(pool, BUF_SMALL, 1) == 0)
			b = buf_get(pool, BUF_SMALL);
		if (b == NULL) {
			conn_end(c);
			return;
		}
		memcpy(b->data, from, part);
		b->off = 0;
		b->len = part;
		queue_push(&c->out, pool, b);
		from += part;
		n -= part;
	}
}

void conn_pass(struct conn *c, struct buf *b)
{
	queue_push(&c->out, c->server->loop->bufs, b);
}

/* ---- life ------------------------------------------------------------------------------------ */

void conn_start(struct server *s, int fd)
{
	struct conn *c = NULL;

	if (slab_reserve(s->conns, 1) == 0)
		c = slab_get(s->conns);
	if (c == NULL) {
		loop_close(s->loop, fd);
		return;
	}
	c->server = s;
	c->fd = fd;
	list_init(&c->link);
	timer_init(&c->timer, on_timer);
	loop_timer_start(s->loop, &c->timer, CONN_REQUEST_MS);
	receive(c);
}

void conn_linger(struct conn *c)
{
	if (c->phase == CONN_LINGER)
		return;
	c->phase = CONN_LINGER;
	loop_timer_start(c->server->loop, &c->timer, LINGER_MS);
}

void conn_free_if_quiet(struct conn *c)
{
	if (c->is_ended && is_quiet(c) && !list_is_linked(&c->link))
		list_add_tail(&c->server->dead, &c->link);
}

void conn_end(struct conn *c)
{
	struct loop *l = c->server->loop;

	if (c->is_ended)
		return;
	c->is_ended = true;
	loop_timer_stop(l, &c->timer);
	if (c->is_receiving)
		loop_cancel(l, c->fd, tag_of(c, CONN_RECV));
	if (c->is_sending)
		loop_cancel(l, c->fd, tag_of(c, CONN_SEND));
	conn_free_if_quiet(c);
}

void conn_bury(void *arg)
{
	struct server *s = arg;

	list_for_each(it, &s->dead)
	{
		struct conn *c = list_entry(it, struct conn, link);

		LB_ASSERT(c->is_ended && is_quiet(c));
		list_del(&c->link);
		queue_clear(&c->out, s->loop->bufs);
		if (c->head_buf != NULL)
			buf_put(s->loop->bufs, c->head_buf);
		free(c->head_text);
		loop_close(s->loop, c->fd);
		slab_put(s->conns, c);
	}
}

void conn_sent(struct conn *c, const struct completion *done)
{
	bool is_refused = done->res == -EAGAIN && !c->must_wait;

	LB_ASSERT(c->is_sending);
	c->is_sending = false;
	c->must_wait = is_refused;
	if (done->res >= 0)
		queue_consume(&c->out, c->server->loop->bufs, (uint32_t)done->res);
	else if (!is_refused)
		conn_end(c);
}
