/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Mailbox: the only way one thread hands work to another.
 *
 * Many producers, one consumer. A producer never blocks and never waits for the consumer; the
 * consumer is woken through its loop, at most once per batch. Messages of one producer arrive in
 * order; messages of two producers have no order between them.
 *
 * A message has a function, `run`, which the mailbox calls on the consumer's thread.
 *
 * Layer: ev.
 */

#include <stdatomic.h>

#include "util/assert.h"

struct loop;
struct mail;

/* Runs on the consumer's thread, which owns `m` from then on; `arg` is the mailbox's. */
typedef void (*mail_fn)(struct mail *m, void *arg);

/* Embed in your message. The sender may not look at it once it is posted. */
struct mail {
	mail_fn run;
	/* Called instead of `run` when the mailbox is closed before the message was delivered:
	 * frees the message. NULL: the message is part of an object that outlives the mailbox. */
	void (*drop)(struct mail *m);

	/* private to mailbox.c */
	struct mail *next;
};

struct mailbox {
	void *arg; /* given to every mail_fn */

	/* private to mailbox.c and to simulated engines */
	_Atomic(struct mail *) head; /* newest first */
	int wake_fd;                 /* eventfd, or -1 where `wake` is set */
	void (*wake)(void *wake_arg);
	void *wake_arg;
	struct loop *loop;
};

/*
 * mailbox_open() - make a mailbox with an eventfd
 *
 * Call on the main thread before the first worker starts: the eventfd must be in every table.
 * Returns 0 or a negative errno.
 */
int mailbox_open(struct mailbox *mb, void *arg) LB_MUST_CHECK;

/* The same without a descriptor: `wake` must cause mailbox_drain() on the consumer's thread. */
void mailbox_open_with(struct mailbox *mb, void *arg, void (*wake)(void *), void *wake_arg);

/* Lets `loop` drain the mailbox. Returns 0 or a negative errno. Thread: the consumer. */
int mailbox_attach(struct mailbox *mb, struct loop *loop) LB_MUST_CHECK;

/*
 * mailbox_post() - give `m` to the consumer
 *
 * Thread: any. Hot: no lock, no allocation; one eventfd write per idle->busy edge. Cannot fail. The
 * caller must not touch `m` again.
 */
void mailbox_post(struct mailbox *mb, struct mail *m);

/* Runs what has arrived, oldest first. Thread: the consumer. */
void mailbox_drain(struct mailbox *mb);

/*
 * mailbox_close() - drop what was not delivered, then close
 *
 * No message runs, because the object that the mailbox's `arg` points to may be freed already.
 * Nothing may be posted any more. Thread: main, when the consumer has ended.
 */
void mailbox_close(struct mailbox *mb);
