/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Health: the verdicts of the probes (health/probes.h) become the states of the backends.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdbool.h>
#include <stdint.h>

#include "util/assert.h"

struct backend;
struct log;
struct loop;
struct probes;
struct registry;
struct threads;

struct health {
	struct loop *loop;             /* borrows */
	const struct log *log;         /* borrows */
	struct registry *registry;     /* borrows */
	const struct threads *threads; /* borrows; threads->share bounds the checks */
	/* private to health.c */
	struct probes *probes; /* owns */
	/* when a check that could not be made was last logged; 0: never */
	uint64_t no_check_logged_ms;
};

/* `tag_class` is the class of the tags of the checks' operations in `l`. The caller sets h->threads
 * before health_apply(). Returns 0 or -ENOMEM. */
int health_open(struct health *h, struct loop *l, const struct log *log, struct registry *reg,
		unsigned tag_class) LB_MUST_CHECK;

/* Call when the registry has changed: from now on the backends in use are checked as the
 * configuration says, and no others. */
void health_apply(struct health *h);

/* Call when an operator has set the backend's state: while the backend is in maintenance, it is not
 * checked. The checks of other backends are not affected. */
void health_apply_state(struct health *h, const struct backend *b);

/* Ends all checks. Returns true while a check is still in flight; when it does, call again after a
 * turn of the loop. Returns false when the probes are freed. */
bool health_close(struct health *h);
