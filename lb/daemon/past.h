/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Past: the sums of backends that have left the configuration and have no connection any more.
 *
 * A backend's metric is a series named by the pool's and the backend's name. A collector of metrics
 * takes a counter that falls for a restart of lb. So a series never falls while the backend's name
 * is in the file; and when the name has left the file, the series keeps its last figures for
 * PAST_KEEP_NS. A record that is older than that, and the oldest record when there are more than
 * PAST_MAX, is dropped. When the file has a backend of the record's name again, with another
 * address, the record's sums are added to that backend; otherwise they are added to the pool.
 *
 * The present time is a parameter of the functions. Thread: main. Layer: daemon.
 */

#include <stddef.h>
#include <stdint.h>

#include "balance/backend.h"
#include "util/list.h"

#define PAST_KEEP_NS (3600u * 1000000000ull)
#define PAST_MAX 1000u

/* The backends of one pool that are gone. `sums` are those of the backends whose records were
 * dropped. */
struct past_pool {
	struct backend_sums sums;
	struct list records; /* owns: struct past_record, linked by in_pool */
};

/* A backend that is gone. The record is allocated together with the backend, so that removing the
 * backend needs no memory. */
struct past_record {
	struct list link;       /* in past->records */
	struct list in_pool;    /* in past_pool->records */
	struct past_pool *pool; /* borrows */
	char *name;             /* owns */
	struct backend_sums sums;
	uint64_t since_ns;
};

struct past {
	struct list records; /* borrows: the records of all pools, the oldest first */
	size_t n;            /* how many records are in `records` */
};

void past_init(struct past *past);
void past_pool_init(struct past_pool *p);
/* Frees the pool's records, and removes them from past->records. */
void past_pool_deinit(struct past *past, struct past_pool *p);

/* Makes the record for a backend, when the backend is made. NULL when memory is short. */
struct past_record *past_record_new(const char *name);
/* Frees a record that is in no list. NULL is fine. Returns NULL. */
struct past_record *past_record_free(struct past_record *r);

/*
 * past_add() - keep the sums of a backend that is gone
 *
 * Owns `r` from here on. Allocates nothing. When all sums are 0, no record is kept.
 */
void past_add(struct past *past, struct past_pool *p, struct past_record *r,
	      const struct backend_sums *sums, uint64_t now_ns);

/* As past_add(), but keeps a record even when all sums are 0. A removed pool stays while it has a
 * record, so this keeps the pool, too. */
void past_keep(struct past *past, struct past_pool *p, struct past_record *r,
	       const struct backend_sums *sums, uint64_t now_ns);

/* Returns the sums to which a dropped record's sums are added: those of the backend in use that has
 * this name, or NULL when the pool has no such backend. */
typedef struct backend_sums *past_heir_fn(void *arg, struct past_pool *p, const char *name);

/* Drops records that are older than PAST_KEEP_NS, and the oldest records while there are more than
 * PAST_MAX. Call about once a second. */
void past_expire(struct past *past, uint64_t now_ns, past_heir_fn *heir, void *arg);
