/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Status: a snapshot of all figures, as plain numbers and text.
 *
 * daemon/, which knows the workers, fills a snapshot; admin/ writes it as JSON, as Prometheus text
 * or as tables. Strings are borrowed: they live until the snapshot's user has returned to the loop.
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

/* A local address that a pool connects from. */
struct status_source {
	char text[ADDR_TEXT_MAX]; /* without a port; "default" where the kernel chooses it */
};

struct status_backend {
	const char *name, *address, *state; /* state: up down draining maint checking */
	bool is_removed;                    /* no longer in the file, but still has connections */
	uint32_t weight;
	uint64_t max_conns; /* 0: no limit */
	uint64_t active, total, failed, bytes_in, bytes_out;
	uint64_t check_failures;
	const char *check_type;              /* "tcp" "http" "websocket"; NULL: no checks */
	const char *check_result;            /* "101 in 1.2ms"; "" before the first check */
	uint64_t since_s;                    /* seconds in this health state */
	size_t n_sources;                    /* 0: how many ports are used is not known */
	const struct status_source *sources; /* borrows from status_pool.sources */
	/* Local ports at each of the sources; `ports_used` is an estimate. */
	uint64_t ports_used, ports_limit;
};

/* The sums of backends that had one name and are gone. */
struct status_past {
	const char *name;
	struct backend_sums sums;
};

struct status_pool {
	const char *name, *balance;
	uint64_t active;
	struct backend_sums sums;           /* of all backends that the pool has and had */
	uint64_t responses[POOL_N_CLASSES]; /* to clients, from 1xx on */
	uint64_t ends[POOL_MAX_ENDS];       /* in the order of status.ends */
	struct metric_hist_total handshake, response;
	size_t n_past;
	struct status_past *past; /* owns; names may be equal, also to a backend's name */
	size_t n_backends;
	struct status_backend *backends; /* owns */
	struct status_source *sources;   /* owns: IPv4, IPv6, then "default" */
};

/* An end reason, and how many connections ended for it. */
struct status_end {
	const char *word;
	uint64_t n;             /* since the start, of all pools, also of those that are gone */
	uint64_t n_before_pool; /* those of `n` that ended before their pool was known */
};

/* An outcome ("completed"), and how many requests had it. */
struct status_outcome {
	const char *word;
	uint64_t n;
};

/* A counter that is not one of the above: "frames_in", … */
struct status_counter {
	const char *name; /* as in JSON; lb_NAME_total in Prometheus */
	const char *help;
	uint64_t n;
};

/* What the kernel counts for the process. A figure that the kernel does not give is 0. */
struct status_process {
	double cpu_s, start_time_s; /* start: since 1970 */
	uint64_t resident_bytes, virtual_bytes;
	uint64_t open_fds, max_fds; /* of all descriptor tables */
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
		uint64_t forecast;       /* how many can be held, see daemon/doctor.h */
		const char *forecast_by; /* the limit that binds first */
	} connections;
	size_t n_workers;
	struct status_worker *workers; /* owns */
	size_t n_listeners;
	struct status_listener *listeners; /* owns */
	size_t n_pools;
	size_t n_past_pools;       /* in `pools` after the first n_pools: left the file */
	struct status_pool *pools; /* owns */
	size_t n_ends;
	struct status_end *ends; /* owns */
	size_t n_outcomes;
	struct status_outcome *outcomes; /* owns */
	size_t n_counters;
	struct status_counter *counters;    /* owns */
	uint64_t responses[POOL_N_CLASSES]; /* by lb itself, before a pool was known */
	struct metric_hist_total handshake; /* of upgrades and in mode tcp */
	struct metric_hist_total response;  /* of plain requests */
	struct status_process process;
	struct {
		bool is_ok;
		double at_s; /* since 1970 */
	} reload;            /* the last one, or the start */
};

/* Frees the arrays. */
void status_deinit(struct status *s);
