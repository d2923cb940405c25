/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Past: the sums of backends that have left the configuration and have no connection any more.
 *
 * A metric of a backend is a series known by (pool, name). A collector takes a counter that falls
 * for a restart of lb, so no series falls while its name is in the file, and a series whose name
 * has left the file keeps its last figures for PAST_KEEP_NS. A record that is older, or the oldest
 * of more than PAST_MAX records, is dropped: its sums go to the backend of that name, where the
 * file has one again under another address, else to the pool.
 *
 * Time is an argument. Thread: main. Layer: daemon.
 */

#include <stddef.h>
#include <stdint.h>

#include "balance/backend.h"
#include "util/list.h"

#define PAST_KEEP_NS (3600u * 1000000000ull)
#define PAST_MAX 1000u

/* Of one pool: the backends that are gone, and the sums of those whose records are gone, too. */
struct past_pool {
	struct backend_sums sums;
	struct list records; /* owns: of struct past_record by in_pool */
};

/* A backend that is gone. Allocated together with the backend, so that its end needs no memory. */
struct past_record {
	struct list link;       /* past->records */
	struct list in_pool;    /* past_pool->records */
	struct past_pool *pool; /* borrows */
	char *name;             /* owns */
	struct backend_sums sums;
	uint64_t since_ns;
};

struct past {
	struct list records; /* borrows: of all pools, the oldest first */
	size_t n;            /* in `records` */
};

void past_init(struct past *past);
void past_pool_init(struct past_pool *p);
/* Forgets the pool's records. */
void past_pool_deinit(struct past *past, struct past_pool *p);

/* The record for a backend, to be made together with it; NULL when memory is short. */
struct past_record *past_record_new(const char *name);
/* Frees a record that is not in use. NULL is fine. Returns NULL. */
struct past_record *past_record_free(struct past_record *r);

/*
 * past_add() - a backend is gone
 *
 * Takes over `r`. Takes no memory. A backend that did nothing leaves no record.
 */
void past_add(struct past *past, struct past_pool *p, struct past_record *r,
	      const struct backend_sums *sums, uint64_t now_ns);

/* The same, but a backend that did nothing leaves a record, too: the record keeps the pool. */
void past_keep(struct past *past, struct past_pool *p, struct past_record *r,
	       const struct backend_sums *sums, uint64_t now_ns);

/* Where the sums of an old record go: those of the backend in the file of that name, or NULL. */
typedef struct backend_sums *past_heir_fn(void *arg, struct past_pool *p, const char *name);

/* Drops records that are too old, and the oldest beyond PAST_MAX. To be called every second or so.
 */
void past_expire(struct past *past, uint64_t now_ns, past_heir_fn *heir, void *arg);
