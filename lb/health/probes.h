/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Probes: health checks of backends on the main thread's loop.
 *
 * A target is checked once per interval (from start to start) by TCP, HTTP or a whole WebSocket
 * handshake. The results make a verdict (health/verdict.h), and each change of the verdict is
 * reported. After the result of an HTTP or WebSocket check the target closes the connection, within
 * the check's timeout.
 *
 * Thread: main. Layer: health.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "health/probe_ops.h"
#include "util/assert.h"
#include "util/sockaddr.h"

struct loop;
struct probes;

/* What is to be checked. */
struct probe_target {
	void *arg; /* identifies the target from one probes_set() to the next */
	struct addr addr;
	const struct conf_health *conf; /* borrowed for the call of probes_set() */
	enum conf_proxy proxy;          /* the PROXY header that a check sends first */
	bool is_paused;                 /* the target is in maintenance and is not checked */
	/* Local addresses to connect from, in turn; only those of addr's family are used. */
	size_t n_sources;
	const struct addr *sources; /* borrowed for the call of probes_set() */
};

/*
 * probes_new() - make a set without targets
 *
 * `class_id` is the class that the probes' tags have in `loop`. Borrows `loop`, `ops` and
 * `ops_arg`. Returns NULL when memory is short.
 */
struct probes *probes_new(struct loop *loop, unsigned class_id, const struct probe_ops *ops,
			  void *ops_arg);

/*
 * probes_limit() - run at most `max_checks` checks at a time, of all targets together; at least one
 *
 * Each check has one descriptor. While `max_checks` checks run, a check that is due waits until
 * another check is over; checks start in the order in which they became due. Before the first call
 * there is no limit.
 */
void probes_limit(struct probes *p, uint32_t max_checks);

/*
 * probes_set() - check these targets, and no others
 *
 * A target that was there before keeps its verdict and its schedule. When its settings have changed
 * or it is paused now, a check under way is ended without a result. New targets, and targets with
 * changed settings, are first checked within one interval, at different times
 * (schedule_first_delay_ms()). The time taken is proportional to the number of targets before and
 * after the call (tests/bench/bench_probes.c). Returns 0 or -ENOMEM. After -ENOMEM, a target for
 * which memory was short may keep its old settings, or is not checked if it is new.
 */
int probes_set(struct probes *p, const struct probe_target *targets, size_t n) LB_MUST_CHECK;

/*
 * probes_pause() - begin or end the maintenance of one target
 *
 * Does what probes_set() does when only this target's is_paused has changed, in constant time and
 * without memory. Does nothing when the target (the `arg` of its struct probe_target) has no probe.
 */
void probes_pause(struct probes *p, const void *target, bool is_paused);

/*
 * Ends all checks and removes all targets. Returns true while some check is not over. Then the
 * caller has to call probes_close() again, after a turn of the loop.
 */
bool probes_close(struct probes *p);

/* Every check has to be over: see probes_close(). `p` may be NULL. Returns NULL. */
struct probes *probes_free(struct probes *p);
