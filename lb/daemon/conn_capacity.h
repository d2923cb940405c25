/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Capacity: how many connections a machine and a file can hold, and which limit binds first. The
 * log, `lb doctor` and `stats` call the figure a forecast.
 *
 * Computed from numbers alone: what the machine allows (daemon/host_limits.h), what a worker's
 * table has room for (daemon/fd_share.h) and the configuration.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "daemon/host_limits.h"

/*
 * What a proxied connection takes while it is idle: the user's memory (the session record and its
 * place in tables) and the kernel's (two sockets, two descriptors, what the engine keeps for each).
 * Measured on Linux 6.18 as the growth of the active objects in /proc/slabinfo, with 8,000 idle
 * connections through lb less the same 8,000 without it (`scripts/bench --only idle` has this row):
 * 8,900 B with io_uring, 7,400 B with epoll. Clients and backends on the same machine would take as
 * much again. An idle socket holds no page of tcp_mem (with 32,000 idle sockets
 * mem is 0 in /proc/net/sockstat).
 */
#define CONN_CAPACITY_USER_BYTES 400u
#define CONN_CAPACITY_KERNEL_BYTES 9000u

#define CONN_CAPACITY_FDS_PER_CONN 2u       /* the client's and the backend's */
#define CONN_CAPACITY_CONNTRACK_PER_CONN 2u /* the same two */

/*
 * Every limit: its name (log, JSON), whether it bounds how many connections are held or only how
 * many may come or move at once, and whether other programs have a share in it, so that its room
 * changes by itself. Of equal limits the first one binds.
 */
/* clang-format off */
#define CONN_CAPACITY_LIMITS(X) \
	X(DESCRIPTORS, "descriptors",        true,  false) \
	X(CONF,        "limits.connections", true,  false) \
	X(BACKENDS,    "max_connections",    true,  false) \
	X(PORTS,       "local_ports",        true,  false) \
	X(FILES,       "system_files",       true,  true) \
	X(MEMORY,      "memory",             true,  true) \
	X(CONNTRACK,   "conntrack",          true,  true) \
	X(ACCEPT,      "accept_queue",       false, false) \
	X(SYN,         "syn_queue",          false, false) \
	X(TCP_MEM,     "tcp_mem",            false, true)
/* clang-format on */

#define X(id, name, holds, is_shared) CONN_CAPACITY_##id,
enum conn_capacity_limit { CONN_CAPACITY_LIMITS(X) CONN_CAPACITY_N };
#undef X

struct conn_capacity_in {
	const struct host_limits *machine; /* borrows */
	const struct conf *conf;           /* borrows */
	uint32_t n_workers;
	uint64_t worker_conns; /* for which a worker's table has room; 0: lb cannot start */
	uint64_t n_active;     /* connections that are open now; what they use counts as free */
};

struct conn_capacity {
	uint64_t allows[CONN_CAPACITY_N]; /* connections; HOST_LIMITS_NONE: no limit is known */
	enum conn_capacity_limit binding; /* among those that bound what is held */
	uint64_t n_conns;                 /* what the binding limit allows */
	const struct conf_pool *tightest; /* borrows from conf: the pool with the fewest ports */
	uint64_t tightest_ports;
};

/* Returns 0 and fills *ret, or -ENOMEM. */
int conn_capacity_compute(const struct conn_capacity_in *in,
			  struct conn_capacity *ret) LB_MUST_CHECK;

/* How many source addresses of a pool serve backends of this family: 1 where the kernel chooses. */
size_t conn_capacity_n_sources(const struct conf_pool *p, uint8_t family);

const char *conn_capacity_limit_name(enum conn_capacity_limit l);
/* False: the limit bounds how many connections may come or move at once. */
bool conn_capacity_limit_holds(enum conn_capacity_limit l);
bool conn_capacity_limit_is_shared(enum conn_capacity_limit l);
