/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The phases of lb's life, one after the other. PHASE_DELAYING is left out when `stop_delay` is 0.
 *
 * Thread: main. Layer: daemon.
 */

enum phase {
	PHASE_STARTING,
	PHASE_RUNNING,
	PHASE_DELAYING, /* a stop has begun; the workers still accept for stop_delay */
	PHASE_DRAINING, /* the workers accept no more; connections may end by themselves */
	PHASE_QUITTING, /* the workers end the connections that are left, and then end */
};
