/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A clock that a test moves on: what would take seconds is there at once, on a real engine. */

#include "ev/loop_priv.h"

static struct loop_ops later_ops;
static uint64_t later_ns;       /* ahead of the real clock */
static uint64_t later_still_ns; /* or of when that stopped; 0: it goes on */

static uint64_t later_clock_ns(struct loop *l)
{
	return (later_still_ns != 0 ? later_still_ns : sys_clock_ns(l)) + later_ns;
}

/* From here on the loop goes by this clock. All loops of a test are of one engine. */
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

/* Lets time pass; what was due meanwhile comes with the next turn. */
static inline void later(uint64_t ms)
{
	later_ns += ms * 1000000;
}
