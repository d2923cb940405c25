/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The queue for a slot: a request that finds every backend full is not refused at once.
 *
 * A slot is free when the backend's end of a connection has closed. A client that closes one
 * connection and opens the next one is faster than that, because its FIN has to go to the backend,
 * and the backend's has to come back; and another worker may have that connection. So a request
 * waits for a quarter of a second at most, behind those that came before it to the same pool on the
 * same worker.
 *
 * Thread: owner worker. Layer: proxy.
 */

#include <stdbool.h>
#include <stdint.h>

struct exchange;
struct worker;

/* Counters of the requests that wait, each for the pools of some slots. */
#define WAIT_SLOTS 64

/* The longest wait: longer than a FIN takes there and back, and short for a client that is refused
 * in the end. A guess. */
#define WAIT_MOST_MS 250

/* How often lb looks whether another worker has given a slot back. A guess. */
#define WAIT_LOOK_MS 5

/* Puts a request at the end of the queue, or takes it off. Only exchange_set_state() calls them. */
void wait_join(struct exchange *x);
void wait_leave(struct exchange *x);

/* Whether no other request to the same pool is before it in the queue. */
bool wait_is_first(const struct exchange *x);

/* Whether more wait on the worker than may: then the last one that came is refused. */
bool wait_is_overfull(const struct worker *w);

/* Lets the worker look for free slots every WAIT_LOOK_MS, as long as a request waits. */
void wait_look(struct worker *w);

/* A backend's slot was given back on this worker: those that wait try again in the next turn. */
void wait_slot_is_free(struct worker *w);
