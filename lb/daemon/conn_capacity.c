/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many connections fit, and which limit binds first.
 *
 * Terms. A limit is one row of CONN_CAPACITY_LIMITS. A limit holds when it bounds how many
 * connections can be open; the other limits bound how many may come or move at once. A limit is
 * shared when other programs use it up, too. A limit binds when it is the smallest of those that
 * hold.
 *
 * There is one function per limit, allow_...() or fill_...(), from the inputs to a number of
 * connections. conn_capacity_compute() calls each of them and picks the binding limit. The
 * functions stand in this order: limits of the configuration (limits.connections, max_connections,
 * local ports), limits of the machine (descriptors, files, memory, conntrack), and limits of how
 * many connections may come or move at once (accept queue, SYN queue, TCP memory).
 *
 * Local ports need the most code. A connection from lb to a backend needs a local address and a
 * local port that no other connection to the same backend has together. So count_pairs() counts
 * the pairs of a local address and a backend's address over all pools. When several pools connect
 * to the same backend from the same source, the pair is counted once. Each pair allows as many
 * connections as there are local ports.
 *
 * Sums and products saturate at HOST_LIMITS_NONE ("no limit is known"), which is larger than any
 * other number, so an unknown limit never binds.
 *
 * Nothing here reads the machine: host_limits.c has read its limits, and fd_share.c has shared out
 * the descriptors. So a test can give the figures of any machine.
 *
 * Thread: main.
 */
#include "daemon/conn_capacity.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net/sock.h"

static uint64_t sum(uint64_t a, uint64_t b)
{
	return a > HOST_LIMITS_NONE - b ? HOST_LIMITS_NONE : a + b;
}

static uint64_t product(uint64_t a, uint64_t b)
{
	return b != 0 && a > HOST_LIMITS_NONE / b ? HOST_LIMITS_NONE : a * b;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* How many connections fit when `used` of `limit` is in use. `n_active` connections are open, and
 * `used` includes what they take. Each further connection takes `each` of the rest. */
static uint64_t room(uint64_t limit, uint64_t used, uint64_t each, uint64_t n_active)
{
	LB_ASSERT(each > 0);
	if (limit == HOST_LIMITS_NONE)
		return HOST_LIMITS_NONE;
	return sum(limit > used ? (limit - used) / each : 0, n_active);
}

/* ---- what the file says ---------------------------------------------------------------------- */

static uint64_t allow_conf(const struct conn_capacity_in *in)
{
	return in->conf->max_conns != 0 ? in->conf->max_conns : HOST_LIMITS_NONE;
}

/* How many connections the pool's backends allow together. A backend of weight 0 gets no new
 * connections, so its max_connections is not counted. */
static uint64_t backends_of(const struct conf_pool *p)
{
	uint64_t n = 0;

	for (size_t i = 0; i < p->n_backends; i++) {
		const struct conf_backend *b = &p->backends[i];
		if (b->weight != 0)
			n = sum(n, b->max_conns != 0 ? b->max_conns : HOST_LIMITS_NONE);
	}
	return n;
}

static uint64_t allow_backends(const struct conn_capacity_in *in)
{
	uint64_t n = 0;

	for (size_t i = 0; i < in->conf->n_pools; i++)
		n = sum(n, backends_of(&in->conf->pools[i]));
	return n;
}

/* ---- ports ----------------------------------------------------------------------------------- */

size_t conn_capacity_n_sources(const struct conf_pool *p, uint8_t family)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n_sources; i++)
		n += p->sources[i].family == family;
	return n > 0 ? n : 1;
}

/* A backend's address in one pool. Another pool with the same address uses the same local ports if
 * the pools have a source in common. */
struct target {
	const struct addr *addr;
	const struct conf_pool *pool;
};

static int by_addr(const void *pa, const void *pb)
{
	const struct target *a = pa, *b = pb;

	return addr_compare(a->addr, b->addr);
}

/* Whether lb may connect to the target from `source` (NULL: an address that the kernel chooses). */
static bool is_source_of(const struct target *t, const struct addr *source)
{
	bool has_own = false;

	for (size_t i = 0; i < t->pool->n_sources; i++) {
		const struct addr *a = &t->pool->sources[i];
		if (a->family != t->addr->family)
			continue;
		if (source != NULL && addr_eq(a, source))
			return true;
		has_own = true;
	}
	return source == NULL && !has_own;
}

/* How many sources of the target t[0] are not a source of any of the `n` targets in front of t[0].
 * All these targets have the same address as t[0]. */
static uint64_t n_new_sources(const struct target *t, size_t n)
{
	uint64_t count = 0;

	for (size_t i = 0; i <= t->pool->n_sources; i++) {
		const struct addr *source = i < t->pool->n_sources ? &t->pool->sources[i] : NULL;
		bool is_new = is_source_of(t, source) &&
			      (source == NULL || source->family == t->addr->family);
		for (size_t k = 1; k <= n && is_new; k++)
			is_new = !is_source_of(t - k, source);
		count += is_new;
	}
	return count;
}

static size_t list_targets(const struct conf *conf, struct target *targets)
{
	size_t n = 0;

	for (size_t i = 0; i < conf->n_pools; i++) {
		const struct conf_pool *p = &conf->pools[i];
		for (size_t k = 0; k < p->n_backends; k++) {
			if (p->backends[k].weight == 0)
				continue;
			if (targets != NULL)
				targets[n] = (struct target){ &p->backends[k].addr, p };
			n++;
		}
	}
	return n;
}

/* Counts the pairs of a local address and a backend's address. Each pair can use every local port
 * for one connection. */
static int count_pairs(const struct conf *conf, uint64_t *ret)
{
	size_t n = list_targets(conf, NULL), n_same = 0;
	struct target *t = calloc(n + 1, sizeof(*t));
	uint64_t pairs = 0;

	if (t == NULL)
		return -ENOMEM;
	size_t n_listed = list_targets(conf, t);
	LB_ASSERT(n_listed == n);
	qsort(t, n, sizeof(*t), by_addr);
	for (size_t i = 0; i < n; i++) {
		n_same = i > 0 && by_addr(&t[i - 1], &t[i]) == 0 ? n_same + 1 : 0;
		pairs += n_new_sources(&t[i], n_same);
	}
	free(t);
	*ret = pairs;
	return 0;
}

static uint64_t pairs_of(const struct conf_pool *p)
{
	uint64_t n = 0;

	for (size_t i = 0; i < p->n_backends; i++)
		if (p->backends[i].weight != 0)
			n += conn_capacity_n_sources(p, p->backends[i].addr.family);
	return n;
}

static int fill_ports(const struct conn_capacity_in *in, struct conn_capacity *f)
{
	uint64_t each = in->machine->n_ports, pairs;
	int r = count_pairs(in->conf, &pairs);

	if (r < 0)
		return r;
	f->allows[CONN_CAPACITY_PORTS] =
		each == HOST_LIMITS_NONE ? HOST_LIMITS_NONE : product(pairs, each);
	for (size_t i = 0; i < in->conf->n_pools; i++) {
		const struct conf_pool *p = &in->conf->pools[i];
		uint64_t n = product(pairs_of(p), each);
		if (f->tightest == NULL || n < f->tightest_ports) {
			f->tightest = p;
			f->tightest_ports = n;
		}
	}
	return 0;
}

/* ---- what the machine says ------------------------------------------------------------------- */

static uint64_t allow_descriptors(const struct conn_capacity_in *in)
{
	return product(in->worker_conns, in->n_workers);
}

static uint64_t allow_files(const struct conn_capacity_in *in)
{
	return room(in->machine->file_max, in->machine->files_used, CONN_CAPACITY_FDS_PER_CONN,
		    in->n_active);
}

uint32_t conn_capacity_tls_bytes(const struct conf *c)
{
	uint32_t most = 0;

	for (size_t i = 0; i < c->n_listeners; i++) {
		const struct conf_tls *t = &c->listeners[i].tls;
		uint32_t bytes = !t->is_on                            ? 0
				 : t->records == CONF_RECORDS_COMPACT ? CONN_CAPACITY_COMPACT_BYTES
								      : CONN_CAPACITY_OPENSSL_BYTES;
		most = bytes > most ? bytes : most;
	}
	return most;
}

uint32_t conn_capacity_user_bytes(const struct conf *c)
{
	return CONN_CAPACITY_USER_BYTES + conn_capacity_tls_bytes(c);
}

static uint64_t allow_memory(const struct conn_capacity_in *in)
{
	uint64_t free_bytes = least(in->machine->mem_available, in->machine->cgroup_room);

	return room(free_bytes, 0, conn_capacity_user_bytes(in->conf) + CONN_CAPACITY_KERNEL_BYTES,
		    in->n_active);
}

/* The conntrack module tracks no connection before a firewall rule of this network namespace needs
 * tracking. So as long as no connection is tracked, there is no limit. */
static uint64_t allow_conntrack(const struct conn_capacity_in *in)
{
	if (in->machine->conntrack_used == 0)
		return HOST_LIMITS_NONE;
	return room(in->machine->conntrack_max, in->machine->conntrack_used,
		    CONN_CAPACITY_CONNTRACK_PER_CONN, in->n_active);
}

/* ---- at once --------------------------------------------------------------------------------- */

static uint64_t n_listening(const struct conn_capacity_in *in)
{
	return conf_n_binds(in->conf) * (uint64_t)in->n_workers;
}

static uint64_t queue_len(const struct conn_capacity_in *in)
{
	return least(in->machine->somaxconn, SOCK_BACKLOG);
}

static uint64_t allow_accept(const struct conn_capacity_in *in)
{
	return product(queue_len(in), n_listening(in));
}

/*
 * A listening socket has room for as many half-open connections as its accept queue has for
 * complete ones (queue_len()). Without SYN cookies the kernel keeps the last quarter of
 * tcp_max_syn_backlog for peers that it knows (tcp_conn_request() in the kernel), so other peers
 * have three quarters.
 */
static uint64_t allow_syn(const struct conn_capacity_in *in)
{
	uint64_t each = queue_len(in), max = in->machine->syn_backlog;

	if (in->machine->syncookies == 0 && max != HOST_LIMITS_NONE)
		each = least(each, max - max / 4);
	return product(each, n_listening(in));
}

/* How many connections can have bytes queued on both sockets at once. An idle socket holds no page
 * of TCP memory, and a socket with bytes queued holds at least one, so a connection counts two. */
static uint64_t allow_tcp_mem(const struct conn_capacity_in *in)
{
	return room(in->machine->tcp_mem_max, in->machine->tcp_mem_used, 2, 0);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	bool holds, is_shared;
} traits[CONN_CAPACITY_N] = {
#define X(id, name, holds, is_shared) [CONN_CAPACITY_##id] = { name, holds, is_shared },
	CONN_CAPACITY_LIMITS(X)
#undef X
};

int conn_capacity_compute(const struct conn_capacity_in *in, struct conn_capacity *ret)
{
	struct conn_capacity f = {
		.allows = {
			[CONN_CAPACITY_DESCRIPTORS] = allow_descriptors(in),
			[CONN_CAPACITY_CONF] = allow_conf(in),
			[CONN_CAPACITY_BACKENDS] = allow_backends(in),
			[CONN_CAPACITY_FILES] = allow_files(in),
			[CONN_CAPACITY_MEMORY] = allow_memory(in),
			[CONN_CAPACITY_CONNTRACK] = allow_conntrack(in),
			[CONN_CAPACITY_ACCEPT] = allow_accept(in),
			[CONN_CAPACITY_SYN] = allow_syn(in),
			[CONN_CAPACITY_TCP_MEM] = allow_tcp_mem(in),
		},
	};
	LB_ASSERT(in->n_workers > 0);
	int r = fill_ports(in, &f);

	if (r < 0)
		return r;
	LB_ASSERT((f.tightest != NULL) == (in->conf->n_pools > 0));
	for (enum conn_capacity_limit l = 0; l < CONN_CAPACITY_N; l++)
		if (traits[l].holds && f.allows[l] < f.allows[f.binding])
			f.binding = l;
	LB_ASSERT(traits[f.binding].holds);
	f.n_conns = f.allows[f.binding];
	*ret = f;
	return 0;
}

const char *conn_capacity_limit_name(enum conn_capacity_limit l)
{
	LB_ASSERT(l < CONN_CAPACITY_N);
	return traits[l].name;
}

bool conn_capacity_limit_holds(enum conn_capacity_limit l)
{
	LB_ASSERT(l < CONN_CAPACITY_N);
	return traits[l].holds;
}

bool conn_capacity_limit_is_shared(enum conn_capacity_limit l)
{
	LB_ASSERT(l < CONN_CAPACITY_N);
	return traits[l].is_shared;
}
