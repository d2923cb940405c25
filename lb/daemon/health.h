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
	const struct threads *threads; /* borrows: its share bounds the checks under way */
	/* private to health.c */
	struct probes *probes;       /* owns */
	uint64_t no_check_logged_ms; /* when the log last named a check that could not be made, or 0
				      */
};

/* `tag_class` is the class of the tags of the checks' operations in `l`. The caller sets h->threads
 * before health_apply(). Returns 0 or -ENOMEM. */
int health_open(struct health *h, struct loop *l, const struct log *log, struct registry *reg,
		unsigned tag_class) LB_MUST_CHECK;

/* The registry has changed: checks the backends that are in use, as the configuration says. */
void health_apply(struct health *h);

/* An operator has set the backend's state: in maintenance the backend is not checked. Touches this
 * backend's checks only. */
void health_apply_state(struct health *h, const struct backend *b);

/* Ends all checks. Returns whether one is still in flight (call again after a turn of the loop);
 * frees the probes when none is. */
bool health_close(struct health *h);
