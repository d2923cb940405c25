/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Capacity: how many connections a machine and a file can hold, and which limit binds first. The
 * log, `lb doctor` and `stats` call the figure a forecast.
 *
 * The capacity is computed from three inputs and nothing else: what the machine allows
 * (daemon/host_limits.h), how many sessions a worker's descriptor table has room for
 * (daemon/fd_share.h), and the configuration.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"
#include "daemon/host_limits.h"

/*
 * How many bytes of memory a proxied connection takes while it is idle: memory of lb (the session
 * record and its place in tables), and memory of the kernel (two sockets, two descriptors, what the
 * engine keeps for each). Measured on Linux 6.18 as the growth of the active objects in
 * /proc/slabinfo, with 8,000 idle connections through lb less 8,000 idle connections without lb
 * (`scripts/bench --only idle` prints this figure): 8,900 B with io_uring, 7,400 B with epoll. When
 * clients and backends run on the same machine, their sockets take as much again. TCP memory
 * (tcp_mem) is not counted, because an idle socket holds no page of it: with 32,000 idle sockets
 * mem is 0 in /proc/net/sockstat.
 */
#define CONN_CAPACITY_USER_BYTES 400u
#define CONN_CAPACITY_KERNEL_BYTES 9000u

/* What TLS adds to the user's memory while the connection is idle: an SSL object of OpenSSL's 3.0,
 * measured, or lb's own record layer, struct tls (net/tls.h). */
#define CONN_CAPACITY_OPENSSL_BYTES 15360u
#define CONN_CAPACITY_COMPACT_BYTES 256u

#define CONN_CAPACITY_FDS_PER_CONN 2u       /* the client's socket and the backend's socket */
#define CONN_CAPACITY_CONNTRACK_PER_CONN 2u /* the client's TCP connection and the backend's */

/*
 * Every limit, with three properties: its name in the log and in JSON; whether the limit bounds how
 * many connections can be open (false: how many may come or move at once); and whether other
 * programs use the limit up, too, so that the rest changes even while lb is idle. Of equal limits
 * the first one binds.
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
	uint64_t worker_conns; /* connections that fit into a worker's table; 0: lb cannot start */
	uint64_t n_active;     /* connections that are open now; the capacity includes them */
};

struct conn_capacity {
	uint64_t allows[CONN_CAPACITY_N]; /* connections, by limit; HOST_LIMITS_NONE: no limit */
	enum conn_capacity_limit binding; /* the smallest limit that bounds open connections */
	uint64_t n_conns;                 /* connections that the binding limit allows */
	const struct conf_pool *tightest; /* borrows from conf: the pool with the fewest ports */
	uint64_t tightest_ports;
};

/* Returns 0 and fills *ret, or -ENOMEM. */
int conn_capacity_compute(const struct conn_capacity_in *in,
			  struct conn_capacity *ret) LB_MUST_CHECK;

/* From how many source addresses the pool connects to backends of this family. When the pool has no
 * `source` of the family, the kernel chooses one address, so the answer is 1. */
size_t conn_capacity_n_sources(const struct conf_pool *p, uint8_t family);

/* What an idle connection takes of the user's memory: one of the listener that takes the most. */
uint32_t conn_capacity_user_bytes(const struct conf *c);

/* How much of that is for TLS; 0: no listener has it. */
uint32_t conn_capacity_tls_bytes(const struct conf *c);

const char *conn_capacity_limit_name(enum conn_capacity_limit l);
/* Whether the limit bounds how many connections can be open. False: the limit bounds how many may
 * come or move at once. */
bool conn_capacity_limit_holds(enum conn_capacity_limit l);
bool conn_capacity_limit_is_shared(enum conn_capacity_limit l);
