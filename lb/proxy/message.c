/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all messages have in common: a message has one mail, whose function changes on the way. Main
 * posts the mail with the message's function; message_reply() posts it back with run_done().
 *
 * Thread: main, but for message_reply().
 */
#include "proxy/message.h"

#include <stdlib.h>

#include "proxy/worker.h"

static void drop(struct mail *mail)
{
	message_free(container_of(mail, struct message, mail));
}

struct message *message_new(size_t size, uint32_t worker, mail_fn run,
			    void (*deinit)(struct message *m))
{
	LB_ASSERT(size >= sizeof(struct message) && run != NULL);
	struct message *m = calloc(1, size);

	if (m != NULL) {
		m->mail = (struct mail){ .run = run, .drop = drop };
		m->worker = worker;
		m->deinit = deinit;
	}
	return m;
}

struct message *message_free(struct message *m)
{
	if (m == NULL)
		return NULL;
	if (m->deinit != NULL)
		m->deinit(m);
	free(m);
	return NULL;
}

/* The function of a message that comes back to main. */
static void run_done(struct mail *mail, void *main_arg)
{
	struct message *m = container_of(mail, struct message, mail);

	LB_ASSERT(m->done != NULL);
	m->done(m, main_arg);
}

void message_reply(struct worker *w, struct message *m)
{
	worker_assert_owner(w);
	LB_ASSERT(m->worker == w->id && m->done != NULL && m->mail.run != run_done);
	m->mail.run = run_done;
	mailbox_post(w->main, &m->mail);
}
