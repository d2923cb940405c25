/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Tells the service manager, if there is one that asked ($NOTIFY_SOCKET, see sd_notify(3)).
 * Failures are ignored. Thread: main. Layer: daemon.
 */

#include <stdint.h>

/* The line that a service manager shows for lb, as it was told last. */
struct notify_status {
	char text[128];
};

void notify_ready(void);
void notify_reloading(void);

/* lb stops, and may need that many milliseconds: the manager is asked not to kill it earlier. */
void notify_stopping(uint64_t within_ms);

/* Tells the line, a printf format, where it is not the one that `told` has. Longer ones are cut. */
void notify_status(struct notify_status *told, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
