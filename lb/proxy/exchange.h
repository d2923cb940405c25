/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * An exchange: one request, and what is needed until its response is over, or its tunnel stands.
 *
 *   HEAD --> WAIT <--> PICK --> CONNECT --> SEND --> AWAIT --> BODY --> DONE
 *              ^                   |          |                 ^
 *              +----(retry)--------+          +-----------------+     (each may go to DONE at once)
 *
 * In mode tcp there is no request; an exchange joins the client to a backend all the same, and goes
 * from CONNECT to DONE. After a 101 it is DONE, too, and the session's state is TUNNEL.
 *
 * Lent by the worker from a slab; a tunnel has none. Thread: owner worker. Layer: proxy.
 */

#include "balance/pool.h"
#include "ev/buf.h"
#include "net/queue.h"
#include "proto/body.h"
#include "proto/http1.h"
#include "proto/upgrade.h"
#include "proxy/outcome.h"
#include "proxy/snapshot.h"
#include "util/list.h"

struct session;

/* clang-format off */
#define EXCHANGE_STATES(X)   /* may be followed by */ \
	X(HEAD,    "head",    TO(WAIT) | TO(DONE))              /* the request's head is read */ \
	X(WAIT,    "wait",    TO(PICK) | TO(DONE))              /* waits for its turn at a backend's slot */ \
	X(PICK,    "pick",    TO(WAIT) | TO(CONNECT) | TO(DONE)) /* a member with a free slot is looked for */ \
	X(CONNECT, "connect", TO(WAIT) | TO(SEND) | TO(DONE))   /* a connect is under way */ \
	X(SEND,    "send",    TO(AWAIT) | TO(BODY) | TO(DONE))  /* the request goes to the backend */ \
	X(AWAIT,   "await",   TO(BODY) | TO(DONE))              /* all of it went; no response yet */ \
	X(BODY,    "body",    TO(DONE))                         /* the response's body passes */ \
	X(DONE,    "done",    0)                                /* over; `outcome` says how */
/* clang-format on */

#define X(name, word, next) EXCHANGE_##name,
enum exchange_state { EXCHANGE_STATES(X) EXCHANGE_N_STATES };
#undef X

struct exchange {
	struct session *session; /* borrows: it owns the exchange */
	uint8_t state;           /* enum exchange_state; written by exchange_set_state() only */
	uint8_t outcome;         /* enum outcome: the first cause (exchange_set_outcome()) */
	struct list link;        /* worker->waiting, in WAIT and PICK */

	struct snapshot *snapshot;          /* counted */
	const struct snapshot_listener *pl; /* borrows from the snapshot */
	const struct conf_pool
		*conf;       /* borrows from the snapshot; NULL before the route is known */
	struct buf *head[2]; /* counted: the request's and the response's bytes so far */
	struct queue held;   /* the client's bytes that wait for the tunnel */
	struct http1_head req, resp;
	struct upgrade upgrade;
	bool has_body_first; /* the request of an upgrade has a body, and the tunnel follows that */
	struct body body[2]; /* by the side that sends it */
	bool is_cut_off;     /* the response ends in the middle: a reset tells the client */
	struct pick pick;    /* the key, and the backends tried */
	uint32_t n_tries;
	const char *error;    /* a constant: what lb's own answer said; NULL: there was none */
	enum outcome failure; /* of the last try: the outcome when no backend is left to try */
	uint64_t awaited_ms;  /* in AWAIT: since when no byte has moved, by the loop's clock */
	uint64_t closing_ms;  /* when CLOSING began (proxy/closing.c) ... */
	uint64_t dropped_ms;  /* ... and when bytes were last dropped in it */
	bool is_connect_late; /* the connect in flight was cancelled: it took too long */
	size_t source;        /* the local address in use, and how many were tried */
	size_t n_sources_tried;
};

/* The state's word, as `request_state` has it. Constant. */
const char *exchange_state_word(const struct exchange *x);

/*
 * exchange_set_state() - move to `to`
 *
 * The only writer of the state. Asserts that the table allows it. Stops the session's timer, but
 * between WAIT and PICK, which share a time-out. Puts the exchange at the end of worker->waiting
 * when it comes to WAIT from another state than PICK, and takes it off when it leaves both. An
 * exchange that becomes DONE has an outcome.
 */
void exchange_set_state(struct exchange *x, enum exchange_state to);

/* Notes how the request ended, or is going to end, unless that is known. */
void exchange_set_outcome(struct exchange *x, enum outcome o);

/* DONE, if it is not yet: where no outcome is known, by the reason why the session ends. */
void exchange_end(struct exchange *x);
