/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The schedule: which probe is checked when, and how many checks run at a time.
 *
 * A probe is a target with its interval, its checks and their verdict. Which targets there are is
 * the business of the set (health/probes.h).
 *
 * Thread: main. Layer: health.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ev/timer.h"
#include "health/check.h"
#include "health/spec.h"
#include "health/verdict.h"
#include "util/assert.h"
#include "util/list.h"

struct loop;
struct probe_ops;
struct slab;

/* The most checks of one probe: one that has no result yet, and those that linger or end. */
#define PROBE_MAX_CHECKS 4u

struct probe {
	void *target; /* borrows: names the probe in the calls of `ops` */
	struct check_spec spec;
	bool is_paused; /* no check is started while this is true */

	/* private to probes.c */
	struct list same; /* probes->bucket[] of its target */
	bool is_wanted;   /* used by probes_set(): the probe is to stay */

	/* private to schedule.c, but probes.c reads schedule->all */
	struct list link; /* schedule->all */
	bool is_removed;  /* the probe is freed with its last check */
	struct schedule *schedule;
	struct list due; /* schedule->due, while the next check waits for a slot */
	struct verdict verdict;
	struct timer next;
	struct check *current; /* borrows: the check that has no result yet, or NULL */
	struct list checks;    /* owns */
	uint32_t n_checks;
};

struct schedule {
	struct list all; /* owns: a list of struct probe */

	/* private to schedule.c */
	struct checks checks;
	const struct probe_ops *ops; /* borrows */
	void *ops_arg;
	struct slab *slab;   /* owns; its objects are of struct probe */
	struct list due;     /* a list of struct probe, the one that is due longest first */
	uint32_t max_checks; /* the most checks at a time, of all probes */
	bool is_starting;    /* start_due() is running */
};

/*
 * For `class_id` and `ops` see probes_new(). Returns 0 or -ENOMEM. The caller has to call
 * schedule_deinit() in both cases.
 */
int schedule_init(struct schedule *s, struct loop *loop, unsigned class_id,
		  const struct probe_ops *ops, void *ops_arg) LB_MUST_CHECK;

/* Asserts that no probe is left. */
void schedule_deinit(struct schedule *s);

/* See probes_limit(). */
void schedule_limit(struct schedule *s, uint32_t max_checks);

/* The number of probes. Removed probes count until their checks are over. */
uint32_t schedule_n_probes(const struct schedule *s);

/*
 * When the i-th of n targets is first checked, in ms from now: the first checks are spread evenly
 * over a second, or over n ms when there are more than 1,000 targets, but never over more than one
 * interval.
 */
uint64_t schedule_first_delay_ms(size_t i, size_t n, uint32_t interval_ms);

/*
 * schedule_add() - make a probe of `target`, which is not checked before schedule_start()
 *
 * Borrows `target`, and copies the rest. Returns NULL when memory is short.
 */
struct probe *schedule_add(struct schedule *s, void *target, const struct addr *addr,
			   const struct conf_health *conf, enum conf_proxy proxy,
			   const struct addr *sources, size_t n_sources) LB_MUST_CHECK;

/* Starts the next check of `p` in `delay_ms`, and then one check in each interval. */
void schedule_start(struct probe *p, uint64_t delay_ms);

/* Ends all checks of `p` that are under way, without a result. */
void schedule_end_checks(struct probe *p);

/* Ends all checks of `p` for good. `p` is freed with the last check, perhaps within this call. */
void schedule_remove(struct probe *p);
