/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The functions that the probes call with what their checks find. `target` is the `arg` of the
 * probe's struct probe_target. Each of these functions may call probes_set(), even to remove the
 * target.
 *
 * Thread: main. Layer: health.
 */

#include <stdbool.h>

struct probe_ops {
	/*
	 * A check has a result; `text` describes it: "101 in 1.2ms", "connect: Connection refused".
	 */
	void (*on_result)(void *ops_arg, void *target, bool is_ok, const char *text);
	/*
	 * A check has no result, because memory, local ports or descriptors were short. That says
	 * nothing about the target. `text` is the reason: "no check: no local port is left".
	 */
	void (*on_none)(void *ops_arg, void *target, const char *text);
	/*
	 * The target has its first verdict (`is_first`), or the verdict has changed. Called right
	 * after on_result() for the result that made the verdict.
	 */
	void (*on_verdict)(void *ops_arg, void *target, bool is_up, bool is_first,
			   const char *text);
};
