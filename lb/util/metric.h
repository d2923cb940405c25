/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Metrics: counters and a histogram that one thread writes and any thread may read.
 *
 * All accesses are relaxed: a reader sees each number as it was a moment ago, and two numbers that
 * one thread writes may be of different moments. When one thread writes a counter, no atomic
 * addition is needed, so counting costs no more than a plain `+=`.
 *
 * Layer: util.
 */

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "util/assert.h"

/*
 * A counter. Zeroed memory is a counter at 0. thread: any may read. Either one thread writes, or
 * several threads write, all of them with counter_add_shared().
 */
struct counter {
	_Atomic uint64_t v;
};

/* Adds `n`. For the only thread that writes the counter. Hot: no lock prefix. */
static inline void counter_add(struct counter *c, uint64_t n)
{
	uint64_t v = atomic_load_explicit(&c->v, memory_order_relaxed);

	atomic_store_explicit(&c->v, v + n, memory_order_relaxed);
}

/* Adds `n` to a counter that several threads write. Hot: one atomic addition. */
static inline void counter_add_shared(struct counter *c, uint64_t n)
{
	atomic_fetch_add_explicit(&c->v, n, memory_order_relaxed);
}

/* Subtracts `n`, which is at most the counter's value, for a gauge that is kept in a counter. For
 * the only thread that writes the counter. */
static inline void counter_sub(struct counter *c, uint64_t n)
{
	uint64_t v = atomic_load_explicit(&c->v, memory_order_relaxed);
	LB_ASSERT(v >= n);
	atomic_store_explicit(&c->v, v - n, memory_order_relaxed);
}

/* The value. Thread: any. */
static inline uint64_t counter_read(const struct counter *c)
{
	return atomic_load_explicit(&c->v, memory_order_relaxed);
}

/* The number of buckets. Their upper bounds go from 1 ms to 10 s; the last one is +Inf. */
#define METRIC_HIST_N 14

/* The upper bounds as Prometheus writes them, in seconds: "0.001" … "10", "+Inf". */
extern const char *const metric_hist_le[METRIC_HIST_N];

/*
 * A histogram of durations. Zeroed memory is an empty histogram. thread: any may read. Either one
 * thread writes, with metric_hist_observe_ns(), or several threads write, all of them with
 * metric_hist_observe_shared_ns().
 */
struct metric_hist {
	/* private to metric.c */
	struct counter bucket[METRIC_HIST_N];
	struct counter sum_ns;
};

/* The sum of several histograms. */
struct metric_hist_total {
	uint64_t le[METRIC_HIST_N]; /* le[i]: number of durations up to bound i; the last: of all */
	uint64_t sum_ns;
};

#define METRIC_HIST_TOTAL_INIT ((struct metric_hist_total){ 0 })

/* Counts one duration. For the only thread that writes the histogram. Hot. */
void metric_hist_observe_ns(struct metric_hist *h, uint64_t ns);

/* Counts one duration in a histogram that several threads write: two atomic additions. Hot. */
void metric_hist_observe_shared_ns(struct metric_hist *h, uint64_t ns);

/* Adds the counts of `h` to *total. To be called for each worker's histogram. Thread: any. */
void metric_hist_sum(const struct metric_hist *h, struct metric_hist_total *total);
