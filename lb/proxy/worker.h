/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A worker: one loop with its own sockets, sessions, buffers and counters.
 *
 * A worker is an object, not a thread: daemon/threads makes a thread around each one, and tests run
 * several in one thread. Main sends messages (proxy/message.h) to its mailbox, and reads its
 * counters.
 *
 * Layer: proxy.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "balance/pool.h"
#include "ev/loop.h"
#include "ev/mailbox.h"
#include "net/conn.h"
#include "proto/ws_frame.h"
#include "proxy/end.h"
#include "proxy/outcome.h"
#include "proxy/session.h"
#include "proxy/wait.h"
#include "util/list.h"
#include "util/log.h"
#include "util/metric.h"

struct members;
struct message_apply;
struct message_quit;
struct pipe_pool;
struct snapshot;
struct pool;
struct slab;
struct walk;

/* Classes of tags in a worker's loop. */
enum { CLASS_CONN = 2, CLASS_LISTEN = 3 };

/* The value of capacity.n_used of a worker that has ended: no slot can be reserved there. */
#define CAPACITY_CLOSED UINT64_MAX

/* A worker's slots, one for each connection, which all workers see and may reserve. thread: any */
struct capacity {
	_Atomic uint64_t n_used;    /* reserved: by sessions, accepts and sockets handed off here */
	_Atomic uint64_t n_slots;   /* one for two descriptors; the worker alone writes */
	struct mailbox *mail;       /* borrows; constant */
	_Atomic uint32_t n_pending; /* sockets handed off here and not received yet */
	struct mail wakeup;         /* is in `mail` while n_pending > 0 */
} LB_CACHE_ALIGNED;

/* What all workers share. thread: any */
struct proxy {
	uint32_t n_workers;
	uint32_t leaving_ms;       /* how long a LEAVING listening socket still accepts; constant */
	struct capacity *capacity; /* owns: one per worker */
	int handoff_fd[2];         /* borrows: a socket pair in every table; from [0] to [1] */
	_Atomic uint32_t n_handoffs; /* sockets in that pair */
	_Atomic uint64_t n_conns;    /* slots that are reserved, of all workers together */
	_Atomic uint64_t max_conns;  /* limits.connections, or what the descriptors allow */
	_Atomic uint64_t last_id;    /* the last session id that a worker has taken */
};

/* thread: the worker writes, any reads */
struct worker_stats {
	struct counter accepted;
	struct counter active;                    /* gauge: sessions */
	struct counter handshaking;               /* gauge: sessions that do not relay yet */
	struct counter frames_in, frames_out;     /* WebSocket frames from clients and to them */
	struct counter messages_in, messages_out; /* data messages */
	struct counter protocol_errors;           /* streams whose framing broke RFC 6455 */
	struct counter pauses;       /* how often the worker stopped accepting at a limit */
	struct counter handed_off;   /* connections that it has accepted for another worker */
	struct counter handoff_lost; /* handed-off connections that it has closed */
	struct counter spliced_bytes;
	struct counter ends[SESS_N_ENDS];             /* of all connections */
	struct counter requests[N_OUTCOMES];          /* of all requests that are over */
	struct counter ends_before_pool[SESS_N_ENDS]; /* of connections that had no pool yet */
	struct counter responses[POOL_N_CLASSES];     /* lb's own, before a pool was known */
	struct metric_hist handshake; /* accept to tunnel, or to the refusal of an upgrade */
	struct metric_hist response;  /* accept to the response head of a plain request */
} LB_CACHE_ALIGNED;

/* How many connections have ended, for whatever reason. */
static inline uint64_t worker_n_ended(const struct worker_stats *s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < SESS_N_ENDS; i++)
		n += counter_read(&s->ends[i]);
	return n;
}

/* What the access log gets of a session that has ended. Strings are borrowed for the call. */
struct access_record {
	uint64_t wall_ns; /* when it ended */
	uint64_t id;
	struct addr client;
	const char *listener, *route, *pool, *backend; /* NULL: none */
	uint16_t status;
	uint64_t bytes_in, bytes_out;
	uint64_t duration_ns;
	uint32_t handshake_ms;
	enum sess_end end;
	uint16_t ws_close; /* code of the first Close frame; 1005: without a code; 0: no Close frame
			    */
	const char *error; /* a constant: why lb refused or gave up; NULL: it did neither */
};

/* Copies the record, or drops it; must not block. Thread: the worker. */
typedef void (*access_fn)(void *arg, const struct access_record *r);

struct worker_opts {
	uint32_t id;
	struct proxy *proxy;   /* borrows */
	struct loop *loop;     /* borrows */
	struct mailbox *mail;  /* borrows: its own */
	struct mailbox *main;  /* borrows: main's, which replies go to */
	int channel;           /* Unix socket by which main passes descriptors */
	uint32_t max_sessions; /* most sessions that its descriptors allow */
	/* Descriptors for sessions (two each) and for listening sockets (one each); 0: listening
	 * sockets are not counted. */
	uint32_t max_fds;
	uint32_t max_pipes;
	struct log log;
	access_fn access; /* NULL: none */
	void *access_arg;
};

/* thread: the worker's own, but for `stats` */
struct worker {
	uint32_t id;
	pthread_t owner; /* the thread that it was made on, and runs on */
	struct proxy *proxy;
	struct loop *loop;
	struct mailbox *mail, *main;
	int channel;
	struct log log;
	access_fn access;
	void *access_arg;

	struct conns conns;      /* the ends of its sessions, two each */
	struct slab *sessions;   /* owns */
	struct slab *exchanges;  /* owns */
	struct slab *sockets;    /* owns: struct listen_socket */
	struct pipe_pool *pipes; /* owns */

	struct snapshot *snapshot; /* counted; NULL before the first */
	struct members **members;  /* owns the array, counts each; by pool slot */
	uint32_t n_members;
	struct list listen;   /* of struct listen_socket */
	uint32_t max_fds;     /* as in struct worker_opts */
	uint32_t n_listening; /* listening sockets that are open */

	struct session *dirty; /* sessions that have something to send at the turn's end */
	struct list dead;      /* sessions that are freed at the turn's end */
	struct list waiting;   /* exchanges that wait for a slot at a backend (proxy/wait.h) */
	uint32_t n_waiting, n_waiting_by[WAIT_SLOTS];
	struct timer wait_timer;
	uint32_t n_sessions;
	struct capacity *capacity; /* borrows: its own of proxy->capacity */
	uint32_t n_handed_off;     /* connections handed off in this turn */
	uint64_t next_id, last_id; /* session ids that it has taken and not given yet */

	struct message_apply *applying; /* owns: an APPLY that has not ended; NULL: none */
	struct list walks;              /* of struct walk: those under way (proxy/walk.h) */
	struct walk *walk_visiting;     /* borrows: whose slice runs now; NULL: of none */
	struct timer walk_timer;        /* fires when the first of them is due */
	uint32_t walk_turn; /* WALK_TURN; simulations set less, so that walks take turns */
	bool is_short;      /* there was no memory for a session; capacity_reserve() looks again */
	bool is_paused;     /* listening sockets rest, because there was no slot */
	uint64_t pause_logged_ms;
	bool is_stopping;          /* STOP or QUIT has come: listening sockets close */
	struct message_quit *quit; /* owns: QUIT, whose reply goes when all sessions are freed */
	struct timer retry;        /* accepts again after a pause */

	struct worker_stats *stats; /* owns */
};

/* Capacities for `n_workers`, no hand-off socket yet. Returns 0, or -ENOMEM. Thread: main. */
int proxy_init(struct proxy *p, uint32_t n_workers) LB_MUST_CHECK;
/* No worker may be left, and no socket on its way. */
void proxy_deinit(struct proxy *p);

/* Returns 0 and sets *ret, or a negative errno. Thread: the one that the worker will run on. */
int worker_new(const struct worker_opts *o, struct worker **ret) LB_MUST_CHECK;

/* The worker has replied to QUIT, or has never had a message. NULL is fine. Returns NULL. */
struct worker *worker_free(struct worker *w);

/* Asserts that the caller runs on the worker's own thread. */
static inline void worker_assert_owner(const struct worker *w)
{
	LB_ASSERT(pthread_equal(w->owner, pthread_self()));
}

/* Whether a QUIT has arrived: no connection becomes a session any more, and a walk ends the
 * sessions that there are. */
static inline bool worker_is_quitting(const struct worker *w)
{
	return w->quit != NULL;
}

/* An exchange, zeroed, or NULL when memory is short. */
struct exchange *worker_lend_exchange(struct worker *w);
void worker_return_exchange(struct worker *w, struct exchange *x);

/*
 * worker_members() - the members that a session of this worker may be sent to
 *
 * The newest ones of the pool; when the pool has left the file, its last ones, for the sessions
 * that were routed to it before. NULL when there are none. Borrowed until the worker's next
 * message.
 */
const struct members *worker_members(const struct worker *w, const struct pool *pool);

/* A unique connection id. */
uint64_t worker_next_id(struct worker *w);
