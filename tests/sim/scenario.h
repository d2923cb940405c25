/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A scenario: lb's real workers, reload, health checks and registry on simulated loops, with
 * clients and backends around them that do what the seed says. One scenario is one seed.
 *
 *   conversation.c  plans: what each side of a conversation is going to do
 *   peer.c          one side of a conversation, once it has begun
 *   client.c        a client until its tunnel stands
 *   server.c        a backend until it has answered
 *   admin_actor.c   main's part: configuration, reloads, drains, the stop
 *   patrol.c        slow walks over a worker's sessions
 *   check.c         the invariants, after every turn, and the verdict on each conversation
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/control.h"
#include "daemon/threads.h"
#include "proxy/worker.h"
#include "sim.h"
#include "stream.h"

#define N_HOSTS 4 /* backends: the first half speaks HTTP, the others anything */
#define MAX_WORKERS 3
#define MAX_CONVERSATIONS 48
#define PATIENCE_MS 240000 /* how long a client or backend waits for an end */

struct scenario;
struct conversation;

/* How a side leaves a conversation. */
enum leaving {
	LEAVE_DONE,  /* it sends all, then its FIN; it closes when the other side has ended */
	LEAVE_LAST,  /* it waits for the other side's end, then closes */
	LEAVE_EARLY, /* it closes in the middle */
	LEAVE_RESET, /* it sends a reset in the middle */
	LEAVE_CUT,   /* its network is cut in the middle */
	LEAVE_NEVER, /* it goes on until lb or the other side ends */
};

/* One side of a conversation: its plan, and what has happened to it. */
struct peer {
	struct scenario *t;
	struct conversation *conversation;
	const char *name;
	int sock; /* -1: not connected yet, or closed */
	bool is_client;

	/* the plan */
	enum stream_form form;
	uint64_t key, total;
	enum leaving leaving;
	uint64_t leaves_at;  /* of LEAVE_EARLY, _RESET and _CUT: after so many bytes sent and got */
	uint64_t reads_most; /* after so many bytes it stops reading */
	uint32_t pause_ms;   /* its longest pause between two steps; 0: none */
	uint32_t max_read;

	/* what happens */
	struct stream sends, gets;
	uint8_t made[2048]; /* bytes of `sends` that the kernel has not taken yet */
	size_t made_at, n_made;
	uint64_t n_sent, n_got; /* of the streams */
	size_t n_before;        /* bytes of a head, sent before its stream */
	uint64_t deadline_ms;
	bool has_sent_all, is_shut, has_eof, has_left, is_over, was_cut, is_deaf;
	int error;
	struct sim_fate fate; /* of its bytes on their way to lb, heads included */
};

enum conversation_kind { CONV_TCP, CONV_WS, CONV_PLAIN, CONV_BAD };

/* What the backend does with the request. */
enum behaviour {
	BEHAVE_GOOD,
	BEHAVE_INTERIM,    /* a 103 first */
	BEHAVE_LATE,       /* good, after a while */
	BEHAVE_AFTER,      /* good, when it has read the whole request */
	BEHAVE_REFUSE,     /* 403 with a body */
	BEHAVE_BAD_ACCEPT, /* a 101 that does not fit */
	BEHAVE_RUBBISH,
	BEHAVE_HALF,  /* half a head, then the end */
	BEHAVE_CLOSE, /* at once */
	BEHAVE_RESET,
	BEHAVE_NEVER, /* no answer */
	N_BEHAVIOURS,
};

/* How the end of a plain body is told. */
enum framing { BY_LENGTH, BY_CHUNKS, BY_CLOSE, NO_BODY };

struct conversation {
	struct scenario *t;
	uint32_t id;
	enum conversation_kind kind;
	enum behaviour behaviour;
	enum framing request, response; /* CONV_PLAIN */
	uint64_t start_ms;
	struct peer client, server;

	/* the client's handshake */
	char head[1400];
	size_t n_head, head_sent;
	char answer[20000];
	size_t n_answer;
	bool is_eager;              /* the client's stream does not wait for the answer */
	bool is_answered, is_known; /* a final head has come; the backend has made it */
	int status;
	uint16_t port; /* its own */

	/* the backend's */
	bool is_met; /* a backend has seen it */
	bool has_accepted;
	int host;

	/* lb's */
	uint32_t n_ends;
	bool is_quit; /* it ended behind QUIT */
	enum sess_end end;
	uint16_t end_status;
	uint64_t bytes_in, bytes_out;
};

/* A backend. */
struct host {
	struct scenario *t;
	int number;
	struct addr addr;
	int sock;     /* its listening socket; -1 while it is down */
	bool is_sick; /* it answers health checks with an error */
	bool is_hole; /* connects to it get no answer */
	uint32_t n_visits;
};

struct scenario {
	struct sim *w;
	bool is_faulty; /* sessions, exchanges and buffers fail now and then */
	bool is_small;  /* it has a few conversations only, one of each kind */
	bool is_tight;  /* its workers have a few slots each, not the same number */
	bool is_roomy;  /* its workers have so many slots that they accept without counting */
	uint32_t n_workers;
	struct control control;   /* main, without the process around it */
	struct mailbox main_mail; /* main's, which the workers' replies go to */
	struct threads threads;
	struct thread thread[MAX_WORKERS];
	struct loop *loop[MAX_WORKERS];
	bool is_due[MAX_WORKERS + 1]; /* whether a mailbox is to be drained; the last is main's */
	struct host host[N_HOSTS];
	size_t n_conversations;
	struct conversation *conversation; /* owns */
	uint32_t n_open_clients;           /* clients that are not over */
	uint64_t n_records;
	uint32_t n_patrols; /* patrols that have not ended */
	char text[8192];    /* the configuration */
	int file;           /* a memfd with the configuration */
	char path[40];
	struct admin_actor *admin;
	uint64_t rejected_at_accept;
};

/* What is made to fail, once, on the first worker: the n-th of them from the start on. */
enum fault { FAULT_NONE, FAULT_BUFFER, FAULT_SESSION, FAULT_EXCHANGE, FAULT_DESCRIPTOR, N_FAULTS };

/* Runs one seed; ends the process where a promise is broken. Returns the completions it took. */
uint64_t scenario_run(const struct sim_opts *o);

/* The same with six conversations, one worker and one fault. */
uint64_t scenario_run_with_fault(const struct sim_opts *o, enum fault what, uint32_t nth);

/* ---- conversation.c
 * ---------------------------------------------------------------------------------- */

void conversation_plan(struct conversation *k, struct scenario *t, uint32_t id);
struct conversation *conversation_of_port(struct scenario *t, uint16_t port);

/* ---- peer.c ---------------------------------------------------------------------------------- */

/* Begins the side's streams; `other` is the other side. */
void peer_begin(struct peer *p, const struct peer *other);
/* Checks that bytes that were received are the next ones of the stream. */
void peer_take(struct peer *p, const uint8_t *bytes, size_t n);
/* Sends a little. Returns whether it did anything. */
bool peer_send(struct peer *p);
/* Receives a little. Returns whether it did anything. */
bool peer_receive(struct peer *p);
/* The actor's function, until the side is over. */
enum sim_step peer_step(struct peer *p);
/* Closes the side's socket, by a reset or not. */
void peer_leave(struct peer *p, bool with_reset);
bool peer_is_late(const struct peer *p);

/* ---- client.c, server.c ---------------------------------------------------------------------- */

enum sim_step client_step(void *conversation);
/* A host's actor: accepts connections, stops and starts again. */
enum sim_step host_step(void *host);
void host_open(struct host *h);

/* ---- admin_actor.c ------------------------------------------------------------------------------
 */

void admin_actor_open(struct scenario *t);
enum sim_step admin_actor_step(void *scenario);
/* Lets the actor stop lb at another time than it has planned. */
void admin_actor_stop_at(struct scenario *t, uint64_t at_ms);
bool admin_actor_is_over(const struct scenario *t);
/* Whether the actor has ordered a stop, and whether what is left is being ended. */
bool admin_actor_has_stopped(const struct scenario *t);
bool admin_actor_is_quitting(const struct scenario *t);
void admin_actor_close(struct scenario *t);

/* Begins a slow walk over the sessions of a worker. */
void patrol_begin(struct scenario *t);

/* ---- check.c --------------------------------------------------------------------------------- */

/* Checks the invariants that hold between any two turns. */
void check_turn(void *scenario);
void check_record(struct scenario *t, const struct access_record *r);
/* Checks each conversation and the workers' counters when all conversations are over. */
void check_conversations(struct scenario *t);
/* Checks that workers without sessions hold nothing. */
void check_idle(struct scenario *t);
