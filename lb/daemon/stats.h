/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Statistics: a snapshot of everything that `stats` and /metrics show, read from the registry and
 * from the workers' counters. Reads only; what an operator asks to be done is commands.c.
 *
 * Thread: main. Layer: daemon.
 */

#include "util/assert.h"

struct server;
struct status;

/*
 * stats_read() - fill a zeroed snapshot, to be freed by status_deinit() in any case
 *
 * Its texts are borrowed from the registry, so the snapshot must be freed before main's loop turns.
 * Returns 0, -ENOMEM, or -ESHUTDOWN once the workers were told to end, because a worker that ends
 * frees its counters.
 */
int stats_read(struct server *s, struct status *ret) LB_MUST_CHECK;
