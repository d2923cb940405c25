/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Routes: the first of a listener's routes whose conditions a request meets.
 *
 * Pure. A table is made on main, never changed, and read on any thread. Layer: balance. Hot, but
 * for route_table_new() and route_table_free().
 */

#include <stdbool.h>
#include <stddef.h>

#include "util/slice.h"

struct conf_listener;
struct route_table;

/* What the conditions of routes look at. Slices are borrowed for the call. */
struct route_req {
	struct slice host; /* without port and trailing dot, in any case; empty: no Host */
	struct slice path; /* as sent, up to '?' */
	bool is_websocket;
	/* Whether some line of the header `name` (in any case) has exactly this value. */
	bool (*has_header)(void *arg, struct slice name, struct slice value);
	void *arg;
};

/* Borrows the listener's configuration until it is freed. NULL when memory is short. */
struct route_table *route_table_new(const struct conf_listener *c);
/* NULL is fine. Returns NULL. */
struct route_table *route_table_free(struct route_table *t);

/* The index of the first route all of whose conditions hold, or -1. */
int route_match(const struct route_table *t, const struct route_req *r);
