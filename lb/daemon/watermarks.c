/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/watermarks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "daemon/control.h"

#define HIGH_PERCENT 80
#define LOW_PERCENT 70

/* A limit that other programs share moves by itself: less than this is no news. */
#define NEWS_PERCENT 10

int watermarks_open(struct control *c)
{
	c->watermarks.is_worker_high = calloc(c->n_workers, sizeof(bool));
	return c->watermarks.is_worker_high == NULL ? -ENOMEM : 0;
}

void watermarks_close(struct control *c)
{
	free(c->watermarks.is_worker_high);
	c->watermarks.is_worker_high = NULL;
}

/* ---- the forecast ---------------------------------------------------------------------------- */

static bool is_news(const struct watermarks *h, const struct conn_capacity *f)
{
	const struct conn_capacity *old = &h->capacity;

	if (!h->is_known || f->binding != old->binding)
		return true;
	uint64_t more =
		f->n_conns > old->n_conns ? f->n_conns - old->n_conns : old->n_conns - f->n_conns;
	uint64_t least =
		conn_capacity_limit_is_shared(f->binding) ? old->n_conns / 100 * NEWS_PERCENT : 0;
	return more > least;
}

void watermarks_apply(struct control *c)
{
	struct watermarks *h = &c->watermarks;
	struct host_limits machine;
	struct conn_capacity f;

	host_limits_read("", &machine);
	struct conn_capacity_in in = {
		.machine = &machine,
		.conf = c->conf,
		.n_workers = c->n_workers,
		.worker_conns = c->threads->share.max_sessions,
		.n_active = control_n_active(c),
	};
	if (conn_capacity_compute(&in, &f) < 0) {
		log_err(&c->log, "the forecast stays as it was: out of memory");
		return;
	}
	if (is_news(h, &f))
		log_notice(&c->log, "forecast connections=%llu bound_by=%s workers=%u",
			   (unsigned long long)f.n_conns, conn_capacity_limit_name(f.binding),
			   c->n_workers);
	h->capacity = f;
	h->n_ports = machine.n_ports;
	h->is_known = true;
}

/* ---- the warnings ---------------------------------------------------------------------------- */

/* Whether `used` has just risen above 80 %; it can do so again once it was below 70 %. */
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

static void check_conns(struct control *c)
{
	struct watermarks *h = &c->watermarks;
	uint64_t n = control_n_active(c), limit = h->capacity.n_conns;

	if (has_risen(&h->is_conns_high, n, limit))
		log_warn(&c->log, "connections above %d percent active=%llu limit=%llu bound_by=%s",
			 HIGH_PERCENT, (unsigned long long)n, (unsigned long long)limit,
			 conn_capacity_limit_name(h->capacity.binding));
}

static void check_workers(struct control *c)
{
	uint32_t limit = c->threads->share.max_sessions;

	for (uint32_t i = 0; i < c->n_workers; i++) {
		uint64_t n = counter_read(&c->threads->thread[i].worker->stats->active);
		if (has_risen(&c->watermarks.is_worker_high[i], n, limit))
			log_warn(&c->log,
				 "descriptors above %d percent worker=%u active=%llu limit=%u",
				 HIGH_PERCENT, i, (unsigned long long)n, limit);
	}
}

uint64_t watermarks_ports_used(const struct backend *b, uint64_t n)
{
	return (backend_active(b) + n - 1) / n;
}

static void check_pool(struct control *c, struct registry_pool *p)
{
	const struct conf_pool *conf = registry_pool_conf(&c->registry, p);

	list_for_each(it, &p->backends)
	{
		struct registry_backend *fb = list_entry(it, struct registry_backend, link);
		const struct backend *b = fb->backend;
		if (conf == NULL || fb->is_removed)
			continue;
		uint64_t n = conn_capacity_n_sources(conf, b->addr.family);
		uint64_t used = watermarks_ports_used(b, n);
		if (has_risen(&fb->is_ports_high, used, c->watermarks.n_ports))
			log_warn(&c->log,
				 "local ports above %d percent pool=%s backend=%s sources=%llu "
				 "used_each=%llu limit_each=%llu",
				 HIGH_PERCENT, b->pool_name, b->name, (unsigned long long)n,
				 (unsigned long long)used,
				 (unsigned long long)c->watermarks.n_ports);
	}
}

void watermarks_tick(struct control *c)
{
	check_conns(c);
	check_workers(c);
	list_for_each(it, &c->registry.pools)
		check_pool(c, list_entry(it, struct registry_pool, link));
}
