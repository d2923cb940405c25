/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * STOP and QUIT: the end of a worker, in two steps. Main sends a worker each of them at most once,
 * and STOP before QUIT.
 *
 * Layer: proxy.
 */

#include <stdint.h>

#include "proxy/message.h"
#include "proxy/walk.h"

/*
 * message_stop_new() - make a message by which a worker stops to accept
 *
 * The connections that wait in the kernel's queues become sessions, then the listening sockets are
 * closed; sessions go on. The reply comes at once. NULL when memory is short. Thread: main.
 */
struct message *message_stop_new(uint32_t worker);

/*
 * QUIT: ends every session of a worker, some hundred per turn, so that other sessions, messages and
 * walks go on meanwhile. When a QUIT has arrived, no connection becomes a session any more. The
 * worker replies to the QUIT when all sessions are freed; that is the worker's last reply.
 */
struct message_quit {
	struct message base;
	/* in the reply: how many connections of the worker have ended, and how many of those were
	 * ended by QUIT */
	uint64_t n_ended, n_cut;

	/* private to message_stop.c, written by the worker */
	struct walk walk; /* ends the sessions */
};

/* Makes a message by which a worker ends. NULL when memory is short. Thread: main. */
struct message_quit *message_quit_new(uint32_t worker);

/* Replies to the QUIT of a worker that has no session any more. Thread: the worker. */
void message_quit_reply(struct worker *w);
