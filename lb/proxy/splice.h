/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Splice: in bulk, bytes go from socket to socket through a pipe and never enter this process.
 *
 * Only what needs no looking at: in mode tcp (and other tunnels that are relayed unseen) everything
 * may be spliced, in a WebSocket the rest of a large payload; with `auto` what pays for its pipe
 * (docs/decisions, 0012). The pipe is lent by the worker while bytes run, and bytes in it count as
 * queued; where all are lent, bytes go through buffers.
 *
 * Thread: owner worker. Hot. Layer: proxy.
 */

#include "proxy/session.h"

/* Whether what comes next from `from` should be spliced. */
bool splice_wants(const struct session *s, enum side from);

/* Goes on where it is: fills the pipe, empties it, or waits for what is missing. */
void splice_run(struct session *s, enum side from);

/* Gives the pipe back, with what may be in it. */
void splice_drop(struct session *s, enum side from);

/* The source can be read. */
void splice_on_fill(struct session *s, enum side from, const struct completion *c);

/* The destination can be written. */
void splice_on_spill(struct session *s, enum side from, const struct completion *c);
