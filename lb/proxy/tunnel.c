/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tunnel: WebSocket frames are counted as their bytes pass; no byte is changed or held back.
 *
 * Each flow of a WebSocket has a struct ws_track (proto/ws_frame.h), which follows the headers of
 * the frames in the flow's bytes. The counts go to the worker's counters: frames, data messages,
 * and streams whose framing broke RFC 6455. The side whose Close frame came first is noted in the
 * ws_track of that side's flow, for the access log.
 *
 * Thread: owner worker. Hot: called for each buffer that is received.
 */
#include "proxy/tunnel.h"

#include "proxy/worker.h"

void tunnel_count_frames(struct worker *w, enum side from, struct ws_count n)
{
	if (n.frames == 0)
		return;
	counter_add(from == CLIENT ? &w->stats->frames_in : &w->stats->frames_out, n.frames);
	counter_add(from == CLIENT ? &w->stats->messages_in : &w->stats->messages_out, n.messages);
}

void tunnel_count(struct worker *w, enum side from, struct ws_track *t, const uint8_t *p, size_t n)
{
	bool was_broken = ws_track_is_broken(t);

	tunnel_count_frames(w, from, ws_track_feed(t, p, n));
	if (!was_broken && ws_track_is_broken(t))
		counter_add(&w->stats->protocol_errors, 1);
}

void tunnel_track(struct session *s, enum dir d, const uint8_t *p, size_t n)
{
	struct ws_track *t = &session_flow(s, d)->ws;
	enum side from = dir_source(d);

	LB_DASSERT(session_flow(s, d)->kind == FLOW_WS);
	tunnel_count(s->worker, from, t, p, n);
	if (ws_track_saw_close(t) && !ws_track_saw_close(&s->conn[side_other(from)]->in.ws))
		ws_track_set_first(t);
}
