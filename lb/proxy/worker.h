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
struct tls_ends;
struct tls_lib;
struct walk;

/* Classes of tags in a worker's loop. */
enum { CLASS_CONN = 2, CLASS_LISTEN = 3 };

/* The value of capacity.n_used of a worker that has ended: no slot can be reserved there. */
#define CAPACITY_CLOSED UINT64_MAX

/* A worker's slots, one for each connection, which all workers see and may reserve. thread: any */
struct capacity {
	_Atomic uint64_t n_used;    /* slots of sessions, accepts and sockets handed off here */
	_Atomic uint64_t n_slots;   /* one slot for two descriptors; the worker alone writes */
	struct mailbox *mail;       /* borrows: the worker's mailbox; constant */
	_Atomic uint32_t n_pending; /* sockets handed off to this worker and not received yet */
	struct mail wakeup;         /* posted to `mail` while n_pending > 0 */
} LB_CACHE_ALIGNED;

/* What all workers share. thread: any */
struct proxy {
	uint32_t n_workers;
	uint32_t leaving_ms;       /* how long a LEAVING listening socket still accepts; constant */
	struct capacity *capacity; /* owns: one per worker */
	/* Borrows: the hand-off socket, open in every descriptor table. Descriptors go from [0] to
	 * [1]. */
	int handoff_fd[2];
	_Atomic uint32_t n_handoffs; /* sockets in the hand-off socket */
	_Atomic uint64_t n_conns;    /* reserved slots of all workers together */
	/* The most slots of all workers together: limits.connections, or what the descriptors
	 * allow. */
	_Atomic uint64_t max_conns;
	_Atomic uint64_t last_id; /* the last session id of those that workers have taken */
};

/* thread: the worker writes, any reads */
struct worker_stats {
	struct counter accepted;
	struct counter active;                    /* gauge: sessions */
	struct counter handshaking;               /* gauge: sessions that do not relay yet */
	struct counter frames_in, frames_out;     /* WebSocket frames from clients and to them */
	struct counter messages_in, messages_out; /* data messages from clients and to them */
	struct counter protocol_errors; /* WebSocket streams whose framing broke RFC 6455 */
	struct counter pauses;          /* how often the worker stopped accepting at a limit */
	struct counter handed_off;      /* connections that it has accepted for another worker */
	struct counter handoff_lost;    /* handed-off connections that were closed on the way */
	struct counter spliced_bytes;
	struct counter tls_handshakes; /* TLS handshakes that were completed */
	struct counter tls_resumed;    /* completed handshakes that resumed a session by a ticket */
	struct counter tls_failed;     /* TLS handshakes that failed */
	struct counter tls_truncated;  /* TLS streams that ended by a FIN without a close_notify */
	struct counter ends[SESS_N_ENDS];             /* all connections that have ended */
	struct counter requests[N_OUTCOMES];          /* all requests that are over */
	struct counter ends_before_pool[SESS_N_ENDS]; /* ends without a known pool */
	struct counter responses[POOL_N_CLASSES];     /* lb's own answers before a pool was known */
	struct metric_hist handshake; /* time from accept to tunnel or refused upgrade */
	struct metric_hist response;  /* time from accept to the head of a plain response */
} LB_CACHE_ALIGNED;

/* How many connections have ended, for any reason. */
static inline uint64_t worker_n_ended(const struct worker_stats *s)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < SESS_N_ENDS; i++)
		n += counter_read(&s->ends[i]);
	return n;
}

/* What the access log gets of a session that has ended. The strings are valid only during the call.
 */
struct access_record {
	uint64_t wall_ns; /* when the session ended, in ns since 1970 */
	uint64_t id;
	struct addr client;
	const char *listener, *route, *pool, *backend; /* NULL: none */
	uint16_t status;
	uint64_t bytes_in, bytes_out;
	uint64_t duration_ns;
	uint32_t handshake_ms;
	enum sess_end end;
	/* The code of the first Close frame; 1005: the frame had no code; 0: there was no Close
	 * frame. */
	uint16_t ws_close;
	/* A constant: the text of lb's own answer; NULL: lb has given no answer. */
	const char *error;
	/* NULL: the client did not speak TLS. The version and the cipher are constants. */
	const char *tls_version, *cipher, *sni, *client_cert;
};

/* Logs the record: copies it or drops it, and must not block. Thread: the worker. */
typedef void (*access_fn)(void *arg, const struct access_record *r);

struct worker_opts {
	uint32_t id;
	struct proxy *proxy;  /* borrows */
	struct loop *loop;    /* borrows */
	struct mailbox *mail; /* borrows: the worker's own mailbox */
	struct mailbox *main; /* borrows: main's mailbox, for replies */
	int channel; /* the worker's end of the socket pair by which main passes descriptors */
	uint32_t max_sessions; /* most sessions that the worker's descriptors allow */
	/* How many descriptors the worker has for sessions (two each) and for listening sockets
	 * (one each); 0: listening sockets do not count. */
	uint32_t max_fds;
	uint32_t max_pipes;
	struct log log;
	access_fn access; /* NULL: no access log */
	void *access_arg;
};

/* thread: the worker's own, but for `stats` */
struct worker {
	uint32_t id;
	pthread_t owner; /* the thread that made the worker, and runs it */
	struct proxy *proxy;
	struct loop *loop;
	struct mailbox *mail, *main;
	int channel;
	struct log log;
	access_fn access;
	void *access_arg;

	struct conns conns;      /* the ends of all sessions, two for each session */
	uint32_t max_sessions;   /* as in struct worker_opts */
	struct slab *sessions;   /* owns */
	struct slab *exchanges;  /* owns */
	struct slab *sockets;    /* owns: struct listen_socket */
	struct pipe_pool *pipes; /* owns */

	struct snapshot *snapshot; /* counted: the newest one; NULL before the first APPLY */
	struct members **members;  /* owns the array, counts each element; by pool slot */
	uint32_t n_members;
	struct list listen;   /* of struct listen_socket */
	uint32_t max_fds;     /* as in struct worker_opts */
	uint32_t n_listening; /* listening sockets that are open */

	struct session *dirty; /* sessions that have something to send at the turn's end */
	struct list dead;      /* sessions that are freed at the turn's end */
	/* Sessions in PREAMBLE: those whose TLS handshake can go on; those whose hello waits until
	 * fewer handshakes are under way; those that wait for the client, the longest wait first.
	 */
	struct list shaking, hellos, awaiting;
	uint32_t n_shaking; /* TLS handshakes under way: sessions in PREAMBLE with an SSL object */
	struct timer shake_timer;
	struct tls_ends *tls; /* owns; NULL as long as no listener has had TLS */
	struct list waiting;  /* exchanges that wait for a slot at a backend (proxy/wait.h) */
	uint32_t n_waiting, n_waiting_by[WAIT_SLOTS];
	struct timer wait_timer;
	uint32_t n_sessions;
	struct capacity *capacity; /* borrows: the worker's element of proxy->capacity */
	uint32_t n_handed_off;     /* connections handed off in this turn */
	uint64_t next_id, last_id; /* the session ids of its batch that are not used yet */

	struct message_apply *applying; /* owns: the APPLY that is under way; NULL: none */
	struct list walks; /* of struct walk: the walks that are under way (proxy/walk.h) */
	struct walk *walk_visiting; /* borrows: the walk whose slice runs now; NULL: none */
	struct timer walk_timer;    /* fires when the first walk is due */
	/* Visits per turn: WALK_TURN; the simulation sets less, so that walks have to share turns.
	 */
	uint32_t walk_turn;
	/* Memory was short for a session; capacity_reserve() looks whether it still is. */
	bool is_short;
	bool is_paused; /* no listening socket accepts, because no slot was free */
	uint64_t pause_logged_ms;
	bool is_stopping;          /* STOP or QUIT has come: listening sockets close */
	struct message_quit *quit; /* owns: the QUIT that has come; NULL: none */
	struct timer retry;        /* fires when paused listening sockets accept again */

	struct worker_stats *stats; /* owns */
};

/* Makes capacities for `n_workers` workers, without a hand-off socket. Returns 0 or -ENOMEM.
 * Thread: main. */
int proxy_init(struct proxy *p, uint32_t n_workers) LB_MUST_CHECK;
/* Frees the capacities. No worker may be left, and no socket in the hand-off socket. */
void proxy_deinit(struct proxy *p);

/* Makes a worker. Returns 0 and sets *ret, or a negative errno. Thread: the one that the worker
 * will run on. */
int worker_new(const struct worker_opts *o, struct worker **ret) LB_MUST_CHECK;

/* Frees a worker that has replied to QUIT, or has never got a message. NULL is fine. Returns NULL.
 */
struct worker *worker_free(struct worker *w);

/* Asserts that the caller runs on the worker's own thread. */
static inline void worker_assert_owner(const struct worker *w)
{
	LB_ASSERT(pthread_equal(w->owner, pthread_self()));
}

/* Whether a QUIT has arrived. From then on no connection becomes a session, and a walk ends the
 * existing sessions. */
static inline bool worker_is_quitting(const struct worker *w)
{
	return w->quit != NULL;
}

/*
 * worker_reserve_tls() - see that an end of TLS can be made
 *
 * Makes worker->tls from `lib`, which is borrowed, when a listener has TLS for the first time.
 * Returns 0 or -ENOMEM.
 */
int worker_reserve_tls(struct worker *w, struct tls_lib *lib) LB_MUST_CHECK;

/* Returns a zeroed exchange, or NULL when memory is short. */
struct exchange *worker_lend_exchange(struct worker *w);
void worker_return_exchange(struct worker *w, struct exchange *x);

/*
 * worker_members() - the members that a session of this worker may be sent to
 *
 * Returns the newest members of the pool. When the pool has left the configuration, returns its
 * last members, for the sessions that were routed to it before. NULL when the pool has no members.
 * The caller may use them until the worker handles its next message.
 */
const struct members *worker_members(const struct worker *w, const struct pool *pool);

/* Returns a session id that no other session of any worker has. */
uint64_t worker_next_id(struct worker *w);
