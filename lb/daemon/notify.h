/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Messages to the service manager, whose socket $NOTIFY_SOCKET names (sd_notify(3)). Failures are
 * ignored. Thread: main. Layer: daemon.
 */

#include <stdint.h>

/* The status line that was sent last; the service manager shows this line for lb. */
struct notify_status {
	char text[128];
};

void notify_ready(void);
void notify_reloading(void);

/* Tells the service manager that lb stops and may take `within_ms` ms; the service manager is asked
 * not to kill lb earlier. */
void notify_stopping(uint64_t within_ms);

/* Sends the status line (a printf format), unless the line is the same as in `told`. A line that is
 * longer than `told` can hold is cut. */
void notify_status(struct notify_status *told, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
