/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Membership: which backends a pool has, with which weights; the only publisher of a pool's
 * members.
 *
 * A change is prepared as a delta, and the messages to the workers are allocated, before anything
 * is changed or posted. So a change happens on main and on every worker, or nowhere. Changes come
 * from a reload (all pools of a file) and from an operator (a weight, a state). While a reload is
 * under way, the delta that the reload will commit is `pending`. A weight or state that an operator
 * sets then goes to the running backend, and to the backend of the same name in the pending delta.
 * The two may be different backends, because the new file may give the name another address.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdint.h>

#include "balance/backend.h"
#include "daemon/broadcast.h"
#include "util/assert.h"

struct delta;
struct registry;
struct registry_backend;
struct registry_pool;
struct threads;

struct membership {
	struct registry *registry; /* borrows */
	struct threads *threads;   /* borrows */
	/* private to membership.c */
	struct delta *pending; /* borrows from the reload under way; NULL: no reload */
};

/* Call when a reload has prepared `d`. The reload will commit or abandon `d`. */
void membership_begin(struct membership *m, struct delta *d);

/* Call when a reload has ended. Does nothing when no delta is pending, as after a commit. */
void membership_abandon(struct membership *m);

/* Makes the messages (APPLY) that bring the pending delta into force on every worker. Returns 0 or
 * -ENOMEM. */
int membership_make_apply(struct membership *m, struct broadcast *ret) LB_MUST_CHECK;

/* Commits the pending delta on main. The caller has to post the messages of membership_make_apply()
 * next. */
void membership_commit(struct membership *m);

/*
 * membership_set_weight() - set a backend's weight on main and on all workers
 *
 * Returns 0, or -ENOMEM with nothing changed. The workers must not have been told to quit.
 */
int membership_set_weight(struct membership *m, struct registry_pool *p,
			  struct registry_backend *rb, uint32_t weight) LB_MUST_CHECK;

/* Sets a backend's state: ready, draining or maintenance. The caller has to call
 * health_apply_state() next. */
void membership_set_admin(struct membership *m, struct registry_pool *p,
			  struct registry_backend *rb, enum backend_admin a);
