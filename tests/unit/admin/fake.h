/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the tests of admin/ share: an lb that is not there. Its figures are fixed, and it notes what
 * it was asked.
 */

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/admin.h"
#include "util/text.h"

struct fake {
	int status_error;  /* why there is no snapshot; 0: there is one */
	bool is_stopping;  /* not accepting */
	bool answers_late; /* conns and reload answer when the test says so */
	bool has_removed;  /* one more pool "old", with a backend "gone", both removed */
	const char *reload_error, *reload_warnings;
	const char *version; /* NULL: "1.2.3" */

	/* what was asked */
	int n_status, n_conns, n_reload, n_backend;
	struct admin_conn_query query;
	enum admin_backend_op op;
	char pool[64], backend[64];
	uint32_t weight;

	/* answers that are owed */
	admin_conns_fn conns_done;
	admin_reload_fn reload_done;
	void *ctx;
};

static struct fake fake;

static inline void *copy_of(const void *rows, size_t n)
{
	void *p = malloc(n);

	ck_assert_ptr_nonnull(p);
	memcpy(p, rows, n);
	return p;
}

#define COPY(rows) copy_of(rows, sizeof(rows))

static inline int fake_status(void *arg, struct status *ret)
{
	static const struct status_worker workers[] = { { 0, 3, 10, 500 }, { 1, 4, 20, 500 } };
	static const struct status_listener listeners[] = {
		{ "public", "0.0.0.0:8080", 7, 30, 2 },
	};
	static char name_a[] = "chat.test", name_b[] = "*.chat.test";
	static char *const cert_names[] = { name_a, name_b };
	static const struct status_cert certs[] = {
		{ "public", "/etc/lb/chat.pem", 2, cert_names, 1700000000, 1800000000, 51 },
		{ "public", "/etc/lb/old.pem", 0, NULL, 1600000000, 1700000000, -1106 },
	};
	static const struct status_source sources[] = { { "10.0.0.5" }, { "10.0.0.6" } };
	static const struct status_backend chat[] = {
		{ .name = "127.0.0.1:9001",
		  .address = "127.0.0.1:9001",
		  .state = "up",
		  .weight = 1,
		  .active = 4,
		  .total = 11,
		  .failed = 1,
		  .bytes_in = 1000,
		  .bytes_out = 2048,
		  .check_type = "websocket",
		  .check_result = "101 in 1.2ms",
		  .since_s = 9 },
		{ .name = "b2",
		  .address = "127.0.0.1:9002",
		  .state = "down",
		  .weight = 2,
		  .max_conns = 20000,
		  .active = 2,
		  .total = 12,
		  .n_sources = 2,
		  .ports_used = 1,
		  .ports_limit = 28232,
		  .check_type = "tcp",
		  .check_result = "refused",
		  .check_failures = 6,
		  .since_s = 8 },
		{ .name = "b2",
		  .address = "127.0.0.1:9009",
		  .state = "draining",
		  .is_removed = true,
		  .weight = 5,
		  .active = 1,
		  .total = 100,
		  .check_result = "" },
	};
	static const struct status_backend web[] = {
		{ .name = "w",
		  .address = "127.0.0.1:80",
		  .state = "up",
		  .weight = 1,
		  .check_result = "" },
	};
	static const struct status_backend old[] = {
		{ .name = "gone",
		  .address = "127.0.0.1:81",
		  .state = "draining",
		  .is_removed = true,
		  .check_result = "" },
	};
	static const struct status_past past[] = {
		{ "former", { 7, 1, 10, 20, 3 } },
		{ "b2", { 1000, 0, 5, 6, 0 } },
		{ "former", { 70, 0, 0, 0, 0 } },
	};
	static const struct status_past long_past[] = { { "x", { 8, 0, 0, 0, 0 } } };
	static const struct status_end ends[] = { { "client_closed", 5, 2 }, { "idle", 0, 0 } };
	static const struct status_outcome outcomes[] = { { "completed", 3 }, { "tunnel", 0 } };
	static const struct status_counter counters[] = {
		{ "frames_in", "WebSocket frames from clients", 77 },
	};
	struct fake *f = arg;

	f->n_status++;
	ck_assert_ptr_null(ret->pools);
	if (f->status_error != 0)
		return f->status_error;
	*ret = (struct status){
		.version = f->version != NULL ? f->version : "1.2.3",
		.engine = "epoll",
		.tables = "own",
		.pid = 42,
		.uptime_s = 61,
		.generation = 3,
		.connections = { .active = 7,
				 .handshaking = 1,
				 .total = 30,
				 .limit = 1000,
				 .forecast = 900,
				 .forecast_by = "memory" },
		.responses = { 0, 0, 0, 21, 0 },
		.reload = { .is_ok = true, .at_s = 1795514400.5 },
		.process = { .cpu_s = 1.25,
			     .start_time_s = 1795514300,
			     .resident_bytes = 4096,
			     .virtual_bytes = 8192,
			     .open_fds = 33,
			     .max_fds = 60000,
			     .n_threads = 4 },
		.n_workers = 2,
		.workers = COPY(workers),
		.n_listeners = 1,
		.listeners = COPY(listeners),
		.n_certs = 2,
		.certs = COPY(certs),
		.n_pools = 2,
		.pools = calloc(4, sizeof(struct status_pool)),
		.n_ends = 2,
		.ends = COPY(ends),
		.n_outcomes = 2,
		.outcomes = COPY(outcomes),
		.n_counters = 1,
		.counters = COPY(counters),
	};
	ck_assert_ptr_nonnull(ret->pools);
	ret->pools[0] = (struct status_pool){
		.name = "chat",
		.balance = "hash",
		.active = 7,
		.n_backends = 3,
		.backends = COPY(chat),
		.sources = COPY(sources),
		.sums = { 2000, 9, 1100, 2200, 11 },
		.responses = { 1, 2, 3, 4, 5 },
		.n_past = 3,
		.past = COPY(past),
	};
	ret->pools[0].backends[1].sources = ret->pools[0].sources;
	ret->pools[1] = (struct status_pool){
		.name = "web",
		.balance = "first",
		.n_backends = 1,
		.backends = COPY(web),
	};
	if (f->has_removed)
		ret->pools[ret->n_pools++] = (struct status_pool){
			.name = "old",
			.balance = "first",
			.n_backends = 1,
			.backends = COPY(old),
		};
	ret->n_past_pools = 1;
	ret->pools[ret->n_pools] = (struct status_pool){
		.name = "left",
		.balance = "first",
		.sums = { .total = 8 },
		.n_past = 1,
		.past = COPY(long_past),
		.ends = { 1, 0 },
	};
	ret->pools[0].ends[0] = 2;
	for (int i = 0; i < METRIC_HIST_N; i++)
		ret->pools[0].handshake.le[i] = i < 2 ? 3 : 4;
	ret->pools[0].handshake.sum_ns = 1500000000;
	ret->pools[0].response.le[METRIC_HIST_N - 1] = 2;
	ret->pools[0].response.sum_ns = 250000000;
	for (int i = 0; i < METRIC_HIST_N; i++)
		ret->handshake.le[i] = i < 2 ? 3 : 4;
	ret->handshake.sum_ns = 1500000000;
	ret->response.le[METRIC_HIST_N - 1] = 2;
	ret->response.sum_ns = 250000000;
	return 0;
}

static const struct admin_conn fake_conns[] = {
	{ .id = 7,
	  .client = { .family = AF_INET, .port = 5555, .v4 = { 10, 0, 0, 1 } },
	  .listener = "public",
	  .pool = "chat",
	  .backend = "b2",
	  .state = "relay",
	  .conn_state = "tunnel",
	  .request_state = "",
	  .age_ms = 61999,
	  .bytes_in = 10,
	  .bytes_out = 2048 },
	{ .id = 8,
	  .client = { .family = AF_INET, .port = 5556, .v4 = { 10, 0, 0, 2 } },
	  .listener = "public",
	  .pool = "",
	  .backend = "",
	  .state = "hello",
	  .conn_state = "busy",
	  .request_state = "head" },
};

static const struct admin_conn_list fake_conn_list = { fake_conns, 2, 2 };

static inline void fake_list(void *arg, const struct admin_conn_query *q, admin_conns_fn done,
			     void *ctx)
{
	struct fake *f = arg;

	f->n_conns++;
	f->query = *q;
	f->conns_done = done;
	f->ctx = ctx;
	if (!f->answers_late)
		done(ctx, 0, &fake_conn_list);
}

static inline void fake_reload(void *arg, admin_reload_fn done, void *ctx)
{
	struct fake *f = arg;

	f->n_reload++;
	f->reload_done = done;
	f->ctx = ctx;
	if (!f->answers_late)
		done(ctx, f->reload_error != NULL ? -EINVAL : 0,
		     f->reload_error != NULL      ? f->reload_error
		     : f->reload_warnings != NULL ? f->reload_warnings
						  : "");
}

static inline int fake_backend(void *arg, enum admin_backend_op op, const char *pool,
			       const char *backend, uint32_t weight, char *why, size_t why_len)
{
	struct fake *f = arg;

	f->n_backend++;
	if (strcmp(backend, "none") == 0) {
		snprintf(why, why_len, "unknown backend \"%s\"", backend);
		return -ENOENT;
	}
	f->op = op;
	snprintf(f->pool, sizeof(f->pool), "%s", pool);
	snprintf(f->backend, sizeof(f->backend), "%s", backend);
	f->weight = weight;
	return 0;
}

static inline bool fake_is_accepting(void *arg)
{
	return !((struct fake *)arg)->is_stopping;
}

static const struct admin_ops fake_ops = {
	.status = fake_status,
	.conns = fake_list,
	.reload = fake_reload,
	.backend = fake_backend,
	.is_accepting = fake_is_accepting,
};
