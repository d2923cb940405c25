/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The world: chance, time, turns. Sockets are in net.c, the loops' operations in engine.c.
 *
 * A round gives a turn, in an order that the seed decides, to most loops and actors and to the
 * network. When nothing happens in a round, a strict round follows, in which all of them have a
 * turn. When nothing happens in that one either, time jumps to the moment at which something is due
 * next.
 */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim_priv.h"

void sim_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	(void)fprintf(stderr, "%s:%d: ", file, line);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	abort();
}

/* splitmix64: a generator whose next state is a pure function of this one. */
static uint64_t next_random(struct sim *w)
{
	uint64_t z = (w->rng += 0x9e3779b97f4a7c15u);

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

uint64_t sim_rand(struct sim *w, uint64_t n)
{
	if (w->n_choices == 0)
		return next_random(w) % n;
	w->n_choices--;
	return *w->choices++ % n;
}

bool sim_chance(struct sim *w, uint64_t n)
{
	return sim_rand(w, n) == 0;
}

uint64_t sim_now_ns(const struct sim *w)
{
	return w->now_ns;
}

uint64_t sim_now_ms(const struct sim *w)
{
	return w->now_ns / 1000000;
}

bool sim_is_traced(const struct sim *w)
{
	return w->is_traced;
}

void sim_say(struct sim *w, const char *fmt, ...)
{
	va_list ap;

	if (!w->is_traced)
		return;
	(void)fprintf(stderr, "%10.3f ms  ", (double)w->now_ns / 1e6);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
}

struct sim *sim_new(const struct sim_opts *o)
{
	struct sim *w = calloc(1, sizeof(*w));

	LB_ASSERT(w != NULL);
	w->rng = w->seed = o->seed;
	w->choices = o->choices;
	w->n_choices = o->n_choices;
	w->is_traced = o->is_traced;
	w->now_ns = 1000000000;
	w->next_port = 20000;
	return w;
}

struct sim *sim_free(struct sim *w)
{
	if (w == NULL)
		return NULL;
	LB_ASSERT(w->n_loops == 0);
	sim_net_free(w);
	free(w->actor);
	free(w);
	return NULL;
}

uint64_t sim_n_completions(const struct sim *w)
{
	return w->n_done;
}

int sim_channel(struct sim *w)
{
	LB_ASSERT(w->n_channels < SIM_MAX_CHANNELS);
	return (int)w->n_channels++;
}

uint32_t sim_channel_n_refused(const struct sim *w, int chan)
{
	return w->channel[chan].n_refused;
}

/* ---- actors ---------------------------------------------------------------------------------- */

void sim_add_actor(struct sim *w, sim_actor_fn fn, void *arg)
{
	if (w->n_actors == w->actors_cap) {
		w->actors_cap = w->actors_cap ? 2 * w->actors_cap : 64;
		w->actor = reallocarray(w->actor, w->actors_cap, sizeof(*w->actor));
		LB_ASSERT(w->actor != NULL);
	}
	w->actor[w->n_actors++] = (struct sim_actor){ .fn = fn, .arg = arg };
}

void sim_sleep_ms(struct sim *w, uint64_t ms)
{
	w->actor[w->running].wake_ns = w->now_ns + ms * 1000000;
}

void sim_wake_at_ms(struct sim *w, uint64_t at_ms)
{
	w->actor[w->running].alarm_ns = at_ms * 1000000;
}

void sim_set_check(struct sim *w, void (*fn)(void *arg), void *arg)
{
	w->check = fn;
	w->check_arg = arg;
}

/* ---- turns ----------------------------------------------------------------------------------- */

static bool run_loop(struct sim *w, struct loop *l)
{
	uint64_t before = w->n_done;
	uint64_t due_ms = timer_wheel_wait_ms(&l->timers);
	bool is_due = due_ms != UINT64_MAX && l->timers.now_ms + due_ms <= w->now_ns / 1000000;
	int r = loop_turn(l, 0);

	LB_ASSERT(r == 0);
	bool has_acted = w->n_done != before || is_due || sim_loop_has_acted(l);
	if (has_acted && w->check != NULL)
		w->check(w->check_arg);
	return has_acted;
}

/* When the actor is over, the last actor of the list takes its place there. */
static bool run_actor(struct sim *w, size_t i)
{
	if (w->actor[i].wake_ns > w->now_ns)
		return false;
	w->running = i;
	enum sim_step step = w->actor[i].fn(w->actor[i].arg);
	if (step == SIM_DONE)
		w->actor[i] = w->actor[--w->n_actors];
	if (step != SIM_IDLE && w->check != NULL)
		w->check(w->check_arg);
	return step != SIM_IDLE;
}

/* Gives a turn to most, or in a strict round to all, beginning anywhere. Returns whether any of
 * them has acted. */
static bool run_round(struct sim *w)
{
	size_t n = w->n_loops + w->n_actors + 1;
	size_t first = sim_rand(w, n);
	bool has_acted = false;

	for (size_t k = 0; k < n; k++) {
		size_t i = (first + k) % n;
		if (!w->is_strict && sim_chance(w, 4))
			continue;
		if (i < w->n_loops)
			has_acted = run_loop(w, w->loop[i]) || has_acted;
		else if (i == w->n_loops)
			has_acted = sim_net_turn(w) || has_acted;
		else if (i - w->n_loops - 1 < w->n_actors)
			has_acted = run_actor(w, i - w->n_loops - 1) || has_acted;
	}
	return has_acted;
}

/* Lets time jump to the moment at which something is due first. False: nothing ever is. */
static bool jump(struct sim *w)
{
	uint64_t due = sim_net_due_ns(w);

	for (size_t i = 0; i < w->n_loops; i++) {
		uint64_t ms = timer_wheel_wait_ms(&w->loop[i]->timers);
		if (ms != UINT64_MAX && w->now_ns + ms * 1000000 < due)
			due = w->now_ns + ms * 1000000;
	}
	for (size_t i = 0; i < w->n_actors; i++) {
		const struct sim_actor *a = &w->actor[i];
		if (a->wake_ns > w->now_ns && a->wake_ns < due)
			due = a->wake_ns;
		if (a->alarm_ns > w->now_ns && a->alarm_ns < due)
			due = a->alarm_ns;
	}
	if (due == UINT64_MAX)
		return false;
	w->now_ns = due > w->now_ns ? due : w->now_ns + 1000000;
	sim_net_expire(w);
	return true;
}

bool sim_run(struct sim *w, bool (*is_done)(void *arg), void *arg, uint64_t max_rounds)
{
	for (uint64_t round = 0; round < max_rounds; round++) {
		if (is_done(arg))
			return true;
		if (run_round(w))
			continue;
		w->is_strict = true;
		bool has_acted = run_round(w);
		w->is_strict = false;
		if (!has_acted && !jump(w))
			return is_done(arg);
	}
	return false;
}
