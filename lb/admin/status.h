/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Status: a snapshot of all figures, as plain numbers and text.
 *
 * daemon/, which knows the workers, fills a snapshot; admin/ writes it as JSON, as Prometheus text
 * or as tables. Strings are borrowed: they are valid until the function that the loop has called
 * returns to the loop.
 *
 * Thread: main. Layer: admin.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "balance/backend.h"
#include "balance/pool.h"
#include "util/metric.h"
#include "util/sockaddr.h"

struct status_worker {
	uint32_t id;
	uint64_t active, accepted;
	uint64_t limit; /* connections that the worker's descriptor table can hold */
};

struct status_listener {
	const char *name;
	const char *bind; /* the address, with the port that the kernel chose for port 0 */
	uint64_t active, accepted, rejected;
};

/* A certificate in force, once for each listener that has it. */
struct status_cert {
	const char *listener, *file;
	size_t n_names;
	char *const *names;                /* DNS names that it bears */
	int64_t not_before_s, not_after_s; /* since 1970 */
	int64_t days_left;                 /* rounded down: negative once it has expired */
};

/* A local address that a pool connects from. */
struct status_source {
	char text[ADDR_TEXT_MAX]; /* without a port; "default" where the kernel chooses it */
};

struct status_backend {
	const char *name, *address, *state; /* state: up down draining maint checking */
	bool is_removed; /* the backend is not in the file any more, but has connections */
	uint32_t weight;
	uint64_t max_conns; /* 0: no limit */
	uint64_t active, total, failed, bytes_in, bytes_out;
	uint64_t check_failures;
	const char *check_type;   /* "tcp" "http" "websocket"; NULL: no checks */
	const char *check_result; /* "101 in 1.2ms"; "" before the first check */
	uint64_t since_s;         /* seconds since the health state changed */
	size_t n_sources;         /* number of `sources`; 0: the use of ports is not known */
	const struct status_source *sources; /* borrows from status_pool.sources */
	/* For each source: local ports that are used (an estimate), and that can be used. */
	uint64_t ports_used, ports_limit;
};

/* The sums over the backends that had this name and are gone. */
struct status_past {
	const char *name;
	struct backend_sums sums;
};

struct status_pool {
	const char *name, *balance;
	uint64_t active;
	struct backend_sums sums;           /* of all backends that the pool has or had */
	uint64_t responses[POOL_N_CLASSES]; /* responses to clients by class, from 1xx on */
	uint64_t ends[POOL_MAX_ENDS]; /* connections by end reason, in the order of status.ends */
	struct metric_hist_total handshake, response;
	size_t n_past;
	struct status_past *past; /* owns; names may occur twice, and may be a backend's name */
	size_t n_backends;
	struct status_backend *backends; /* owns */
	struct status_source *sources;   /* owns; first IPv4, then IPv6, last "default" */
};

/* An end reason, and how many connections ended for it. */
struct status_end {
	const char *word;
	uint64_t n;             /* since lb started, of all pools, also of pools that are gone */
	uint64_t n_before_pool; /* connections of `n` that ended before their pool was known */
};

/* An outcome ("completed"), and how many requests had it. */
struct status_outcome {
	const char *word;
	uint64_t n;
};

/* A counter of lb as a whole, as "frames_in". */
struct status_counter {
	const char *name; /* the name in JSON; in Prometheus it is lb_NAME_total */
	const char *help;
	uint64_t n;
};

/* What the kernel counts for the process. A figure that the kernel does not give is 0. */
struct status_process {
	double cpu_s, start_time_s; /* start_time_s: seconds since 1970 */
	uint64_t resident_bytes, virtual_bytes;
	uint64_t open_fds, max_fds; /* sums over all descriptor tables */
	uint64_t n_threads;
};

struct status {
	const char *version, *engine;
	const char *tables; /* descriptor tables: "own" (one for each worker) or "shared" */
	const char *http;   /* address of the HTTP admin port; NULL: none */
	int pid;
	uint64_t uptime_s, generation;
	struct {
		uint64_t active, handshaking, total, limit;
		uint64_t forecast;       /* how many connections lb can hold, see daemon/doctor.h */
		const char *forecast_by; /* the name of the limit that is reached first */
	} connections;
	size_t n_workers;
	struct status_worker *workers; /* owns */
	size_t n_listeners;
	struct status_listener *listeners; /* owns */
	size_t n_certs;
	struct status_cert *certs; /* owns */
	size_t n_pools;
	size_t n_past_pools; /* past pools (not in the file), in `pools` after the first n_pools */
	struct status_pool *pools; /* owns */
	size_t n_ends;
	struct status_end *ends; /* owns */
	size_t n_outcomes;
	struct status_outcome *outcomes; /* owns */
	size_t n_counters;
	struct status_counter *counters;    /* owns */
	uint64_t responses[POOL_N_CLASSES]; /* lb's own responses before a pool was known */
	struct metric_hist_total handshake; /* upgrades and mode tcp: until the tunnel stood */
	struct metric_hist_total response;  /* plain requests: until the response head had come */
	struct status_process process;
	struct {
		bool is_ok;
		double at_s; /* seconds since 1970 */
	} reload;            /* the last reload, or the start when there was none */
};

/* Frees the arrays of a snapshot. */
void status_deinit(struct status *s);
