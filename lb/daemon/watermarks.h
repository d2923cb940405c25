/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Watermarks: how many connections fit, told in the log, and a warning before a limit is reached.
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
	struct conn_capacity capacity; /* computed when the current configuration became current */
	uint64_t n_ports; /* for each pair of source and backend; HOST_LIMITS_NONE: unknown */
	bool is_known;    /* the capacity was computed once */
	bool is_conns_high;
	bool *is_worker_high; /* owns: by worker */
};

/* Returns 0 or -ENOMEM. */
int watermarks_open(struct watermarks *w, const struct log *log, struct registry *reg,
		    const struct threads *t) LB_MUST_CHECK;

/* A configuration has become current: computes the capacity, and logs a capacity that has changed.
 */
void watermarks_apply(struct watermarks *w, const struct conf *conf);

/* Warns of each figure that has reached 80 % since the last call. */
void watermarks_tick(struct watermarks *w);

void watermarks_close(struct watermarks *w);

/*
 * watermarks_ports_used() - about how many ports a backend takes at each of its `n` sources
 *
 * The sources take turns, so the backend's connections are assumed to be spread evenly.
 */
uint64_t watermarks_ports_used(const struct backend *b, uint64_t n);
