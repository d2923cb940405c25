/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Watermarks: log how many connections fit, and warn before a limit is reached.
 *
 * The log warns once when the connections, a worker's descriptors or the local ports towards a
 * backend reach 80 %, and again only after they have been below 70 %.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdbool.h>
#include <stdint.h>

#include "daemon/conn_capacity.h"
#include "util/assert.h"

struct backend;
struct conf;
struct log;
struct registry;
struct threads;

struct watermarks {
	const struct log *log;         /* borrows */
	struct registry *registry;     /* borrows */
	const struct threads *threads; /* borrows */
	struct conn_capacity capacity; /* as the last watermarks_apply() has computed it */
	uint64_t n_ports; /* local ports for each source and backend; HOST_LIMITS_NONE: unknown */
	bool is_known;    /* `capacity` and `n_ports` are set */
	bool is_conns_high;
	bool *is_worker_high; /* owns: one for each worker */
};

/* Returns 0 or -ENOMEM. */
int watermarks_open(struct watermarks *w, const struct log *log, struct registry *reg,
		    const struct threads *t) LB_MUST_CHECK;

/* Call when a configuration has become current. Computes the capacity, and logs it when it has
 * changed. */
void watermarks_apply(struct watermarks *w, const struct conf *conf);

/* Warns of each figure that has risen to 80 % of its limit since the last call. */
void watermarks_tick(struct watermarks *w);

void watermarks_close(struct watermarks *w);

/*
 * watermarks_ports_used() - about how many local ports the backend uses at each of its `n` sources
 *
 * Connections use the sources in turn. So the figure is the backend's connections divided by `n`,
 * rounded up.
 */
uint64_t watermarks_ports_used(const struct backend *b, uint64_t n);
