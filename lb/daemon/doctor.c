/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `lb doctor`: a table with one row per limit, or the same rows as JSON.
 *
 * Terms. The overview of conn_capacity.c says what a limit is, what a limit allows, and when it
 * binds. A row is about one limit: its present value (`now`), and what the user can type to raise
 * the limit (`raise`).
 *
 *   doctor_report()   reads the machine (host_limits.c), shares out the descriptors (fd_share.c),
 *                     computes the capacity (conn_capacity.c), and prints
 *   describe[]        for each limit the function that fills its row, describe_...()
 *   print_text()      the table, then notes, then the result as a sentence
 *   print_json()      the same rows for programs, with the names of the limits in `stats`
 *
 * A figure that cannot be read from the machine is HOST_LIMITS_NONE. The figure's row says so
 * (is_missing()), shows "-" in place of the connections that the limit allows, and gives no advice.
 * Most advice doubles the present limit, because the user's aim is not known. Advice is an exact
 * command for this machine: when a cgroup limits memory, for example, the command raises the
 * cgroup's limit.
 *
 * The limits of descriptors and memory are those of the process that runs `lb doctor`. One of the
 * notes says that lb as a service may have other limits.
 *
 * The functions here change nothing but the descriptor table of their own process: they try
 * fd_table_unshare() to see whether the system allows a thread a descriptor table of its own.
 *
 * Thread: main.
 */
#include "daemon/doctor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "daemon/conn_capacity.h"
#include "daemon/fd_share.h"
#include "daemon/fd_table.h"
#include "daemon/host_limits.h"
#include "daemon/threads.h"
#include "net/sock.h"
#include "util/json.h"
#include "util/parse.h"
#include "util/table.h"

struct row {
	char now[200];
	char raise[240]; /* "": nothing to type */
};

struct doctor {
	const struct conf *conf; /* borrows */
	struct host_limits machine;
	struct fd_share share;
	struct conn_capacity forecast;
	struct fd_need need; /* max_fds is the limit after lb has raised its soft limit */
	uint32_t n_cpus;
};

#define NOW(r, ...) (void)snprintf((r)->now, sizeof((r)->now), __VA_ARGS__)
#define RAISE(r, ...) (void)snprintf((r)->raise, sizeof((r)->raise), __VA_ARGS__)

static uint64_t twice(uint64_t n)
{
	return n > INT64_MAX / 2 ? INT64_MAX : 2 * n;
}

static uint32_t more_workers(const struct doctor *d)
{
	return d->need.n_workers > THREADS_MAX / 2 ? THREADS_MAX : 2 * d->need.n_workers;
}

/* When the machine does not have the figure, writes `what` into the row and returns true. */
static bool is_missing(uint64_t figure, const char *what, struct row *r)
{
	if (figure == HOST_LIMITS_NONE)
		NOW(r, "%s", what);
	return figure == HOST_LIMITS_NONE;
}

/* ---- one function per limit ------------------------------------------------------------------ */

/* When all threads share one descriptor table, more workers do not allow more descriptors. So the
 * row advises to raise the limit of open files. */
static void describe_one_table(const struct doctor *d, struct row *r)
{
	uint64_t most = d->machine.nr_open;

	NOW(r,
	    "%" PRIu32 " open files (ulimit -Hn) in one table for all threads, %u a connection, "
	    "%" PRIu32 " lb's own, %" PRIu32 " each of %" PRIu32 " workers' own",
	    d->need.max_fds, CONN_CAPACITY_FDS_PER_CONN, d->share.n_main, d->share.n_own,
	    d->need.n_workers);
	RAISE(r,
	      "allow close_range(2) in the seccomp profile: then each worker has so many; or a "
	      "limit of %" PRIu64 " open files",
	      most != HOST_LIMITS_NONE && d->need.max_fds < most ? most : twice(d->need.max_fds));
}

static void describe_descriptors(const struct doctor *d, struct row *r)
{
	uint64_t most = d->machine.nr_open;

	if (d->need.is_shared) {
		describe_one_table(d, r);
		return;
	}
	NOW(r,
	    "%" PRIu32 " open files (ulimit -Hn) x %" PRIu32 " workers, %u a connection, %" PRIu32
	    " a worker's own",
	    d->need.max_fds, d->need.n_workers, CONN_CAPACITY_FDS_PER_CONN, d->share.n_own);
	if (d->need.max_fds < most)
		RAISE(r,
		      "systemctl edit lb: [Service] LimitNOFILE=%" PRIu64 "; or `workers: %" PRIu32
		      "` in the file",
		      most != HOST_LIMITS_NONE ? most : twice(d->need.max_fds), more_workers(d));
	else
		RAISE(r,
		      "`workers: %" PRIu32 "` in the file; or sysctl -w fs.nr_open=%" PRIu64
		      " and systemctl edit lb: [Service] LimitNOFILE=%" PRIu64,
		      more_workers(d), twice(most), twice(most));
}

static void describe_conf(const struct doctor *d, struct row *r)
{
	if (d->conf->max_conns == 0) {
		NOW(r, "auto: what the descriptors allow");
		return;
	}
	NOW(r, "%" PRIu64 " in the file", d->conf->max_conns);
	RAISE(r, "`limits: {connections: auto}` in the file");
}

static void describe_backends(const struct doctor *d, struct row *r)
{
	size_t n = 0, n_limited = 0;

	for (size_t i = 0; i < d->conf->n_pools; i++) {
		const struct conf_pool *p = &d->conf->pools[i];
		for (size_t k = 0; k < p->n_backends; k++)
			n_limited += p->backends[k].max_conns != 0;
		n += p->n_backends;
	}
	NOW(r, "%zu of %zu backends have one", n_limited, n);
	if (n_limited > 0)
		RAISE(r, "a higher max_connections, or more backends, in the file");
}

static void describe_ports(const struct doctor *d, struct row *r)
{
	const struct host_limits *m = &d->machine;
	const struct conn_capacity *f = &d->forecast;

	if (is_missing(m->n_ports, "the port range cannot be read", r))
		return;
	LB_ASSERT(f->tightest != NULL); /* every configuration has a pool */
	NOW(r,
	    "%" PRIu64 " of ports %" PRIu64 " to %" PRIu64
	    " for each source and backend; fewest in pool %s: %" PRIu64,
	    m->n_ports, m->port_low, m->port_high, f->tightest->name, f->tightest_ports);
	RAISE(r, "%smore addresses under `source`, or more backends, in pool %s",
	      m->port_low > 1024 || m->port_high < UINT16_MAX
		      ? "sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"; "
		      : "",
	      f->tightest->name);
}

static void describe_files(const struct doctor *d, struct row *r)
{
	if (is_missing(d->machine.file_max, "fs.file-max cannot be read", r))
		return;
	NOW(r, "fs.file-max %" PRIu64 ", %" PRIu64 " in use", d->machine.file_max,
	    d->machine.files_used);
	RAISE(r, "sysctl -w fs.file-max=%" PRIu64, twice(d->machine.file_max));
}

static void describe_memory(const struct doctor *d, struct row *r)
{
	const struct host_limits *m = &d->machine;
	bool is_cgroup = m->cgroup_room < m->mem_available;
	uint64_t room = is_cgroup ? m->cgroup_room : m->mem_available;
	char text[PARSE_TEXT_MAX];

	if (is_missing(room, "/proc/meminfo cannot be read", r))
		return;
	uint32_t tls_bytes = conn_capacity_tls_bytes(d->conf);
	char tls[64] = "";
	if (tls_bytes > 0)
		(void)snprintf(tls, sizeof(tls), " (%" PRIu32 " B for TLS)", tls_bytes);
	NOW(r, "%s available %s, %u B of the kernel and %" PRIu32 " B of lb%s an idle connection",
	    parse_format_bytes(room, text), is_cgroup ? "in the cgroup" : "on the machine",
	    CONN_CAPACITY_KERNEL_BYTES, conn_capacity_user_bytes(d->conf), tls);
	if (tls_bytes >= CONN_CAPACITY_OPENSSL_BYTES)
		RAISE(r, "`tls: {records: compact}` in the file, or %s",
		      is_cgroup ? "systemctl edit lb: [Service] MemoryMax=infinity"
				: "more memory");
	else
		RAISE(r, is_cgroup ? "systemctl edit lb: [Service] MemoryMax=infinity"
				   : "more memory, or less of it for other programs");
}

static void describe_conntrack(const struct doctor *d, struct row *r)
{
	if (is_missing(d->machine.conntrack_max, "not loaded", r))
		return;
	if (d->machine.conntrack_used == 0) {
		NOW(r, "loaded, but no connection is tracked now");
		return;
	}
	NOW(r, "nf_conntrack_max %" PRIu64 ", %" PRIu64 " in use, %u a connection",
	    d->machine.conntrack_max, d->machine.conntrack_used, CONN_CAPACITY_CONNTRACK_PER_CONN);
	RAISE(r, "sysctl -w net.netfilter.nf_conntrack_max=%" PRIu64,
	      twice(d->machine.conntrack_max));
}

static void raise_queue(const struct doctor *d, struct row *r)
{
	if (d->machine.somaxconn < SOCK_BACKLOG)
		RAISE(r, "sysctl -w net.core.somaxconn=%d", SOCK_BACKLOG);
	else
		RAISE(r, "`workers: %" PRIu32 "` in the file: each has a queue", more_workers(d));
}

static void describe_accept(const struct doctor *d, struct row *r)
{
	if (is_missing(d->machine.somaxconn, "at once: net.core.somaxconn cannot be read", r))
		return;
	NOW(r, "at once: somaxconn %" PRIu64 ", lb asks for %d, for each address and worker",
	    d->machine.somaxconn, SOCK_BACKLOG);
	raise_queue(d, r);
}

static void describe_syn(const struct doctor *d, struct row *r)
{
	const struct host_limits *m = &d->machine;

	if (is_missing(m->syn_backlog, "at once: tcp_max_syn_backlog cannot be read", r))
		return;
	NOW(r, "at once: tcp_max_syn_backlog %" PRIu64 ", SYN cookies %s", m->syn_backlog,
	    m->syncookies != 0 ? "on, so that connections beyond it are still accepted" : "off");
	if (m->syncookies == 0)
		RAISE(r,
		      "sysctl -w net.ipv4.tcp_syncookies=1 "
		      "net.ipv4.tcp_max_syn_backlog=%" PRIu64,
		      twice(m->syn_backlog));
	else
		raise_queue(d, r);
}

static void describe_tcp_mem(const struct doctor *d, struct row *r)
{
	const struct host_limits *m = &d->machine;

	if (is_missing(m->tcp_mem_max, "at once: net.ipv4.tcp_mem cannot be read", r))
		return;
	NOW(r, "at once, with a page queued on either side: %" PRIu64 " pages, %" PRIu64 " in use",
	    m->tcp_mem_max, m->tcp_mem_used);
	RAISE(r, "sysctl -w net.ipv4.tcp_mem=\"%" PRIu64 " %" PRIu64 " %" PRIu64 "\"",
	      twice(m->tcp_mem_low), twice(m->tcp_mem_pressure), twice(m->tcp_mem_max));
}

static void (*const describe[CONN_CAPACITY_N])(const struct doctor *d, struct row *r) = {
	[CONN_CAPACITY_DESCRIPTORS] = describe_descriptors,
	[CONN_CAPACITY_CONF] = describe_conf,
	[CONN_CAPACITY_BACKENDS] = describe_backends,
	[CONN_CAPACITY_PORTS] = describe_ports,
	[CONN_CAPACITY_FILES] = describe_files,
	[CONN_CAPACITY_MEMORY] = describe_memory,
	[CONN_CAPACITY_CONNTRACK] = describe_conntrack,
	[CONN_CAPACITY_ACCEPT] = describe_accept,
	[CONN_CAPACITY_SYN] = describe_syn,
	[CONN_CAPACITY_TCP_MEM] = describe_tcp_mem,
};

/* ---- for a person ---------------------------------------------------------------------------- */

static void add_row(const struct doctor *d, enum conn_capacity_limit l, struct table *t)
{
	const struct conn_capacity *f = &d->forecast;
	struct row r = { 0 };

	LB_ASSERT(describe[l] != NULL);
	describe[l](d, &r);
	table_cell(t, "%s", l == f->binding ? "*" : "");
	table_cell(t, "%s", conn_capacity_limit_name(l));
	if (f->allows[l] == HOST_LIMITS_NONE)
		table_cell(t, "-");
	else
		table_cell(t, "%" PRIu64, f->allows[l]);
	table_cell(t, "%s", r.now);
	table_cell(t, "%s", r.raise);
}

/* How many backends have health checks. */
static size_t n_checked(const struct conf *conf)
{
	size_t n = 0;

	for (size_t i = 0; i < conf->n_pools; i++)
		if (conf->pools[i].health.type != CONF_CHECK_NONE)
			n += conf->pools[i].n_backends;
	return n;
}

static void print_text(const struct doctor *d, struct text *out)
{
	static const char *const header[] = { "", "LIMIT", "ALLOWS", "NOW", "TO RAISE IT" };
	const struct conn_capacity *f = &d->forecast;
	struct table *t = table_new(ARRAY_SIZE(header), header);

	if (t == NULL) {
		out->failed = true;
		return;
	}
	table_align_right(t, 2);
	for (enum conn_capacity_limit l = 0; l < CONN_CAPACITY_N; l++)
		add_row(d, l, t);
	table_print(t, out);
	table_free(t);
	text_addf(out,
		  "note: %" PRIu32 " workers on %" PRIu32 " CPUs; how many connections can be busy "
		  "at the same time depends on their traffic\n"
		  "note: the limits of descriptors and memory are those of this shell\n",
		  d->need.n_workers, d->n_cpus);
	if (n_checked(d->conf) > d->share.max_checks)
		text_addf(out,
			  "note: %zu backends are checked, at most %" PRIu32
			  " at a time because of the limit of open files; the other checks wait\n",
			  n_checked(d->conf), d->share.max_checks);
	if (d->machine.cgroup_cpu_milli != HOST_LIMITS_NONE)
		text_addf(out,
			  "note: the control group grants the time of %" PRIu64 ".%03" PRIu64
			  " CPUs, which `workers: auto` rounds up\n",
			  d->machine.cgroup_cpu_milli / 1000, d->machine.cgroup_cpu_milli % 1000);
	text_addf(out, "%s: %" PRIu64 " connections, bound by %s\n", d->conf->file, f->n_conns,
		  conn_capacity_limit_name(f->binding));
}

/* ---- for a program --------------------------------------------------------------------------- */

static void add_limit(const struct doctor *d, enum conn_capacity_limit l, struct json *j)
{
	const struct conn_capacity *f = &d->forecast;
	struct row r = { 0 };

	LB_ASSERT(describe[l] != NULL);
	describe[l](d, &r);
	json_object_begin(j);
	json_kv_string(j, "name", conn_capacity_limit_name(l));
	json_kv_string(j, "kind", conn_capacity_limit_holds(l) ? "held" : "at_once");
	json_key(j, "allows");
	if (f->allows[l] == HOST_LIMITS_NONE)
		json_null(j);
	else
		json_uint(j, f->allows[l]);
	json_kv_bool(j, "binds", l == f->binding);
	json_kv_string(j, "now", r.now);
	json_kv_string(j, "raise", r.raise);
	json_object_end(j);
}

static void print_json(const struct doctor *d, struct text *out)
{
	struct json j = JSON_INIT;

	json_object_begin(&j);
	json_kv_string(&j, "file", d->conf->file);
	json_kv_uint(&j, "connections", d->forecast.n_conns);
	json_kv_string(&j, "bound_by", conn_capacity_limit_name(d->forecast.binding));
	json_kv_uint(&j, "workers", d->need.n_workers);
	json_kv_string(&j, "descriptor_tables", d->need.is_shared ? "shared" : "own");
	json_kv_uint(&j, "checks", n_checked(d->conf));
	json_kv_uint(&j, "checks_at_once", d->share.max_checks);
	json_kv_uint(&j, "cpus", d->n_cpus);
	json_key(&j, "cpu_quota_milli");
	if (d->machine.cgroup_cpu_milli == HOST_LIMITS_NONE)
		json_null(&j);
	else
		json_uint(&j, d->machine.cgroup_cpu_milli);
	json_key(&j, "limits");
	json_array_begin(&j);
	for (enum conn_capacity_limit l = 0; l < CONN_CAPACITY_N; l++)
		add_limit(d, l, &j);
	json_array_end(&j);
	json_object_end(&j);
	if (json_is_ok(&j))
		text_add(out, text_slice(&j.out));
	else
		out->failed = true;
	text_add(out, SLICE("\n"));
	json_deinit(&j);
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* The limit of open files that lb will have: lb raises its soft limit to the hard limit, and the
 * kernel allows no more than fs.nr_open. */
static uint32_t max_fds_of(const struct host_limits *m)
{
	uint64_t n = m->nofile_hard < m->nr_open ? m->nofile_hard : m->nr_open;

	return n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
}

int doctor_report(const struct conf *conf, const char *root, bool is_json, struct text *out)
{
	struct doctor d = { .conf = conf };

	host_limits_read(root, &d.machine);
	d.n_cpus = threads_n_cpus();
	d.need = (struct fd_need){
		.n_workers = threads_count(conf->workers, &d.machine),
		.n_binds = (uint32_t)conf_n_binds(conf),
		.max_fds = max_fds_of(&d.machine),
		.is_shared = fd_table_unshare() < 0,
	};
	(void)fd_share_out(&d.need, &d.share); /* when the limit is too low, max_sessions is 0 */
	struct conn_capacity_in in = {
		.machine = &d.machine,
		.conf = conf,
		.n_workers = d.need.n_workers,
		.worker_conns = d.share.max_sessions,
	};
	int r = conn_capacity_compute(&in, &d.forecast);
	if (r < 0)
		return r;
	if (is_json)
		print_json(&d, out);
	else
		print_text(&d, out);
	return out->failed ? -ENOMEM : 0;
}
