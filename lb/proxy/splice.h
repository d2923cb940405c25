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

/* What a splice has moved, and how it ended. */
struct moved {
	int n;     /* bytes */
	int error; /* 0, or a negative errno; -EAGAIN: a poll is armed that tells when to go on */
};

/* How many bytes may be spliced next: all, or the rest of a large payload; 0: none. */
uint64_t splice_most(const struct session *s, enum dir d);

/* Sees to it that the flow has a pipe. False: none is to be had. */
bool splice_get_pipe(struct session *s, enum dir d);

/*
 * splice_in() - from the source into the flow's pipe, `most` bytes at most
 *
 * The pipe's room bounds it, too. Neither bytes nor an error: the source has ended.
 */
struct moved splice_in(struct session *s, enum dir d, uint64_t most);

/* From the pipe to the destination, until it is empty (error 0), or the destination waits or fails.
 */
struct moved splice_out(struct session *s, enum dir d);

/* Waits until the source has more; while it is quiet no pipe is held. */
void splice_wait_in(struct session *s, enum dir d);

/* Gives the pipe back, with what may be in it. */
void splice_drop(struct session *s, enum dir d);
