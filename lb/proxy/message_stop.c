/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STOP and QUIT on the worker.
 *
 * Thread: owner worker, but for message_stop_new() and message_quit_new().
 */
#include "proxy/message_stop.h"

#include "proxy/accept.h"
#include "proxy/listener.h"
#include "proxy/session.h"
#include "proxy/worker.h"
#include "util/slab.h"

static void stop_accepting(struct worker *w)
{
	w->is_stopping = true;
	list_for_each(it, &w->listen)
		listen_socket_close(list_entry(it, struct listen_socket, link));
}

static void run_stop(struct mail *mail, void *worker)
{
	struct worker *w = worker;

	worker_assert_owner(w);
	stop_accepting(w);
	message_reply(w, container_of(mail, struct message, mail));
}

struct message *message_stop_new(uint32_t worker)
{
	return message_new(sizeof(struct message), worker, run_stop, NULL);
}

static void run_quit(struct mail *mail, void *worker)
{
	struct worker *w = worker;
	uint32_t cursor = 0;
	struct session *s;

	worker_assert_owner(w);
	LB_ASSERT(w->quit == NULL);
	w->quit = container_of(mail, struct message_quit, base.mail);
	stop_accepting(w);
	while ((s = slab_next(w->sessions, &cursor)) != NULL)
		session_kill(s, SESS_END_STOP);
}

void message_quit_reply(struct worker *w)
{
	struct message_quit *m = take_ptr(w->quit);

	LB_ASSERT(m != NULL && w->n_sessions == 0);
	m->n_ended = worker_n_ended(w->stats);
	m->n_cut = counter_read(&w->stats->ends[SESS_END_STOP]);
	message_reply(w, &m->base);
}

struct message_quit *message_quit_new(uint32_t worker)
{
	struct message *base = message_new(sizeof(struct message_quit), worker, run_quit, NULL);

	return base == NULL ? NULL : container_of(base, struct message_quit, base);
}
