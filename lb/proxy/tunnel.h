/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The tunnel: counting the frames of a WebSocket.
 *
 * Thread: owner worker. Hot. Layer: proxy.
 */

#include <stddef.h>
#include <stdint.h>

#include "proto/ws_frame.h"
#include "proxy/session.h"

struct worker;

/*
 * Follows the WebSocket frames in `n` bytes that pass in the direction `d`, counts them, and notes
 * which side was the first to send a Close frame. The flow's kind must be FLOW_WS.
 */
void tunnel_track(struct session *s, enum dir d, const uint8_t *p, size_t n);

/* Follows the frames in `n` bytes from the side `from`, and counts them for the worker. `t`
 * follows the frames of that side. */
void tunnel_count(struct worker *w, enum side from, struct ws_track *t, const uint8_t *p, size_t n);

/* Counts frames that the caller has followed by ws_track_skip(). */
void tunnel_count_frames(struct worker *w, enum side from, struct ws_count n);
