/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Messages: main asks something of a worker by a message, which comes back to main as its own
 * reply.
 *
 *     main                                          worker
 *       message_..._new()
 *       sets `done`, posts it --- its mailbox ------> the message's function runs
 *       done(m) <---------------- main's mailbox ---- message_reply(m)
 *       message_free()
 *
 * Each kind of message has a function, and where it carries anything a struct, which begins with a
 * struct message:
 *
 *     ADOPT, APPLY, ABORT, MEMBERS   a new configuration       proxy/message_conf.h
 *     CONNS                          a list of connections     proxy/message_conns.h
 *     STOP, QUIT                     the end of a worker       proxy/message_stop.h
 *
 * Main owns a message before it is posted and from `done` on; in between the worker owns it. A
 * message that is in a mailbox when the mailbox is closed is freed, and `done` is not called. Main
 * allocates beforehand all that an APPLY, MEMBERS, ABORT, STOP or QUIT needs, so that no worker can
 * refuse one of these for want of memory.
 *
 * Layer: proxy.
 */

#include <stddef.h>
#include <stdint.h>

#include "ev/mailbox.h"
#include "util/assert.h"

struct message;
struct worker;

/* Handles a reply, on main, which owns the message again. `main_arg` is the argument of main's
 * mailbox. */
typedef void (*message_fn)(struct message *m, void *main_arg);

/* The first member of every message. */
struct message {
	struct mail mail; /* must be first; posted to the worker's mailbox, then to main's */
	uint32_t worker;  /* the index of the worker that the message is for; constant */
	int result;       /* set for the reply: 0 or a negative errno */
	message_fn done;  /* handles the reply; set by main before it posts the message */
	void *arg;        /* for `done`, set by main; borrows */

	/* Gives back what the other members of the message's struct hold; NULL: they hold nothing.
	 * Constant. */
	void (*deinit)(struct message *m);
};

/* Frees a message that main owns, with all that it holds. NULL is fine. Returns NULL. Thread: main.
 */
struct message *message_free(struct message *m);

/*
 * message_new() - make a zeroed message of `size` bytes for a worker, with the function `run`
 *
 * Only the files of the messages call it. `run` is called on the worker's thread; its `arg` is the
 * worker. Returns NULL when memory is short. Thread: main.
 */
struct message *message_new(size_t size, uint32_t worker, mail_fn run,
			    void (*deinit)(struct message *m));

/* Sends a message back to main, which owns it from then on. Thread: the worker. */
void message_reply(struct worker *w, struct message *m);
