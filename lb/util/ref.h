/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Reference count of an object that several threads hold.
 *
 * Each holder of a pointer to the object has one reference. A holder may make another one with
 * ref_get() and hand it to any thread; it gives its own back with ref_put(), and must not use the
 * pointer afterwards. The holder whose ref_put() returns true was the last one, and frees the
 * object.
 *
 * Memory order: ref_get() orders nothing, because its caller holds a reference and so the object
 * cannot be freed meanwhile. ref_put() is a release and an acquire: whatever any thread did with
 * the object before its ref_put() has happened before the last holder frees it.
 *
 * Thread: any, for holders. Layer: util.
 */

#include <stdatomic.h>
#include <stdbool.h>

#include "util/assert.h"

#define REF_MAX (1u << 30) /* a count beyond is a bug, not a number of holders */

struct ref {
	/* private to this file */
	atomic_uint n;
};

/* One reference, the caller's. Thread: the one that makes the object. */
static inline void ref_init(struct ref *r)
{
	atomic_init(&r->n, 1);
}

/* One more reference. The caller holds one. */
static inline void ref_get(struct ref *r)
{
	unsigned before = atomic_fetch_add_explicit(&r->n, 1, memory_order_relaxed);

	LB_ASSERT(before > 0 && before < REF_MAX);
}

/* Gives the caller's reference back. Returns true where it was the last: the caller frees. */
static inline bool ref_put(struct ref *r)
{
	unsigned before = atomic_fetch_sub_explicit(&r->n, 1, memory_order_acq_rel);

	LB_ASSERT(before > 0);
	return before == 1;
}

/*
 * Whether the caller's reference is the only one. Then no other thread can make a new one, and what
 * the other holders did with the object has happened (acquire).
 */
static inline bool ref_is_only(const struct ref *r)
{
	return atomic_load_explicit(&r->n, memory_order_acquire) == 1;
}

/* How many there are at this moment, for tests and figures. */
static inline unsigned ref_count(const struct ref *r)
{
	return atomic_load_explicit(&r->n, memory_order_acquire);
}
