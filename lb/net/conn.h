/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A connection's end: one stream socket, what is in flight on it, and how far each direction has
 * got.
 *
 * A struct conn knows nothing of sessions. Its owner starts operations on it and gets their
 * completions: the tag of an operation names the conn by its slab handle, never the owner, so that
 * an operation that is in flight stays valid while the owner changes (a backend's connection that
 * goes to a pool, or is taken from one, keeps its armed receive).
 *
 *   peer --recv--> conn.in --the other conn's send--> the other peer
 *
 * rx and tx say what the socket has done, and nothing else: whether a message or a session is over
 * is known by the owner.
 *
 * Thread: the loop's. Hot. Layer: net.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ev/loop.h"
#include "net/pipe.h"
#include "net/queue.h"
#include "proto/ws_frame.h"

struct slab;
struct tls;

/* What may be in flight on a conn: the kind in the tags, a bit in the mask. */
enum conn_op {
	CONN_RECV,
	CONN_SEND,
	CONN_ERR,      /* a poll for errors, while nothing is received */
	CONN_READABLE, /* a poll: a spliced source can be read */
	CONN_WRITABLE, /* a poll: the destination of a pipe can be written */
	CONN_ROOM,     /* the same, where the peer has sent its FIN (loop_poll_room()) */
	CONN_CONNECT,
	CONN_N_OPS
};

/* clang-format off */
#define CONN_RX(X)    /* may be followed by */ \
	X(OPEN,   TO(ENDING) | TO(BROKEN) | TO(EOF) | TO(RESET)) /* bytes may come */ \
	X(ENDING, TO(BROKEN) | TO(EOF) | TO(RESET)) /* a poll told of an end: reading will find which */ \
	X(BROKEN, TO(RESET))  /* a send found a reset; what came before it may still be read */ \
	X(EOF,    0)          /* the peer's FIN was read */ \
	X(RESET,  0)          /* the peer's reset, or a time-out, was read */

#define CONN_TX(X) \
	X(OPEN,   TO(SHUT) | TO(CLOSED)) /* bytes may be sent */ \
	X(SHUT,   TO(CLOSED))            /* our FIN is out */ \
	X(CLOSED, 0)                     /* the peer takes no more; what comes for it is dropped */
/* clang-format on */

#define X(name, next) RX_##name,
enum conn_rx { CONN_RX(X) RX_N };
#undef X
#define X(name, next) TX_##name,
enum conn_tx { CONN_TX(X) TX_N };
#undef X

/* One direction, from the conn that it is in to another one: kept by the owner. */
struct flow {
	struct queue queue; /* what waits to be sent, the part in flight included */
	struct ws_track ws; /* where frames are counted */
	/* Lent, one at a time: while bytes are spliced the pipe, which knows what is in it; where
	 * is_tls, the TLS state of the conn. NULL: neither, as in every plain idle conn. */
	union {
		struct pipe *pipe;
		struct tls *tls;
	};
	uint64_t n_sent;    /* bytes the destination's kernel took */
	uint32_t n_acked;   /* what its kernel had acknowledged when that was last looked at */
	uint8_t kind;       /* what may pass; the owner's */
	uint8_t n_full;     /* full buffers in a row, and the way back: proves bulk */
	bool is_bulk : 1;   /* receives into large buffers, may queue more */
	bool is_dirty : 1;  /* something to send at the end of the turn */
	bool is_piped : 1;  /* what came last went through a pipe: a payload's rest does, too */
	bool must_wait : 1; /* a send found no room: the next one waits for some */
	/* The bytes on the wire are records. False so far; conn_recv(), conn_send() and
	 * conn_shutdown() have the branch, and what is TLS is never spliced. */
	bool is_tls : 1;
};

/* Bytes between the source and the destination that are in the kernel's hands. */
static inline uint32_t flow_bytes_in_pipe(const struct flow *f)
{
	return f->pipe != NULL && !f->is_tls ? f->pipe->n_bytes : 0;
}

struct conn {
	int fd;            /* -1: closed */
	uint8_t in_flight; /* 1u << enum conn_op */
	uint8_t rx : 3;    /* enum conn_rx; written by conn_set_rx() only */
	uint8_t tx : 2;    /* enum conn_tx; written by conn_set_tx() only */
	uint8_t role;      /* the owner's: which of its conns this is */
	void *owner;       /* borrows; its completions go there */
	struct flow in;    /* what came from here */
};

/* The conns of a loop. */
struct conns {
	struct loop *loop; /* borrows */
	struct slab *slab; /* owns */
	unsigned class_id; /* of the tags */
};

/* At most `max` conns, whose operations have tags of `class_id`. Returns 0 or -ENOMEM. */
int conns_init(struct conns *cs, struct loop *l, unsigned class_id, uint32_t max) LB_MUST_CHECK;

/* No conn may be left. A zeroed struct is fine. */
void conns_deinit(struct conns *cs);

/* A closed conn that belongs to `owner`, or NULL when memory is short (slab_reserve() on cs->slab).
 */
struct conn *conn_new(struct conns *cs, void *owner, uint8_t role);

/* The conn is closed, its queue is empty, and no operation is in flight. NULL is fine. Returns
 * NULL. */
struct conn *conn_free(struct conns *cs, struct conn *c);

/* Takes over `fd`: a connected socket, or one that is about to connect. Both directions are open.
 */
void conn_open(struct conn *c, int fd);

/* Closes the conn's descriptor, or closes it by a reset. No operation may be in flight; rx and tx
 * stay as they are. A closed conn is fine. */
void conn_close(struct conns *cs, struct conn *c);
void conn_reset(struct conns *cs, struct conn *c);

static inline bool conn_is_open(const struct conn *c)
{
	return c->fd >= 0;
}

/* Gives the conn to another owner; operations in flight go on, and complete to the new owner. */
void conn_set_owner(struct conn *c, void *owner, uint8_t role);

/*
 * conn_ended() - a read has found the end
 *
 * A FIN (error 0) or a negative errno. Where a send has found a reset before, the end is no FIN.
 * The end that is found first counts: a receive and a splice may both find one.
 */
void conn_ended(struct conn *c, int error);

/* The only writers of rx and tx: each asserts that the table allows the move. */
void conn_set_rx(struct conn *c, enum conn_rx to);
void conn_set_tx(struct conn *c, enum conn_tx to);

/* ---- operations ------------------------------------------------------------------------------ */

static inline bool conn_is_in_flight(const struct conn *c, enum conn_op op)
{
	return c->in_flight & 1u << op;
}

/*
 * conn_find() - the conn that a completion is for
 *
 * The operation was in flight; with the last completion it is no more. What op it is: tag_kind().
 */
struct conn *conn_find(const struct conns *cs, const struct completion *c);

/* loop_recv(), loop_send(), loop_poll(), loop_poll_room() and loop_connect() on the conn's socket;
 * the operation must not be in flight yet. conn_poll() is for CONN_ERR, CONN_READABLE and
 * CONN_WRITABLE. */
void conn_recv(struct conns *cs, struct conn *c, uint32_t cap, enum buf_class size_class);
void conn_send(struct conns *cs, struct conn *c, const struct iovec *iov, int n,
	       enum send_mode mode);
void conn_poll(struct conns *cs, struct conn *c, enum conn_op op, uint32_t events);
void conn_poll_room(struct conns *cs, struct conn *c);
void conn_connect(struct conns *cs, struct conn *c, const struct sockaddr *sa, socklen_t len);

/* Asks an operation to end, if it is in flight; or all of them. */
void conn_cancel(struct conns *cs, struct conn *c, enum conn_op op);
void conn_cancel_all(struct conns *cs, struct conn *c);

/* Sends our FIN behind what was sent: TX_SHUT. */
void conn_shutdown(struct conns *cs, struct conn *c);
