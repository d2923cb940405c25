/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Splice: in bulk, bytes go from socket to socket through a pipe and never enter this process.
 *
 * Only bytes that lb need not look at can be spliced: all bytes of a raw tunnel (mode tcp, for
 * example), and the rest of a large payload of a WebSocket. With `splice: auto` lb splices only
 * where a pipe is cheaper than buffers (docs/decisions, 0012). The worker lends the flow a pipe
 * while bytes move; bytes in the pipe count as queued. When all pipes are lent, the flow's bytes go
 * through buffers.
 *
 * Thread: owner worker. Hot. Layer: proxy.
 */

#include "proxy/session.h"

/* What a splice has moved, and how it ended. */
struct moved {
	int n; /* bytes that were moved */
	/* 0, or a negative errno. -EAGAIN: a socket would block, and a poll is armed that tells
	 * when to go on. */
	int error;
};

/* Returns how many bytes may be spliced next: UINT64_MAX for a raw stream, or the rest of a large
 * payload; 0: none. */
uint64_t splice_most(const struct session *s, enum dir d);

/* Lends the flow a pipe, unless it has one. Returns false when all pipes are lent to other flows.
 */
bool splice_get_pipe(struct session *s, enum dir d);

/*
 * splice_in() - move up to `most` bytes from the source into the flow's pipe
 *
 * Moves no more bytes than the pipe has room for. When `n` and `error` in the result are both 0,
 * the source has sent its FIN.
 */
struct moved splice_in(struct session *s, enum dir d, uint64_t most);

/* Moves bytes from the pipe to the destination until the pipe is empty (`error` is 0), the
 * destination has no room (-EAGAIN), or the destination fails. */
struct moved splice_out(struct session *s, enum dir d);

/* Polls the source for more bytes. An empty pipe is given back for the time of the wait. */
void splice_wait_in(struct session *s, enum dir d);

/* Gives the flow's pipe back. Bytes that are in the pipe are dropped. */
void splice_drop(struct session *s, enum dir d);
