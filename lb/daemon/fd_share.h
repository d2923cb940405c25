/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Share: how the open files that lb may have are shared out among main, workers, pipes and checks.
 *
 * Pure arithmetic: no system call, no state. Thread: main. Layer: daemon.
 */

#include <stdbool.h>
#include <stdint.h>

#include "util/err.h"

#define FDS_PER_SESSION 2

/* What decides how the open files that lb may have are shared out. */
struct fd_need {
	uint32_t n_workers;
	uint32_t n_binds; /* addresses that listen: each worker has a socket for each */
	uint32_t max_fds; /* the limit of open files, which holds for each table */
	bool is_shared;   /* all threads share one table: the system allows no others */
};

/* How the open files are shared out. */
struct fd_share {
	uint32_t n_needed;   /* open files that the limit must allow at the least */
	uint32_t n_own;      /* a worker's descriptors that are not a session's */
	uint32_t n_main;     /* descriptors of main; in one table also those that all threads use */
	uint32_t worker_fds; /* a worker's descriptors for its sessions and listening sockets */
	uint32_t max_sessions; /* of a worker beside its listening sockets */
	uint32_t max_pipes;    /* of a worker */
	uint32_t max_checks;   /* health checks that main may have under way */
};

/* Shares out `max_fds` open files. False: `max_fds` is less than ret->n_needed. */
bool fd_share_out(const struct fd_need *need, struct fd_share *ret);

/* As fd_share_out(), but returns 0, or -EMFILE with the reason in `e` instead of false. */
int fd_share_fit(const struct fd_need *need, struct fd_share *ret, struct err *e);
