/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STOP and QUIT on the worker.
 *
 * QUIT is done in these steps, the second and third of which take as many turns as they need:
 *
 *   close     the listening sockets are closed at once; what waits in their queues is not served
 *   end       a walk without pauses ends the sessions (session_close_now())
 *   free      a session is freed when the last completion of its operations has come
 *   reply     at the end of the turn in which nothing is left (end() in worker_turn.c)
 *
 * A connection whose accept was in flight when QUIT arrived is closed by accept.c, and so is a
 * connection that was handed off: no session is born behind the walk's cursor.
 *
 * Thread: owner worker, but for message_stop_new() and message_quit_new().
 */
#include "proxy/message_stop.h"

#include "proxy/accept.h"
#include "proxy/listener.h"
#include "proxy/session.h"
#include "proxy/worker.h"

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

static void visit_for_quit(struct walk *k, struct session *s)
{
	LB_ASSERT(k == &s->worker->quit->walk);
	session_close_now(s, SESS_END_STOP);
}

/* Does nothing, because the reply waits until the sessions are freed. */
static void on_all_visited(struct walk *k, struct worker *w)
{
	LB_ASSERT(w->quit != NULL && k == &w->quit->walk);
}

static const struct walk_ops quit_ops = {
	.visit = visit_for_quit,
	.done = on_all_visited,
};

static void run_quit(struct mail *mail, void *worker)
{
	struct worker *w = worker;

	worker_assert_owner(w);
	LB_ASSERT(w->quit == NULL);
	w->quit = container_of(mail, struct message_quit, base.mail);
	stop_accepting(w);
	walk_begin(w, &w->quit->walk, &quit_ops, 0, 0);
}

void message_quit_reply(struct worker *w)
{
	struct message_quit *m = take_ptr(w->quit);

	LB_ASSERT(m != NULL && w->n_sessions == 0 && !walk_is_under_way(&m->walk));
	m->n_ended = worker_n_ended(w->stats);
	m->n_cut = counter_read(&w->stats->ends[SESS_END_STOP]);
	message_reply(w, &m->base);
}

struct message_quit *message_quit_new(uint32_t worker)
{
	struct message *base = message_new(sizeof(struct message_quit), worker, run_quit, NULL);

	return base == NULL ? NULL : container_of(base, struct message_quit, base);
}
