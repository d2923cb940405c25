/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * ctl: lbctl's side of the admin socket. Sends one command and prints the answer, as tables or as
 * JSON.
 *
 * lbctl is a separate program. All calls block. lbctl and lb share nothing but util/ and the form
 * of the socket's lines and answers (lbctl(1), "THE SOCKET").
 *
 * Layer: ctl. Includes util/ only.
 */

#include <stdio.h>

#include "util/assert.h"
#include "util/text.h"

#define CTL_FAILED 1 /* exit status: lb gave no answer, or answered with an error */
#define CTL_USAGE 2  /* exit status: the command line is wrong */

extern const char ctl_usage[];

enum ctl_action { CTL_ASK, CTL_WAIT, CTL_HELP, CTL_VERSION };

struct ctl {
	enum ctl_action action;
	const char *path;   /* borrows from argv; NULL (no -s): ctl_default_path() is used */
	struct text line;   /* owns: the command, with its newline */
	struct text poll;   /* owns; only for CTL_WAIT: the repeated command, with its newline */
	const char *target; /* borrows from argv; only for CTL_WAIT: POOL/BACKEND */
};

#define CTL_INIT ((struct ctl){ 0 })

/*
 * ctl_parse() - read the command line
 *
 * The caller has set `ret` to CTL_INIT. Options may stand anywhere, because getopt_long() permutes
 * `argv`. Returns 0, or an exit status after a message on stderr that says what is wrong.
 */
int ctl_parse(int argc, char **argv, struct ctl *ret) LB_MUST_CHECK;

/*
 * The socket's path when -s is not given: $LBCTL_SOCKET when set, else ./lb.sock when that file
 * exists, else /run/lb/admin.sock.
 */
const char *ctl_default_path(void);

/* Sends c->line and prints the answer. Returns the exit status. */
int ctl_ask(const struct ctl *c) LB_MUST_CHECK;

/*
 * ctl_query() - send one line and receive the whole answer
 *
 * `line` has one newline, at its end; the answer is added to `ret`, which is empty. Blocks until lb
 * has closed the connection. Returns 0, or CTL_FAILED after a message on stderr that says what went
 * wrong.
 */
int ctl_query(const struct ctl *c, struct slice line, struct text *ret) LB_MUST_CHECK;

/*
 * ctl_print() - print an answer without the empty line that ends it
 *
 * An error goes to `err`, everything else to `out`. Returns the exit status.
 */
int ctl_print(struct slice answer, FILE *out, FILE *err) LB_MUST_CHECK;

void ctl_deinit(struct ctl *c);
