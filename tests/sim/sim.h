/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A simulated kernel for tests: sockets in memory, virtual time, one seed.
 *
 * A world holds sockets, a network between them, a clock and a random generator. Loops made in it
 * (sim_loop_new()) run the real code of lb/; actors (clients, backends, an administrator) act on
 * sockets directly. sim_run() gives loops, actors and the network turns in an order that the seed
 * decides; bytes travel in pieces, operations complete in any legal order, in parts and late. Time
 * stands still while a loop, an actor or the network can act; then it jumps to the next moment at
 * which something is due.
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
	/* The first choices are taken from here, the others from the seed (a fuzzer's input);
	 * borrowed. */
	const uint8_t *choices;
	size_t n_choices;
};

struct sim *sim_new(const struct sim_opts *o);
/* Asserts that no loop is left, and that every socket is closed. NULL is fine. Returns NULL. */
struct sim *sim_free(struct sim *w);

/* Makes a loop in this world whose table holds `max_fds` descriptors. loop_free() frees it, before
 * sim_free(). */
struct loop *sim_loop_new(struct sim *w, const struct loop_opts *o, const char *name, int max_fds);

/* A channel between descriptor tables: the number of both its ends, for loop_pass_fd() and
 * loop_take_fd(). */
int sim_channel(struct sim *w);

/* How many descriptors of a channel were lost because the receiver's table was full. */
uint32_t sim_channel_n_refused(const struct sim *w, int chan);

/* Makes the n-th descriptor from now on fail, once, with -EMFILE; 0 is never. */
void sim_fail_fd_after(struct loop *l, uint32_t n);

/* How many descriptors the loop's table has refused so far, by sim_fail_fd_after() or being full.
 */
uint32_t sim_n_fds_refused(const struct loop *l);

/* ---- chance and time ------------------------------------------------------------------------- */

/* Uniform below n (n > 0). */
uint64_t sim_rand(struct sim *w, uint64_t n);

/* True with a chance of one in n. */
bool sim_chance(struct sim *w, uint64_t n);

uint64_t sim_now_ns(const struct sim *w);
uint64_t sim_now_ms(const struct sim *w);

/* ---- turns ----------------------------------------------------------------------------------- */

enum sim_step {
	SIM_IDLE,  /* the actor could do nothing */
	SIM_ACTED, /* the actor did something */
	SIM_DONE,  /* the actor is over, and is never called again */
};

/*
 * An actor: a function that is called again and again, in turns with the loops and the network. It
 * may sleep (sim_sleep_ms()). When no actor, no loop and not the network do anything, time moves
 * on.
 */
typedef enum sim_step (*sim_actor_fn)(void *arg);
void sim_add_actor(struct sim *w, sim_actor_fn fn, void *arg);

/* Called by an actor, whose next turn comes after so long at the earliest. */
void sim_sleep_ms(struct sim *w, uint64_t ms);
/* Called by an actor, which has a turn at this moment at the latest. */
void sim_wake_at_ms(struct sim *w, uint64_t at_ms);

/* Sets the function that is called after each turn of a loop or an actor that did something. */
void sim_set_check(struct sim *w, void (*fn)(void *arg), void *arg);

/*
 * sim_run() - take turns until `is_done` says so
 *
 * Returns whether it said so: false when nothing can ever happen again, or after `max_rounds`.
 */
bool sim_run(struct sim *w, bool (*is_done)(void *arg), void *arg, uint64_t max_rounds);

/* Completions that loops have got so far. */
uint64_t sim_n_completions(const struct sim *w);

/* Writes a line of the trace; does nothing when the world is not traced. */
void sim_say(struct sim *w, const char *fmt, ...) LB_PRINTF(2, 3);
bool sim_is_traced(const struct sim *w);

/* ---- sockets, for actors: as the calls of the same names, never blocking -----------------------
 */

/* What has become of a socket's bytes; may outlive the socket. */
struct sim_fate {
	uint64_t n_delivered;  /* bytes of the socket that have reached its peer's kernel */
	bool is_fin_delivered; /* its FIN has, too */
	bool has_reset;        /* it has sent a reset */
	bool was_reset;        /* it has got a reset, or has timed out */
};

/* Whether a socket listens on exactly this address. */
bool sim_is_listening(const struct sim *w, const struct addr *a);
int sim_listen(struct sim *w, const struct addr *a);
/* A socket, or -EAGAIN when the queue is empty. */
int sim_accept(struct sim *w, int sock);
/* A socket; -ECONNREFUSED, or -EAGAIN when no answer comes now. */
int sim_connect(struct sim *w, const struct addr *to);
ssize_t sim_send(struct sim *w, int sock, const void *p, size_t n);
/* A number of bytes, 0 at the end, -EAGAIN, or a negative errno when all bytes before it were read.
 */
ssize_t sim_recv(struct sim *w, int sock, void *p, size_t n);
void sim_shutdown_write(struct sim *w, int sock);
void sim_close(struct sim *w, int sock);
/* Closes with a reset. */
void sim_reset(struct sim *w, int sock);
/* From now on no byte and no end leaves the socket or reaches it. */
void sim_cut(struct sim *w, int sock);
struct addr sim_local(struct sim *w, int sock);
struct addr sim_remote(struct sim *w, int sock);
/* Keeps `fate` (borrowed) up to date until the socket is freed. */
void sim_watch(struct sim *w, int sock, struct sim_fate *fate);
/* While it is on, connects to this address get no answer. */
void sim_set_black_hole(struct sim *w, const struct addr *a, bool is_on);

/* ---- failing --------------------------------------------------------------------------------- */

/* Says which promise is broken, and aborts. */
_Noreturn void sim_fail(const char *file, int line, const char *fmt, ...) LB_PRINTF(3, 4);
#define SIM_CHECK(cond, ...) \
	do { \
		if (!(cond)) \
			sim_fail(__FILE__, __LINE__, __VA_ARGS__); \
	} while (0)
