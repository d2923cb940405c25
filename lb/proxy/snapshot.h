/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The snapshot: a frozen configuration with its names resolved to run-time objects.
 *
 * Each successful load of a configuration makes a snapshot. A worker holds the newest one. A
 * session without a tunnel holds the one under which its connection was accepted, or its request
 * was routed. Main holds each snapshot until no worker and no session holds it, so that a snapshot
 * is always freed on main. Backends are not in a snapshot: the members of a pool reach the workers
 * in messages of their own (struct members, proxy/message_conf.h).
 *
 * Thread: made and freed on main, read on any. Layer: proxy.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "balance/pool.h"
#include "balance/route.h"
#include "conf/conf.h"
#include "util/ref.h"
#include "util/sockaddr.h"

struct names;

struct snapshot_listener {
	const struct conf_listener *conf; /* borrows from the snapshot's configuration */
	struct route_table *routes;       /* owns; NULL in mode tcp */
	struct snapshot_pool *pool; /* borrows: for requests that no route matches; NULL: 404 */
	const char **route_name;    /* owns the array, counts each name (proxy/names.h) */
};

struct snapshot_pool {
	const struct conf_pool *conf; /* borrows */
	struct pool *pool;            /* counted */
};

struct snapshot {
	/* private to snapshot.c */
	struct ref refs;

	/* The next one in main's list of snapshots that were replaced; NULL: the last one, or in no
	 * list. */
	struct snapshot *next;

	struct conf *conf; /* counted */
	size_t n_listeners;
	struct snapshot_listener *listeners; /* owns; in the order of conf->listeners */
	size_t n_pools;
	struct snapshot_pool *pools; /* owns; in the order of conf->pools */
};

/*
 * snapshot_new() - resolve a configuration
 *
 * pools[i] is the run-time pool of conf->pools[i]; a reference is taken of each and of the
 * configuration. Returns a snapshot with one reference, or NULL when memory is short. Thread: main.
 */
struct snapshot *snapshot_new(struct conf *conf, struct pool *const *pools, struct names *names);

struct snapshot *snapshot_ref(struct snapshot *p);
/* Gives a reference back; the last one, which must be main's, frees the snapshot. NULL is fine.
 * Returns NULL. Thread: any. */
struct snapshot *snapshot_unref(struct snapshot *p);

/* Whether the caller holds the only reference. Thread: main. */
bool snapshot_is_unused(const struct snapshot *p);
