/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/broadcast.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/threads.h"

int broadcast_make(struct broadcast *b, uint32_t n, enum order_kind kind, broadcast_fill_fn fill,
		   void *ctx)
{
	*b = (struct broadcast){ .n = n, .order = calloc(n, sizeof(struct order *)) };
	int r = b->order == NULL ? -ENOMEM : 0;

	for (uint32_t i = 0; i < n && r == 0; i++) {
		b->order[i] = order_new(kind, i);
		if (b->order[i] == NULL)
			r = -ENOMEM;
		else if (fill != NULL)
			r = fill(b->order[i], ctx);
	}
	if (r < 0)
		broadcast_drop(b);
	return r;
}

void broadcast_post_one(struct broadcast *b, struct threads *t, uint32_t worker,
			void (*done)(struct order *o, void *main_arg), void *arg)
{
	LB_ASSERT(b->order != NULL && worker < b->n && b->n == t->n);
	struct order *o = take_ptr(b->order[worker]);

	LB_ASSERT(o != NULL && o->worker == worker);
	o->done = done;
	o->arg = arg;
	mailbox_post(&t->thread[worker].mail, &o->mail);
}

void broadcast_post(struct broadcast *b, struct threads *t,
		    void (*done)(struct order *o, void *main_arg), void *arg)
{
	for (uint32_t i = 0; i < t->n; i++)
		broadcast_post_one(b, t, i, done, arg);
	free(b->order);
	*b = BROADCAST_INIT;
}

void broadcast_drop(struct broadcast *b)
{
	for (uint32_t i = 0; b->order != NULL && i < b->n; i++)
		order_free(b->order[i]);
	free(b->order);
	*b = BROADCAST_INIT;
}
