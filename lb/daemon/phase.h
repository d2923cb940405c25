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
	PHASE_DELAYING, /* asked to stop, still accepting for stop_delay */
	PHASE_DRAINING, /* accepts no more, waits for connections to end */
	PHASE_QUITTING, /* the workers end what is left, free all that they own, and end */
};
