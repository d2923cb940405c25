/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Host limits: what the machine allows, read from /proc and /sys as plain numbers.
 *
 * A file that is missing or cannot be read is no error: its figure is HOST_LIMITS_NONE ("no limit
 * is known"), or 0 when the figure counts what is used.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdint.h>

#define HOST_LIMITS_NONE UINT64_MAX

struct host_limits {
	/* descriptors */
	uint64_t nofile_soft, nofile_hard; /* RLIMIT_NOFILE, which holds for each table */
	uint64_t nr_open;                  /* fs.nr_open, the upper bound of nofile_hard */
	uint64_t file_max, files_used;     /* open files of the whole system */

	/* bytes */
	uint64_t mem_available; /* memory of the machine that is available */
	/* limit and rest of the cgroup that has the least memory left, among the cgroup of this
	 * process and those above that cgroup */
	uint64_t cgroup_limit, cgroup_room;

	/* thousandths of a CPU that this process may use by the tightest quota of its cgroups */
	uint64_t cgroup_cpu_milli;

	/* pages of page_bytes: the three limits of tcp_mem for what all TCP sockets together have
	 * queued, and what they have queued now */
	uint64_t tcp_mem_low, tcp_mem_pressure, tcp_mem_max, tcp_mem_used;
	uint64_t page_bytes;

	/* local ports for connections that lb makes */
	uint64_t port_low, port_high;
	uint64_t n_ports; /* ports from port_low to port_high that are not reserved */

	/* limits of a listening socket's queues */
	uint64_t somaxconn, syn_backlog, syncookies;

	/* entries of the conntrack table; HOST_LIMITS_NONE and 0 when the module nf_conntrack is
	 * not loaded */
	uint64_t conntrack_max, conntrack_used;
};

/* Reads everything below the directory `root`, which is "" for the machine itself. */
void host_limits_read(const char *root, struct host_limits *ret);
