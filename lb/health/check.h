/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A check: one connection to a target, its result, and its end.
 *
 * The owner of a check makes the check, links it into a list, and starts it. The check reports
 * once: a result, or that there is none. Later it reports that it is over. Intervals and verdicts
 * are the business of the owner, which may have several checks.
 *
 * Thread: main. Layer: health.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ev/loop.h"
#include "health/question.h"
#include "proto/proxy_header.h"
#include "util/assert.h"
#include "util/list.h"

struct check_spec;
struct slab;

#define CHECK_N_OPS 3u /* the most operations that a check has in flight at a time */

/* Bytes of the longest PROXY header that a check sends: "PROXY UNKNOWN", or LOCAL in version 2. */
#define CHECK_GREETING_MAX PROXY_V1_MAX

enum check_phase {
	CHECK_CONNECTING,
	CHECK_GREETING,  /* the PROXY header is being sent */
	CHECK_ASKING,    /* the request is being sent, and the answer is being received */
	CHECK_LINGERING, /* the check has reported, and waits for the backend to close */
	CHECK_ENDING,    /* the check is freed as soon as it has no operation in flight */
};

/* How lb closes a connection. */
enum check_close { CHECK_BY_FIN, CHECK_BY_RESET };

/*
 * The owner's functions, which a check calls; `owner` is that of check_new(). In on_result and
 * on_none the owner may end this check and all others; no check is freed before on_end.
 */
struct check_ops {
	/*
	 * The check has a result; `text` describes it: "101 in 1.2ms", "connect: Connection
	 * refused".
	 */
	void (*on_result)(void *owner, bool is_ok, const char *text);
	/*
	 * The check has no result, because memory, local ports or descriptors were short. That says
	 * nothing about the target. `text` is the reason: "no check: no local port is left".
	 */
	void (*on_none)(void *owner, const char *text);
	/*
	 * The check is over: closed, unlinked and freed. The owner may be freed in this function.
	 */
	void (*on_end)(void *owner);
};

/* All checks on one loop. */
struct checks {
	struct loop *loop; /* borrows */

	/* private to check.c */
	unsigned class_id;           /* the class of the operations' tags */
	const struct check_ops *ops; /* borrows */
	struct slab *slab;           /* owns; its objects are of struct check */
};

struct check {
	struct list link; /* in the owner's list; check.c unlinks it before on_end() */
	enum check_phase phase;

	/* private to check.c */
	struct checks *all;
	struct check_spec *spec; /* borrows */
	void *owner;             /* borrows */
	int fd;                  /* the socket; -1: none */
	uint8_t in_flight;       /* a bit for each operation: 1u << operation */
	bool has_reported;
	bool owes_close_frame; /* a Close frame has still to be sent */
	uint32_t n_connects;
	uint64_t start_ns;
	struct timer timeout;
	struct question *question; /* owns; NULL before the request is made */
	const char *out;           /* borrows: the bytes that are being sent */
	size_t n_out, n_sent;
	size_t n_dropped; /* bytes dropped while lingering */
	uint8_t close_frame[QUESTION_CLOSE_MAX];
	uint8_t greeting[CHECK_GREETING_MAX]; /* the PROXY header */
};

/*
 * `class_id` is the class of the checks' tags in `loop`. Borrows `loop` and `ops`. Returns 0 or
 * -ENOMEM.
 */
int checks_init(struct checks *all, struct loop *loop, unsigned class_id,
		const struct check_ops *ops) LB_MUST_CHECK;

/* Asserts that every check is over. */
void checks_deinit(struct checks *all);

/* How many checks are not over. Each of them has at most one descriptor. */
uint32_t checks_n(const struct checks *all);

/*
 * check_new() - make a check of what `spec` says, without starting it
 *
 * Borrows `spec` and `owner` until on_end(). Returns NULL when memory is short.
 */
struct check *check_new(struct checks *all, struct check_spec *spec, void *owner) LB_MUST_CHECK;

/* Starts to connect. When check_start() returns, the check may have reported, and may be over. */
void check_start(struct check *c);

/*
 * check_end() - end the check without a result, if it has reported none yet
 *
 * When operations are in flight, the check is over a turn or two later, with their last
 * completions. When none is in flight, check_end() was called from a function of the check that the
 * loop has called; then the check is over when that function returns. When the check is in
 * CHECK_ENDING, check_end() does nothing.
 */
void check_end(struct check *c, enum check_close how);
