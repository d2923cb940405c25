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

/* Makes a PARKED socket of the descriptor `fd`, which it takes over. When memory is short, closes
 * `fd` and returns NULL. */
struct listen_socket *listen_socket_new(struct worker *w, struct listener *l, int fd);

/* Lets a PARKED or OPEN socket accept. Its new connections follow `snapshot`, which the socket
 * counts; `pl` is the socket's listener in `snapshot`. */
void listen_socket_open(struct listen_socket *ls, struct snapshot *snapshot,
			const struct snapshot_listener *pl);

/* When the socket is to accept, starts an accept or a poll for connections, unless one is in
 * flight. When the socket is CLOSING and neither is in flight, accepts the connections in the
 * kernel's queue and closes the socket (which may free it). */
void listen_socket_arm(struct listen_socket *ls);

/*
 * listen_socket_close() - close without losing a connection
 *
 * From here on the kernel drops new connection attempts. For proxy->leaving_ms the worker still
 * accepts connections whose handshake with the kernel is under way. Then it accepts the connections
 * in the kernel's queue, and the descriptor is closed. The record is freed when its last session
 * has ended. When the worker quits, the descriptor is closed at once. May be called again in any
 * state.
 */
void listen_socket_close(struct listen_socket *ls);

/* Makes a session of the connection `fd`, which it takes over, as if the socket had accepted the
 * connection. The caller must have reserved a slot for the session, and the worker must not be
 * quitting. */
void listen_socket_take_in(struct listen_socket *ls, int fd);

/* Handles the completions of class CLASS_LISTEN. `arg` is the worker. */
void listen_socket_on_completion(void *arg, const struct completion *c);

/* How long, in ms, a worker waits for something that another worker is about to do. A guess, never
 * tuned. */
#define ACCEPT_MOMENT_MS 1

/* Lets no listening socket accept until a slot may be free again. `why` goes to the log, once a
 * minute at most. */
void accept_pause(struct worker *w, const char *why);

/* Lets no listening socket accept for ACCEPT_MOMENT_MS. By then other workers will have received
 * sockets that are on their way. */
void accept_pause_briefly(struct worker *w);

/* Ends a pause: all listening sockets try again, because a slot is free or a limit was raised. */
void accept_resume(struct worker *w);

/* The function of worker->retry: ends a pause. `arg` is the worker. */
void accept_on_retry(struct timer *t, void *arg);

/*
 * accept_handed_off() - receive the connections that were handed off to this worker
 *
 * The mail_fn of capacity.wakeup; `arg` is the worker. When the worker has no socket on a
 * connection's listener any more, or the worker quits, the connection is closed.
 */
void accept_handed_off(struct mail *m, void *arg);
