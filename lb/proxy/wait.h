/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The queue for a slot: a request that finds every backend full is not refused at once.
 *
 * A slot at a backend is free again when lb has closed the backend's end of a connection. When a
 * client closes a connection and opens another one, the new request may come before that: first the
 * old connection's FIN has to go to the backend, and the backend's FIN has to come back; and the
 * old connection may be on another worker. So a request waits for a quarter of a second at most,
 * behind the requests for the same pool that came to the same worker before.
 *
 * Thread: owner worker. Layer: proxy.
 */

#include <stdbool.h>
#include <stdint.h>

struct exchange;
struct worker;

/* A worker has this many counters of waiting requests, each for some of the pools (count_of() in
 * wait.c). */
#define WAIT_SLOTS 64

/* The longest wait: longer than a FIN takes to the backend and back, and short enough for a client
 * that is refused after the wait. A guess. */
#define WAIT_MOST_MS 250

/* How often waiting requests look for slots that other workers have given back. A guess. */
#define WAIT_LOOK_MS 5

/* wait_join() puts a request at the end of the queue, wait_leave() takes it off. Only
 * exchange_set_state() calls them. */
void wait_join(struct exchange *x);
void wait_leave(struct exchange *x);

/* Whether no request for the same pool is before `x` in the queue. */
bool wait_is_first(const struct exchange *x);

/* Whether more requests wait on the worker than are allowed, so that the last one that came is to
 * be refused. */
bool wait_is_overfull(const struct worker *w);

/* Starts worker->wait_timer: in WAIT_LOOK_MS the waiting requests try again. */
void wait_look(struct worker *w);

/* Called when this worker has given back a slot at a backend: the waiting requests try again in the
 * next turn. */
void wait_slot_is_free(struct worker *w);
