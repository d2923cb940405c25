/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Dispatch: the functions of a session's code that the worker and its listening sockets call.
 *
 * Thread: owner worker. Hot. Layer: proxy.
 */

#include "ev/loop.h"
#include "proxy/session.h"

/* Makes a session of the accepted connection `fd`, which it takes over. When memory is short,
 * closes `fd` and returns NULL. */
struct session *dispatch_new(struct worker *w, struct listen_socket *from, int fd);

/* Handles the completions of class CLASS_CONN. `arg` is the worker. */
void dispatch_on_completion(void *arg, const struct completion *c);

/* Sends the session's bytes that were queued in this turn. The worker calls it at the turn's end.
 */
void dispatch_flush(struct session *s);

/* Frees a DEAD session on which no operation is in flight. The worker calls it at the turn's end.
 */
void dispatch_free(struct session *s);

/* The function of worker->shake_timer: takes the next steps of TLS handshakes. `arg` is the worker.
 */
void dispatch_on_shake_timer(struct timer *t, void *arg);

/* The function of worker->wait_timer: lets the requests that wait for a slot try again. `arg` is
 * the worker. */
void dispatch_on_wait_timer(struct timer *t, void *arg);
