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
	/* A check's result in words: "101 in 1.2ms", "connect: Connection refused". */
	void (*on_result)(void *ops_arg, void *target, bool is_ok, const char *text);
	/*
	 * A check that could not be made, in words: "no check: no local port is left". Memory,
	 * local ports or descriptors were short, which says nothing of the target.
	 */
	void (*on_none)(void *ops_arg, void *target, const char *text);
	/* A new verdict, right after the result that made it; `is_first` for the first one. */
	void (*on_verdict)(void *ops_arg, void *target, bool is_up, bool is_first,
			   const char *text);
};
