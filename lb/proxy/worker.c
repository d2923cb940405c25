/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker: what its sessions and sockets share, its limits, and the end of its turn.
 *
 * Thread: its own.
 */
#include "proxy/worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "balance/pool.h"
#include "net/pipe.h"
#include "net/sock.h"
#include "proxy/exchange.h"
#include "proxy/guest.h"
#include "proxy/listener.h"
#include "proxy/message_conf.h"
#include "proxy/message_stop.h"
#include "proxy/plan.h"
#include "proxy/walk.h"
#include "util/slab.h"

/* Ids are taken from the shared counter by this many, so that it is seldom touched. */
#define ID_BATCH 1024

#define MAX_SOCKETS (1u << 16) /* that listen */

#define FDS_PER_SESSION 2 /* the client's and the backend's */

/* Small buffers that must be free before a worker whose memory was short takes in another; a guess.
 */
#define SHORT_BUFS 64

/*
 * While it does not accept, a worker looks this often whether another worker's session has left a
 * place, or the kernel has descriptors again; its own sessions' ends wake it at once.
 */
#define PAUSE_MS 50
#define PAUSE_LOG_MS 60000 /* a full lb says so once a minute, not at every attempt */

/* What another worker is about to do is done by then; a guess, never tuned. */
#define MOMENT_MS 1

static void on_turn_end(void *arg);
static void on_retry(struct timer *t, void *arg);
static const struct loop_upkeep upkeep;

int proxy_init(struct proxy *p, uint32_t n_workers)
{
	size_t size = n_workers * sizeof(struct room);

	*p = (struct proxy){
		.n_workers = n_workers,
		.leaving_ms = LISTEN_LEAVING_MS,
		.passage = { -1, -1 },
	};
	p->rooms = aligned_alloc(_Alignof(struct room), size);
	if (p->rooms == NULL)
		return -ENOMEM;
	memset(p->rooms, 0, size);
	return 0;
}

void proxy_deinit(struct proxy *p)
{
	free(p->rooms);
	p->rooms = NULL;
}

int worker_new(const struct worker_opts *o, struct worker **ret)
{
	struct worker *w = calloc(1, sizeof(*w));
	if (w == NULL)
		return -ENOMEM;

	w->id = o->id;
	w->owner = pthread_self();
	w->proxy = o->proxy;
	w->loop = o->loop;
	w->mail = o->mail;
	w->main = o->main;
	w->channel = o->channel;
	w->log = o->log;
	w->access = o->access;
	w->access_arg = o->access_arg;
	w->room = &o->proxy->rooms[o->id];
	w->max_fds = o->max_fds;
	w->room->max = o->max_sessions;
	w->room->mail = o->mail;
	w->room->knock.run = guest_run;
	list_init(&w->listen);
	list_init(&w->dead);
	list_init(&w->picking);
	timer_init(&w->pick_timer, wait_on_timer);
	timer_init(&w->retry, on_retry);
	list_init(&w->walks);
	timer_init(&w->walk_timer, walk_on_timer);
	w->walk_turn = WALK_TURN;
	w->loop->timers.arg = w;

	/* A session has a place first, and no more exchanges than sessions are lent. */
	w->sessions = slab_new("session", sizeof(struct session), o->max_sessions);
	w->exchanges = slab_new("exchange", sizeof(struct exchange), o->max_sessions);
	w->sockets = slab_new("listen_socket", sizeof(struct listen_socket), MAX_SOCKETS);
	w->pipes = pipe_pool_new(w->loop, o->max_pipes);
	w->stats = aligned_alloc(_Alignof(struct worker_stats), sizeof(*w->stats));
	if (w->sessions == NULL || w->exchanges == NULL || w->sockets == NULL || w->pipes == NULL ||
	    w->stats == NULL) {
		worker_free(w);
		return -ENOMEM;
	}
	memset(w->stats, 0, sizeof(*w->stats));

	/* Whatever may be in flight has its room now: later there may be no memory. */
	if (loop_reserve(w->loop, (size_t)SESS_N_OPS * o->max_sessions + MAX_SOCKETS) < 0) {
		worker_free(w);
		return -ENOMEM;
	}

	loop_set_handler(w->loop, CLASS_SESSION, session_on_completion, w);
	loop_set_handler(w->loop, CLASS_LISTEN, listen_socket_on_completion, w);
	loop_set_turn_end(w->loop, on_turn_end, w);
	loop_set_upkeep(w->loop, &upkeep, w);
	*ret = w;
	return 0;
}

struct worker *worker_free(struct worker *w)
{
	if (w == NULL)
		return NULL;
	uint64_t taken = atomic_load_explicit(&w->room->taken, memory_order_relaxed);
	LB_ASSERT(w->n_sessions == 0 && (taken == 0 || taken == ROOM_CLOSED));
	LB_ASSERT(list_is_empty(&w->walks) && w->applying == NULL);
	for (uint32_t i = 0; i < w->n_members; i++)
		members_unref(w->members[i]);
	free(w->members);
	plan_unref(w->plan);
	slab_free(w->sessions);
	slab_free(w->exchanges);
	slab_free(w->sockets);
	pipe_pool_free(w->pipes);
	free(w->stats);
	free(w);
	return NULL;
}

/* ---- places ---------------------------------------------------------------------------------- */

/* Compare-and-swap, so that a limit is not exceeded for a moment; relaxed: only a number. */
static bool take_place(_Atomic uint64_t *taken, uint64_t max)
{
	uint64_t n = atomic_load_explicit(taken, memory_order_relaxed);

	do {
		if (n >= max)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(taken, &n, n + 1, memory_order_relaxed,
							memory_order_relaxed));
	return true;
}

static void give_place(_Atomic uint64_t *taken)
{
	uint64_t n = atomic_fetch_sub_explicit(taken, 1, memory_order_relaxed);

	LB_ASSERT(n > 0);
}

bool room_reserve(struct proxy *p, struct room *r)
{
	if (!take_place(&r->taken, atomic_load_explicit(&r->max, memory_order_relaxed)))
		return false;
	if (take_place(&p->n_conns, atomic_load_explicit(&p->max_conns, memory_order_relaxed)))
		return true;
	give_place(&r->taken);
	return false;
}

void room_release(struct proxy *p, struct room *r)
{
	give_place(&p->n_conns);
	give_place(&r->taken);
}

void worker_count_listening(struct worker *w, int diff)
{
	w->n_listening += (uint32_t)diff;
	if (w->max_fds == 0)
		return;
	uint64_t left = w->max_fds > w->n_listening ? w->max_fds - w->n_listening : 0;
	/* Relaxed: only a number. */
	atomic_store_explicit(&w->room->max, left / FDS_PER_SESSION, memory_order_relaxed);
	if (diff < 0 && w->is_paused)
		loop_timer_start(w->loop, &w->retry, 0);
}

/* Looks again, where memory was short, whether there is some for one more session. */
static bool has_memory(struct worker *w)
{
	if (w->is_short)
		w->is_short = slab_reserve(w->exchanges, 1) < 0 ||
			      slab_reserve(w->sessions, 1) < 0 ||
			      buf_reserve(w->loop->bufs, BUF_HEAD, 1) < 0 ||
			      buf_reserve(w->loop->bufs, BUF_SMALL, SHORT_BUFS) < 0;
	return !w->is_short;
}

bool worker_reserve(struct worker *w)
{
	return has_memory(w) && room_reserve(w->proxy, w->room);
}

void worker_release(struct worker *w)
{
	room_release(w->proxy, w->room);
	if (w->is_paused)
		loop_timer_start(w->loop, &w->retry, 0);
}

bool worker_is_roomy(const struct worker *w)
{
	struct proxy *p = w->proxy;
	uint64_t here = atomic_load_explicit(&w->room->taken, memory_order_relaxed);
	uint64_t taken = atomic_load_explicit(&p->n_conns, memory_order_relaxed);
	uint64_t max = atomic_load_explicit(&p->max_conns, memory_order_relaxed);
	/* What one turn of a multishot accept can bring: a full queue of the kernel, and some. */
	uint64_t burst = 2 * SOCK_BACKLOG;

	uint64_t room = atomic_load_explicit(&w->room->max, memory_order_relaxed);

	return !w->is_short && here + burst < room && taken + burst * p->n_workers < max;
}

void worker_pause(struct worker *w, const char *why)
{
	uint64_t now_ms = loop_now_ms(w->loop);

	if (!w->is_paused)
		counter_add(&w->stats->pauses, 1);
	w->is_paused = true;
	loop_timer_start(w->loop, &w->retry, PAUSE_MS);
	if (w->pause_logged_ms != 0 && now_ms - w->pause_logged_ms < PAUSE_LOG_MS)
		return;
	w->pause_logged_ms = now_ms;
	log_warn(&w->log,
		 "not accepting, connections wait in the kernel reason=\"%s\" worker=%u active=%u",
		 w->is_short ? "out of memory" : why, w->id, w->n_sessions);
}

void worker_pause_briefly(struct worker *w)
{
	w->is_paused = true;
	loop_timer_start(w->loop, &w->retry, MOMENT_MS);
}

void worker_resume(struct worker *w)
{
	w->is_paused = false;
	list_for_each(it, &w->listen) listen_socket_arm(list_entry(it, struct listen_socket, link));
}

static void on_retry(struct timer *t, void *arg)
{
	(void)t;
	worker_resume(arg);
}

/* ---- what sessions ask for ------------------------------------------------------------------- */

struct exchange *worker_lend_exchange(struct worker *w)
{
	if (slab_reserve(w->exchanges, 1) < 0)
		return NULL;
	return slab_get(w->exchanges);
}

void worker_return_exchange(struct worker *w, struct exchange *x)
{
	for (enum side side = CLIENT; side < N_SIDES; side++)
		if (x->head[side] != NULL)
			buf_put(w->loop->bufs, x->head[side]);
	queue_clear(&x->held, w->loop->bufs);
	plan_unref(x->plan);
	slab_put(w->exchanges, x);
}

const struct members *worker_members(const struct worker *w, const struct pool *pool)
{
	const struct members *m = pool->slot < w->n_members ? w->members[pool->slot] : NULL;

	/* Of a pool that has left the file the slot is empty, out of range, or another pool's. */
	return m != NULL && m->pool == pool ? m : pool_kept_members(pool);
}

void worker_track(struct worker *w, enum side from, struct ws_track *t, const uint8_t *p, size_t n)
{
	bool was_broken = ws_track_is_broken(t);

	worker_count_frames(w, from, ws_track_feed(t, p, n));
	if (!was_broken && ws_track_is_broken(t))
		counter_add(&w->stats->protocol_errors, 1);
}

void worker_count_frames(struct worker *w, enum side from, struct ws_count n)
{
	if (n.frames == 0)
		return;
	counter_add(from == CLIENT ? &w->stats->frames_in : &w->stats->frames_out, n.frames);
	counter_add(from == CLIENT ? &w->stats->messages_in : &w->stats->messages_out, n.messages);
}

uint64_t worker_next_id(struct worker *w)
{
	if (w->next_id == w->last_id) {
		w->next_id = atomic_fetch_add_explicit(&w->proxy->last_id, ID_BATCH,
						       memory_order_relaxed);
		w->last_id = w->next_id + ID_BATCH;
	}
	return ++w->next_id;
}

/* ---- the end of a turn ----------------------------------------------------------------------- */

static bool settle(void *arg)
{
	struct worker *w = arg;
	bool are_sessions = slab_settle(w->sessions), are_exchanges = slab_settle(w->exchanges);

	return are_sessions && are_exchanges;
}

static void trim(void *arg)
{
	struct worker *w = arg;

	slab_trim(w->sessions);
	slab_trim(w->exchanges);
}

static bool has_spare(void *arg)
{
	struct worker *w = arg;

	return slab_has_spare(w->sessions) || slab_has_spare(w->exchanges);
}

static const struct loop_upkeep upkeep = {
	.settle = settle,
	.trim = trim,
	.has_spare = has_spare,
};

/*
 * Everybody is buried. The last thing is to close the room, so that no guest sets out for here any
 * more; one that is on its way, or a place that is just being given back, is waited for.
 */
static void end(struct worker *w)
{
	uint64_t none = 0;

	if (!atomic_compare_exchange_strong_explicit(&w->room->taken, &none, ROOM_CLOSED,
						     memory_order_relaxed, memory_order_relaxed)) {
		loop_timer_start(w->loop, &w->retry, MOMENT_MS);
		return;
	}
	walk_end_all(w);
	message_apply_end(w);
	message_quit_reply(w);
	loop_stop(w->loop);
}

static void on_turn_end(void *arg)
{
	struct worker *w = arg;

	w->n_passed = 0;
	while (w->dirty != NULL) {
		struct session *s = w->dirty;
		w->dirty = s->next_dirty;
		session_flush_turn(s);
	}
	while (!list_is_empty(&w->dead))
		session_bury(list_entry(w->dead.next, struct session, link));

	if (w->quit != NULL && w->n_sessions == 0 && list_is_empty(&w->listen))
		end(w);
}
