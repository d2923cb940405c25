/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Headroom: the forecast in the log, and a warning before a limit is reached.
 *
 * Connections, each worker's descriptors, and the local ports towards each backend warn once when
 * they cross 80 %, and again only after they have been below 70 %.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdbool.h>
#include <stdint.h>

#include "daemon/forecast.h"
#include "util/assert.h"

struct backend;
struct control;

struct headroom {
	struct forecast forecast; /* of the current configuration, as of when it became current */
	uint64_t n_ports;         /* for each pair of source and backend; LIMITS_NONE: unknown */
	bool is_known;            /* it was forecast once */
	bool is_conns_high;
	bool *is_worker_high; /* owns: by worker */
};

/* Returns 0 or -ENOMEM. */
int headroom_open(struct control *c) LB_MUST_CHECK;

/* A configuration has become current: forecasts anew, and logs that where it is news. */
void headroom_apply(struct control *c);

/* Looks at everything that may cross its 80 %. */
void headroom_tick(struct control *c);

void headroom_close(struct control *c);

/*
 * headroom_ports_used() - about how many ports a backend takes at each of its `n` sources
 *
 * Sources take turns, so its connections are taken to be spread evenly.
 */
uint64_t headroom_ports_used(const struct backend *b, uint64_t n);
