/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A clock that a test moves forward, so that a test of seconds takes no time, on a real engine. */

#include "ev/loop_priv.h"

static struct loop_ops later_ops;
static uint64_t later_ns; /* ahead of the real clock */
static uint64_t
	later_still_ns; /* or of the moment at which the clock stopped; 0: the clock goes on */

static uint64_t later_clock_ns(struct loop *l)
{
	return (later_still_ns != 0 ? later_still_ns : sys_clock_ns(l)) + later_ns;
}

/* From here on the loop uses this clock. All loops of a test have the same engine. */
static inline void later_follow(struct loop *l)
{
	later_ops = *l->ops;
	later_ops.clock_ns = later_clock_ns;
	l->ops = &later_ops;
}

/* The clock stands still but for later(): no time passes while the test itself is slow. */
static inline void later_stand_still(struct loop *l)
{
	later_still_ns = sys_clock_ns(l);
}

/* Moves the clock forward; what is due by then comes with the next turn. */
static inline void later(uint64_t ms)
{
	later_ns += ms * 1000000;
}
