/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Process: what the kernel counts of this process, for /metrics.
 *
 * Reads /proc anew at each call. Thread: main. Layer: daemon.
 */

struct status_process;
struct threads;

/*
 * process_read() - CPU time, memory, threads and descriptors
 *
 * Descriptors are those of all tables: each worker has one of its own, and main and the log thread
 * share one. A figure that cannot be read is 0.
 */
void process_read(const struct threads *t, struct status_process *ret);
