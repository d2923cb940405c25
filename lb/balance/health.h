/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Health: from single checks to a verdict. A first result decides at once, later ones by `rise`
 * successes or `fall` failures in a row.
 *
 * Pure; thread: the owner's (main). Layer: balance.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct health {
	bool is_known; /* there was a result */
	bool is_up;    /* the verdict, once known */

	/* private to health.c */
	uint32_t streak; /* results in a row against the verdict */
	uint32_t rise, fall;
};

void health_init(struct health *h, uint32_t rise, uint32_t fall);

/* New thresholds; the verdict stays. */
void health_configure(struct health *h, uint32_t rise, uint32_t fall);

/* One check's result. Returns whether the verdict is new. */
bool health_result(struct health *h, bool is_ok);

/*
 * When the i-th of n backends is first checked, in ms: spread over a second (or over as many ms as
 * there are backends), within one interval.
 */
uint64_t health_first_delay_ms(size_t i, size_t n, uint32_t interval_ms);
