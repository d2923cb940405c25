/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A connection's end: one stream socket, the operations in flight on it, and the state of each
 * direction.
 *
 * A struct conn knows nothing of sessions. Its owner starts operations on it and gets their
 * completions: the tag of an operation names the conn by its slab handle, never the owner, so that
 * an operation stays valid when the owner changes while the operation is in flight (a backend's
 * connection that goes to a pool, or is taken from one, keeps its armed receive).
 *
 *   peer --recv--> conn.in --the other conn's send--> the other peer
 *
 * rx and tx say what the socket has done, and nothing else. Only the owner knows whether a message
 * or a session is over.
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

/* The operations of a conn. A value is the kind in the operation's tag, and the number of its bit
 * in conn.in_flight. */
enum conn_op {
	CONN_RECV,
	CONN_SEND,
	CONN_ERR,      /* a poll for errors, while nothing is received */
	CONN_READABLE, /* a poll: the source of a splice can be read */
	CONN_WRITABLE, /* a poll: the destination of a splice can be written */
	CONN_ROOM,     /* a wait for room after the peer's FIN (loop_poll_room()) */
	CONN_CONNECT,
	CONN_N_OPS
};

/* clang-format off */
#define CONN_RX(X)    /* a state, and the states that may follow it */ \
	X(OPEN,   TO(ENDING) | TO(BROKEN) | TO(EOF) | TO(RESET)) /* the peer may send bytes */ \
	X(ENDING, TO(BROKEN) | TO(EOF) | TO(RESET)) /* a poll has reported an end: a read tells which */ \
	X(BROKEN, TO(RESET))  /* a send found a reset; earlier bytes may still be read */ \
	X(EOF,    0)          /* the peer's FIN was read */ \
	X(RESET,  0)          /* the peer's reset, or a time-out, was read */

#define CONN_TX(X) \
	X(OPEN,   TO(SHUT) | TO(CLOSED)) /* lb may send bytes */ \
	X(SHUT,   TO(CLOSED))            /* lb has sent its FIN */ \
	X(CLOSED, 0)                     /* the peer takes no more bytes; bytes for it are dropped */
/* clang-format on */

#define X(name, next) RX_##name,
enum conn_rx { CONN_RX(X) RX_N };
#undef X
#define X(name, next) TX_##name,
enum conn_tx { CONN_TX(X) TX_N };
#undef X

/* One direction of bytes, from the conn whose `in` this is (the source) to another conn (the
 * destination). The owner of the conn keeps the struct up to date. */
struct flow {
	struct queue queue; /* bytes that wait to be sent, with those of a send in flight */
	struct ws_track ws; /* the place in a WebSocket's frames, when they are counted */
	/* Both are lent: `pipe` while bytes are spliced, `tls` (the TLS state of the conn) when
	 * is_tls. NULL: neither, as in every idle conn without TLS. */
	union {
		struct pipe *pipe;
		struct tls *tls;
	};
	uint64_t n_sent;    /* bytes that the destination's socket has taken */
	uint32_t n_acked;   /* tcp_taken.bytes of the destination, as last read */
	uint8_t kind;       /* which bytes may pass: values of the owner's */
	uint8_t n_full;     /* receives in a row that tell that is_bulk should change */
	bool is_bulk : 1;   /* receives into large buffers, and may queue more bytes */
	bool is_dirty : 1;  /* bytes are to be sent at the end of the turn */
	bool is_piped : 1;  /* the last bytes went through a pipe: a short rest may, too */
	bool must_wait : 1; /* a send found no room, so the next send waits for room */
	bool is_tls : 1;    /* the conn carries TLS records, in both directions; never spliced */
};

/* The pipe that the flow holds while its bytes are spliced, or NULL. */
static inline struct pipe *flow_pipe(const struct flow *f)
{
	return f->is_tls ? NULL : f->pipe;
}

/* The bytes that have left the source and are in the flow's pipe, on their way to the
 * destination. */
static inline uint32_t flow_bytes_in_pipe(const struct flow *f)
{
	const struct pipe *p = flow_pipe(f);

	return p != NULL ? p->n_bytes : 0;
}

struct conn {
	int fd;            /* -1: the conn is closed */
	uint8_t in_flight; /* a bit 1u << enum conn_op for each operation */
	uint8_t rx : 3;    /* enum conn_rx; written by conn_set_rx() only */
	uint8_t tx : 2;    /* enum conn_tx; written by conn_set_tx() only */
	uint8_t role;      /* the owner's number for this conn */
	void *owner;       /* borrows; completions of this conn go to the owner */
	struct flow in;    /* the direction whose source is this conn */
};

/* The TLS end of a conn, or NULL where its bytes are plain. */
static inline struct tls *conn_tls(const struct conn *c)
{
	return c->in.is_tls ? c->in.tls : NULL;
}

/* The conns of a loop. */
struct conns {
	struct loop *loop; /* borrows */
	struct slab *slab; /* owns */
	unsigned class_id; /* the class of the operations' tags */
};

/* Prepares for at most `max` conns, whose operations have tags of `class_id`. Returns 0 or
 * -ENOMEM. */
int conns_init(struct conns *cs, struct loop *l, unsigned class_id, uint32_t max) LB_MUST_CHECK;

/* Frees the slab of conns. Each conn must be freed before. A zeroed struct is fine. */
void conns_deinit(struct conns *cs);

/* A closed conn that belongs to `owner`. NULL when cs->slab has no free object (slab_reserve()). */
struct conn *conn_new(struct conns *cs, void *owner, uint8_t role);

/* Frees a conn that is closed, has an empty queue, and has no operation in flight. NULL is fine.
 * Returns NULL. */
struct conn *conn_free(struct conns *cs, struct conn *c);

/* Gives the conn the descriptor `fd`: a connected socket, or one that is about to connect. Both
 * directions are open. */
void conn_open(struct conn *c, int fd);

/* Closes the conn's descriptor; conn_reset() also makes the kernel reset the connection. No
 * operation may be in flight. rx and tx stay as they are. A conn that is closed already is fine. */
void conn_close(struct conns *cs, struct conn *c);
void conn_reset(struct conns *cs, struct conn *c);

static inline bool conn_is_open(const struct conn *c)
{
	return c->fd >= 0;
}

/* Gives the conn to another owner. Operations in flight go on; their completions go to the new
 * owner. */
void conn_set_owner(struct conn *c, void *owner, uint8_t role);

/*
 * conn_ended() - set rx when a read has found the end
 *
 * `error` is 0 when the read has found a FIN, else a negative errno: rx becomes RX_EOF or RX_RESET.
 * When rx is RX_BROKEN, the end is a reset in either case. When rx tells of an end already,
 * conn_ended() changes nothing, because a receive and a splice may both find the end.
 */
void conn_ended(struct conn *c, int error);

/* conn_set_rx() and conn_set_tx() change rx and tx, which no other function does. Both assert that
 * the tables above allow the change. */
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
 * Asserts that the operation was in flight, and marks it as ended when the completion is its last
 * one. tag_kind() of the tag tells which operation it was.
 */
struct conn *conn_find(const struct conns *cs, const struct completion *c);

/* Start loop_recv(), loop_send(), loop_poll(), loop_poll_room() and loop_connect() on the conn's
 * socket. The same operation must not be in flight already. conn_poll() is for CONN_ERR,
 * CONN_READABLE and CONN_WRITABLE. */
void conn_recv(struct conns *cs, struct conn *c, uint32_t cap, enum buf_class size_class);
void conn_send(struct conns *cs, struct conn *c, const struct iovec *iov, int n,
	       enum send_mode mode);
void conn_poll(struct conns *cs, struct conn *c, enum conn_op op, uint32_t events);
void conn_poll_room(struct conns *cs, struct conn *c);
void conn_connect(struct conns *cs, struct conn *c, const struct sockaddr *sa, socklen_t len);

/* conn_cancel() asks the operation `op` to end when it is in flight. conn_cancel_all() asks every
 * operation of the conn that is in flight. */
void conn_cancel(struct conns *cs, struct conn *c, enum conn_op op);
void conn_cancel_all(struct conns *cs, struct conn *c);

/* Sends lb's FIN behind the bytes that were sent, and sets tx to TX_SHUT. */
void conn_shutdown(struct conns *cs, struct conn *c);
