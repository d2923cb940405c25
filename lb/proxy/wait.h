/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Waiting for a place: who finds every backend full is not refused at once.
 *
 * A place is free when the backend's side of a connection has closed. A client that closes one
 * connection and opens the next is faster: its FIN has still to go to the backend, whose own has to
 * come back, and another worker may have that connection. So a session waits in PICK for a quarter
 * of a second at most, behind those that came before it to the same pool on the same worker.
 *
 * Thread: owner worker. Layer: proxy.
 */

#include <stdbool.h>

struct session;
struct worker;

/* Counters of those that wait, each for the pools of some slots. */
#define WAIT_SLOTS 64

/* The longest that one waits: longer than a FIN takes there and back, and short for a session that
 * is refused in the end. A guess. */
#define WAIT_MOST_MS 250

/* How often it is looked whether another worker has given a place back; a guess. */
#define WAIT_LOOK_MS 5

/* Puts a session in PICK behind the others; its timer is the caller's business. False: too many
 * wait. */
bool wait_join(struct session *s);

/* It leaves PICK; one that does not wait may be given, too. */
void wait_leave(struct session *s);

/* Whether others wait for a place in its pool, so that it must not overtake them. */
bool wait_is_behind(const struct session *s);

/* A backend's place was given back on this worker: those that wait try again in the next turn. */
void wait_place_is_free(struct worker *w);
