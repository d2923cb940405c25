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
#include "util/assert.h"
#include "util/ref.h"
#include "util/sockaddr.h"

struct names;
struct tls_ctx;
struct tls_lib;

/* A certificate of a listener, for what main shows and warns of. */
struct snapshot_cert {
	char *file; /* owns */
	size_t n_names;
	char **names;                      /* owns */
	int64_t not_before_s, not_after_s; /* since 1970 */
};

struct snapshot_listener {
	const struct conf_listener *conf; /* borrows from the snapshot's configuration */
	struct route_table *routes;       /* owns; NULL in mode tcp */
	struct snapshot_pool *pool; /* borrows: for requests that no route matches; NULL: 404 */
	const char **route_name;    /* owns the array, counts each name (proxy/names.h) */
	/* Owns the array, counts each context, one for each worker; NULL: the listener has no TLS.
	 */
	struct tls_ctx **tls;
	size_t n_certs;
	struct snapshot_cert *certs; /* owns; in the order of conf->tls.certificates */
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
	uint32_t n_tls;              /* contexts in each listener's `tls`: one for each worker */
	struct tls_lib *const *tls_libs; /* borrows: as many; NULL where no listener has TLS */
};

/*
 * snapshot_new() - resolve a configuration
 *
 * pools[i] is the run-time pool of conf->pools[i]; a reference is taken of each and of the
 * configuration. Returns a snapshot with one reference, or NULL when memory is short. Thread: main.
 */
struct snapshot *snapshot_new(struct conf *conf, struct pool *const *pools, struct names *names);

/*
 * snapshot_set_tls() - give a listener its TLS contexts
 *
 * contexts[w] is worker w's, made from libs[w]; both have `n` items, the same for all listeners.
 * The snapshot takes a reference of each context; `libs` outlives the workers. To be called before
 * the snapshot is published. Returns 0 or -ENOMEM. Thread: main.
 */
int snapshot_set_tls(struct snapshot *p, size_t listener, struct tls_lib *const *libs,
		     struct tls_ctx *const *contexts, uint32_t n) LB_MUST_CHECK;

/* Gives a listener its certificates, which the snapshot takes over. Thread: main. */
void snapshot_set_certs(struct snapshot *p, size_t listener, struct snapshot_cert *certs, size_t n);

/* Frees certificates that no snapshot has taken over. NULL is fine where `n` is 0. */
void snapshot_certs_free(struct snapshot_cert *certs, size_t n);

/* The TLS context for connections of a listener on a worker; NULL: the listener has no TLS.
 * Borrows. */
static inline struct tls_ctx *snapshot_tls(const struct snapshot *p, size_t listener,
					   uint32_t worker)
{
	struct tls_ctx *const *tls = p->listeners[listener].tls;

	LB_ASSERT(tls == NULL || worker < p->n_tls);
	return tls != NULL ? tls[worker] : NULL;
}

/* The library context of a worker's contexts, the same in every snapshot that has one; NULL where
 * no listener has TLS. Borrows. */
static inline struct tls_lib *snapshot_tls_lib(const struct snapshot *p, uint32_t worker)
{
	LB_ASSERT(p->tls_libs == NULL || worker < p->n_tls);
	return p->tls_libs != NULL ? p->tls_libs[worker] : NULL;
}

struct snapshot *snapshot_ref(struct snapshot *p);
/* Gives a reference back; the last one, which must be main's, frees the snapshot. NULL is fine.
 * Returns NULL. Thread: any. */
struct snapshot *snapshot_unref(struct snapshot *p);

/* Whether the caller holds the only reference. Thread: main. */
bool snapshot_is_unused(const struct snapshot *p);
