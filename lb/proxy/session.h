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
 * A session has two ends, conn[CLIENT] and conn[BACKEND] (net/conn.h); the backend's is closed
 * before a connect begins, and again between two tries. Each end has the flow of what came from it.
 * A side is one of the two ends; a direction is one of the two ways:
 *
 *   client --recv--> conn[CLIENT].in   --send--> backend      TO_BACKEND
 *   client <--send-- conn[BACKEND].in  <--recv-- backend      TO_CLIENT
 *
 * What a session needs only until its tunnel stands (heads, tries, the snapshot) is in an exchange,
 * lent by the worker and given back when the relay begins.
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

/* The ways that bytes go. Each has the number of the side that it comes from. */
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

/* What may pass in a flow, and what is looked at in its bytes (flow.kind). */
enum flow_kind {
	FLOW_RAW,  /* everything, unseen */
	FLOW_WS,   /* everything; WebSocket frame headers are counted */
	FLOW_BODY, /* a message: exactly its body passes (the exchange has the state) */
	FLOW_HOLD, /* bytes are received and wait: the handshake is not over */
	FLOW_DONE, /* a message was here and is over: nothing more passes */
};

/*
 * With its two ends of 80 bytes each all that an idle connection costs, 176 bytes:
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
	/* what every completion looks at */
	uint8_t state;   /* enum sess_state; written by session_set_state() only */
	uint8_t end;     /* enum sess_end: the first cause (session_blame()) */
	uint16_t status; /* the HTTP status the client got; 0: none */
	bool is_http : 1;
	bool is_tunnel : 1;    /* relaying after an upgrade, or in tcp mode */
	bool is_dirty : 1;     /* in the worker's list */
	bool must_reset : 1;   /* the sides are reset, not closed, when it is freed */
	uint8_t is_cut : 2;    /* 1u << side: what was under way to it is cut short: a reset */
	bool is_refused : 1;   /* lb itself answered */
	bool has_place : 1;    /* the backend's place is held: to be given back */
	uint32_t drained : 17; /* bytes read and dropped after lb's answer, to LINGER_BYTES + 1 */
	struct conn *conn[N_SIDES]; /* owns */
	struct worker *worker;      /* borrows */
	struct session *next_dirty;
	struct backend *backend; /* counted */
	struct pool *pool;       /* counted; read for the live settings */
	struct exchange *x;      /* owns, until the tunnel stands */

	uint64_t active_ms; /* when a byte was last seen to move, by the loop's clock */
	struct timer timer; /* the state's time-out */
	struct list link;   /* worker->dead, or ->picking (in PICK) */

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

/* Closes an end, on which nothing is in flight, by a FIN or a reset. */
void session_close(struct session *s, enum side side);

/* Closes the backend's side, on which nothing is in flight, and gives the backend's place back. */
void session_close_backend(struct session *s);

/* Starts the state's timer; UINT32_MAX (off) stops it. */
void session_timeout(struct session *s, uint64_t in_ms);

/* Puts it on the worker's list of sessions with something to send at the end of the turn. */
void session_mark_dirty(struct session *s, enum dir d);
