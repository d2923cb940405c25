/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What an operator sets on a backend at run time: its weight and its administrative state.
 *
 * Both hold whatever a reload does meanwhile. A reload reads the file first and commits it some
 * turns later; what is set in between is written to the running backend and to the delta under way,
 * where the backend of these names may be another one (its address has changed in the file).
 *
 * Thread: main. Layer: daemon.
 */

#include <stdint.h>

#include "balance/backend.h"
#include "util/assert.h"

struct control;
struct registry_backend;
struct registry_pool;

/*
 * membership_set_weight() - set a backend's weight, and mail the pool's new members to all workers
 *
 * Returns 0, or -ENOMEM with nothing changed: everything is allocated before anything is set. The
 * workers must not have been told to quit.
 */
int membership_set_weight(struct control *c, struct registry_pool *p, struct registry_backend *fb,
			  uint32_t weight) LB_MUST_CHECK;

/* Sets a backend ready, draining or in maintenance. The health checks follow by health_apply(). */
void membership_set_admin(struct control *c, struct registry_pool *p, struct registry_backend *fb,
			  enum backend_admin a);
