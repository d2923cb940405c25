/* SPDX-License-Identifier: Apache-2.0 */
/* Runs one scenario: starts it, lets it run until all is over, and checks what is left. */
#include "scenario.h"

#include <stdlib.h>

#include "util/slab.h"

#define MAX_ROUNDS 200000 /* some ten times the rounds of the longest seed */

static bool is_over(void *scenario)
{
	const struct scenario *t = scenario;

	if (t->n_open_clients > 0 || !admin_actor_is_over(t))
		return false;
	for (int i = 0; i < N_HOSTS; i++)
		if (t->host[i].n_visits > 0 || t->host[i].sock >= 0)
			return false;
	return true;
}

static bool has_started(void *scenario)
{
	return ((const struct scenario *)scenario)->control.phase == PHASE_RUNNING;
}

static void open_hosts(struct scenario *t)
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

static void open_conversations(struct scenario *t)
{
	t->n_conversations = t->is_small ? 6 : 20 + sim_rand(t->w, MAX_CONVERSATIONS - 20);
	t->conversation = calloc(t->n_conversations, sizeof(*t->conversation));
	LB_ASSERT(t->conversation != NULL);
	for (uint32_t i = 0; i < t->n_conversations; i++) {
		conversation_plan(&t->conversation[i], t, i);
		sim_add_actor(t->w, client_step, &t->conversation[i]);
	}
	t->n_open_clients = (uint32_t)t->n_conversations;
	if (!t->is_small &&
	    sim_chance(t->w, 6)) /* a stop at the moment at which a client connects */
		admin_actor_stop_at(t,
				    t->conversation[sim_rand(t->w, t->n_conversations)].start_ms);
}

static void plant(struct scenario *t, enum fault what, uint32_t nth)
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

uint64_t scenario_run_with_fault(const struct sim_opts *o, enum fault what, uint32_t nth)
{
	struct scenario *t = calloc(1, sizeof(*t));

	LB_ASSERT(t != NULL);
	t->w = sim_new(o);
	t->is_small = what != FAULT_NONE;
	t->is_faulty = t->is_small || sim_chance(t->w, 4);
	t->is_tight = !t->is_small && sim_chance(t->w, 4);
	t->is_roomy = !t->is_tight && sim_chance(t->w, 3);
	t->n_workers = t->is_small ? 1 : 1 + (uint32_t)sim_rand(t->w, MAX_WORKERS);
	open_hosts(t);
	admin_actor_open(t);
	SIM_CHECK(sim_run(t->w, has_started, t, MAX_ROUNDS), "the start is stuck");
	plant(t, what, nth);
	sim_set_check(t->w, check_turn, t);
	sim_add_actor(t->w, admin_actor_step, t);
	open_conversations(t);
	SIM_CHECK(sim_run(t->w, is_over, t, MAX_ROUNDS), "stuck: %u clients are not over",
		  t->n_open_clients);

	sim_set_check(t->w, NULL, NULL);
	check_conversations(t);
	check_idle(t);
	admin_actor_close(t);
	uint64_t n = sim_n_completions(t->w);
	sim_free(t->w);
	free(t->conversation);
	free(t);
	return n;
}

uint64_t scenario_run(const struct sim_opts *o)
{
	return scenario_run_with_fault(o, FAULT_NONE, 0);
}
