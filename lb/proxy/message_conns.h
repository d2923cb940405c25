/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * CONNS: a worker lists its connections.
 *
 * Layer: proxy.
 */

#include <stdint.h>

#include "proxy/conn_list.h"
#include "proxy/message.h"
#include "proxy/walk.h"

struct message_conns {
	struct message base;   /* a result of -ENOMEM says that the list lacks connections */
	struct conn_list list; /* owns its rows; main sets the filter, the worker adds rows */

	/* private to message_conns.c, written by the worker */
	struct walk walk;
};

/* Makes a message that lists the connections which `filter` wants. NULL when memory is short.
 * Thread: main. */
struct message_conns *message_conns_new(uint32_t worker, const struct conn_filter *filter);
