/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/reload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/control.h"
#include "daemon/logger.h"
#include "daemon/notify.h"
#include "proxy/listener.h"
#include "proxy/order.h"
#include "proxy/plan.h"

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

static void finish(struct control *c)
{
	struct reload *r = &c->reload;

	r->delta = delta_free(&c->fleet, r->delta);
	if (r->result < 0 && c->phase != PHASE_STARTING)
		control_log_errors(c, "reload refused", &r->err);
	tell(c);
	err_deinit(&r->err);
	notify_ready();
	if (!r->is_again)
		return;

	r->is_again = false;
	r->now = take_ptr(r->next);
	r->n_now = r->n_next;
	r->n_next = 0;
	reload_request(c, NULL, NULL);
}

static void commit(struct control *c)
{
	struct reload *r = &c->reload;
	struct conf *old = c->conf;

	c->conf = conf_ref(r->delta->conf);
	c->generation++;
	logger_reconfigure(c->logger, &c->conf->log, &c->conf->access_log);
	control_apply_conf(c);
	if (c->generation > 1) {
		const char *keys[4];
		size_t n = conf_restart_keys(old, c->conf, keys);
		for (size_t i = 0; i < n; i++)
			log_warn(&c->log, "takes effect at restart key=%s", keys[i]);
		log_notice(&c->log, "reloaded generation=%llu file=%s",
			   (unsigned long long)c->generation, c->path);
	}
	conf_unref(old);
}

/* ---- orders ---------------------------------------------------------------------------------- */

/* Adds the delta's listeners to an order: all of them, or the new ones. */
static int add_listeners(struct order *o, const struct delta *d, bool is_new_only)
{
	o->listeners = calloc(d->n_listeners, sizeof(struct listener *));
	o->plan_index = calloc(d->n_listeners, sizeof(*o->plan_index));
	if (o->listeners == NULL || o->plan_index == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < d->n_listeners; i++) {
		const struct delta_listener *dl = &d->listeners[i];
		if (is_new_only && !dl->is_new)
			continue;
		o->plan_index[o->n_listeners] = dl->plan_index;
		o->listeners[o->n_listeners++] = listener_ref(dl->listener);
	}
	return 0;
}

static int fill_apply(struct order *o, const struct delta *d)
{
	o->plan = plan_ref(d->plan);
	o->members = calloc(d->n_pools, sizeof(struct members *));
	if (o->members == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < d->n_pools; i++)
		o->members[o->n_members++] = members_ref(d->pools[i].members);
	return add_listeners(o, d, false);
}

/* Posts one order to every worker; `done` hears of each. All are made before the first is posted.
 */
static int order_all(struct control *c, enum order_kind kind,
		     void (*done)(struct order *o, void *arg))
{
	struct order **orders = calloc(c->n_workers, sizeof(struct order *));
	int r = orders == NULL ? -ENOMEM : 0;

	for (uint32_t i = 0; i < c->n_workers && r == 0; i++) {
		orders[i] = order_new(kind, i);
		if (orders[i] == NULL)
			r = -ENOMEM;
		else if (kind == ORDER_TAKE)
			r = add_listeners(orders[i], c->reload.delta, true);
		else if (kind == ORDER_APPLY)
			r = fill_apply(orders[i], c->reload.delta);
	}
	for (uint32_t i = 0; orders != NULL && i < c->n_workers; i++) {
		if (r < 0) {
			order_free(orders[i]);
			continue;
		}
		orders[i]->done = done;
		c->reload.n_waiting++;
		threads_order(c->threads, i, &orders[i]->mail);
	}
	free(orders);
	return r;
}

static void on_dropped(struct order *o, void *arg)
{
	struct control *c = arg;

	order_free(o);
	if (--c->reload.n_waiting == 0)
		finish(c);
}

/* Undoes what the workers have taken so far. */
static void drop(struct control *c, int result)
{
	c->reload.result = result;
	if (order_all(c, ORDER_DROP, on_dropped) < 0)
		finish(c); /* the parked sockets stay parked: nothing was lost but memory */
}

static void on_applied(struct order *o, void *arg)
{
	struct control *c = arg;
	struct reload *r = &c->reload;

	if (o->result < 0)
		r->result = err_add(&r->err, o->result, "worker %u: %s", o->worker,
				    strerror(-o->result));
	order_free(o);
	if (--r->n_waiting > 0)
		return;
	commit(c);
	finish(c);
}

static void apply(struct control *c)
{
	struct reload *r = &c->reload;
	int result = fleet_listen(&c->fleet, r->delta, &r->err);

	if (result == 0) {
		/* From here on nothing is refused; workers find the pools' new settings in place.
		 */
		fleet_commit(&c->fleet, r->delta);
		result = order_all(c, ORDER_APPLY, on_applied);
		if (result == 0)
			return;
		(void)err_add(&r->err, result, "%s", strerror(-result));
	}
	drop(c, result);
}

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
		apply(c);
}

/* Puts each worker's new sockets into its channel, in the order in which TAKE names them. */
static int pass_sockets(struct control *c)
{
	struct delta *d = c->reload.delta;

	for (size_t i = 0; i < d->n_listeners; i++) {
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

/* ---- the beginning of one -------------------------------------------------------------------- */

/* The delta is prepared: new sockets go to the workers first, if there are any. */
static void hand_over(struct control *c)
{
	struct reload *r = &c->reload;
	bool has_new = false;

	for (size_t i = 0; i < r->delta->n_listeners; i++)
		has_new = has_new || r->delta->listeners[i].is_new;
	if (!has_new) {
		apply(c);
		return;
	}
	r->result = pass_sockets(c);
	/* What was passed before a failure is taken all the same, to be dropped in order. */
	int posted = order_all(c, ORDER_TAKE, on_taken);
	if (posted < 0) {
		r->result = err_add(&r->err, posted, "%s", strerror(-posted));
		finish(c);
	}
}

/* Adds a waiter to one of the two lists; without memory the asker hears nothing but the log. */
static void add_waiter(struct reload_waiter **list, size_t *n, reload_fn fn, void *ctx)
{
	if (fn == NULL)
		return;
	struct reload_waiter *grown = reallocarray(*list, *n + 1, sizeof(*grown));
	if (grown == NULL)
		return;
	*list = grown;
	grown[(*n)++] = (struct reload_waiter){ .fn = fn, .ctx = ctx };
}

void reload_start(struct control *c, struct delta *d, reload_fn fn, void *ctx)
{
	struct reload *r = &c->reload;

	LB_ASSERT(r->delta == NULL);
	r->delta = d;
	add_waiter(&r->now, &r->n_now, fn, ctx);
	hand_over(c);
}

void reload_request(struct control *c, reload_fn fn, void *ctx)
{
	struct reload *r = &c->reload;
	struct conf *conf = NULL;

	if (r->delta != NULL || r->n_waiting > 0) {
		add_waiter(&r->next, &r->n_next, fn, ctx);
		r->is_again = true;
		return;
	}
	add_waiter(&r->now, &r->n_now, fn, ctx);
	if (c->phase != PHASE_RUNNING) {
		r->result = err_add(&r->err, -ESHUTDOWN, "lb is stopping");
		finish(c);
		return;
	}
	notify_reloading();
	r->result = conf_load(c->path, &r->err, &conf);
	if (r->result == 0)
		r->result = fleet_prepare(&c->fleet, conf, &r->err, &r->delta);
	conf_unref(conf);
	if (r->result < 0)
		finish(c);
	else
		hand_over(c);
}

void reload_deinit(struct control *c)
{
	struct reload *r = &c->reload;

	r->delta = delta_free(&c->fleet, r->delta);
	free(r->now);
	free(r->next);
	err_deinit(&r->err);
}
