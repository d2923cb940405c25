/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A pool with backends of given weights, for the tests of the policies. */

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "util/hash.h"

struct fixture {
	struct pool *pool;
	struct members *m;
	size_t n;
	struct backend **b;
};

static inline struct backend *fixture_backend(const char *name, uint32_t weight, uint32_t max)
{
	char copy[32];
	struct conf_backend c = {
		.name = copy,
		.addr = { .family = AF_INET, .port = 9000, .v4 = { 127, 0, 0, 1 } },
		.weight = weight,
		.max_conns = max,
	};

	(void)snprintf(copy, sizeof(copy), "%s", name);
	struct backend *b = backend_new("pool", &c, 2, 0);
	ck_assert_ptr_nonnull(b);
	return b;
}

/* Members of the first `n` backends, or of them all but `without`, in the given or reversed order.
 */
static inline struct members *fixture_members(struct fixture *f, enum conf_balance balance,
					      uint32_t load_percent, size_t without,
					      bool is_reversed)
{
	struct members_entry *e = calloc(f->n + 1, sizeof(*e));
	size_t n = 0;

	for (size_t i = 0; i < f->n; i++) {
		size_t at = is_reversed ? f->n - 1 - i : i;
		if (at != without)
			e[n++] = (struct members_entry){ f->b[at], backend_weight(f->b[at]) };
	}
	struct members *m = members_new(f->pool, balance, load_percent, e, n);
	ck_assert_ptr_nonnull(m);
	free(e);
	return m;
}

/* Backends b0, b1, ... with weights[i % n_weights]. */
static inline struct fixture fixture_new(size_t n, const uint32_t *weights, size_t n_weights,
					 enum conf_balance balance, uint32_t load_percent)
{
	char name[] = "pool";
	struct conf_pool c = { .name = name };
	struct fixture f = { .n = n };

	f.pool = pool_new(&c, 0);
	f.b = calloc(n, sizeof(struct backend *));
	for (size_t i = 0; i < n; i++) {
		char text[32];
		(void)snprintf(text, sizeof(text), "b%zu", i);
		f.b[i] = fixture_backend(text, weights[i % n_weights], 0);
	}
	f.m = fixture_members(&f, balance, load_percent, SIZE_MAX, false);
	return f;
}

/* Gives all slots back and frees. */
static inline void fixture_free(struct fixture *f)
{
	members_unref(f->m);
	for (size_t i = 0; i < f->n; i++) {
		while (backend_active(f->b[i]) > 0)
			backend_release(f->b[i]);
		backend_unref(f->b[i]);
	}
	free(f->b);
	pool_unref(f->pool);
}

static inline size_t fixture_index(const struct fixture *f, const struct backend *b)
{
	size_t i = strtoul(b->name + 1, NULL, 10); /* b0, b1, ... */

	if (i >= f->n || f->b[i] != b) /* an assertion that holds is not free either */
		ck_abort_msg("no backend of the fixture: %s", b->name);
	return i;
}

/* One pick; returns the backend's index, its slot kept; SIZE_MAX: none. */
static inline size_t fixture_pick(const struct fixture *f, const struct members *m, uint64_t key,
				  uint64_t random)
{
	struct pick k = { .key = key, .random = random };
	struct backend *b = pool_pick(m, &k);

	if (b == NULL)
		return SIZE_MAX;
	size_t i = fixture_index(f, b);
	backend_unref(b);
	return i;
}
