/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Listeners: the bound address (shared, counted, outlives configurations) and each worker's own
 * listening socket on it. How a worker accepts is in proxy/accept.h.
 *
 * Main makes a struct listener and binds one SO_REUSEPORT socket per worker; each worker takes its
 * socket over SCM_RIGHTS (proxy/message_conf.h, ADOPT), accepts from it, and at the end cancels its
 * accept, takes what the kernel has queued, serves it and closes.
 *
 * Far from its limits a worker accepts with one multishot operation. Near them it waits until there
 * are connections and takes each when it has a slot for it, so that limits are exact, a full table
 * never spins, and no worker holds a slot that another one needs. A full worker takes connections
 * for another one that has a free slot (proxy/handoff.h); with no slot left anywhere it does not
 * accept at all until a session ends.
 *
 * Layer: proxy.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ev/loop.h"
#include "util/list.h"
#include "util/metric.h"
#include "util/ref.h"
#include "util/sockaddr.h"

struct snapshot;
struct snapshot_listener;
struct worker;

/*
 * How long a socket that leaves still accepts. A client whose SYN came just before needs a round
 * trip (and on this machine, while its CPUs are busy, some milliseconds) until it is in the queue;
 * if the socket is closed by then it is reset. A guess, never tuned.
 */
#define LISTEN_LEAVING_MS 100

/* thread: the worker of its index writes, any reads */
struct listener_tally {
	struct counter accepted;
	struct counter rejected; /* answered or closed by lb itself, before a backend was reached */
	struct counter active;   /* a gauge */
} LB_CACHE_ALIGNED;

#define LISTENER_REMOVED UINT32_MAX

/* thread: any; but for the counters, written by main only before workers know of it */
struct listener {
	struct ref refs;
	uint64_t number;            /* unique in this process; names it in transfers */
	struct addr addr;           /* its identity; the real port */
	bool is_any_port;           /* the file says port 0 */
	char *text;                 /* owns: "0.0.0.0:8080" as in the file, with the real port */
	_Atomic(const char *) name; /* the registry counts it (names.h); a reload may rename it */
	uint32_t n_workers;
	/* Its place in the newest snapshot, or LISTENER_REMOVED. Written by main before it posts an
	 * APPLY, read by workers while they carry it out. */
	uint32_t snapshot_index;
	uint32_t *inodes;        /* owns: by which the kernel lists its sockets; one per worker */
	_Atomic uint32_t n_open; /* workers whose socket is LISTEN_OPEN */
	struct listener_tally *tally; /* owns: one per worker */
};

/* Returns one with one reference, or NULL when memory is short. Thread: main. */
struct listener *listener_new(uint64_t number, const struct addr *addr, const char *name,
			      uint32_t n_workers);
struct listener *listener_ref(struct listener *l);
/* NULL is fine. Returns NULL. Thread: any. */
struct listener *listener_unref(struct listener *l);
/* Whether the caller's reference is the only one: no worker has a socket of it. Thread: main. */
bool listener_is_unused(const struct listener *l);

enum listen_state {
	LISTEN_PARKED,  /* taken, not accepting: a reload is being prepared */
	LISTEN_OPEN,    /* accepting, or paused at a limit */
	LISTEN_LEAVING, /* the same, but drops whoever begins to connect */
	LISTEN_CLOSING, /* waits for its accept's last completion, or a slot for what has queued */
	LISTEN_CLOSED,  /* kept for the sessions that came in by it */
};

/* A worker's socket on a listener. thread: owner worker */
struct listen_socket {
	struct list link;                   /* worker->sockets */
	struct worker *worker;              /* borrows */
	struct listener *listener;          /* counted */
	struct snapshot *snapshot;          /* counted, while it is open or closing */
	const struct snapshot_listener *pl; /* borrows from `snapshot` */
	int fd;                             /* -1 once closed */
	enum listen_state state;
	bool is_armed;       /* an accept is in flight */
	bool is_cancelled;   /* ... that was asked to end */
	bool is_polling;     /* ... it is a poll, not an accept */
	uint32_t n_sessions; /* living sessions that came in by it */
	uint64_t spread_ms;  /* when sock_spread_keepalive() was last called */
	struct timer timer;  /* LISTEN_LEAVING: when to stop accepting */
};

/* What the socket's worker counts of the listener. */
struct listener_tally *listen_socket_tally(const struct listen_socket *ls);

/* A session that came in by it has ended. */
void listen_socket_session_ended(struct listen_socket *ls);

/* Frees a socket that is closed and that no session came in by any more. */
void listen_socket_free_if_unused(struct listen_socket *ls);
