/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Splicing: the bytes of one flow go through a pipe of the kernel and never enter this process.
 *
 *   source --splice_in()--> pipe --splice_out()--> destination
 *
 * relay_splice() in relay.c drives a spliced flow by these steps:
 *
 *   poll source -> splice_in() -> splice_out() -> poll source ...
 *                                      | would wait
 *                                      +-> poll destination -> ...
 *
 * A worker lends the flow a pipe when there are bytes to splice (splice_get_pipe()), and gets the
 * pipe back when the source has no more bytes for now (splice_wait_in()). Bytes in a pipe count as
 * queued. Bytes that were queued in buffers are older than those in the pipe, and go out first.
 * splice_in() and splice_out() return how many bytes they have moved and how that ended; relay.c
 * decides what it means for the session.
 *
 * splice_most() says how much may be spliced: of a raw stream in bulk all bytes, and of a WebSocket
 * the rest of a large payload, but no further, because lb has to look at the header of the next
 * frame.
 *
 * The system call splice(2) is used with both engines, because io_uring would run each splice on a
 * kernel thread of its own.
 *
 * Thread: owner worker. Hot: no allocation, no lock.
 */
#include "proxy/splice.h"

#include <errno.h>
#include <poll.h>

#include "balance/pool.h"
#include "net/pipe.h"
#include "proxy/flow.h"
#include "proxy/tunnel.h"
#include "proxy/worker.h"

/* When less than this is left of a WebSocket's payload, no splice begins: MIN_PAYLOAD with `splice:
 * always`, and MIN_PAYLOAD_AUTO with `auto`, where a pipe begins to be cheaper (measured:
 * docs/decisions, 0012). */
#define MIN_PAYLOAD (64u << 10)
#define MIN_PAYLOAD_AUTO (128u << 10)

/* When QUIET_TIMES splices in a row bring less than QUIET_BYTES each, the stream is no longer in
 * bulk. Measured: pieces of 8 KiB are cheaper through buffers, pieces of 16 KiB through a pipe. */
#define QUIET_BYTES 12288u
#define QUIET_TIMES 8

/* Returns how many bytes may be spliced next: UINT64_MAX for a raw stream, or the rest of a large
 * payload; 0: none. */
uint64_t splice_most(const struct session *s, enum dir d)
{
	const struct flow *f = session_flow(s, d);

	if (s->state != SESS_TUNNEL || flow_is_ended(s, d) || flow_is_stopped(s, d))
		return 0;
	if (s->conn[CLIENT]->in.is_tls || s->conn[BACKEND]->in.is_tls)
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

void splice_drop(struct session *s, enum dir d)
{
	struct flow *f = session_flow(s, d);

	if (f->pipe == NULL || f->is_tls)
		return;
	if (f->pipe->n_bytes == 0)
		pipe_put(s->worker->pipes, f->pipe);
	else
		pipe_discard(s->worker->pipes, f->pipe);
	f->pipe = NULL;
}

/* Polls the source for more bytes. An empty pipe is given back for the time of the wait. */
void splice_wait_in(struct session *s, enum dir d)
{
	struct conn *from = s->conn[dir_source(d)];

	LB_ASSERT(s->state != SESS_DEAD);
	if (flow_bytes_in_pipe(&from->in) == 0)
		splice_drop(s, d);
	if (!conn_is_in_flight(from, CONN_READABLE))
		conn_poll(&s->worker->conns, from, CONN_READABLE, POLLIN | POLLRDHUP);
}

static void wait_out(struct session *s, enum dir d)
{
	struct conn *to = s->conn[dir_destination(d)];

	flow_watch_errors(s, dir_source(d));
	if (to->rx != RX_OPEN) {
		flow_wait_room(s, d);
		return;
	}
	if (!conn_is_in_flight(to, CONN_WRITABLE))
		conn_poll(&s->worker->conns, to, CONN_WRITABLE, POLLOUT);
}

/* Ends bulk for a raw stream whose splices bring few bytes each. */
static void judge_quiet(struct flow *f, size_t n)
{
	if (f->kind != FLOW_RAW || n >= QUIET_BYTES) {
		f->n_full = 0;
	} else if (++f->n_full >= QUIET_TIMES) {
		f->n_full = 0;
		f->is_bulk = false;
	}
}

bool splice_get_pipe(struct session *s, enum dir d)
{
	struct flow *f = session_flow(s, d);

	LB_ASSERT(!f->is_tls);
	if (f->pipe == NULL)
		f->pipe = pipe_get(s->worker->pipes);
	return f->pipe != NULL;
}

struct moved splice_in(struct session *s, enum dir d, uint64_t most)
{
	struct flow *f = session_flow(s, d);

	LB_ASSERT(f->pipe != NULL && most > 0);
	if (most > PIPE_BYTES - f->pipe->n_bytes)
		most = PIPE_BYTES - f->pipe->n_bytes;
	ssize_t n = loop_splice(s->worker->loop, s->conn[dir_source(d)]->fd, f->pipe->write_fd,
				(size_t)most);

	if (n == -EAGAIN || n == -EINTR) {
		splice_wait_in(s, d);
		return (struct moved){ .error = -EAGAIN };
	}
	if (n <= 0)
		return (struct moved){ .error = (int)n };
	f->is_piped = true;
	f->pipe->n_bytes += (uint32_t)n;
	s->active_ms = loop_now_ms(s->worker->loop);
	if (f->kind == FLOW_WS)
		tunnel_count_frames(s->worker, dir_source(d), ws_track_skip(&f->ws, (uint64_t)n));
	judge_quiet(f, (size_t)n);
	return (struct moved){ .n = (int)n };
}

struct moved splice_out(struct session *s, enum dir d)
{
	struct pipe *p = session_flow(s, d)->pipe;
	struct moved m = { 0 };

	LB_ASSERT(queue_is_empty(&session_flow(s, d)->queue) && !flow_is_sending(s, d));

	while (p != NULL && p->n_bytes > 0) {
		ssize_t n = loop_splice(s->worker->loop, p->read_fd,
					s->conn[dir_destination(d)]->fd, p->n_bytes);
		if (n == -EAGAIN || n == -EINTR) {
			wait_out(s, d);
			m.error = -EAGAIN;
			return m;
		}
		if (n <= 0) {
			m.error = n < 0 ? (int)n : -EPIPE;
			return m;
		}
		m.n += (int)n;
		p->n_bytes -= (uint32_t)n;
		counter_add(&s->worker->stats->spliced_bytes, (uint64_t)n);
		flow_count_sent(s, d, (uint32_t)n);
	}
	return m;
}
