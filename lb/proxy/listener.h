/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A listener is a bound address, which all workers share and which outlives configurations. Each
 * worker has its own listening socket on it.
 *
 * Main makes a struct listener and binds one SO_REUSEPORT socket per worker; each worker receives
 * its socket by SCM_RIGHTS (proxy/message_conf.h, ADOPT) and makes a struct listen_socket of it.
 * How a worker accepts, and how the socket is closed, is in proxy/accept.c.
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
 * How long a LEAVING socket still accepts, in ms. A client whose SYN came just before LEAVING needs
 * a round trip until its connection is in the queue, and some ms more while this machine's CPUs are
 * busy. If the socket were closed before that, the kernel would reset the connection. A guess,
 * never tuned.
 */
#define LISTEN_LEAVING_MS 100

/* One worker's counters of a listener. thread: the worker writes, any reads */
struct listener_tally {
	struct counter accepted;
	struct counter rejected; /* connections that ended before a backend was reached */
	struct counter active;   /* gauge: sessions */
} LB_CACHE_ALIGNED;

#define LISTENER_REMOVED UINT32_MAX

/* Main alone writes the members, before workers know the listener. After that only the atomics, the
 * counters and snapshot_index change. thread: any */
struct listener {
	struct ref refs;
	uint64_t number;  /* unique in this process; sent along with each socket that is passed */
	struct addr addr; /* the listener's identity; with the real port */
	bool is_any_port; /* the configuration says port 0: the kernel chose the port */
	char *text;       /* owns: "0.0.0.0:8080" as in the file, with the real port */
	_Atomic(const char *) name; /* counted by the registry (names.h); a reload may change it */
	uint32_t n_workers;
	/* The listener's index in the newest snapshot, or LISTENER_REMOVED. Main writes the index
	 * before it posts an APPLY; a worker reads it during the APPLY. */
	uint32_t snapshot_index;
	uint32_t *inodes; /* owns: one per worker: the inode by which the kernel lists its socket */
	_Atomic uint32_t n_open;      /* workers whose socket is LISTEN_OPEN */
	struct listener_tally *tally; /* owns: one per worker */
};

/* Returns a listener with one reference, or NULL when memory is short. `name` is borrowed. Thread:
 * main. */
struct listener *listener_new(uint64_t number, const struct addr *addr, const char *name,
			      uint32_t n_workers);
struct listener *listener_ref(struct listener *l);
/* Gives a reference back; the last one frees the listener. NULL is fine. Returns NULL. Thread: any.
 */
struct listener *listener_unref(struct listener *l);
/* Whether the caller's reference is the only one: no worker has a socket of it. Thread: main. */
bool listener_is_unused(const struct listener *l);

enum listen_state {
	/* Received from main, and not accepting yet, because a reload is being prepared. */
	LISTEN_PARKED,
	LISTEN_OPEN,    /* accepting, or paused at a limit */
	LISTEN_LEAVING, /* still accepting, but the kernel drops new connection attempts */
	/* Not accepting: waits for its accept's last completion, or for slots for the connections
	 * in the kernel's queue. */
	LISTEN_CLOSING,
	LISTEN_CLOSED, /* no descriptor: kept for the sessions that it has accepted */
};

/* A worker's socket on a listener. thread: owner worker */
struct listen_socket {
	struct list link;                   /* in worker->listen */
	struct worker *worker;              /* borrows */
	struct listener *listener;          /* counted */
	struct snapshot *snapshot;          /* counted; NULL while PARKED, and when CLOSED */
	const struct snapshot_listener *pl; /* borrows from `snapshot` */
	int fd;                             /* -1: closed */
	enum listen_state state;
	bool is_armed;       /* an accept, or a poll for connections, is in flight */
	bool is_cancelled;   /* the accept or poll in flight was cancelled */
	bool is_polling;     /* a poll is in flight, not an accept */
	uint32_t n_sessions; /* sessions that the socket has accepted and that are not freed yet */
	/* When sock_spread_keepalive() was last called, by the loop's clock. */
	uint64_t spread_ms;
	struct timer timer; /* in LISTEN_LEAVING: fires when the socket is to stop accepting */
};

/* Returns the counters of the socket's listener that belong to the socket's worker. */
struct listener_tally *listen_socket_tally(const struct listen_socket *ls);

/* Counts the end of a session that the socket has accepted. May free `ls`. */
void listen_socket_session_ended(struct listen_socket *ls);

/* Frees a socket that is CLOSED and whose last session has ended. Otherwise does nothing. */
void listen_socket_free_if_unused(struct listen_socket *ls);
