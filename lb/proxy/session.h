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
 * What a session needs only until its tunnel stands (heads, tries, the snapshot) is in an exchange.
 * The worker lends the exchange, and gets it back when the tunnel begins.
 *
 * The tag of an operation names the conn, and the conn its session. The worker frees a session when
 * it is DEAD, no operation is in flight on its ends, and the turn is over.
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
struct tls_note;
struct listen_socket;
struct worker;

enum side { CLIENT, BACKEND, N_SIDES };

static inline enum side side_other(enum side s)
{
	return s == CLIENT ? BACKEND : CLIENT;
}

/* The directions of bytes. The value of a direction is that of the side from which its bytes come.
 */
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
#define SESS_STATES(X)        /* state, its word, the states that may follow */ \
	X(PREAMBLE, "preamble", TO(IDLE) | TO(BUSY) | TO(CLOSING) | TO(DEAD)) /* the connection is accepted; what comes before its first request was not read to the end */ \
	X(IDLE,     "idle",     TO(BUSY) | TO(CLOSING) | TO(DEAD))   /* no byte of a request has come */ \
	X(BUSY,     "busy",     TO(TUNNEL) | TO(CLOSING) | TO(DEAD)) /* a request is under way */ \
	X(TUNNEL,   "tunnel",   TO(CLOSING) | TO(DEAD))              /* bytes pass in both directions, unchanged */ \
	X(CLOSING,  "closing",  TO(DEAD))   /* lb delivers the last bytes, then closes */ \
	X(DEAD,     "dead",     0)          /* the session is freed when no operation is in flight and the turn is over */
/* clang-format on */

#define X(name, word, next) SESS_##name,
enum sess_state { SESS_STATES(X) SESS_N_STATES };
#undef X

/* What may pass in a flow, and what is looked at in its bytes (flow.kind). */
enum flow_kind {
	FLOW_RAW,  /* all bytes pass, and lb looks at none */
	FLOW_WS,   /* all bytes pass; WebSocket frames are counted */
	FLOW_BODY, /* exactly the body of a request or a response passes (exchange.body) */
	FLOW_HOLD, /* bytes are received, and kept until the handshake is over */
	FLOW_DONE, /* the body has passed, and no further byte passes */
};

/*
 * An idle connection costs a struct session of 184 bytes and its two ends of 80 bytes each:
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
	uint8_t end;     /* enum sess_end; written by session_set_end_reason() only */
	uint16_t status; /* the HTTP status that the client got; 0: none */
	bool is_http : 1;
	bool is_dirty : 1;     /* is in the list worker->dirty */
	bool must_reset : 1;   /* both ends are reset, not closed, when the session is freed */
	uint8_t is_cut : 2;    /* 1u << side: the stream to that side is cut short by a reset */
	bool is_shaking : 1;   /* the session is counted in worker->n_shaking */
	bool has_slot : 1;     /* the session holds a slot at its backend, to be given back */
	uint32_t dropped : 17; /* bytes dropped in CLOSING; LINGER_BYTES + 1 stands for more */
	struct conn *conn[N_SIDES]; /* owns */
	struct worker *worker;      /* borrows */
	struct session *next_dirty;
	struct backend *backend; /* counted */
	struct pool *pool;       /* counted; read for the live settings */
	struct exchange *x;      /* owns; NULL once the tunnel stands */

	uint64_t active_ms; /* when lb last saw a byte move, by the loop's clock */
	struct timer timer; /* fires at the time-out of the state */
	/* In PREAMBLE in one of worker->shaking, hellos and awaiting; in worker->dead while DEAD
	 * with no operation in flight. */
	struct list link;

	/* cold: figures and names */
	struct listen_socket *from; /* borrows: a listening socket outlives its sessions */
	const char *route;          /* counted (proxy/names.h); NULL: no route has matched */
	uint64_t id;                /* unique among the sessions of all workers */
	uint64_t start_ns;          /* when the connection was accepted, by the loop's clock */
	struct tls_note *tls;       /* owns; NULL: the client has completed no TLS handshake */
	uint32_t handshake_ms;      /* from the accept to the tunnel, or to the response's head */
	struct addr client;
};

_Static_assert(offsetof(struct session, conn) == 8, "as drawn");
_Static_assert(offsetof(struct session, active_ms) == 64, "as drawn");
_Static_assert(offsetof(struct session, from) == 120, "as drawn");
_Static_assert(sizeof(struct session) == 184, "as drawn");

static inline struct flow *session_flow(const struct session *s, enum dir d)
{
	return &s->conn[dir_source(d)]->in;
}

/* Whether an operation is in flight on one of the session's ends. */
static inline bool session_is_in_flight(const struct session *s)
{
	return (s->conn[CLIENT]->in_flight | s->conn[BACKEND]->in_flight) != 0;
}

/* The word for the session's state ("busy"), which `conns` shows as `conn_state`. Constant. */
const char *session_state_word(const struct session *s);

/* One word for the states of the session and its request ("upgrade"), which `conns` shows as
 * `state`. Constant. */
const char *session_phase_word(const struct session *s);

/*
 * session_set_state() - move to `to`
 *
 * The only writer of the state of a session that was made. Asserts that the table allows the
 * change. Stops the timer of the old state, except from IDLE to BUSY, which share the time-out of a
 * request's head. When the session leaves BUSY, or ends before it was BUSY, its request ends, too
 * (exchange_end()). When the session leaves
 * PREAMBLE, it is taken off the worker's lists of handshakes. When it becomes DEAD and no operation
 * is in flight on its ends, it is put on worker->dead; otherwise session_reap() does that later.
 */
void session_set_state(struct session *s, enum sess_state to);

/* Puts a DEAD session on worker->dead, if no operation is in flight on its ends. */
void session_reap(struct session *s);

/* Whether the session relays bytes: those of a tunnel, or of a response's body. */
bool session_is_relaying(const struct session *s);

/* Whether the request is sent to the backend, or its response is awaited (SEND, AWAIT). */
bool session_awaits_response(const struct session *s);

/* Whether the session is CLOSING or DEAD: no step of a handshake or a relay is done any more. */
static inline bool session_is_over(const struct session *s)
{
	return s->state >= SESS_CLOSING;
}

/*
 * session_set_end_reason() - note why the session ends, unless a reason is noted already
 *
 * When the noted reason is that one side of a tunnel has closed its direction, a cause that cuts
 * the other direction short replaces that reason.
 */
void session_set_end_reason(struct session *s, enum sess_end why);

/* Notes and counts the status of the response head that the client gets. */
void session_set_status(struct session *s, unsigned status);

/* Moves the session to DEAD for the reason `why`, and cancels all operations. Both ends are closed
 * when the last operation has completed. */
void session_close_now(struct session *s, enum sess_end why);

/* Closes the end on `side`, by a FIN or a reset. No operation may be in flight on the end. */
void session_close(struct session *s, enum side side);

/* Closes the backend's end, and gives the slot at the backend back. No operation may be in flight
 * on the end. */
void session_close_backend(struct session *s);

/* Starts the session's timer, to fire in `in_ms` ms. UINT32_MAX (off) stops the timer. */
void session_timeout(struct session *s, uint64_t in_ms);

/* Lets dispatch_flush() send the bytes of the direction `d` at the end of the turn. */
void session_mark_dirty(struct session *s, enum dir d);
