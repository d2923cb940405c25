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

/* Called on the consumer's thread, which owns `m` from then on. `arg` is that of the mailbox. */
typedef void (*mail_fn)(struct mail *m, void *arg);

/* A message, to be embedded in a struct of the sender. The sender may not touch the message once it
 * is posted. */
struct mail {
	mail_fn run;
	/* Called instead of `run` when the mailbox is closed before the message was delivered.
	 * Frees the message. NULL when the message is part of an object that outlives the
	 * mailbox. */
	void (*drop)(struct mail *m);

	/* private to mailbox.c */
	struct mail *next;
};

struct mailbox {
	void *arg; /* passed to every mail_fn */

	/* private to mailbox.c and to simulated engines */
	_Atomic(struct mail *) head; /* the message posted last */
	int wake_fd;                 /* eventfd, or -1 when `wake` is set */
	void (*wake)(void *wake_arg);
	void *wake_arg;
	struct loop *loop;
};

/*
 * mailbox_open() - make a mailbox with an eventfd
 *
 * To be called on the main thread before the first worker starts, so that the eventfd is in the
 * descriptor table of every thread. Returns 0 or a negative errno.
 */
int mailbox_open(struct mailbox *mb, void *arg) LB_MUST_CHECK;

/* Makes a mailbox without an eventfd. wake(wake_arg) must cause mailbox_drain() on the consumer's
 * thread. */
void mailbox_open_with(struct mailbox *mb, void *arg, void (*wake)(void *), void *wake_arg);

/* Lets `loop` drain the mailbox. Returns 0 or a negative errno. Thread: the consumer. */
int mailbox_attach(struct mailbox *mb, struct loop *loop) LB_MUST_CHECK;

/*
 * mailbox_post() - give `m` to the consumer
 *
 * Thread: any. Hot: no lock, no allocation; writes to the eventfd only when the mailbox was empty.
 * Cannot fail. The caller must not touch `m` again.
 */
void mailbox_post(struct mailbox *mb, struct mail *m);

/* Runs the messages that have arrived, the oldest first. Thread: the consumer. */
void mailbox_drain(struct mailbox *mb);

/*
 * mailbox_close() - drop the messages that were not delivered, then close the eventfd
 *
 * No message runs, because the object that the mailbox's `arg` points to may be freed already. No
 * message may be posted any more. Thread: main, when the consumer has ended.
 */
void mailbox_close(struct mailbox *mb);
