/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Splice: in bulk, bytes go from socket to socket through a pipe and never enter this process.
 *
 * Only bytes that lb need not look at can be spliced: all of a raw tunnel (mode tcp, for example),
 * and the rest of a large payload of a WebSocket. With `splice: auto` only bytes for which a pipe
 * is cheaper are (docs/decisions, 0012). The worker lends a pipe while bytes run, and bytes in it
 * count as queued. When all pipes are lent, bytes go through buffers.
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

/* Gets the flow a pipe, if it has none. Returns false when all pipes are lent. */
bool splice_get_pipe(struct session *s, enum dir d);

/*
 * splice_in() - move up to `most` bytes from the source into the flow's pipe
 *
 * No more than the pipe has room for. When n and error are both 0, the source has ended.
 */
struct moved splice_in(struct session *s, enum dir d, uint64_t most);

/* Moves bytes from the pipe to the destination until the pipe is empty (error 0), or the
 * destination has no room (-EAGAIN) or fails. */
struct moved splice_out(struct session *s, enum dir d);

/* Polls until the source has more bytes. An empty pipe is given back meanwhile. */
void splice_wait_in(struct session *s, enum dir d);

/* Gives the pipe back, with what may be in it. */
void splice_drop(struct session *s, enum dir d);
