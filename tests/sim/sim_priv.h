/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What sim.c (turns), net.c (sockets) and engine.c (loops) share. */

#include "ev/loop_priv.h"
#include "sim.h"

#define SIM_FIRST_FD 3
#define SIM_MAX_LOOPS 16
#define SIM_BACKLOG 64
#define SIM_MAX_HOLES 8
#define SIM_MAX_CHANNELS 16

enum sim_kind { SIM_FREE, SIM_STREAM, SIM_LISTEN, SIM_PIPE_READ, SIM_PIPE_WRITE };

/* Bytes in order: data[head] to data[head + n - 1] wait. */
struct sim_bytes {
	uint8_t *data; /* owns */
	size_t head, n, cap;
};

struct sim_sock {
	enum sim_kind kind;
	uint32_t refs; /* of descriptors, of channels, and one of the actor that holds it */
	int peer;      /* the other end; -1: none (any more) */
	bool is_bound;
	struct addr local, remote;
	struct sim_bytes tx; /* sent by the owner, not yet delivered to the peer */
	struct sim_bytes rx; /* delivered to this socket, not yet read */
	size_t tx_max, rx_max;
	struct sim_fate own_fate;
	struct sim_fate *fate; /* borrows, or &own_fate */

	int error;          /* for the next call to find */
	bool is_broken;     /* a call has found an error */
	bool is_eof;        /* the peer's FIN has arrived */
	bool is_write_shut; /* a FIN is to go out behind tx */
	bool is_fin_sent;   /* that FIN has arrived at the peer */
	bool is_closed;     /* the owner has closed it; the bytes of tx still go out */
	bool is_resetting;  /* SO_LINGER 0: close(2) sends a reset */
	bool is_cut;        /* sim_cut() */
	bool has_keepalive;
	uint32_t user_ms;  /* TCP_USER_TIMEOUT; 0: none */
	uint64_t stuck_ns; /* since when no byte of tx was delivered */
	uint64_t heard_ns; /* when something of the peer's kernel last arrived */

	/* SIM_LISTEN */
	bool is_shared; /* SO_REUSEPORT */
	bool is_deaf;   /* drops new connection attempts */
	int queue[SIM_BACKLOG];
	size_t n_queue;
};

struct sim_actor {
	sim_actor_fn fn;
	void *arg;
	uint64_t wake_ns;  /* it has no turn before */
	uint64_t alarm_ns; /* it has a turn then; 0: whenever time moves on */
};

struct sim_channel {
	struct {
		int sock;
		uint64_t number;
	} item[64];
	size_t n;
	uint32_t n_refused;
};

struct sim {
	uint64_t seed, rng, now_ns;
	const uint8_t *choices;
	size_t n_choices;
	bool is_traced;
	bool is_strict; /* in this round all have a turn, to find out whether any can act */
	uint16_t next_port;
	size_t n_socks;
	struct sim_sock **sock; /* owns both; by number */
	struct loop *loop[SIM_MAX_LOOPS];
	size_t n_loops;
	size_t n_actors, actors_cap;
	struct sim_actor *actor; /* owns */
	size_t running;          /* index of the actor whose turn it is */
	struct addr hole[SIM_MAX_HOLES];
	size_t n_holes;
	struct sim_channel channel[SIM_MAX_CHANNELS];
	size_t n_channels;
	void (*check)(void *arg);
	void *check_arg;
	uint64_t n_done; /* completions of all loops */
};

/* ---- net.c ----------------------------------------------------------------------------------- */

struct sim_sock *sim_sock(struct sim *w, int sock);
int sim_open(struct sim *w, enum sim_kind kind);
void sim_ref(struct sim *w, int sock);
/* Connects `sock` to a new socket in the queue of a listener of address `to`. 0, or a negative
 * errno; -EAGAIN: no answer yet. */
int sim_join(struct sim *w, int sock, const struct addr *to);
int sim_bind(struct sim *w, int sock, const struct addr *a);
int sim_start_listening(struct sim *w, int sock);
uint32_t sim_poll_events(struct sim *w, int sock);
/* Makes a pipe that holds `max` bytes: two sockets. */
void sim_pipe(struct sim *w, int socks[2], size_t max);
/* Moves the bytes that are there, `n` at most, from a stream to a pipe or from a pipe to a stream.
 */
ssize_t sim_splice(struct sim *w, int from, int to, size_t n);
/* One turn of the network. Returns whether anything moved. */
bool sim_net_turn(struct sim *w);
/* The next time at which a socket times out; UINT64_MAX: never. */
uint64_t sim_net_due_ns(struct sim *w);
/* Lets the sockets time out whose time has come. */
void sim_net_expire(struct sim *w);
void sim_net_free(struct sim *w);

/* ---- engine.c -------------------------------------------------------------------------------- */

/* Whether the loop's last turn completed anything. */
bool sim_loop_has_acted(const struct loop *l);
