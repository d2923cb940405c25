/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Guests: connections that a full worker takes out of its listening socket's queue for another
 * worker, so that lb is full only when all its workers are.
 *
 *     full worker                              the one with most room
 *       1 reserves a place there --------------> room.taken
 *       2 accepts
 *       3 puts the socket in --- the passage ---> 5 takes one out, makes a session
 *       4 knocks ----------------- mailbox -----^
 *
 * The passage is one Unix socket pair for all, with both ends in every table: a number in it names
 * the listener, and a worker takes out as many as have been announced to it, whichever they are. A
 * guest has its place before it is accepted, so that it is never turned away for want of one, no
 * matter who else comes meanwhile; and a worker that ends waits for the places taken in it. On the
 * way the socket is in nobody's table: the kernel holds it, and closes it where the process ends.
 *
 * Workers that are not full do nothing of this, and main has no part in it.
 *
 * Thread: the worker. Layer: proxy.
 */

#include "util/assert.h"

struct listen_socket;
struct proxy;

/* Descriptors that a full worker needs for a moment: an accepted one is closed when it is passed,
 * and gone a turn later. */
#define GUESTS_PER_TURN 4

/* In the passage at most. Below what its buffer holds (some 200), and below the smallest table lb
 * starts with: the kernel lets a user have as many on the way as he may have open. */
#define GUESTS_ON_THE_WAY 32

/*
 * guest_pass() - take one connection out of the kernel's queue, for the worker with most room
 *
 * Returns 0, or: -EUSERS: no worker has room, or not all have the listener open; -EBUSY: too many
 * are on their way, it will do in a moment; -EAGAIN: nobody is queued, or enough for this turn;
 * another errno of accept, or -ENOBUFS: it could not be passed and is closed.
 */
int guest_pass(struct listen_socket *ls) LB_MUST_CHECK;

/* A connection is in the passage no more: taken out, or never put in. */
void guest_passed(struct proxy *p);
