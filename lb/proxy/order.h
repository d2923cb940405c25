/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Orders: what main asks of a worker, and the worker's answer, in one letter.
 *
 * Main allocates an order, posts it to the worker's mailbox, and gets it back in its own mailbox
 * when it is done: `done` is called on main, which owns it again. A reload is two orders, so that
 * it is all or nothing: TAKE hands over new sockets (parked), then APPLY makes everything current,
 * or DROP forgets the parked ones.
 *
 * Layer: proxy.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ev/mailbox.h"
#include "util/sockaddr.h"

struct backend;
struct listener;
struct members;
struct plan;
struct worker;

enum order_kind {
	ORDER_TAKE,    /* take the sockets that wait in the channel; park them */
	ORDER_DROP,    /* close the parked sockets */
	ORDER_APPLY,   /* a new plan, its pools' members and its listeners */
	ORDER_MEMBERS, /* new members of one pool */
	ORDER_CONNS,   /* list connections */
	ORDER_STOP,    /* accept no more: take in what is queued, close the listening sockets */
	ORDER_QUIT,    /* end every session; done when all are buried */
};

enum conn_sort {
	CONN_UNSORTED,
	CONN_BY_AGE,   /* the oldest are listed */
	CONN_BY_BYTES, /* those that have moved most are listed */
};

/* Which connections ORDER_CONNS lists. */
struct conn_filter {
	char pool[64], backend[64]; /* "": any */
	bool has_client;
	struct cidr client;
	uint64_t min_age_ns;
	enum conn_sort sort;
	uint32_t limit; /* rows at most; those beyond are counted only */
};

/* One connection, as it is at that moment. */
struct conn_row {
	uint64_t id;
	struct addr client;
	const char *listener;    /* interned */
	struct backend *backend; /* counted; NULL: not picked yet */
	char pool[64];           /* "": not routed yet */
	const char *state;       /* constant */
	uint64_t age_ns;
	uint64_t bytes_in, bytes_out;
	uint64_t rank; /* by the filter's sort: greater ones first; 0 where unsorted */
};

struct order {
	struct mail mail; /* first: travels both ways */
	enum order_kind kind;
	uint32_t worker;                               /* whom it was for */
	void (*done)(struct order *o, void *main_arg); /* on main */
	void *arg;                                     /* of `done`, main's business */
	int result;                                    /* 0 or a negative errno */

	/* TAKE: the listeners whose sockets come, in the channel's order. An APPLY has none: each
	 * listener knows its place in the new plan. */
	size_t n_listeners;
	struct listener **listeners; /* owns the array, counts each */

	struct plan *plan;        /* APPLY: counted: the new one, and then the replaced one */
	bool has_new_timeouts;    /* APPLY: of a pool whose tunnels are open already, perhaps */
	size_t n_members;         /* APPLY; MEMBERS: one, and then the one that it has replaced */
	struct members **members; /* owns the array, counts each */
	/* APPLY: the worker's next array of members by pool slot, and then the one that it has
	 * replaced (order_make_slots()); owns the array, counts each */
	uint32_t n_slots;
	struct members **slots;

	bool is_settled;           /* APPLY, the worker's: removed sockets were closed a turn ago */
	struct order *next_walk;   /* the worker's: waits behind another walk */
	struct conn_filter filter; /* CONNS */
	uint64_t n_matching;       /* sessions that meet the filter's conditions */
	size_t n_rows, rows_cap;
	struct conn_row *rows;   /* owns the array, counts their backends; where sorted and full,
				  * a heap whose root is the row with the smallest rank */
	uint64_t n_ended, n_cut; /* QUIT: connections that have ended, and those that it ended */
};

/* Zeroed but for kind and worker. NULL when memory is short. */
struct order *order_new(enum order_kind kind, uint32_t worker);

/* Drops all it holds. NULL is fine. Returns NULL. */
struct order *order_free(struct order *o);

/*
 * order_make_slots() - make the worker's next array of all members that an APPLY names
 *
 * The worker only swaps it for the array that it has: nothing can be refused there, its work does
 * not grow with the number of pools, and main frees what was replaced. Returns 0 or -ENOMEM.
 * Thread: main.
 */
int order_make_slots(struct order *o) LB_MUST_CHECK;

/* Runs an order on its worker (the mail_fn of posted orders; `arg` is the worker). */
void order_run(struct mail *m, void *arg);

/* Sends it back to main. Thread: the worker. */
void order_answer(struct worker *w, struct order *o);

/* The next slice of w->walk. Called by the worker, once per turn while there is one. */
void order_walk(struct worker *w);

/* Answers the walks that a worker at its end will not finish. */
void order_end_walks(struct worker *w);
