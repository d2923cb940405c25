/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A check: one connection to a target, its result, and its end.
 *
 * The owner of a check makes the check, links it into a list, and starts it. The check reports its
 * result once, or that there is none, and later that the check is over. Intervals, other checks and
 * verdicts are the owner's business.
 *
 * Thread: main. Layer: health.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ev/loop.h"
#include "health/question.h"
#include "util/assert.h"
#include "util/list.h"

struct check_spec;
struct slab;

#define CHECK_N_OPS 3u /* operations that a check can have in flight at a time */

enum check_phase {
	CHECK_CONNECTING,
	CHECK_ASKING,    /* the request is being sent, the answer received */
	CHECK_LINGERING, /* the check has reported, and waits for the backend to close */
	CHECK_ENDING,    /* closed as soon as nothing is in flight */
};

/* How lb closes a connection. */
enum check_close { CHECK_BY_FIN, CHECK_BY_RESET };

/*
 * The owner's functions, which a check calls; `owner` is that of check_new(). In on_result and
 * on_none the owner may end this check and all others; no check is freed before on_end.
 */
struct check_ops {
	/* The result, in words: "101 in 1.2ms", "connect: Connection refused". */
	void (*on_result)(void *owner, bool is_ok, const char *text);
	/*
	 * The check could not be made, in words: "no check: no local port is left". Memory, local
	 * ports or descriptors were short, which says nothing of the target.
	 */
	void (*on_none)(void *owner, const char *text);
	/* A check is over: closed, unlinked and freed. The owner may be freed here. */
	void (*on_end)(void *owner);
};

/* All checks on one loop. */
struct checks {
	struct loop *loop; /* borrows */

	/* private to check.c */
	unsigned class_id;           /* of the tags */
	const struct check_ops *ops; /* borrows */
	struct slab *slab;           /* owns: of struct check */
};

struct check {
	struct list link; /* of the owner's list; check.c takes the check out of it before on_end */
	enum check_phase phase;

	/* private to check.c */
	struct checks *all;
	struct check_spec *spec; /* borrows */
	void *owner;             /* borrows */
	int fd;                  /* -1: none */
	uint8_t in_flight;       /* 1u << operation */
	bool has_reported;
	bool owes_close_frame; /* a Close frame has still to be sent */
	uint32_t n_connects;
	uint64_t start_ns;
	struct timer timeout;
	struct question *question; /* owns: from the request to the result */
	const char *out;           /* borrows: what is being sent */
	size_t n_out, n_sent;
	size_t n_dropped; /* bytes, while lingering */
	uint8_t close_frame[QUESTION_CLOSE_MAX];
};

/* `class_id`: of the tags in `loop`, which is borrowed. Returns 0 or -ENOMEM. */
int checks_init(struct checks *all, struct loop *loop, unsigned class_id,
		const struct check_ops *ops) LB_MUST_CHECK;

/* Asserts that every check is over. */
void checks_deinit(struct checks *all);

/* Checks that are not over; each has at most one descriptor. */
uint32_t checks_n(const struct checks *all);

/*
 * check_new() - a check of what `spec` says, which does nothing yet
 *
 * Borrows `spec` and `owner` until on_end. NULL where memory is short.
 */
struct check *check_new(struct checks *all, struct check_spec *spec, void *owner) LB_MUST_CHECK;

/* Connects. The check may have its result, and be over, when this returns. */
void check_start(struct check *c);

/*
 * check_end() - end the check without a result, if it has reported none yet
 *
 * It is over a turn or two later, or, where nothing is in flight, when the call from the loop that
 * this call is made in returns. Does nothing in CHECK_ENDING.
 */
void check_end(struct check *c, enum check_close how);
