/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The relay: what comes from one side goes to the other, exactly, and no faster than it is taken.
 *
 * Thread: owner worker. Hot. Layer: proxy.
 */

#include "conf/conf.h"
#include "proxy/session.h"

/* Both flows run: from the connect on in tcp mode, from the 101 on in http. State: RELAY. */
void relay_start(struct session *s);

/* Arms a receive from `from` if there is room for its bytes, else a poll for errors. */
void relay_read(struct session *s, enum side from);

/* The same through buffers, whatever the pool says of splicing; no receive is in flight. */
void relay_read_buffered(struct session *s, enum side from);

/* Nothing is received from `side` for now: its end or error is noticed all the same. */
void relay_watch_errors(struct session *s, enum side side);

/* Queues bytes that came from `from`, as far as the flow's kind lets them pass. Owns `b`. */
void relay_take(struct session *s, enum side from, struct buf *b);

/* `from` has ended: by a FIN (error 0), or by a negative errno. */
void relay_source_ended(struct session *s, enum side from, int error);

/* A send (or splice) of what came from `from` failed: its destination takes no more. */
void relay_sending_failed(struct session *s, enum side from, int error);

/* What a negative errno of the socket on `side` says of the peer there. */
enum sess_end relay_error_reason(const struct session *s, enum side side, int error);

/* Starts a send of what is queued from `from`, if none is in flight. */
void relay_send(struct session *s, enum side from);

/* A send found no room (-EAGAIN): the next one waits for some, or comes when there is some. */
void relay_send_refused(struct session *s, enum side from);

/*
 * relay_wait_room() - go on with what came from `from` when its destination takes bytes again
 *
 * For a destination that has sent its FIN: no send, and with io_uring no poll, can wait for it.
 */
void relay_wait_room(struct session *s, enum side from);
void relay_on_room(struct session *s, enum side from, const struct completion *c);

/* Passes ends on and sees whether all is done. */
void relay_check(struct session *s);

/* (Re)starts the time-out that fits: idle, body or half_closed. */
void relay_watch_time(struct session *s);

/*
 * relay_is_quiet() - whether no byte has moved for `limit_ms`, so that a time-out is over
 *
 * None that lb received or sent since *since_ms (active_ms, say), and none that a peer's kernel on
 * one of `sides` (1u << side) has acknowledged since this was last asked: *since_ms is moved on to
 * when one did, as what lb has sent may drain for much longer than a time-out lasts. While bytes
 * wait for a peer's window to open, `shut_out_ms` is the limit (docs/decisions, 0015). Where it is
 * not over, the timer is started for the rest. When a time-out is due this costs a system call for
 * each side.
 */
bool relay_is_quiet(struct session *s, unsigned sides, uint64_t *since_ms, uint32_t limit_ms,
		    uint32_t shut_out_ms);
#define BOTH_SIDES (1u << CLIENT | 1u << BACKEND)

/* How long a peer that is shut out may take no byte, where others may for `limit_ms`. */
static inline uint32_t relay_shut_out_ms(uint32_t limit_ms)
{
	return limit_ms < CONF_OFF / 2 ? 2 * limit_ms : limit_ms;
}

/* What `side` has acknowledged so far does not count for the next relay_is_quiet(). */
void relay_note_taken(struct session *s, enum side side);

/*
 * relay_client_fin() - the client of a plain request has sent its FIN behind it
 *
 * Whether it has left, or only half-closed, nothing tells but what becomes of bytes sent to it. So
 * it has left once no byte has moved for LEFT_MS (docs/decisions, 0021): relay_patience_ms() is the
 * time-out then, where `limit_ms` would be, and relay_may_have_left() says that it is.
 */
void relay_client_fin(struct session *s);
bool relay_may_have_left(const struct session *s);
uint32_t relay_patience_ms(const struct session *s, uint32_t limit_ms);

void relay_on_recv(struct session *s, enum side from, const struct completion *c);
void relay_on_send(struct session *s, enum side from, const struct completion *c);
void relay_on_error_poll(struct session *s, enum side side, const struct completion *c);
void relay_on_timeout(struct session *s);

/* Counts bytes that a kernel took, live: for the session and its backend. */
void relay_count_sent(struct session *s, enum side from, uint32_t n);
