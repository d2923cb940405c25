/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Name index: the registry's entries in sorted arrays, so that comparing the registry with a
 * configuration of n names takes n log n steps.
 *
 * An index is made for one comparison, and the registry may not change while the index is used. All
 * pointers to entries are borrowed from the registry.
 *
 * Thread: main. Layer: daemon.
 */

#include <stddef.h>

#include "util/assert.h"

struct addr;
struct conf_backend;
struct listener;
struct registry;
struct registry_backend;
struct registry_pool;

/* The backends of one pool by name. Several backends may have one name: at most one backend that is
 * in use, and removed backends with other addresses. */
struct name_index {
	struct registry_backend **entry; /* owns the array */
	size_t n;
};

#define NAME_INDEX_INIT ((struct name_index){ .entry = NULL })

/* Makes the index of the pool's backends; an empty index when `p` is NULL. Returns 0 or -ENOMEM. */
int name_index_init(struct name_index *index, const struct registry_pool *p) LB_MUST_CHECK;
void name_index_deinit(struct name_index *index);

/*
 * The backend with the name and the address of `c`, in use or removed; NULL when there is none.
 * Removed backends are found, too, because a removed backend that a configuration names again keeps
 * its counters.
 */
struct registry_backend *name_index_find(const struct name_index *index,
					 const struct conf_backend *c);

/* The backend in use with this name; NULL when there is none. */
struct registry_backend *name_index_find_used(const struct name_index *index, const char *name);

/* All pools by name, and all listeners in use by address. */
struct directory {
	struct registry_pool **pool; /* owns the array */
	size_t n_pools;
	struct listener **listener; /* owns the array */
	size_t n_listeners;
};

#define DIRECTORY_INIT ((struct directory){ .pool = NULL })

/* Returns 0, or -ENOMEM with nothing left in *d. */
int directory_init(struct directory *d, const struct registry *reg) LB_MUST_CHECK;
void directory_deinit(struct directory *d);

/* The pool with this name, in use or removed; NULL when there is none. */
struct registry_pool *directory_pool(const struct directory *d, const char *name);

/* The listener in use that is bound to this address; NULL when there is none. */
struct listener *directory_listener(const struct directory *d, const struct addr *a);
