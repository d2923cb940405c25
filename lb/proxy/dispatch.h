/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Dispatch: what the worker and its listening sockets call of a session's code.
 *
 * Thread: owner worker. Hot. Layer: proxy.
 */

#include "ev/loop.h"
#include "proxy/session.h"

/* Makes a session of `fd`, a connection just accepted, which it takes over. When memory is short,
 * it closes `fd` and returns NULL. */
struct session *dispatch_new(struct worker *w, struct listen_socket *from, int fd);

/* Completions of class CLASS_CONN. `arg` is the worker. */
void dispatch_on_completion(void *arg, const struct completion *c);

/* Sends the bytes that were queued in this turn. The worker calls it at the turn's end. */
void dispatch_flush(struct session *s);

/* Frees a session that is DEAD, with nothing in flight. The worker calls it at the turn's end. */
void dispatch_free(struct session *s);

/* Of worker->wait_timer: the requests that wait for a slot try again. `arg` is the worker. */
void dispatch_on_wait_timer(struct timer *t, void *arg);
