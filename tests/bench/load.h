/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * lb-load: WebSocket clients for the benchmark, in several processes.
 *
 * load.c forks the processes, obeys the commands on stdin and reports; crew.c is one process: its
 * loop and what it is to do; client.c is one connection: handshake, frames, the check of what comes
 * back. The processes share one mapping of tallies, each written by one of them.
 *
 *   load.c --(a byte through a pipe: start, stop)--> crew.c --> client.c --> socket
 *      ^                                                |
 *      +---------------- struct tally (shared) <--------+
 */

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hist.h"
#include "proto/ws_frame.h"

#define LOAD_SIZE_MAX (16u << 20)
#define LOAD_SCRATCH (256u << 10)
#define LOAD_OFFSETS (64u << 10)                  /* where in the pattern a message may begin */
#define LOAD_DUE_MAX 64u                          /* messages under way on one connection */
#define LOAD_HEAD_MAX 2048u                       /* bytes of a response's head */
#define LOAD_OPENING_MAX 64u                      /* handshakes at a time in each process */
#define LOAD_OPENING_ALL 1024u                    /* and in all of them */
#define LOAD_GRACE_NS (5ull * 1000 * 1000 * 1000) /* for what is under way at the stop */
#define LOAD_GRACE_CONN_NS 50000u                 /* and for each connection so much more */

enum load_plan {
	PLAN_HOLD,  /* open all, each echoes a message; at the stop each echoes another */
	PLAN_ECHO,  /* closed loop: the active ones send the next message when the last came back */
	PLAN_OPEN,  /* open loop: messages at random times, whatever came back */
	PLAN_CHURN, /* connect, upgrade, close, again and again */
};

struct load_conf {
	enum load_plan plan;
	struct sockaddr_in target;
	uint32_t n_crews;
	uint32_t n_conns;
	uint32_t n_active;
	uint32_t size; /* of a message */
	double rate;   /* PLAN_OPEN: messages/s */
};

/* What one process has seen. Written by it alone. */
struct tally {
	_Atomic uint64_t messages; /* echoed, right to the last byte */
	_Atomic uint64_t opened;   /* handshakes done */
	_Atomic uint64_t ready;    /* connections that have echoed their first message */
	_Atomic uint64_t failed;   /* connections refused, ended, or not upgraded */
	_Atomic uint64_t wrong;    /* frames that are not what was sent */
	_Atomic uint64_t lost;     /* messages that did not come back */
	_Atomic uint64_t overrun;  /* messages that could not be sent when they were due */
	struct hist latency;
};

static inline void tally_add(_Atomic uint64_t *n, uint64_t more)
{
	atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + more,
			      memory_order_relaxed);
}

enum client_phase {
	CLIENT_NONE, /* no socket */
	CLIENT_CONNECTING,
	CLIENT_UPGRADING,
	CLIENT_OPEN,
};

struct client {
	uint32_t id; /* unique among all processes */
	int fd;
	enum client_phase phase;
	bool is_polling_out;
	bool is_ready;

	/* handshake */
	char *head; /* owns; LOAD_HEAD_MAX bytes while it is being read */
	size_t n_head;
	uint32_t n_tries; /* handshakes begun: makes each key another */

	/* sending: the frame of message tx_seq, up to byte tx_at */
	uint32_t tx_seq;
	uint64_t tx_at, tx_len; /* tx_len 0: nothing is being sent */

	/* receiving message rx_seq: its frame's header, and where in the payload */
	uint32_t rx_seq;
	uint8_t rx_head[WS_HEAD_MAX];
	uint8_t n_rx_head;
	bool is_rx_fin;
	uint64_t rx_left; /* of the frame */
	uint64_t rx_at;   /* of the message */

	uint64_t due[LOAD_DUE_MAX]; /* when the messages rx_seq .. tx_seq were due, as a ring */
};

struct crew {
	const struct load_conf *conf;
	struct tally *tally; /* shared */
	int control; /* a byte: 's' start, 'a' all send, 'x' stop; end of file: the parent is gone
		      */
	int epoll;
	uint32_t index;
	uint32_t n_clients, n_active;
	struct client *clients; /* owns */
	uint8_t *pattern;       /* owns: random bytes, the same in all processes */
	uint8_t *scratch;       /* owns: a frame, or a piece of it, to be sent */
	uint8_t *received;      /* owns */
	uint64_t random;
	bool is_started, is_stopping, has_complained;
	uint32_t n_begun;     /* clients that were told to connect */
	uint32_t n_opening;   /* handshakes under way */
	uint64_t n_under_way; /* messages sent and not yet back */
	uint32_t turn;        /* PLAN_OPEN: whose message is next */
	uint64_t next_due;    /* PLAN_OPEN, ns */
};

/* One process, to its end: does not return before the stop. */
void crew_run(struct crew *w);

/* A connection's news for the crew. */
void crew_on_open(struct crew *w, struct client *c);
void crew_on_message(struct crew *w, struct client *c);
/* It is closed already; `why` is for a person. */
void crew_on_failure(struct crew *w, struct client *c, const char *why);

uint64_t load_now_ns(void);
uint64_t load_random(uint64_t *state);

void client_connect(struct crew *w, struct client *c);
/* Begins to send the next message, which was due at `due_ns`. False: there is no room for it. */
bool client_send(struct crew *w, struct client *c, uint64_t due_ns);
void client_on_event(struct crew *w, struct client *c, uint32_t events);
void client_close(struct client *c);
