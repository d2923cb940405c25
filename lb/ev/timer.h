/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Timers: a hierarchical wheel of milliseconds; start, stop and expiry are O(1).
 *
 * A timer is embedded in the object that it belongs to. A timer fires once, not before its time,
 * and within a millisecond of its time while the loop turns. Thread: the loop's. Layer: ev.
 */

#include <stdbool.h>
#include <stdint.h>

#define TIMER_LEVELS 6 /* levels of 64 slots: 64^6 ms are more than two years */
#define TIMER_SLOTS 64

struct timer;
typedef void (*timer_fn)(struct timer *t, void *arg);

struct timer {
	timer_fn fn; /* set by timer_init(); called with the wheel's `arg` */

	/* private to timer.c */
	struct timer *next, **link; /* `link` is NULL while the timer is stopped */
	uint64_t at_ms;
};

struct timer_wheel {
	void *arg;         /* given to every timer_fn */
	uint64_t clock_ms; /* the time that timer_start() counts from; set by loop_tick() */

	/* private to timer.c */
	uint64_t now_ms;
	uint64_t occupied[TIMER_LEVELS]; /* a bit for each slot that holds a timer */
	struct timer *slot[TIMER_LEVELS][TIMER_SLOTS];
};

void timer_wheel_init(struct timer_wheel *w, uint64_t now_ms, void *arg);

void timer_init(struct timer *t, timer_fn fn);

/* Starts a timer, or starts it again: it fires `in_ms` after the wheel's clock_ms. Hot. */
void timer_start(struct timer_wheel *w, struct timer *t, uint64_t in_ms);

/* Stops a timer. Does nothing when the timer is stopped already. Hot. */
void timer_stop(struct timer_wheel *w, struct timer *t);

static inline bool timer_is_running(const struct timer *t)
{
	return t->link != 0;
}

/* Moves the wheel to `now_ms` and fires the timers that are due. A timer_fn may start and stop any
 * timer. */
void timer_wheel_advance(struct timer_wheel *w, uint64_t now_ms);

/* The ms from the last advance until a timer may be due: perhaps too few, never too many.
 * UINT64_MAX when no timer is started. */
uint64_t timer_wheel_wait_ms(const struct timer_wheel *w);
