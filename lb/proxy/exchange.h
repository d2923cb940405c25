/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * An exchange: what a session needs from its first byte until its tunnel stands, or, for a plain
 * request, until the response is over. It joins the client's side to a backend's.
 *
 * Lent by the worker from a slab; a relaying tunnel has none. Thread: owner worker. Layer: proxy.
 */

#include "balance/pool.h"
#include "ev/buf.h"
#include "net/queue.h"
#include "proto/body.h"
#include "proto/http1.h"
#include "proto/upgrade.h"
#include "proxy/end.h"
#include "proxy/snapshot.h"

struct session;

struct exchange {
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
	const char *error;     /* a constant: what lb's own answer said; NULL: there was none */
	enum sess_end failure; /* of the last try: decides the answer when none is left */
	uint64_t asked_ms;     /* by the loop's clock, when the request was out; 0: not yet */
	uint64_t drain_ms;     /* when reading on began, only to drop it (proxy/reply.c) ... */
	uint64_t dropped_ms;   /* ... and when bytes were last dropped */
	bool is_connect_late;  /* the connect in flight was cancelled: it took too long */
	size_t source;         /* the local address in use, and how many were tried */
	size_t n_sources_tried;
};
