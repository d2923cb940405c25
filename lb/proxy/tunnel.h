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
 * Follows the frames in bytes that go `d` in a FLOW_WS, counts them, and notes which side
 * was the first to send a Close frame.
 */
void tunnel_track(struct session *s, enum dir d, const uint8_t *p, size_t n);

/* Follows the frames in bytes that came from a side, and counts them. */
void tunnel_count(struct worker *w, enum side from, struct ws_track *t, const uint8_t *p, size_t n);

/* Counts frames that were followed otherwise. */
void tunnel_count_frames(struct worker *w, enum side from, struct ws_count n);
