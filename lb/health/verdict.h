/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The verdict on a backend: up or down, from the results of its checks.
 *
 * The first result is the verdict. Later results change the verdict to up by `rise` good ones in a
 * row, and to down by `fall` bad ones in a row.
 *
 * Pure. Thread: the owner's (main). Layer: health.
 */

#include <stdbool.h>
#include <stdint.h>

#include "util/assert.h"

struct verdict {
	bool is_known; /* a check has had a result */
	bool is_up;    /* means nothing before is_known */

	/* private to verdict.c */
	uint32_t streak; /* results in a row that contradict is_up */
	uint32_t rise, fall;
};

/* `rise` and `fall` are at least 1. */
void verdict_init(struct verdict *v, uint32_t rise, uint32_t fall);

/* Sets new thresholds for the results to come. The verdict and the streak stay. */
void verdict_configure(struct verdict *v, uint32_t rise, uint32_t fall);

/*
 * Adds the result of one check. Returns true when this result makes the first verdict or changes
 * the verdict.
 */
bool verdict_add(struct verdict *v, bool is_ok) LB_MUST_CHECK;
