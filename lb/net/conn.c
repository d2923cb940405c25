/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection's end: its states, and the operations on its socket.
 *
 * A conn's life:
 *
 *   conn_new() -> conn_open(fd) -> operations -> conn_close() -> (conn_open() again) -> conn_free()
 *
 * A conn lies in a slab, and the tag of each of its operations is made of the conn's slab handle
 * and the kind of the operation (tag_of()). A kind can be in flight once: its bit in `in_flight` is
 * set when the operation starts (start()) and cleared by its last completion (conn_find()). A
 * descriptor is closed, and a conn freed, only with no bit set, so that no completion can name a
 * conn that is gone.
 *
 * Each direction has a state of its own: rx for what comes from the peer, tx for what goes to it.
 * Tables say which state may follow which, and conn_set_rx() and conn_set_tx() assert it. A poll
 * that tells of an end while bytes are still unread leads to RX_ENDING. A send that fails with a
 * reset leads to RX_BROKEN. The kernel reports an error once, so the next read ends as if the peer
 * had sent a FIN; RX_BROKEN tells conn_ended() that the end is a reset.
 *
 * The owner of a conn gets its completions, and may change while operations are in flight
 * (conn_set_owner()), because tags name the conn and not the owner.
 *
 * A conn knows nothing of what its bytes mean. Where they are records of TLS, it only keeps the end
 * of TLS (net/tls.h) for its owner, who decrypts what is received and encrypts what is sent.
 *
 * Relies on ev/loop.h for the operations, on util/slab.h for handles, and on net/sock.h for the
 * option that makes a close a reset.
 *
 * Thread: the loop's. Hot: no allocation, no lock.
 */
#include "net/conn.h"

#include <errno.h>

#include "net/sock.h"
#include "util/slab.h"

_Static_assert(CONN_N_OPS <= 8, "in_flight has a bit for each");
_Static_assert(sizeof(struct flow) == 64, "two of them are in every session");
_Static_assert(sizeof(struct conn) == 80, "two of them belong to every session");

/* ---- states ---------------------------------------------------------------------------------- */

#define TO(name) (1u << RX_##name)
#define X(name, next) [RX_##name] = (next),
static const uint8_t rx_next[RX_N] = { CONN_RX(X) };
#undef X
#undef TO

#define TO(name) (1u << TX_##name)
#define X(name, next) [TX_##name] = (next),
static const uint8_t tx_next[TX_N] = { CONN_TX(X) };
#undef X
#undef TO

void conn_set_rx(struct conn *c, enum conn_rx to)
{
	LB_ASSERT(c->rx < RX_N && rx_next[c->rx] & 1u << to);
	c->rx = (uint8_t)(to & 7);
}

void conn_set_tx(struct conn *c, enum conn_tx to)
{
	LB_ASSERT(c->tx < TX_N && tx_next[c->tx] & 1u << to);
	c->tx = (uint8_t)(to & 3);
}

void conn_ended(struct conn *c, int error)
{
	LB_ASSERT(error <= 0);
	if (c->rx >= RX_EOF)
		return;
	conn_set_rx(c, error < 0 || c->rx == RX_BROKEN ? RX_RESET : RX_EOF);
}

/* ---- life ------------------------------------------------------------------------------------ */

int conns_init(struct conns *cs, struct loop *l, unsigned class_id, uint32_t max)
{
	cs->loop = l;
	cs->class_id = class_id;
	cs->slab = slab_new("conn", sizeof(struct conn), max);
	return cs->slab != NULL ? 0 : -ENOMEM;
}

void conns_deinit(struct conns *cs)
{
	cs->slab = slab_free(cs->slab);
}

struct conn *conn_new(struct conns *cs, void *owner, uint8_t role)
{
	struct conn *c = slab_get(cs->slab);

	if (c == NULL)
		return NULL;
	c->fd = -1;
	c->owner = owner;
	c->role = role;
	return c;
}

struct conn *conn_free(struct conns *cs, struct conn *c)
{
	if (c == NULL)
		return NULL;
	LB_ASSERT(c->fd < 0 && c->in_flight == 0);
	LB_ASSERT(queue_is_empty(&c->in.queue) && c->in.pipe == NULL);
	slab_put(cs->slab, c);
	return NULL;
}

void conn_open(struct conn *c, int fd)
{
	LB_ASSERT(c->fd < 0 && fd >= 0 && c->in_flight == 0);
	c->fd = fd;
	c->rx = RX_OPEN;
	c->tx = TX_OPEN;
}

void conn_close(struct conns *cs, struct conn *c)
{
	LB_ASSERT(c->in_flight == 0);
	if (c->fd >= 0)
		loop_close(cs->loop, c->fd);
	c->fd = -1;
}

void conn_reset(struct conns *cs, struct conn *c)
{
	if (c->fd >= 0)
		sock_reset_on_close(cs->loop, c->fd);
	conn_close(cs, c);
}

void conn_set_owner(struct conn *c, void *owner, uint8_t role)
{
	LB_ASSERT(owner != NULL);
	c->owner = owner;
	c->role = role;
}

/* ---- operations ------------------------------------------------------------------------------ */

static op_tag tag_of(const struct conns *cs, const struct conn *c, enum conn_op op)
{
	return tag_make(cs->class_id, op, slab_handle_of(cs->slab, c));
}

/* Marks an operation as started and gives its tag. */
static op_tag start(const struct conns *cs, struct conn *c, enum conn_op op)
{
	LB_ASSERT(c->fd >= 0 && !conn_is_in_flight(c, op));
	c->in_flight |= (uint8_t)(1u << op);
	return tag_of(cs, c, op);
}

struct conn *conn_find(const struct conns *cs, const struct completion *done)
{
	struct conn *c = slab_find(cs->slab, tag_handle(done->tag));
	unsigned op = tag_kind(done->tag);

	/* The conn still exists, because a conn is freed only after the last completions of all its
	 * operations. */
	LB_ASSERT(tag_class(done->tag) == cs->class_id && op < CONN_N_OPS);
	LB_ASSERT(c != NULL && conn_is_in_flight(c, op));
	if (!done->more)
		c->in_flight &= (uint8_t) ~(1u << op);
	return c;
}

void conn_recv(struct conns *cs, struct conn *c, uint32_t cap, enum buf_class size_class)
{
	LB_ASSERT(c->rx < RX_EOF);
	loop_recv(cs->loop, c->fd, cap, size_class, start(cs, c, CONN_RECV));
}

void conn_send(struct conns *cs, struct conn *c, const struct iovec *iov, int n,
	       enum send_mode mode)
{
	LB_ASSERT(c->tx == TX_OPEN);
	loop_send(cs->loop, c->fd, iov, n, mode, start(cs, c, CONN_SEND));
}

void conn_poll(struct conns *cs, struct conn *c, enum conn_op op, uint32_t events)
{
	LB_ASSERT(op == CONN_ERR || op == CONN_READABLE || op == CONN_WRITABLE);
	loop_poll(cs->loop, c->fd, events, start(cs, c, op));
}

void conn_poll_room(struct conns *cs, struct conn *c)
{
	loop_poll_room(cs->loop, c->fd, start(cs, c, CONN_ROOM));
}

void conn_connect(struct conns *cs, struct conn *c, const struct sockaddr *sa, socklen_t len)
{
	LB_ASSERT(c->rx == RX_OPEN && c->tx == TX_OPEN);
	loop_connect(cs->loop, c->fd, sa, len, start(cs, c, CONN_CONNECT));
}

void conn_cancel(struct conns *cs, struct conn *c, enum conn_op op)
{
	if (!conn_is_in_flight(c, op))
		return;
	if (op == CONN_ROOM)
		loop_cancel_room(cs->loop, c->fd, tag_of(cs, c, op));
	else
		loop_cancel(cs->loop, c->fd, tag_of(cs, c, op));
}

void conn_cancel_all(struct conns *cs, struct conn *c)
{
	for (enum conn_op op = 0; op < CONN_N_OPS; op++)
		conn_cancel(cs, c, op);
}

void conn_shutdown(struct conns *cs, struct conn *c)
{
	conn_set_tx(c, TX_SHUT);
	(void)loop_shutdown(cs->loop, c->fd, SHUT_WR);
}
