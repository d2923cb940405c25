/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A simulated kernel for tests: sockets in memory, virtual time, one seed.
 *
 * A world holds sockets, a clock and a random generator. Loops made in it (sim_loop_new()) run the
 * real code of lb/; actors (clients and backends of a test) act on sockets directly. sim_run() lets
 * them take turns in an order that the seed decides; operations complete in any legal order, in
 * parts and late. Time stands still while anybody can act, then jumps to the next timer.
 *
 * Thread: one for all of it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ev/loop.h"
#include "util/sockaddr.h"

struct sim;
struct sim_actor;

struct sim_opts {
	uint64_t seed;
	uint32_t window; /* bytes a socket's receive queue holds; 0: 16 KiB */
	bool is_traced;  /* every step goes to stderr */
};

struct sim *sim_new(const struct sim_opts *o);
/* Asserts that no socket is left open. NULL is fine. Returns NULL. */
struct sim *sim_free(struct sim *w);

/* A loop in this world; loop_free() as any other, before sim_free(). */
struct loop *sim_loop_new(struct sim *w, const struct loop_opts *o);

/* Uniform below n (n > 0). */
uint64_t sim_rand(struct sim *w, uint64_t n);

uint64_t sim_now_ns(const struct sim *w);

/*
 * An actor: called again and again, in turns with the loops. Returns whether it did anything; when
 * nobody does, time moves on.
 */
typedef bool (*sim_actor_fn)(void *arg);
void sim_add_actor(struct sim *w, sim_actor_fn fn, void *arg);

/*
 * sim_run() - take turns until `is_done` says so
 *
 * Returns the number of turns, or 0 if nobody could act any more, or `max_turns` was reached.
 */
uint64_t sim_run(struct sim *w, bool (*is_done)(void *arg), void *arg, uint64_t max_turns);

/* ---- sockets, for actors: as the calls of the same names, never blocking -----------------------
 */

int sim_listen(struct sim *w, const struct addr *a);
int sim_accept(struct sim *w, int fd);
int sim_connect(struct sim *w, const struct addr *to);
ssize_t sim_send(struct sim *w, int fd, const void *p, size_t n);
/* Bytes, 0 at the end, -EAGAIN, or -ECONNRESET once what came before has been read. */
ssize_t sim_recv(struct sim *w, int fd, void *p, size_t n);
void sim_shutdown_write(struct sim *w, int fd);
void sim_close(struct sim *w, int fd);
/* Closes with a reset. */
void sim_reset(struct sim *w, int fd);

/* Sockets that are open. */
size_t sim_n_open(const struct sim *w);
