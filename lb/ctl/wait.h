/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Wait: `lbctl drain POOL/BACKEND --wait`. Shows how many connections are left, until none is left.
 *
 * Layer: ctl.
 */

#include <stdint.h>
#include <stdio.h>

#include "ctl/ctl.h"
#include "util/text.h"

/*
 * wait_drained() - drain c->target and wait
 *
 * `c->action` is CTL_WAIT. Prints once a second how many connections are left, and blocks until
 * none is left or the drain has been undone. Returns the exit status.
 */
int wait_drained(const struct ctl *c) LB_MUST_CHECK;

/* ---- for the unit test ----------------------------------------------------------------------- */

#define WAIT_SAMPLES 30

/* A ring of the last counts of connections, one count for each second. */
struct wait_rate {
	uint64_t left[WAIT_SAMPLES];
	size_t n;    /* counts in `left`, at most WAIT_SAMPLES */
	size_t next; /* the index that the next count is written to */
};

/* Adds the count of one more second, `left`. */
void wait_rate_add(struct wait_rate *r, uint64_t left);

/*
 * wait_describe() - add one line about a drain to `out`, without a newline
 *
 * The line says how many connections are left, how many end per second, and how long the drain will
 * take at this rate. The rate is the mean over the counts of `r`, which must have at least one
 * count. When `r` has only one count, the line has no rate.
 */
void wait_describe(const struct wait_rate *r, const char *target, struct text *out);

/*
 * wait_parse() - read lb's answer to `drain POOL/BACKEND status json`
 *
 * Returns 0 and sets both results, or returns -EINVAL when `answer` has another form, as an error
 * has. *ret_is_draining is false when the drain has been undone.
 */
int wait_parse(struct slice answer, uint64_t *ret_left, bool *ret_is_draining) LB_MUST_CHECK;
