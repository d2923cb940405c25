/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * lbctl: one command to the admin socket, its answer to a person or a program.
 *
 * A plain client: blocking, and knowing nothing of lb but the socket's lines.
 *
 * Layer: ctl. Includes util/ only.
 */

#include <stdio.h>

#include "util/assert.h"
#include "util/text.h"

#define CTL_FAILED 1 /* exit status: no answer, or an error as the answer */
#define CTL_USAGE 2  /* exit status: the command line is wrong */

extern const char ctl_usage[];

enum ctl_action { CTL_ASK, CTL_WAIT, CTL_HELP, CTL_VERSION };

struct ctl {
	enum ctl_action action;
	const char *path; /* borrows from argv; NULL: none was named */
	struct text line; /* owns: what is sent, with its newline */
	/* CTL_WAIT: what is asked again and again, with its newline; owns */
	struct text poll;
	const char *target; /* CTL_WAIT: POOL/BACKEND; borrows from argv */
};

#define CTL_INIT ((struct ctl){ 0 })

/*
 * ctl_parse() - read the command line
 *
 * Options may stand anywhere (getopt permutes `argv`). Returns 0, or an exit status after saying
 * on stderr what is wrong.
 */
int ctl_parse(int argc, char **argv, struct ctl *ret) LB_MUST_CHECK;

/* The socket where none is named: $LBCTL_SOCKET, ./lb.sock where that exists, /run/lb/admin.sock.
 */
const char *ctl_default_path(void);

/* Asks and prints. Returns the exit status. */
int ctl_ask(const struct ctl *c) LB_MUST_CHECK;

/*
 * ctl_query() - send one line and receive the whole answer
 *
 * `line` ends with a newline; the answer is added to `ret`. Blocks until lb has closed. Returns 0,
 * or CTL_FAILED after saying on stderr what went wrong.
 */
int ctl_query(const struct ctl *c, struct slice line, struct text *ret) LB_MUST_CHECK;

/*
 * ctl_print() - print an answer without the empty line that ends it
 *
 * An error goes to `err`, everything else to `out`. Returns the exit status.
 */
int ctl_print(struct slice answer, FILE *out, FILE *err) LB_MUST_CHECK;

void ctl_deinit(struct ctl *c);
