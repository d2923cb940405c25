/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One direction of a session: how much may be received, and sending what is queued.
 *
 * Thread: owner worker. Hot. Layer: proxy.
 */

#include "proxy/session.h"

/* Whether no more bytes come: the source has ended, or the message that may pass is over. */
static inline bool flow_is_ended(const struct session *s, enum dir d)
{
	const struct conn *from = s->conn[dir_source(d)];

	return from->rx >= RX_EOF || from->in.kind == FLOW_DONE;
}

/* Whether the destination takes no more bytes, so that bytes that still come are dropped. */
static inline bool flow_is_stopped(const struct session *s, enum dir d)
{
	return s->conn[dir_destination(d)]->tx == TX_CLOSED;
}

/* Whether the flow was cut short, so that its destination is to be reset behind the last byte. */
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

/* Arms a receive through buffers if the flow has room, else a poll for errors. No receive may be in
 * flight. */
void flow_receive(struct session *s, enum dir d);

/* Polls `side`, from which nothing is received for now, for its end or its error. */
void flow_watch_errors(struct session *s, enum side side);

/* Judges by `b`, just received, whether the flow is in bulk: full buffers in a row begin it, as
 * many small ones end it. */
void flow_judge_bulk(struct flow *f, const struct buf *b);

/* Starts a send of what is queued, if none is in flight. */
void flow_send(struct session *s, enum dir d);

/* A send found no room (-EAGAIN): starts one that waits for room, or polls for room. */
void flow_send_refused(struct session *s, enum dir d);

/*
 * flow_wait_room() - poll for room at the destination; relay_on_room() goes on
 *
 * For a destination that has sent its FIN, where no send can wait, and with io_uring no plain poll.
 */
void flow_wait_room(struct session *s, enum dir d);

/* Counts `n` bytes that the kernel took, for the session and for its backend. */
void flow_count_sent(struct session *s, enum dir d, uint32_t n);
