/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Metrics: counters and a histogram that one thread writes and any thread may read.
 *
 * All accesses are relaxed: a reader sees each number as it was a moment ago, and two numbers of
 * one writer may be of different moments. With one writer no atomic addition is needed, so that a
 * count costs what a plain `+=` costs.
 *
 * Layer: util.
 */

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "util/assert.h"

/*
 * Zeroed memory is a counter at 0. thread: any readers; one writer, or several, which all call
 * counter_add_shared().
 */
struct counter {
	_Atomic uint64_t v;
};

/* Writer only. Hot: no lock prefix. */
static inline void counter_add(struct counter *c, uint64_t n)
{
	uint64_t v = atomic_load_explicit(&c->v, memory_order_relaxed);

	atomic_store_explicit(&c->v, v + n, memory_order_relaxed);
}

/* The same where several threads write. Hot: one atomic addition. */
static inline void counter_add_shared(struct counter *c, uint64_t n)
{
	atomic_fetch_add_explicit(&c->v, n, memory_order_relaxed);
}

/* For a gauge that is kept in a counter. Writer only. `n` is at most the counter's value. */
static inline void counter_sub(struct counter *c, uint64_t n)
{
	uint64_t v = atomic_load_explicit(&c->v, memory_order_relaxed);
	LB_ASSERT(v >= n);
	atomic_store_explicit(&c->v, v - n, memory_order_relaxed);
}

/* Thread: any. */
static inline uint64_t counter_read(const struct counter *c)
{
	return atomic_load_explicit(&c->v, memory_order_relaxed);
}

/* The upper bounds: from 1 ms to 10 s, and +Inf. */
#define METRIC_HIST_N 14

/* As Prometheus writes them, in seconds: "0.001" … "10", "+Inf". */
extern const char *const metric_hist_le[METRIC_HIST_N];

/*
 * A histogram of durations. Zeroed memory is an empty one. thread: any readers; one writer, which
 * calls metric_hist_observe_ns(), or several, which all call metric_hist_observe_shared_ns().
 */
struct metric_hist {
	/* private to metric.c */
	struct counter bucket[METRIC_HIST_N];
	struct counter sum_ns;
};

/* What several histograms hold together. */
struct metric_hist_total {
	uint64_t le[METRIC_HIST_N]; /* observations up to that bound; the last is all of them */
	uint64_t sum_ns;
};

#define METRIC_HIST_TOTAL_INIT ((struct metric_hist_total){ 0 })

/* Counts one duration. Writer only. Hot. */
void metric_hist_observe_ns(struct metric_hist *h, uint64_t ns);

/* The same where several threads write: two atomic additions. Hot. */
void metric_hist_observe_shared_ns(struct metric_hist *h, uint64_t ns);

/* Adds what `h` holds to *total: call it once for each worker's. Thread: any. */
void metric_hist_sum(const struct metric_hist *h, struct metric_hist_total *total);
