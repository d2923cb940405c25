/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Sums of the workers' counters. Each worker writes its own counters and frees them when it ends,
 * so they are read from the start of its thread until PHASE_QUITTING.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdint.h>

struct threads;
struct worker_stats;

/* The counters of a worker that runs. */
const struct worker_stats *worker_sums_of(const struct threads *t, uint32_t worker);

/* Open connections. */
uint64_t worker_sums_active(const struct threads *t);

/* Connections that have ended. */
uint64_t worker_sums_ended(const struct threads *t);
