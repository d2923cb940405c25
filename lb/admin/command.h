/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Command: carries out one line of the admin socket and writes the answer. An answer ends with an
 * empty line; an error is one line that begins with "error: ".
 *
 * Thread: main. Layer: admin.
 */

#include <stdbool.h>

#include "admin/admin.h"
#include "util/text.h"

#define COMMAND_LINE_MAX 4096 /* bytes of a line, with its newline */

/* What a client's commands need; lives as long as the client. */
struct command_ctx {
	const struct admin_ops *ops; /* borrows */
	void *arg;                   /* argument of the functions of `ops` */
	struct text *out; /* borrows: gets the answer; empty when command_run() is called */

	/*
	 * What ops->conns() and ops->reload() call with their answer, and the first argument of
	 * that call.
	 */
	admin_conns_fn on_conns;
	admin_reload_fn on_reload;
	void *waiter;

	/* private to command.c: the form of answer that the last line asked for */
	bool is_json, is_wide;
};

enum command_result {
	COMMAND_DONE,  /* the answer is in ctx->out */
	COMMAND_WAITS, /* the answer comes by on_conns or on_reload, or has come */
	COMMAND_NONE,  /* the line was empty: there is no answer */
};

/*
 * Carries out one line, which has no newline and is copied. Adds the answer to ctx->out, except for
 * COMMAND_WAITS.
 */
enum command_result command_run(struct command_ctx *ctx, struct slice line);

/*
 * Add the answer of `conns` or of `reload` to ctx->out. To be called by on_conns and on_reload,
 * with their result.
 */
void command_conns(struct command_ctx *ctx, int result, const struct admin_conn_list *list);
void command_reload(struct command_ctx *ctx, int result, const char *why);

/* Adds a whole answer: "error: ", the text, and the empty line. */
void command_error(struct text *out, const char *fmt, ...) LB_PRINTF(2, 3);
