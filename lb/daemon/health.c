/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The health checks of the registry's backends. health_apply() and health_apply_state() read from
 * the registry and the configuration which backends are checked. The three functions of `ops` get
 * the results and write them into the backend: its state, which workers read, and a text, which
 * stats.c reads. health/probes.h decides when and how a target is checked. A target's `arg` is its
 * backend.
 *
 * Thread: main.
 */
#include "daemon/health.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "daemon/registry.h"
#include "daemon/threads.h"
#include "health/probes.h"

/* When memory or descriptors are short, many checks fail to start at once. So at most one line in
 * this time is logged about such checks. */
#define NO_CHECK_LOG_MS 60000

static void on_result(void *arg, void *target, bool is_ok, const char *text)
{
	struct backend *b = target;

	(void)arg;
	b->check_failures += !is_ok;
	(void)snprintf(b->check_result, sizeof(b->check_result), "%s", text);
}

static void on_none(void *arg, void *target, const char *text)
{
	struct health *h = arg;
	struct backend *b = target;
	uint64_t now_ms = loop_now_ms(h->loop);

	(void)snprintf(b->check_result, sizeof(b->check_result), "%s", text);
	if (h->no_check_logged_ms != 0 && now_ms - h->no_check_logged_ms < NO_CHECK_LOG_MS)
		return;
	h->no_check_logged_ms = now_ms;
	log_warn(h->log,
		 "a health check could not be made, the backend keeps its state pool=%s backend=%s "
		 "result=\"%s\"",
		 b->pool_name, b->name, text);
}

static void on_verdict(void *arg, void *target, bool is_up, bool is_first, const char *text)
{
	struct health *h = arg;
	struct backend *b = target;

	backend_set_health(b, is_up ? BACKEND_UP : BACKEND_DOWN, loop_now_ns(h->loop));
	log_write(h->log, is_up ? LOG_LEVEL_NOTICE : LOG_LEVEL_WARN,
		  "backend is %s pool=%s backend=%s first=%s result=\"%s\"", is_up ? "up" : "down",
		  b->pool_name, b->name, is_first ? "true" : "false", text);
}

static const struct probe_ops ops = {
	.on_result = on_result,
	.on_none = on_none,
	.on_verdict = on_verdict,
};

int health_open(struct health *h, struct loop *l, const struct log *log, struct registry *reg,
		unsigned tag_class)
{
	*h = (struct health){ .loop = l, .log = log, .registry = reg };
	h->probes = probes_new(l, tag_class, &ops, h);
	return h->probes == NULL ? -ENOMEM : 0;
}

/* Adds a pool's backends to the targets. When the pool has no check, its backends become up
 * instead. Returns how many targets were added. */
static size_t add_pool(struct health *h, struct registry_pool *p, struct probe_target *targets)
{
	const struct conf_pool *pool = registry_pool_conf(h->registry, p);
	const struct conf_health *conf = pool != NULL ? &pool->health : NULL;
	size_t n = 0;

	list_for_each(it, &p->backends)
	{
		struct registry_backend *rb = list_entry(it, struct registry_backend, link);
		struct backend *b = rb->backend;

		if (rb->is_removed || conf == NULL)
			continue;
		if (conf->type == CONF_CHECK_NONE) {
			backend_set_health(b, BACKEND_UP, loop_now_ns(h->loop));
			b->check_result[0] = '\0';
			continue;
		}
		targets[n++] = (struct probe_target){
			.arg = b,
			.addr = b->addr,
			.conf = conf,
			.proxy = pool->proxy_protocol,
			.is_paused = backend_admin(b) == BACKEND_MAINT,
			.n_sources = pool->n_sources,
			.sources = pool->sources,
		};
	}
	return n;
}

void health_apply(struct health *h)
{
	size_t n = 0, most = 0;

	loop_assert_owner(h->loop);
	LB_ASSERT(h->probes != NULL && h->threads != NULL);
	list_for_each(it, &h->registry->pools)
	{
		struct registry_pool *p = list_entry(it, struct registry_pool, link);
		list_for_each(ib, &p->backends) most++;
	}
	struct probe_target *targets = calloc(most + 1, sizeof(*targets));
	if (targets == NULL) {
		log_err(h->log, "health checks go on as before the change: out of memory");
		return;
	}
	list_for_each(it, &h->registry->pools) n +=
		add_pool(h, list_entry(it, struct registry_pool, link), targets + n);
	LB_ASSERT(n <= most);
	probes_limit(h->probes, h->threads->share.max_checks);
	if (probes_set(h->probes, targets, n) < 0)
		log_err(h->log, "some health checks could not be set up: out of memory");
	free(targets);
}

void health_apply_state(struct health *h, const struct backend *b)
{
	loop_assert_owner(h->loop);
	LB_ASSERT(h->probes != NULL);
	probes_pause(h->probes, b, backend_admin(b) == BACKEND_MAINT);
}

bool health_close(struct health *h)
{
	if (h->probes == NULL)
		return false;
	if (probes_close(h->probes))
		return true;
	h->probes = probes_free(h->probes);
	return false;
}
