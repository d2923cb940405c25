/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Reference count of an object that several threads hold.
 *
 * Each holder of a pointer to the object has one reference. A holder may make another reference
 * with ref_get() and hand it to any thread. A holder gives its reference back with ref_put(), and
 * must not use the pointer afterwards. The holder whose ref_put() returns true was the last one,
 * and frees the object.
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

#define REF_MAX (1u << 30) /* a larger count can only be a bug */

struct ref {
	/* private to this file */
	atomic_uint n;
};

/* Sets the count to one: the caller's reference. Thread: the one that makes the object. */
static inline void ref_init(struct ref *r)
{
	atomic_init(&r->n, 1);
}

/* Makes one more reference. The caller must hold one already. */
static inline void ref_get(struct ref *r)
{
	unsigned before = atomic_fetch_add_explicit(&r->n, 1, memory_order_relaxed);

	LB_ASSERT(before > 0 && before < REF_MAX);
}

/* Gives the caller's reference back. Returns true when no reference is left: then the caller frees
 * the object. */
static inline bool ref_put(struct ref *r)
{
	unsigned before = atomic_fetch_sub_explicit(&r->n, 1, memory_order_acq_rel);

	LB_ASSERT(before > 0);
	return before == 1;
}

/*
 * Whether the caller's reference is the only one. When it is, no other thread can make a new
 * reference, and the caller sees all that the other holders have done with the object (acquire).
 */
static inline bool ref_is_only(const struct ref *r)
{
	return atomic_load_explicit(&r->n, memory_order_acquire) == 1;
}

/* The number of references at this moment, for tests and figures. */
static inline unsigned ref_count(const struct ref *r)
{
	return atomic_load_explicit(&r->n, memory_order_acquire);
}
