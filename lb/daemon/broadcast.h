/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Broadcast: one message for each worker.
 *
 * All messages are allocated before the first one is posted. When memory is short, no message is
 * posted. Posting cannot fail. So either every worker gets its message or no worker does.
 *
 *	broadcast_make(&b, n_workers, make, ctx)                0 or -ENOMEM
 *	broadcast_post(&b, threads, on_reply, arg)              each worker replies once
 *	broadcast_drop(&b)                                      instead of broadcast_post()
 *
 * Thread: main. Layer: daemon.
 */

#include <stdint.h>

#include "proxy/message.h"
#include "util/assert.h"

struct threads;

struct broadcast {
	uint32_t n;
	struct message **message; /* owns: a message for each worker; NULL: no messages */
};

#define BROADCAST_INIT ((struct broadcast){ .message = NULL })

/* Makes one worker's message. NULL when memory is short. */
typedef struct message *(*broadcast_make_fn)(uint32_t worker, void *ctx);

/*
 * broadcast_make() - make a message for each of `n` workers
 *
 * *b has to be empty. Returns 0, or -ENOMEM with *b empty again.
 */
int broadcast_make(struct broadcast *b, uint32_t n, broadcast_make_fn make,
		   void *ctx) LB_MUST_CHECK;

/*
 * broadcast_post() - post every message to its worker; *b is empty afterwards
 *
 * `done` is called on main once for each worker, with the worker's reply. The reply's member `arg`
 * is the parameter `arg`. `done` owns the reply.
 */
void broadcast_post(struct broadcast *b, struct threads *t, message_fn done, void *arg);

/* Posts the message of one worker only; the messages of the others stay in *b. */
void broadcast_post_one(struct broadcast *b, struct threads *t, uint32_t worker, message_fn done,
			void *arg);

/* Frees messages that were not posted. An empty *b is fine. */
void broadcast_drop(struct broadcast *b);
