/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Statistics: a snapshot of everything that `stats` and /metrics show, read from the registry and
 * from the workers' counters. Nothing is changed here; commands.c is for an operator's commands.
 *
 * Thread: main. Layer: daemon.
 */

#include "util/assert.h"

struct server;
struct status;

/*
 * stats_read() - fill a zeroed snapshot, to be freed by status_deinit() in any case
 *
 * The snapshot's texts are borrowed from the registry, so the caller has to free the snapshot
 * before main's loop turns. Returns 0, -ENOMEM, or -ESHUTDOWN once the workers were told to end,
 * because a worker that ends frees its counters.
 */
int stats_read(struct server *s, struct status *ret) LB_MUST_CHECK;
