/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What TCP knows of a peer: whether it is there, and what it has taken of the bytes sent to it
 * (TCP_INFO). Each question is a system call.
 *
 * Thread: the loop's. Layer: net.
 */

#include <stdbool.h>
#include <stdint.h>

#include "util/assert.h"

struct loop;

/* Whether the peer's kernel has acknowledged all that was sent (true if that cannot be known). */
bool tcp_state_is_delivered(struct loop *l, int fd);

/*
 * tcp_state_is_alive() - after ETIMEDOUT: whether the peer was heard of within TCP_USER_TIMEOUT
 *
 * Tells a peer that is there but takes no bytes (a closed window) from one that has vanished.
 */
bool tcp_state_is_alive(struct loop *l, int fd, uint32_t user_ms);

/*
 * What a peer's kernel has taken of the bytes sent to it. quiet_ms is exact while bytes are on
 * their way to it; else it goes by when the last of them set out.
 */
struct tcp_taken {
	uint32_t bytes;    /* modulo 2^32: that more were taken is told by a difference */
	uint64_t quiet_ms; /* since it last took some */
	bool is_shut_out;  /* bytes wait for its window to open */
};

/*
 * tcp_state_taken() - how much the peer has acknowledged, and when
 *
 * What waits for its window to open is not on its way. What its kernel has acknowledged and it has
 * not yet read cannot be known. False, and *ret untouched, where nothing is to be known.
 */
bool tcp_state_taken(struct loop *l, int fd, struct tcp_taken *ret) LB_MUST_CHECK;
