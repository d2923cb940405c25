/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The admin socket and the HTTP admin port.
 *
 * The socket speaks lines, one command each, answered in order; every answer ends with an empty
 * line, an error is one line that begins with "error: ". It closes once the client has half-closed
 * and the last answer is out. HTTP serves GET (and HEAD) /healthz, /metrics and /stats. Each serves
 * a number of clients at a time; where more come, the one that has been idle longest is closed.
 *
 * What the commands do is behind struct admin_ops: this folder knows nothing of workers and
 * sessions. Thread: main. Layer: admin.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "admin/status.h"
#include "ev/loop.h"
#include "util/log.h"
#include "util/sockaddr.h"

struct admin;

enum admin_conn_sort {
	ADMIN_UNSORTED,
	ADMIN_BY_AGE,   /* the oldest first */
	ADMIN_BY_BYTES, /* those that have moved most, both directions together, first */
};

/* Which connections `conns` lists; "" and 0 are any. */
struct admin_conn_query {
	char pool[64], backend[64];
	bool has_client;
	struct cidr client;
	uint64_t min_age_ms;
	enum admin_conn_sort sort;
	uint32_t limit; /* default 1,000 */
};

struct admin_conn {
	uint64_t id;
	struct addr client;
	const char *listener, *pool, *backend, *state; /* "" where there is none yet */
	uint64_t age_ms, bytes_in, bytes_out;
};

enum admin_backend_op { ADMIN_DRAIN, ADMIN_READY, ADMIN_MAINT, ADMIN_WEIGHT };

/* The answer of `conns`. */
struct admin_conn_list {
	const struct admin_conn *rows; /* borrows */
	size_t n;                      /* rows: at most the query's limit */
	uint64_t total;                /* connections that meet the query's conditions */
};

/* Called with the answer of what takes a while; `list` is borrowed for the call, and empty where
 * result is negative. `ctx` is the asker's. */
typedef void (*admin_conns_fn)(void *ctx, int result, const struct admin_conn_list *list);
/* `why` is the reason (several lines, separated by '\n') where result is negative, else a line for
 * each warning. */
typedef void (*admin_reload_fn)(void *ctx, int result, const char *why);

struct admin_ops {
	/*
	 * Fills a zeroed snapshot. Returns 0, -ENOMEM, or -ESHUTDOWN once the workers end: they
	 * free the counters that a snapshot is made of.
	 */
	int (*status)(void *arg, struct status *ret);

	/* Lists connections; calls `done` later, once, from the loop (or at once with an error). */
	void (*conns)(void *arg, const struct admin_conn_query *q, admin_conns_fn done, void *ctx);

	/* Reloads; calls `done` when every worker has the new configuration, or why it was refused.
	 */
	void (*reload)(void *arg, admin_reload_fn done, void *ctx);

	/*
	 * drain, ready, maint, weight. Returns 0, or -ENOENT with a reason in `why` (an unknown
	 * pool or backend, with the nearest known name).
	 */
	int (*backend)(void *arg, enum admin_backend_op op, const char *pool, const char *backend,
		       uint32_t weight, char *why, size_t why_len);

	/* Whether /healthz is 200: lb accepts and is not stopping. */
	bool (*is_accepting)(void *arg);
};

struct admin_opts {
	struct loop *loop;           /* borrows */
	const struct log *log;       /* borrows */
	const struct admin_ops *ops; /* borrows */
	void *arg;                   /* of ops */
	unsigned class_id;           /* class of the tags of its operations in `loop` */
};

/* Owns no socket yet. NULL when memory is short. */
struct admin *admin_new(const struct admin_opts *o);

/* Begins to serve listening sockets, which it owns from then on (a Unix socket; a TCP one). */
void admin_serve_socket(struct admin *a, int fd);
void admin_serve_http(struct admin *a, int fd);

/*
 * admin_close() - stop serving; returns whether anything is still in flight
 *
 * To be called again after a turn of the loop as long as it returns true; then admin_free().
 */
bool admin_close(struct admin *a);

/* NULL is fine. Returns NULL. */
struct admin *admin_free(struct admin *a);
