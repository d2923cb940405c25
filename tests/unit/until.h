/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Waiting for what a test expects: for seconds of the real clock, not for a number of turns,
 * because a turn may take no time at all, and a busy machine may take long for what is behind it.
 */

#include <check.h>
#include <stdbool.h>
#include <time.h>

#define UNTIL_S 8 /* less than the time-out of any test case */

static inline time_t until_now_s(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

/* Does `step` until `cond` holds, and fails when it does not within UNTIL_S. */
#define STEP_UNTIL(cond, step) \
	do { \
		for (time_t end_ = until_now_s() + UNTIL_S; !(cond) && until_now_s() <= end_;) \
			step; \
		ck_assert_msg(cond, "%s", #cond); \
	} while (0)
