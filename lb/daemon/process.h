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
 * Descriptors are counted in all tables: the table of main and of the log thread, and the table of
 * each worker that has one of its own. A figure that cannot be read is 0.
 */
void process_read(const struct threads *t, struct status_process *ret);
