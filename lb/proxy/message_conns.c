/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CONNS on the worker: a walk visits all sessions, and each session that the filter wants is added
 * to the message's list. When memory is short, the list lacks sessions and the reply's result says
 * so.
 *
 * Thread: owner worker, but for message_conns_new().
 */
#include "proxy/message_conns.h"

#include <errno.h>

#include "ev/loop.h"
#include "proxy/session.h"
#include "proxy/worker.h"

static void visit(struct walk *k, struct session *s)
{
	struct message_conns *m = container_of(k, struct message_conns, walk);

	if (conn_list_add(&m->list, s, loop_now_ns(s->worker->loop)) < 0)
		m->base.result = -ENOMEM;
}

static void on_walk_done(struct walk *k, struct worker *w)
{
	message_reply(w, &container_of(k, struct message_conns, walk)->base);
}

static const struct walk_ops list_ops = {
	.visit = visit,
	.done = on_walk_done,
};

static void run_conns(struct mail *mail, void *worker)
{
	struct worker *w = worker;
	struct message_conns *m = container_of(mail, struct message_conns, base.mail);

	worker_assert_owner(w);
	walk_begin(w, &m->walk, &list_ops, 0, WALK_PAUSE_MS);
}

static void deinit(struct message *base)
{
	struct message_conns *m = container_of(base, struct message_conns, base);

	LB_ASSERT(!walk_is_under_way(&m->walk));
	conn_list_deinit(&m->list);
}

struct message_conns *message_conns_new(uint32_t worker, const struct conn_filter *filter)
{
	struct message *base = message_new(sizeof(struct message_conns), worker, run_conns, deinit);

	if (base == NULL)
		return NULL;
	struct message_conns *m = container_of(base, struct message_conns, base);
	m->list.filter = *filter;
	list_init(&m->walk.link);
	return m;
}
