/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Messages by which a worker gets a new configuration.
 *
 * A reload is two messages for each worker, so that it is all or nothing: ADOPT hands over new
 * listening sockets, which are parked; then APPLY makes everything current, or ABORT closes what is
 * parked. MEMBERS replaces the members of one pool, and is no reload.
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

/* ---- ADOPT: take the sockets that wait in the channel, and park them ------------------------- */

struct message_adopt {
	struct message base;
	/* The listeners whose sockets come, in the channel's order: each is counted. */
	size_t n_listeners, cap;
	struct listener *listeners[];
};

/* With no listener yet, and room for `cap` of them. NULL when memory is short. Thread: main. */
struct message_adopt *message_adopt_new(uint32_t worker, size_t cap);

/* Adds a listener, of which the message takes a reference. Thread: main. */
void message_adopt_add(struct message_adopt *m, struct listener *l);

/* ---- APPLY: a new snapshot, the members of its pools, its listeners -------------------------- */

struct message_apply {
	struct message base;
	struct snapshot *snapshot; /* counted: the new one; in the reply the one that it replaced */
	bool has_new_timeouts;     /* open sessions have to start their timers again; set by main */
	/* All members by pool slot, NULL where a slot is empty; in the reply the array that it has
	 * replaced. Owns the array, counts each. A worker only swaps the arrays, so that nothing
	 * can be refused there, its work does not grow with the number of pools, and main frees
	 * what was replaced. */
	uint32_t n_slots;
	struct members **slots;

	/* private to message_conf.c, written by the worker */
	struct timer timer; /* of the next step */
	bool is_closed;     /* the sockets of removed listeners were closed a turn ago */
	struct walk walk;   /* of has_new_timeouts */
};

/* Counts `snapshot`; has `n_slots` slots that are empty. NULL when memory is short. Thread: main.
 */
struct message_apply *message_apply_new(uint32_t worker, struct snapshot *snapshot,
					uint32_t n_slots);

/* Fills the slot of a pool, whose members the message counts. Thread: main. */
void message_apply_set(struct message_apply *m, struct members *members);

/*
 * message_apply_end() - end what has not ended of an APPLY
 *
 * Called at the end of a worker, which has no session and no listening socket any more. Without an
 * APPLY under way it does nothing.
 */
void message_apply_end(struct worker *w);

/* ---- ABORT: close the parked sockets --------------------------------------------------------- */

/* NULL when memory is short. Thread: main. */
struct message *message_abort_new(uint32_t worker);

/* ---- MEMBERS: new members of one pool -------------------------------------------------------- */

struct message_members {
	struct message base;
	struct members *members; /* counted: the new ones; in the reply those that they replaced */
};

/*
 * message_members_new() - make a message that replaces the members of their pool
 *
 * Main must have named the pool in an APPLY, and in none since that left it out. Counts `members`.
 * NULL when memory is short. Thread: main.
 */
struct message_members *message_members_new(uint32_t worker, struct members *members);
