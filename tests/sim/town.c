/* SPDX-License-Identifier: Apache-2.0 */
/* One seed, from the first connection to the last descriptor. */
#include "town.h"

#include <stdlib.h>

#include "util/slab.h"

#define MAX_ROUNDS 200000 /* some ten times what any seed has taken */

static bool is_over(void *town)
{
	const struct town *t = town;

	if (t->n_talking > 0 || !operator_is_over(t))
		return false;
	for (int i = 0; i < N_HOSTS; i++)
		if (t->host[i].n_visits > 0 || t->host[i].sock >= 0)
			return false;
	return true;
}

static bool has_started(void *town)
{
	return ((const struct town *)town)->control.phase == PHASE_RUNNING;
}

static void open_hosts(struct town *t)
{
	for (int i = 0; i < N_HOSTS; i++) {
		t->host[i] = (struct host){ .t = t, .number = i };
		t->host[i].addr = (struct addr){ .family = AF_INET,
						 .port = (uint16_t)(9001 + i),
						 .v4 = { 127, 0, 0, 1 } };
		host_open(&t->host[i]);
		sim_add_actor(t->w, host_step, &t->host[i]);
	}
}

static void open_talks(struct town *t)
{
	t->n_talks = t->is_small ? 6 : 20 + sim_rand(t->w, MAX_TALKS - 20);
	t->talk = calloc(t->n_talks, sizeof(*t->talk));
	LB_ASSERT(t->talk != NULL);
	for (uint32_t i = 0; i < t->n_talks; i++) {
		talk_plan(&t->talk[i], t, i);
		sim_add_actor(t->w, client_step, &t->talk[i]);
	}
	t->n_talking = (uint32_t)t->n_talks;
}

static void plant(struct town *t, enum fault what, uint32_t nth)
{
	struct worker *w = t->thread[0].worker;

	switch (what) {
	case FAULT_BUFFER: buf_fail_after(w->loop->bufs, nth); break;
	case FAULT_SESSION: slab_fail_after(w->sessions, nth); break;
	case FAULT_EXCHANGE: slab_fail_after(w->exchanges, nth); break;
	case FAULT_DESCRIPTOR: sim_fail_fd_after(w->loop, nth); break;
	case FAULT_NONE:
	case N_FAULTS: break;
	}
}

uint64_t town_run_with_fault(const struct sim_opts *o, enum fault what, uint32_t nth)
{
	struct town *t = calloc(1, sizeof(*t));

	LB_ASSERT(t != NULL);
	t->w = sim_new(o);
	t->is_small = what != FAULT_NONE;
	t->is_faulty = t->is_small || sim_chance(t->w, 4);
	t->is_tight = !t->is_small && sim_chance(t->w, 4);
	t->n_workers = t->is_small ? 1 : 1 + (uint32_t)sim_rand(t->w, MAX_WORKERS);
	open_hosts(t);
	operator_open(t);
	SIM_CHECK(sim_run(t->w, has_started, t, MAX_ROUNDS), "the start is stuck");
	plant(t, what, nth);
	sim_set_check(t->w, check_turn, t);
	sim_add_actor(t->w, operator_step, t);
	open_talks(t);
	SIM_CHECK(sim_run(t->w, is_over, t, MAX_ROUNDS), "stuck: %u clients are not over",
		  t->n_talking);

	sim_set_check(t->w, NULL, NULL);
	check_talks(t);
	check_idle(t);
	operator_close(t);
	uint64_t n = sim_n_completions(t->w);
	sim_free(t->w);
	free(t->talk);
	free(t);
	return n;
}

uint64_t town_run(const struct sim_opts *o)
{
	return town_run_with_fault(o, FAULT_NONE, 0);
}
