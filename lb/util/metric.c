/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Histograms of durations.
 *
 * A duration is counted in the first bucket whose upper bound it does not exceed (bucket_of()).
 * metric_hist_sum() adds to each bucket the buckets below it, because Prometheus wants for each
 * bound the number of durations up to that bound. Counters are inline, in util/metric.h.
 *
 * Thread: one writer, or several that call the shared functions; any reader.
 */
#include "util/metric.h"

#include "util/assert.h"

/* The upper bound of each bucket, in nanoseconds and as Prometheus writes it. A duration that is
 * equal to a bound belongs to the bound's bucket. */
/* clang-format off */
#define BOUNDS(X) \
	X(   1000000, "0.001") \
	X(   2500000, "0.0025") \
	X(   5000000, "0.005") \
	X(  10000000, "0.01") \
	X(  25000000, "0.025") \
	X(  50000000, "0.05") \
	X( 100000000, "0.1") \
	X( 250000000, "0.25") \
	X( 500000000, "0.5") \
	X(1000000000, "1") \
	X(2500000000, "2.5") \
	X(5000000000, "5") \
	X(10000000000, "10") \
	X(UINT64_MAX, "+Inf")
/* clang-format on */

#define X(ns, le) le,
const char *const metric_hist_le[METRIC_HIST_N] = { BOUNDS(X) };
#undef X

#define X(ns, le) ns,
static const uint64_t bound_ns[METRIC_HIST_N] = { BOUNDS(X) };
#undef X

static size_t bucket_of(uint64_t ns)
{
	size_t i = 0;

	while (ns > bound_ns[i]) /* ends at the last bound, which is UINT64_MAX */
		i++;
	LB_ASSERT(i < METRIC_HIST_N);
	return i;
}

void metric_hist_observe_ns(struct metric_hist *h, uint64_t ns)
{
	counter_add(&h->bucket[bucket_of(ns)], 1);
	counter_add(&h->sum_ns, ns);
}

void metric_hist_observe_shared_ns(struct metric_hist *h, uint64_t ns)
{
	counter_add_shared(&h->bucket[bucket_of(ns)], 1);
	counter_add_shared(&h->sum_ns, ns);
}

void metric_hist_sum(const struct metric_hist *h, struct metric_hist_total *total)
{
	uint64_t below = 0;

	for (size_t i = 0; i < METRIC_HIST_N; i++) {
		below += counter_read(&h->bucket[i]);
		total->le[i] += below;
	}
	total->sum_ns += counter_read(&h->sum_ns);
}
