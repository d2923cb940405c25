/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Assertions that stay on in release builds, and the attributes every header uses.
 *
 * LB_ASSERT finds bugs of lb. LB_ASSERT does not judge what a peer, a user or the kernel does. The
 * failing branch is one call to a cold function, so that a hot file needs no stdio. LB_DASSERT is
 * for loops per byte: it compiles to nothing unless the build has debug assertions
 * (-DLB_DEBUG_ASSERTS).
 *
 * Layer: util.
 */

#define LB_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#define LB_MUST_CHECK __attribute__((warn_unused_result))
#define LB_COLD __attribute__((cold, noinline))
#define LB_NORETURN __attribute__((noreturn))
#define LB_CACHE_ALIGNED __attribute__((aligned(64)))
#define LB_UNUSED __attribute__((unused))

#define _cleanup_(fn) __attribute__((cleanup(fn)))

/* The number of elements of an array (not of a pointer). */
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Gives the value of the pointer `p` and sets `p` to NULL. So after `return take_ptr(p)` the
 * _cleanup_ of `p` frees nothing. */
#define take_ptr(p) \
	({ \
		__typeof__(p) *taken_at_ = &(p); \
		__typeof__(p) taken_ = *taken_at_; \
		*taken_at_ = NULL; \
		taken_; \
	})

/* The struct of type `type` whose member `member` is at `ptr`. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Writes one line to stderr and aborts. Thread: any. */
void assert_failed(const char *expr, const char *file, int line,
		   const char *func) LB_COLD LB_NORETURN;

#define LB_ASSERT(expr) \
	do { \
		if (__builtin_expect(!(expr), 0)) \
			assert_failed(#expr, __FILE__, __LINE__, __func__); \
	} while (0)

#ifdef LB_DEBUG_ASSERTS
#define LB_DASSERT(expr) LB_ASSERT(expr)
#else
#define LB_DASSERT(expr) ((void)sizeof(expr))
#endif
