/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/reload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/announce.h"
#include "daemon/control.h"
#include "daemon/logger.h"
#include "daemon/notify.h"
#include "daemon/preflight.h"
#include "proxy/listener.h"
#include "proxy/order.h"
#include "proxy/plan.h"

/* Sockets passed to a worker before it takes them: its channel holds some hundreds. */
#define TAKE_BATCH 64

/* ---- the end of one -------------------------------------------------------------------------- */

static void tell(struct control *c)
{
	struct reload *r = &c->reload;
	struct reload_waiter *now = take_ptr(r->now);
	size_t n = r->n_now;

	r->n_now = 0;
	for (size_t i = 0; i < n; i++)
		now[i].fn(now[i].ctx, r->result, &r->err);
	free(now);
}

/* NULL is fine. Returns NULL. */
static struct order **free_orders(const struct control *c, struct order **orders)
{
	for (uint32_t i = 0; orders != NULL && i < c->n_workers; i++)
		order_free(orders[i]);
	free(orders);
	return NULL;
}

static void finish(struct control *c)
{
	struct reload *r = &c->reload;

	r->delta = delta_free(&c->registry, r->delta);
	r->drop = free_orders(c, r->drop);
	r->was_refused = r->result < 0;
	r->ended_ns = loop_wall_ns(c->loop);
	if (r->result < 0 && c->phase != PHASE_STARTING)
		control_log_errors(c, "reload refused", &r->err);
	tell(c);
	err_deinit(&r->err);
	/* READY=1 answers RELOADING=1: the start and a stop have their own messages. */
	if (r->is_announced && c->phase == PHASE_RUNNING)
		notify_ready();
	r->is_announced = false;
	if (!r->is_again)
		return;

	r->is_again = false;
	r->now = take_ptr(r->next);
	r->n_now = r->n_next;
	r->n_next = 0;
	reload_request(c, NULL, NULL);
}

/*
 * Names the keys of the new file that a restart would change, in the log and for those who wait.
 * The new file is compared with the one lb was started with, which is what runs: the previous file
 * may have had a change of these keys, too.
 */
static void warn_of_restart(struct control *c)
{
	const char *keys[4];
	size_t n = conf_restart_keys(c->reload.started, c->conf, keys);

	for (size_t i = 0; i < n; i++) {
		log_warn(&c->log, "takes effect at restart key=%s", keys[i]);
		err_warn_at(&c->reload.err, (struct mark){ 0 }, "%s takes effect at restart",
			    keys[i]);
	}
}

static void commit(struct control *c)
{
	struct reload *r = &c->reload;
	struct conf *old = c->conf;

	c->conf = conf_ref(r->delta->conf);
	c->generation++;
	logger_reconfigure(c->logger, &c->conf->log, &c->conf->access_log);
	if (c->phase !=
	    PHASE_QUITTING) { /* else the workers, whose figures it reads, may be gone */
		control_apply_conf(c);
		registry_tidy(&c->registry);
	}
	if (c->generation == 1) {
		r->started = conf_ref(c->conf);
	} else {
		warn_of_restart(c);
		log_notice(&c->log, "reloaded generation=%llu file=%s",
			   (unsigned long long)c->generation, c->path);
	}
	conf_unref(old);
}

/* ---- orders ---------------------------------------------------------------------------------- */

/* Adds the new listeners of the batch under way. */
static int fill_take(struct order *o, const struct reload *r)
{
	o->listeners = calloc(TAKE_BATCH, sizeof(struct listener *));
	if (o->listeners == NULL)
		return -ENOMEM;
	for (size_t i = r->batch_from; i < r->batch_to; i++)
		if (r->delta->listeners[i].is_new)
			o->listeners[o->n_listeners++] =
				listener_ref(r->delta->listeners[i].listener);
	return 0;
}

static int fill_apply(struct order *o, const struct reload *r)
{
	const struct delta *d = r->delta;

	o->plan = plan_ref(d->plan);
	o->has_new_timeouts = registry_has_new_timeouts(d);
	o->members = calloc(d->n_pools, sizeof(struct members *));
	if (o->members == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < d->n_pools; i++)
		o->members[o->n_members++] = members_ref(d->pools[i].members);
	return order_make_slots(o);
}

/* One order for every worker, or NULL when memory is short: all are made before one is posted. */
static struct order **make_orders(struct control *c, enum order_kind kind)
{
	struct order **orders = calloc(c->n_workers, sizeof(struct order *));
	int r = orders == NULL ? -ENOMEM : 0;

	for (uint32_t i = 0; i < c->n_workers && r == 0; i++) {
		orders[i] = order_new(kind, i);
		if (orders[i] == NULL)
			r = -ENOMEM;
		else if (kind == ORDER_TAKE)
			r = fill_take(orders[i], &c->reload);
		else if (kind == ORDER_APPLY)
			r = fill_apply(orders[i], &c->reload);
	}
	return r == 0 ? orders : free_orders(c, orders);
}

/* `done` hears of each. */
static void post_orders(struct control *c, struct order **orders,
			void (*done)(struct order *o, void *arg))
{
	LB_ASSERT(orders != NULL);
	for (uint32_t i = 0; i < c->n_workers; i++) {
		LB_ASSERT(orders[i] != NULL);
		orders[i]->done = done;
		c->reload.n_waiting++;
		threads_order(c->threads, i, &orders[i]->mail);
	}
	free(orders);
}

static void on_dropped(struct order *o, void *arg)
{
	struct control *c = arg;

	order_free(o);
	if (--c->reload.n_waiting == 0)
		finish(c);
}

/* The workers were told to stop: nothing may begin to accept any more. */
static bool is_stopping(const struct control *c)
{
	return c->phase == PHASE_DRAINING || c->phase == PHASE_QUITTING;
}

/* Undoes what the workers have taken so far. A stop has done so already. */
static void drop(struct control *c, int result)
{
	c->reload.result = result;
	if (is_stopping(c))
		finish(c);
	else
		post_orders(c, take_ptr(c->reload.drop), on_dropped);
}

static int refuse_to_stop(struct control *c)
{
	return err_add(&c->reload.err, -ESHUTDOWN, "lb is stopping");
}

static void on_applied(struct order *o, void *arg)
{
	struct control *c = arg;
	struct reload *r = &c->reload;

	order_free(o);
	if (--r->n_waiting > 0)
		return;
	commit(c);
	finish(c);
}

static void apply(struct control *c)
{
	struct reload *r = &c->reload;
	struct order **orders = make_orders(c, ORDER_APPLY);
	int result = 0;

	/* Last: whoever connects to a socket that listens must be served. */
	if (orders == NULL)
		result = err_add(&r->err, -ENOMEM, "out of memory");
	else
		result = registry_listen(&c->registry, r->delta, &r->err);
	if (result < 0) {
		free_orders(c, orders);
		drop(c, result);
		return;
	}
	/* From here on nothing is refused; workers find the pools' new settings in place. */
	announce_listeners(c, r->delta);
	registry_commit(&c->registry, r->delta);
	post_orders(c, orders, on_applied);
}

static void take_next(struct control *c);

static void on_taken(struct order *o, void *arg)
{
	struct control *c = arg;
	struct reload *r = &c->reload;

	if (o->result < 0)
		r->result = err_add(&r->err, o->result,
				    "worker %u cannot take its listening sockets: %s", o->worker,
				    strerror(-o->result));
	order_free(o);
	if (--r->n_waiting > 0)
		return;
	if (r->result < 0)
		drop(c, r->result);
	else
		take_next(c);
}

/* Puts each worker's new sockets into its channel, in the order in which TAKE names them. */
static int pass_sockets(struct control *c)
{
	struct delta *d = c->reload.delta;

	for (size_t i = c->reload.batch_from; i < c->reload.batch_to; i++) {
		struct delta_listener *dl = &d->listeners[i];
		for (uint32_t w = 0; dl->is_new && w < c->n_workers; w++) {
			int r = loop_pass_fd(c->loop, c->threads->thread[w].channel[0], dl->fd[w],
					     dl->listener->number);
			if (r < 0)
				return err_add(&c->reload.err, r, "passing %s to worker %u: %s",
					       dl->listener->text, w, strerror(-r));
		}
	}
	return 0;
}

/* The next batch: as many new listeners as a channel holds, wherever they are in the delta. */
static bool find_batch(struct reload *r)
{
	size_t n_new = 0, i = r->batch_to;

	r->batch_from = i;
	for (; i < r->delta->n_listeners && n_new < TAKE_BATCH; i++)
		n_new += r->delta->listeners[i].is_new;
	r->batch_to = i;
	return n_new > 0;
}

/* New sockets go to the workers first, some at a time; when all are there it can be applied. */
static void take_next(struct control *c)
{
	struct reload *r = &c->reload;

	if (is_stopping(c)) {
		drop(c, refuse_to_stop(c));
		return;
	}
	if (!find_batch(r)) {
		apply(c);
		return;
	}
	struct order **orders = make_orders(c, ORDER_TAKE);
	if (orders == NULL) {
		drop(c, err_add(&r->err, -ENOMEM, "out of memory"));
		return;
	}
	/* What was passed before a failure is taken all the same, to be dropped in order. */
	r->result = pass_sockets(c);
	post_orders(c, orders, on_taken);
}

/* ---- the beginning of one -------------------------------------------------------------------- */

/* What undoes it is made first. Returns 0, or -ENOMEM with nothing begun. */
static int hand_over(struct control *c)
{
	struct reload *r = &c->reload;

	r->drop = make_orders(c, ORDER_DROP);
	if (r->drop == NULL)
		return -ENOMEM;
	r->batch_from = r->batch_to = 0;
	take_next(c);
	return 0;
}

/* Adds a waiter to one of the two lists. Returns 0 or -ENOMEM: then he will hear nothing. */
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

int reload_start(struct control *c, struct delta *d, reload_fn fn, void *ctx)
{
	struct reload *r = &c->reload;

	LB_ASSERT(r->delta == NULL);
	if (add_waiter(&r->now, &r->n_now, fn, ctx) < 0)
		return -ENOMEM;
	r->delta = d;
	if (hand_over(c) == 0)
		return 0;
	r->delta = NULL;
	r->n_now = 0;
	return -ENOMEM;
}

bool reload_is_under_way(const struct control *c)
{
	return c->reload.delta != NULL || c->reload.n_waiting > 0;
}

struct delta *reload_pending(const struct control *c)
{
	struct delta *d = c->reload.delta;

	return d != NULL && !d->is_committed ? d : NULL;
}

/* All reasons against it are found, not the first; but without descriptors no bind succeeds. */
static int prepare(struct control *c, struct conf *conf)
{
	struct reload *r = &c->reload;
	int user = preflight_user(conf, &r->err);
	int logs = logger_check(&conf->log, &conf->access_log, &r->err);
	int fds = threads_check_binds(c->threads, conf_n_binds(conf), &r->err);
	int registry = fds == 0 ? registry_prepare(&c->registry, conf, &r->err, &r->delta) : fds;

	return user < 0 ? user : logs < 0 ? logs : registry;
}

void reload_request(struct control *c, reload_fn fn, void *ctx)
{
	struct reload *r = &c->reload;
	struct conf *conf = NULL;

	if (reload_is_under_way(c)) {
		(void)add_waiter(&r->next, &r->n_next, fn, ctx);
		r->is_again = true;
		return;
	}
	(void)add_waiter(&r->now, &r->n_now, fn, ctx); /* without memory: the log says it */
	if (c->phase != PHASE_RUNNING) {
		r->result = refuse_to_stop(c);
		finish(c);
		return;
	}
	notify_reloading();
	r->is_announced = true;
	r->result = conf_load(c->path, &r->err, &conf);
	control_log_warnings(c, &r->err);
	if (r->result == 0)
		r->result = prepare(c, conf);
	conf_unref(conf);
	if (r->result == 0) {
		if (hand_over(c) == 0)
			return;
		r->result = err_add(&r->err, -ENOMEM, "out of memory");
	}
	finish(c);
}

void reload_deinit(struct control *c)
{
	struct reload *r = &c->reload;

	r->delta = delta_free(&c->registry, r->delta);
	r->drop = free_orders(c, r->drop);
	free(r->now);
	free(r->next);
	r->started = conf_unref(r->started);
	err_deinit(&r->err);
}
