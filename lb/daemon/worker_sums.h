/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Sums of the workers' counters. A worker makes its counters when its thread starts, and frees them
 * when the worker ends. So call these functions only after threads_start() has succeeded and before
 * PHASE_QUITTING.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdint.h>

struct threads;
struct worker_stats;

/* The counters of one worker. The worker may change them while main reads them. */
const struct worker_stats *worker_sums_of(const struct threads *t, uint32_t worker);

/* How many connections of all workers are open. */
uint64_t worker_sums_active(const struct threads *t);

/* How many connections of all workers have ended since the start. */
uint64_t worker_sums_ended(const struct threads *t);
