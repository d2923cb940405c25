/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration in force, and the phases of lb's life.
 *
 * Terms. The configuration in force is the newest one that every worker runs by; `generation`
 * counts these. A phase is one of enum phase (daemon/phase.h); set_phase() allows the moves of
 * `next_phases` and no others. STOP tells a worker to close its listening sockets; QUIT tells a
 * worker to end the connections that are left, and then itself.
 *
 *   control_init()   control_set_threads()   called by server_open(); no worker runs yet
 *   control_start()  gives the first delta to reload.c; on_started() gets the result
 *   on_commit()      called by reload.c when every worker runs by a new configuration: puts this
 *                    configuration in force, then adapts the limit of connections and the health
 *                    checks to it
 *   control_stop()   the first call begins a stop, the second ends everything at once
 *   on_quit()        takes a worker's reply to QUIT; after the last reply ops->ended() is called
 *   control_close()  control_deinit()        called by server_close(); no worker runs any more
 *
 * The phases of a stop:
 *
 *   DELAYING   the workers still accept, but /healthz answers 503, so that a load balancer in front
 *              of lb sends new clients elsewhere
 *   DRAINING   the workers have got STOP; connections may end by themselves until the deadline
 *   QUITTING   the workers have got QUIT; their counters must not be read any more
 *
 * The messages of STOP and QUIT are made at the start, so that a stop needs no memory. A stop that
 * is asked for in PHASE_STARTING is counted and carried out after the start.
 *
 * One timer, `tick`, serves all phases: in PHASE_RUNNING it tidies the registry once a second, in
 * PHASE_DELAYING it ends the delay, and in PHASE_DRAINING it checks whether the connections have
 * ended.
 *
 * Relies on: reload.c, membership.c, registry.c, health.c, broadcast.c. server.c has everything
 * that touches files, signals or the process; control calls it by `ops` only.
 *
 * Thread: main.
 */
#include "daemon/control.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/delta.h"
#include "daemon/err_log.h"
#include "daemon/threads.h"
#include "daemon/worker_sums.h"
#include "proxy/message_stop.h"
#include "proxy/snapshot.h"

/* The interval in which a stop checks whether the connections have ended. */
#define TICK_MS 20
#define SECOND_MS 1000

/* The time that a stop may take beyond stop_delay and stop_timeout, to end the workers and to write
 * the logs. The figure is an estimate, not a measurement. */
#define STOP_MARGIN_MS 10000

static void on_tick(struct timer *t, void *arg);

/* For each phase, the phases that may follow it. */
#define TO(phase) (1u << PHASE_##phase)
static const unsigned next_phases[] = {
	[PHASE_STARTING] = TO(RUNNING) | TO(QUITTING),
	[PHASE_RUNNING] = TO(DELAYING) | TO(DRAINING),
	[PHASE_DELAYING] = TO(DRAINING) | TO(QUITTING),
	[PHASE_DRAINING] = TO(QUITTING),
	[PHASE_QUITTING] = 0,
};
#undef TO

static void set_phase(struct control *c, enum phase to)
{
	LB_ASSERT(next_phases[c->phase] & (1u << to));
	c->phase = to;
}

/* ---- the configuration in force -------------------------------------------------------------- */

static void set_limit(struct control *c)
{
	LB_ASSERT(c->threads != NULL && control_has_workers(c));
	uint64_t most = c->ops->capacity(c->arg), asked = c->conf->max_conns;

	atomic_store(&c->threads->proxy.max_conns, asked != 0 && asked < most ? asked : most);
}

/*
 * Names the keys whose new values take effect at a restart only, in the log and to the callers of
 * the reload. The new file is compared with the file that lb was started with, not with the file of
 * the last reload, because for these keys lb still runs by the values of the start.
 */
static void warn_of_restart(struct control *c, struct err *warnings)
{
	const char *keys[4];
	size_t n = conf_restart_keys(c->started, c->conf, keys);

	for (size_t i = 0; i < n; i++) {
		log_warn(&c->log, "takes effect at restart key=%s", keys[i]);
		err_warn_at(warnings, (struct mark){ 0 }, "%s takes effect at restart", keys[i]);
	}
}

static int on_check(void *arg, const struct conf *conf, struct err *e)
{
	struct control *c = arg;

	return c->ops->check(c->arg, conf, e);
}

static void on_reload_begins(void *arg)
{
	struct control *c = arg;

	c->ops->reload_begins(c->arg);
}

static void on_commit(void *arg, struct conf *conf, struct err *warnings)
{
	struct control *c = arg;

	loop_assert_owner(c->loop);
	LB_ASSERT(c->registry.snapshot->conf == conf);
	/* The first configuration is committed in PHASE_STARTING, every other one later. */
	LB_ASSERT((c->generation == 0) == (c->phase == PHASE_STARTING));
	conf_unref(c->conf);
	c->conf = conf_ref(conf);
	c->generation++;
	c->ops->conf_changed(c->arg, c->conf);
	if (control_has_workers(c)) {
		set_limit(c);
		health_apply(&c->health);
		registry_tidy(&c->registry);
	}
	if (c->generation == 1) {
		c->started = conf_ref(c->conf);
		return;
	}
	LB_ASSERT(c->started != NULL);
	warn_of_restart(c, warnings);
	log_notice(&c->log, "reloaded generation=%llu file=%s", (unsigned long long)c->generation,
		   c->reload.env.path);
}

static void on_reload_ended(void *arg)
{
	struct control *c = arg;

	c->ops->reload_ended(c->arg);
}

static struct message *make_stop(uint32_t worker, void *ctx)
{
	(void)ctx;
	return message_stop_new(worker);
}

static struct message *make_quit(uint32_t worker, void *ctx)
{
	struct message_quit *m = message_quit_new(worker);

	(void)ctx;
	return m == NULL ? NULL : &m->base;
}

static const struct reload_ops reload_ops = {
	.check = on_check,
	.begin = on_reload_begins,
	.commit = on_commit,
	.end = on_reload_ended,
};

/* ---- birth and end --------------------------------------------------------------------------- */

int control_init(struct control *c, const struct control_opts *o)
{
	*c = (struct control){
		.conf = conf_ref(o->conf),
		.loop = o->loop,
		.log = o->log,
		.ops = o->ops,
		.arg = o->arg,
		.n_workers = o->n_workers,
		.phase = PHASE_STARTING,
		.stop = BROADCAST_INIT,
		.quit = BROADCAST_INIT,
	};
	loop_assert_owner(c->loop);
	LB_ASSERT(c->n_workers > 0);
	c->loop->timers.arg = c;
	timer_init(&c->tick, on_tick);
	int r = registry_init(&c->registry, c->loop, c->n_workers);
	if (r == 0)
		r = health_open(&c->health, c->loop, &c->log, &c->registry, o->probe_class);
	if (r == 0)
		r = broadcast_make(&c->stop, c->n_workers, make_stop, NULL);
	if (r == 0)
		r = broadcast_make(&c->quit, c->n_workers, make_quit, NULL);
	c->membership = (struct membership){ .registry = &c->registry };
	reload_init(&c->reload, &(struct reload_env){
					.path = o->path,
					.loop = c->loop,
					.log = &c->log,
					.registry = &c->registry,
					.membership = &c->membership,
					.phase = &c->phase,
					.ops = &reload_ops,
					.arg = c,
				});
	return r;
}

void control_set_threads(struct control *c, struct threads *t)
{
	LB_ASSERT(t->n == c->n_workers && c->threads == NULL);
	c->threads = t;
	c->membership.threads = t;
	c->reload.env.threads = t;
	c->health.threads = t;
}

bool control_close(struct control *c)
{
	return health_close(&c->health);
}

void control_deinit(struct control *c)
{
	loop_assert_owner(c->loop);
	LB_ASSERT(c->health.probes == NULL); /* control_close() has freed them */
	loop_timer_stop(c->loop, &c->tick);
	reload_deinit(&c->reload);
	cert_watch_deinit(&c->certs);
	registry_deinit(&c->registry);
	broadcast_drop(&c->stop);
	broadcast_drop(&c->quit);
	c->started = conf_unref(c->started);
	c->conf = conf_unref(c->conf);
}

/* ---- the start ------------------------------------------------------------------------------- */

static void on_started(void *ctx, int result, const struct err *why)
{
	struct control *c = ctx;

	if (result < 0) {
		set_phase(c, PHASE_QUITTING); /* server_start() calls control_end_workers() next */
		c->ops->started(c->arg, result, why);
		return;
	}
	set_phase(c, PHASE_RUNNING);
	loop_timer_start(c->loop, &c->tick, SECOND_MS);
	c->ops->started(c->arg, 0, why);
	for (; c->n_early_stops > 0; c->n_early_stops--)
		control_stop(c);
}

int control_start(struct control *c, struct delta *first)
{
	loop_assert_owner(c->loop);
	LB_ASSERT(c->phase == PHASE_STARTING && c->threads != NULL && c->generation == 0);
	set_limit(c); /* before any worker accepts */
	return reload_start(&c->reload, first, on_started, c);
}

static void on_quit(struct message *m, void *arg)
{
	struct control *c = m->arg;

	(void)arg;
	announce_count(&c->stop_count, container_of(m, struct message_quit, base));
	message_free(m);
	/* PHASE_STARTING: the start has failed before control_start(). */
	LB_ASSERT(c->phase == PHASE_QUITTING || c->phase == PHASE_STARTING);
	LB_ASSERT(c->n_quit < c->n_workers);
	if (++c->n_quit == c->n_workers)
		c->ops->ended(c->arg);
}

void control_end_workers(struct control *c)
{
	uint32_t n = 0;

	LB_ASSERT(c->phase == PHASE_QUITTING || c->phase == PHASE_STARTING);
	for (uint32_t i = 0; c->threads != NULL && i < c->n_workers; i++) {
		const struct thread *t = &c->threads->thread[i];
		if (!t->is_started || t->result < 0)
			continue;
		broadcast_post_one(&c->quit, c->threads, i, on_quit, c);
		n++;
	}
	while (c->n_quit < n)
		(void)loop_turn(c->loop, 1000);
}

/* ---- the stop -------------------------------------------------------------------------------- */

static void on_stopped(struct message *m, void *arg)
{
	(void)arg;
	message_free(m);
}

static void quit_now(struct control *c)
{
	LB_ASSERT(c->n_quit == 0);
	set_phase(c, PHASE_QUITTING);
	broadcast_post(&c->quit, c->threads, on_quit, c);
}

static void begin_drain(struct control *c)
{
	set_phase(c, PHASE_DRAINING);
	c->deadline_ms = loop_now_ms(c->loop) + c->conf->stop_timeout_ms;
	c->second_ms = loop_now_ms(c->loop);
	broadcast_post(&c->stop, c->threads, on_stopped, NULL);
	loop_timer_start(c->loop, &c->tick, TICK_MS);
}

static void begin_stop(struct control *c)
{
	const struct conf *conf = c->conf;

	log_notice(&c->log, "stopping active=%llu stop_timeout_ms=%u",
		   (unsigned long long)worker_sums_active(c->threads), conf->stop_timeout_ms);
	announce_count_from_now(&c->stop_count, c->threads);
	c->ops->stopping(c->arg,
			 (uint64_t)conf->stop_delay_ms + conf->stop_timeout_ms + STOP_MARGIN_MS);
	if (conf->stop_delay_ms == 0) {
		begin_drain(c);
		return;
	}
	set_phase(c, PHASE_DELAYING);
	loop_timer_start(c->loop, &c->tick, conf->stop_delay_ms);
}

void control_stop(struct control *c)
{
	loop_assert_owner(c->loop);
	switch (c->phase) {
	case PHASE_STARTING: c->n_early_stops++; break;
	case PHASE_RUNNING: begin_stop(c); break;
	case PHASE_DELAYING:
	case PHASE_DRAINING:
		log_notice(&c->log, "stopping at once active=%llu",
			   (unsigned long long)worker_sums_active(c->threads));
		quit_now(c);
		break;
	case PHASE_QUITTING: break;
	}
}

static void tick_of_drain(struct control *c)
{
	uint64_t now_ms = loop_now_ms(c->loop);

	LB_ASSERT(c->deadline_ms > 0); /* begin_drain() has set the deadline */
	if (now_ms >= c->second_ms) {
		c->second_ms = now_ms + SECOND_MS;
		c->ops->second(c->arg);
	}
	if (worker_sums_active(c->threads) == 0 || now_ms >= c->deadline_ms)
		quit_now(c);
	else
		loop_timer_start(c->loop, &c->tick, TICK_MS);
}

static void on_tick(struct timer *t, void *arg)
{
	struct control *c = arg;

	(void)t;
	switch (c->phase) {
	case PHASE_STARTING:
	case PHASE_QUITTING: break;
	case PHASE_RUNNING:
		if (!reload_is_under_way(&c->reload)) {
			registry_tidy(&c->registry);
			tls_store_tick(&c->registry.tls, c->conf, loop_now_ms(c->loop), &c->log);
			cert_watch_tick(&c->certs, c->registry.snapshot,
					loop_wall_ns(c->loop) / 1000000000u, &c->log);
		}
		c->ops->second(c->arg);
		loop_timer_start(c->loop, &c->tick, SECOND_MS);
		break;
	case PHASE_DELAYING: begin_drain(c); break;
	case PHASE_DRAINING: tick_of_drain(c); break;
	}
}
