/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broadcast_make() allocates a message for each worker; when memory is short, it leaves no message.
 * broadcast_post() posts all messages and frees the array. broadcast_post_one() posts the message
 * of one worker; it is for a start that failed, when only some workers run. broadcast_drop() frees
 * the messages that were not posted.
 *
 * Thread: main.
 */
#include "daemon/broadcast.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/threads.h"

int broadcast_make(struct broadcast *b, uint32_t n, broadcast_make_fn make, void *ctx)
{
	LB_ASSERT(n > 0 && b->message == NULL); /* no message is overwritten */
	*b = (struct broadcast){ .n = n, .message = calloc(n, sizeof(struct message *)) };
	int r = b->message == NULL ? -ENOMEM : 0;

	for (uint32_t i = 0; i < n && r == 0; i++) {
		b->message[i] = make(i, ctx);
		r = b->message[i] == NULL ? -ENOMEM : 0;
		LB_ASSERT(r < 0 || b->message[i]->worker == i);
	}
	if (r < 0)
		broadcast_drop(b);
	return r;
}

void broadcast_post_one(struct broadcast *b, struct threads *t, uint32_t worker, message_fn done,
			void *arg)
{
	LB_ASSERT(b->message != NULL && worker < b->n && b->n == t->n);
	struct message *m = take_ptr(b->message[worker]);

	LB_ASSERT(m != NULL && m->worker == worker && done != NULL);
	m->done = done;
	m->arg = arg;
	mailbox_post(&t->thread[worker].mail, &m->mail);
}

void broadcast_post(struct broadcast *b, struct threads *t, message_fn done, void *arg)
{
	LB_ASSERT(b->n == t->n);
	for (uint32_t i = 0; i < t->n; i++)
		broadcast_post_one(b, t, i, done, arg);
	free(b->message);
	*b = BROADCAST_INIT;
}

void broadcast_drop(struct broadcast *b)
{
	for (uint32_t i = 0; b->message != NULL && i < b->n; i++)
		message_free(b->message[i]);
	free(b->message);
	*b = BROADCAST_INIT;
}
