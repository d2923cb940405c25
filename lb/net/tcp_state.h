/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the kernel's TCP knows of a peer: whether the peer is there, and what it has taken of the
 * bytes sent to it (TCP_INFO). Each function makes one system call.
 *
 * Thread: the loop's. Layer: net.
 */

#include <stdbool.h>
#include <stdint.h>

#include "util/assert.h"

struct loop;

/* Whether the peer's kernel has acknowledged all bytes that were sent. True when that cannot be
 * known. */
bool tcp_state_is_delivered(struct loop *l, int fd);

/*
 * tcp_state_is_alive() - after ETIMEDOUT: whether the peer was heard within TCP_USER_TIMEOUT
 *
 * Tells a peer that answers but takes no bytes (a closed window) from a peer that has vanished.
 */
bool tcp_state_is_alive(struct loop *l, int fd, uint32_t user_ms);

/*
 * What a peer's kernel has taken of the bytes sent to it. quiet_ms is exact while bytes are on
 * their way to the peer; otherwise it counts from when the last bytes were sent.
 */
struct tcp_taken {
	uint32_t bytes;    /* modulo 2^32; a changed value: the peer took more */
	uint64_t quiet_ms; /* ms since the peer last took bytes */
	bool is_shut_out;  /* bytes wait for the peer's window to open */
};

/*
 * tcp_state_taken() - how much the peer has acknowledged, and when
 *
 * Bytes that wait for the peer's window to open are not on their way. Whether the peer has read
 * what its kernel has acknowledged cannot be known. Returns false, and leaves *ret alone, where the
 * kernel gives no information.
 */
bool tcp_state_taken(struct loop *l, int fd, struct tcp_taken *ret) LB_MUST_CHECK;
