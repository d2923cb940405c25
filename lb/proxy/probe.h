/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Probes: health checks of backends on the main thread's loop.
 *
 * A target is checked once per interval (from start to start) by TCP, HTTP or a whole WebSocket
 * handshake; its results go through rise and fall (balance/health.h), and a change of the verdict
 * is reported. Behind the result of an HTTP or WebSocket check the target is the one that closes,
 * within the check's time-out.
 *
 * Thread: main. Layer: proxy.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "util/sockaddr.h"

struct loop;
struct probes;

/* What is to be checked. */
struct probe_target {
	void *arg; /* who it is: the identity over probes_set() calls */
	struct addr addr;
	const struct conf_health *conf; /* borrowed for the call of probes_set() */
	bool is_paused;                 /* in maintenance: no checks */
	/* Local addresses to connect from, in turn; those of another family than addr's are not. */
	size_t n_sources;
	const struct addr *sources; /* borrowed for the call of probes_set() */
};

struct probe_ops {
	/* A check's result in words: "101 in 1.2ms", "connect: Connection refused". */
	void (*on_result)(void *ops_arg, void *target, bool is_ok, const char *text);
	/*
	 * A check that could not be made, in words: "no check: no local port is left". Memory,
	 * local ports or descriptors were short, which says nothing of the target.
	 */
	void (*on_none)(void *ops_arg, void *target, const char *text);
	/* A new verdict; `is_first` for the first one. */
	void (*on_verdict)(void *ops_arg, void *target, bool is_up, bool is_first,
			   const char *text);
};

/* `class`: of the tags of its operations in `loop`, which it borrows. NULL when memory is short. */
struct probes *probes_new(struct loop *loop, unsigned class_id, const struct probe_ops *ops,
			  void *ops_arg);

/*
 * probes_limit() - at most `max_checks` checks at a time, of all targets together; at least one
 *
 * A check has one descriptor. One that is due while there are so many waits until another ends, in
 * the order in which they became due. Without a call there is no limit.
 */
void probes_limit(struct probes *p, uint32_t max_checks);

/*
 * probes_set() - check these, and no others
 *
 * Targets that were there before keep their verdict and go on; a check that runs under settings
 * that have changed, or on a target now paused, is given up without a result. New targets, and
 * those with new settings, are first checked within their interval, spread out. Takes time in
 * proportion to the targets, before and after. Returns 0 or -ENOMEM (those that could be added
 * are).
 */
int probes_set(struct probes *p, const struct probe_target *targets, size_t n);

/* Stops all. Returns whether something is still in flight: call again after a turn of the loop. */
bool probes_close(struct probes *p);

/* Nothing is in flight. NULL is fine. Returns NULL. */
struct probes *probes_free(struct probes *p);
