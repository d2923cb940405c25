/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Signals as events of a loop (signalfd). Thread: main. Layer: ev.
 */

#include <stddef.h>

#include "util/assert.h"

struct loop;
struct signals;

/* Called when the signal `signo` has arrived. */
typedef void (*signals_fn)(void *arg, int signo);

/*
 * signals_open() - take `n` signals out of the process and give them to `fn`
 *
 * Blocks the signals for this thread and for threads that it starts later, and ignores SIGPIPE and
 * SIGXFSZ: call before the first thread starts. `class_id` is the class of the operation's tag.
 * Returns 0 and sets *ret, or a negative errno.
 */
int signals_open(struct loop *loop, unsigned class_id, const int *signo, size_t n, signals_fn fn,
		 void *arg, struct signals **ret) LB_MUST_CHECK;

/* Ends the delivery; the signals stay blocked. NULL is fine. Returns NULL. */
struct signals *signals_close(struct signals *s);
