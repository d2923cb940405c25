/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Limits: what the machine allows, read from /proc and /sys as plain numbers.
 *
 * A file that is not there or cannot be read is no error: its figure is HOST_LIMITS_NONE, "no limit
 * is known", or 0 for a figure that counts what is used.
 *
 * Thread: main. Layer: daemon.
 */

#include <stdint.h>

#define HOST_LIMITS_NONE UINT64_MAX

struct host_limits {
	/* descriptors */
	uint64_t nofile_soft, nofile_hard; /* of one table: RLIMIT_NOFILE */
	uint64_t nr_open;                  /* the most that nofile_hard may be raised to */
	uint64_t file_max, files_used;     /* open files of the whole system */

	/* bytes */
	uint64_t mem_available;             /* of the machine */
	uint64_t cgroup_limit, cgroup_room; /* of the tightest cgroup above this process */

	/* thousandths of a CPU: what the tightest cgroup above this process grants */
	uint64_t cgroup_cpu_milli;

	/* pages of page_bytes: what all TCP sockets together may queue, and what they queue now */
	uint64_t tcp_mem_low, tcp_mem_pressure, tcp_mem_max, tcp_mem_used;
	uint64_t page_bytes;

	/* local ports for connections that lb makes */
	uint64_t port_low, port_high;
	uint64_t n_ports; /* between them, less the reserved ones */

	/* queues of a listening socket */
	uint64_t somaxconn, syn_backlog, syncookies;

	/* HOST_LIMITS_NONE and 0 when the module nf_conntrack is not loaded */
	uint64_t conntrack_max, conntrack_used;
};

/* Reads everything below the directory `root`, which is "" for the machine itself. */
void host_limits_read(const char *root, struct host_limits *ret);
