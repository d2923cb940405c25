/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Admin: the admin socket and the HTTP admin port.
 *
 * A client of the socket sends lines, one command each, which are answered in order. Every answer
 * ends with an empty line; an error is one line that begins with "error: ". When a client has
 * half-closed and its last answer has been sent, lb closes the connection. The HTTP port serves GET
 * (and HEAD) /healthz, /metrics and /stats. The socket and the port each serve a limited number of
 * clients at a time. When the last slot of the socket, or of the port, is taken, lb closes the
 * client that has been idle there for the longest time.
 *
 * The commands act through struct admin_ops, which daemon/ implements, so that lb/admin includes no
 * header of workers and sessions.
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
	ADMIN_BY_AGE,   /* by age, the oldest connection first */
	ADMIN_BY_BYTES, /* by bytes of both directions together, the most first */
};

/* Which connections `conns` lists. A name that is "", and min_age_ms of 0, are no condition. */
struct admin_conn_query {
	char pool[ADMIN_NAME_MAX], backend[ADMIN_NAME_MAX];
	bool has_client;
	struct cidr client;
	uint64_t min_age_ms;
	enum admin_conn_sort sort;
	uint32_t limit; /* most connections that are listed; 1,000 by default */
};

struct admin_conn {
	uint64_t id;
	struct addr client;
	const char *listener, *pool, *backend; /* "" while none has been chosen */
	const char *state; /* one word for the states of connection and request */
	const char *conn_state, *request_state; /* request_state is "" without a request */
	uint64_t age_ms, bytes_in, bytes_out;
};

enum admin_backend_op { ADMIN_DRAIN, ADMIN_READY, ADMIN_MAINT, ADMIN_WEIGHT };

/* The answer of `conns`. */
struct admin_conn_list {
	const struct admin_conn *rows; /* borrows */
	size_t n;                      /* number of rows, at most the query's limit */
	uint64_t total;                /* connections that meet the query's conditions */
};

/*
 * Gets the answer of admin_ops.conns(). `ctx` is the one that conns() got. `result` is 0 or a
 * negative errno. `list` is borrowed for the call, and is not read when `result` is negative.
 */
typedef void (*admin_conns_fn)(void *ctx, int result, const struct admin_conn_list *list);
/*
 * Gets the answer of admin_ops.reload(). `ctx` is the one that reload() got. `result` is 0 or a
 * negative errno. `why` has lines separated by '\n': the reasons when `result` is negative, else
 * the warnings.
 */
typedef void (*admin_reload_fn)(void *ctx, int result, const char *why);

struct admin_ops {
	/*
	 * Fills a zeroed snapshot. Returns 0, -ENOMEM, or, after the workers have begun to end,
	 * -ESHUTDOWN: the workers free the counters from which a snapshot is made.
	 */
	int (*status)(void *arg, struct status *ret);

	/*
	 * Lists connections. Calls `done` with `ctx` once, within the call or later from the loop.
	 */
	void (*conns)(void *arg, const struct admin_conn_query *q, admin_conns_fn done, void *ctx);

	/*
	 * Reloads the configuration. Calls `done` with `ctx` once: when every worker has the new
	 * configuration, or when the reload was refused.
	 */
	void (*reload)(void *arg, admin_reload_fn done, void *ctx);

	/*
	 * Carries out drain, ready, maint or weight. Returns 0, or a negative errno; with -ENOENT
	 * (an unknown pool or backend) `why` says which name is unknown and gives the nearest known
	 * name.
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
	void *arg;                   /* argument of the functions of `ops` */
	unsigned class_id;           /* class of the tags of the admin's operations in `loop` */
};

/* Makes an admin without sockets. NULL when memory is short. */
struct admin *admin_new(const struct admin_opts *o);

/*
 * Begin to serve the listening socket `fd`: a Unix socket, and a TCP socket for HTTP. Each function
 * is called at most once; the admin owns `fd` from then on.
 */
void admin_serve_socket(struct admin *a, int fd);
void admin_serve_http(struct admin *a, int fd);

/*
 * admin_close() - stop serving; returns whether an operation is still in flight
 *
 * As long as admin_close() returns true, the caller has to call it again after a turn of the loop.
 * After it has returned false, admin_free() may be called.
 */
bool admin_close(struct admin *a);

/*
 * Frees an admin for which admin_close() has returned false, or that serves nothing. NULL is fine.
 * Returns NULL.
 */
struct admin *admin_free(struct admin *a);
