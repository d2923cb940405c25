/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Warns before a capacity is used up. watermarks_apply() computes lb's capacity when a
 * configuration becomes current. When the capacity differs enough from the last one (is_news()), it
 * is logged as the forecast. watermarks_tick() is called once a second and compares three figures
 * with their limits: all connections with the capacity, each worker's connections with
 * max_sessions, and each backend's connections with the local ports. A warning is logged when a
 * figure reaches HIGH_PERCENT of its limit, and again only after the figure was below LOW_PERCENT
 * (has_risen()).
 *
 * Thread: main.
 */
#include "daemon/watermarks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "daemon/registry.h"
#include "daemon/threads.h"
#include "daemon/worker_sums.h"

#define HIGH_PERCENT 80
#define LOW_PERCENT 70

/* The binding limit may change because of other programs. Then a change of the capacity by up to
 * this much is not logged. */
#define NEWS_PERCENT 10

int watermarks_open(struct watermarks *w, const struct log *log, struct registry *reg,
		    const struct threads *t)
{
	*w = (struct watermarks){ .log = log, .registry = reg, .threads = t };
	w->is_worker_high = calloc(t->n, sizeof(bool));
	return w->is_worker_high == NULL ? -ENOMEM : 0;
}

void watermarks_close(struct watermarks *w)
{
	free(w->is_worker_high);
	w->is_worker_high = NULL;
}

/* ---- the forecast ---------------------------------------------------------------------------- */

static bool is_news(const struct watermarks *w, const struct conn_capacity *f)
{
	const struct conn_capacity *old = &w->capacity;

	if (!w->is_known || f->binding != old->binding)
		return true;
	uint64_t more =
		f->n_conns > old->n_conns ? f->n_conns - old->n_conns : old->n_conns - f->n_conns;
	uint64_t least =
		conn_capacity_limit_is_shared(f->binding) ? old->n_conns / 100 * NEWS_PERCENT : 0;
	return more > least;
}

void watermarks_apply(struct watermarks *w, const struct conf *conf)
{
	struct host_limits machine;
	struct conn_capacity f;

	LB_ASSERT(w->is_worker_high != NULL);
	host_limits_read("", &machine);
	struct conn_capacity_in in = {
		.machine = &machine,
		.conf = conf,
		.n_workers = w->threads->n,
		.worker_conns = w->threads->share.max_sessions,
		.n_active = worker_sums_active(w->threads),
	};
	if (conn_capacity_compute(&in, &f) < 0) {
		log_err(w->log, "the forecast was not computed again: out of memory");
		return;
	}
	if (is_news(w, &f))
		log_notice(w->log, "forecast connections=%llu bound_by=%s workers=%u",
			   (unsigned long long)f.n_conns, conn_capacity_limit_name(f.binding),
			   w->threads->n);
	w->capacity = f;
	w->n_ports = machine.n_ports;
	w->is_known = true;
}

/* ---- the warnings ---------------------------------------------------------------------------- */

/* Returns true once when `used` has risen to HIGH_PERCENT of the limit, and again only after `used`
 * was below LOW_PERCENT. *is_high keeps the state between the calls. */
static bool has_risen(bool *is_high, uint64_t used, uint64_t limit)
{
	bool was_high = *is_high;

	if (limit == HOST_LIMITS_NONE)
		return false;
	if (used >= limit / 100 * HIGH_PERCENT + limit % 100 * HIGH_PERCENT / 100 && used > 0)
		*is_high = true;
	else if (used < limit / 100 * LOW_PERCENT + limit % 100 * LOW_PERCENT / 100)
		*is_high = false;
	return *is_high && !was_high;
}

static void check_conns(struct watermarks *w)
{
	uint64_t n = worker_sums_active(w->threads), limit = w->capacity.n_conns;

	if (has_risen(&w->is_conns_high, n, limit))
		log_warn(w->log, "connections above %d percent active=%llu limit=%llu bound_by=%s",
			 HIGH_PERCENT, (unsigned long long)n, (unsigned long long)limit,
			 conn_capacity_limit_name(w->capacity.binding));
}

static void check_workers(struct watermarks *w)
{
	uint32_t limit = w->threads->share.max_sessions;

	LB_ASSERT(limit > 0 && w->is_worker_high != NULL);
	for (uint32_t i = 0; i < w->threads->n; i++) {
		uint64_t n = counter_read(&worker_sums_of(w->threads, i)->active);
		if (has_risen(&w->is_worker_high[i], n, limit))
			log_warn(w->log,
				 "descriptors above %d percent worker=%u active=%llu limit=%u",
				 HIGH_PERCENT, i, (unsigned long long)n, limit);
	}
}

uint64_t watermarks_ports_used(const struct backend *b, uint64_t n)
{
	LB_ASSERT(n > 0);
	return (backend_active(b) + n - 1) / n;
}

static void check_pool(struct watermarks *w, struct registry_pool *p)
{
	const struct conf_pool *conf = registry_pool_conf(w->registry, p);

	list_for_each(it, &p->backends)
	{
		struct registry_backend *rb = list_entry(it, struct registry_backend, link);
		const struct backend *b = rb->backend;
		if (conf == NULL || rb->is_removed)
			continue;
		uint64_t n = conn_capacity_n_sources(conf, b->addr.family);
		uint64_t used = watermarks_ports_used(b, n);
		if (has_risen(&rb->is_ports_high, used, w->n_ports))
			log_warn(w->log,
				 "local ports above %d percent pool=%s backend=%s sources=%llu "
				 "used_each=%llu limit_each=%llu",
				 HIGH_PERCENT, b->pool_name, b->name, (unsigned long long)n,
				 (unsigned long long)used, (unsigned long long)w->n_ports);
	}
}

void watermarks_tick(struct watermarks *w)
{
	check_conns(w);
	check_workers(w);
	list_for_each(it, &w->registry->pools)
		check_pool(w, list_entry(it, struct registry_pool, link));
}
