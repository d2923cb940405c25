/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When each probe is checked, and how many checks run at a time.
 *
 * Terms. A probe is a target with its settings, its checks and their verdict. The current check of
 * a probe is the one that has no result yet. A check lingers after its result until the backend
 * closes (check.c). A probe is due when its timer has fired and its check has not started.
 *
 *   schedule_add()      a probe without a check; schedule_start() sets its timer
 *   on_next()           the timer fires once per interval, from start to start: starts a check, or
 *                       puts the probe into the list `due`
 *   start_check()       makes a check and starts it; it is the current one
 *   on_result()         the result goes to ops->on_result() and to the verdict; a new verdict goes
 *                       to ops->on_verdict()
 *   on_none()           the check could not be made: no result
 *   on_end()            the check is over; start_due() starts checks of the probes in `due`
 *   schedule_remove()   ends the probe's checks; the probe is freed with the last of them
 *
 * Two numbers are bounded. PROBE_MAX_CHECKS bounds how many checks one probe has: a check starts
 * even when the check before it still lingers, but when the probe has PROBE_MAX_CHECKS checks, its
 * oldest check is reset first (end_oldest()). schedule_limit() bounds how many checks all probes
 * have together, because each check has a descriptor: while there are as many, a probe that is due
 * waits in `due`, in the order in which the probes became due.
 *
 * Thread: main.
 */
#include "health/schedule.h"

#include <errno.h>
#include <stdlib.h>

#include "ev/loop.h"
#include "health/probe_ops.h"
#include "util/slab.h"

/* ---- starting checks ------------------------------------------------------------------------- */

static bool has_free_slot(const struct schedule *s)
{
	return checks_n(&s->checks) < s->max_checks;
}

static bool may_start(const struct probe *p)
{
	return !p->is_paused && p->current == NULL;
}

static void start_check(struct probe *p)
{
	struct schedule *s = p->schedule;
	struct check *c = check_new(&s->checks, &p->spec, p);

	LB_ASSERT(may_start(p) && !p->is_removed);
	if (c == NULL) {
		s->ops->on_none(s->ops_arg, p->target, "no check: out of memory");
		return;
	}
	list_add_tail(&p->checks, &c->link);
	p->n_checks++;
	LB_ASSERT(p->n_checks <= PROBE_MAX_CHECKS);
	p->current = c;
	check_start(c);
}

/*
 * Starts checks of the probes in `due`, the one that has waited longest first, until the limit of
 * checks is reached.
 */
static void start_due(struct schedule *s)
{
	if (s->is_starting) /* on_end() calls start_due(), also from within the loop below */
		return;
	s->is_starting = true;
	while (!list_is_empty(&s->due) && has_free_slot(s)) {
		struct probe *p = list_entry(s->due.next, struct probe, due);

		list_del(&p->due);
		if (may_start(p))
			start_check(p);
	}
	s->is_starting = false;
}

/* Resets the oldest check of `p` that is not in CHECK_ENDING, if there is one. */
static void end_oldest(struct probe *p)
{
	list_for_each(it, &p->checks)
	{
		struct check *c = list_entry(it, struct check, link);

		if (c->phase != CHECK_ENDING) {
			LB_ASSERT(c != p->current); /* the current check is the newest */
			check_end(c, CHECK_BY_RESET);
			return;
		}
	}
}

static void on_next(struct timer *t, void *arg)
{
	struct probe *p = container_of(t, struct probe, next);
	struct schedule *s = p->schedule;

	(void)arg;
	LB_ASSERT(!p->is_removed);
	/*
	 * When the current check still has no result, because its timeout is longer than the
	 * interval, no check is started this time.
	 */
	if (may_start(p) && p->n_checks >= PROBE_MAX_CHECKS) {
		end_oldest(p);
		/* again in 1 ms: the reset takes a turn or two */
		loop_timer_start(s->checks.loop, &p->next, 1);
		return;
	}
	loop_timer_start(s->checks.loop, &p->next, p->spec.conf.interval_ms);
	if (!may_start(p))
		return;
	/* A probe in `due` gets a free slot first, by start_due(). */
	LB_DASSERT(!has_free_slot(s) || list_is_empty(&s->due));
	if (has_free_slot(s))
		start_check(p);
	else if (!list_is_linked(&p->due))
		list_add_tail(&s->due, &p->due);
}

uint64_t schedule_first_delay_ms(size_t i, size_t n, uint32_t interval_ms)
{
	uint64_t window_ms = n > 1000 ? n : 1000;

	LB_ASSERT(i < n);
	if (window_ms > interval_ms)
		window_ms = interval_ms;
	return window_ms * i / n;
}

/* ---- what checks report ---------------------------------------------------------------------- */

static void free_probe(struct probe *p)
{
	LB_ASSERT(p->n_checks == 0 && list_is_empty(&p->checks) && p->current == NULL);
	loop_timer_stop(p->schedule->checks.loop, &p->next);
	list_del(&p->link);
	list_del(&p->same);
	list_del(&p->due);
	check_spec_clear(&p->spec);
	slab_put(p->schedule->slab, p);
}

/* Each function of `ops` may remove the probe. The probe is freed in on_end() at the earliest. */
static void on_result(void *owner, bool is_ok, const char *text)
{
	struct probe *p = owner;
	const struct schedule *s = p->schedule;
	bool is_first = !p->verdict.is_known;

	p->current = NULL;
	s->ops->on_result(s->ops_arg, p->target, is_ok, text);
	if (verdict_add(&p->verdict, is_ok))
		s->ops->on_verdict(s->ops_arg, p->target, p->verdict.is_up, is_first, text);
}

static void on_none(void *owner, const char *text)
{
	struct probe *p = owner;
	const struct schedule *s = p->schedule;

	p->current = NULL;
	s->ops->on_none(s->ops_arg, p->target, text);
}

static void on_end(void *owner)
{
	struct probe *p = owner;
	struct schedule *s = p->schedule;

	LB_ASSERT(p->n_checks > 0);
	p->n_checks--;
	if (p->is_removed && p->n_checks == 0)
		free_probe(p);
	start_due(s);
}

static const struct check_ops check_ops = {
	.on_result = on_result,
	.on_none = on_none,
	.on_end = on_end,
};

/* ---- probes ---------------------------------------------------------------------------------- */

struct probe *schedule_add(struct schedule *s, void *target, const struct addr *addr,
			   const struct conf_health *conf, enum conf_proxy proxy,
			   const struct addr *sources, size_t n_sources)
{
	struct probe *p = slab_reserve(s->slab, 1) == 0 ? slab_get(s->slab) : NULL;

	if (p == NULL)
		return NULL;
	p->schedule = s;
	p->target = target;
	p->spec.addr = *addr;
	/*
	 * Each probe has another start value, so that probes that are added together begin at
	 * different local addresses.
	 */
	p->spec.next_source = slab_n_used(s->slab);
	list_init(&p->same);
	list_init(&p->checks);
	list_init(&p->due);
	timer_init(&p->next, on_next);
	list_add_tail(&s->all, &p->link);
	if (!check_spec_set_conf(&p->spec, conf, proxy) ||
	    !check_spec_set_sources(&p->spec, sources, n_sources)) {
		free_probe(p);
		return NULL;
	}
	verdict_init(&p->verdict, conf->rise, conf->fall);
	return p;
}

void schedule_start(struct probe *p, uint64_t delay_ms)
{
	LB_ASSERT(!p->is_removed);
	loop_timer_start(p->schedule->checks.loop, &p->next, delay_ms);
}

void schedule_end_checks(struct probe *p)
{
	p->current = NULL;
	list_for_each(it, &p->checks) check_end(list_entry(it, struct check, link), CHECK_BY_FIN);
}

void schedule_remove(struct probe *p)
{
	LB_ASSERT(!p->is_removed);
	p->is_removed = true;
	list_del(&p->due);
	loop_timer_stop(p->schedule->checks.loop, &p->next);
	schedule_end_checks(p);
	if (p->n_checks == 0)
		free_probe(p);
}

/* ---- the schedule ---------------------------------------------------------------------------- */

int schedule_init(struct schedule *s, struct loop *loop, unsigned class_id,
		  const struct probe_ops *ops, void *ops_arg)
{
	*s = (struct schedule){ .ops = ops, .ops_arg = ops_arg, .max_checks = UINT32_MAX };
	list_init(&s->all);
	list_init(&s->due);
	s->slab = slab_new("probe", sizeof(struct probe), 1u << 20);
	if (s->slab == NULL)
		return -ENOMEM;
	return checks_init(&s->checks, loop, class_id, &check_ops);
}

void schedule_deinit(struct schedule *s)
{
	LB_ASSERT(list_is_empty(&s->all) && list_is_empty(&s->due));
	s->slab = slab_free(s->slab);
	checks_deinit(&s->checks);
}

void schedule_limit(struct schedule *s, uint32_t max_checks)
{
	s->max_checks = max_checks > 0 ? max_checks : 1;
	start_due(s);
}

uint32_t schedule_n_probes(const struct schedule *s)
{
	return slab_n_used(s->slab);
}
