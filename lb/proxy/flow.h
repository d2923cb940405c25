/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One direction of a session: how much may be received, and sending what is queued.
 *
 * `from` names the flow by its source. Thread: owner worker. Hot. Layer: proxy.
 */

#include "proxy/session.h"

/* The receive of a flow, and its send. */
static inline enum sess_op flow_op_recv(enum side from)
{
	return OP_RECV_CLIENT + from;
}

static inline enum sess_op flow_op_send(enum side from)
{
	return OP_SEND_BACKEND + from;
}

/* Whether the source has ended; the client behind a plain request has not. */
bool flow_has_ended(const struct flow *f);

/*
 * Arms a receive through buffers if there is room for its bytes, else a poll for errors. No receive
 * is in flight.
 */
void flow_receive(struct session *s, enum side from);

/* Nothing is received from `side` for now: its end or error is noticed all the same. */
void flow_watch_errors(struct session *s, enum side side);

/* `b` was received: full buffers in a row make a flow bulk; as many small ones make it quiet again.
 */
void flow_judge_bulk(struct flow *f, const struct buf *b);

/* Starts a send of what is queued from `from`, if none is in flight. */
void flow_send(struct session *s, enum side from);

/* A send found no room (-EAGAIN): the next one waits for some, or comes when there is some. */
void flow_send_refused(struct session *s, enum side from);

/*
 * flow_wait_room() - go on with what came from `from` when its destination takes bytes again
 *
 * For a destination that has sent its FIN: no send, and with io_uring no poll, can wait for it.
 */
void flow_wait_room(struct session *s, enum side from);

/* Counts bytes that a kernel took, live: for the session and its backend. */
void flow_count_sent(struct session *s, enum side from, uint32_t n);
