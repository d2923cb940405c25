/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Health: the probes' verdicts become the backends' states.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdbool.h>

struct control;

/* Returns 0 or -ENOMEM. */
int health_open(struct control *c);

/* The registry has changed: checks what is in it now, in the way the file says. */
void health_apply(struct control *c);

/* Stops; returns whether a check is still in flight (call again after a turn), frees when not. */
bool health_close(struct control *c);
