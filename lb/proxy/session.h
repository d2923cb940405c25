/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A session: one client's connection, from its accept until it is freed, on one worker.
 *
 *                 (mode tcp)
 *            +-----------------+
 *            |                 v
 *         PREAMBLE --> IDLE --> BUSY --> TUNNEL
 *                       |        |         |
 *                       +--------+---------+--> CLOSING --> DEAD      (each may go to DEAD at once)
 *
 * While a session is BUSY, its request has states of its own (proxy/exchange.h). A session that
 * leaves BUSY ends its request.
 *
 * A session has two ends, conn[CLIENT] and conn[BACKEND] (net/conn.h). The backend's end has no
 * socket before a connect begins, and between two tries. Each end has the flow of the bytes that
 * come from it. `enum side` names an end, `enum dir` a direction:
 *
 *   client --recv--> conn[CLIENT].in   --send--> backend      TO_BACKEND
 *   client <--send-- conn[BACKEND].in  <--recv-- backend      TO_CLIENT
 *
 * What a session needs only until its tunnel stands (heads, tries, the snapshot) is in an exchange,
 * lent by the worker and given back when the tunnel begins.
 *
 * The tags of operations name the conn, and the conn its session. A session is freed by its worker
 * when it is DEAD, nothing is in flight on its ends and the turn is over.
 *
 * Thread: owner worker. Layer: proxy.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ev/loop.h"
#include "net/conn.h"
#include "proxy/end.h"
#include "util/list.h"
#include "util/sockaddr.h"

struct backend;
struct exchange;
struct pool;
struct listen_socket;
struct worker;

enum side { CLIENT, BACKEND, N_SIDES };

static inline enum side side_other(enum side s)
{
	return s == CLIENT ? BACKEND : CLIENT;
}

/* The directions of bytes. Each has the number of the side that the bytes come from. */
enum dir { TO_BACKEND = CLIENT, TO_CLIENT = BACKEND };

static inline enum side dir_source(enum dir d)
{
	return d == TO_BACKEND ? CLIENT : BACKEND;
}

static inline enum side dir_destination(enum dir d)
{
	return d == TO_BACKEND ? BACKEND : CLIENT;
}

static inline enum dir dir_from(enum side s)
{
	return s == CLIENT ? TO_BACKEND : TO_CLIENT;
}

static inline enum dir dir_to(enum side s)
{
	return s == CLIENT ? TO_CLIENT : TO_BACKEND;
}

/* clang-format off */
#define SESS_STATES(X)        /* may be followed by */ \
	X(PREAMBLE, "preamble", TO(IDLE) | TO(BUSY) | TO(CLOSING) | TO(DEAD)) /* accepted; nothing was read */ \
	X(IDLE,     "idle",     TO(BUSY) | TO(CLOSING) | TO(DEAD))   /* no byte of a request has come */ \
	X(BUSY,     "busy",     TO(TUNNEL) | TO(CLOSING) | TO(DEAD)) /* a request is under way */ \
	X(TUNNEL,   "tunnel",   TO(CLOSING) | TO(DEAD))              /* bytes flow both ways, as they are */ \
	X(CLOSING,  "closing",  TO(DEAD))   /* the last bytes are delivered before the close */ \
	X(DEAD,     "dead",     0)          /* freed when nothing is in flight and the turn is over */
/* clang-format on */

#define X(name, word, next) SESS_##name,
enum sess_state { SESS_STATES(X) SESS_N_STATES };
#undef X

/* What may pass in a flow, and what is looked at in its bytes (flow.kind). */
enum flow_kind {
	FLOW_RAW,  /* all bytes pass, and none is looked at */
	FLOW_WS,   /* all bytes pass; WebSocket frames are counted */
	FLOW_BODY, /* exactly the body of a request or a response passes (exchange.body) */
	FLOW_HOLD, /* bytes are received and kept until the handshake is over */
	FLOW_DONE, /* the body has passed: nothing more does */
};

/*
 * An idle connection costs these 176 bytes and its two ends of 80 bytes each:
 *
 *      0           8         24                         64
 *      +-----------+---------+--------------------------+
 *    0 | state,    | ends    | worker, dirty, backend,  |  what every completion looks at
 *      | flags     |         | pool, exchange           |
 *      +-----------+---------+----+------------+--------+
 *   64 | active | timer           | link       | from   |  touched when a byte moves, or a timer is
 *      +--------+-----------------+------------+--------+  due
 *  128 | names, ids, times, the client's address        |  at its birth, its end, and for `conns`
 *      +------------------------------------------------+
 */
struct session {
	/* read at every completion */
	uint8_t state;   /* enum sess_state; written by session_set_state() only */
	uint8_t end;     /* enum sess_end: the first cause (session_set_end_reason()) */
	uint16_t status; /* the HTTP status the client got; 0: none */
	bool is_http : 1;
	bool is_dirty : 1;     /* in the worker's list */
	bool must_reset : 1;   /* both ends are reset, not closed, when the session is freed */
	uint8_t is_cut : 2;    /* 1u << side: a stream to that side is cut short, so it is reset */
	bool has_slot : 1;     /* a slot of the backend's capacity is held, and to be given back */
	uint32_t dropped : 17; /* bytes read and dropped in CLOSING, to LINGER_BYTES + 1 */
	struct conn *conn[N_SIDES]; /* owns */
	struct worker *worker;      /* borrows */
	struct session *next_dirty;
	struct backend *backend; /* counted */
	struct pool *pool;       /* counted; read for the live settings */
	struct exchange *x;      /* owns; NULL once the tunnel stands */

	uint64_t active_ms; /* when a byte was last seen to move, by the loop's clock */
	struct timer timer; /* the state's time-out */
	struct list link;   /* worker->dead, when DEAD and nothing is in flight */

	/* cold: figures and names */
	struct listen_socket *from; /* borrows: counts its sessions, outlives them */
	const char *route;          /* counted (proxy/names.h); NULL: none */
	uint64_t id;                /* unique across workers */
	uint64_t start_ns;          /* by the loop's clock */
	uint32_t handshake_ms;      /* until the tunnel stood or the response head had come */
	struct addr client;
};

_Static_assert(offsetof(struct session, conn) == 8, "as drawn");
_Static_assert(offsetof(struct session, active_ms) == 64, "as drawn");
_Static_assert(offsetof(struct session, from) == 120, "as drawn");
_Static_assert(sizeof(struct session) == 176, "as drawn");

static inline struct flow *session_flow(const struct session *s, enum dir d)
{
	return &s->conn[dir_source(d)]->in;
}

/* Whether an operation is in flight on one of the ends. */
static inline bool session_is_in_flight(const struct session *s)
{
	return (s->conn[CLIENT]->in_flight | s->conn[BACKEND]->in_flight) != 0;
}

/* The state's word ("busy"), as `conn_state` has it. Constant. */
const char *session_state_word(const struct session *s);

/* The word of the session's and its request's state together ("upgrade"), as `state` has it. */
const char *session_phase_word(const struct session *s);

/*
 * session_set_state() - move to `to`
 *
 * The only writer of the state, after the birth. Asserts that the table allows it. Stops the old
 * state's timer, but for IDLE to BUSY, which share the time-out of a request's head. Ends the
 * request of a session that leaves BUSY, or that never came so far. Puts a session that is DEAD
 * and has nothing in flight on worker->dead (session_reap() does it for the others).
 */
void session_set_state(struct session *s, enum sess_state to);

/* Puts a DEAD session on worker->dead, once nothing is in flight on its ends. */
void session_reap(struct session *s);

/* Whether bytes flow both ways: a tunnel, or a response's body. */
bool session_is_relaying(const struct session *s);

/* Whether the request goes to the backend, or its response is awaited (SEND, AWAIT). */
bool session_awaits_response(const struct session *s);

/* Whether the session's end has begun: no step of a handshake or a relay is done any more. */
static inline bool session_is_over(const struct session *s)
{
	return s->state >= SESS_CLOSING;
}

/*
 * session_set_end_reason() - note why the session ends, unless a reason is known
 *
 * When the reason so far is that one side of a tunnel has closed its direction, a cause that cuts
 * the other direction short replaces it.
 */
void session_set_end_reason(struct session *s, enum sess_end why);

/* Notes and counts the status of the response head that the client gets. */
void session_set_status(struct session *s, unsigned status);

/* DEAD: cancels all operations; both ends are closed when the last of them has completed. */
void session_close_now(struct session *s, enum sess_end why);

/* Closes an end, on which nothing is in flight, by a FIN or a reset. */
void session_close(struct session *s, enum side side);

/* Closes the backend's end, on which nothing is in flight, and gives the backend's slot back. */
void session_close_backend(struct session *s);

/* Starts the state's timer; UINT32_MAX (off) stops it. */
void session_timeout(struct session *s, uint64_t in_ms);

/* Has bytes of the direction `d` sent at the end of the turn (dispatch_flush()). */
void session_mark_dirty(struct session *s, enum dir d);
