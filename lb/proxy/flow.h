/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One direction of a session: how much may be received, and sending what is queued.
 *
 * Thread: owner worker. Hot. Layer: proxy.
 */

#include "proxy/session.h"

/* Whether nothing more comes: the source has ended, or the message that was to pass is over. */
static inline bool flow_is_ended(const struct session *s, enum dir d)
{
	const struct conn *from = s->conn[dir_source(d)];

	return from->rx >= RX_EOF || from->in.kind == FLOW_DONE;
}

/* Whether the destination takes no more: what comes is dropped. */
static inline bool flow_is_stopped(const struct session *s, enum dir d)
{
	return s->conn[dir_destination(d)]->tx == TX_CLOSED;
}

/* Whether the end of the flow is no end to rely on: its destination is to be reset behind it. */
bool flow_ends_in_reset(const struct session *s, enum dir d);

/* Whether a send, or a receive, is in flight. */
static inline bool flow_is_sending(const struct session *s, enum dir d)
{
	return conn_is_in_flight(s->conn[dir_destination(d)], CONN_SEND);
}

static inline bool flow_is_receiving(const struct session *s, enum dir d)
{
	return conn_is_in_flight(s->conn[dir_source(d)], CONN_RECV);
}

/*
 * Arms a receive through buffers if there is room for its bytes, else a poll for errors. No receive
 * is in flight.
 */
void flow_receive(struct session *s, enum dir d);

/* Nothing is received from `side` for now: its end or error is noticed all the same. */
void flow_watch_errors(struct session *s, enum side side);

/* `b` was received: full buffers in a row make a flow bulk; as many small ones make it quiet again.
 */
void flow_judge_bulk(struct flow *f, const struct buf *b);

/* Starts a send of what is queued, if none is in flight. */
void flow_send(struct session *s, enum dir d);

/* A send found no room (-EAGAIN): the next one waits for some, or comes when there is some. */
void flow_send_refused(struct session *s, enum dir d);

/*
 * flow_wait_room() - go on when the destination takes bytes again
 *
 * For a destination that has sent its FIN: no send, and with io_uring no poll, can wait for it.
 */
void flow_wait_room(struct session *s, enum dir d);

/* Counts bytes that a kernel took, live: for the session and its backend. */
void flow_count_sent(struct session *s, enum dir d, uint32_t n);
