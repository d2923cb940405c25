/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "conf/nearest.h"
#include "daemon/control.h"
#include "daemon/health.h"
#include "daemon/logger.h"
#include "daemon/membership.h"
#include "daemon/process.h"
#include "proxy/listener.h"
#include "proxy/order.h"
#include "proxy/worker.h"
#include "util/text.h"

static const struct worker_stats *stats_of(const struct control *c, uint32_t worker)
{
	return c->threads->thread[worker].worker->stats;
}

bool report_is_accepting(void *arg)
{
	return control_is_accepting(arg);
}

/* ---- the snapshot ---------------------------------------------------------------------------- */

static int add_workers(struct control *c, struct status *st)
{
	st->workers = calloc(c->n_workers, sizeof(*st->workers));
	if (st->workers == NULL)
		return -ENOMEM;
	st->n_workers = c->n_workers;
	for (uint32_t i = 0; i < c->n_workers; i++) {
		const struct worker_stats *ws = stats_of(c, i);
		st->workers[i] = (struct status_worker){
			.id = i,
			.active = counter_read(&ws->active),
			.accepted = counter_read(&ws->accepted),
			.limit = c->threads->share.max_sessions,
		};
		st->connections.active += st->workers[i].active;
		st->connections.total += st->workers[i].accepted;
		st->connections.handshaking += counter_read(&ws->handshaking);
		metric_hist_sum(&ws->handshake, &st->handshake);
		metric_hist_sum(&ws->response, &st->response);
		for (unsigned k = 0; k < POOL_N_CLASSES; k++)
			st->responses[k] += counter_read(&ws->responses[k]);
	}
	st->connections.limit = atomic_load(&c->threads->proxy.max_conns);
	st->connections.forecast = c->watermarks.capacity.n_conns;
	st->connections.forecast_by = conn_capacity_limit_name(c->watermarks.capacity.binding);
	return 0;
}

static int add_listeners(struct control *c, struct status *st)
{
	size_t n = 0;

	list_for_each(it, &c->registry.listeners) n++;
	st->listeners = calloc(n, sizeof(*st->listeners));
	if (st->listeners == NULL)
		return -ENOMEM;
	list_for_each(it, &c->registry.listeners)
	{
		const struct listener *l = list_entry(it, struct registry_listener, link)->listener;
		struct status_listener *sl = &st->listeners[st->n_listeners++];

		sl->name = atomic_load(&l->name);
		sl->bind = l->text;
		for (uint32_t w = 0; w < l->n_workers; w++) {
			sl->active += counter_read(&l->tally[w].active);
			sl->accepted += counter_read(&l->tally[w].accepted);
			sl->rejected += counter_read(&l->tally[w].rejected);
		}
	}
	return 0;
}

static void describe_backend(struct control *c, const struct registry_pool *p,
			     const struct registry_backend *fb, struct status_backend *sb)
{
	struct backend *b = fb->backend;

	*sb = (struct status_backend){
		.name = b->name,
		.address = b->addr_text,
		.state = backend_state_name(b),
		.is_removed = fb->is_removed,
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
		.since_s = (loop_now_ns(c->loop) - b->since_ns) / 1000000000u,
	};
}

/* IPv4 first, then IPv6, then the one that serves backends whose family has none. */
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

/* Which of its pool's sources a backend is connected to from, and what they have left. */
static void describe_ports(const struct control *c, const struct conf_pool *conf,
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
	sb->ports_used = watermarks_ports_used(b, sb->n_sources);
	sb->ports_limit = c->watermarks.n_ports;
}

static int add_backends(struct control *c, struct registry_pool *p, struct status_pool *sp)
{
	const struct conf_pool *conf = registry_pool_conf(&c->registry, p);
	size_t n = 0;

	list_for_each(ib, &p->backends) n++;
	sp->backends = calloc(n + 1, sizeof(*sp->backends));
	if (sp->backends == NULL || (conf != NULL && add_sources(conf, sp) < 0))
		return -ENOMEM;
	list_for_each(ib, &p->backends)
	{
		struct registry_backend *fb = list_entry(ib, struct registry_backend, link);
		struct status_backend *sb = &sp->backends[sp->n_backends++];

		describe_backend(c, p, fb, sb);
		if (conf != NULL && !fb->is_removed && c->watermarks.n_ports != HOST_LIMITS_NONE)
			describe_ports(c, conf, sp, fb->backend, sb);
		sp->active += sb->active;
	}
	return 0;
}

static void add_past_row(struct status_pool *sp, const char *name, const struct backend_sums *sums)
{
	if (!backend_sums_are_zero(sums))
		sp->past[sp->n_past++] = (struct status_past){ .name = name, .sums = *sums };
	backend_sums_add(&sp->sums, sums);
}

/* What is gone, and in all. */
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
		const struct registry_backend *fb = list_entry(it, struct registry_backend, link);
		struct backend_sums now = backend_sums(fb->backend);
		add_past_row(sp, fb->backend->name, &fb->past);
		backend_sums_add(&sp->sums, &now);
	}
	return 0;
}

static int add_pool(struct control *c, struct registry_pool *p, struct status_pool *sp)
{
	sp->name = pool_name(p->pool);
	sp->balance = conf_balance_name(p->balance);
	for (unsigned k = 0; k < POOL_N_CLASSES; k++)
		sp->responses[k] = pool_n_responses(p->pool, k);
	int r = add_backends(c, p, sp);
	return r < 0 ? r : add_past(p, sp);
}

static bool is_past_pool(const struct registry_pool *p)
{
	return p->is_removed && list_is_empty(&p->backends);
}

static int add_pools(struct control *c, struct status *st)
{
	size_t n = 0;
	int r = 0;

	list_for_each(it, &c->registry.pools) n++;
	st->pools = calloc(n, sizeof(*st->pools));
	if (st->pools == NULL)
		return -ENOMEM;
	list_for_each(it, &c->registry.pools)
	{
		struct registry_pool *p = list_entry(it, struct registry_pool, link);
		if (!is_past_pool(p) && r == 0)
			r = add_pool(c, p, &st->pools[st->n_pools++]);
	}
	list_for_each(it, &c->registry.pools)
	{
		struct registry_pool *p = list_entry(it, struct registry_pool, link);
		if (is_past_pool(p) && r == 0)
			r = add_pool(c, p, &st->pools[st->n_pools + st->n_past_pools++]);
	}
	return r;
}

static int add_ends(struct control *c, struct status *st)
{
	st->ends = calloc(SESS_N_ENDS, sizeof(*st->ends));
	if (st->ends == NULL)
		return -ENOMEM;
	for (enum sess_end e = SESS_END_NONE + 1; e < SESS_N_ENDS; e++) {
		struct status_end *se = &st->ends[st->n_ends++];
		se->word = sess_end_word(e);
		for (uint32_t i = 0; i < c->n_workers; i++)
			se->n += counter_read(&stats_of(c, i)->ends[e]);
	}
	return 0;
}

/* clang-format off */
static const struct {
	const char *name, *help;
	size_t offset; /* of the counter in struct worker_stats */
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
	{ "accept_passed", "Connections that a full worker passed to another",
	  offsetof(struct worker_stats, passed) },
	{ "accept_strays", "Passed connections that were closed on the way",
	  offsetof(struct worker_stats, strays) },
};
/* clang-format on */

static int add_counters(struct control *c, struct status *st)
{
	st->counters = calloc(ARRAY_SIZE(counters) + 1, sizeof(*st->counters));
	if (st->counters == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
		struct status_counter *sc = &st->counters[st->n_counters++];
		sc->name = counters[i].name;
		sc->help = counters[i].help;
		for (uint32_t w = 0; w < c->n_workers; w++) {
			const char *base = (const char *)stats_of(c, w);
			const void *counter = base + counters[i].offset;
			sc->n += counter_read(counter);
		}
	}
	st->counters[st->n_counters++] = (struct status_counter){
		.name = "log_lines_dropped",
		.help = "Log lines that found their ring full",
		.n = logger_n_dropped(c->logger),
	};
	return 0;
}

int report_status(void *arg, struct status *ret)
{
	struct control *c = arg;

	/* A worker frees its counters at its end; the loop goes on until the last one has ended. */
	if (c->phase == PHASE_QUITTING)
		return -ESHUTDOWN;
	ret->version = LB_VERSION;
	ret->http = c->http_text[0] != '\0' ? c->http_text : NULL;
	ret->engine = loop_engine_name(c->loop);
	ret->tables = c->threads->need.is_shared ? "shared" : "own";
	ret->pid = (int)getpid();
	ret->uptime_s = (loop_now_ns(c->loop) - c->start_ns) / 1000000000u;
	ret->generation = c->generation;
	ret->reload.is_ok = !c->reload.was_refused;
	ret->reload.at_s = (double)c->reload.ended_ns / 1e9;
	process_read(c->threads, &ret->process);
	int r = add_workers(c, ret);
	if (r == 0)
		r = add_listeners(c, ret);
	if (r == 0)
		r = add_pools(c, ret);
	if (r == 0)
		r = add_ends(c, ret);
	if (r == 0)
		r = add_counters(c, ret);
	return r;
}

/* ---- connections ----------------------------------------------------------------------------- */

/* One `conns` command: every worker lists its own, the last answer makes the whole. */
struct conns_job {
	admin_conns_fn done;
	void *ctx;
	struct order **answers; /* owns */
	uint32_t n_workers, n_waiting;
	uint32_t limit;
	bool is_sorted;
	int result;
};

/* The greater rank first; among equals, the connection that came first. */
static int by_rank(const void *pa, const void *pb)
{
	const struct conn_row *a = *(const struct conn_row *const *)pa;
	const struct conn_row *b = *(const struct conn_row *const *)pb;

	if (a->rank != b->rank)
		return a->rank > b->rank ? -1 : 1;
	return (a->id > b->id) - (a->id < b->id);
}

/* The rows of all workers, in the list's order. NULL when memory is short. */
static const struct conn_row **gather_rows(const struct conns_job *j, size_t *ret_n)
{
	size_t n = 0;

	for (uint32_t w = 0; w < j->n_workers; w++)
		n += j->answers[w]->conns.n_rows;
	const struct conn_row **rows = calloc(n + 1, sizeof(*rows));
	if (rows == NULL)
		return NULL;
	n = 0;
	for (uint32_t w = 0; w < j->n_workers; w++)
		for (size_t i = 0; i < j->answers[w]->conns.n_rows; i++)
			rows[n++] = &j->answers[w]->conns.rows[i];
	if (j->is_sorted)
		qsort(rows, n, sizeof(*rows), by_rank);
	*ret_n = n < j->limit ? n : j->limit;
	return rows;
}

/* The list's rows, which the caller owns. NULL when memory is short. */
static struct admin_conn *make_rows(const struct conns_job *j, size_t *ret_n)
{
	const struct conn_row **from = gather_rows(j, ret_n);
	struct admin_conn *rows = from != NULL ? calloc(*ret_n + 1, sizeof(*rows)) : NULL;

	for (size_t i = 0; rows != NULL && i < *ret_n; i++)
		rows[i] = (struct admin_conn){
			.id = from[i]->id,
			.client = from[i]->client,
			.listener = from[i]->listener,
			.pool = from[i]->pool,
			.backend = from[i]->backend != NULL ? from[i]->backend->name : "",
			.state = from[i]->state,
			.age_ms = from[i]->age_ns / 1000000,
			.bytes_in = from[i]->bytes_in,
			.bytes_out = from[i]->bytes_out,
		};
	free(from);
	return rows;
}

static void conns_finish(struct conns_job *j)
{
	struct admin_conn_list list = { 0 };
	struct admin_conn *rows = j->result == 0 ? make_rows(j, &list.n) : NULL;

	list.rows = rows;
	for (uint32_t w = 0; w < j->n_workers; w++)
		list.total += j->answers[w]->conns.n_matching;
	if (rows == NULL) {
		j->result = j->result < 0 ? j->result : -ENOMEM;
		list = (struct admin_conn_list){ 0 };
	}
	j->done(j->ctx, j->result, &list);
	free(rows);
	for (uint32_t w = 0; w < j->n_workers; w++)
		order_free(j->answers[w]);
	free(j->answers);
	free(j);
}

static void on_conns(struct order *o, void *arg)
{
	struct conns_job *j = o->arg;

	(void)arg;
	if (o->result < 0)
		j->result = o->result;
	j->answers[o->worker] = o;
	if (--j->n_waiting == 0)
		conns_finish(j);
}

static enum conn_sort sort_of(enum admin_conn_sort sort)
{
	switch (sort) {
	case ADMIN_UNSORTED: return CONN_UNSORTED;
	case ADMIN_BY_AGE: return CONN_BY_AGE;
	case ADMIN_BY_BYTES: return CONN_BY_BYTES;
	}
	return CONN_UNSORTED;
}

static void fill_filter(const struct admin_conn_query *q, struct conn_filter *f)
{
	_Static_assert(sizeof(f->pool) == sizeof(q->pool), "copied as they are");
	memcpy(f->pool, q->pool, sizeof(f->pool));
	memcpy(f->backend, q->backend, sizeof(f->backend));
	f->has_client = q->has_client;
	f->client = q->client;
	f->min_age_ns = q->min_age_ms * 1000000;
	f->sort = sort_of(q->sort);
	f->limit = q->limit;
}

void report_conns(void *arg, const struct admin_conn_query *q, admin_conns_fn done, void *ctx)
{
	struct control *c = arg;
	struct conns_job *j = calloc(1, sizeof(*j));
	struct order **answers = calloc(c->n_workers, sizeof(struct order *));
	struct order **orders = calloc(c->n_workers, sizeof(struct order *));
	bool is_short = j == NULL || answers == NULL || orders == NULL;

	for (uint32_t w = 0; w < c->n_workers && !is_short; w++) {
		orders[w] = order_new(ORDER_CONNS, w);
		is_short = orders[w] == NULL;
	}
	if (is_short || c->phase == PHASE_QUITTING) {
		for (uint32_t w = 0; orders != NULL && w < c->n_workers; w++)
			order_free(orders[w]);
		free(orders);
		free(answers);
		free(j);
		done(ctx, is_short ? -ENOMEM : -ESHUTDOWN, &(struct admin_conn_list){ 0 });
		return;
	}

	*j = (struct conns_job){
		.done = done,
		.ctx = ctx,
		.answers = answers,
		.n_workers = c->n_workers,
		.n_waiting = c->n_workers,
		.limit = q->limit,
		.is_sorted = q->sort != ADMIN_UNSORTED,
	};
	for (uint32_t w = 0; w < c->n_workers; w++) {
		fill_filter(q, &orders[w]->conns.filter);
		orders[w]->done = on_conns;
		orders[w]->arg = j;
		threads_order(c->threads, w, &orders[w]->mail);
	}
	free(orders);
}

/* ---- reload ---------------------------------------------------------------------------------- */

struct reload_job {
	admin_reload_fn done;
	void *ctx;
};

static void on_reloaded(void *arg, int result, const struct err *why)
{
	struct reload_job *j = arg;
	struct text t = TEXT_INIT;
	char scratch[64];

	for (size_t i = 0; i < err_n_lines(why); i++) {
		/* A refusal names what stands against the file, and nothing else. */
		if (result < 0 && i < why->n_kept && why->item[i].is_warning)
			continue;
		text_addf(&t, "%s%s", t.n > 0 ? "\n" : "",
			  err_line(why, i, scratch, sizeof(scratch)));
	}
	j->done(j->ctx, result, t.n > 0 ? t.p : "");
	text_deinit(&t);
	free(j);
}

void report_reload(void *arg, admin_reload_fn done, void *ctx)
{
	struct reload_job *j = calloc(1, sizeof(*j));

	if (j == NULL) {
		done(ctx, -ENOMEM, "out of memory");
		return;
	}
	*j = (struct reload_job){ .done = done, .ctx = ctx };
	reload_request(arg, on_reloaded, j);
}

/* ---- backends -------------------------------------------------------------------------------- */

static void unknown(char *why, size_t why_len, const char *what, const char *name,
		    const struct nearest *near)
{
	char hint[NEAREST_TEXT_MAX];

	(void)snprintf(why, why_len, "unknown %s \"%s\"%s", what, name, nearest_hint(near, hint));
}

static void removed(char *why, size_t why_len, const char *what, const char *name)
{
	(void)snprintf(why, why_len, "%s \"%s\" was removed from the configuration", what, name);
}

static struct registry_pool *find_pool(struct control *c, const char *name, char *why,
				       size_t why_len)
{
	struct registry_pool *p = registry_find_pool(&c->registry, name);
	struct nearest near;

	if (p != NULL)
		return p;
	nearest_init(&near, slice_of(name));
	list_for_each(it, &c->registry.pools)
	{
		struct registry_pool *other = list_entry(it, struct registry_pool, link);
		if (!other->is_removed) {
			nearest_try(&near, slice_of(pool_name(other->pool)));
		} else if (strcmp(pool_name(other->pool), name) == 0) {
			removed(why, why_len, "pool", name);
			return NULL;
		}
	}
	unknown(why, why_len, "pool", name, &near);
	return NULL;
}

static struct registry_backend *find_backend(struct registry_pool *p, const char *name, char *why,
					     size_t why_len)
{
	struct registry_backend *fb = registry_find_backend(p, name);
	struct nearest near;

	if (fb != NULL)
		return fb;
	nearest_init(&near, slice_of(name));
	list_for_each(it, &p->backends)
	{
		struct registry_backend *other = list_entry(it, struct registry_backend, link);
		if (!other->is_removed) {
			nearest_try(&near, slice_of(other->backend->name));
		} else if (strcmp(other->backend->name, name) == 0) {
			removed(why, why_len, "backend", name);
			return NULL;
		}
	}
	unknown(why, why_len, "backend", name, &near);
	return NULL;
}

int report_backend(void *arg, enum admin_backend_op op, const char *pool, const char *backend,
		   uint32_t weight, char *why, size_t why_len)
{
	struct control *c = arg;
	struct registry_pool *p = find_pool(c, pool, why, why_len);
	struct registry_backend *fb = p != NULL ? find_backend(p, backend, why, why_len) : NULL;

	if (fb == NULL)
		return -ENOENT;
	if (c->phase == PHASE_QUITTING) {
		(void)snprintf(why, why_len, "lb is stopping");
		return -ESHUTDOWN;
	}
	switch (op) {
	case ADMIN_DRAIN: membership_set_admin(c, p, fb, BACKEND_DRAIN); break;
	case ADMIN_READY: membership_set_admin(c, p, fb, BACKEND_READY); break;
	case ADMIN_MAINT: membership_set_admin(c, p, fb, BACKEND_MAINT); break;
	case ADMIN_WEIGHT:
		if (membership_set_weight(c, p, fb, weight) < 0) {
			(void)snprintf(why, why_len, "out of memory");
			return -ENOMEM;
		}
		break;
	}
	health_apply(c); /* maintenance stops checks */
	log_notice(&c->log, "backend set by an operator pool=%s backend=%s state=%s weight=%u",
		   pool, backend, backend_state_name(fb->backend), backend_weight(fb->backend));
	return 0;
}
