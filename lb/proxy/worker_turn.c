/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's turns: what its loop calls, and in which order. The worker is made and freed here,
 * too, because it names all that its loop calls.
 *
 * A turn of the loop (ev/loop.h) calls, in this order:
 *
 *   completions   of sessions' sockets (dispatch_on_completion()) and of listening sockets
 *                 (listen_socket_on_completion()); of the mailbox, whose messages run their own
 *                 functions (message.h, capacity.wakeup)
 *   timers        a session's time-out (dispatch.c), the retry of paused listening sockets
 *                 (accept_on_retry()), requests that wait for a slot at a backend
 *                 (dispatch_on_wait_timer()), the slices of walks (walk_on_timer())
 *   on_turn_end() in this file
 *
 * on_turn_end() does what must wait until all functions of the turn have returned:
 *
 *   1. Sessions that had bytes queued in this turn send them (dispatch_flush()), so that the bytes
 *      of many completions go by one send. This step may end sessions.
 *   2. Dead sessions on which nothing is in flight are freed (dispatch_free()). No function of the
 *      turn can hold a pointer to them any more.
 *   3. When QUIT has come and neither sessions nor listening sockets are left, the worker ends
 *      (end()). Until then every turn tries again.
 *
 * The end of a worker closes its capacity first, so that no other worker reserves a slot here. The
 * capacity cannot be closed while another worker has reserved a slot, be it for a connection that
 * is on its way or for an accept that then finds no connection. So the worker goes on turning until
 * the slot is given back. After that the walks end, the worker replies to an APPLY that is under
 * way, and at last to QUIT.
 *
 * The loop calls the functions of `upkeep` while it has little to do. They give memory that was
 * needed at a peak back to the system.
 *
 * Thread: the worker.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "balance/pool.h"
#include "net/pipe.h"
#include "net/tls.h"
#include "proxy/accept.h"
#include "proxy/dispatch.h"
#include "proxy/exchange.h"
#include "proxy/handoff.h"
#include "proxy/listener.h"
#include "proxy/message_conf.h"
#include "proxy/message_stop.h"
#include "proxy/snapshot.h"
#include "proxy/walk.h"
#include "proxy/worker.h"
#include "util/slab.h"

#define MAX_SOCKETS (1u << 16) /* most listening sockets of one worker */

/* ---- memory ---------------------------------------------------------------------------------- */

static bool settle(void *arg)
{
	struct worker *w = arg;
	bool are_sessions = slab_settle(w->sessions), are_conns = slab_settle(w->conns.slab);
	bool are_exchanges = slab_settle(w->exchanges);
	bool are_tls = w->tls == NULL || slab_settle(w->tls->slab);

	return are_sessions && are_conns && are_exchanges && are_tls;
}

static void trim(void *arg)
{
	struct worker *w = arg;

	slab_trim(w->sessions);
	slab_trim(w->conns.slab);
	slab_trim(w->exchanges);
	if (w->tls != NULL)
		slab_trim(w->tls->slab);
}

static bool has_spare(void *arg)
{
	struct worker *w = arg;

	return slab_has_spare(w->sessions) || slab_has_spare(w->conns.slab) ||
	       slab_has_spare(w->exchanges) || (w->tls != NULL && slab_has_spare(w->tls->slab));
}

static const struct loop_upkeep upkeep = {
	.settle = settle,
	.trim = trim,
	.has_spare = has_spare,
};

/* ---- the end of a turn ----------------------------------------------------------------------- */

/* Ends a worker whose sessions are all freed. When a slot is still reserved, starts a timer
 * instead, so that a later turn tries again. */
static void end(struct worker *w)
{
	uint64_t none = 0;

	LB_ASSERT(w->n_sessions == 0 && w->n_listening == 0 && w->n_waiting == 0);
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
	LB_ASSERT(w->walk_visiting == NULL && w->n_handed_off <= HANDOFFS_PER_TURN);
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
	w->max_sessions = o->max_sessions;
	w->capacity->n_slots = o->max_sessions;
	w->capacity->mail = o->mail;
	w->capacity->wakeup.run = accept_handed_off;
	list_init(&w->listen);
	list_init(&w->dead);
	list_init(&w->waiting);
	list_init(&w->shaking);
	list_init(&w->hellos);
	list_init(&w->awaiting);
	timer_init(&w->shake_timer, dispatch_on_shake_timer);
	timer_init(&w->wait_timer, dispatch_on_wait_timer);
	timer_init(&w->retry, accept_on_retry);
	list_init(&w->walks);
	timer_init(&w->walk_timer, walk_on_timer);
	w->walk_turn = WALK_TURN;
	w->loop->timers.arg = w;

	/* No slab needs more objects than max_sessions allows: each session has a slot, two ends
	 * and at most one exchange. */
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

	/* Reserves memory for all operations that can be in flight at a time, because later there
	 * may be none. */
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
	worker_assert_owner(w);
	LB_ASSERT(w->n_sessions == 0 && (n_used == 0 || n_used == CAPACITY_CLOSED));
	LB_ASSERT(list_is_empty(&w->walks) && w->applying == NULL);
	LB_ASSERT(list_is_empty(&w->shaking) && list_is_empty(&w->hellos) && w->n_shaking == 0);
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
	if (w->tls != NULL)
		tls_ends_deinit(w->tls);
	free(w->tls);
	free(w->stats);
	free(w);
	return NULL;
}
