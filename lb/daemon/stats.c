/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The snapshot that `stats`, `backends` and /metrics are made from.
 *
 * Terms. A tally is the counters of a listener, a backend or a pool. Tallies and the workers'
 * counters are read while workers write them. So each figure is right, but two figures that a
 * worker changes together may differ by a few. A past row is the sums of a backend that is gone, or
 * of earlier backends that had the name of a present backend.
 *
 * stats_read() fills the parts of struct status one after another:
 *
 *   add_workers()    each worker, and the sums over workers: connections, histograms, responses
 *   add_listeners()  each listener in use: the tallies of its workers
 *   add_pools()      each pool (add_pool()); removed pools that have no backend come last
 *     add_backends()   each backend, in use or removed (describe_backend(), describe_ports())
 *     add_past()       the past rows, and the sums over all backends that the pool has and had
 *   add_ends()       each reason for which connections end, over all workers
 *   add_outcomes()   each outcome of requests, over all workers
 *   add_counters()   the counters of the table `counters`
 *
 * A row of the table `counters` gives a counter its name and its help text. To show a new counter
 * of the workers, add a row. Names and texts are borrowed from the registry, so the caller has to
 * free the snapshot before main's loop turns.
 *
 * When memory is short, the parts that were filled stay in the snapshot, status_deinit() frees
 * them, and the caller answers with the error.
 *
 * Relies on: registry.c, worker_sums.c (until the workers are told to end), process.c,
 * watermarks.c (the capacity, the local ports).
 *
 * Thread: main.
 */
#include "daemon/stats.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "admin/status.h"
#include "balance/backend.h"
#include "balance/pool.h"
#include "daemon/cert_watch.h"
#include "daemon/logger.h"
#include "daemon/process.h"
#include "daemon/server.h"
#include "daemon/worker_sums.h"
#include "proxy/listener.h"
#include "proxy/snapshot.h"
#include "proxy/worker.h"

static int add_workers(struct server *s, struct status *st)
{
	st->workers = calloc(s->threads->n, sizeof(*st->workers));
	if (st->workers == NULL)
		return -ENOMEM;
	st->n_workers = s->threads->n;
	for (uint32_t i = 0; i < s->threads->n; i++) {
		const struct worker_stats *ws = worker_sums_of(s->threads, i);
		st->workers[i] = (struct status_worker){
			.id = i,
			.active = counter_read(&ws->active),
			.accepted = counter_read(&ws->accepted),
			.limit = s->threads->share.max_sessions,
		};
		st->connections.active += st->workers[i].active;
		st->connections.total += st->workers[i].accepted;
		st->connections.handshaking += counter_read(&ws->handshaking);
		metric_hist_sum(&ws->handshake, &st->handshake);
		metric_hist_sum(&ws->response, &st->response);
		for (unsigned k = 0; k < POOL_N_CLASSES; k++)
			st->responses[k] += counter_read(&ws->responses[k]);
	}
	st->connections.limit = atomic_load(&s->threads->proxy.max_conns);
	st->connections.forecast = s->watermarks.capacity.n_conns;
	st->connections.forecast_by = conn_capacity_limit_name(s->watermarks.capacity.binding);
	return 0;
}

static int add_listeners(struct server *s, struct status *st)
{
	size_t n = 0;

	list_for_each(it, &s->control.registry.listeners) n++;
	st->listeners = calloc(n, sizeof(*st->listeners));
	if (st->listeners == NULL)
		return -ENOMEM;
	list_for_each(it, &s->control.registry.listeners)
	{
		const struct listener *l = list_entry(it, struct registry_listener, link)->listener;
		struct status_listener *sl = &st->listeners[st->n_listeners++];

		sl->name = atomic_load(&l->name);
		sl->bind = l->text;
		LB_ASSERT(l->n_workers == s->threads->n);
		for (uint32_t w = 0; w < l->n_workers; w++) {
			sl->active += counter_read(&l->tally[w].active);
			sl->accepted += counter_read(&l->tally[w].accepted);
			sl->rejected += counter_read(&l->tally[w].rejected);
		}
	}
	LB_ASSERT(st->n_listeners == n);
	return 0;
}

/* The certificates of the snapshot in force. */
static int add_certs(struct server *s, struct status *st)
{
	const struct snapshot *p = s->control.registry.snapshot;
	uint64_t now_s = loop_wall_ns(s->loop) / 1000000000u;
	size_t n = 0;

	for (size_t i = 0; i < p->n_listeners; i++)
		n += p->listeners[i].n_certs;
	st->certs = calloc(n + 1, sizeof(*st->certs));
	if (st->certs == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < p->n_listeners; i++) {
		const struct snapshot_listener *l = &p->listeners[i];
		for (size_t k = 0; k < l->n_certs; k++)
			st->certs[st->n_certs++] = (struct status_cert){
				.listener = l->conf->name,
				.file = l->certs[k].file,
				.n_names = l->certs[k].n_names,
				.names = l->certs[k].names,
				.not_before_s = l->certs[k].not_before_s,
				.not_after_s = l->certs[k].not_after_s,
				.days_left = cert_days_left(l->certs[k].not_after_s, now_s),
			};
	}
	LB_ASSERT(st->n_certs == n);
	return 0;
}

static void describe_backend(struct server *s, const struct registry_pool *p,
			     const struct registry_backend *rb, struct status_backend *sb)
{
	struct backend *b = rb->backend;

	*sb = (struct status_backend){
		.name = b->name,
		.address = b->addr_text,
		.state = backend_state_name(b),
		.is_removed = rb->is_removed,
		.weight = backend_weight(b),
		.max_conns = backend_max_conns(b),
		.active = backend_active(b),
		.total = backend_total(b),
		.failed = backend_failed(b),
		.bytes_in = backend_bytes_in(b),
		.bytes_out = backend_bytes_out(b),
		.check_failures = b->check_failures,
		.check_type = p->check == CONF_CHECK_NONE ? NULL : conf_check_name(p->check),
		.check_result = b->check_result,
		.since_s = (loop_now_ns(s->loop) - b->since_ns) / 1000000000u,
	};
}

/* Fills sp->sources: the pool's IPv4 sources, then its IPv6 sources, then "default". "default" is
 * for backends of a family of which the pool has no source. */
static int add_sources(const struct conf_pool *conf, struct status_pool *sp)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	size_t n = 0;

	sp->sources = calloc(conf->n_sources + 1, sizeof(*sp->sources));
	if (sp->sources == NULL)
		return -ENOMEM;
	for (size_t f = 0; f < ARRAY_SIZE(families); f++)
		for (size_t i = 0; i < conf->n_sources; i++)
			if (conf->sources[i].family == families[f])
				(void)addr_format_host(&conf->sources[i], sp->sources[n++].text);
	(void)strcpy(sp->sources[n].text, "default");
	return 0;
}

/* Fills in the sources from which lb connects to the backend, and about how many local ports the
 * backend uses at each source. */
static void describe_ports(const struct server *s, const struct conf_pool *conf,
			   const struct status_pool *sp, const struct backend *b,
			   struct status_backend *sb)
{
	size_t n_v4 = 0, n_own = 0;

	for (size_t i = 0; i < conf->n_sources; i++) {
		n_v4 += conf->sources[i].family == AF_INET;
		n_own += conf->sources[i].family == b->addr.family;
	}
	if (n_own == 0)
		sb->sources = &sp->sources[conf->n_sources];
	else
		sb->sources = &sp->sources[b->addr.family == AF_INET ? 0 : n_v4];
	sb->n_sources = conn_capacity_n_sources(conf, b->addr.family);
	LB_ASSERT(sb->n_sources > 0);
	sb->ports_used = watermarks_ports_used(b, sb->n_sources);
	sb->ports_limit = s->watermarks.n_ports;
}

static int add_backends(struct server *s, struct registry_pool *p, struct status_pool *sp)
{
	const struct conf_pool *conf = registry_pool_conf(&s->control.registry, p);
	size_t n = 0;

	list_for_each(ib, &p->backends) n++;
	sp->backends = calloc(n + 1, sizeof(*sp->backends));
	if (sp->backends == NULL || (conf != NULL && add_sources(conf, sp) < 0))
		return -ENOMEM;
	list_for_each(ib, &p->backends)
	{
		struct registry_backend *rb = list_entry(ib, struct registry_backend, link);
		struct status_backend *sb = &sp->backends[sp->n_backends++];

		describe_backend(s, p, rb, sb);
		if (conf != NULL && !rb->is_removed && s->watermarks.n_ports != HOST_LIMITS_NONE)
			describe_ports(s, conf, sp, rb->backend, sb);
		sp->active += sb->active;
	}
	LB_ASSERT(sp->n_backends == n);
	return 0;
}

static void add_past_row(struct status_pool *sp, const char *name, const struct backend_sums *sums)
{
	if (!backend_sums_are_zero(sums))
		sp->past[sp->n_past++] = (struct status_past){ .name = name, .sums = *sums };
	backend_sums_add(&sp->sums, sums);
}

/* Fills in the past rows, and sp->sums: the sums over all backends that the pool has and had. */
static int add_past(const struct registry_pool *p, struct status_pool *sp)
{
	size_t n = sp->n_backends;

	list_for_each(it, &p->past.records) n++;
	sp->past = calloc(n + 1, sizeof(*sp->past));
	if (sp->past == NULL)
		return -ENOMEM;
	sp->sums = p->past.sums;
	list_for_each(it, &p->past.records)
	{
		const struct past_record *r = list_entry(it, struct past_record, in_pool);
		add_past_row(sp, r->name, &r->sums);
	}
	list_for_each(it, &p->backends)
	{
		const struct registry_backend *rb = list_entry(it, struct registry_backend, link);
		struct backend_sums now = backend_sums(rb->backend);
		add_past_row(sp, rb->backend->name, &rb->past);
		backend_sums_add(&sp->sums, &now);
	}
	LB_ASSERT(sp->n_past <= n);
	return 0;
}

static int add_pool(struct server *s, struct registry_pool *p, struct status_pool *sp)
{
	const struct pool_tally *tally = &p->pool->tally;

	sp->name = pool_name(p->pool);
	sp->balance = conf_balance_name(p->balance);
	for (unsigned k = 0; k < POOL_N_CLASSES; k++)
		sp->responses[k] = counter_read(&tally->responses[k]);
	for (enum sess_end e = SESS_END_NONE + 1; e < SESS_N_ENDS; e++)
		sp->ends[e - 1] = counter_read(&tally->ends[e]);
	metric_hist_sum(&tally->handshake, &sp->handshake);
	metric_hist_sum(&tally->response, &sp->response);
	int r = add_backends(s, p, sp);
	return r < 0 ? r : add_past(p, sp);
}

static bool is_past_pool(const struct registry_pool *p)
{
	return p->is_removed && list_is_empty(&p->backends);
}

static int add_pools(struct server *s, struct status *st)
{
	size_t n = 0;
	int r = 0;

	list_for_each(it, &s->control.registry.pools) n++;
	st->pools = calloc(n, sizeof(*st->pools));
	if (st->pools == NULL)
		return -ENOMEM;
	list_for_each(it, &s->control.registry.pools)
	{
		struct registry_pool *p = list_entry(it, struct registry_pool, link);
		if (!is_past_pool(p) && r == 0)
			r = add_pool(s, p, &st->pools[st->n_pools++]);
	}
	list_for_each(it, &s->control.registry.pools)
	{
		struct registry_pool *p = list_entry(it, struct registry_pool, link);
		if (is_past_pool(p) && r == 0)
			r = add_pool(s, p, &st->pools[st->n_pools + st->n_past_pools++]);
	}
	LB_ASSERT(r < 0 || st->n_pools + st->n_past_pools == n); /* each pool was added once */
	return r;
}

static int add_ends(struct server *s, struct status *st)
{
	st->ends = calloc(SESS_N_ENDS, sizeof(*st->ends));
	if (st->ends == NULL)
		return -ENOMEM;
	for (enum sess_end e = SESS_END_NONE + 1; e < SESS_N_ENDS; e++) {
		struct status_end *se = &st->ends[st->n_ends++];
		se->word = sess_end_word(e);
		for (uint32_t i = 0; i < s->threads->n; i++) {
			const struct worker_stats *ws = worker_sums_of(s->threads, i);
			se->n += counter_read(&ws->ends[e]);
			se->n_before_pool += counter_read(&ws->ends_before_pool[e]);
		}
	}
	return 0;
}

static int add_outcomes(struct server *s, struct status *st)
{
	st->outcomes = calloc(N_OUTCOMES, sizeof(*st->outcomes));
	if (st->outcomes == NULL)
		return -ENOMEM;
	for (enum outcome o = OUTCOME_NONE + 1; o < N_OUTCOMES; o++) {
		struct status_outcome *so = &st->outcomes[st->n_outcomes++];
		so->word = outcome_word(o);
		for (uint32_t i = 0; i < s->threads->n; i++)
			so->n += counter_read(&worker_sums_of(s->threads, i)->requests[o]);
	}
	return 0;
}

/* clang-format off */
static const struct {
	const char *name, *help;
	size_t offset; /* offset of the counter in struct worker_stats */
} counters[] = {
	{ "frames_in", "WebSocket frames from clients", offsetof(struct worker_stats, frames_in) },
	{ "frames_out", "WebSocket frames to clients", offsetof(struct worker_stats, frames_out) },
	{ "messages_in", "WebSocket messages from clients", offsetof(struct worker_stats, messages_in) },
	{ "messages_out", "WebSocket messages to clients", offsetof(struct worker_stats, messages_out) },
	{ "protocol_errors", "Directions whose framing broke RFC 6455",
	  offsetof(struct worker_stats, protocol_errors) },
	{ "spliced_bytes", "Bytes that went from socket to socket in the kernel",
	  offsetof(struct worker_stats, spliced_bytes) },
	{ "accept_pauses", "Times accepting stopped at a limit", offsetof(struct worker_stats, pauses) },
	{ "accept_handed_off", "Connections that a full worker handed off to another",
	  offsetof(struct worker_stats, handed_off) },
	{ "accept_handoff_lost", "Handed-off connections that were closed on the way",
	  offsetof(struct worker_stats, handoff_lost) },
	{ "tls_handshakes", "Handshakes of TLS that clients completed",
	  offsetof(struct worker_stats, tls_handshakes) },
	{ "tls_resumed", "Of them: by a ticket of an earlier connection",
	  offsetof(struct worker_stats, tls_resumed) },
	{ "tls_failed", "Handshakes of TLS that failed", offsetof(struct worker_stats, tls_failed) },
	{ "tls_truncated", "Streams of TLS that ended by a FIN without a close_notify",
	  offsetof(struct worker_stats, tls_truncated) },
	/* The old names of two counters, which are shown for one release more. */
	{ "accept_passed", "Deprecated: the old name of accept_handed_off",
	  offsetof(struct worker_stats, handed_off) },
	{ "accept_strays", "Deprecated: the old name of accept_handoff_lost",
	  offsetof(struct worker_stats, handoff_lost) },
};
/* clang-format on */

static int add_counters(struct server *s, struct status *st)
{
	st->counters = calloc(ARRAY_SIZE(counters) + 1, sizeof(*st->counters));
	if (st->counters == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
		struct status_counter *sc = &st->counters[st->n_counters++];
		sc->name = counters[i].name;
		sc->help = counters[i].help;
		for (uint32_t w = 0; w < s->threads->n; w++) {
			const char *base = (const char *)worker_sums_of(s->threads, w);
			const void *counter = base + counters[i].offset;
			sc->n += counter_read(counter);
		}
	}
	st->counters[st->n_counters++] = (struct status_counter){
		.name = "log_lines_dropped",
		.help = "Log lines that found their ring full",
		.n = logger_n_dropped(s->logger),
	};
	LB_ASSERT(st->n_counters == ARRAY_SIZE(counters) + 1);
	return 0;
}

int stats_read(struct server *s, struct status *ret)
{
	/* Between QUIT and the end of main's loop some workers have freed their counters, so
	 * control_has_workers() is asked before any counter is read. */
	loop_assert_owner(s->loop);
	LB_ASSERT(ret->workers == NULL && ret->pools == NULL); /* the caller has zeroed *ret */
	if (!control_has_workers(&s->control))
		return -ESHUTDOWN;
	ret->version = LB_VERSION;
	ret->http = s->http_text[0] != '\0' ? s->http_text : NULL;
	ret->engine = loop_engine_name(s->loop);
	ret->tables = s->threads->need.is_shared ? "shared" : "own";
	ret->pid = (int)getpid();
	ret->uptime_s = (loop_now_ns(s->loop) - s->start_ns) / 1000000000u;
	ret->generation = s->control.generation;
	ret->reload.is_ok = !s->control.reload.was_refused;
	ret->reload.at_s = (double)s->control.reload.ended_ns / 1e9;
	process_read(s->threads, &ret->process);
	int r = add_workers(s, ret);
	if (r == 0)
		r = add_listeners(s, ret);
	if (r == 0)
		r = add_certs(s, ret);
	if (r == 0)
		r = add_pools(s, ret);
	if (r == 0)
		r = add_ends(s, ret);
	if (r == 0)
		r = add_outcomes(s, ret);
	if (r == 0)
		r = add_counters(s, ret);
	return r;
}
