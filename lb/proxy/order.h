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
#include "ev/timer.h"
#include "proxy/conn_list.h"
#include "proxy/walk.h"

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

	struct timer timer;      /* APPLY, the worker's: of its next step */
	bool is_closed;          /* APPLY, the worker's: removed sockets were closed a turn ago */
	struct walk walk;        /* APPLY, CONNS, the worker's */
	struct conn_list conns;  /* CONNS */
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

/* Ends what has not ended of an APPLY, at the end of its worker. No session and no listening socket
 * may be left. */
void order_end_apply(struct worker *w);
