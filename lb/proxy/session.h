/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A session: one client's connection, from accept to burial, on one worker.
 *
 *            HELLO ----> PICK ----> CONNECT ----> UPGRADE ----> RELAY ----> DEAD
 *              |          ^  |         |  |          |            |          ^
 *              |          +--|---------+  +--(tcp)---|----------> |          |
 *              +-------------+---> DRAIN <-----------+------------+----------+
 *
 * Two flows carry the bytes, each named by its source: flow[CLIENT] from the client to the backend,
 * flow[BACKEND] the other way. What a session needs only until its tunnel stands (heads, tries, the
 * plan) is in an exchange, lent by the worker and given back when the relay begins.
 *
 *   client --recv--> flow[CLIENT].queue  --send--> backend
 *   client <--send-- flow[BACKEND].queue <--recv-- backend
 *
 * Every operation in flight has its bit in `in_flight`; a session is buried by its worker when it
 * is DEAD, the mask is empty and the turn is over. An operation's tag names the session by its slab
 * handle, so that nothing can reach a session after its end.
 *
 * Thread: owner worker. Layer: proxy.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ev/loop.h"
#include "net/queue.h"
#include "proto/ws_frame.h"
#include "proxy/end.h"
#include "util/list.h"
#include "util/sockaddr.h"

struct backend;
struct exchange;
struct pipe;
struct pool;
struct listen_socket;
struct worker;

enum side { CLIENT, BACKEND, N_SIDES };

static inline enum side side_other(enum side s)
{
	return s == CLIENT ? BACKEND : CLIENT;
}

/* clang-format off */
#define SESS_STATES(X)      /* may be followed by */ \
	X(HELLO,   "hello",   TO(PICK) | TO(DRAIN) | TO(DEAD))    /* reading the request head */ \
	X(PICK,    "pick",    TO(CONNECT) | TO(DRAIN) | TO(DEAD)) /* choosing a backend */ \
	X(CONNECT, "connect", TO(PICK) | TO(UPGRADE) | TO(RELAY) | TO(DRAIN) | TO(DEAD)) /* connect under way */ \
	X(UPGRADE, "upgrade", TO(RELAY) | TO(DRAIN) | TO(DEAD))   /* head sent, answer awaited */ \
	X(RELAY,   "relay",   TO(DRAIN) | TO(DEAD))               /* bytes flow both ways */ \
	X(DRAIN,   "drain",   TO(DEAD))                           /* the last words are on their way */ \
	X(DEAD,    "dead",    0)                                  /* buried when nothing is in flight */
/* clang-format on */

#define X(name, word, next) SESS_##name,
enum sess_state { SESS_STATES(X) SESS_N_STATES };
#undef X

/* The kinds of the operations a session has in flight: the kind in their tags, a bit in the mask.
 */
enum sess_op {
	OP_RECV_CLIENT,
	OP_RECV_BACKEND,
	OP_SEND_BACKEND, /* of flow[CLIENT]: named for its source plus 2 */
	OP_SEND_CLIENT,
	OP_ERR_CLIENT, /* poll for errors on a side that is not being read */
	OP_ERR_BACKEND,
	OP_FILL_CLIENT, /* poll until a spliced source can be read */
	OP_FILL_BACKEND,
	OP_SPILL_BACKEND, /* poll until the destination of a pipe can be written */
	OP_SPILL_CLIENT,
	OP_ROOM_BACKEND, /* the same, where the destination has sent its FIN */
	OP_ROOM_CLIENT,
	OP_CONNECT,
	SESS_N_OPS
};

/* What is looked at in the bytes of a flow. */
enum flow_kind {
	FLOW_RAW,  /* nothing */
	FLOW_WS,   /* WebSocket frame headers are counted */
	FLOW_BODY, /* a message: exactly its body passes (the exchange has the state) */
	FLOW_HOLD, /* bytes are received and wait: the handshake is not over */
};

/* One direction, from its source to the other side. 72 bytes. */
struct flow {
	struct queue queue;  /* what waits to be sent, the part in flight included */
	struct ws_track ws;  /* FLOW_WS */
	struct pipe *pipe;   /* lent by the worker while bytes are spliced */
	uint64_t n_sent;     /* bytes the destination's kernel took */
	uint32_t n_in_pipe;  /* bytes in the pipe */
	uint8_t kind;        /* enum flow_kind */
	uint8_t n_full;      /* full buffers in a row, and the way back: proves bulk */
	bool is_bulk : 1;    /* receives into large buffers, may queue more */
	bool is_eof : 1;     /* the source has ended; no more is read */
	bool is_reset : 1;   /* ... by a reset (or a time-out): pass it on */
	bool is_shut : 1;    /* the end was passed on to the destination */
	bool is_dead : 1;    /* the destination takes no more; what comes is dropped */
	bool keeps_open : 1; /* the end of this flow is not passed on (a plain request) */
	bool is_sick : 1;    /* a poll told of the source's end or error: reading will find it */
	bool is_broken : 1;  /* a send found that the source has reset: its end is no FIN */
	bool is_dirty : 1;   /* something to send at the end of the turn */
	bool is_piped : 1;   /* what came last went through a pipe: a payload's rest does, too */
	bool must_wait : 1;  /* a send found no room: the next one waits for some */
};

/*
 * All that an idle connection costs, five cache lines (the slab lays them on such):
 *
 *      0               32                  56  64
 *      +---------------+-------------------+---+
 *    0 | state, fds,   | backend, pool,    | > |  what every completion looks at
 *      | worker, dirty | exchange          |   |
 *      +---------------+---+---------------+---+
 *   64 | flow[CLIENT] ...                      |  the way there ...
 *      +-------------------------+-------------+
 *  128 | flow[BACKEND] ...                     |  ... and back, read and written in turns
 *      +---+---------------------+--------+----+
 *  192 | > | timer               | active |  > |  touched when a timer is due, or a byte moves
 *      +---+---------------------+--------+----+
 *  256 | names, ids, times, the client's address |  at its birth, its end, and for `conns`
 *      +---------------------------------------+
 */
struct session {
	/* the first cache line: what every completion looks at */
	uint8_t state;      /* enum sess_state; written by session_set_state() only */
	uint8_t end;        /* enum sess_end: the first cause (session_blame()) */
	uint16_t status;    /* the HTTP status the client got; 0: none */
	uint16_t in_flight; /* 1u << enum sess_op */
	bool is_http : 1;
	bool is_tunnel : 1;  /* relaying after an upgrade, or in tcp mode */
	bool is_dirty : 1;   /* in the worker's list */
	bool must_reset : 1; /* the sides are reset, not closed, at the burial */
	uint8_t is_cut : 2;  /* 1u << side: what was under way to it is cut short, so it is reset */
	bool is_refused : 1; /* lb itself answered */
	bool has_place : 1;  /* the backend's place is held: to be given back */
	int fd[N_SIDES];     /* -1: none */
	struct worker *worker; /* borrows */
	struct session *next_dirty;
	struct backend *backend; /* counted */
	struct pool *pool;       /* counted; read for the live settings */
	struct exchange *x;      /* owns, until the tunnel stands */
	struct flow flow[N_SIDES];
	struct timer timer; /* the state's time-out */
	uint64_t active_ms; /* when a byte was last seen to move, by the loop's clock */

	/* cold: figures and names */
	struct list link;           /* worker->dead, or ->picking (in PICK) */
	struct listen_socket *from; /* borrows: counts its sessions, outlives them */
	const char *route;          /* counted (proxy/names.h); NULL: none */
	uint64_t id;                /* unique across workers */
	uint64_t start_ns;          /* by the loop's clock */
	uint32_t handshake_ms;      /* until the tunnel stood or the response head had come */
	uint32_t drain_bytes;       /* read and dropped after lb's answer */
	struct addr client;
	uint32_t taken; /* bytes that both peers had acknowledged (quiet_expired()) */
};

_Static_assert(offsetof(struct session, flow) == 56, "as drawn");
_Static_assert(offsetof(struct session, flow[BACKEND]) == 128, "as drawn");
_Static_assert(offsetof(struct session, timer) == 200, "as drawn");
_Static_assert(offsetof(struct session, from) == 256, "as drawn");
_Static_assert(sizeof(struct session) == 320, "as drawn; five cache lines");

const char *session_state_name(const struct session *s);

/* Moves to `to`; asserts that the table allows it, and stops the old state's timer. */
void session_set_state(struct session *s, enum sess_state to);

/*
 * Remembers why it ends, unless a reason is known already. That a side of a tunnel has closed its
 * direction gives way to what cuts the other one short.
 */
void session_blame(struct session *s, enum sess_end why);

/* The client gets a response head with this status. */
void session_set_status(struct session *s, unsigned status);

/* Closes both sides as soon as nothing is in flight. */
void session_kill(struct session *s, enum sess_end why);

op_tag session_tag(const struct session *s, enum sess_op op);

static inline bool session_is_in_flight(const struct session *s, enum sess_op op)
{
	return s->in_flight & 1u << op;
}

/* Marks an operation as started and gives its tag. */
op_tag session_start_op(struct session *s, enum sess_op op);

/* Asks an operation to end, if it is in flight; or all of a side. */
void session_cancel_op(struct session *s, enum sess_op op);
void session_cancel_side(struct session *s, enum side side);

/* Whether an operation is in flight on a side's descriptor. */
bool session_is_side_in_flight(const struct session *s, enum side side);

/* Closes the backend's side, on which nothing is in flight, and gives the backend's place back. */
void session_close_backend(struct session *s);

/* Starts the state's timer; UINT32_MAX (off) stops it. */
void session_timeout(struct session *s, uint64_t in_ms);

/* Puts it on the worker's list of sessions with something to send at the end of the turn. */
void session_mark_dirty(struct session *s, enum side from);
