/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log's lines about listening addresses and about a stop.
 *
 * A reload calls announce_listeners() between the last step that can fail and the commit: the
 * registry has the old listeners then, and the delta the new ones. A stop calls
 * announce_count_from_now() when it begins, announce_count() with each worker's reply to QUIT, and
 * announce_stopped() at the end. The figures come with the replies to QUIT, because a worker frees
 * its counters before it ends.
 *
 * Thread: main.
 */
#include "daemon/announce.h"

#include "conf/conf.h"
#include "daemon/delta.h"
#include "daemon/registry.h"
#include "daemon/worker_sums.h"
#include "proxy/listener.h"
#include "proxy/message_stop.h"
#include "util/log.h"

/* ---- listeners ------------------------------------------------------------------------------- */

static void announce_added(const struct log *log, const struct conf *conf,
			   const struct delta_listener *dl)
{
	LB_ASSERT(dl->snapshot_index < conf->n_listeners);
	const struct conf_listener *l = &conf->listeners[dl->snapshot_index];
	const char *pool = l->pool != CONF_NO_POOL ? conf->pools[l->pool].name : "-";

	if (l->n_routes == 0)
		log_notice(log, "listening address=%s listener=%s mode=%s pool=%s",
			   dl->listener->text, dl->name, conf_mode_name(l->mode), pool);
	else
		log_notice(log, "listening address=%s listener=%s mode=%s routes=%zu pool=%s",
			   dl->listener->text, dl->name, conf_mode_name(l->mode), l->n_routes,
			   pool);
}

static bool is_kept(const struct delta *d, const struct listener *l)
{
	for (size_t i = 0; i < d->n_listeners; i++)
		if (d->listeners[i].listener == l)
			return true;
	return false;
}

void announce_listeners(const struct log *log, const struct registry *reg, const struct delta *d)
{
	LB_ASSERT(d->conf != NULL && !d->is_committed); /* `reg` has the old listeners */
	list_for_each(it, &reg->listeners)
	{
		const struct listener *l = list_entry(it, struct registry_listener, link)->listener;
		if (!is_kept(d, l))
			log_notice(log, "no longer listening address=%s listener=%s", l->text,
				   atomic_load(&l->name));
	}
	for (size_t i = 0; i < d->n_listeners; i++)
		if (d->listeners[i].is_new)
			announce_added(log, d->conf, &d->listeners[i]);
}

/* ---- a stop ---------------------------------------------------------------------------------- */

void announce_count_from_now(struct stop_count *s, const struct threads *t)
{
	LB_ASSERT(s->n_ended == 0 && s->n_cut == 0); /* lb stops once */
	*s = (struct stop_count){ .n_ended_before = worker_sums_ended(t) };
}

void announce_count(struct stop_count *s, const struct message_quit *m)
{
	LB_ASSERT(m->n_cut <= m->n_ended);
	s->n_ended += m->n_ended;
	s->n_cut += m->n_cut;
}

void announce_stopped(const struct log *log, const struct stop_count *s)
{
	LB_ASSERT(s->n_ended >= s->n_ended_before + s->n_cut);
	uint64_t by_itself = s->n_ended - s->n_ended_before - s->n_cut;

	log_notice(log, "stopped connections_ended=%llu connections_cut=%llu",
		   (unsigned long long)by_itself, (unsigned long long)s->n_cut);
}
