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
	/* without port and trailing dot, in any case; empty: the request has no Host */
	struct slice host;
	struct slice path; /* path as it was sent, up to '?' */
	bool is_websocket;
	/* Whether some line of the field `name` (in any case) has exactly the value `value`. */
	bool (*has_header)(void *arg, struct slice name, struct slice value);
	void *arg;
};

/*
 * Makes the table of the routes of `c`. Borrows `c` until the table is freed. Returns NULL when
 * memory is short.
 */
struct route_table *route_table_new(const struct conf_listener *c);
/* Frees the table. `t` may be NULL. Returns NULL. */
struct route_table *route_table_free(struct route_table *t);

/* The index of the first route all of whose conditions hold, or -1. */
int route_match(const struct route_table *t, const struct route_req *r);
