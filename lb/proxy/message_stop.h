/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * STOP and QUIT: the end of a worker, in two steps. Main sends each once at most, STOP first where
 * it sends both.
 *
 * Layer: proxy.
 */

#include <stdint.h>

#include "proxy/message.h"

/*
 * message_stop_new() - make a message by which a worker stops to accept
 *
 * Connections that wait in the kernel's queues are taken in, then the listening sockets are closed;
 * sessions go on. The reply comes at once. NULL when memory is short. Thread: main.
 */
struct message *message_stop_new(uint32_t worker);

/* Ends every session; the reply comes when all are freed, and is the worker's last one. */
struct message_quit {
	struct message base;
	/* in the reply: connections of the worker that have ended, and how many of those QUIT ended
	 */
	uint64_t n_ended, n_cut;
};

/* NULL when memory is short. Thread: main. */
struct message_quit *message_quit_new(uint32_t worker);

/* Replies to the QUIT of a worker that has no session any more. Thread: the worker. */
void message_quit_reply(struct worker *w);
