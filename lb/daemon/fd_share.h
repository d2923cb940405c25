/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Share: how the open files that lb may have are shared out among main, workers, pipes and checks.
 *
 * The functions only calculate: they make no system call and keep no state. Thread: main. Layer:
 * daemon.
 */

#include <stdbool.h>
#include <stdint.h>

#include "util/err.h"

#define FDS_PER_SESSION 2

/* What decides how the open files that lb may have are shared out. */
struct fd_need {
	uint32_t n_workers;
	uint32_t n_binds; /* addresses to listen on; each worker has a socket for each address */
	uint32_t max_fds; /* the limit of open files, which holds for each table */
	bool is_shared; /* all threads share one table, because the system allows no more tables */
};

/* How the open files are shared out. */
struct fd_share {
	uint32_t n_needed; /* the least limit of open files with which lb can run */
	uint32_t n_own;    /* a worker's descriptors that are not a session's */
	/* descriptors of main and of the admin socket's clients; in one table, also of the health
	 * checks */
	uint32_t n_main;
	uint32_t worker_fds;   /* a worker's descriptors for its sessions and listening sockets */
	uint32_t max_sessions; /* sessions of a worker; 0: the limit of open files is too low */
	uint32_t max_pipes;    /* pipes of a worker */
	uint32_t max_checks;   /* health checks that may be under way at once */
};

/* Shares out need->max_fds open files. Returns false when the limit is too low; ret->n_needed says
 * how high it must be. */
bool fd_share_out(const struct fd_need *need, struct fd_share *ret);

/* As fd_share_out(), but returns 0, or -EMFILE with the reason in `e` instead of false. */
int fd_share_fit(const struct fd_need *need, struct fd_share *ret, struct err *e);
