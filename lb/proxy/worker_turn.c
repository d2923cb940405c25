/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's turns: its loop's hooks, and what is done at the end of each turn, in this order:
 *
 *   1. sessions that had bytes queued in this turn send them (dispatch_flush())
 *   2. dead sessions are freed (dispatch_free())
 *   3. a worker that quits and has neither sessions nor listening sockets left ends
 *
 * The worker is made and freed here, too, because it names what its loop calls.
 *
 * Thread: the worker.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "balance/pool.h"
#include "net/pipe.h"
#include "proxy/accept.h"
#include "proxy/dispatch.h"
#include "proxy/exchange.h"
#include "proxy/listener.h"
#include "proxy/message_conf.h"
#include "proxy/message_stop.h"
#include "proxy/snapshot.h"
#include "proxy/walk.h"
#include "proxy/worker.h"
#include "util/slab.h"

#define MAX_SOCKETS (1u << 16) /* that listen */

/* ---- memory ---------------------------------------------------------------------------------- */

static bool settle(void *arg)
{
	struct worker *w = arg;
	bool are_sessions = slab_settle(w->sessions), are_conns = slab_settle(w->conns.slab);
	bool are_exchanges = slab_settle(w->exchanges);

	return are_sessions && are_conns && are_exchanges;
}

static void trim(void *arg)
{
	struct worker *w = arg;

	slab_trim(w->sessions);
	slab_trim(w->conns.slab);
	slab_trim(w->exchanges);
}

static bool has_spare(void *arg)
{
	struct worker *w = arg;

	return slab_has_spare(w->sessions) || slab_has_spare(w->conns.slab) ||
	       slab_has_spare(w->exchanges);
}

static const struct loop_upkeep upkeep = {
	.settle = settle,
	.trim = trim,
	.has_spare = has_spare,
};

/* ---- the end of a turn ----------------------------------------------------------------------- */

/*
 * Every session is freed. The last step is to close the capacity, so that nothing is handed
 * off to this worker any more. It waits for a socket on its way, or a slot that is being given
 * back.
 */
static void end(struct worker *w)
{
	uint64_t none = 0;

	if (!atomic_compare_exchange_strong_explicit(&w->capacity->n_used, &none, CAPACITY_CLOSED,
						     memory_order_relaxed, memory_order_relaxed)) {
		loop_timer_start(w->loop, &w->retry, ACCEPT_MOMENT_MS);
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

	worker_assert_owner(w);
	w->n_handed_off = 0;
	while (w->dirty != NULL) {
		struct session *s = w->dirty;
		w->dirty = s->next_dirty;
		dispatch_flush(s);
	}
	while (!list_is_empty(&w->dead))
		dispatch_free(list_entry(w->dead.next, struct session, link));

	if (w->quit != NULL && w->n_sessions == 0 && list_is_empty(&w->listen))
		end(w);
}

/* ---- birth and end --------------------------------------------------------------------------- */

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
	w->capacity = &o->proxy->capacity[o->id];
	w->max_fds = o->max_fds;
	w->capacity->n_slots = o->max_sessions;
	w->capacity->mail = o->mail;
	w->capacity->wakeup.run = accept_handed_off;
	list_init(&w->listen);
	list_init(&w->dead);
	list_init(&w->waiting);
	timer_init(&w->wait_timer, dispatch_on_wait_timer);
	timer_init(&w->retry, accept_on_retry);
	list_init(&w->walks);
	timer_init(&w->walk_timer, walk_on_timer);
	w->walk_turn = WALK_TURN;
	w->loop->timers.arg = w;

	/* A session has a slot first, and no more exchanges than sessions are lent. */
	w->sessions = slab_new("session", sizeof(struct session), o->max_sessions);
	int r = conns_init(&w->conns, w->loop, CLASS_CONN, N_SIDES * o->max_sessions);
	w->exchanges = slab_new("exchange", sizeof(struct exchange), o->max_sessions);
	w->sockets = slab_new("listen_socket", sizeof(struct listen_socket), MAX_SOCKETS);
	w->pipes = pipe_pool_new(w->loop, o->max_pipes);
	w->stats = aligned_alloc(_Alignof(struct worker_stats), sizeof(*w->stats));
	if (r < 0 || w->sessions == NULL || w->exchanges == NULL || w->sockets == NULL ||
	    w->pipes == NULL || w->stats == NULL) {
		worker_free(w);
		return -ENOMEM;
	}
	memset(w->stats, 0, sizeof(*w->stats));

	/* Whatever may be in flight has its room now: later there may be no memory. */
	if (loop_reserve(w->loop, (size_t)CONN_N_OPS * N_SIDES * o->max_sessions + MAX_SOCKETS) <
	    0) {
		worker_free(w);
		return -ENOMEM;
	}

	loop_set_handler(w->loop, CLASS_CONN, dispatch_on_completion, w);
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
	uint64_t n_used = atomic_load_explicit(&w->capacity->n_used, memory_order_relaxed);
	LB_ASSERT(w->n_sessions == 0 && (n_used == 0 || n_used == CAPACITY_CLOSED));
	LB_ASSERT(list_is_empty(&w->walks) && w->applying == NULL);
	LB_ASSERT(w->dirty == NULL && list_is_empty(&w->dead) && w->n_waiting == 0);
	LB_ASSERT(list_is_empty(&w->listen) && w->n_listening == 0);
	for (uint32_t i = 0; i < w->n_members; i++)
		members_unref(w->members[i]);
	free(w->members);
	snapshot_unref(w->snapshot);
	conns_deinit(&w->conns);
	slab_free(w->sessions);
	slab_free(w->exchanges);
	slab_free(w->sockets);
	pipe_pool_free(w->pipes);
	free(w->stats);
	free(w);
	return NULL;
}
