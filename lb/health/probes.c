/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The set of targets.
 *
 * Terms. A probe is a target with its checks (health/schedule.h). A target is known by the `arg` of
 * its struct probe_target. A removed probe is freed with its last check. Until then it stays in the
 * table, so a target may have a removed probe in the table beside its new one.
 *
 *   probes_new()    no target yet
 *   probes_set()    marks all probes as not wanted; update()s or add()s the probe of each target
 *                   that it is given; removes the probes that are still not wanted
 *   probes_pause()  begins or ends the maintenance of one target
 *   probes_limit()  bounds how many checks run at a time
 *   probes_close()  removes all probes; to be called until no probe is left, before probes_free()
 *
 * Probes are found by their target in a hash table (find()), so that probes_set(), which a reload
 * calls with all targets, takes linear time, and probes_pause() constant time. The table has at
 * least as many buckets as probes, unless memory was short when it had to grow.
 *
 * When a check runs and what its result means is schedule.c's business.
 *
 * Thread: main.
 */
#include "health/probes.h"

#include <errno.h>
#include <stdlib.h>

#include "ev/loop.h"
#include "health/schedule.h"
#include "util/hash.h"

#define FIRST_BUCKETS 64u

struct probes {
	struct schedule schedule;
	/* owns: a hash table of struct probe with n_buckets buckets, a power of two */
	struct list *bucket;
	size_t n_buckets;
};

/* ---- the hash table -------------------------------------------------------------------------- */

static struct list *buckets_new(size_t n)
{
	struct list *b = calloc(n, sizeof(*b));

	LB_ASSERT(n >= FIRST_BUCKETS && (n & (n - 1)) == 0);
	for (size_t i = 0; b != NULL && i < n; i++)
		list_init(&b[i]);
	return b;
}

static struct list *bucket_of(const struct probes *all, const void *target)
{
	return &all->bucket[hash_mix((uintptr_t)target, 0) & (all->n_buckets - 1)];
}

/*
 * Doubles the table when there are more probes than buckets. When memory is short, the table keeps
 * its size, and find() takes longer.
 */
static void grow_buckets(struct probes *all)
{
	struct list *old = all->bucket, *more;

	if (schedule_n_probes(&all->schedule) <= all->n_buckets)
		return;
	more = buckets_new(2 * all->n_buckets);
	if (more == NULL)
		return;
	all->bucket = more;
	all->n_buckets *= 2;
	list_for_each(it, &all->schedule.all)
	{
		struct probe *p = list_entry(it, struct probe, link);
		list_del(&p->same);
		list_add_tail(bucket_of(all, p->target), &p->same);
	}
	free(old);
}

/*
 * The probe of `target`, or NULL. Passes over removed probes, which stay in the table until their
 * checks are over.
 */
static struct probe *find(const struct probes *all, const void *target)
{
	list_for_each(it, bucket_of(all, target))
	{
		struct probe *p = list_entry(it, struct probe, same);
		if (p->target == target && !p->is_removed)
			return p;
	}
	return NULL;
}

/* ---- the set --------------------------------------------------------------------------------- */

static struct probe *add(struct probes *all, const struct probe_target *t)
{
	struct probe *p = schedule_add(&all->schedule, t->arg, &t->addr, t->conf, t->proxy,
				       t->sources, t->n_sources);

	if (p != NULL) {
		list_add_tail(bucket_of(all, t->arg), &p->same);
		grow_buckets(all);
	}
	return p;
}

/*
 * Updates the probe of a target that had one before. When the settings have changed, the next check
 * is in `delay_ms`. Returns false when memory is short.
 */
static bool update(struct probe *p, const struct probe_target *t, uint64_t delay_ms)
{
	bool is_same = check_spec_is_same(&p->spec, t->conf, t->proxy);

	if (!check_spec_set_sources(&p->spec, t->sources, t->n_sources) ||
	    (!is_same && !check_spec_set_conf(&p->spec, t->conf, t->proxy)))
		return false;
	verdict_configure(&p->verdict, t->conf->rise, t->conf->fall);
	if (!is_same)
		schedule_start(p, delay_ms);
	if (!is_same || t->is_paused)
		schedule_end_checks(p);
	return true;
}

int probes_set(struct probes *all, const struct probe_target *targets, size_t n)
{
	struct schedule *s = &all->schedule;
	/*
	 * The loop has to have room for the checks of old and new probes together, because the last
	 * checks of removed probes end while checks of new probes begin.
	 */
	size_t n_checks = PROBE_MAX_CHECKS * (n + schedule_n_probes(s));
	int result = loop_reserve(s->checks.loop, LOOP_OPS_MIN + CHECK_N_OPS * n_checks);
	bool has_room = result == 0;

	loop_assert_owner(s->checks.loop);

	list_for_each(it, &s->all) list_entry(it, struct probe, link)->is_wanted = false;
	for (size_t i = 0; i < n; i++) {
		const struct probe_target *t = &targets[i];
		struct probe *p = find(all, t->arg);
		uint64_t delay_ms = schedule_first_delay_ms(i, n, t->conf->interval_ms);

		if (p == NULL) {
			p = has_room ? add(all, t) : NULL;
			if (p == NULL) {
				result = -ENOMEM;
				continue;
			}
			schedule_start(p, delay_ms);
		} else if (!update(p, t, delay_ms)) {
			result = -ENOMEM;
		}
		LB_ASSERT(!p->is_wanted); /* the caller names each target once */
		p->is_paused = t->is_paused;
		p->is_wanted = true;
	}
	list_for_each(it, &s->all)
	{
		struct probe *p = list_entry(it, struct probe, link);
		if (!p->is_wanted && !p->is_removed)
			schedule_remove(p);
	}
	return result;
}

void probes_pause(struct probes *all, const void *target, bool is_paused)
{
	struct probe *p = find(all, target);

	loop_assert_owner(all->schedule.checks.loop);
	if (p == NULL)
		return;
	p->is_paused = is_paused;
	if (is_paused)
		schedule_end_checks(p);
}

void probes_limit(struct probes *p, uint32_t max_checks)
{
	schedule_limit(&p->schedule, max_checks);
}

bool probes_close(struct probes *all)
{
	list_for_each(it, &all->schedule.all)
	{
		struct probe *p = list_entry(it, struct probe, link);
		if (!p->is_removed)
			schedule_remove(p);
	}
	return !list_is_empty(&all->schedule.all);
}

struct probes *probes_new(struct loop *loop, unsigned class_id, const struct probe_ops *ops,
			  void *ops_arg)
{
	struct probes *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	int r = schedule_init(&p->schedule, loop, class_id, ops, ops_arg);

	p->n_buckets = FIRST_BUCKETS;
	p->bucket = buckets_new(FIRST_BUCKETS);
	return r < 0 || p->bucket == NULL ? probes_free(p) : p;
}

struct probes *probes_free(struct probes *p)
{
	if (p == NULL)
		return NULL;
	schedule_deinit(&p->schedule);
	for (size_t i = 0; p->bucket != NULL && i < p->n_buckets; i++)
		LB_ASSERT(list_is_empty(&p->bucket[i]));
	free(p->bucket);
	free(p);
	return NULL;
}
