/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What sim.c and engine.c share. */

#include "sim.h"

#define SIM_MAX_FDS 1024
#define SIM_FIRST_FD 3
#define SIM_MAX_LOOPS 16
#define SIM_MAX_ACTORS 256
#define SIM_BACKLOG 64

enum sim_kind { SIM_FREE, SIM_UNBOUND, SIM_STREAM, SIM_LISTEN };

struct sim_sock {
	enum sim_kind kind;
	uint32_t generation;
	int peer; /* -1: none (any more) */
	struct addr local, remote;
	uint8_t *rx; /* owns: `window` bytes */
	size_t n_rx;
	int error;   /* to be found by the next call */
	bool is_eof; /* the peer has sent its FIN */
	bool is_write_shut;
	bool is_closed_rx;
	bool is_broken;         /* the error was found */
	bool is_resetting;      /* close(2) resets */
	bool is_orphan;         /* the peer has closed */
	int queue[SIM_BACKLOG]; /* SIM_LISTEN: accepted by the kernel */
	size_t n_queue;
};

struct sim {
	uint64_t seed, rng, now_ns;
	uint32_t window;
	bool is_traced;
	uint16_t next_port;
	struct sim_sock sock[SIM_MAX_FDS];
	struct loop *loop[SIM_MAX_LOOPS];
	size_t n_loops;
	struct {
		sim_actor_fn fn;
		void *arg;
	} actor[SIM_MAX_ACTORS];
	size_t n_actors;
	size_t n_done; /* completions made in this turn */
};

struct sim_sock *sim_sock(struct sim *w, int fd);
int sim_open(struct sim *w, enum sim_kind kind);
int sim_join(struct sim *w, int fd, const struct addr *to);
int sim_find_listener(struct sim *w, const struct addr *a);
void sim_trace(struct sim *w, const char *what, int fd, long n);
