/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Messages: what main asks of a worker. Each message comes back to main as its own reply.
 *
 *     main                                          worker
 *       message_..._new()
 *       sets `done`, posts it --- its mailbox ------> the message's function runs
 *       done(m) <---------------- main's mailbox ---- message_reply(m)
 *       message_free()
 *
 * There is a struct for each kind of message, which begins with a struct message:
 *
 *     ADOPT, APPLY, ABORT, MEMBERS   a new configuration       proxy/message_conf.h
 *     CONNS                          a list of connections     proxy/message_conns.h
 *     STOP, QUIT                     the end of a worker       proxy/message_stop.h
 *
 * Main owns a message before it is posted and from `done` on; in between the worker owns it. A
 * message that is in a mailbox when the mailbox is closed is freed, and `done` is not called. Main
 * allocates all that a message needs beforehand, so that no worker refuses one for want of memory
 * where that matters.
 *
 * Layer: proxy.
 */

#include <stddef.h>
#include <stdint.h>

#include "ev/mailbox.h"
#include "util/assert.h"

struct message;
struct worker;

/* Called on main, which owns the message again; `main_arg` is that of main's mailbox. */
typedef void (*message_fn)(struct message *m, void *main_arg);

/* What all messages have: their first member. */
struct message {
	struct mail mail; /* first: travels both ways */
	uint32_t worker;  /* the index of the worker that it is for; constant */
	int result;       /* in the reply: 0 or a negative errno */
	message_fn done;  /* set by main before it posts the message */
	void *arg;        /* of `done`, main's business: borrows */

	/* Gives back what the members behind this one hold; NULL: they hold nothing. Constant. */
	void (*deinit)(struct message *m);
};

/* Frees a message with all that it holds. NULL is fine. Returns NULL. Thread: main. */
struct message *message_free(struct message *m);

/*
 * For the files of the messages, beside message_free():
 *
 * message_new() makes a zeroed message of `size` bytes, whose function is `run` (`arg` is the
 * worker there). NULL when memory is short. Thread: main.
 */
struct message *message_new(size_t size, uint32_t worker, mail_fn run,
			    void (*deinit)(struct message *m));

/* Sends a message back to main, whose own it is from then on. Thread: the worker. */
void message_reply(struct worker *w, struct message *m);
