/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Messages by which a worker gets a new configuration.
 *
 * A reload is two messages for each worker, so that all workers change or none does: ADOPT names
 * the new listening sockets that main has passed, which the worker parks; then APPLY makes the new
 * configuration current, or ABORT closes the parked sockets. MEMBERS replaces the members of one
 * pool, and is no part of a reload.
 *
 * Layer: proxy.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ev/timer.h"
#include "proxy/message.h"
#include "proxy/walk.h"

struct listener;
struct members;
struct snapshot;

/* ---- ADOPT: receive the sockets that wait in the channel, and park them ---------------------- */

struct message_adopt {
	struct message base;
	/* Counted: the listeners whose sockets are in the worker's socket pair, in the same order.
	 */
	size_t n_listeners, cap;
	struct listener *listeners[];
};

/* Makes a message without listeners, which has room for `cap` of them. NULL when memory is short.
 * Thread: main. */
struct message_adopt *message_adopt_new(uint32_t worker, size_t cap);

/* Adds a listener, which the message counts. Thread: main. */
void message_adopt_add(struct message_adopt *m, struct listener *l);

/* ---- APPLY: a new snapshot, the members of its pools, its listeners -------------------------- */

struct message_apply {
	struct message base;
	struct snapshot *snapshot; /* counted: the new snapshot; in the reply the replaced one */
	bool has_new_timeouts;     /* open sessions must start their timers again; set by main */
	/* The members of all pools by pool slot, NULL in an empty slot; in the reply the array that
	 * this one has replaced. Owns the array, counts the members. The worker only swaps the two
	 * arrays: a swap cannot fail, it takes the same time for any number of pools, and main
	 * frees what was replaced. */
	uint32_t n_slots;
	struct members **slots;

	/* private to message_conf.c, written by the worker */
	struct timer timer; /* fires when the next step is due */
	bool is_closed;   /* the sockets of all removed listeners were closed in the turn before */
	struct walk walk; /* starts the timers again, when has_new_timeouts */
};

/* Makes a message that counts `snapshot` and has `n_slots` empty slots. NULL when memory is short.
 * Thread: main. */
struct message_apply *message_apply_new(uint32_t worker, struct snapshot *snapshot,
					uint32_t n_slots);

/* Fills the empty slot of the members' pool; the message counts the members. Thread: main. */
void message_apply_set(struct message_apply *m, struct members *members);

/*
 * message_apply_end() - reply to an APPLY that is still under way when its worker ends
 *
 * The worker has no session and no listening socket any more, so that nothing is left to be done.
 * Does nothing when no APPLY is under way. Thread: the worker.
 */
void message_apply_end(struct worker *w);

/* ---- ABORT: close the parked sockets --------------------------------------------------------- */

/* Makes a message that closes the PARKED sockets. NULL when memory is short. Thread: main. */
struct message *message_abort_new(uint32_t worker);

/* ---- MEMBERS: new members of one pool -------------------------------------------------------- */

struct message_members {
	struct message base;
	struct members *members; /* counted: the new members; in the reply the replaced ones */
};

/*
 * message_members_new() - make a message that replaces the members of their pool
 *
 * The newest APPLY that main has sent to the worker must have had the pool. Counts `members`. NULL
 * when memory is short. Thread: main.
 */
struct message_members *message_members_new(uint32_t worker, struct members *members);
