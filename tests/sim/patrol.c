/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A patrol is a walk of the simulation's own over one worker's sessions. It is slow and pauses at
 * random, so that lists, reloads and other patrols run beside it while sessions end and are born.
 * At its end it checks what proxy/walk.h promises: each session that has lived all the time was
 * visited once, and none more often. Some patrols are cancelled by their own visit; their `done`
 * must not be called.
 */
#include <stdlib.h>

#include "proxy/walk.h"
#include "scenario.h"
#include "util/slab.h"

struct patrol {
	struct mail mail;
	struct walk walk;
	struct scenario *t;
	uint64_t last_id; /* of the worker's sessions when the patrol began */
	uint64_t *ids;    /* owns: the ids of the sessions that it has visited */
	size_t n, cap;
};

static void end_patrol(struct patrol *p)
{
	LB_ASSERT(p->t->n_patrols > 0);
	p->t->n_patrols--;
	free(p->ids);
	free(p);
}

static bool has_visited(const struct patrol *p, uint64_t id)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->ids[i] == id)
			return true;
	return false;
}

static void visit(struct walk *k, struct session *s)
{
	struct patrol *p = container_of(k, struct patrol, walk);

	SIM_CHECK(s->state != SESS_DEAD, "a walk visits a dead session");
	SIM_CHECK(!has_visited(p, s->id), "a walk visits session %llu again",
		  (unsigned long long)s->id);
	if (p->n == p->cap) {
		p->cap = p->cap != 0 ? 2 * p->cap : 16;
		p->ids = reallocarray(p->ids, p->cap, sizeof(*p->ids));
		LB_ASSERT(p->ids != NULL);
	}
	p->ids[p->n++] = s->id;
	/* As when a plan is replaced: the cancelled walk is its owner's, which may free it. */
	if (sim_chance(p->t->w, 40)) {
		walk_cancel(s->worker, k);
		end_patrol(p);
		return;
	}
	k->pause_ms = sim_chance(p->t->w, 3) ? (uint32_t)sim_rand(p->t->w, 500) : 0;
}

static void on_done(struct walk *k, struct worker *w)
{
	struct patrol *p = container_of(k, struct patrol, walk);
	uint32_t cursor = 0;
	const struct session *s;

	while ((s = slab_next(w->sessions, &cursor)) != NULL)
		SIM_CHECK(s->state == SESS_DEAD || s->id > p->last_id || has_visited(p, s->id),
			  "a walk has not visited session %llu", (unsigned long long)s->id);
	end_patrol(p);
}

static const struct walk_ops patrol_ops = {
	.visit = visit,
	.done = on_done,
};

/* The mail's function, on the worker. */
static void run_patrol(struct mail *mail, void *worker)
{
	struct worker *w = worker;
	struct patrol *p = container_of(mail, struct patrol, mail);

	p->last_id = w->next_id;
	walk_begin(w, &p->walk, &patrol_ops, (uint32_t)sim_rand(p->t->w, 4), 0);
}

void patrol_begin(struct scenario *t)
{
	struct patrol *p = calloc(1, sizeof(*p));
	uint64_t i = sim_rand(t->w, t->n_workers);

	LB_ASSERT(p != NULL);
	*p = (struct patrol){ .mail = { .run = run_patrol }, .t = t };
	t->n_patrols++;
	sim_say(t->w, "main    a patrol begins on worker %u", (unsigned)i);
	mailbox_post(&t->thread[i].mail, &p->mail);
}
