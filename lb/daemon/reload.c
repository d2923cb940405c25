/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a file, and makes every worker run by it.
 *
 * Terms. The delta is what the file changes (daemon/delta.h). A batch is up to ADOPT_BATCH new
 * listeners, whose sockets are passed to the workers together. A channel is a worker's socket pair
 * for this (daemon/threads.h). A waiter is a callback that is called when the reload has ended.
 *
 *   reload_request()  reads and checks the file, prepares the delta         (nothing has changed)
 *   hand_over()       makes the messages of ABORT, which undo what follows
 *   adopt_next()      passes a batch of sockets, posts ADOPT  <--+
 *   on_adopted()      every worker has replied: the next batch --+  or an error: ABORT
 *   apply()           makes the messages of APPLY, listens          or an error: ABORT
 *                     commits on main, posts APPLY            (from here on nothing can fail)
 *   on_applied()      every worker has replied: ops->commit(), finish()
 *   on_aborted()      every worker has replied: finish()
 *   finish()          frees the delta, calls the waiters, begins the next reload if there is one
 *
 * The start of lb is the same from hand_over() on (reload_start()).
 *
 * At most one reload is under way. All calls of reload_request() in that time lead to one more
 * reload (`is_again`); their waiters are kept in `next`.
 *
 * The messages of a step are made before the step begins, so that the step is done on all workers
 * or on none: ABORT before the first ADOPT, APPLY before the new sockets listen. Listening is
 * the last step that can fail: from then on a client may connect, and has to be served.
 *
 * When a stop begins, the workers get STOP and close all listening sockets, also those that they
 * have adopted. A reload that has not posted APPLY by then ends as refused, without ABORT
 * (is_stopping()).
 *
 * Relies on: delta.c and delta_binds.c (what changes), membership.c (the messages of APPLY, the
 * commit on main), broadcast.c. What depends on the process (users, logs, descriptors) is checked
 * by ops->check().
 *
 * Thread: main.
 */
#include "daemon/reload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "daemon/announce.h"
#include "daemon/delta.h"
#include "daemon/delta_binds.h"
#include "daemon/err_log.h"
#include "daemon/membership.h"
#include "daemon/registry.h"
#include "daemon/threads.h"
#include "proxy/listener.h"
#include "proxy/message_conf.h"

/* At most this many sockets are passed to a worker before it is told to adopt them. The limit is
 * well below the some hundred sockets that a channel can hold. */
#define ADOPT_BATCH 64

void reload_init(struct reload *r, const struct reload_env *env)
{
	*r = (struct reload){ .env = *env, .abort = BROADCAST_INIT };
}

/* ---- the end of one -------------------------------------------------------------------------- */

static void tell_waiters(struct reload *r)
{
	struct reload_waiter *now = take_ptr(r->now);
	size_t n = r->n_now;

	r->n_now = 0;
	for (size_t i = 0; i < n; i++)
		now[i].fn(now[i].ctx, r->result, &r->err);
	free(now);
}

static void finish(struct reload *r)
{
	const struct reload_env *env = &r->env;

	LB_ASSERT(r->n_waiting == 0);
	LB_ASSERT(r->delta == NULL || r->delta->is_committed == (r->result == 0));
	membership_abandon(env->membership); /* does nothing after a commit */
	r->delta = delta_free(env->registry, r->delta);
	broadcast_drop(&r->abort);
	r->was_refused = r->result < 0;
	r->ended_ns = loop_wall_ns(env->loop);
	if (r->result < 0 && *env->phase != PHASE_STARTING)
		err_log_errors(env->log, "reload refused", &r->err);
	tell_waiters(r);
	err_deinit(&r->err);
	if (r->has_begun)
		env->ops->end(env->arg);
	r->has_begun = false;
	if (!r->is_again)
		return;

	r->is_again = false;
	r->now = take_ptr(r->next);
	r->n_now = r->n_next;
	r->n_next = 0;
	reload_request(r, NULL, NULL);
}

/* ---- messages to the workers ----------------------------------------------------------------- */

/* Posts a message to every worker. `done` is called once for each worker, with its reply. */
static void post(struct reload *r, struct broadcast *b, message_fn done)
{
	LB_ASSERT(r->n_waiting == 0);
	r->n_waiting = b->n;
	broadcast_post(b, r->env.threads, done, r);
}

/* Frees a worker's reply. Returns whether all workers have now replied. */
static bool is_last_reply(struct reload *r, struct message *m)
{
	message_free(m);
	LB_ASSERT(r->n_waiting > 0);
	return --r->n_waiting == 0;
}

/* Whether STOP or QUIT was posted to the workers. After that no worker may open a listener. */
static bool is_stopping(const struct reload *r)
{
	return *r->env.phase == PHASE_DRAINING || *r->env.phase == PHASE_QUITTING;
}

static int refuse_to_stop(struct reload *r)
{
	return err_add(&r->err, -ESHUTDOWN, "lb is stopping");
}

static void on_aborted(struct message *m, void *arg)
{
	struct reload *r = m->arg;

	(void)arg;
	if (is_last_reply(r, m))
		finish(r);
}

/* Refuses the reload, and lets the workers close the sockets that they have adopted. After STOP
 * they need no ABORT, because STOP closes all listening sockets. */
static void abort_reload(struct reload *r, int result)
{
	LB_ASSERT(result < 0 && !r->delta->is_committed);
	r->result = result;
	if (is_stopping(r))
		finish(r);
	else
		post(r, &r->abort, on_aborted);
}

static void on_applied(struct message *m, void *arg)
{
	struct reload *r = m->arg;

	(void)arg;
	if (!is_last_reply(r, m))
		return;
	LB_ASSERT(r->result == 0 && r->delta->is_committed);
	r->env.ops->commit(r->env.arg, r->delta->conf, &r->err);
	finish(r);
}

static void apply(struct reload *r)
{
	const struct reload_env *env = &r->env;
	struct broadcast b = BROADCAST_INIT;
	int result = 0;

	LB_ASSERT(r->batch_to == r->delta->n_listeners); /* every new socket was handed over */
	/* The messages are made before the sockets listen: from then on a client may connect and
	 * has to be served, so nothing may fail after that. */
	if (membership_make_apply(env->membership, &b) < 0)
		result = err_add(&r->err, -ENOMEM, "out of memory");
	else
		result = delta_binds_listen(env->registry, r->delta, &r->err);
	if (result < 0) {
		broadcast_drop(&b);
		abort_reload(r, result);
		return;
	}
	announce_listeners(env->log, env->registry, r->delta);
	/* The commit comes before APPLY is posted, because a worker that reads APPLY uses the
	 * pools' new settings. */
	membership_commit(env->membership);
	post(r, &b, on_applied);
}

static void adopt_next(struct reload *r);

static void on_adopted(struct message *m, void *arg)
{
	struct reload *r = m->arg;

	(void)arg;
	if (m->result < 0)
		r->result = err_add(&r->err, m->result,
				    "worker %u cannot take its listening sockets: %s", m->worker,
				    strerror(-m->result));
	if (!is_last_reply(r, m))
		return;
	if (r->result < 0)
		abort_reload(r, r->result);
	else
		adopt_next(r);
}

/* Makes a worker's ADOPT, which names the new listeners of the batch. */
static struct message *make_adopt(uint32_t worker, void *ctx)
{
	const struct reload *r = ctx;
	struct message_adopt *m = message_adopt_new(worker, ADOPT_BATCH);

	if (m == NULL)
		return NULL;
	for (size_t i = r->batch_from; i < r->batch_to; i++)
		if (r->delta->listeners[i].is_new)
			message_adopt_add(m, r->delta->listeners[i].listener);
	return &m->base;
}

/* Sends each worker its sockets of the batch through its channel, in the order in which ADOPT names
 * their listeners. Returns 0 or a negative errno. */
static int pass_sockets(struct reload *r)
{
	struct threads *t = r->env.threads;

	for (size_t i = r->batch_from; i < r->batch_to; i++) {
		struct delta_listener *dl = &r->delta->listeners[i];
		for (uint32_t w = 0; dl->is_new && w < t->n; w++) {
			LB_ASSERT(dl->fd[w] >= 0);
			int result = loop_pass_fd(r->env.loop, t->thread[w].channel[0], dl->fd[w],
						  dl->listener->number);
			if (result < 0)
				return err_add(&r->err, result, "passing %s to worker %u: %s",
					       dl->listener->text, w, strerror(-result));
		}
	}
	return 0;
}

/* Sets the next batch: the part of the delta's listeners that has the next ADOPT_BATCH new
 * listeners, or all that are left. Returns false when no new listener is left. */
static bool next_batch(struct reload *r)
{
	size_t n_new = 0, i = r->batch_to;

	r->batch_from = i;
	for (; i < r->delta->n_listeners && n_new < ADOPT_BATCH; i++)
		n_new += r->delta->listeners[i].is_new;
	r->batch_to = i;
	LB_ASSERT(r->batch_from <= i && n_new <= ADOPT_BATCH);
	return n_new > 0;
}

/* Passes the next batch of new sockets to the workers. When no batch is left, applies the delta. */
static void adopt_next(struct reload *r)
{
	struct broadcast b = BROADCAST_INIT;

	LB_ASSERT(r->n_waiting == 0);
	if (is_stopping(r)) {
		abort_reload(r, refuse_to_stop(r));
		return;
	}
	if (!next_batch(r)) {
		apply(r);
		return;
	}
	if (broadcast_make(&b, r->env.threads->n, make_adopt, r) < 0) {
		abort_reload(r, err_add(&r->err, -ENOMEM, "out of memory"));
		return;
	}
	/* ADOPT is posted even after a failure, so that the workers take the sockets that are in
	 * their channels. ABORT then closes these sockets. */
	r->result = pass_sockets(r);
	post(r, &b, on_adopted);
}

/* ---- the beginning of one -------------------------------------------------------------------- */

static struct message *make_abort(uint32_t worker, void *ctx)
{
	(void)ctx;
	return message_abort_new(worker);
}

/* Begins to bring r->delta to the workers. Returns 0, or -ENOMEM when nothing has begun. */
static int hand_over(struct reload *r)
{
	LB_ASSERT(r->delta != NULL && r->n_waiting == 0 && !r->delta->is_committed);
	if (broadcast_make(&r->abort, r->env.threads->n, make_abort, NULL) < 0)
		return -ENOMEM;
	membership_begin(r->env.membership, r->delta);
	r->batch_from = r->batch_to = 0;
	adopt_next(r);
	return 0;
}

/* Adds a waiter to the list `now` or `next`. Returns 0, or -ENOMEM, after which `fn` is never
 * called. */
static int add_waiter(struct reload_waiter **list, size_t *n, reload_fn fn, void *ctx)
{
	if (fn == NULL)
		return 0;
	struct reload_waiter *grown = reallocarray(*list, *n + 1, sizeof(*grown));
	if (grown == NULL)
		return -ENOMEM;
	*list = grown;
	grown[(*n)++] = (struct reload_waiter){ .fn = fn, .ctx = ctx };
	return 0;
}

int reload_start(struct reload *r, struct delta *d, reload_fn fn, void *ctx)
{
	loop_assert_owner(r->env.loop);
	LB_ASSERT(r->delta == NULL && *r->env.phase == PHASE_STARTING);
	if (add_waiter(&r->now, &r->n_now, fn, ctx) < 0)
		return -ENOMEM;
	r->delta = d;
	if (hand_over(r) == 0)
		return 0;
	r->delta = NULL;
	r->n_now = 0;
	return -ENOMEM;
}

bool reload_is_under_way(const struct reload *r)
{
	return r->delta != NULL || r->n_waiting > 0;
}

/* Reads and checks the file, and prepares the delta. When ops->check() fails, the addresses are
 * still bound, so that r->err names every reason; but not when there are too few descriptors
 * (-EMFILE). */
static int load(struct reload *r)
{
	const struct reload_env *env = &r->env;
	struct conf *conf = NULL;
	int result = conf_load(env->path, &r->err, &conf);

	if (result == 0) {
		int check = env->ops->check(env->arg, conf, &r->err);
		if (check != -EMFILE)
			result = delta_prepare(env->registry, conf, &r->err, &r->delta);
		conf_unref(conf);
		result = check < 0 ? check : result;
	}
	err_log_warnings(env->log, &r->err);
	return result;
}

void reload_request(struct reload *r, reload_fn fn, void *ctx)
{
	loop_assert_owner(r->env.loop);
	if (reload_is_under_way(r)) {
		(void)add_waiter(&r->next, &r->n_next, fn, ctx);
		r->is_again = true;
		return;
	}
	/* When memory is short, `fn` is not called; the result is in the log. */
	(void)add_waiter(&r->now, &r->n_now, fn, ctx);
	if (*r->env.phase != PHASE_RUNNING) {
		r->result = refuse_to_stop(r);
		finish(r);
		return;
	}
	r->env.ops->begin(r->env.arg);
	r->has_begun = true;
	r->result = load(r);
	if (r->result == 0) {
		if (hand_over(r) == 0)
			return;
		r->result = err_add(&r->err, -ENOMEM, "out of memory");
	}
	finish(r);
}

void reload_deinit(struct reload *r)
{
	r->delta = r->env.registry != NULL ? delta_free(r->env.registry, r->delta) : NULL;
	broadcast_drop(&r->abort);
	free(r->now);
	free(r->next);
	err_deinit(&r->err);
}
