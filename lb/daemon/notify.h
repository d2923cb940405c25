/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Tells the service manager, if there is one that asked ($NOTIFY_SOCKET, see sd_notify(3)).
 * Failures are ignored. Thread: main. Layer: daemon.
 */

void notify_ready(void);
void notify_reloading(void);
void notify_stopping(void);
