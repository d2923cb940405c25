/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * An exchange: one request, and what is needed until its response is over, or its tunnel stands.
 *
 *   HEAD --> WAIT <--> PICK --> CONNECT --> SEND --> AWAIT --> BODY --> DONE
 *              ^                   |          |                 ^
 *              +----(retry)--------+          +-----------------+     (each may go to DONE at once)
 *
 * In mode tcp there is no request, but an exchange leads the client to a backend all the same; it
 * goes from CONNECT to DONE. After a 101 the exchange is DONE, too, and the session's state is
 * TUNNEL.
 *
 * The worker lends exchanges from a slab. A session whose tunnel stands has no exchange. Thread:
 * owner worker. Layer: proxy.
 */

#include "balance/pool.h"
#include "ev/buf.h"
#include "net/queue.h"
#include "proto/body.h"
#include "proto/http1.h"
#include "proto/proxy_header.h"
#include "proto/upgrade.h"
#include "proxy/outcome.h"
#include "proxy/snapshot.h"
#include "util/list.h"

struct session;

/* clang-format off */
#define EXCHANGE_STATES(X)   /* state, its word, the states that may follow */ \
	X(HEAD,    "head",    TO(WAIT) | TO(DONE))              /* the request's head is read */ \
	X(WAIT,    "wait",    TO(PICK) | TO(DONE))              /* waits in the queue for a slot at a backend */ \
	X(PICK,    "pick",    TO(WAIT) | TO(CONNECT) | TO(DONE)) /* picks a member with a free slot */ \
	X(CONNECT, "connect", TO(WAIT) | TO(SEND) | TO(DONE))   /* a connect to the backend is in flight */ \
	X(SEND,    "send",    TO(AWAIT) | TO(BODY) | TO(DONE))  /* the request is sent to the backend */ \
	X(AWAIT,   "await",   TO(BODY) | TO(DONE))              /* the request is sent; the response's head is awaited */ \
	X(BODY,    "body",    TO(DONE))                         /* the response's body is relayed */ \
	X(DONE,    "done",    0)                                /* the request is over; `outcome` says how */
/* clang-format on */

#define X(name, word, next) EXCHANGE_##name,
enum exchange_state { EXCHANGE_STATES(X) EXCHANGE_N_STATES };
#undef X

struct exchange {
	struct session *session; /* borrows: the session owns the exchange */
	uint8_t state;           /* enum exchange_state; written by exchange_set_state() only */
	uint8_t outcome;  /* enum outcome: the first one that was noted (exchange_set_outcome()) */
	struct list link; /* in worker->waiting while in WAIT or PICK */

	struct snapshot *snapshot;          /* counted */
	const struct snapshot_listener *pl; /* borrows from the snapshot */
	/* Borrows from the snapshot; NULL before the route is known. */
	const struct conf_pool *conf;
	/* Counted, by the side that sends it: the bytes of the request's and of the response's head
	 * that have come so far. In PREAMBLE that of the client has the bytes of a PROXY header. */
	struct buf *head[2];
	/* The PROXY header of the client's connection. Without one, its addresses have family 0. */
	struct proxy_header proxy;
	bool awaits_proxy; /* the header is not whole yet: proxy/preamble.c reads it */
	struct queue held; /* the client's early bytes, kept until the tunnel stands */
	struct http1_head req, resp;
	struct upgrade upgrade;
	/* The request for an upgrade has a body. The tunnel's bytes come after the body. */
	bool has_body_first;
	struct body body[2]; /* by the side that sends the body */
	/* The response ends before its body is whole, so the client is to be reset. */
	bool is_cut_off;
	struct pick pick; /* the key to hash, and the backends that were tried */
	uint32_t n_tries;
	/* A constant: the text of lb's own answer; NULL: lb has given no answer. */
	const char *error;
	/* How the last try failed. It is the outcome when no backend is left to try. */
	enum outcome failure;
	/* Times of the loop's clock. */
	uint64_t awaited_ms;  /* the begin of AWAIT, or the backend's last acknowledgement in it */
	uint64_t closing_ms;  /* when CLOSING began (proxy/closing.c) */
	uint64_t dropped_ms;  /* when bytes were last dropped in CLOSING */
	bool is_connect_late; /* the connect took too long and was cancelled */
	size_t source;        /* counts up: modulo their number, the source address to try next */
	size_t n_sources_tried; /* source addresses that were tried at this backend */
};

/* The word for the state of `x`, which `conns` shows as `request_state`. Constant. */
const char *exchange_state_word(const struct exchange *x);

/*
 * exchange_set_state() - move to `to`
 *
 * The only writer of the state. Asserts that the table allows the change. Stops the session's
 * timer, except between WAIT and PICK, which share one time-out. Puts the exchange at the end of
 * worker->waiting when it enters WAIT from a state other than PICK, and takes it off when it leaves
 * both WAIT and PICK. The outcome must be noted before the change to DONE.
 */
void exchange_set_state(struct exchange *x, enum exchange_state to);

/* Notes how the request has ended, or is going to end. Does nothing when an outcome is noted
 * already. */
void exchange_set_outcome(struct exchange *x, enum outcome o);

/* Moves the exchange to DONE, unless it is DONE already. When no outcome is noted, notes the one
 * that follows from the session's end reason. */
void exchange_end(struct exchange *x);
