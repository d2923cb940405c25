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

/* Takes over `fd`. Returns a parked socket, or NULL when memory is short (`fd` is closed then). */
struct listen_socket *listen_socket_new(struct worker *w, struct listener *l, int fd);

/* Begins to accept, or goes on after a pause or a change of limits. */
void listen_socket_open(struct listen_socket *ls, struct snapshot *snapshot,
			const struct snapshot_listener *pl);

/* Arms an accept if none is in flight and there is a slot; else counts a pause. */
void listen_socket_arm(struct listen_socket *ls);

/*
 * listen_socket_close() - lose nobody, and close
 *
 * New connections are dropped by the kernel from here on. Those whose handshake with the kernel is
 * under way are accepted for a while longer, then what has queued up is taken in, and the socket is
 * closed; it is freed with its last session. Where the worker quits it is closed at once.
 */
void listen_socket_close(struct listen_socket *ls);

/* Makes a session of `fd`, which it takes over, as if it had come in here. A slot is reserved for
 * it. */
void listen_socket_take_in(struct listen_socket *ls, int fd);

/* Completions of class CLASS_LISTEN. `arg` is the worker. */
void listen_socket_on_completion(void *arg, const struct completion *c);

/* While a worker waits for what another one is about to do it tries again after this time, by when
 * the other one should be done; a guess, never tuned. */
#define ACCEPT_MOMENT_MS 1

/* There is no slot: listening sockets rest until there is one. `why` goes to the log. */
void accept_pause(struct worker *w, const char *why);

/* There is, but not at this moment: listening sockets try again in the next. */
void accept_pause_briefly(struct worker *w);

/* A slot came free or a limit was raised: paused listeners try again. */
void accept_resume(struct worker *w);

/* Of worker->retry. `arg` is the worker. */
void accept_on_retry(struct timer *t, void *arg);

/*
 * Receives what was handed off to this worker (the mail_fn of capacity.wakeup; `arg` is the
 * worker). Where the listener has been closed meanwhile, or the worker is quitting, the connection
 * is closed as if it had come a moment later.
 */
void accept_handed_off(struct mail *m, void *arg);
