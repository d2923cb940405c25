/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Hand-off: a full worker accepts a connection for another worker, so that lb is full only when all
 * its workers are.
 *
 *     full worker                              the worker with most free slots
 *       1 reserves a slot there ---------------> capacity.n_used
 *       2 accepts
 *       3 sends the socket ---- hand-off socket -> 5 receives one, makes a session
 *       4 wakes the worker ------- mailbox ------^
 *
 * The hand-off socket is one Unix socket pair for all workers, and both of its ends are in every
 * descriptor table. A number that comes with a socket names the listener. A worker receives as many
 * sockets as were announced to it, whichever they are. A slot is reserved before the connection is
 * accepted, so that a connection is never refused for want of a slot; a worker that ends waits
 * until the slots that other workers have reserved in it are given back. While a socket is on its
 * way it is in no descriptor table: the kernel holds the socket, and closes it when the process
 * ends.
 *
 * Only full workers hand connections off, and main has no part in it.
 *
 * Thread: the worker. Layer: proxy.
 */

#include "util/assert.h"

struct listen_socket;
struct proxy;

/* A worker hands off at most this many connections per turn. A hand-off takes a descriptor of the
 * full worker until the next turn: the accepted socket is closed when it has been sent, but the
 * loop frees the descriptor a turn later. */
#define HANDOFFS_PER_TURN 4

/* At most this many sockets are in the hand-off socket. That is less than its buffer holds (some
 * 200). It is also less than the smallest descriptor table that lb starts with, because the kernel
 * lets a user have only as many sockets on their way as the user may have open. */
#define HANDOFFS_UNDER_WAY 32

/*
 * handoff_send() - take one connection out of the kernel's queue, for the worker with most free
 * slots
 *
 * Returns 0, or: -EUSERS: no worker has a free slot, or the listener is not open on all workers;
 * -EBUSY: too many sockets are on their way, so the caller may try again in a moment; -EAGAIN: the
 * queue is empty, or HANDOFFS_PER_TURN is reached; another errno of accept; -ENOBUFS: the socket
 * could not be sent and is closed. Thread: the full worker.
 */
int handoff_send(struct listen_socket *ls) LB_MUST_CHECK;

/* Counts one socket less on its way, because it was received or could not be sent. Thread: any
 * worker. */
void handoff_end(struct proxy *p);
