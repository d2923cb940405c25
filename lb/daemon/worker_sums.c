/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The workers' counters, read by main while the workers write them.
 *
 * Thread: main.
 */
#include "daemon/worker_sums.h"

#include "daemon/threads.h"

const struct worker_stats *worker_sums_of(const struct threads *t, uint32_t worker)
{
	LB_ASSERT(worker < t->n && t->thread[worker].worker != NULL);
	return t->thread[worker].worker->stats;
}

uint64_t worker_sums_active(const struct threads *t)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < t->n; i++)
		n += counter_read(&worker_sums_of(t, i)->active);
	return n;
}

uint64_t worker_sums_ended(const struct threads *t)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < t->n; i++)
		n += worker_n_ended(worker_sums_of(t, i));
	return n;
}
