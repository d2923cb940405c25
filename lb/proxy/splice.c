/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flow that is spliced goes round:
 *
 *     poll source -> splice(source, pipe) -> splice(pipe, destination) -> poll source ...
 *                                              | would wait
 *                                              +-> poll destination -> ...
 *
 * What was queued in buffers before goes out first; only then the pipe is emptied. splice(2) and
 * the polls are engine-neutral: io_uring would run a splice on a kernel thread of its own (design,
 * 3).
 *
 * Thread: owner worker. Hot.
 */
#include "proxy/splice.h"

#include <errno.h>
#include <poll.h>

#include "balance/pool.h"
#include "net/pipe.h"
#include "proxy/relay.h"
#include "proxy/tunnel.h"
#include "proxy/worker.h"

/* The least rest of a payload that goes through a pipe where that is asked for (design, section 3),
 * and where it is cheaper (measured: docs/decisions, 0012). */
#define MIN_PAYLOAD (64u << 10)
#define MIN_PAYLOAD_AUTO (128u << 10)

/* Bytes a flow may move in one turn, then others have theirs. */
#define TURN_BYTES (256u << 10)

/* A splice that brings less than this says that the stream has fallen quiet (measured: 8 KB a time
 * are cheaper through buffers, 16 KiB through a pipe) ... */
#define QUIET_BYTES 12288u
/* ... if it happens so many times in a row. */
#define QUIET_TIMES 8

/* How many bytes may be spliced next: all, or the rest of a large payload; 0: none. */
static uint64_t spliceable(const struct session *s, const struct flow *f)
{
	if (!s->is_tunnel || f->is_eof || f->is_dead)
		return 0;
	if (f->pipe == NULL && !pipe_is_available(s->worker->pipes))
		return 0;
	enum conf_splice mode = pool_splice(s->pool);
	bool is_asked = mode == CONF_SPLICE_ALWAYS;
	if (mode == CONF_SPLICE_NEVER)
		return 0;
	if (f->kind == FLOW_RAW)
		return is_asked || f->is_bulk ? UINT64_MAX : 0;
	if (f->kind != FLOW_WS)
		return 0;
	uint64_t rest = ws_track_payload_left(&f->ws);
	uint64_t least = f->is_piped ? 1 : is_asked ? MIN_PAYLOAD : MIN_PAYLOAD_AUTO;
	return rest >= least ? rest : 0;
}

bool splice_wants(const struct session *s, enum side from)
{
	return spliceable(s, &s->flow[from]) > 0;
}

void splice_drop(struct session *s, enum side from)
{
	struct flow *f = &s->flow[from];

	if (f->pipe == NULL)
		return;
	if (f->n_in_pipe == 0)
		pipe_put(s->worker->pipes, f->pipe);
	else
		pipe_discard(s->worker->pipes, f->pipe);
	f->pipe = NULL;
	f->n_in_pipe = 0;
}

/* Waits until the source has more; while it is quiet no pipe is held. */
static void wait_fill(struct session *s, enum side from)
{
	enum sess_op op = OP_FILL_CLIENT + from;

	if (s->flow[from].n_in_pipe == 0)
		splice_drop(s, from);
	if (!session_is_in_flight(s, op))
		loop_poll(s->worker->loop, s->fd[from], POLLIN | POLLRDHUP,
			  session_start_op(s, op));
}

static void wait_spill(struct session *s, enum side from)
{
	enum sess_op op = OP_SPILL_BACKEND + from;
	const struct flow *back = &s->flow[side_other(from)];

	relay_watch_errors(s, from);
	if (back->is_eof || back->is_sick) {
		relay_wait_room(s, from);
		return;
	}
	if (!session_is_in_flight(s, op))
		loop_poll(s->worker->loop, s->fd[side_other(from)], POLLOUT,
			  session_start_op(s, op));
}

/* A stream that brings little per call is cheaper through buffers again. */
static void judge_quiet(struct flow *f, size_t n)
{
	if (f->kind != FLOW_RAW || n >= QUIET_BYTES) {
		f->n_full = 0;
	} else if (++f->n_full >= QUIET_TIMES) {
		f->n_full = 0;
		f->is_bulk = false;
	}
}

/*
 * Source to pipe. Returns the bytes moved, or 0 when there is nothing more to do now: waiting,
 * ended, or no pipe to be had.
 */
static size_t fill(struct session *s, enum side from, uint64_t most)
{
	struct flow *f = &s->flow[from];

	if (f->pipe == NULL) {
		f->pipe = pipe_get(s->worker->pipes);
		if (f->pipe == NULL)
			return 0;
	}
	if (most > PIPE_BYTES - f->n_in_pipe)
		most = PIPE_BYTES - f->n_in_pipe;
	ssize_t n = loop_splice(s->worker->loop, s->fd[from], f->pipe->write_fd, (size_t)most);

	if (n > 0) {
		f->is_piped = true;
		f->n_in_pipe += (uint32_t)n;
		s->active_ms = loop_now_ms(s->worker->loop);
		if (f->kind == FLOW_WS)
			tunnel_count_frames(s->worker, from, ws_track_skip(&f->ws, (uint64_t)n));
		judge_quiet(f, (size_t)n);
		return (size_t)n;
	}
	if (n == -EAGAIN || n == -EINTR)
		wait_fill(s, from);
	else
		relay_source_ended(s, from, (int)n);
	return 0;
}

/* Pipe to destination. False when it has to wait, or failed. */
static bool spill(struct session *s, enum side from)
{
	struct flow *f = &s->flow[from];

	while (f->n_in_pipe > 0) {
		ssize_t n = loop_splice(s->worker->loop, f->pipe->read_fd, s->fd[side_other(from)],
					f->n_in_pipe);
		if (n == -EAGAIN || n == -EINTR) {
			wait_spill(s, from);
			return false;
		}
		if (n <= 0) {
			relay_sending_failed(s, from, n < 0 ? (int)n : -EPIPE);
			return false;
		}
		f->n_in_pipe -= (uint32_t)n;
		counter_add(&s->worker->stats->spliced_bytes, (uint64_t)n);
		relay_count_sent(s, from, (uint32_t)n);
	}
	return true;
}

void splice_run(struct session *s, enum side from)
{
	struct flow *f = &s->flow[from];
	enum sess_op op_fill = OP_FILL_CLIENT + from;

	/* What is in buffers is older than what is in the pipe: relay_on_send() comes back here. */
	if (!queue_is_empty(&f->queue) || session_is_in_flight(s, OP_SEND_BACKEND + from)) {
		relay_send(s, from);
		return;
	}
	if (session_is_in_flight(s, OP_SPILL_BACKEND + from) ||
	    session_is_in_flight(s, OP_ROOM_BACKEND + from) || session_is_in_flight(s, op_fill))
		return;

	size_t moved = 0;
	while (s->state == SESS_RELAY && spill(s, from)) {
		uint64_t most = spliceable(s, f);
		if (most == 0) {
			splice_drop(s, from);
			if (f->is_eof || f->is_dead)
				relay_check(s);
			else
				relay_read(s, from);
			return;
		}
		if (moved >= TURN_BYTES || f->pipe == NULL) {
			wait_fill(s, from);
			return;
		}
		size_t n = fill(s, from, most);
		if (n == 0)
			break;
		moved += n;
	}
}

void splice_on_fill(struct session *s, enum side from, const struct completion *c)
{
	struct flow *f = &s->flow[from];

	if (s->state != SESS_RELAY || c->res == -ECANCELED)
		return;
	uint64_t most = spliceable(s, f);
	if (most == 0) {
		relay_read(s, from);
		return;
	}
	if (fill(s, from, most) > 0) {
		splice_run(s, from);
	} else if (f->pipe == NULL && s->state == SESS_RELAY && !f->is_eof &&
		   !session_is_in_flight(s, OP_FILL_CLIENT + from)) {
		relay_read_buffered(s, from); /* no pipe to be had */
	}
}

void splice_on_spill(struct session *s, enum side from, const struct completion *c)
{
	if (s->state == SESS_DRAIN) {
		session_mark_dirty(s, from); /* a send may have found the wait under way */
		return;
	}
	if (s->state != SESS_RELAY || c->res == -ECANCELED)
		return;
	/* The destination's FIN alone: polling again would tell just that, at once. */
	if (c->res > 0 && !(c->res & (POLLOUT | POLLERR | POLLHUP)))
		relay_wait_room(s, from);
	else
		splice_run(s, from);
}
