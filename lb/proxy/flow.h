/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * One direction of a session: how much may be received, and sending what is queued.
 *
 * Thread: owner worker. Hot. Layer: proxy.
 */

#include "net/tls.h"
#include "proxy/session.h"

/* Whether no more bytes enter the flow: its source has ended, or the message that may pass is over
 * (FLOW_DONE). */
static inline bool flow_is_ended(const struct session *s, enum dir d)
{
	const struct conn *from = s->conn[dir_source(d)];

	return from->rx >= RX_EOF || from->in.kind == FLOW_DONE;
}

/* Whether the destination takes no more bytes, so that lb drops what still comes from the source.
 */
static inline bool flow_is_stopped(const struct session *s, enum dir d)
{
	return s->conn[dir_destination(d)]->tx == TX_CLOSED;
}

/* Whether the flow was cut short, so that its destination is to be reset after the last byte. */
bool flow_ends_in_reset(const struct session *s, enum dir d);

/* Whether bytes wait to be sent: in the queue, in the pipe, or as records of TLS. */
static inline bool flow_has_bytes(const struct session *s, enum dir d)
{
	const struct flow *f = session_flow(s, d);
	const struct tls *t = conn_tls(s->conn[dir_destination(d)]);

	return !queue_is_empty(&f->queue) || flow_bytes_in_pipe(f) > 0 ||
	       (t != NULL && !queue_is_empty(&t->sealed));
}

/* flow_is_sending(): whether a send of the flow is in flight. flow_is_receiving(): whether a
 * receive is. */
static inline bool flow_is_sending(const struct session *s, enum dir d)
{
	return conn_is_in_flight(s->conn[dir_destination(d)], CONN_SEND);
}

static inline bool flow_is_receiving(const struct session *s, enum dir d)
{
	return conn_is_in_flight(s->conn[dir_source(d)], CONN_RECV);
}

/* When the flow has room, arms a receive into buffers, else a poll for errors. No receive may be in
 * flight before the call. */
void flow_receive(struct session *s, enum dir d);

/* Polls `side` for its end or an error, while no receive is armed on it. */
void flow_watch_errors(struct session *s, enum side side);

/* Decides whether the flow is in bulk, by the size of `b`, which was just received: full buffers in
 * a row begin bulk, as many small pieces in a row end it. */
void flow_judge_bulk(struct flow *f, const struct buf *b);

/* Starts a send of what is queued, if none is in flight. */
void flow_send(struct session *s, enum dir d);

/* Handles a send that was refused because the socket had no room (-EAGAIN): starts a send that
 * waits for room, or a poll for room. */
void flow_send_refused(struct session *s, enum dir d);

/*
 * flow_wait_room() - poll for room at the destination
 *
 * relay_on_room() handles the completion. Needed for a destination that has sent its FIN: no send
 * can wait for room there, and with io_uring a plain poll would complete at once
 * (loop_poll_room()).
 */
void flow_wait_room(struct session *s, enum dir d);

/* Counts and drops `n` bytes that the kernel has taken of the send that was in flight. */
void flow_sent(struct session *s, enum dir d, uint32_t n);

/* Counts `n` bytes that the kernel has taken from the flow, and notes the time of it for the
 * session's time-outs. */
void flow_count_sent(struct session *s, enum dir d, uint32_t n);

/*
 * flow_end() - send the flow's end to the destination, behind all bytes
 *
 * No bytes may wait, and tx is open. Where the destination is an end of TLS, close_notify goes
 * first. Returns false while that is on its way: to be called again when no bytes wait any more.
 * When it returns true, all is out but the FIN, which conn_shutdown() sends.
 */
bool flow_end(struct session *s, enum dir d) LB_MUST_CHECK;
