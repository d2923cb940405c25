/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Accepting: what a worker does with its listening sockets (struct listen_socket, listener.h).
 *
 * Thread: owner worker. Layer: proxy.
 */

#include "ev/loop.h"

struct listen_socket;
struct listener;
struct mail;
struct snapshot;
struct snapshot_listener;
struct worker;

/* Makes a PARKED socket of `fd`, which it takes over. NULL when memory is short: `fd` is closed
 * then. */
struct listen_socket *listen_socket_new(struct worker *w, struct listener *l, int fd);

/* Lets a PARKED or OPEN socket accept, and its new connections follow `snapshot` (counted), whose
 * listener is `pl`. */
void listen_socket_open(struct listen_socket *ls, struct snapshot *snapshot,
			const struct snapshot_listener *pl);

/* Starts an accept, or a poll for connections, if the socket is to accept and none is in flight. Of
 * a CLOSING socket on which nothing is in flight it serves the queue and closes it (and may free
 * it). */
void listen_socket_arm(struct listen_socket *ls);

/*
 * listen_socket_close() - close without losing a connection
 *
 * From here on the kernel drops new connection attempts. Connections whose handshake with the
 * kernel is under way are accepted for proxy->leaving_ms, then what has queued in the kernel is
 * accepted, and the descriptor is closed; the record is freed with its last session. When the
 * worker quits the descriptor is closed at once. May be called again in any state.
 */
void listen_socket_close(struct listen_socket *ls);

/* Makes a session of `fd`, which it takes over, as if the socket had accepted it. The caller has
 * reserved a slot for it, and the worker does not quit. */
void listen_socket_take_in(struct listen_socket *ls, int fd);

/* Completions of class CLASS_LISTEN. `arg` is the worker. */
void listen_socket_on_completion(void *arg, const struct completion *c);

/* How long a worker waits that needs something which another worker is about to do. A guess, never
 * tuned. */
#define ACCEPT_MOMENT_MS 1

/* Lets the listening sockets rest until a slot may be free again. `why` goes to the log, once a
 * minute at most. */
void accept_pause(struct worker *w, const char *why);

/* Lets the listening sockets rest for ACCEPT_MOMENT_MS, after which a slot will be free. */
void accept_pause_briefly(struct worker *w);

/* Ends a pause: all listening sockets try again, because a slot is free or a limit was raised. */
void accept_resume(struct worker *w);

/* The function of worker->retry; `arg` is the worker. */
void accept_on_retry(struct timer *t, void *arg);

/*
 * accept_handed_off() - receive the connections that were handed off to this worker
 *
 * The mail_fn of capacity.wakeup; `arg` is the worker. When the listener has been closed meanwhile,
 * or the worker quits, the connection is closed as if it had come a moment later.
 */
void accept_handed_off(struct mail *m, void *arg);
