/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Membership: which backends a pool has, with which weights; the only publisher of a pool's
 * members.
 *
 * A change is prepared as a delta, the messages that tell the workers are allocated, and only then
 * is anything changed or posted: a change happens on main and on every worker, or nowhere. Changes
 * come from a reload (all pools of a file) and from an operator (a weight, a state). While a reload
 * is under way, the delta that it will commit is `pending`: what an operator sets is then written
 * to the running backend and to the pending delta, where the backend of the same names may be
 * another one, because the file has changed its address.
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
	struct delta *pending; /* borrows from the reload that is under way; NULL: none */
};

/* A reload is under way, and will commit or abandon `d`. */
void membership_begin(struct membership *m, struct delta *d);

/* The reload has ended without a commit. Does nothing when no delta is pending. */
void membership_abandon(struct membership *m);

/* Makes the messages that make the pending delta current on every worker. Returns 0 or -ENOMEM. */
int membership_make_apply(struct membership *m, struct broadcast *ret) LB_MUST_CHECK;

/* Makes the pending delta current on main; post the messages of membership_make_apply() next. */
void membership_commit(struct membership *m);

/*
 * membership_set_weight() - set a backend's weight on main and on all workers
 *
 * Returns 0, or -ENOMEM with nothing changed. The workers must not have been told to quit.
 */
int membership_set_weight(struct membership *m, struct registry_pool *p,
			  struct registry_backend *rb, uint32_t weight) LB_MUST_CHECK;

/* Sets a backend ready, draining or in maintenance. Call health_apply_state() next. */
void membership_set_admin(struct membership *m, struct registry_pool *p,
			  struct registry_backend *rb, enum backend_admin a);
