/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Wait: `lbctl drain POOL/BACKEND --wait`, which shows how many connections are left until none is.
 *
 * Layer: ctl.
 */

#include <stdint.h>
#include <stdio.h>

#include "ctl/ctl.h"
#include "util/text.h"

/* Drains, then asks once a second and prints. Blocks until no connection is left. Returns the exit
 * status. */
int wait_drained(const struct ctl *c) LB_MUST_CHECK;

/* ---- what its test calls -----------------------------------------------------------------------
 */

#define WAIT_SAMPLES 30

/* The last counts, one a second. */
struct wait_rate {
	uint64_t left[WAIT_SAMPLES];
	size_t n, next;
};

/* Adds the count of this second. */
void wait_rate_add(struct wait_rate *r, uint64_t left);

/*
 * wait_describe() - one line about a drain, without a newline: what is left, how fast it ends, when
 * it will be over by that
 *
 * The rate is the mean over the last WAIT_SAMPLES seconds; it is left out before there are two
 * counts. Adds to `out`.
 */
void wait_describe(const struct wait_rate *r, const char *target, struct text *out);

/*
 * wait_parse() - read lb's answer to `drain POOL/BACKEND status json`
 *
 * Returns 0 and sets both, or -EINVAL where the answer is none such. `ret_is_draining` is false
 * where somebody has undone the drain.
 */
int wait_parse(struct slice answer, uint64_t *ret_left, bool *ret_is_draining) LB_MUST_CHECK;
