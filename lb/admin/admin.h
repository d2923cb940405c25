/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Admin: the admin socket and the HTTP admin port.
 *
 * A client of the socket sends lines, one command each, which are answered in order. Every answer
 * ends with an empty line; an error is one line that begins with "error: ". When a client has
 * half-closed and its last answer has been sent, lb closes the connection. The HTTP port serves GET
 * (and HEAD) /healthz, /metrics and /stats. Each of the two serves a number of clients at a time;
 * when there are more, the client that has been idle for the longest time is closed.
 *
 * What the commands do is behind struct admin_ops, which daemon/ implements: this folder includes
 * nothing of workers and sessions.
 *
 * Thread: main. Layer: admin.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "admin/status.h"
#include "ev/loop.h"
#include "util/log.h"
#include "util/sockaddr.h"

struct admin;

#define ADMIN_NAME_MAX 64 /* bytes of a pool's or a backend's name, with its NUL */

enum admin_conn_sort {
	ADMIN_UNSORTED,
	ADMIN_BY_AGE,   /* the oldest first */
	ADMIN_BY_BYTES, /* the most bytes, of both directions together, first */
};

/* Which connections `conns` lists. "" and 0 are no condition. */
struct admin_conn_query {
	char pool[ADMIN_NAME_MAX], backend[ADMIN_NAME_MAX];
	bool has_client;
	struct cidr client;
	uint64_t min_age_ms;
	enum admin_conn_sort sort;
	uint32_t limit; /* default 1,000 */
};

struct admin_conn {
	uint64_t id;
	struct addr client;
	const char *listener, *pool, *backend; /* "" where there is none yet */
	const char *state; /* of the connection and its request together, in one word */
	const char *conn_state, *request_state; /* "" while no request is under way */
	uint64_t age_ms, bytes_in, bytes_out;
};

enum admin_backend_op { ADMIN_DRAIN, ADMIN_READY, ADMIN_MAINT, ADMIN_WEIGHT };

/* The answer of `conns`. */
struct admin_conn_list {
	const struct admin_conn *rows; /* borrows */
	size_t n;                      /* rows: at most the query's limit */
	uint64_t total;                /* connections that meet the query's conditions */
};

/*
 * Gets the answer of admin_ops.conns(). `ctx` is what conns() was given. `list` is borrowed for the
 * call, and not read when `result` is negative.
 */
typedef void (*admin_conns_fn)(void *ctx, int result, const struct admin_conn_list *list);
/*
 * Gets the answer of admin_ops.reload(). `ctx` is what reload() was given. `why` is lines separated
 * by '\n': the reasons when `result` is negative, else the warnings.
 */
typedef void (*admin_reload_fn)(void *ctx, int result, const char *why);

struct admin_ops {
	/*
	 * Fills a zeroed snapshot. Returns 0, -ENOMEM, or -ESHUTDOWN after the workers have begun
	 * to end, for the workers free the counters that a snapshot is made of.
	 */
	int (*status)(void *arg, struct status *ret);

	/* Lists connections. Calls `done` once: within the call or later from the loop. */
	void (*conns)(void *arg, const struct admin_conn_query *q, admin_conns_fn done, void *ctx);

	/*
	 * Reloads. Calls `done` once: when every worker has the new configuration, or when the
	 * reload was refused.
	 */
	void (*reload)(void *arg, admin_reload_fn done, void *ctx);

	/*
	 * Carries out drain, ready, maint or weight. Returns 0, or a negative errno; with -ENOENT
	 * (an unknown pool or backend) `why` says so and gives the nearest known name.
	 */
	int (*backend)(void *arg, enum admin_backend_op op, const char *pool, const char *backend,
		       uint32_t weight, char *why, size_t why_len);

	/* Whether lb accepts connections and is not stopping: /healthz answers 200 if so. */
	bool (*is_accepting)(void *arg);
};

struct admin_opts {
	struct loop *loop;           /* borrows */
	const struct log *log;       /* borrows */
	const struct admin_ops *ops; /* borrows */
	void *arg;                   /* of ops */
	unsigned class_id;           /* class of the tags of the admin's operations in `loop` */
};

/* Makes an admin without sockets. NULL when memory is short. */
struct admin *admin_new(const struct admin_opts *o);

/*
 * Begin to serve a listening socket, a Unix one and a TCP one. Each is called at most once; the
 * admin owns `fd` from then on.
 */
void admin_serve_socket(struct admin *a, int fd);
void admin_serve_http(struct admin *a, int fd);

/*
 * admin_close() - stop serving; returns whether an operation is still in flight
 *
 * As long as admin_close() returns true, it has to be called again after a turn of the loop. Then
 * admin_free() may be called.
 */
bool admin_close(struct admin *a);

/* NULL is fine. Returns NULL. */
struct admin *admin_free(struct admin *a);
