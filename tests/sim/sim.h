/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A simulated kernel for tests: sockets in memory, virtual time, one seed.
 *
 * A world holds sockets, a network between them, a clock and a random generator. Loops made in it
 * (sim_loop_new()) run the real code of lb/; actors (clients, backends, an administrator) act on
 * sockets directly. sim_run() lets them take turns in an order that the seed decides; bytes travel
 * in pieces, operations complete in any legal order, in parts and late. Time stands still while
 * anybody can act, then jumps to whatever is due next.
 *
 *     loop --fd--> table --+                              +-- actor
 *                          v                              v
 *                       socket.tx --network--> socket.rx of its peer
 *
 * Each loop has a descriptor table of its own, with a limit of its own; actors name sockets.
 *
 * Thread: one for all of it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ev/loop.h"
#include "util/sockaddr.h"

struct sim;

struct sim_opts {
	uint64_t seed;
	bool is_traced; /* every step goes to stderr */
	/* Decide first, before the seed does (a fuzzer's input); borrowed. */
	const uint8_t *choices;
	size_t n_choices;
};

struct sim *sim_new(const struct sim_opts *o);
/* Checks that no descriptor and no socket of an actor is left open. NULL is fine. Returns NULL. */
struct sim *sim_free(struct sim *w);

/* A loop in this world, whose table holds `max_fds`; loop_free() as any other, before sim_free().
 */
struct loop *sim_loop_new(struct sim *w, const struct loop_opts *o, const char *name, int max_fds);

/* Both ends of a channel between two tables: numbers for loop_pass_fd() and loop_take_fd(). */
int sim_channel(struct sim *w);

/* How many descriptors have come through a channel that found the receiver's table full. */
uint32_t sim_channel_n_refused(const struct sim *w, int chan);

/* Lets the n-th descriptor from now on fail, once, with -EMFILE; 0 is never. */
void sim_fail_fd_after(struct loop *l, uint32_t n);

/* How many descriptors the loop's table has refused so far, by sim_fail_fd_after() or being full.
 */
uint32_t sim_n_fds_refused(const struct loop *l);

/* ---- chance and time ------------------------------------------------------------------------- */

/* Uniform below n (n > 0). */
uint64_t sim_rand(struct sim *w, uint64_t n);

/* True once in n times. */
bool sim_chance(struct sim *w, uint64_t n);

uint64_t sim_now_ns(const struct sim *w);
uint64_t sim_now_ms(const struct sim *w);

/* ---- turns ----------------------------------------------------------------------------------- */

enum sim_step {
	SIM_IDLE,  /* could do nothing */
	SIM_ACTED, /* did something */
	SIM_DONE,  /* is over: never called again */
};

/*
 * An actor: called again and again, in turns with the loops and the network. It may sleep
 * (sim_sleep_ms()); when nobody does anything, time moves on.
 */
typedef enum sim_step (*sim_actor_fn)(void *arg);
void sim_add_actor(struct sim *w, sim_actor_fn fn, void *arg);

/* Called by an actor: its next turn is not before so long. */
void sim_sleep_ms(struct sim *w, uint64_t ms);
/* Called by an actor: time does not jump over this moment without it. */
void sim_wake_at_ms(struct sim *w, uint64_t at_ms);

/* Called after each turn of a loop, and each of an actor. */
void sim_set_check(struct sim *w, void (*fn)(void *arg), void *arg);

/*
 * sim_run() - take turns until `is_done` says so
 *
 * Returns whether it did: false when nobody can ever act again, or after `max_rounds`.
 */
bool sim_run(struct sim *w, bool (*is_done)(void *arg), void *arg, uint64_t max_rounds);

/* Completions that loops have got so far. */
uint64_t sim_n_completions(const struct sim *w);

/* A line of the trace, if there is one. */
void sim_say(struct sim *w, const char *fmt, ...) LB_PRINTF(2, 3);
bool sim_is_traced(const struct sim *w);

/* ---- sockets, for actors: as the calls of the same names, never blocking -----------------------
 */

/* What has become of a socket's bytes; outlives the socket. */
struct sim_fate {
	uint64_t n_delivered;  /* of its bytes, into its peer's kernel */
	bool is_fin_delivered; /* so was its end */
	bool has_reset;        /* it was ended by a reset that it sent */
	bool was_reset;        /* ... or got, or timed out */
};

/* Whether a socket listens on exactly this address. */
bool sim_is_listening(const struct sim *w, const struct addr *a);
int sim_listen(struct sim *w, const struct addr *a);
/* -EAGAIN: nobody in the queue. */
int sim_accept(struct sim *w, int sock);
/* -ECONNREFUSED, or -EAGAIN: no answer now, try again. */
int sim_connect(struct sim *w, const struct addr *to);
ssize_t sim_send(struct sim *w, int sock, const void *p, size_t n);
/* Bytes, 0 at the end, -EAGAIN, or a negative errno once what came before has been read. */
ssize_t sim_recv(struct sim *w, int sock, void *p, size_t n);
void sim_shutdown_write(struct sim *w, int sock);
void sim_close(struct sim *w, int sock);
/* Closes with a reset. */
void sim_reset(struct sim *w, int sock);
/* From now on nothing comes from it and nothing reaches it, for ever. */
void sim_cut(struct sim *w, int sock);
struct addr sim_local(struct sim *w, int sock);
struct addr sim_remote(struct sim *w, int sock);
/* `fate` is kept up to date until the socket is forgotten; borrowed. */
void sim_watch(struct sim *w, int sock, struct sim_fate *fate);
/* Connects to this address get no answer while it is set. */
void sim_set_black_hole(struct sim *w, const struct addr *a, bool is_on);

/* ---- failing --------------------------------------------------------------------------------- */

/* A promise is broken: says which and ends the process. */
_Noreturn void sim_fail(const char *file, int line, const char *fmt, ...) LB_PRINTF(3, 4);
#define SIM_CHECK(cond, ...) \
	do { \
		if (!(cond)) \
			sim_fail(__FILE__, __LINE__, __VA_ARGS__); \
	} while (0)
