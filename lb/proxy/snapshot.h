/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The snapshot: a frozen configuration with its names resolved to run-time objects.
 *
 * Each successful load makes one. Workers hold the newest; sessions that still shake hands hold the
 * one they came in under. Main holds each until all of them have let go of it, so that an old
 * snapshot is always freed on main. Backends are not in it: a pool's members reach the workers
 * apart, by mail (struct members).
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
	struct snapshot_pool *pool;       /* borrows: where no route matches; NULL: 404 */
	const char **route_name;          /* owns the array, counts each (proxy/names.h) */
};

struct snapshot_pool {
	const struct conf_pool *conf; /* borrows */
	struct pool *pool;            /* counted */
};

struct snapshot {
	/* private to snapshot.c */
	struct ref refs;

	struct snapshot *next; /* main's: in its list of snapshots that were replaced */

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
/* NULL is fine. Returns NULL. Thread: any, but the last reference is main's. */
struct snapshot *snapshot_unref(struct snapshot *p);

/* Whether the caller's reference is the only one. Thread: main. */
bool snapshot_is_unused(const struct snapshot *p);
